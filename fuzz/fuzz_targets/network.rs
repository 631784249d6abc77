//! The file with the trust anchor of a network.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sahara_light::Anchor;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(anchor) = Anchor::read(bytes) {
        assert_eq!(Anchor::read(anchor.to_toml().as_bytes()), Ok(anchor.clone()));
        assert_eq!(Anchor::read(anchor.to_json().as_bytes()), Ok(anchor));
    }
});
