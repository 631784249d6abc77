//! After a rollback every table is what it was before the last block, and the block can be executed again.

use std::{collections::BTreeMap, path::Path, process::Command, sync::Arc};

use alloy_primitives::{Address, Bytes, U256, bytes};
use proptest::prelude::*;
use sahara_chain::{
    application::Application,
    comet,
    genesis::{Genesis, GenesisAccount},
    ledger::{Ledger, roll_back},
    store::{Engine, MemoryStore, Store, TABLES, Table},
    wallet::Payment,
};

use crate::{
    common::{Chain, SECOND, START, genesis, pay, transfer},
    network::{Network, PROGRAM},
};

/// Stores the second word of its input under the first.
const KEEPER: Address = Address::repeat_byte(0x55);
const KEEPER_CODE: Bytes = bytes!("6020355f3555");

#[derive(Clone, Debug)]
enum Step {
    Transfer(u8),
    Keep(u8, u8),
    /// A contract whose constructor writes, and which stays or destroys itself.
    Create(bool),
    Nothing,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..6).prop_map(Step::Transfer),
        (0u8..5, 0u8..3).prop_map(|(key, value)| Step::Keep(key, value)),
        any::<bool>().prop_map(Step::Create),
        Just(Step::Nothing),
    ]
}

fn tx(step: &Step, nonce: u64) -> Option<Bytes> {
    let call = |to, input: Bytes| Some(pay(0, Payment { nonce, to, input, gas_limit: 500_000, ..Payment::default() }));
    match step {
        Step::Transfer(to) => Some(transfer(0, nonce, Address::repeat_byte(0x80 + to), 1)),
        Step::Keep(key, value) => {
            let input = [U256::from(*key).to_be_bytes::<32>(), U256::from(*value).to_be_bytes::<32>()].concat();
            call(Some(KEEPER), input.into())
        }
        Step::Create(true) => call(None, bytes!("60076001555f5ff3")),
        Step::Create(false) => call(None, bytes!("60076001555fff")),
        Step::Nothing => None,
    }
}

fn first() -> Genesis {
    let mut genesis = genesis();
    let storage = (1..4u64).map(|slot| (U256::from(slot), U256::from(1))).collect();
    let keeper = GenesisAccount { code: KEEPER_CODE, storage, nonce: 1, ..GenesisAccount::default() };
    genesis.accounts.insert(KEEPER, keeper);
    genesis
}

type Dump = BTreeMap<Table, Vec<(Vec<u8>, Vec<u8>)>>;

/// Everything but code, which is only added to, and the driver's own record.
fn dump(store: &dyn Store) -> Dump {
    let reader = store.reader().unwrap();
    let tables = TABLES.into_iter().filter(|table| *table != Table::Code);
    let mut dump: Dump = tables.map(|table| (table, reader.scan(table, &[]).unwrap())).collect();
    dump.get_mut(&Table::Meta).unwrap().retain(|(key, _)| !key.starts_with(b"embedded"));
    dump
}

fn there_and_back(store: Arc<dyn Store>, blocks: &[Vec<Step>]) {
    let mut chain = Chain::open(store.clone(), &first(), START);
    let mut nonce = 0;
    let mut before = Dump::new();
    let mut known = Vec::new();
    for block in blocks {
        before = dump(store.as_ref());
        let txs: Vec<Bytes> = block.iter().filter_map(|step| tx(step, nonce).inspect(|_| nonce += 1)).collect();
        let made = chain.block(&txs);
        assert_eq!(made.results.len(), txs.len());
        assert!(made.results.iter().all(|result| result.code == 0), "{:?}", made.results);
        known.push(chain.ledger.info());
    }
    let after = dump(store.as_ref());
    drop(chain);
    let last = blocks.len();
    let info = roll_back(store.as_ref()).unwrap();
    assert_eq!(info, known[last - 2]);
    assert_eq!(dump(store.as_ref()), before);
    assert_eq!(Ledger::open(store.clone()).unwrap().info(), info);
    // The driver has kept the block and executes it again.
    let chain = Chain::open(store.clone(), &first(), START + SECOND * 100);
    assert_eq!(chain.ledger.info(), known[last - 1]);
    assert_eq!(dump(store.as_ref()), after);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_the_last_block_did_is_undone(
        blocks in proptest::collection::vec(proptest::collection::vec(step(), 0..5), 2..5)
    ) {
        there_and_back(Arc::new(MemoryStore::default()), &blocks);
    }
}

#[test]
fn the_last_block_can_be_taken_back() {
    let blocks = [
        vec![Step::Create(true), Step::Transfer(1)],
        vec![Step::Keep(1, 0), Step::Keep(4, 2), Step::Create(false), Step::Create(true), Step::Transfer(2)],
    ];
    for engine in Engine::built() {
        let folder = tempfile::tempdir().unwrap();
        there_and_back(engine.open(folder.path()).unwrap(), &blocks);
    }
}

#[test]
fn what_cannot_be_taken_back_says_why() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    assert!(roll_back(store.as_ref()).unwrap_err().to_string().contains("there is no block"));
    let mut chain = Chain::open(store.clone(), &first(), START);
    chain.block(&[]);
    assert!(roll_back(store.as_ref()).unwrap_err().to_string().contains("genesis"));
    chain.block(&[]);
    chain.block(&[]);
    roll_back(store.as_ref()).unwrap();
    // A flipped value under the tries is noticed, and nothing is written.
    let mut batch = sahara_chain::store::Batch::default();
    let account = Address::repeat_byte(0x01);
    batch.put(Table::TrieNodes, [0u8], alloy_primitives::keccak256(account).to_vec());
    store.write(&batch).unwrap();
    let before = dump(store.as_ref());
    assert!(roll_back(store.as_ref()).is_err());
    assert_eq!(dump(store.as_ref()), before);
}

#[test]
fn the_commands_of_both_sides_go_back_to_the_same_hash() {
    let folder = tempfile::tempdir().unwrap();
    let network = Network::start(folder.path(), 1);
    network.wait_for_height(0, 3);
    network.stop();
    let home = folder.path().join("node0");
    let run = |program: &Path| {
        let output = Command::new(program).args(["rollback", "--home"]).arg(&home).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).to_lowercase()
    };
    let ours = run(Path::new(PROGRAM));
    let theirs = run(&comet::find().unwrap());
    let hash = ours.split("0x").nth(1).unwrap().get(..64).unwrap();
    assert!(theirs.contains(hash), "{ours} and {theirs}");
    let height: u64 = ours.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    let network = Network::start(folder.path(), 1);
    network.wait_for_height(0, height + 3);
    network.stop();
}
