//! Questions to contracts, estimates of gas, and transactions that are handed in.

use alloy_eips::BlockId;
use alloy_primitives::{Bytes, U256, keccak256};
use alloy_rpc_types_eth::TransactionRequest;
use jsonrpsee::{
    core::RpcResult,
    types::{ErrorObjectOwned, Params},
};
use serde_json::{Value, json};

use super::{Backend, error, hex};
use crate::{
    evm::{Call, Machine, Outcome, TX_GAS_CAP},
    ledger::Head,
    tx::TxError,
};

/// Gas of a call that names none.
const CALL_GAS: u64 = 50_000_000;

pub fn call(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let mut params = params.sequence();
    let (request, at): (TransactionRequest, Option<BlockId>) = (params.next()?, params.optional_next()?);
    let head = backend.state(at)?;
    let call = read(&request, &head)?;
    let outcome = ask(backend, &head, &call)?;
    finish(outcome).map(|outcome| json!(outcome.output))
}

pub fn estimate_gas(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let mut params = params.sequence();
    let (request, at): (TransactionRequest, Option<BlockId>) = (params.next()?, params.optional_next()?);
    let head = backend.state(at)?;
    let mut call = read(&request, &head)?;
    call.gas_limit = request.gas.unwrap_or(TX_GAS_CAP).min(TX_GAS_CAP);
    let standing = crate::ledger::standing(head.reader.as_ref(), call.from).map_err(error::store)?;
    if call.value > standing.balance {
        return Err(error::server("insufficient funds for transfer"));
    }
    if call.gas_price > 0 {
        let affordable = (standing.balance - call.value) / U256::from(call.gas_price);
        call.gas_limit = call.gas_limit.min(affordable.saturating_to());
    }
    let allowance = call.gas_limit;
    let first = ask(backend, &head, &call)?;
    if first.halt.is_some() {
        let what = format!("gas required exceeds allowance ({allowance})");
        return Err(error::server(first.halt.filter(|halt| !halt.contains("OutOfGas")).unwrap_or(what)));
    }
    let first = finish(first)?;
    // Between what it used, which can be too little on the way (63/64 stay with the caller), and what sufficed.
    let (mut low, mut high) = (first.gas_used.saturating_sub(1), allowance);
    let likely = (first.gas_used.saturating_add(2_300)).saturating_mul(64) / 63;
    let mut guess = likely.min(high);
    while high - low > (high / 64).max(1) || high == allowance {
        call.gas_limit = guess;
        match enough(backend, &head, &call)? {
            true => high = guess,
            false => low = guess,
        }
        if high - low <= 1 {
            break;
        }
        guess = low + (high - low) / 2;
    }
    // A plain transfer has an exact answer.
    call.gas_limit = first.gas_used;
    Ok(hex(if enough(backend, &head, &call)? { first.gas_used } else { high }))
}

pub async fn send_raw(backend: &Backend, params: Params<'_>) -> RpcResult<Value> {
    let bytes: Bytes = params.one()?;
    let head = backend.head()?;
    let hash = keccak256(&bytes);
    if backend.ledger.pool().contains(hash) {
        return Err(error::server("already known"));
    }
    // Before anything is passed on: what cannot be a transaction gets Ethereum's own words.
    if let Err(e) = backend.ledger.decode(&bytes, &head) {
        return Err(match e {
            TxError::Malformed(_) => error::invalid(e.to_string()),
            _ => error::server(e.to_string()),
        });
    }
    drop(head);
    backend.submit.submit(bytes).await.map_err(error::server)?;
    Ok(json!(hash))
}

fn enough(backend: &Backend, head: &Head, call: &Call) -> RpcResult<bool> {
    let mut view = head.view();
    let context = backend.context(head);
    let outcome = Machine::for_calls(&mut view, &context).call(call).map_err(error::fault)?;
    Ok(outcome.is_ok_and(|outcome| outcome.success))
}

fn ask(backend: &Backend, head: &Head, call: &Call) -> RpcResult<Outcome> {
    let mut view = head.view();
    let context = backend.context(head);
    let outcome = Machine::for_calls(&mut view, &context).call(call).map_err(error::fault)?;
    outcome.map_err(|refusal| error::server(refusal.0))
}

fn finish(outcome: Outcome) -> Result<Outcome, ErrorObjectOwned> {
    match (&outcome.halt, outcome.success) {
        (Some(halt), _) => Err(error::server(halt.clone())),
        (None, false) => Err(error::reverted(&outcome.output)),
        (None, true) => Ok(outcome),
    }
}

fn read(request: &TransactionRequest, head: &Head) -> RpcResult<Call> {
    if request.gas_price.is_some() && request.max_fee_per_gas.is_some() {
        return Err(error::invalid("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified"));
    }
    if let (Some(fee), Some(tip)) = (request.max_fee_per_gas, request.max_priority_fee_per_gas)
        && tip > fee
    {
        return Err(error::invalid("maxFeePerGas is less than maxPriorityFeePerGas"));
    }
    let chain_id = head.params.chain_id;
    if let Some(other) = request.chain_id.filter(|id| *id != chain_id) {
        return Err(error::invalid(format!("chainId does not match node's (have={other}, want={chain_id})")));
    }
    Ok(Call {
        from: request.from.unwrap_or_default(),
        to: request.to.and_then(|to| to.to().copied()),
        input: request.input.input().cloned().unwrap_or_default(),
        value: request.value.unwrap_or_default(),
        gas_limit: request.gas.unwrap_or(CALL_GAS).min(CALL_GAS),
        gas_price: request.gas_price.or(request.max_fee_per_gas).unwrap_or_default(),
        access_list: request.access_list.clone().unwrap_or_default(),
        authorizations: request.authorization_list.clone().unwrap_or_default(),
    })
}
