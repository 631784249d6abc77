//! The front of a weight part's file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sahara_mpc::models::PartHeader;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = PartHeader::decode(bytes) {
        assert_eq!(header.encode(), bytes);
    }
});
