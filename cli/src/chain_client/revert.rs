//! What a contract says when it refuses, in words.

use alloy_primitives::hex;
use alloy_sol_types::{Panic, Revert, SolError};

/// A refusal's data in words: its reason, or the name of the contract's own error with what it says.
pub fn words(data: &[u8]) -> String {
    if let Ok(reason) = Revert::abi_decode_validate(data) {
        return reason.reason;
    }
    if let Ok(panic) = Panic::abi_decode_validate(data) {
        return panic.to_string();
    }
    format!("0x{}", hex::encode(&data[..data.len().min(68)]))
}
