//! Records of a job: what is read has an answer to whether it holds and fits another; ends are written back to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sahara_mpc::transcript::{DealtRecord, JobRecord, Openings, SignedRecord, verify};
use sahara_mpc::wire::Message;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = SignedRecord::decode(bytes) {
        assert_eq!(record.encode(), bytes);
        let _ = record.is_signed();
    }
    if let Ok(record) = JobRecord::decode(bytes) {
        let _ = record.faults();
        let _ = verify([&record, &record], None);
    }
    if let Ok(record) = DealtRecord::decode(bytes) {
        assert_eq!(record.encode(), bytes);
        let _ = record.is_signed();
    }
    let _ = Openings::decode(bytes);
});
