//! What owners sign, and what a node remembers of a sharing: canonical bytes with checked signatures.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sahara_mpc::manifest::{SignedAccess, SignedManifest};
use sahara_mpc::models::SharingRecord;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signed) = SignedManifest::decode(bytes) {
        assert_eq!(signed.encode(), bytes);
    }
    if let Ok(access) = SignedAccess::decode(bytes) {
        assert_eq!(access.encode(), bytes);
    }
    if let Ok(record) = SharingRecord::decode(bytes) {
        assert_eq!(record.encode(), bytes);
    }
});
