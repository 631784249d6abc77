//! The bounds of a block, to the byte and to the gas.

use alloy_primitives::Address;

use super::*;
use crate::{
    application::Application,
    beacon::{Item, Secret},
    ledger::trial::{Chain, pay, transfer},
    wallet::Payment,
};

fn proposal(txs: &[Bytes], max_bytes: u64) -> Proposal<'_> {
    Proposal { height: 2, time: 1_800_000_000, txs, max_bytes, ..Proposal::default() }
}

#[test]
fn a_proposal_of_one_byte_too_many_is_refused_and_none_is_made() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let txs = [transfer(1, 0, 7), transfer(2, 0, 5)];
    let bytes: u64 = txs.iter().map(|tx| tx.len() as u64 + FRAME).sum();
    assert_eq!(chain.ledger.process(&proposal(&txs, bytes - 1)), Verdict::Reject);
    assert!(chain.ledger.pending().runs.is_empty(), "what is refused is not kept");
    assert_eq!(chain.ledger.process(&proposal(&txs, bytes)), Verdict::Accept);
    assert_eq!(chain.ledger.prepare(&proposal(&txs, bytes - 1)), txs[..1]);
    assert_eq!(chain.ledger.prepare(&proposal(&txs, bytes)), txs);
}

#[test]
fn a_proposal_of_another_height_is_neither_made_nor_accepted() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let txs = [transfer(1, 0, 7)];
    for height in [0, 1, 3] {
        let other = Proposal { height, ..proposal(&txs, u64::MAX) };
        assert_eq!(chain.ledger.process(&other), Verdict::Reject);
        assert!(chain.ledger.prepare(&other).is_empty());
    }
}

#[test]
fn large_transactions_have_half_of_the_bytes_and_one_byte_decides_who_is_large() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let of = |from, length: u64| {
        let sized = |zeros: usize| {
            let (to, input) = (Some(Address::ZERO), vec![0; zeros].into());
            pay(
                from,
                Payment { to, input, gas_limit: 1_000_000, max_fee: 10_000_000_000, tip: 1, ..Payment::default() },
            )
        };
        let zeros = usize::try_from(length).unwrap();
        let around = sized(zeros).len() - zeros;
        let tx = sized(zeros - around);
        assert_eq!(tx.len(), zeros);
        tx
    };
    let size = LARGE + 1;
    let large: Vec<Bytes> = (1..=2).map(|from| of(from, size - FRAME)).collect();
    let small: Vec<Bytes> = (3..=4).map(|from| of(from, LARGE - FRAME)).collect();
    let room = 4 * size;
    assert_eq!(chain.ledger.prepare(&proposal(&large, room)).len(), 2, "together they are half");
    assert_eq!(chain.ledger.prepare(&proposal(&[], room - 2)).len(), 1, "and a byte more than half");
    let txs = chain.ledger.prepare(&proposal(&small, room - 2));
    assert_eq!(txs.len(), 3);
    assert!(small.iter().all(|tx| txs.contains(tx)), "those that are not large have all of it");
}

#[test]
fn what_is_executed_for_a_proposal_is_kept_for_the_last_two() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let txs = [transfer(1, 0, 7)];
    let blocks: Vec<DecidedBlock> = (0..3)
        .map(|later| {
            let proposal = Proposal { time: 1_800_000_000 + later, ..proposal(&txs, u64::MAX) };
            assert_eq!(chain.ledger.process(&proposal), Verdict::Accept);
            proposal.block(txs.to_vec())
        })
        .collect();
    let kept = |chain: &Chain| chain.ledger.pending().runs.iter().map(|run| run.block.time).collect::<Vec<_>>();
    assert_eq!(kept(&chain), [1_800_000_001, 1_800_000_002]);
    assert!(take(&chain.ledger, &blocks[0]).is_none());
    assert!(take(&chain.ledger, &blocks[2]).is_some_and(|run| run.block == blocks[2]));
    assert_eq!(kept(&chain), [1_800_000_001]);
}

#[test]
fn what_a_proposal_shows_counts_with_the_most_bytes_that_it_can_have() {
    let mut chain = Chain::with(Some(Secret::new([7; 32].into()).with_length(64)));
    chain.block(&[]);
    let tx = transfer(1, 0, 7);
    chain.ledger.receive(&tx).unwrap();
    let bytes = item::MAX_BYTES + tx.len() as u64 + 2 * FRAME;
    let offer = |txs, later: u64, max_bytes| {
        let proposer = Some(chain.proposer);
        chain.ledger.process(&Proposal { proposer, time: 1_800_000_000 + later, ..proposal(txs, max_bytes) })
    };
    let make =
        |max_bytes| chain.ledger.prepare(&Proposal { proposer: Some(chain.proposer), ..proposal(&[], max_bytes) });
    assert_eq!(make(bytes - 1).len(), 1, "no room beside the item");
    let made = make(bytes);
    assert!(made.len() == 2 && Item::decode(&made[0]).is_some() && made[1] == tx);
    // At another time, so that it is not known yet.
    assert_eq!(offer(&made, 1, bytes - 1), Verdict::Reject);
    assert_eq!(offer(&made, 1, bytes), Verdict::Accept);
    assert_eq!(offer(&made[1..], 2, bytes), Verdict::Reject, "it must be shown");
}

#[test]
fn gas_may_be_used_up_to_the_last_one_and_what_asks_for_more_waits() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let limit = chain.ledger.head().unwrap().params.fees.block_gas_limit;
    // Init code that burns what it gets: JUMPDEST, PUSH0, JUMP.
    let burn = |from, gas_limit, tip| {
        let input = vec![0x5b, 0x5f, 0x56].into();
        pay(from, Payment { input, gas_limit, max_fee: 10_000_000_000, tip, ..Payment::default() })
    };
    let most = 1 << 24;
    let rest = limit % most;
    let (full, exact, more) = (limit / most, burn(7, rest, 5), burn(8, rest + 1, 7));
    for from in 1..=full {
        chain.ledger.receive(&burn(usize::try_from(from).unwrap(), most, 9)).unwrap();
    }
    for tx in [&exact, &more] {
        chain.ledger.receive(tx).unwrap();
    }
    let txs = chain.ledger.prepare(&proposal(&[], u64::MAX));
    assert_eq!(txs.len() as u64, full + 1);
    assert_eq!(txs.last(), Some(&exact));
    assert!(chain.ledger.pool().len() as u64 == full + 2, "what does not fit is not forgotten");
}
