//! A JSON-RPC request body, answered on a small chain in memory. Nothing may panic.
#![no_main]

use std::sync::{Arc, LazyLock};

use ed25519_dalek::SigningKey;
use libfuzzer_sys::fuzz_target;
use sahara_chain::{
    consensus::Time,
    embedded::Embedded,
    genesis::{DEV_ACCOUNTS, Genesis, GenesisValidator},
    ledger::{AdmitError, Ledger},
    rpc::{self, Backend, Session, Submit, Submitted},
    store::{MemoryStore, Store},
    tx::Tx,
    validator::ConsensusKey,
    wallet::{Payment, Wallet},
};
use tokio::{runtime::Runtime, sync::watch};

struct Refuse;

impl Submit for Refuse {
    fn submit(&self, _: Arc<Tx>) -> Submitted<'_> {
        Box::pin(async { Err(AdmitError::NotBegun) })
    }
}

/// SSTORE(0, CALLVALUE + 1), LOG1(topic 0x2a); deployed as it is, called in its constructor.
const INIT: &[u8] = &[0x34, 0x60, 1, 0x01, 0x60, 0, 0x55, 0x60, 0x2a, 0x60, 0, 0x60, 0, 0xa1, 0x00];

static NODE: LazyLock<(Runtime, Arc<Backend>, watch::Sender<u64>)> = LazyLock::new(|| {
    let key = SigningKey::from_bytes(&[9; 32]);
    let consensus_key = ConsensusKey(key.verifying_key().to_bytes().into());
    let genesis = Genesis::development(vec![GenesisValidator { operator: DEV_ACCOUNTS[9].0, consensus_key, power: 10 }]);
    let genesis = serde_json::to_vec(&genesis).expect("a genesis");
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let ledger = Arc::new(Ledger::open(store.clone()).expect("an empty store"));
    let start = 1_700_000_000_000_000_000;
    let mut driver =
        Embedded::start(ledger.clone(), store, key, "fuzz", &genesis, Time(start)).expect("a new chain");
    let wallet = Wallet::new(DEV_ACCOUNTS[0].1, sahara_chain::genesis::DEV_CHAIN_ID).expect("a known key");
    let payment = Payment { input: INIT.into(), gas_limit: 200_000, max_fee: 10_000_000_000, tip: 1, ..Payment::default() };
    let tx = wallet.pay(&payment).expect("a transaction");
    driver.step(&[tx], Time(start + 1_000_000_000)).expect("a block");
    driver.step(&[], Time(start + 2_000_000_000)).expect("a block");
    let (sender, heights) = watch::channel(2);
    (Runtime::new().expect("threads"), Arc::new(Backend::new(ledger, Arc::new(Refuse), heights)), sender)
});

fuzz_target!(|bytes: &[u8]| {
    let (runtime, backend, _) = &*NODE;
    let _ = runtime.block_on(rpc::answer(backend, &Session::local(), bytes));
});
