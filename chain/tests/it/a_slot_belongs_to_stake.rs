//! Places among the validators belong to stake: who empties a thousand of them keeps nobody out, and who has more takes
//! the place of the weakest. What was emptied still answers for its past, and comes back with new stake; when nothing of
//! its past can be proven any more, the nodes forget it.

use alloy_primitives::{Address, U256};
use ed25519_dalek::SigningKey;
use sahara_chain::{
    application::{DecidedBlock, Offence, OffenceKind},
    genesis::{DEV_CHAIN_ID, TOKEN},
    staking::{self, BlockFacts, Env, StakingParams, Status, Validator},
    validator::ConsensusKey,
};

use crate::{
    common::{CHAIN, address},
    stake_is_conserved_whatever_happens::Memory,
    stake_net::{CREATE, Net, WEEK, enter, new_key, registration, tokens, word},
};

struct Stage {
    words: Memory,
    height: u64,
}

fn operator(i: u32) -> Address {
    Address::left_padding_from(&(i + 1_000_000).to_be_bytes())
}

fn signer(i: u32) -> SigningKey {
    let mut seed = [3; 32];
    seed[..4].copy_from_slice(&i.to_be_bytes());
    SigningKey::from_bytes(&seed)
}

impl Stage {
    fn new() -> Self {
        let mut words = Memory::default();
        StakingParams::default().store(&mut words).unwrap();
        staking::identify(&mut words, CHAIN, DEV_CHAIN_ID).unwrap();
        Self { words, height: 1 }
    }

    fn call(&mut self, from: Address, value: U256, name: &str, arguments: &[U256]) -> Result<Vec<U256>, String> {
        let mut input = sahara_chain::evm::abi::selector(name).to_vec();
        arguments.iter().for_each(|word| input.extend(word.to_be_bytes::<32>()));
        let env = Env { caller: from, value, read_only: false, height: self.height, time: 1_000 + self.height };
        let answer = staking::run(&mut self.words, &env, &input).unwrap()?;
        Ok(answer.output.chunks_exact(32).map(U256::from_be_slice).collect())
    }

    fn create(&mut self, i: u32, tokens: u64) {
        let arguments = registration(&signer(i), operator(i), 0);
        self.call(operator(i), TOKEN * U256::from(tokens), CREATE, &arguments).unwrap();
    }

    fn empty(&mut self, i: u32, tokens: u64) {
        let arguments = [word(operator(i)), TOKEN * U256::from(tokens)];
        self.call(operator(i), U256::ZERO, "undelegate(address,uint256)", &arguments).unwrap();
    }

    fn end(&mut self) -> usize {
        let changes = staking::end_block(&mut self.words).unwrap();
        self.height += 1;
        changes.len()
    }

    fn places(&mut self) -> usize {
        let count = self.call(operator(0), U256::ZERO, "validatorCount()", &[]).unwrap()[0];
        let count = usize::try_from(count).unwrap();
        let mut all: Vec<U256> = (0..count)
            .map(|i| self.call(operator(0), U256::ZERO, "validatorAt(uint256)", &[U256::from(i)]).unwrap()[0])
            .collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "somebody has two places");
        count
    }

    fn has_place(&mut self, i: u32) -> bool {
        let count = self.places();
        (0..count).any(|at| {
            self.call(operator(0), U256::ZERO, "validatorAt(uint256)", &[U256::from(at)]).unwrap()[0]
                == word(operator(i))
        })
    }
}

#[test]
fn a_thousand_emptied_validators_keep_nobody_out() {
    let mut stage = Stage::new();
    stage.create(0, 50);
    assert_eq!(stage.end(), 1);
    for i in 1..=1_000 {
        stage.create(i, 1);
        stage.empty(i, 1);
    }
    stage.end();
    assert_eq!(stage.places(), 1);
    stage.create(2_000, 5);
    assert_eq!(stage.end(), 1, "the newcomer validates");
    // What was emptied answers for its past all the same.
    let key = ConsensusKey(signer(7).verifying_key().to_bytes().into());
    let known = [(
        key.address(),
        sahara_chain::genesis::GenesisValidator { operator: operator(7), consensus_key: key, power: 1 },
    )];
    let known = known.into_iter().collect();
    let offence = Offence { validator: key.address(), height: 1, kind: OffenceKind::DoubleSign, power: 1 };
    let facts = BlockFacts {
        height: stage.height,
        time: 2_000,
        before: 1_999,
        votes: &[],
        offences: &[offence],
        known: &known,
    };
    staking::begin_block(&mut stage.words, &facts).unwrap();
    let status = Validator::load(&mut stage.words, operator(7)).unwrap().status;
    assert!(matches!(status, Status::Tombstoned(_)), "{status:?}");
    // Another one comes back with new stake, under its old key, once its operator says so.
    stage.call(operator(8), TOKEN * U256::from(9), "delegate(address)", &[word(operator(8))]).unwrap();
    stage.call(operator(8), U256::ZERO, "unjail()", &[]).unwrap();
    assert_eq!(stage.end(), 1);
    assert!(stage.has_place(8) && !stage.has_place(7));
}

#[test]
fn with_all_places_taken_the_weakest_makes_room() {
    let mut stage = Stage::new();
    for i in 0..1_000 {
        stage.create(i, 2);
    }
    stage.end();
    assert_eq!(stage.places(), 1_000);
    stage.create(1_000, 1);
    stage.end();
    assert!(!stage.has_place(1_000), "it is the weakest itself");
    stage.create(1_001, 3);
    assert_eq!(stage.end(), 2, "it validates instead of the last of the hundred");
    assert_eq!(stage.places(), 1_000);
    assert!(stage.has_place(1_001) && stage.has_place(0) && !stage.has_place(999));
    // Whoever lost its place has its stake, and takes the place of another with more.
    stage.call(operator(999), TOKEN * U256::from(9), "delegate(address)", &[word(operator(999))]).unwrap();
    stage.end();
    assert!(stage.has_place(999) && !stage.has_place(998));
    stage.empty(998, 2);
}

#[test]
fn a_key_is_known_while_an_offence_of_it_can_be_proven_and_not_longer() {
    let mut net = Net::new();
    enter(&mut net);
    let known = |net: &Net| net.chain.head().validators.contains_key(&new_key().address());
    let out = |net: &mut Net| net.must(1, U256::ZERO, "undelegate(address,uint256)", &[word(address(1)), tokens(5)]);
    out(&mut net);
    net.time += 2 * WEEK;
    net.block(DecidedBlock::default());
    // It comes back and leaves again: that counts.
    net.must(1, tokens(5), "delegate(address)", &[word(address(1))]);
    net.must(1, U256::ZERO, "unjail()", &[]);
    out(&mut net);
    net.time += WEEK + 3600;
    net.pass(0);
    net.block(DecidedBlock::default());
    assert!(known(&net), "three weeks after the first time");
    net.time += 2 * WEEK;
    net.block(DecidedBlock::default());
    assert!(!known(&net));
    // And with stake it is back again.
    net.must(1, tokens(5), "delegate(address)", &[word(address(1))]);
    assert_eq!(net.must(1, U256::ZERO, "unjail()", &[]).len(), 1);
    assert!(known(&net));
}

#[test]
fn a_key_that_came_back_is_known_while_it_validates() {
    let mut net = Net::new();
    enter(&mut net);
    net.must(1, U256::ZERO, "undelegate(address,uint256)", &[word(address(1)), tokens(5)]);
    net.block(DecidedBlock::default());
    net.must(1, tokens(5), "delegate(address)", &[word(address(1))]);
    net.must(1, U256::ZERO, "unjail()", &[]);
    // What was noted when it left is due, and it is in consensus.
    net.pass(4 * WEEK);
    net.block(DecidedBlock::default());
    assert!(net.chain.head().validators.contains_key(&new_key().address()));
}
