//! A signed transcript: what is read is written back to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sahara_mpc::transcript::SignedRecord;
use sahara_mpc::wire::Message;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = SignedRecord::decode(bytes) {
        assert_eq!(record.encode(), bytes);
        let _ = record.is_signed();
    }
});
