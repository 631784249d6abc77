//! What developers of contracts expect of a chain for development: time, snapshots, accounts as they need them, and
//! transactions of accounts whose keys nobody has. The names and answers are those of anvil and Hardhat.

use std::sync::{Arc, PoisonError};

use alloy_consensus::TxEip1559;
use alloy_eips::{BlockId, eip2718::Encodable2718};
use alloy_primitives::{Address, B256, TxKind, U64, U256};
use alloy_rpc_types_eth::TransactionRequest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Backend,
    command::{Command, Develop, Done},
    error::{self, RpcResult, Told},
    numbers::hex,
    params::Params,
    question::Question,
};
use crate::{genesis::DEV_ACCOUNTS, ledger::Change, tx};

/// Blocks that one request makes at most.
const MAX_BLOCKS: u64 = 10_000;
/// Accounts without a key that one may act for at once.
const MAX_IMPERSONATED: usize = 1_000;

async fn develop(backend: &Backend, command: Command) -> RpcResult<Done> {
    let develop = allowed(backend)?;
    develop.develop(command).await.map_err(error::server)
}

fn allowed(backend: &Backend) -> RpcResult<&Arc<dyn Develop>> {
    backend.develop.as_ref().ok_or_else(|| {
        let why = "this method changes a chain for development, which this node has not: it is offered by the embedded \
                   driver with `development = true` in chain.toml only";
        error::coded(error::METHOD, why)
    })
}

/// A count: tools write it as a quantity, a plain number, or decimal digits.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Count {
    Number(u64),
    Quantity(U64),
    /// Quantities that are longer than a count can be, and signed ones.
    Large(U256),
}

impl Count {
    fn get(self) -> u64 {
        match self {
            Self::Number(n) => n,
            Self::Quantity(n) => n.to(),
            Self::Large(n) => n.saturating_to(),
        }
    }
}

/// On a chain for development: the accounts whose keys everybody knows, and those that somebody acts for.
pub fn accounts(backend: &Backend, _: Params<'_>) -> RpcResult<Value> {
    if backend.develop.is_none() {
        return Ok(Value::Array(vec![]));
    }
    let impersonated = backend.impersonated.lock().unwrap_or_else(PoisonError::into_inner);
    let known = DEV_ACCOUNTS.iter().map(|(address, _)| address);
    Ok(json!(known.chain(impersonated.iter()).collect::<Vec<_>>()))
}

pub fn metadata<'a>(backend: &'a Arc<Backend>, _: Params<'a>) -> Told<'a> {
    Box::pin(async move {
        allowed(backend)?;
        let head = backend.head()?;
        Ok(json!({
            "clientVersion": concat!("sahara/", env!("CARGO_PKG_VERSION"), "/development"),
            "chainId": head.params.chain_id,
            "instanceId": B256::ZERO,
            "latestBlockNumber": head.height,
            "latestBlockHash": head.hash,
        }))
    })
}

pub fn mine<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    /// A time, or what anvil takes instead.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Wish {
        Time(Count),
        Options { timestamp: Option<Count>, blocks: Option<Count> },
    }
    Box::pin(async move {
        let wish: Option<Wish> = params.sequence().optional_next()?;
        let (time, blocks) = match wish {
            None => (None, 1),
            Some(Wish::Time(time)) => (Some(time.get()).filter(|time| *time > 0), 1),
            Some(Wish::Options { timestamp, blocks }) => (timestamp.map(Count::get), blocks.map_or(1, Count::get)),
        };
        make(backend, blocks, time, 0).await?;
        Ok(json!("0x0"))
    })
}

pub fn mine_many<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    Box::pin(async move {
        let mut params = params.sequence();
        let (blocks, interval): (Option<Count>, Option<Count>) = (params.optional_next()?, params.optional_next()?);
        make(backend, blocks.map_or(1, Count::get), None, interval.map_or(0, Count::get)).await?;
        Ok(Value::Null)
    })
}

pub fn hardhat_mine<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    Box::pin(async move {
        mine_many(backend, params).await?;
        Ok(json!(true))
    })
}

async fn make(backend: &Backend, blocks: u64, time: Option<u64>, interval: u64) -> RpcResult<()> {
    allowed(backend)?;
    if blocks > MAX_BLOCKS {
        return Err(error::limit(format!("one request makes {MAX_BLOCKS} blocks at most")));
    }
    develop(backend, Command::Mine { blocks, time, interval }).await.map(drop)
}

pub fn increase_time<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    Box::pin(async move {
        let seconds: Count = params.one()?;
        match develop(backend, Command::IncreaseTime(seconds.get())).await? {
            Done::Number(offset) => Ok(json!(offset)),
            _ => Ok(Value::Null),
        }
    })
}

pub fn set_next_time<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    Box::pin(async move {
        let time: Count = params.one()?;
        develop(backend, Command::SetNextTime(time.get())).await?;
        Ok(Value::Null)
    })
}

pub fn snapshot<'a>(backend: &'a Arc<Backend>, _: Params<'a>) -> Told<'a> {
    Box::pin(async move {
        match develop(backend, Command::Snapshot).await? {
            Done::Number(id) => Ok(hex(id)),
            _ => Err(error::server("no snapshot was made")),
        }
    })
}

pub fn revert<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    Box::pin(async move {
        let id: Count = params.one()?;
        Ok(json!(develop(backend, Command::Revert(id.get())).await? == Done::It))
    })
}

pub fn set_automine<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    Box::pin(async move {
        develop(backend, Command::Automine(params.one()?)).await?;
        Ok(json!(true))
    })
}

pub fn set_balance<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    changing(backend, params, Value::Null, |params| Ok(Change::Balance(params.next()?, params.next()?)))
}

pub fn hardhat_set_balance<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    changing(backend, params, json!(true), |params| Ok(Change::Balance(params.next()?, params.next()?)))
}

pub fn set_code<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    changing(backend, params, Value::Null, |params| Ok(Change::Code(params.next()?, params.next()?)))
}

pub fn hardhat_set_code<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    changing(backend, params, json!(true), |params| Ok(Change::Code(params.next()?, params.next()?)))
}

pub fn set_nonce<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    changing(backend, params, Value::Null, |params| Ok(Change::Nonce(params.next()?, params.next::<Count>()?.get())))
}

pub fn hardhat_set_nonce<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    changing(backend, params, json!(true), |params| Ok(Change::Nonce(params.next()?, params.next::<Count>()?.get())))
}

pub fn set_storage<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    changing(backend, params, json!(true), |params| {
        let (address, slot): (Address, U256) = (params.next()?, params.next()?);
        let word: U256 = params.next()?;
        Ok(Change::Slot(address, slot, word))
    })
}

fn changing<'a>(
    backend: &'a Arc<Backend>,
    params: Params<'a>,
    told: Value,
    read: impl FnOnce(&mut super::params::Sequence<'_>) -> RpcResult<Change>,
) -> Told<'a> {
    let change = read(&mut params.sequence());
    Box::pin(async move {
        allowed(backend)?;
        let change = change?;
        change.check().map_err(error::invalid)?;
        develop(backend, Command::Change(change)).await?;
        Ok(told)
    })
}

pub fn impersonate<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    Box::pin(async move {
        act_for(backend, params)?;
        Ok(Value::Null)
    })
}

pub fn hardhat_impersonate<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    Box::pin(async move {
        act_for(backend, params)?;
        Ok(json!(true))
    })
}

fn act_for(backend: &Backend, params: Params<'_>) -> RpcResult<()> {
    allowed(backend)?;
    let mut impersonated = backend.impersonated.lock().unwrap_or_else(PoisonError::into_inner);
    impersonated.insert(params.one()?);
    if impersonated.len() > MAX_IMPERSONATED {
        impersonated.pop_first();
    }
    Ok(())
}

pub fn stop_impersonating<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    Box::pin(async move {
        leave(backend, params)?;
        Ok(Value::Null)
    })
}

pub fn hardhat_stop_impersonating<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    Box::pin(async move { Ok(json!(leave(backend, params)?)) })
}

fn leave(backend: &Backend, params: Params<'_>) -> RpcResult<bool> {
    allowed(backend)?;
    let address: Address = params.one()?;
    Ok(backend.impersonated.lock().unwrap_or_else(PoisonError::into_inner).remove(&address))
}

/// A transaction without a signature, of an account that somebody acts for.
pub fn send_transaction<'a>(backend: &'a Arc<Backend>, params: Params<'a>) -> Told<'a> {
    Box::pin(async move {
        allowed(backend)?;
        let mut request: TransactionRequest = params.one()?;
        let from = request.from.ok_or_else(|| error::invalid("the transaction says nothing of 'from'"))?;
        let known = DEV_ACCOUNTS.iter().any(|(address, _)| *address == from);
        if !known && !backend.impersonated.lock().unwrap_or_else(PoisonError::into_inner).contains(&from) {
            return Err(error::server(format!(
                "unknown account {from}: impersonate it first, this node keeps no keys"
            )));
        }
        if request.authorization_list.is_some() || request.blob_versioned_hashes.is_some() {
            return Err(error::invalid("a transaction without a signature has neither authorizations nor blobs"));
        }
        let head = backend.head()?;
        let price = u128::from(head.next_base_fee()).saturating_mul(2);
        let fee = request.max_fee_per_gas.or(request.gas_price).unwrap_or(price);
        let tip = request.max_priority_fee_per_gas.or(request.gas_price).unwrap_or(0).min(fee);
        let nonce = match request.nonce {
            Some(nonce) => nonce,
            None => {
                let committed = crate::ledger::standing(head.reader.as_ref(), from).map_err(error::store)?.nonce;
                backend.ledger.pool().next_nonce(from, committed)
            }
        };
        let gas = match request.gas {
            Some(gas) => gas,
            None => {
                request.gas_price = None;
                request.max_fee_per_gas = None;
                request.max_priority_fee_per_gas = None;
                estimate(backend, &request)?
            }
        };
        let fields = TxEip1559 {
            chain_id: head.params.chain_id,
            nonce,
            gas_limit: gas,
            max_fee_per_gas: fee,
            max_priority_fee_per_gas: tip,
            to: request.to.unwrap_or(TxKind::Create),
            value: request.value.unwrap_or_default(),
            access_list: request.access_list.clone().unwrap_or_default(),
            input: request.input.input().cloned().unwrap_or_default(),
        };
        let bytes = tx::unsigned(fields, from).encoded_2718();
        let tx = backend.ledger.decode(&bytes, &head).map_err(|e| error::server(e.to_string()))?;
        drop(head);
        let hash = tx.hash;
        backend.submit.submit(tx).await.map_err(|e| error::server(e.to_string()))?;
        Ok(json!(hash))
    })
}

/// Gas that surely suffices: half more than what it used now.
fn estimate(backend: &Backend, request: &TransactionRequest) -> RpcResult<u64> {
    let mut budget = backend.budget();
    let mut question = Question::new(backend, request, None::<BlockId>, None, None, &mut budget)?;
    question.call.gas_limit = crate::evm::TX_GAS_CAP;
    let outcome = question.ask(&mut budget)?;
    let outcome = super::call::finish(outcome)?;
    Ok((outcome.gas_used.saturating_mul(3) / 2).clamp(21_000, crate::evm::TX_GAS_CAP))
}
