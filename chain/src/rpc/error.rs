//! Errors with Ethereum's codes and words: tools look for both.

use alloy_primitives::{Bytes, hex};
use jsonrpsee::types::ErrorObjectOwned;

use crate::error::{Fault, StoreError};

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
    let message = match reason(output) {
        Some(reason) => format!("execution reverted: {reason}"),
        None => "execution reverted".to_owned(),
    };
    ErrorObjectOwned::owned(REVERTED, message, Some(hex::encode_prefixed(output)))
}

/// The text of `Error(string)`.
fn reason(output: &[u8]) -> Option<String> {
    let rest = output.strip_prefix(&hex!("08c379a0"))?;
    let length = usize::try_from(alloy_primitives::U256::from_be_slice(rest.get(32..64)?)).ok()?;
    let text = rest.get(64..)?.get(..length)?;
    Some(String::from_utf8_lossy(text).into_owned())
}
