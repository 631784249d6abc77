//! Two instances that execute the same blocks agree on every hash, whatever store they use and however often they are
//! opened again.

use crate::common::{Chain, SECOND, START, genesis, transfer};
use alloy_primitives::Address;
use sahara_chain::{consensus::Time, store::Engine};

#[test]
fn the_same_blocks_give_the_same_hashes() {
    for engine in Engine::built() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = Chain::new();
        let mut reopened_now = START;
        let mut hashes = Vec::new();
        for round in 0..6u64 {
            let txs: Vec<_> = (0..5)
                .map(|from| {
                    transfer(from, round, Address::repeat_byte(u8::try_from(from as u64 * 7 + round).unwrap()), 5)
                })
                .collect();
            let expected = memory.block(&txs);
            // A new process for each block.
            let mut disk = Chain::open(engine.open(folder.path()).unwrap(), &genesis(), reopened_now);
            reopened_now += SECOND;
            let found = disk.driver.step(&txs, Time(reopened_now)).unwrap();
            assert_eq!(found, expected);
            assert_eq!(disk.head().app_hash, memory.head().app_hash);
            assert_eq!(disk.head().hash, memory.head().hash);
            hashes.push(memory.head().app_hash);
        }
        hashes.dedup();
        assert_eq!(hashes.len(), 6, "every block changes the hash");
    }
}
