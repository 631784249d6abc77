//! ProcessProposal with arbitrary transactions.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../chain/tests/it/arbitrary.rs"]
mod arbitrary;

fuzz_target!(|bytes: &[u8]| arbitrary::process(bytes));
