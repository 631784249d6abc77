//! Errors with Ethereum's codes and words: tools look for both.

use alloy_primitives::{Bytes, hex};
use jsonrpsee::types::ErrorObjectOwned;

use crate::{
    error::{Fault, StoreError},
    evm::abi,
};

/// Anything the node refuses or fails at.
pub const SERVER: i32 = -32000;
/// What is asked for is not there.
const NOT_FOUND: i32 = -32001;
/// A parameter makes no sense.
const INVALID: i32 = -32602;
/// A limit of this node.
const LIMIT: i32 = -32005;
/// Execution reverted; the data is what the contract said.
const REVERTED: i32 = 3;

pub fn server(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned::<()>(SERVER, message, None)
}

pub fn invalid(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned::<()>(INVALID, message, None)
}

pub fn not_found(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned::<()>(NOT_FOUND, message, None)
}

pub fn limit(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned::<()>(LIMIT, message, None)
}

pub fn store(error: StoreError) -> ErrorObjectOwned {
    server(error.to_string())
}

pub fn fault(error: Fault) -> ErrorObjectOwned {
    server(error.to_string())
}

pub fn reverted(output: &Bytes) -> ErrorObjectOwned {
    let message = match abi::read_reason(output) {
        Some(reason) => format!("execution reverted: {reason}"),
        None => "execution reverted".to_owned(),
    };
    ErrorObjectOwned::owned(REVERTED, message, Some(hex::encode_prefixed(output)))
}
