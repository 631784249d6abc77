//! Strangers try what they can against one validator in memory: honest transfers are in the next blocks all the same,
//! no block is executed twice, and whoever gets into a block pays. The long run, on four real validators, is
//! `cargo xtask soak attack`.

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use sahara_chain::{
    application::{Application, Check, Proposal, Verdict},
    block,
    genesis::{DEV_ACCOUNTS, DEV_CHAIN_ID, GenesisAccount, TOKEN},
    store::MemoryStore,
    wallet::Payment,
};
use std::{collections::BTreeMap, sync::Arc};

use crate::{
    attacks::{AttackKind, Attackers, Facts, SWEEPER, account},
    common::{Chain, START, genesis, pay, transfer, wallet},
};

const ATTACKERS: u64 = 40;
const BLOCKS: u64 = 30;
const GWEI: u128 = 1_000_000_000;

/// A chain on which attackers and honest senders have money, and the attackers' contract is deployed.
fn field() -> (Chain, Address) {
    let mut genesis = genesis();
    for (name, count) in [("attacker", ATTACKERS), ("honest", 5)] {
        for number in 0..count {
            let balance = TOKEN * U256::from(10);
            genesis
                .accounts
                .insert(account(name, number, DEV_CHAIN_ID).1, GenesisAccount { balance, ..GenesisAccount::default() });
        }
    }
    let mut chain = Chain::open(Arc::new(MemoryStore::default()), &genesis, START);
    let deployed = chain.send(pay(0, Payment { input: SWEEPER, gas_limit: 200_000, ..Payment::default() }));
    assert_eq!(deployed.code, 0, "{deployed:?}");
    (chain, DEV_ACCOUNTS[0].0.create(0))
}

fn facts(chain: &Chain, address: Address) -> Facts {
    let account = chain.head().view().account(address).unwrap().unwrap_or_default();
    let delegated = account.code_hash != alloy_primitives::KECCAK256_EMPTY;
    Facts { nonce: account.nonce, balance: account.balance, delegated }
}

/// What an account has spent on gas so far, from all blocks.
fn paid(chain: &Chain) -> BTreeMap<B256, U256> {
    let reader = chain.head().reader.clone();
    let mut paid = BTreeMap::new();
    for height in 1..=chain.head().height {
        let block = block::block_at(reader.as_ref(), height).unwrap().unwrap();
        let base_fee = block.header.base_fee_per_gas.unwrap();
        for (tx, facts) in block.txs.iter().zip(&block.facts) {
            use alloy_consensus::Transaction;
            let price = u128::from(base_fee) + tx.envelope.effective_tip_per_gas(base_fee).unwrap();
            paid.insert(tx.hash, U256::from(facts.gas_used) * U256::from(price));
        }
    }
    paid
}

fn attack(seed: u64) {
    let (mut chain, sweeper) = field();
    let mut attackers = Attackers::new(seed, ATTACKERS, DEV_CHAIN_ID, sweeper);
    let honest: Vec<_> = (0..5).map(|n| account("honest", n, DEV_CHAIN_ID).0).collect();
    let mut kinds: BTreeMap<B256, AttackKind> = BTreeMap::new();
    let mut waiting: BTreeMap<B256, u64> = BTreeMap::new();
    for round in 0..BLOCKS {
        let base_fee = chain.head().next_base_fee();
        for _ in 0..4 {
            let state = async |address| facts(&chain, address);
            let next = attackers.next(base_fee, state);
            let (kind, txs) = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(next);
            for tx in txs {
                kinds.insert(keccak256(&tx), kind);
                let _ = chain.ledger.receive(&tx);
            }
        }
        for (number, wallet) in (0u64..).zip(&honest) {
            let payment = Payment {
                nonce: round,
                to: Some(Address::with_last_byte(u8::try_from(number).unwrap())),
                value: U256::from(1),
                gas_limit: 21_000,
                max_fee: 1_000 * GWEI,
                tip: GWEI,
                ..Payment::default()
            };
            let tx = wallet.pay(&payment).unwrap();
            chain.ledger.receive(&tx).unwrap_or_else(|e| panic!("seed {seed}, round {round}: {e}"));
            waiting.insert(keccak256(&tx), round);
        }
        let block = chain.block(&[]);
        let txs = &block.block.data.as_ref().unwrap().txs;
        assert!(block.results.iter().all(|result| result.was_executed()), "seed {seed}, round {round}");
        for tx in txs {
            waiting.remove(&keccak256(tx));
        }
        let late = waiting.values().filter(|since| round - **since > 1).count();
        assert_eq!(late, 0, "seed {seed}, round {round}: {late} honest transfers wait for more than a block");
    }
    assert_eq!(chain.ledger.executions(), chain.head().height, "seed {seed}: each block is executed once");
    let mut executed: BTreeMap<AttackKind, usize> = BTreeMap::new();
    for (hash, cost) in paid(&chain) {
        assert!(cost >= U256::from(21_000u64 * 10_000_000), "seed {seed}: {hash} paid {cost}");
        if let Some(kind) = kinds.get(&hash) {
            *executed.entry(*kind).or_default() += 1;
        }
    }
    assert!(!executed.contains_key(&AttackKind::OversizedCreation), "seed {seed}");
    assert!(executed.contains_key(&AttackKind::HugeGasLimits), "seed {seed}: the attack took place: {executed:?}");
}

#[test]
fn honest_transfers_are_executed_under_attack() {
    for seed in [1, 2] {
        attack(seed);
    }
}

#[test]
fn creation_code_over_the_limit_is_refused_and_stops_nobody() {
    let mut chain = Chain::new();
    chain.block(&[]);
    for nonce in 0..6 {
        let input = vec![0; 49_153].into();
        let create = pay(1, Payment { nonce, input, gas_limit: 5_000_000, ..Payment::default() });
        let verdict = chain.ledger.check_tx(&create, Check::New);
        assert!(verdict.code != 0 && verdict.reason.contains("max initcode size exceeded"), "{verdict:?}");
        let height = chain.head().height + 1;
        let proposal = Proposal { height, txs: &[create], max_bytes: u64::MAX, ..Proposal::default() };
        assert!(chain.ledger.prepare(&proposal).is_empty());
        assert_eq!(chain.ledger.process(&proposal), Verdict::Reject);
    }
    assert!(chain.ledger.pool().is_empty());
    assert_eq!(chain.send(transfer(2, 0, Address::repeat_byte(1), 1)).code, 0);
}

#[test]
fn what_cannot_pay_the_base_fee_waits_here_and_not_in_the_engines_queue() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let fee = u128::from(chain.head().next_base_fee());
    let cheap = |nonce| {
        let input = vec![0; 100_000].into();
        let to = Some(Address::ZERO);
        pay(
            1,
            Payment { nonce, to, input, gas_limit: 2_000_000, max_fee: fee * 98 / 100, tip: 1, ..Payment::default() },
        )
    };
    let all: Vec<Bytes> = (0..34).map(cheap).collect();
    for tx in &all {
        let verdict = chain.ledger.check_tx(tx, Check::New);
        assert!(verdict.code != 0 && verdict.reason.contains("base fee"), "{verdict:?}");
    }
    assert_eq!(chain.ledger.pool().len(), 34);
    // Even if the engine's queue begins with them, whoever pays is in the next block.
    let paying = transfer(2, 0, Address::repeat_byte(1), 1);
    assert_eq!(chain.ledger.check_tx(&paying, Check::New).code, 0);
    let block = chain.block(&all);
    assert_eq!(block.block.data.unwrap().txs, [paying.to_vec()]);
    // The base fee falls by a hundredth with each empty block: then they may.
    chain.block(&[]);
    assert_eq!(chain.ledger.check_tx(&all[0], Check::Again).code, 0, "the base fee has fallen");
    chain.block(&[]);
    assert!(chain.ledger.pool().len() < 34);
}

#[test]
fn a_block_is_full_when_its_gas_is_used() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let limit = chain.head().params.fees.block_gas_limit;
    for from in 1..8 {
        let to = Some(Address::repeat_byte(1));
        let (max_fee, tip) = (100 * GWEI, 50 * GWEI);
        let huge = pay(from, Payment { to, gas_limit: 1 << 24, max_fee, tip, ..Payment::default() });
        assert_eq!(chain.ledger.check_tx(&huge, Check::New).code, 0);
    }
    for nonce in 0..30 {
        chain.ledger.receive(&transfer(8, nonce, Address::repeat_byte(2), 1)).unwrap();
    }
    assert!(7 * (1 << 24) > limit, "they ask for more than there is");
    assert_eq!(chain.block(&[]).results.len(), 37, "and use little");
}

#[test]
fn what_does_not_fit_waits_and_smaller_ones_go() {
    let mut chain = Chain::new();
    chain.block(&[]);
    for from in 1..7 {
        // Init code that burns what it gets: JUMPDEST, PUSH0, JUMP.
        let input = vec![0x5b, 0x5f, 0x56].into();
        let burn = Payment { input, gas_limit: 1 << 24, max_fee: 100 * GWEI, tip: 50 * GWEI, ..Payment::default() };
        chain.ledger.receive(&pay(from, burn)).unwrap();
    }
    chain.ledger.receive(&transfer(8, 0, Address::repeat_byte(2), 1)).unwrap();
    let base_fee = chain.head().next_base_fee();
    let (to, max_fee) = (Some(Address::ZERO), base_fee.into());
    let barely = pay(7, Payment { to, gas_limit: 1 << 24, max_fee, ..Payment::default() });
    assert_eq!(chain.ledger.check_tx(&barely, Check::New).code, 0);
    assert_eq!(chain.block(&[]).results.len(), 6, "five that use what they ask for, and a transfer");
    assert!(chain.head().next_base_fee() > base_fee, "whoever fills blocks makes them dearer");
    assert_eq!(chain.ledger.pool().len(), 2, "the sixth waits, and what could barely pay");
    assert_ne!(chain.ledger.check_tx(&barely, Check::Again).code, 0, "it leaves the engine's queue, not the pool");
    assert_eq!((chain.block(&[]).results.len(), chain.ledger.pool().len()), (1, 1));
}

#[test]
fn what_one_account_has_waiting_must_be_paid_for_together() {
    let (mut chain, _) = field();
    let (wallet, _) = account("attacker", 0, DEV_CHAIN_ID);
    let value = TOKEN * U256::from(6);
    let of = |nonce| {
        let to = Some(Address::ZERO);
        let payment = Payment { nonce, to, value, gas_limit: 21_000, max_fee: 10 * GWEI, ..Payment::default() };
        wallet.pay(&payment).unwrap()
    };
    chain.ledger.receive(&of(0)).unwrap();
    let refused = chain.ledger.receive(&of(1)).unwrap_err().to_string();
    assert!(
        refused.starts_with("insufficient funds for gas * price + value: balance 10000000000000000000"),
        "{refused}"
    );
    assert!(refused.contains("overshot"), "{refused}");
    // By the engine neither.
    assert_eq!(chain.block(&[of(1)]).results.len(), 1);
}

#[test]
fn large_transactions_leave_half_of_the_block_to_others() {
    let mut chain = Chain::new();
    chain.block(&[]);
    for from in 1..5 {
        for nonce in 0..10 {
            let (input, to) = (vec![0; 120_000].into(), Some(Address::ZERO));
            let (max_fee, tip) = (100 * GWEI, 50 * GWEI);
            let large = Payment { nonce, to, input, gas_limit: 1_300_000, max_fee, tip, ..Payment::default() };
            chain.ledger.receive(&pay(from, large)).unwrap();
        }
    }
    for nonce in 0..200 {
        chain.ledger.receive(&transfer(8, nonce, Address::repeat_byte(2), 1)).unwrap();
    }
    let txs = chain.block(&[]).block.data.unwrap().txs;
    assert_eq!(txs.iter().filter(|tx| tx.len() < 1_000).count(), 200);
    let large = txs.iter().filter(|tx| tx.len() > 1_000).count();
    assert_eq!(large, 2 * 1024 * 1024 / 120_130, "half of the bytes");
}

#[test]
fn a_vote_executes_once_and_a_decided_block_not_again() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let before = chain.ledger.executions();
    let txs = [transfer(1, 0, Address::repeat_byte(1), 1)];
    let proposal = Proposal { height: 2, time: 1_800_000_000, txs: &txs, max_bytes: u64::MAX, ..Proposal::default() };
    assert_eq!(chain.ledger.process(&proposal), Verdict::Accept);
    assert_eq!(chain.ledger.process(&proposal), Verdict::Accept);
    assert_eq!(chain.ledger.executions() - before, 1);
    // Another time is another execution: everything that it depends on must be the same.
    let later = Proposal { time: proposal.time + 1, ..proposal };
    assert_eq!(chain.ledger.process(&later), Verdict::Accept);
    assert_eq!(chain.ledger.executions() - before, 2);
    // A proposer that shows many has the last two kept.
    for time in 2..5 {
        chain.ledger.process(&Proposal { time: proposal.time + time, ..proposal });
    }
    assert_eq!(chain.ledger.process(&Proposal { time: proposal.time + 4, ..proposal }), Verdict::Accept);
    assert_eq!(chain.ledger.executions() - before, 5);
    assert_eq!(chain.ledger.process(&proposal), Verdict::Accept);
    assert_eq!(chain.ledger.executions() - before, 6);
    let kept = chain.ledger.finalize(&proposal.block(txs.to_vec())).unwrap();
    assert_eq!(chain.ledger.executions() - before, 6);
    // The same block without a proposal before gives the same hash.
    let mut other = Chain::new();
    other.block(&[]);
    let executed = other.ledger.finalize(&proposal.block(txs.to_vec())).unwrap();
    assert_eq!((kept.app_hash, kept.results), (executed.app_hash, executed.results));
}

#[test]
fn a_proposer_cannot_take_a_transaction_out_of_the_pool_by_its_order() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let [first, second] = [0, 1].map(|nonce| transfer(1, nonce, Address::repeat_byte(1), 1));
    for tx in [&first, &second] {
        chain.ledger.receive(tx).unwrap();
    }
    let wrong = [second, first];
    let proposal = Proposal { height: 2, txs: &wrong, max_bytes: u64::MAX, ..Proposal::default() };
    assert_eq!(chain.ledger.process(&proposal), Verdict::Reject);
    assert_eq!(chain.block(&[]).results.len(), 2);
}

#[test]
fn what_another_takes_within_the_block_leaves_the_pool_and_does_not_come_back_at_once() {
    let (mut chain, sweeper) = field();
    let (taker, victim) = (account("attacker", 0, DEV_CHAIN_ID), account("attacker", 1, DEV_CHAIN_ID));
    let authorization =
        alloy_eips::eip7702::Authorization { chain_id: U256::from(DEV_CHAIN_ID), address: sweeper, nonce: 0 };
    let signature = victim.0.sign_hash(authorization.signature_hash()).unwrap();
    let delegating = alloy_consensus::TxEip7702 {
        chain_id: DEV_CHAIN_ID,
        gas_limit: 100_000,
        max_fee_per_gas: 10 * GWEI,
        to: Address::ZERO,
        authorization_list: vec![authorization.into_signed(signature)],
        ..alloy_consensus::TxEip7702::default()
    };
    assert_eq!(chain.send(wallet(3).sign(delegating).unwrap()).code, 0);
    // The victim promises; whoever takes its money offers a better tip and comes first.
    let to = Some(Address::ZERO);
    let payment = Payment { nonce: 1, to, gas_limit: 21_000, max_fee: 10 * GWEI, tip: 1, ..Payment::default() };
    let promise = victim.0.pay(&payment).unwrap();
    let second = victim.0.pay(&Payment { nonce: 2, ..payment.clone() }).unwrap();
    let take = Payment { nonce: 0, to: Some(victim.1), gas_limit: 100_000, tip: GWEI, ..payment };
    chain.ledger.receive(&promise).unwrap();
    assert!(chain.ledger.receive(&second).unwrap_err().to_string().contains("in-flight transaction limit"));
    chain.ledger.receive(&taker.0.pay(&take).unwrap()).unwrap();
    let block = chain.block(&[]);
    assert_eq!(block.results.iter().map(|result| result.code).collect::<Vec<_>>(), [0], "the promise is not in it");
    assert!(chain.ledger.pool().is_empty());
    assert!(chain.ledger.receive(&promise).unwrap_err().to_string().contains("insufficient funds"));
}
