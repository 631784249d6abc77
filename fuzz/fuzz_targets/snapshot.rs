//! A chunk and a manifest of a snapshot, as a peer may send them. Nothing may panic, and nothing may become a state.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../chain/tests/it/arbitrary.rs"]
mod arbitrary;

fuzz_target!(|bytes: &[u8]| arbitrary::snapshot(bytes));
