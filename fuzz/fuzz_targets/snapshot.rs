//! A chunk and a manifest of a snapshot, as a peer may send them. Nothing may panic, and nothing may become a state.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sahara_chain::{
    application::{Application, Offer},
    ledger::Ledger,
    snapshot::Manifest,
    state::AppHash,
    store::MemoryStore,
};
use sha2::{Digest, Sha256};

fuzz_target!(|chunk: &[u8]| {
    if let Some(manifest) = Manifest::decode(chunk) {
        assert_eq!(manifest.encode(), chunk);
    }
    let app_hash = AppHash([7; 32].into());
    let manifest = Manifest { height: 5, app_hash, chunks: vec![Sha256::digest(chunk).into()] };
    let Ok(ledger) = Ledger::open(Arc::new(MemoryStore::default())) else { return };
    assert!(matches!(ledger.offer_snapshot(&manifest.announce(), app_hash.0.as_slice()), Ok(Offer::Accept)));
    assert!(ledger.apply_chunk(0, chunk).is_ok());
    assert_eq!(ledger.info().height, 0);
});
