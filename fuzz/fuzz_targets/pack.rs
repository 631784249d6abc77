//! The front of a pack file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sahara_mpc::packs::PackHeader;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((header, seed)) = PackHeader::decode(bytes) {
        assert_eq!(&header.encode(&seed)[..], bytes);
        let _ = header.file_len();
    }
});
