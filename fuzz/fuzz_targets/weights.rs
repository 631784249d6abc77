//! A weight file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sahara_circuits::weights::Weights;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(weights) = Weights::from_bytes(bytes) {
        assert_eq!(weights.to_bytes(), bytes);
    }
});
