//! An account, as far as what it has waiting depends on it.

use alloy_primitives::U256;

/// What an account may do next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The nonce of its next transaction.
    pub nonce: u64,
    /// What it owns.
    pub balance: U256,
    /// Whether it runs code (EIP-7702): others can then spend its money and its nonces.
    pub delegated: bool,
}
