//! Each rule of stake at its bound: what is just allowed, and what is just not. The storage is a map.

mod bounds;
mod conduct;
mod timelock;

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};
use ed25519_dalek::{Signer, SigningKey};

use super::*;
use crate::{
    application::{Offence, OffenceKind, Vote},
    error::StoreError,
    evm::abi::selector,
    validator::{ConsensusAddress, ConsensusKey, GenesisValidator, TOKEN},
};

const GOVERNANCE: Address = Address::repeat_byte(0xee);
const DELEGATOR: Address = Address::repeat_byte(0xdd);
const CHAIN: &str = "c";
const CHAIN_ID: u64 = 7;

/// The storage of the contract.
#[derive(Clone, Default)]
struct Memory(BTreeMap<U256, U256>);

impl Storage for Memory {
    fn load(&mut self, slot: U256) -> std::result::Result<U256, StoreError> {
        Ok(self.0.get(&slot).copied().unwrap_or_default())
    }

    fn store(&mut self, slot: U256, value: U256) -> std::result::Result<(), StoreError> {
        self.0.insert(slot, value);
        Ok(())
    }
}

fn signer(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn key(n: u8) -> ConsensusKey {
    ConsensusKey(signer(n).verifying_key().to_bytes().into())
}

fn operator(n: u8) -> Address {
    Address::repeat_byte(n)
}

fn tokens(whole: u64) -> U256 {
    TOKEN * U256::from(whole)
}

/// Validators with numbers from 1 on, of these weights.
struct World {
    storage: Memory,
    known: BTreeMap<ConsensusAddress, GenesisValidator>,
    height: u64,
    time: u64,
}

impl World {
    fn new(powers: &[u64]) -> Self {
        Self::with(powers, StakingParams::default())
    }

    fn with(powers: &[u64], params: StakingParams) -> Self {
        let mut storage = Memory::default();
        StakingParams { governance: GOVERNANCE, ..params }.store(&mut storage).unwrap();
        identify(&mut storage, CHAIN, CHAIN_ID).unwrap();
        let mut known = BTreeMap::new();
        for (n, power) in (1..).zip(powers) {
            let genesis = GenesisValidator { operator: operator(n), consensus_key: key(n), power: *power };
            bond_genesis(&mut storage, &genesis).unwrap();
            known.insert(key(n).address(), genesis);
        }
        Self { storage, known, height: 1_000, time: 1_000_000 }
    }

    fn validator(&mut self, n: u8) -> Validator {
        Validator::load(&mut self.storage, operator(n)).unwrap()
    }

    /// The beginning of the next block. Gives what was made.
    fn begin(&mut self, votes: &[Vote], offences: &[Offence]) -> U256 {
        let (height, before) = (self.height + 1, self.time);
        (self.height, self.time) = (height, before + 1);
        let facts = BlockFacts { height, time: self.time, before, votes, offences, known: &self.known };
        begin_block(&mut self.storage, &facts).unwrap()
    }

    fn call(
        &mut self,
        caller: Address,
        value: U256,
        name: &str,
        arguments: &[U256],
    ) -> std::result::Result<Answer, String> {
        let mut input = selector(name).to_vec();
        arguments.iter().for_each(|word| input.extend(word.to_be_bytes::<32>()));
        let env = Env { caller, value, read_only: false, height: self.height, time: self.time };
        run(&mut self.storage, &env, &input).unwrap()
    }

    fn must(&mut self, caller: Address, value: U256, name: &str, arguments: &[U256]) -> Answer {
        self.call(caller, value, name, arguments).unwrap_or_else(|why| panic!("{name}: {why}"))
    }

    /// Why a call is refused; what it wrote is taken back, as a revert does.
    fn refused(&mut self, caller: Address, value: U256, name: &str, arguments: &[U256]) -> String {
        let before = self.storage.clone();
        let why = self.call(caller, value, name, arguments).expect_err(name);
        self.storage = before;
        why
    }

    fn pool(&mut self) -> U256 {
        self.storage.load(storage::slot("pool", &[])).unwrap()
    }
}

fn vote(n: u8, power: u64, signed: bool) -> Vote {
    Vote { validator: key(n).address(), power, signed }
}

fn double(n: u8, height: u64, power: u64) -> Offence {
    Offence { validator: key(n).address(), height, power, kind: OffenceKind::DoubleSign }
}

fn arg(address: Address) -> U256 {
    storage::word(address)
}

/// What `createValidator` is told by `caller`, whose key is number `n`.
fn registration(caller: Address, n: u8, commission: u64, length: u64) -> Vec<U256> {
    let proof = signer(n).sign(&possession(CHAIN, CHAIN_ID, caller, key(n))).to_bytes();
    let half = |at: usize| U256::from_be_slice(&proof[at..at + 32]);
    let key = U256::from_be_bytes(key(n).0.0);
    let tip = U256::from_be_bytes(B256::repeat_byte(5).0);
    let numbers = [commission, 5 * 32, length, 64].map(U256::from);
    vec![key, numbers[0], numbers[1], tip, numbers[2], numbers[3], half(0), half(32)]
}

const CREATE: &str = "createValidator(bytes32,uint256,bytes,bytes32,uint256)";
const DELEGATE: &str = "delegate(address)";
const UNDELEGATE: &str = "undelegate(address,uint256)";
const REDELEGATE: &str = "redelegate(address,address,uint256)";
