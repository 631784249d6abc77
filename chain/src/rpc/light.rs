//! What a light client asks: signed headers, and the newest state that one of them commits to, with its proofs.

use std::{collections::BTreeMap, sync::Arc};

use alloy_eips::BlockNumberOrTag;
use alloy_primitives::{Address, B256};
use serde::Serialize;
use serde_json::json;

use super::{
    Backend,
    account::{MAX_PROOF_SLOTS, PROOF, Slot, write_slot_proof},
    blocking::blocking,
    budget::{Budget, HEADER},
    error::{self, Answered, RpcResult},
    numbers::{hex as number, quantity},
    params::Params,
    signed::SignedHeader,
    turn::turn,
};
use crate::{
    ledger::Head,
    merkle::Step,
    state::{
        proof::root_path,
        view::{committed_account, prove_account},
    },
};

/// Times that a block may come in between.
const ATTEMPTS: usize = 4;

/// The signed header at a height, or the newest.
pub fn header<'a>(backend: &'a Arc<Backend>, params: Params<'a>, budget: &'a mut Budget) -> Answered<'a> {
    Box::pin(async move {
        let tag: Option<BlockNumberOrTag> = params.sequence().optional_next()?;
        let height = backend.height(tag.unwrap_or_default(), backend.head()?.as_ref());
        let found = signed(backend, height, budget).await?;
        let found = found.ok_or_else(|| error::not_found(format!("no signed header of block {height} here")))?;
        budget.json(&found.as_ref())
    })
}

/// Words of storage, each of an account, with what proves them up to a signed header.
pub fn proof<'a>(backend: &'a Arc<Backend>, params: Params<'a>, budget: &'a mut Budget) -> Answered<'a> {
    Box::pin(async move {
        let wanted: BTreeMap<Address, Vec<Slot>> = params.one()?;
        let count = wanted.values().map(|slots| slots.len().max(1)).sum::<usize>();
        if count > MAX_PROOF_SLOTS {
            return Err(error::limit(format!("too many slots (max {MAX_PROOF_SLOTS})")));
        }
        backend.submit.follow().await;
        for _ in 0..ATTEMPTS {
            let height = backend.head()?.height;
            let header = signed(backend, height, budget).await?;
            let _turn = turn(&backend.turns.heavy).await?;
            // Meanwhile there may be another block: then the header of that one is asked for.
            let parent = backend.ledger.parent().filter(|parent| parent.height + 1 == height);
            if let (Some(header), Some(parent)) = (header, parent) {
                return blocking(|| write(&header, &parent, &wanted, budget));
            }
        }
        Err(error::server("no state is proven yet: the next block will, ask again"))
    })
}

async fn signed(backend: &Backend, height: u64, budget: &mut Budget) -> RpcResult<Option<Arc<SignedHeader>>> {
    budget.work(4 * HEADER)?;
    let found = backend.submit.signed_header(height).await.map_err(error::server)?;
    budget.work(found.as_ref().map_or(0, |found| found.length() as u64))?;
    Ok(found)
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Side {
    Left(B256),
    Right(B256),
}

fn write(
    header: &SignedHeader,
    state: &Head,
    wanted: &BTreeMap<Address, Vec<Slot>>,
    budget: &mut Budget,
) -> RpcResult<()> {
    let path = root_path(&state.roots, "evm").unwrap_or_default();
    let side = |step| match step {
        Step::Left(other) => Side::Left(other.into()),
        Step::Right(other) => Side::Right(other.into()),
    };
    let path: Vec<Side> = path.into_iter().map(side).collect();
    budget.text("{\"height\":")?;
    budget.json(&number(state.height))?;
    budget.text(",\"header\":")?;
    budget.json(header)?;
    budget.text(",\"root\":")?;
    budget.json(&state.roots.evm)?;
    budget.text(",\"rootPath\":")?;
    budget.json(&path)?;
    budget.text(",\"accounts\":")?;
    budget.list(wanted, |budget, (address, slots)| write_account(state, *address, slots, budget))?;
    budget.text("}")
}

fn write_account(state: &Head, address: Address, slots: &[Slot], budget: &mut Budget) -> RpcResult<()> {
    budget.work(PROOF)?;
    let reader = state.reader.as_ref();
    let account = committed_account(reader, address).map_err(error::store)?;
    let fields = account.map(|account| {
        json!({
            "balance": quantity(account.balance),
            "codeHash": account.code_hash,
            "nonce": number(account.nonce),
            "storageHash": account.storage_root,
        })
    });
    budget.text("{\"address\":")?;
    budget.json(&address)?;
    budget.text(",\"account\":")?;
    budget.json(&fields)?;
    budget.text(",\"accountProof\":")?;
    budget.json(&prove_account(reader, address).map_err(error::store)?)?;
    budget.text(",\"storageProof\":")?;
    budget.list(slots, |budget, slot| write_slot_proof(reader, address, *slot, budget))?;
    budget.text("}")
}
