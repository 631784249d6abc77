//! What unit tests of the ledger share: a chain of one validator in memory, and accounts that can pay.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256};
use ed25519_dalek::SigningKey;

use super::Ledger;
use crate::{
    beacon::Secret,
    consensus::Time,
    embedded::{Embedded, SignedBlock},
    genesis::{DEV_ACCOUNTS, DEV_CHAIN_ID, Genesis, GenesisValidator},
    store::{MemoryStore, Store},
    validator::{ConsensusAddress, ConsensusKey},
    wallet::{Payment, Wallet},
};

const START: u64 = 1_700_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// A chain that has begun.
pub struct Chain {
    pub ledger: Arc<Ledger>,
    /// Its validator.
    pub proposer: ConsensusAddress,
    driver: Embedded<Ledger>,
    now: u64,
}

impl Chain {
    pub fn new() -> Self {
        Self::with(None)
    }

    /// A chain whose validator begins its blocks with what this secret shows.
    pub fn with(secret: Option<Secret>) -> Self {
        let key = SigningKey::from_bytes(&[9; 32]);
        let consensus_key = ConsensusKey(key.verifying_key().to_bytes().into());
        let validator = GenesisValidator { operator: DEV_ACCOUNTS[9].0, consensus_key, power: 10 };
        let mut genesis = Genesis::development(vec![validator]);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let mut ledger = Ledger::open(store.clone()).unwrap();
        if let Some(mut secret) = secret {
            genesis.beacon.chains.insert(DEV_ACCOUNTS[9].0, secret.commitment(0));
            ledger = ledger.with_beacon(secret);
        }
        let (ledger, genesis) = (Arc::new(ledger), serde_json::to_vec(&genesis).unwrap());
        let driver = Embedded::start(ledger.clone(), store, key, "sahara-test", &genesis, Time(START)).unwrap();
        Self { ledger, proposer: consensus_key.address(), driver, now: START }
    }

    /// The next block, with these candidates.
    pub fn block(&mut self, candidates: &[Bytes]) -> SignedBlock {
        self.now += SECOND;
        self.driver.step(candidates, Time(self.now)).unwrap()
    }
}

/// What one of the development accounts pays.
pub fn pay(from: usize, payment: Payment) -> Bytes {
    Wallet::new(DEV_ACCOUNTS[from].1, DEV_CHAIN_ID).unwrap().pay(&payment).unwrap()
}

/// A transfer that offers `tip`.
pub fn transfer(from: usize, nonce: u64, tip: u128) -> Bytes {
    let (to, value) = (Some(Address::repeat_byte(1)), U256::from(1));
    pay(from, Payment { nonce, to, value, gas_limit: 21_000, max_fee: 10_000_000_000, tip, ..Payment::default() })
}
