//! The file by which a node joins a chain.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sahara_chain::comet::{Invitation, on_this_machine};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(invitation) = Invitation::from_bytes(bytes) {
        assert!(!invitation.chain_id().is_empty() && invitation.trust_seconds() >= 60);
        on_this_machine(&invitation.peers);
    }
});
