//! Errors with Ethereum's codes and words: tools look for both.

use std::{future::Future, pin::Pin};

use alloy_primitives::{Bytes, hex};
use serde::Serialize;
use serde_json::Value;

use crate::{
    error::{Fault, StoreError},
    evm::abi,
};

/// Anything the node refuses or fails at.
pub const SERVER: i32 = -32000;
/// Not JSON.
pub const PARSE: i32 = -32700;
/// JSON, but no request.
pub const REQUEST: i32 = -32600;
/// No such method here.
pub const METHOD: i32 = -32601;
/// What is asked for is not there.
const NOT_FOUND: i32 = -32001;
/// A parameter makes no sense.
pub const INVALID: i32 = -32602;
/// The answer would be too long; geth has the same code.
const TOO_LARGE: i32 = -32003;
/// A limit of this node.
pub const LIMIT: i32 = -32005;
/// Execution reverted; the data is what the contract said.
const REVERTED: i32 = 3;

/// An error as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RpcError {
    /// What kind it is.
    pub code: i32,
    /// What is wrong, in words.
    pub message: String,
    /// What a contract said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// An answer or an error.
pub type RpcResult<T> = Result<T, RpcError>;

/// An answer, later.
pub type Told<'a> = Pin<Box<dyn Future<Output = RpcResult<Value>> + Send + 'a>>;

/// The same of whoever writes its answer itself.
pub type Answered<'a> = Pin<Box<dyn Future<Output = RpcResult<()>> + Send + 'a>>;

pub fn coded(code: i32, message: impl Into<String>) -> RpcError {
    RpcError { code, message: message.into(), data: None }
}

pub fn server(message: impl Into<String>) -> RpcError {
    coded(SERVER, message)
}

pub fn invalid(message: impl Into<String>) -> RpcError {
    coded(INVALID, message)
}

pub fn not_found(message: impl Into<String>) -> RpcError {
    coded(NOT_FOUND, message)
}

pub fn limit(message: impl Into<String>) -> RpcError {
    coded(LIMIT, message)
}

pub fn too_large(limit: usize) -> RpcError {
    coded(TOO_LARGE, format!("response too large: this node answers with {limit} bytes at most, ask for less"))
}

pub fn store(error: StoreError) -> RpcError {
    server(error.to_string())
}

impl From<StoreError> for RpcError {
    fn from(error: StoreError) -> Self {
        store(error)
    }
}

pub fn fault(error: Fault) -> RpcError {
    server(error.to_string())
}

pub fn reverted(output: &Bytes) -> RpcError {
    RpcError { code: REVERTED, message: revert_words(output), data: Some(hex::encode_prefixed(output)) }
}

/// What a reverting contract said, in words.
pub fn revert_words(output: &Bytes) -> String {
    match abi::read_reason(output) {
        Some(reason) => format!("execution reverted: {reason}"),
        None => "execution reverted".to_owned(),
    }
}
