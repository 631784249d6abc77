//! A committee file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sahara_mpc::committee::Committee;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(committee) = Committee::parse(text) {
        assert_eq!(Committee::parse(&committee.to_toml()), Ok(committee));
    }
});
