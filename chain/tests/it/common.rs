//! What the tests share: a chain of one validator in memory, and accounts that can pay.
#![allow(dead_code)]

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};
use ed25519_dalek::SigningKey;
use sahara_chain::{
    application::TxResult,
    consensus::{Time, hashes},
    embedded::{Embedded, SignedBlock, signed_header},
    genesis::{DEV_ACCOUNTS, DEV_CHAIN_ID, Genesis, GenesisValidator},
    ledger::{Head, Ledger},
    store::{MemoryStore, Store},
    validator::ConsensusKey,
    wallet::{Payment, Wallet},
};

pub const START: u64 = 1_700_000_000_000_000_000;
pub const SECOND: u64 = 1_000_000_000;
pub const CHAIN: &str = "sahara-test";

pub struct Chain {
    pub ledger: Arc<Ledger>,
    pub driver: Embedded<Ledger>,
    pub store: Arc<dyn Store>,
    pub now: u64,
}

pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

pub fn genesis() -> Genesis {
    let consensus_key = ConsensusKey(key().verifying_key().to_bytes().into());
    Genesis::development(vec![GenesisValidator { operator: DEV_ACCOUNTS[9].0, consensus_key, power: 10 }])
}

impl Chain {
    pub fn new() -> Self {
        Self::open(Arc::new(MemoryStore::default()), &genesis(), START)
    }

    pub fn open(store: Arc<dyn Store>, genesis: &Genesis, now: u64) -> Self {
        let ledger = Arc::new(Ledger::open(store.clone()).unwrap());
        let json = serde_json::to_vec(genesis).unwrap();
        let driver = Embedded::start(ledger.clone(), store.clone(), key(), CHAIN, &json, Time(now)).unwrap();
        Self { ledger, driver, store, now }
    }

    /// The next block, with these candidates.
    pub fn block(&mut self, txs: &[Bytes]) -> SignedBlock {
        self.now += SECOND;
        self.driver.step(txs, Time(self.now)).unwrap()
    }

    /// One transaction in a block of its own.
    pub fn send(&mut self, tx: Bytes) -> TxResult {
        let mut block = self.block(&[tx]);
        assert_eq!(block.results.len(), 1, "the transaction was not proposed");
        block.results.remove(0)
    }

    pub fn head(&self) -> Arc<Head> {
        self.ledger.head().unwrap()
    }

    /// The name of a block among validators.
    pub fn header_hash(&self, height: u64) -> B256 {
        let (signed, _) = signed_header(self.store.as_ref(), height).unwrap().unwrap();
        hashes::header(&signed.header.unwrap()).into()
    }

    pub fn balance(&self, address: Address) -> U256 {
        self.head().view().account(address).unwrap().unwrap_or_default().balance
    }

    pub fn nonce(&self, address: Address) -> u64 {
        self.head().view().account(address).unwrap().unwrap_or_default().nonce
    }
}

pub fn address(i: usize) -> Address {
    DEV_ACCOUNTS[i].0
}

pub fn wallet(i: usize) -> Wallet {
    Wallet::new(DEV_ACCOUNTS[i].1, DEV_CHAIN_ID).unwrap()
}

pub fn transfer(from: usize, nonce: u64, to: Address, value: u64) -> Bytes {
    pay(from, Payment { nonce, to: Some(to), value: U256::from(value), gas_limit: 21_000, ..Payment::default() })
}

pub fn pay(from: usize, mut payment: Payment) -> Bytes {
    if payment.max_fee == 0 {
        payment.max_fee = 10_000_000_000;
        payment.tip = 1_000_000_000;
    }
    wallet(from).pay(&payment).unwrap()
}
