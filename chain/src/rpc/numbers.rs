//! Numbers as Ethereum writes them.

use alloy_primitives::U256;
use serde_json::Value;

/// A number as Ethereum writes it.
pub fn hex(number: impl TryInto<u64>) -> Value {
    Value::String(format!("{:#x}", number.try_into().unwrap_or(u64::MAX)))
}

/// The same of a large one.
pub fn quantity(number: U256) -> Value {
    Value::String(format!("{number:#x}"))
}
