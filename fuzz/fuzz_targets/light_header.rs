//! A signed header with its validators, from a node of the chain that nobody trusts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sahara_light::headers::{LightBlock, MAX_BLOCK_BYTES, Untrusted};

fuzz_target!(|parts: (Vec<u8>, Vec<u8>, Vec<u8>)| {
    let (signed, validators, next) = parts;
    let bytes = signed.len() + validators.len() + next.len();
    let block = LightBlock {
        signed_header: signed.into(),
        validators: validators.into(),
        next_validators: next.into(),
    };
    if let Ok(header) = Untrusted::read(block) {
        assert!(bytes <= MAX_BLOCK_BYTES && !header.chain().is_empty());
    }
});
