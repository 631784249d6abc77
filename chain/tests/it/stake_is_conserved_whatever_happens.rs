//! Random histories of stake: after every step the contract owns exactly what it owes, but for dust that rounding
//! leaves with it; and what consensus is told sums up to the stake that may validate.

use std::collections::BTreeMap;

use alloy_primitives::{Address, U256};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use sahara_chain::{
    application::{Offence, OffenceKind, Vote},
    error::StoreError,
    evm::abi::selector,
    genesis::GenesisValidator,
    staking::{self, BlockFacts, Env, StakingParams, Validator, Words},
    validator::ConsensusKey,
};

const ACTORS: u8 = 5;

#[derive(Clone, Default)]
struct Memory(BTreeMap<U256, U256>);

impl Words for Memory {
    fn load(&mut self, slot: U256) -> Result<U256, StoreError> {
        Ok(self.0.get(&slot).copied().unwrap_or_default())
    }

    fn store(&mut self, slot: U256, value: U256) -> Result<(), StoreError> {
        self.0.insert(slot, value);
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Create(u8, u64),
    Delegate(u8, u8, u64),
    Undelegate(u8, u8, u64),
    Redelegate(u8, u8, u8, u64),
    Withdraw(u8),
    Claim(u8, u8),
    Commission(u8),
    Unjail(u8),
    Block { signed: u8, offender: Option<u8> },
    Away(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..ACTORS;
    let amount = || prop_oneof![1u64..1000, 1u64..18_000_000_000_000_000_000];
    prop_oneof![
        (who(), 0u64..10_001).prop_map(|(a, c)| Step::Create(a, c)),
        (who(), who(), amount()).prop_map(|(a, v, n)| Step::Delegate(a, v, n)),
        (who(), who(), amount()).prop_map(|(a, v, n)| Step::Undelegate(a, v, n)),
        (who(), who(), who(), amount()).prop_map(|(a, v, w, n)| Step::Redelegate(a, v, w, n)),
        who().prop_map(Step::Withdraw),
        (who(), who()).prop_map(|(a, v)| Step::Claim(a, v)),
        who().prop_map(Step::Commission),
        who().prop_map(Step::Unjail),
        (any::<u8>(), proptest::option::weighted(0.1, who()))
            .prop_map(|(signed, offender)| Step::Block { signed, offender }),
        who().prop_map(Step::Away),
        (1u64..3_000_000).prop_map(Step::Wait),
    ]
}

struct World {
    words: Memory,
    balance: U256,
    height: u64,
    time: u64,
    known: BTreeMap<sahara_chain::validator::ConsensusAddress, GenesisValidator>,
    steps: u64,
}

fn actor(i: u8) -> Address {
    Address::repeat_byte(i + 1)
}

fn key(i: u8) -> ConsensusKey {
    ConsensusKey(SigningKey::from_bytes(&[i + 1; 32]).verifying_key().to_bytes().into())
}

fn word(address: Address) -> U256 {
    U256::from_be_bytes(address.into_word().0)
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            words: Memory::default(),
            balance: U256::ZERO,
            height: 1,
            time: 1_000_000,
            known: BTreeMap::new(),
            steps: 0,
        };
        StakingParams { max_validators: 3, ..StakingParams::default() }.store(&mut world.words).unwrap();
        for i in 0..2 {
            let validator = GenesisValidator { operator: actor(i), consensus_key: key(i), power: 10 };
            world.balance += staking::bond_genesis(&mut world.words, &validator).unwrap();
            world.known.insert(validator.consensus_key.address(), validator);
        }
        world
    }

    fn call(&mut self, from: u8, value: u64, name: &str, arguments: &[U256]) -> Option<Vec<U256>> {
        let mut input = selector(name).to_vec();
        arguments.iter().for_each(|word| input.extend(word.to_be_bytes::<32>()));
        let value = U256::from(value);
        let env = Env { caller: actor(from), value, read_only: false, height: self.height, time: self.time };
        let before = self.words.clone();
        match staking::run(&mut self.words, &env, &input).unwrap() {
            Ok(answer) => {
                self.balance += value;
                assert!(answer.payout <= self.balance, "{name} pays more than there is");
                self.balance -= answer.payout;
                Some(answer.output.chunks_exact(32).map(U256::from_be_slice).collect())
            }
            Err(_) => {
                self.words = before;
                None
            }
        }
    }

    fn take(&mut self, step: Step) {
        self.steps += 1;
        let n = U256::from;
        match step {
            Step::Create(a, commission) => {
                let key = U256::from_be_bytes(key(a).0.0);
                self.call(a, 2_000_000_000_000_000_000, "createValidator(bytes32,uint256)", &[key, n(commission)]);
            }
            Step::Delegate(a, v, amount) => drop(self.call(a, amount, "delegate(address)", &[word(actor(v))])),
            Step::Undelegate(a, v, amount) => {
                self.call(a, 0, "undelegate(address,uint256)", &[word(actor(v)), n(amount)]);
            }
            Step::Redelegate(a, v, w, amount) => {
                let arguments = [word(actor(v)), word(actor(w)), n(amount)];
                self.call(a, 0, "redelegate(address,address,uint256)", &arguments);
            }
            Step::Withdraw(a) => drop(self.call(a, 0, "withdraw()", &[])),
            Step::Claim(a, v) => drop(self.call(a, 0, "claim(address)", &[word(actor(v))])),
            Step::Commission(a) => drop(self.call(a, 0, "claimCommission()", &[])),
            Step::Unjail(a) => drop(self.call(a, 0, "unjail()", &[])),
            Step::Block { signed, offender } => self.block(signed, offender),
            Step::Away(v) => (0..200).for_each(|_| self.block(!(1 << v), None)),
            Step::Wait(seconds) => self.time += seconds,
        }
    }

    fn block(&mut self, signed: u8, offender: Option<u8>) {
        self.height += 1;
        self.time += 1;
        let votes: Vec<Vote> = self
            .known
            .values()
            .filter(|v| v.power > 0)
            .map(|v| Vote {
                validator: v.consensus_key.address(),
                power: v.power,
                signed: signed >> (v.operator[0] - 1) & 1 == 1,
            })
            .collect();
        let offences: Vec<Offence> = offender
            .map(|i| Offence { validator: key(i).address(), height: self.height - 1, kind: OffenceKind::DoubleSign })
            .into_iter()
            .collect();
        let facts =
            BlockFacts { height: self.height, time: self.time, votes: &votes, offences: &offences, known: &self.known };
        self.balance += staking::begin_block(&mut self.words, &facts).unwrap();
        for change in staking::end_block(&mut self.words).unwrap() {
            self.known.insert(change.consensus_key.address(), change);
        }
        assert!(self.known.values().any(|v| v.power > 0), "a chain needs a validator");
        assert!(self.known.values().filter(|v| v.power > 0).count() <= 3);
    }

    fn check(&mut self) {
        let mut owed = self.call(0, 0, "pool()", &[]).unwrap()[0];
        for v in 0..ACTORS {
            let Ok(validator) = Validator::load(&mut self.words, actor(v)) else { continue };
            owed += validator.tokens;
            let mut shares = U256::ZERO;
            for a in 0..ACTORS {
                let own = self.call(0, 0, "delegationOf(address,address)", &[word(actor(v)), word(actor(a))]).unwrap();
                shares += own[1];
                owed += own[2];
            }
            assert_eq!(shares, validator.shares, "shares belong to delegators");
            let before = self.words.clone();
            let balance = self.balance;
            owed += self.call(v, 0, "claimCommission()", &[]).unwrap()[0];
            (self.words, self.balance) = (before, balance);
        }
        for a in 0..ACTORS {
            let entries = self.call(0, 0, "unbondingOf(address)", &[word(actor(a))]).unwrap();
            owed += entries[2..].chunks_exact(3).map(|entry| entry[1]).sum::<U256>();
        }
        assert!(self.balance >= owed, "it owes {owed} and owns {}", self.balance);
        let dust = self.balance - owed;
        assert!(dust <= U256::from(self.height * 4 + self.steps * 8), "{dust} went astray");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn stake_is_conserved_whatever_happens(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check();
        }
    }
}

#[test]
fn a_large_stake_after_deep_cuts_does_not_overflow() {
    let mut world = World::new();
    for _ in 0..40 {
        world.take(Step::Delegate(3, 1, u64::MAX));
        world.take(Step::Away(1));
        world.take(Step::Wait(1_000));
        world.take(Step::Unjail(1));
        world.check();
    }
}
