//! Accounts that others can spend (EIP-7702), and those that a waiting transaction would make so: from there on one
//! transaction of theirs waits at most, because one that is executed can leave nothing to pay for all the rest.

use std::collections::BTreeMap;

use alloy_consensus::Transaction as _;
use alloy_primitives::Address;

use super::{Pool, PoolError, sender::Sender};
use crate::tx::Tx;

/// The most authorizations that a transaction may have. Their signatures are recovered before it pays, and may be found
/// to be of an account that is busy: it is refused then. With more, somebody could have a node recover for a long time
/// in one go. Each costs its sender 25,000 gas; to split a longer list costs 21,000 gas for each transaction more.
pub const MAX_AUTHORIZATIONS: usize = 64;

/// Accounts that waiting transactions would delegate, each with the nonces at which they could, and how many would.
#[derive(Default)]
pub(super) struct Delegations(BTreeMap<Address, BTreeMap<u64, usize>>);

impl Delegations {
    /// Counts `tx`, which waits from now on.
    pub fn add(&mut self, tx: &Tx) {
        for authority in tx.known_authorities().unwrap_or_default() {
            *self.0.entry(authority.address).or_default().entry(authority.nonce).or_default() += 1;
        }
    }

    /// The opposite.
    pub fn remove(&mut self, tx: &Tx) {
        for authority in tx.known_authorities().unwrap_or_default() {
            let Some(nonces) = self.0.get_mut(&authority.address) else { continue };
            if let Some(count) = nonces.get_mut(&authority.nonce) {
                *count -= 1;
                if *count == 0 {
                    nonces.remove(&authority.nonce);
                }
            }
            if nonces.is_empty() {
                self.0.remove(&authority.address);
            }
        }
    }

    /// The first nonce at which `address`, now at `nonce`, could be delegated. Authorizations for nonces that it has
    /// behind it have no effect any more, whoever shows them.
    fn first(&self, address: Address, nonce: u64) -> Option<u64> {
        self.0.get(&address)?.range(nonce..).next().map(|(nonce, _)| *nonce)
    }

    /// All that are counted.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.0.values().flat_map(BTreeMap::values).sum()
    }
}

impl Pool {
    /// At most one transaction waits of an account that runs code, or of one that a waiting transaction would let run
    /// code, from the nonce on at which it would. One that would do that to others has no gap before it.
    pub(super) fn check_delegation(&self, waiting: &Sender, tx: &Tx) -> Result<(), PoolError> {
        let nonce = tx.envelope.nonce();
        let (replaces, gapped) = (waiting.txs.contains_key(&nonce), nonce > waiting.missing);
        let from = match waiting.standing.delegated {
            true => Some(waiting.standing.nonce),
            false => self.delegations.first(tx.sender, waiting.standing.nonce),
        };
        if let Some(from) = from.filter(|from| nonce >= *from && !replaces) {
            if waiting.txs.range(from..).next().is_some() {
                return Err(PoolError::InFlight);
            }
            if gapped {
                return Err(PoolError::DelegatedGap);
            }
        }
        match gapped && tx.authorizations() > 0 {
            true => Err(PoolError::AuthorizationGap { tx: nonce, next: waiting.missing }),
            false => Ok(()),
        }
    }

    /// Whoever `tx` would delegate has one transaction at most waiting from the nonce on at which it would.
    pub(super) fn check_authorities(&self, tx: &Tx) -> Result<(), PoolError> {
        let busy = |address: &Address, nonce: u64| {
            let other = self.by_sender.get(address).filter(|other| nonce >= other.standing.nonce);
            other.is_some_and(|other| other.txs.range(nonce..).nth(1).is_some())
        };
        let authorities = tx.known_authorities().ok_or(PoolError::Unrecovered)?;
        match authorities.iter().any(|authority| busy(&authority.address, authority.nonce)) {
            true => Err(PoolError::AuthorityReserved),
            false => Ok(()),
        }
    }
}
