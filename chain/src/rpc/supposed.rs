//! A call as the transaction that it would be, if somebody signed it.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEip2930, TxEip7702, TxEnvelope, TxLegacy};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{B256, Bytes, Signature, TxKind, U256, keccak256};
use alloy_rlp::Encodable;
use alloy_rpc_types_eth::TransactionRequest;

use super::error::{self, RpcResult};
use crate::tx::Tx;

/// `call` on the chain with `chain_id`, with this nonce and gas.
pub fn transaction(call: &TransactionRequest, chain_id: u64, nonce: u64, gas_limit: u64) -> RpcResult<Tx> {
    if call.gas_price.is_some() && (call.max_fee_per_gas.is_some() || call.max_priority_fee_per_gas.is_some()) {
        return Err(error::invalid("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified"));
    }
    if let Some(other) = call.chain_id.filter(|id| *id != chain_id) {
        return Err(error::invalid(format!("chainId does not match node's (have={other}, want={chain_id})")));
    }
    if call.blob_versioned_hashes.as_ref().is_some_and(|hashes| !hashes.is_empty()) || call.sidecar.is_some() {
        return Err(error::invalid("this chain takes no blobs"));
    }
    let (max_fee, tip) = (call.max_fee_per_gas.unwrap_or_default(), call.max_priority_fee_per_gas.unwrap_or_default());
    if tip > max_fee {
        return Err(error::invalid(format!("maxFeePerGas ({max_fee}) < maxPriorityFeePerGas ({tip})")));
    }
    let value = call.value.unwrap_or_default();
    let input = call.input.input().cloned().unwrap_or_default();
    let access_list = call.access_list.clone().unwrap_or_default();
    let to = call.to.unwrap_or(TxKind::Create);
    let unsigned = Signature::new(U256::ZERO, U256::ZERO, false);
    let mut hash = None;
    let envelope: TxEnvelope = if let Some(authorization_list) = call.authorization_list.clone() {
        let TxKind::Call(to) = to else {
            return Err(error::invalid("a transaction with authorizations has a receiver"));
        };
        let fields = TxEip7702 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: max_fee,
            max_priority_fee_per_gas: tip,
            to,
            value,
            access_list,
            authorization_list,
            input,
        };
        fields.into_signed(unsigned).into()
    } else if let Some(gas_price) = call.gas_price {
        match call.access_list.is_some() {
            true => TxEip2930 { chain_id, nonce, gas_price, gas_limit, to, value, access_list, input }
                .into_signed(unsigned)
                .into(),
            false => {
                let fields = TxLegacy { chain_id: None, nonce, gas_price, gas_limit, to, value, input };
                hash = Some(legacy_hash(&fields));
                fields.into_signed(unsigned).into()
            }
        }
    } else {
        let fields = TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: max_fee,
            max_priority_fee_per_gas: tip,
            to,
            value,
            access_list,
            input,
        };
        fields.into_signed(unsigned).into()
    };
    let bytes = Bytes::from(envelope.encoded_2718());
    let hash = hash.unwrap_or_else(|| keccak256(&bytes));
    Ok(Tx::new(hash, call.from.unwrap_or_default(), envelope, bytes))
}

/// Geth hashes a legacy transaction that nobody signed with three zeros for the signature.
fn legacy_hash(fields: &TxLegacy) -> B256 {
    let mut body = Vec::new();
    fields.nonce.encode(&mut body);
    fields.gas_price.encode(&mut body);
    fields.gas_limit.encode(&mut body);
    fields.to.encode(&mut body);
    fields.value.encode(&mut body);
    fields.input.encode(&mut body);
    body.extend([0x80; 3]);
    let mut out = Vec::with_capacity(body.len() + 9);
    alloy_rlp::Header { list: true, payload_length: body.len() }.encode(&mut out);
    out.extend(body);
    keccak256(out)
}
