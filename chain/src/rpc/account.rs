//! Accounts: balance, nonce, code, storage, proofs.

use std::collections::BTreeMap;

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Backend,
    budget::{Budget, VALUE},
    error::{self, RpcResult},
    numbers::{hex as number, quantity},
    params::{List, Params},
};
use crate::{
    state::{
        Account,
        view::{committed_account, committed_code, committed_slot, prove_account, prove_slot},
    },
    store::Reader,
};

/// Slots in one proof or one question.
pub const MAX_PROOF_SLOTS: usize = 1024;

fn account(backend: &Backend, address: Address, at: Option<BlockId>, budget: &mut Budget) -> RpcResult<Account> {
    budget.work(VALUE)?;
    let head = backend.state(at, budget)?;
    Ok(committed_account(head.reader.as_ref(), address).map_err(error::store)?.unwrap_or_default())
}

pub fn balance(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let (address, at) = (params.next()?, params.optional_next()?);
    let account = account(backend, address, at, budget)?;
    budget.json(&quantity(account.balance))
}

pub fn nonce(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let (address, at): (_, Option<BlockId>) = (params.next()?, params.optional_next()?);
    let nonce = account(backend, address, at, budget)?.nonce;
    budget.json(&number(match at {
        Some(BlockId::Number(BlockNumberOrTag::Pending)) => backend.ledger.pool().next_nonce(address, nonce),
        _ => nonce,
    }))
}

pub fn code(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let (address, at) = (params.next()?, params.optional_next()?);
    budget.work(2 * VALUE)?;
    let head = backend.state(at, budget)?;
    let reader = head.reader.as_ref();
    let account = committed_account(reader, address).map_err(error::store)?.unwrap_or_default();
    budget.json(&committed_code(reader, account.code_hash).map_err(error::store)?)
}

/// A slot: tools write it as a short quantity or as 32 bytes.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct Slot(U256);

impl TryFrom<String> for Slot {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix("0x").ok_or("a storage key begins with 0x")?;
        if digits.len() > 64 {
            return Err("storage key too long (want at most 32 bytes)".into());
        }
        U256::from_str_radix(digits, 16).map(Self).map_err(|e| format!("storage key {text:?}: {e}"))
    }
}

pub fn storage(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let (address, slot): (Address, Slot) = (params.next()?, params.next()?);
    budget.work(VALUE)?;
    let head = backend.state(params.optional_next()?, budget)?;
    let word = committed_slot(head.reader.as_ref(), address, slot.0).map_err(error::store)?;
    budget.json(&B256::from(word))
}

pub fn storage_values(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let wanted: BTreeMap<Address, Vec<Slot>> = params.next()?;
    let count: usize = wanted.values().map(Vec::len).sum();
    if count == 0 {
        return Err(error::invalid("empty request"));
    }
    if count > MAX_PROOF_SLOTS {
        return Err(error::limit(format!("too many slots (max {MAX_PROOF_SLOTS})")));
    }
    let head = backend.state(params.optional_next()?, budget)?;
    budget.work(VALUE * count as u64)?;
    let word = |address, slot: &Slot| {
        committed_slot(head.reader.as_ref(), address, slot.0).map(B256::from).map_err(error::store)
    };
    let found = wanted.into_iter().map(|(address, slots)| {
        let words: RpcResult<Vec<B256>> = slots.iter().map(|slot| word(address, slot)).collect();
        Ok((format!("{address:#x}"), json!(words?)))
    });
    budget.json(&Value::Object(found.collect::<RpcResult<_>>()?))
}

/// Work of proving one value, in gas: it reads the nodes on the way to it.
pub const PROOF: u64 = 20 * VALUE;

pub fn proof(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let (address, slots): (Address, List<Slot, MAX_PROOF_SLOTS>) = (params.next()?, params.next()?);
    let head = backend.state(params.optional_next()?, budget)?;
    if head.height < backend.head()?.height {
        return Err(error::server("missing trie node: proofs are made for the newest block only"));
    }
    let reader = head.reader.as_ref();
    budget.work(PROOF)?;
    let account = committed_account(reader, address).map_err(error::store)?.unwrap_or_default();
    let fields = json!({
        "address": address,
        "accountProof": prove_account(reader, address).map_err(error::store)?,
        "balance": quantity(account.balance),
        "codeHash": account.code_hash,
        "nonce": number(account.nonce),
        "storageHash": account.storage_root,
    });
    let mut fields = fields.to_string();
    fields.pop();
    budget.text(&fields)?;
    budget.text(",\"storageProof\":")?;
    budget.list(slots.0, |budget, slot| write_slot_proof(reader, address, slot, budget))?;
    budget.text("}")
}

/// Writes a word with its proof.
pub fn write_slot_proof(reader: &dyn Reader, address: Address, slot: Slot, budget: &mut Budget) -> RpcResult<()> {
    budget.work(PROOF)?;
    let value = committed_slot(reader, address, slot.0).map_err(error::store)?;
    let proof = prove_slot(reader, address, slot.0).map_err(error::store)?;
    budget.json(&json!({ "key": quantity(slot.0), "value": quantity(value), "proof": proof }))
}

pub fn sha3(_: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let bytes: Bytes = params.one()?;
    budget.work(bytes.len() as u64)?;
    budget.json(&hex::encode_prefixed(keccak256(bytes)))
}
