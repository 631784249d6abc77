//! Tests of the pack store.

use super::*;
use crate::engine::{Assignment, GraphId, Rounding, Seed};
use crate::wire::{ManifestId, Task};

const LIMITS: PackLimits = PackLimits { per_key: 3, bytes: 10_000, memory: 0 };

fn key() -> PackKey {
    Task {
        manifest: ManifestId([5; 32]),
        graph: GraphId([3; 32]),
        assignment: Assignment::ALL[0],
        rounding: Rounding::Exact,
    }
}

fn add(store: &PackStore, n: u8) -> PackId {
    let id = PackId([n; 16]);
    let contents = PackContents { seed: Seed::from_bytes([n; 32]), corrections: vec![n; 100], prepared: vec![n; 8] };
    let header = PackHeader { id, key: key(), role: EvaluatorRole::Second, corrections: 100, prepared: 8 };
    store.stage(header, contents).unwrap().commit().unwrap();
    id
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_pack_is_used_once_and_survives_only_unused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(PackStore::open(dir.path(), LIMITS).unwrap());
    let (one, two) = (add(&store, 1), add(&store, 2));
    assert_eq!(store.held(&key()), vec![one, two]);
    let taken = store.take_oldest(&key()).unwrap().unwrap();
    assert_eq!(taken.id(), one);
    assert!(store.take(&key(), &one).unwrap().is_none(), "taken is taken");
    assert_eq!(store.held(&key()), vec![two, one], "a pack in use counts as held");
    let (contents, in_use) = taken.load(EvaluatorRole::Second).unwrap();
    assert_eq!((&contents.corrections[..], &contents.prepared[..]), (&[1; 100][..], &[1; 8][..]));
    assert_eq!(files(dir.path()), vec![format!("{two}.pack")]);
    drop(in_use);
    assert_eq!(store.held(&key()), vec![two]);

    // A crash between taking and loading: the pack is gone after the restart, the other one is not.
    let taken = store.take(&key(), &two).unwrap().unwrap();
    let three = add(&store, 3);
    std::mem::forget(taken);
    fs::write(dir.path().join(format!("{}.partial", PackId([9; 16]))), b"half").unwrap();
    let store = Arc::new(PackStore::open(dir.path(), LIMITS).unwrap());
    assert_eq!(store.held(&key()), vec![three]);
    assert_eq!(files(dir.path()), vec![format!("{three}.pack")]);
}

#[test]
fn damaged_packs_are_destroyed_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(PackStore::open(dir.path(), LIMITS).unwrap());
    let (one, two) = (add(&store, 1), add(&store, 2));
    let path = dir.path().join(format!("{one}.pack"));
    fs::write(&path, &fs::read(&path).unwrap()[..150]).unwrap();
    let taken = store.take(&key(), &one).unwrap().unwrap();
    assert!(matches!(taken.load(EvaluatorRole::Second), Err(PackError::Damaged { .. })));
    let taken = store.take(&key(), &two).unwrap().unwrap();
    assert!(taken.load(EvaluatorRole::First).is_err(), "made for the other role");
    assert!(files(dir.path()).is_empty());

    add(&store, 3);
    let path = dir.path().join(format!("{}.pack", PackId([3; 16])));
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 9;
    fs::write(&path, bytes).unwrap();
    let error = read_header(&path).unwrap_err().to_string();
    assert!(error.contains("version 9"), "{error}");
    assert!(PackStore::open(dir.path(), LIMITS).unwrap().counts().is_empty());
}

#[test]
fn limits_hold_and_lost_halves_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let store = PackStore::open(dir.path(), LIMITS).unwrap();
    let ids: Vec<_> = (1..=3).map(|n| add(&store, n)).collect();
    assert!(store.has_room(&key(), 1).unwrap_err().to_string().contains("3 packs"));
    assert_eq!(store.keep_only(&key(), &ids[1..2]).unwrap(), 2);
    assert_eq!(store.held(&key()), vec![ids[1]]);
    assert!(store.has_room(&key(), 100_000).unwrap_err().to_string().contains("pack_megabytes"));
    assert_eq!(store.retain(|_| false).unwrap(), 1);
    assert!(files(dir.path()).is_empty());
}

#[test]
fn packs_in_memory_touch_the_disk_only_when_the_node_stops() {
    let dir = tempfile::tempdir().unwrap();
    let limits = PackLimits { memory: 2 * (PREFIX as u64 + 108), ..LIMITS };
    let store = Arc::new(PackStore::open(dir.path(), limits).unwrap());
    let (one, two) = (add(&store, 1), add(&store, 2));
    assert!(files(dir.path()).is_empty());
    let three = add(&store, 3);
    assert_eq!(files(dir.path()), vec![format!("{three}.pack")], "no room in memory is left for the third");
    let taken = store.take(&key(), &one).unwrap().unwrap();
    assert_eq!(taken.load(EvaluatorRole::Second).unwrap().0.corrections, vec![1; 100]);
    assert!(store.take(&key(), &one).unwrap().is_none());
    assert_eq!(store.spill().unwrap(), 1);
    assert_eq!(files(dir.path()), vec![format!("{two}.pack"), format!("{three}.pack")]);
    assert_eq!(store.lock().memory, 0);
    drop(store);
    let store = Arc::new(PackStore::open(dir.path(), limits).unwrap());
    assert_eq!(store.counts(), vec![(key(), 2)]);
    let taken = store.take(&key(), &two).unwrap().unwrap();
    assert_eq!(taken.load(EvaluatorRole::Second).unwrap().0.prepared, vec![2; 8]);
}

/// Bytes that version 1 wrote; a later version must still read them or refuse them by name.
#[test]
fn version_1_pack_header() {
    let mut stored = b"SHPACK\0\0\x01\0".to_vec();
    stored.extend([1; 16]); // name
    stored.extend([3; 32]); // graph
    stored.extend([0, 0, 0]); // helper, exact, private
    stored.extend([5; 16]); // sharing
    stored.push(1); // second evaluator
    stored.extend([100, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]); // lengths
    stored.extend([7; 32]); // seed
    assert_eq!(stored.len(), PREFIX);
    let (header, seed) = PackHeader::decode(&stored).unwrap();
    let expected =
        PackHeader { id: PackId([1; 16]), key: key(), role: EvaluatorRole::Second, corrections: 100, prepared: 8 };
    assert_eq!(header, expected);
    assert_eq!(seed.as_bytes(), &[7; 32]);
    assert_eq!(&header.encode(&seed)[..], &stored[..]);
}

#[cfg(unix)]
#[test]
fn packs_are_private_files() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let store = PackStore::open(dir.path(), LIMITS).unwrap();
    let id = add(&store, 1);
    let mode = fs::metadata(dir.path().join(format!("{id}.pack"))).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
