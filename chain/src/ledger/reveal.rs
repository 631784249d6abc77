//! The beacon's part in proposals: what this node shows in its own, and what a proposal must show.

use std::sync::{Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, Bytes};

use super::head::Head;
use crate::{
    application::TxResult,
    beacon::{
        Item, Secret,
        state::{Chain, epoch_of},
    },
    error::StoreError,
    validator::ConsensusAddress,
};

/// What this node can show, if it validates.
#[derive(Default)]
pub struct Reveals {
    secret: Mutex<Option<Secret>>,
}

impl Reveals {
    pub fn new(secret: Secret) -> Self {
        Self { secret: Mutex::new(Some(secret)) }
    }

    fn secret(&self) -> MutexGuard<'_, Option<Secret>> {
        self.secret.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The item that begins a proposal of `proposer`, this node, after `head`: nothing if it has none to show.
    pub fn item(&self, head: &Head, proposer: Option<ConsensusAddress>) -> Result<Option<Item>, StoreError> {
        let Some(operator) = operator(head, proposer) else { return Ok(None) };
        let mut view = head.view();
        let epoch = epoch_of(&mut view, head.height + 1)?;
        let chain = Chain::load(&mut view, operator)?.at(epoch);
        if chain.left == 0 {
            tracing::warn!("this validator has no beacon chain left, so its blocks add nothing to the beacon: {HELP}");
            return Ok(None);
        }
        let mut secret = self.secret();
        let shown = secret.as_mut().and_then(|secret| {
            let number = secret.number_of(chain.tip, chain.left, chain.number)?;
            Some((secret.preimage(number, chain.tip, chain.left)?, number))
        });
        let Some((preimage, number)) = shown else {
            tracing::warn!(
                "this home has not found the secret of its validator's beacon chain, so its proposals are refused: {HELP}"
            );
            return Ok(None);
        };
        // The next chain is announced with half of this one left, long before its end.
        let due = |secret: &Secret| chain.next.is_none() && chain.left <= secret.length() / 2;
        let next = secret.as_mut().filter(|secret| due(secret)).map(|secret| secret.commitment(number + 1));
        Ok(Some(Item { preimage, next }))
    }
}

/// What an operator can do.
const HELP: &str = "put the right beacon-secret back, or announce another chain (`sahara chain keys --help`)";

/// Whether a proposal of `proposer` after `head` may begin with `item`: it shows the preimage that is due. A validator
/// without a chain, or at the end of it, proposes without: it has nothing to withhold, and by what another one has left it
/// cannot be stopped. Whom the ledger does not know proposes while nobody could show anything.
pub fn judge(head: &Head, proposer: Option<ConsensusAddress>, item: Option<Item>) -> Result<bool, StoreError> {
    let mut view = head.view();
    let epoch = epoch_of(&mut view, head.height + 1)?;
    if let Some(operator) = operator(head, proposer) {
        let chain = Chain::load(&mut view, operator)?.at(epoch);
        return Ok(item.map_or(chain.left == 0, |item| chain.accepts(&item)));
    }
    if item.is_some() {
        return Ok(false);
    }
    for validator in head.validators.values().filter(|validator| validator.power > 0) {
        if Chain::load(&mut view, validator.operator)?.at(epoch).left > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The result of an item in a block.
pub fn result(item: &Item) -> TxResult {
    let data = Bytes::copy_from_slice(item.preimage.as_slice());
    TxResult { code: 0, reason: String::new(), gas_wanted: 0, gas_used: 0, data }
}

fn operator(head: &Head, proposer: Option<ConsensusAddress>) -> Option<Address> {
    head.validators.get(&proposer?).map(|validator| validator.operator)
}
