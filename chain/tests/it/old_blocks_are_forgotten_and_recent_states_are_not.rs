//! A node answers from each state that it keeps, as it was; what it was told to forget is gone, and no more.

use std::sync::Arc;

use alloy_primitives::{Address, U256};
use sahara_chain::{
    application::{Application, Info},
    block,
    consensus::Time,
    embedded::Embedded,
    ledger::{Ledger, NEEDED_HEADERS, Retention},
    store::{Engine, MemoryStore, Store},
};

use crate::common::{CHAIN, Chain, SECOND, START, genesis, key, transfer};

const STATES: u64 = 5;

fn goes_on(store: Arc<dyn Store>, keep: Retention) -> Info {
    let ledger = Arc::new(Ledger::open(store.clone()).unwrap().keeping(keep));
    let json = serde_json::to_vec(&genesis()).unwrap();
    let mut driver = Embedded::start(ledger.clone(), store, key(), CHAIN, &json, Time(START)).unwrap();
    let to = Address::repeat_byte(0x77);
    let blocks = STATES + NEEDED_HEADERS + 8;
    let mut heads = Vec::new();
    for nonce in 0..blocks {
        driver.step(&[transfer(0, nonce, to, 3)], Time(START + SECOND * (nonce + 1))).unwrap();
        heads.push(ledger.head().unwrap());
        if nonce == 2 {
            // The state of genesis counts as well.
            let first = ledger.state_at(0).unwrap().unwrap();
            assert_eq!(first.view().account(to).unwrap(), None);
            assert_eq!((first.height, first.header.number), (0, 0));
        }
    }
    let newest = ledger.info().height;
    assert_eq!(newest, blocks);
    assert_eq!(ledger.oldest_state().unwrap(), newest - STATES);
    for was in &heads[usize::try_from(blocks - STATES - 1).unwrap()..] {
        let state = ledger.state_at(was.height).unwrap().unwrap();
        assert_eq!((state.app_hash, state.hash), (was.app_hash, was.hash));
        assert_eq!(state.validators, was.validators);
        let mut view = state.view();
        assert_eq!(view.account(to).unwrap().unwrap().balance, U256::from(3 * was.height));
        assert_eq!(view.block_hash(was.height - 256).unwrap(), was.view().block_hash(was.height - 256).unwrap());
        assert!(!view.block_hash(was.height - 256).unwrap().is_zero());
    }
    assert!(ledger.state_at(newest - STATES - 1).unwrap().is_none());
    assert!(ledger.state_at(newest + 1).unwrap().is_none());

    let reader = ledger.head().unwrap().reader.clone();
    let lowest = newest - STATES - NEEDED_HEADERS;
    assert!(block::block_at(reader.as_ref(), lowest).unwrap().is_some());
    for gone in &heads[..usize::try_from(lowest - 1).unwrap()] {
        assert!(block::block_at(reader.as_ref(), gone.height).unwrap().is_none());
        assert_eq!(block::height_of(reader.as_ref(), gone.hash).unwrap(), None);
    }
    ledger.info()
}

#[test]
fn old_blocks_are_forgotten_and_recent_states_are_not() {
    let little = Retention { states: STATES, blocks: 10, archive: false };
    let one = goes_on(Arc::new(MemoryStore::default()), little);
    for engine in Engine::built() {
        let folder = tempfile::tempdir().unwrap();
        let other = goes_on(engine.open(folder.path()).unwrap(), little);
        assert_eq!(one, other, "{engine}");
    }
    // What a node keeps is its own business: the hashes do not know it.
    let mut all = Chain::new();
    for nonce in 0..one.height {
        all.block(&[transfer(0, nonce, Address::repeat_byte(0x77), 3)]);
    }
    assert_eq!(all.ledger.info(), one);
}

#[test]
fn the_engine_may_forget_what_the_ledger_forgets() {
    let all = Retention { states: 5, blocks: 0, archive: false };
    assert_eq!(all.lowest_block(1_000_000), 0);
    let some = Retention { states: 5, blocks: 1000, archive: false };
    assert_eq!((some.lowest_block(999), some.lowest_block(1000), some.lowest_block(5000)), (0, 1, 4001));
    // Fewer than execution needs is not possible.
    assert_eq!(Retention { states: 5, blocks: 1, archive: false }.lowest_block(5000), 5001 - 262);
}
