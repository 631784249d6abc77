//! The beacon: a proposal shows its proposer's next preimage or is refused; what a block contains beside that changes no
//! value; a new chain counts later; and Solidity asks for the values of epochs.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};
use sahara_chain::{
    application::{Application, ChainStart, DecidedBlock, Proposal, Verdict},
    beacon::{Commitment, Item, Secret, contract, item, state, step},
    evm::{BlockContext, Call, FORK, Machine, abi::selector},
    genesis::{DEV_CHAIN_ID, Genesis, GenesisValidator},
    ledger::{Head, Ledger},
    staking,
    store::MemoryStore,
    validator::{ConsensusAddress, ConsensusKey},
    wallet::Payment,
};
use zeroize::Zeroizing;

use crate::common::{Chain, START, address, genesis, key, pay, transfer};

const TIME: u64 = 1_800_000_000;

pub fn secret(i: u8) -> Secret {
    Secret::new(Zeroizing::new([i + 1; 32]))
}

fn consensus_key(i: u8) -> ConsensusKey {
    ConsensusKey(ed25519_dalek::SigningKey::from_bytes(&[i + 50; 32]).verifying_key().to_bytes().into())
}

fn named(i: u8) -> Option<ConsensusAddress> {
    Some(consensus_key(i).address())
}

/// Validators with chains, in epochs of four blocks.
pub fn first(count: u8) -> Genesis {
    let validators = (0..count)
        .map(|i| GenesisValidator { operator: address(usize::from(i)), consensus_key: consensus_key(i), power: 10 })
        .collect();
    let mut genesis = Genesis::development(validators);
    genesis.beacon.epoch_blocks = 4;
    genesis.beacon.chains = (0..count).map(|i| (address(usize::from(i)), secret(i).commitment(0))).collect();
    genesis
}

/// A ledger for each validator's secret would be one machine each; here one ledger stands for all, with the secret of
/// validator `i`.
pub fn ledger(genesis: &Genesis, i: u8) -> Ledger {
    let ledger = Ledger::open(Arc::new(MemoryStore::default())).unwrap().with_beacon(secret(i));
    let app_state = serde_json::to_vec(genesis).unwrap();
    let start =
        ChainStart { chain_id: crate::common::CHAIN.into(), time: TIME, app_state, initial_height: 1, evidence: None };
    ledger.init_chain(&start).unwrap();
    ledger
}

pub fn offer(height: u64, proposer: u8, txs: &[Bytes]) -> Proposal<'_> {
    Proposal { height, time: TIME + height, proposer: named(proposer), txs, max_bytes: 100_000, ..Proposal::default() }
}

pub fn decide(ledger: &Ledger, proposer: u8, txs: Vec<Bytes>) {
    let height = ledger.info().height + 1;
    let block = DecidedBlock { height, time: TIME + height, proposer: named(proposer), txs, ..DecidedBlock::default() };
    let done = ledger.finalize(&block).unwrap();
    assert_eq!(done.results.len(), block.txs.len());
    assert!(done.results.iter().all(|result| result.code == 0), "{:?}", done.results);
    ledger.commit().unwrap();
}

fn value(head: &Head, epoch: u64) -> Option<B256> {
    let mut view = head.view();
    let now = state::epoch_of(&mut view, head.height).unwrap();
    state::value(&mut view, epoch, now.max(epoch)).unwrap()
}

#[test]
fn a_proposal_without_the_right_preimage_is_refused() {
    let ledger = ledger(&first(2), 0);
    decide(&ledger, 0, ledger.prepare(&offer(1, 0, &[])));
    let right = ledger.prepare(&offer(2, 0, &[]));
    let preimage = Item::decode(&right[0]).unwrap().preimage;
    let judge = |proposer, txs: &[Bytes]| ledger.process(&offer(2, proposer, txs));
    assert_eq!(judge(0, &right), Verdict::Accept);
    assert_eq!(judge(1, &right), Verdict::Reject, "it is another's");
    assert_eq!(ledger.process(&Proposal { proposer: None, ..offer(2, 0, &right) }), Verdict::Reject);
    assert_eq!(judge(0, &[]), Verdict::Reject, "missing");
    let with = |preimage| Item { preimage, next: None }.encode();
    let mut wrong = preimage;
    wrong[31] ^= 1;
    assert_eq!(judge(0, &[with(wrong)]), Verdict::Reject, "wrong");
    assert_eq!(judge(0, &[with(step(&preimage))]), Verdict::Reject, "repeated: the last block's");
    assert_eq!(judge(0, &[right[0].clone(), right[0].clone()]), Verdict::Reject, "twice in a block");
    let pay = transfer(3, 0, Address::repeat_byte(1), 1);
    assert_eq!(judge(0, &[pay.clone(), right[0].clone()]), Verdict::Reject, "not first");
    assert_eq!(judge(0, &[right[0].clone(), pay]), Verdict::Accept);
    // Validator 1 cannot be impersonated, and validator 0 has no other's secret.
    assert!(ledger.prepare(&offer(2, 1, &[])).is_empty());
    // After the block the same proposal is no longer right.
    decide(&ledger, 0, right.clone());
    assert_eq!(ledger.process(&offer(3, 0, &right)), Verdict::Reject);
}

#[test]
fn what_a_block_contains_changes_no_value() {
    let run = |content: &dyn Fn(u64) -> Vec<Bytes>| {
        let ledger = ledger(&first(1), 0);
        let mut randoms = vec![];
        for height in 1..=12 {
            let txs: Vec<Bytes> = ledger.prepare(&offer(height, 0, &[])).into_iter().chain(content(height)).collect();
            let block =
                DecidedBlock { height, time: TIME + height, proposer: named(0), txs, ..DecidedBlock::default() };
            ledger.finalize(&block).unwrap();
            ledger.commit().unwrap();
            randoms.push(ledger.head().unwrap().header.mix_hash);
        }
        let head = ledger.head().unwrap();
        ((0..=3).map(|epoch| value(&head, epoch)).collect::<Vec<_>>(), randoms, head.hash)
    };
    let empty = run(&|_| vec![]);
    let paying = |height: u64| vec![transfer(4, height - 1, Address::repeat_byte(9), height)];
    let full = run(&paying);
    assert_ne!(empty.2, full.2);
    assert_eq!((&empty.0, &empty.1), (&full.0, &full.1));
    assert!(empty.0.iter().all(Option::is_some));
    let mut all: Vec<B256> = empty.1.clone();
    all.extend(empty.0.iter().flatten());
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 12 + 4, "each is its own");
}

#[test]
fn each_preimage_counts_and_a_forfeited_turn_is_the_only_choice() {
    let values = |turns: &[u8]| {
        let ledgers = [ledger(&first(2), 0), ledger(&first(2), 1)];
        for turn in turns {
            let made = ledgers[usize::from(*turn)].prepare(&offer(ledgers[0].info().height + 1, *turn, &[]));
            ledgers.iter().for_each(|ledger| decide(ledger, *turn, made.clone()));
        }
        value(&ledgers[0].head().unwrap(), 1).unwrap()
    };
    // Heights 1 to 3 are the rest of epoch 0.
    let all = [values(&[0, 1, 0]), values(&[0, 1, 1]), values(&[1, 0, 0]), values(&[0, 0, 0])];
    for (i, one) in all.iter().enumerate() {
        assert!(all[..i].iter().all(|other| other != one), "{i}");
    }
    assert_eq!(values(&[0, 1, 0]), all[0]);
}

#[test]
fn a_chain_is_renewed_at_half_and_the_next_one_counts_two_epochs_later() {
    // One that has only as much left as this program renews at.
    let mut genesis = first(1);
    let mut own = secret(0);
    let Commitment { mut tip, length } = own.commitment(0);
    for left in (length / 2 + 2..=length).rev() {
        tip = own.preimage(0, tip, left).unwrap();
    }
    genesis.beacon.chains.insert(address(0), Commitment { tip, length: length / 2 + 1 });
    let ledger = ledger(&genesis, 0);
    let chain = || state::Chain::load(&mut ledger.head().unwrap().view(), address(0)).unwrap();
    let step_once = || {
        let made = ledger.prepare(&offer(ledger.info().height + 1, 0, &[]));
        assert_eq!(ledger.process(&offer(ledger.info().height + 1, 0, &made)), Verdict::Accept);
        decide(&ledger, 0, made.clone());
        Item::decode(&made[0]).unwrap()
    };
    assert_eq!(step_once().next, None);
    let second = step_once();
    assert_eq!(second.next, Some(own.commitment(1)));
    assert_eq!(chain().next, Some((own.commitment(1), 2)), "announced in epoch 0");
    while ledger.info().height < 7 {
        assert_eq!(step_once().next, None, "once");
    }
    // Epoch 2 begins with block 8, which shows the next chain.
    let first_of_next = step_once();
    assert_eq!(step(&first_of_next.preimage), own.commitment(1).tip);
    assert_eq!((chain().left, chain().number), (length - 1, 1));
}

#[test]
fn who_has_nothing_left_to_show_proposes_without_and_nobody_else_does() {
    let mut genesis = first(2);
    let beginning = |i: u8| {
        let mut own = secret(i);
        let Commitment { mut tip, length } = own.commitment(0);
        for left in (3..=length).rev() {
            tip = own.preimage(0, tip, left).unwrap();
        }
        Commitment { tip, length: 2 }
    };
    genesis.beacon.chains = (0..2).map(|i| (address(usize::from(i)), beginning(i))).collect();
    let ledgers = [ledger(&genesis, 0), ledger(&genesis, 1)];
    let turn = |i: u8, renew: bool| {
        let ledger = &ledgers[usize::from(i)];
        let mut made = ledger.prepare(&offer(ledger.info().height + 1, i, &[]));
        if let Some(item) = made.first().and_then(|bytes| Item::decode(bytes)).filter(|_| !renew) {
            made[0] = Item { next: None, ..item }.encode();
        }
        let verdict = ledger.process(&offer(ledger.info().height + 1, i, &made));
        if verdict == Verdict::Accept {
            ledgers.iter().for_each(|ledger| decide(ledger, i, made.clone()));
        }
        verdict
    };
    assert_eq!((turn(0, false), turn(0, false)), (Verdict::Accept, Verdict::Accept));
    // At its end it has nothing to withhold, whatever the other one has left.
    assert_eq!(turn(0, false), Verdict::Accept);
    assert_eq!(ledgers[0].process(&offer(4, 1, &[])), Verdict::Reject, "the other one has");
    assert_eq!(ledgers[0].process(&Proposal { proposer: None, ..offer(4, 0, &[]) }), Verdict::Reject, "unknown");
    assert_eq!((turn(1, false), turn(1, false)), (Verdict::Accept, Verdict::Accept));
    // Now nobody has one: blocks go on without, so that a new chain can be announced.
    assert_eq!((turn(0, false), turn(1, false)), (Verdict::Accept, Verdict::Accept));
    assert_eq!(ledgers[0].process(&Proposal { proposer: None, ..offer(8, 0, &[]) }), Verdict::Accept, "unknown");
    let invented = Item { preimage: B256::repeat_byte(1), next: None }.encode();
    assert_eq!(ledgers[0].process(&offer(8, 0, &[invented])), Verdict::Reject);
}

#[test]
fn who_lost_its_secret_announces_another_chain_and_proposes_again_later() {
    let genesis = first(2);
    let ledgers = [ledger(&genesis, 7), ledger(&genesis, 1)];
    let decide_all = |i: u8, txs: Vec<Bytes>| ledgers.iter().for_each(|ledger| decide(ledger, i, txs.clone()));
    let made = |i: u8| ledgers[usize::from(i)].prepare(&offer(ledgers[0].info().height + 1, i, &[]));
    // Validator 0 has another secret than its chain came from: it has nothing to show.
    assert!(made(0).is_empty());
    let next = secret(7).commitment(0);
    let input = [
        &selector("announceBeaconChain(bytes32,uint256)")[..],
        &next.tip[..],
        &U256::from(next.length).to_be_bytes::<32>(),
    ]
    .concat();
    let payment = Payment { to: Some(staking::ADDRESS), input: input.into(), gas_limit: 200_000, ..Payment::default() };
    let announce = pay(0, payment.clone());
    let stranger = pay(5, payment);
    decide_all(1, made(1));
    let block = [made(1), vec![announce]].concat();
    decide_all(1, block);
    let refused = DecidedBlock {
        height: 3,
        time: TIME + 3,
        proposer: named(1),
        txs: [made(1), vec![stranger]].concat(),
        ..DecidedBlock::default()
    };
    let results = ledgers.each_ref().map(|ledger| ledger.finalize(&refused).unwrap().results[1].code);
    assert_eq!(results, [1, 1], "who validates nothing has no chain");
    for ledger in &ledgers {
        ledger.commit().unwrap();
    }
    // Announced in epoch 0, so in force from epoch 2 on, which begins with block 8.
    while ledgers[0].info().height < 7 {
        assert!(made(0).is_empty());
        decide_all(1, made(1));
    }
    let own = made(0);
    assert_eq!(Item::decode(&own[0]).unwrap().preimage, secret(7).preimage(0, next.tip, next.length).unwrap());
    assert_eq!(ledgers[1].process(&offer(8, 0, &own)), Verdict::Accept);
}

#[test]
fn the_embedded_driver_shows_preimages_too() {
    let mut genesis = genesis();
    genesis.beacon.chains.insert(address(9), secret(3).commitment(0));
    let store = Arc::new(MemoryStore::default());
    let ledger = Arc::new(Ledger::open(store.clone()).unwrap().with_beacon(secret(3)));
    let json = serde_json::to_vec(&genesis).unwrap();
    let now = sahara_chain::consensus::Time(START);
    let mut driver =
        sahara_chain::embedded::Embedded::start(ledger.clone(), store, key(), crate::common::CHAIN, &json, now)
            .unwrap();
    let block = driver.step(&[transfer(0, 0, Address::repeat_byte(1), 1)], now).unwrap();
    assert_eq!(block.results.len(), 2);
    let txs = block.block.data.unwrap().txs;
    assert!(Item::decode(&txs[0]).is_some() && Item::decode(&txs[1]).is_none());
    let left = state::Chain::load(&mut ledger.head().unwrap().view(), address(9)).unwrap().left;
    assert_eq!(left, secret(3).commitment(0).length - 1);
    assert_eq!(ledger.head().unwrap().header.gas_used, 21_000);
}

#[test]
fn solidity_draws_by_epoch() {
    let ledger = ledger(&first(1), 0);
    for _ in 0..9 {
        decide(&ledger, 0, ledger.prepare(&offer(ledger.info().height + 1, 0, &[])));
    }
    let head = ledger.head().unwrap();
    let ask = |height: u64, name: &str, argument: U256| {
        let input = [selector(name).as_slice(), &argument.to_be_bytes::<32>()].concat();
        let input = if name.contains("()") { &input[..4] } else { &input };
        contract::run(&mut head.view(), height, input).unwrap()
    };
    let words = |bytes: &Bytes| bytes.chunks_exact(32).map(U256::from_be_slice).collect::<Vec<_>>();
    let two: U256 = value(&head, 2).unwrap().into();
    assert_eq!(words(&ask(10, "current()", U256::ZERO).unwrap()), [U256::from(2), two]);
    assert_eq!(words(&ask(10, "valueOf(uint256)", U256::from(2)).unwrap()), [two]);
    assert_eq!(words(&ask(10, "epochBlocks()", U256::ZERO).unwrap()), [U256::from(4)]);
    let chain = words(&ask(10, "chainOf(address)", U256::from_be_slice(address(0).as_slice())).unwrap());
    assert_eq!(chain[1], U256::from(secret(0).commitment(0).length - 9));
    assert_eq!(ask(10, "valueOf(uint256)", U256::from(3)), Err("this epoch has not begun"));
    assert_eq!(ask(4 * 4096, "valueOf(uint256)", U256::ZERO), Err("the value of this epoch is no longer kept"));
    assert_eq!(ask(10, "valueOf(uint256)", U256::MAX), Err("argument out of range"));
    assert_eq!(ask(10, "nonsense()", U256::ZERO), Err("no such function"));
}

#[test]
fn a_contract_asks_the_beacon_like_any_other_contract() {
    let ledger = ledger(&first(1), 0);
    for _ in 0..5 {
        decide(&ledger, 0, ledger.prepare(&offer(ledger.info().height + 1, 0, &[])));
    }
    let head = ledger.head().unwrap();
    let block = BlockContext {
        chain_id: DEV_CHAIN_ID,
        number: 6,
        time: TIME + 6,
        beneficiary: Address::ZERO,
        gas_limit: 30_000_000,
        base_fee: 0,
        random: B256::ZERO,
        spec: FORK,
    };
    let ask = |value: u64, gas_limit| {
        let call = Call {
            from: address(3),
            to: Some(contract::ADDRESS),
            input: selector("current()").into(),
            value: U256::from(value),
            gas_limit,
            ..Call::default()
        };
        Machine::for_calls(&mut head.view(), &block).call(&call).unwrap().unwrap()
    };
    let answer = ask(0, 100_000);
    assert!(answer.success);
    assert_eq!(U256::from_be_slice(&answer.output[..32]), U256::from(1));
    assert_eq!(&answer.output[32..], value(&head, 1).unwrap().as_slice());
    assert!(!ask(0, 21_000 + contract::GAS - 1).success, "its price is paid first");
    let paid = ask(1, 100_000);
    assert!(!paid.success && String::from_utf8_lossy(&paid.output).contains("beacon: takes no value"));
}

#[test]
fn an_item_in_a_mempool_is_refused() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let item = Item { preimage: B256::repeat_byte(1), next: None }.encode();
    assert!(chain.ledger.receive(&item).is_err());
    assert!(item::split(&[item]).0.is_some());
}
