//! Questions to contracts, estimates of gas, access lists, and transactions that are handed in.

use std::sync::Arc;

use alloy_eips::BlockId;
use alloy_primitives::{Bytes, U256};
use alloy_rpc_types_eth::{BlockOverrides, TransactionRequest};
use serde_json::json;

use super::{
    Backend,
    blocking::blocking,
    budget::Budget,
    error::{self, RpcError, RpcResult},
    numbers::hex,
    params::Params,
    question::{Overrides, Question},
    turn::turn,
};
use crate::{
    evm::{Outcome, TX_GAS_CAP, trace},
    pool::PoolError,
    tx::{Tx, TxError},
};

/// No transaction needs less.
const LEAST_GAS: u64 = 21_000;

fn question(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<(TransactionRequest, Question)> {
    let mut params = params.sequence();
    let (request, at): (TransactionRequest, Option<BlockId>) = (params.next()?, params.optional_next()?);
    let (state, block): (Option<Overrides>, Option<BlockOverrides>) =
        (params.optional_next()?, params.optional_next()?);
    let question = Question::new(backend, &request, at, state, block, budget)?;
    Ok((request, question))
}

pub fn call(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let (_, mut question) = question(backend, params, budget)?;
    let outcome = finish(question.ask(budget)?)?;
    budget.json(&outcome.output)
}

pub fn estimate_gas(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let (request, mut question) = question(backend, params, budget)?;
    question.call.gas_limit = request.gas.unwrap_or(TX_GAS_CAP).min(TX_GAS_CAP);
    let balance = question.view.account(question.call.from).map_err(error::store)?.unwrap_or_default().balance;
    if question.call.value > balance {
        return Err(error::server("insufficient funds for transfer"));
    }
    if question.call.gas_price > 0 {
        let affordable = (balance - question.call.value) / U256::from(question.call.gas_price);
        question.call.gas_limit = question.call.gas_limit.min(affordable.saturating_to());
        if question.call.gas_limit < LEAST_GAS {
            return Err(error::server(format!(
                "insufficient funds for gas * price + value: address {} have {balance}, gas required exceeds allowance \
                 ({})",
                question.call.from, question.call.gas_limit
            )));
        }
    }
    let allowance = question.call.gas_limit;
    let first = question.ask(budget)?;
    match &first.halt {
        Some(halt) if halt.is_out_of_gas() => {
            return Err(error::server(format!("gas required exceeds allowance ({allowance})")));
        }
        Some(halt) => return Err(error::server(halt.to_string())),
        None => {}
    }
    let first = finish(first)?;
    // Between what it used, which can be too little on the way (63/64 stay with the caller), and what sufficed.
    let (mut low, mut high) = (first.gas_used.saturating_sub(1), allowance);
    let likely = (first.gas_used.saturating_add(2_300)).saturating_mul(64) / 63;
    let mut guess = likely.min(high);
    while high - low > (high / 64).max(1) || high == allowance {
        match enough(&mut question, guess, budget)? {
            true => high = guess,
            false => low = guess,
        }
        if high - low <= 1 {
            break;
        }
        guess = low + (high - low) / 2;
    }
    // A plain transfer has an exact answer.
    let exact = enough(&mut question, first.gas_used, budget)?;
    budget.json(&hex(if exact { first.gas_used } else { high }))
}

pub fn create_access_list(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let (_, mut question) = question(backend, params, budget)?;
    question.call.gas_limit = question.call.gas_limit.min(TX_GAS_CAP);
    let Question { view, block, call, natives } = &mut question;
    // Each round costs what the call does; a machine that is out of gas has used all of it.
    let mut spent = 0u64;
    let (list, outcome) = trace::access_list(view, block, natives, call, &mut spent).map_err(error::fault)?;
    budget.work(spent)?;
    let outcome = outcome.map_err(|refusal| error::server(refusal.to_string()))?;
    let mut out = json!({ "accessList": list, "gasUsed": hex(outcome.gas_used) });
    match &outcome.halt {
        Some(halt) => out["error"] = json!(halt.to_string()),
        None if !outcome.success => out["error"] = json!("execution reverted"),
        None => {}
    }
    budget.json(&out)
}

/// Work of recovering one signature and of looking at what it signs, in gas. A transaction has one, and one more for each
/// account that it would delegate, whether it is taken or not.
const SIGNATURE: u64 = 25_000;
/// The same of each byte, which is hashed.
const BYTE: u64 = 16;

pub async fn send_raw(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let _turn = turn(&backend.turns.light).await?;
    let bytes: Bytes = params.one()?;
    budget.work(SIGNATURE.saturating_add(BYTE.saturating_mul(bytes.len() as u64)))?;
    let tx = blocking(|| decode(backend, &bytes))?;
    budget.work(SIGNATURE.saturating_mul(tx.authorizations() as u64))?;
    let hash = tx.hash;
    backend.submit.submit(tx).await.map_err(|e| error::server(e.to_string()))?;
    budget.json(&hash)
}

/// What is handed in, before it is passed on: what cannot be a transaction gets Ethereum's own words.
fn decode(backend: &Backend, bytes: &Bytes) -> RpcResult<Arc<Tx>> {
    let head = backend.head()?;
    let tx = backend.ledger.decode(bytes, &head).map_err(|e| match e {
        TxError::Malformed(_) => error::invalid(e.to_string()),
        _ => error::server(e.to_string()),
    })?;
    if backend.ledger.pool().contains(tx.hash) {
        return Err(error::server(PoolError::Known.to_string()));
    }
    if tx.is_unsigned() {
        return Err(error::server(format!("{}: eth_sendTransaction is for whom one acts for", TxError::Signature)));
    }
    Ok(tx)
}

fn enough(question: &mut Question, gas: u64, budget: &mut Budget) -> RpcResult<bool> {
    question.call.gas_limit = gas;
    budget.work(0)?;
    Ok(question.ask(budget).is_ok_and(|outcome| outcome.success))
}

pub fn finish(outcome: Outcome) -> Result<Outcome, RpcError> {
    match (&outcome.halt, outcome.success) {
        (Some(halt), _) => Err(error::server(halt.to_string())),
        (None, false) => Err(error::reverted(&outcome.output)),
        (None, true) => Ok(outcome),
    }
}
