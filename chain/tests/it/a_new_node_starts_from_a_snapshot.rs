//! A ledger that is restored from a snapshot goes on like the others. Wrong chunks are sent back, wrong snapshots
//! refused, and what an interrupted restore leaves is no state.

use std::sync::{Arc, LazyLock};

use alloy_primitives::{Address, Bytes, U256};
use proptest::{
    prelude::{Rng as _, *},
    test_runner::{RngAlgorithm, TestRng},
};
use sahara_chain::{
    application::{Application, ChainStart, ChunkVerdict, DecidedBlock, Offer, Snapshot, Vote},
    consensus::Time,
    embedded::{Embedded, SignedBlock},
    genesis::{Genesis, GenesisAccount},
    ledger::Ledger,
    snapshot::{Folder, Manifest},
    state::{AppHash, size},
    store::{Batch, Engine, MemoryStore, Store, TABLES, Table},
};
use sha2::{Digest, Sha256};

use crate::common::{CHAIN, SECOND, START, genesis, key, transfer};

const EVERY: u64 = 300;

/// A first state that takes a few chunks.
fn large_genesis() -> Genesis {
    let mut genesis = genesis();
    for i in 0..100u8 {
        let code = Bytes::from([vec![0; 20_000], vec![i]].concat());
        let storage = (1..=30u64).map(|slot| (U256::from(slot * 7), U256::from(slot + u64::from(i)))).collect();
        let account = GenesisAccount { code, storage, nonce: 1, ..GenesisAccount::default() };
        genesis.accounts.insert(Address::repeat_byte(i + 10), account);
    }
    genesis
}

/// What consensus would hand to another node.
fn decided(signed: &SignedBlock) -> DecidedBlock {
    use sahara_chain::validator::{ConsensusAddress, ConsensusKey};
    let header = signed.block.header.clone().unwrap();
    let own: ConsensusAddress = ConsensusKey(key().verifying_key().to_bytes().into()).address();
    let last = signed.block.last_commit.clone().unwrap();
    DecidedBlock {
        height: u64::try_from(header.height).unwrap(),
        time: u64::try_from(header.time.unwrap().seconds).unwrap(),
        proposer: Some(own),
        txs: signed.block.data.clone().unwrap().txs.into_iter().map(Bytes::from).collect(),
        votes: last.signatures.iter().map(|_| Vote { validator: own, power: 10, signed: true }).collect(),
        offences: vec![],
    }
}

struct Old {
    ledger: Arc<Ledger>,
    driver: Embedded<Ledger>,
    nonce: u64,
}

impl Old {
    fn begin(folder: &std::path::Path) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let ledger = Ledger::open(store.clone()).unwrap();
        let ledger = Arc::new(ledger.with_snapshots(Folder::open(folder.into(), 2).unwrap(), EVERY));
        let json = serde_json::to_vec(&large_genesis()).unwrap();
        let driver = Embedded::start(ledger.clone(), store, key(), CHAIN, &json, Time(START)).unwrap();
        Self { ledger, driver, nonce: 0 }
    }

    fn step(&mut self) -> SignedBlock {
        let to = Address::from(alloy_primitives::keccak256(self.nonce.to_be_bytes()).first_chunk::<20>().unwrap());
        let tx = transfer(0, self.nonce, to, 5);
        self.nonce += 1;
        self.driver.step(&[tx], Time(START + SECOND * self.nonce)).unwrap()
    }
}

fn offer(ledger: &Ledger, snapshot: &Snapshot, app_hash: AppHash) -> Offer {
    ledger.offer_snapshot(snapshot, app_hash.0.as_slice()).unwrap()
}

#[test]
fn a_new_node_starts_from_a_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let mut old = Old::begin(folder.path());
    let mut later = Vec::new();
    for _ in 0..EVERY {
        old.step();
    }
    let at = old.ledger.head().unwrap();
    // It is made later, and is of its own block all the same.
    later.extend((0..3).map(|_| old.step()));
    let made = old.ledger.make_due_snapshot().unwrap().unwrap();
    assert_eq!((made.height, made.app_hash), (EVERY, at.app_hash));
    assert!(old.ledger.make_due_snapshot().unwrap().is_none());
    let [snapshot] = old.ledger.snapshots().try_into().unwrap();
    assert!(snapshot.chunks > 2, "{} chunks", snapshot.chunks);
    let chunk = |index| old.ledger.snapshot_chunk(snapshot.height, snapshot.format, index).unwrap();
    assert_eq!(old.ledger.snapshot_chunk(snapshot.height, snapshot.format, snapshot.chunks), None);
    assert_eq!(old.ledger.snapshot_chunk(snapshot.height, snapshot.format + 1, 0), None);
    assert_eq!(old.ledger.snapshot_chunk(snapshot.height + 1, snapshot.format, 0), None);
    // Who has a chain takes none.
    assert_eq!(offer(&old.ledger, &snapshot, at.app_hash), Offer::Abort);

    let first_chunks: Vec<Vec<u8>> = (0..snapshot.chunks).map(chunk).collect();
    later.extend((0..3).map(|_| old.step()));
    let chunk = |index: u32| first_chunks.get(index as usize).cloned().unwrap_or_default();
    for engine in Engine::built() {
        let home = tempfile::tempdir().unwrap();
        let store = engine.open(home.path()).unwrap();
        let new = Ledger::open(store.clone()).unwrap();
        assert_eq!(new.apply_chunk(0, &chunk(0)).unwrap(), ChunkVerdict::Abort);
        assert_eq!(offer(&new, &snapshot, AppHash::default()), Offer::Reject);
        let other = Snapshot { format: snapshot.format + 1, ..snapshot.clone() };
        assert_eq!(offer(&new, &other, at.app_hash), Offer::RejectFormat);
        let other = Snapshot { chunks: snapshot.chunks + 1, ..snapshot.clone() };
        assert_eq!(offer(&new, &other, at.app_hash), Offer::Reject);
        assert_eq!(offer(&new, &snapshot, at.app_hash), Offer::Accept);
        for index in 0..snapshot.chunks {
            let mut wrong = chunk(index);
            wrong[1000] ^= 1;
            assert_eq!(new.apply_chunk(index, &wrong).unwrap(), ChunkVerdict::Retry);
            assert_eq!(new.apply_chunk(index + 1, &chunk(index)).unwrap(), ChunkVerdict::Retry);
            assert_eq!(new.info().height, 0);
            assert_eq!(new.apply_chunk(index, &chunk(index)).unwrap(), ChunkVerdict::Accept);
        }
        assert_eq!((new.info().height, new.info().app_hash), (EVERY, at.app_hash));
        let restored = new.head().unwrap();
        assert_eq!((restored.hash, &restored.params), (at.hash, &at.params));
        assert_eq!(restored.validators, at.validators);
        for table in [Table::Accounts, Table::Storage, Table::Code, Table::TrieNodes, Table::ChainState] {
            assert_eq!(restored.reader.scan(table, &[]).unwrap(), at.reader.scan(table, &[]).unwrap(), "{table:?}");
        }
        // And it goes on, also after it was opened again.
        drop(restored);
        let mut new = new;
        for signed in &later {
            let done = new.finalize(&decided(signed)).unwrap();
            assert_eq!(done.results, signed.results);
            new.commit().unwrap();
            drop(new);
            new = Ledger::open(store.clone()).unwrap();
            assert_eq!(new.info().app_hash, done.app_hash);
        }
        assert_eq!(new.info(), old.ledger.info());
    }
}

#[test]
fn a_forged_snapshot_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut old = Old::begin(folder.path());
    for _ in 0..EVERY {
        old.step();
    }
    let at = old.ledger.head().unwrap();
    old.ledger.make_due_snapshot().unwrap().unwrap();
    let [snapshot] = old.ledger.snapshots().try_into().unwrap();
    let good: Vec<Vec<u8>> =
        (0..snapshot.chunks).map(|i| old.ledger.snapshot_chunk(snapshot.height, snapshot.format, i).unwrap()).collect();
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut refused = 0;
    for round in 0..40 {
        let mut chunks = good.clone();
        // The last chunk has accounts, storage, headers; every other time that one.
        let which = if round % 2 == 0 { chunks.len() - 1 } else { random.next_u32() as usize % chunks.len() };
        let place = random.next_u32() as usize % chunks[which].len();
        chunks[which][place] ^= 1 << (random.next_u32() % 8);
        let hashes = chunks.iter().map(|chunk| Sha256::digest(chunk).into()).collect();
        let forged = Manifest { chunks: hashes, ..Manifest::decode(&snapshot.metadata).unwrap() }.announce();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let new = Ledger::open(store.clone()).unwrap();
        assert_eq!(offer(&new, &forged, at.app_hash), Offer::Accept);
        let mut verdicts = (0u32..).zip(&chunks).map(|(i, chunk)| new.apply_chunk(i, chunk).unwrap());
        let last = verdicts.find(|verdict| *verdict != ChunkVerdict::Accept);
        match last {
            // What the chunk says of storage roots is not read: then nothing is wrong.
            None => assert_eq!((new.info().app_hash, new.info().height), (at.app_hash, EVERY)),
            Some(verdict) => {
                refused += 1;
                assert_eq!(verdict, ChunkVerdict::RejectSnapshot, "round {round}: byte {place} of chunk {which}");
                assert_eq!(new.info().height, 0);
                // The next offer begins from nothing.
                assert_eq!(offer(&new, &snapshot, at.app_hash), Offer::Accept);
                assert!(TABLES.into_iter().all(|table| store.reader().unwrap().first_key(table).unwrap().is_none()));
            }
        }
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn what_an_interrupted_restore_leaves_is_no_beginning() {
    let start = ChainStart {
        chain_id: CHAIN.into(),
        time: 1,
        app_state: serde_json::to_vec(&genesis()).unwrap(),
        initial_height: 1,
        evidence: None,
    };
    let begin = |store| Ledger::open(Arc::new(store)).unwrap().init_chain(&start).unwrap().app_hash;
    let expected = begin(MemoryStore::default());
    for table in TABLES.into_iter().filter(|table| *table != Table::Meta) {
        let store = MemoryStore::default();
        let mut batch = Batch::default();
        // The root of a trie, where genesis would find it.
        batch.put(table, [0u8], [0xc2, 0x20, 0x01]);
        store.write(&batch).unwrap();
        assert_eq!(begin(store), expected, "{table:?}");
    }
}

/// The manifest of a state that there is.
static GENUINE: LazyLock<Manifest> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let mut old = Old::begin(folder.path());
    (0..EVERY).for_each(|_| drop(old.step()));
    old.ledger.make_due_snapshot().unwrap().unwrap()
});

#[test]
fn a_manifest_is_held_against_the_size_that_the_trusted_state_proves() {
    let genuine = GENUINE.clone();
    let offered = |manifest: &Manifest| {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let new = Ledger::open(store.clone()).unwrap();
        (offer(&new, &manifest.announce(), genuine.app_hash), new, store)
    };
    assert_eq!(offered(&genuine).0, Offer::Accept);
    let many = Manifest { chunks: vec![[1; 32]; 100_000], ..genuine.clone() };
    assert_eq!(offered(&many).0, Offer::Reject, "a hundred thousand chunks of a small state");
    let mut larger = many.clone();
    larger.size.bytes = u64::MAX / 4;
    assert_eq!(offered(&larger).0, Offer::Reject, "the state proves another size");
    for root in 0..3 {
        let mut other = genuine.clone();
        other.size.roots[root][0] ^= 1;
        assert_eq!(offered(&other).0, Offer::Reject);
    }
    let mut unproven = genuine.clone();
    unproven.size.proof.clear();
    assert_eq!(offered(&unproven).0, Offer::Reject);
    // One chunk of eight megabytes, of code that nobody has.
    let code = vec![7u8; 7 << 20];
    let mut chunk = vec![Table::Code as u8];
    chunk.extend(32u32.to_be_bytes());
    chunk.extend(u32::try_from(code.len()).unwrap().to_be_bytes());
    chunk.extend(alloy_primitives::keccak256(&code));
    chunk.extend(&code);
    let large = Manifest { chunks: vec![Sha256::digest(&chunk).into()], ..genuine.clone() };
    let (accepted, new, store) = offered(&large);
    assert_eq!(accepted, Offer::Accept);
    assert!(genuine.size.bytes < 7 << 20);
    assert_eq!(new.apply_chunk(0, &chunk).unwrap(), ChunkVerdict::RejectSnapshot);
    assert!(store.reader().unwrap().first_key(Table::Code).unwrap().is_none(), "nothing of it is stored");
}

#[test]
fn a_state_counts_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut old = Old::begin(folder.path());
    for _ in 0..3 {
        old.step();
        let reader = old.ledger.head().unwrap().reader.clone();
        let tables = [Table::Accounts, Table::Storage, Table::Code, Table::ChainState];
        let all = tables.into_iter().flat_map(|table| reader.scan(table, b"").unwrap());
        let all: usize = all.filter(|(key, _)| key != size::KEY).map(|(key, value)| key.len() + value.len()).sum();
        let said = sahara_chain::state::chain_store::get(reader.as_ref(), size::KEY).unwrap();
        assert_eq!(size::read(said.as_deref()).unwrap(), all as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_peers_send_is_refused_in_order(
        entries in proptest::collection::vec((0u8..14, any::<(u8, u8)>(), 0usize..5, 0usize..5), 0..8),
        sorted: bool,
        tail in proptest::collection::vec(any::<u8>(), 0..12),
    ) {
        const LENGTHS: [usize; 5] = [0, 8, 20, 32, 52];
        let mut entries = entries;
        if sorted {
            entries.sort();
        }
        let mut chunk = Vec::new();
        for (table, (key, value), key_length, value_length) in entries {
            let (key, value) = (vec![key; LENGTHS[key_length]], vec![value; LENGTHS[value_length]]);
            chunk.push(table);
            chunk.extend(u32::try_from(key.len()).unwrap().to_be_bytes());
            chunk.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
            chunk.extend(key);
            chunk.extend(value);
        }
        chunk.extend(tail);
        let manifest = Manifest { chunks: vec![Sha256::digest(&chunk).into()], ..GENUINE.clone() };
        let app_hash = manifest.app_hash;
        let new = Ledger::open(Arc::new(MemoryStore::default())).unwrap();
        prop_assert_eq!(offer(&new, &manifest.announce(), app_hash), Offer::Accept);
        prop_assert_eq!(new.apply_chunk(0, &chunk).unwrap(), ChunkVerdict::RejectSnapshot);
        prop_assert_eq!(new.info().height, 0);
    }
}

#[test]
fn who_goes_back_and_takes_another_way_has_no_snapshot_of_the_first() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path().into(), 5).unwrap();
    let ledger = Ledger::open(Arc::new(MemoryStore::default())).unwrap().with_snapshots(folder.clone(), 2);
    let app_state = serde_json::to_vec(&genesis()).unwrap();
    let start = ChainStart { chain_id: CHAIN.into(), time: 1, app_state, initial_height: 1, evidence: None };
    ledger.init_chain(&start).unwrap();
    let block = |height: u64, value: u64| {
        let txs = vec![transfer(0, height - 1, Address::repeat_byte(1), value)];
        ledger.finalize(&DecidedBlock { height, time: 1 + height, txs, ..DecidedBlock::default() }).unwrap();
        ledger.commit().unwrap();
        ledger.make_due_snapshot().unwrap()
    };
    (1..=4).for_each(|height| drop(block(height, 1)));
    let abandoned = ledger.head().unwrap();
    ledger.rewind(3).unwrap();
    assert_eq!(folder.heights().unwrap(), [2], "that of block 4 is of no chain");
    // One that was being made meanwhile comes too late, and is replaced.
    folder.make(&abandoned).unwrap();
    let made = block(4, 2).unwrap();
    assert_eq!(made.app_hash, ledger.head().unwrap().app_hash);
    assert_ne!(made.app_hash, abandoned.app_hash);
    assert_eq!(folder.make(&ledger.head().unwrap()).unwrap(), made, "and is made once");
}
