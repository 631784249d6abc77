//! A chain whose blocks say what consensus would: for the tests of staking.
#![allow(dead_code)]

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use ed25519_dalek::{Signer, SigningKey};
use sahara_chain::{
    application::{Application, DecidedBlock, Finalized, TxResult},
    beacon::Commitment,
    evm::abi::selector,
    genesis::{DEV_CHAIN_ID, Genesis, TOKEN},
    ledger::Ledger,
    staking,
    store::MemoryStore,
    validator::{ConsensusKey, ValidatorUpdate},
    wallet::Payment,
};

use crate::common::{CHAIN, Chain, START, address, genesis, pay};

pub const WEEK: u64 = 7 * 24 * 3600;
const DAY_ONE: u64 = 1_800_000_000;

pub struct Net {
    pub chain: Chain,
    pub time: u64,
    pub nonces: [u64; 10],
}

impl Net {
    pub fn new() -> Self {
        Self::with(&genesis())
    }

    pub fn with(genesis: &Genesis) -> Self {
        let mut chain = Chain::open(Arc::new(MemoryStore::default()), genesis, START);
        chain.block(&[]);
        Self { chain, time: DAY_ONE, nonces: [0; 10] }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.chain.ledger
    }

    pub fn block(&mut self, block: DecidedBlock) -> Finalized {
        self.time += 1;
        let height = self.ledger().info().height + 1;
        let done = self.ledger().finalize(&DecidedBlock { height, time: self.time, ..block }).unwrap();
        self.ledger().commit().unwrap();
        self.check_books();
        done
    }

    /// So long that nothing can be proven any more of what happened before.
    pub fn pass(&mut self, seconds: u64) {
        (0..=genesis().staking.evidence_blocks).for_each(|_| drop(self.block(DecidedBlock::default())));
        self.time += seconds;
    }

    /// Until what governance announced now counts: in steps so short that the chain never stands still.
    /// Which validators changed, at which height.
    pub fn pass_lock(&mut self, unbonding_seconds: u64) -> Vec<(u64, Vec<ValidatorUpdate>)> {
        let mut changed = Vec::new();
        let step = 3_000;
        let seconds = (unbonding_seconds + staking::NOTICE_SECONDS) / step + 1;
        let blocks = genesis().staking.evidence_blocks + staking::NOTICE_BLOCKS;
        for _ in 0..seconds.max(blocks) {
            self.time += step - 1;
            let validators = self.block(DecidedBlock::default()).validators;
            if !validators.is_empty() {
                changed.push((self.ledger().info().height, validators));
            }
        }
        changed
    }

    pub fn call(&mut self, from: usize, value: U256, name: &str, words: &[U256]) -> (TxResult, Vec<ValidatorUpdate>) {
        let mut input = selector(name).to_vec();
        words.iter().for_each(|word| input.extend(word.to_be_bytes::<32>()));
        let payment = Payment {
            nonce: self.nonces[from],
            to: Some(staking::ADDRESS),
            value,
            input: input.into(),
            gas_limit: 600_000,
            ..Payment::default()
        };
        self.nonces[from] += 1;
        let mut done = self.block(DecidedBlock { txs: vec![pay(from, payment)], ..DecidedBlock::default() });
        (done.results.remove(0), done.validators)
    }

    pub fn must(&mut self, from: usize, value: U256, name: &str, words: &[U256]) -> Vec<ValidatorUpdate> {
        let (result, updates) = self.call(from, value, name, words);
        assert_eq!(result.code, 0, "{name}: {}", String::from_utf8_lossy(&result.data));
        updates
    }

    pub fn refused(&mut self, from: usize, value: U256, name: &str, words: &[U256]) -> String {
        let (result, updates) = self.call(from, value, name, words);
        assert_eq!((result.code, updates.len()), (1, 0), "{name} was not refused");
        String::from_utf8_lossy(&result.data).into_owned()
    }

    pub fn tokens(&self, operator: Address) -> U256 {
        let mut view = self.chain.head().view();
        staking::Validator::load(&mut view, operator).unwrap().tokens
    }

    /// The contract has at least all the stake it counts.
    pub fn check_books(&self) {
        let staked: U256 = [address(9), address(1)]
            .iter()
            .filter_map(|operator| {
                let mut view = self.chain.head().view();
                staking::Validator::load(&mut view, *operator).ok()
            })
            .map(|validator| validator.tokens)
            .sum();
        assert!(self.chain.balance(staking::ADDRESS) >= staked);
    }
}

pub fn tokens(n: u64) -> U256 {
    TOKEN * U256::from(n)
}

pub fn word(address: Address) -> U256 {
    U256::from_be_bytes(address.into_word().0)
}

pub fn new_signer() -> SigningKey {
    SigningKey::from_bytes(&[77; 32])
}

pub fn new_key() -> ConsensusKey {
    ConsensusKey(new_signer().verifying_key().to_bytes().into())
}

/// Account 1 becomes a validator with five tokens and a tenth of commission.
pub fn enter(net: &mut Net) -> Vec<ValidatorUpdate> {
    net.must(1, tokens(5), CREATE, &registration(&new_signer(), address(1), 1000))
}

pub const CREATE: &str = "createValidator(bytes32,uint256,bytes,bytes32,uint256)";

/// The arguments with which `operator` registers the key of `signer` on the chain of these tests.
pub fn registration(signer: &SigningKey, operator: Address, commission: u64) -> Vec<U256> {
    let key = ConsensusKey(signer.verifying_key().to_bytes().into());
    let proof = signer.sign(&staking::possession(CHAIN, DEV_CHAIN_ID, operator, key)).to_bytes();
    arguments(key, commission, &proof, Commitment { tip: B256::repeat_byte(7), length: 9 })
}

/// Arguments of [`CREATE`].
pub fn arguments(key: ConsensusKey, commission: u64, proof: &[u8; 64], beacon: Commitment) -> Vec<U256> {
    let (low, high) = proof.split_at(32);
    let word = U256::from_be_slice;
    let head = [word(key.0.as_slice()), U256::from(commission), U256::from(160), beacon.tip.into()];
    [&head[..], &[U256::from(beacon.length), U256::from(64), word(low), word(high)]].concat()
}
