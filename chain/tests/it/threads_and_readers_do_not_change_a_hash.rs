//! Random blocks (transfers, contracts, stake, junk, votes, offences) executed twice: quietly in memory, and on disk
//! while other threads check transactions, prepare proposals and read state. Every result and every hash is the same.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use alloy_primitives::{Bytes, U256};
use proptest::prelude::*;
use sahara_chain::{
    application::{Application, ChainStart, Check, DecidedBlock, Finalized, Offence, OffenceKind, Proposal, Vote},
    ledger::Ledger,
    staking,
    store::{Engine, MemoryStore, Store},
    validator::ConsensusKey,
};

use crate::{
    arbitrary,
    common::{address, genesis, key},
};

const TIME: u64 = 1_800_000_000;

fn open(store: Arc<dyn Store>) -> Ledger {
    let ledger = Ledger::open(store).unwrap();
    let app_state = serde_json::to_vec(&genesis()).unwrap();
    ledger
        .init_chain(&ChainStart { chain_id: "same".into(), time: TIME, app_state, initial_height: 1, evidence: None })
        .unwrap();
    ledger
}

fn run(ledger: &Ledger, blocks: &[DecidedBlock]) -> Vec<Finalized> {
    let step = |block: &DecidedBlock| {
        let done = ledger.finalize(block).unwrap();
        ledger.commit().unwrap();
        done
    };
    blocks.iter().map(step).collect()
}

/// Reads and checks until `stop`.
fn disturb(ledger: &Ledger, txs: &[Bytes], stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        for tx in txs {
            ledger.check_tx(tx, Check::New);
        }
        ledger.prepare(&Proposal { height: 1, time: TIME, txs, max_bytes: 100_000, ..Proposal::default() });
        if let Some(head) = ledger.head() {
            let mut view = head.view();
            view.account(address(0)).unwrap();
            view.slot(staking::ADDRESS, U256::ZERO).unwrap();
            assert!(view.evm_root().unwrap().0 == head.roots.evm);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn threads_and_readers_do_not_change_a_hash(
        seeds in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 1..8),
    ) {
        let own = ConsensusKey(key().verifying_key().to_bytes().into()).address();
        let blocks: Vec<DecidedBlock> = (1u64..)
            .zip(&seeds)
            .map(|(height, seed)| {
                let offence = Offence { validator: own, height, kind: OffenceKind::DoubleSign, power: 10 };
                DecidedBlock {
                    height,
                    time: TIME + height,
                    proposer: Some(own),
                    txs: arbitrary::txs(seed),
                    votes: vec![Vote { validator: own, power: 10, signed: seed.len() % 2 == 0 }],
                    offences: if seed.len() % 7 == 0 { vec![offence] } else { vec![] },
                }
            })
            .collect();
        let quiet = open(Arc::new(MemoryStore::default()));
        let expected = run(&quiet, &blocks);
        let txs: Vec<Bytes> = blocks.iter().flat_map(|block| block.txs.clone()).collect();
        for (engine, threads) in Engine::built().iter().flat_map(|engine| [(engine, 0), (engine, 3)]) {
            let folder = tempfile::tempdir().unwrap();
            let busy = open(engine.open(folder.path()).unwrap());
            let stop = AtomicBool::new(false);
            let found = std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| disturb(&busy, &txs, &stop));
                }
                let found = run(&busy, &blocks);
                stop.store(true, Ordering::Relaxed);
                found
            });
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert_eq!(&found.results, &expected.results);
                prop_assert_eq!(&found.validators, &expected.validators);
                prop_assert_eq!(found.app_hash, expected.app_hash);
            }
            prop_assert_eq!(busy.head().unwrap().hash, quiet.head().unwrap().hash);
        }
    }
}
