//! What takes another's place pays so much more.

use alloy_consensus::Transaction as _;

use crate::tx::Tx;

/// A replacement pays this many percent more at least, and so does what takes another's place in a full pool.
pub const PRICE_BUMP_PERCENT: u128 = 10;

/// What a gas must pay to take the place of one that pays `old`.
pub fn bumped(old: u128) -> u128 {
    old.saturating_add((old.saturating_mul(PRICE_BUMP_PERCENT) / 100).max(1))
}

/// Whether `new` may take the place of `old`, of the same sender and nonce.
pub fn replaces(new: &Tx, old: &Tx) -> bool {
    let fee = |tx: &Tx| tx.envelope.max_fee_per_gas();
    let tip = |tx: &Tx| tx.envelope.priority_fee_or_price();
    fee(new) >= bumped(fee(old)) && tip(new) >= bumped(tip(old))
}
