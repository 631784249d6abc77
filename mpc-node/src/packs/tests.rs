//! Tests of the pack store.

use super::*;
use crate::engine::{Assignment, GraphId, Rounding, Seed};
use crate::identity::PublicKey;
use crate::transcript::{PackSeal, SignedSeal};
use crate::wire::{JobId, ManifestId, Task};
use header::{CHECKSUM, PREFIX};
use index::BLOCK;

const LIMITS: PackLimits = PackLimits { per_key: 3, all: 100, bytes: 5 * BLOCK, memory: 0 };
const JOB: JobId = JobId([40; 16]);
const NOW: Duration = Duration::ZERO;

fn spot() -> Spot {
    Spot { shelf: 0, key: key() }
}

fn key() -> PackKey {
    Task {
        manifest: ManifestId([5; 32]),
        graph: GraphId([3; 32]),
        assignment: Assignment::ALL[0],
        rounding: Rounding::Exact,
    }
}

fn purpose(asked_by: u8, job: Option<JobId>) -> Purpose {
    Purpose { asked_by: PublicKey([asked_by; 32]), job }
}

fn for_job(job: JobId) -> Purpose {
    purpose(1, Some(job))
}

fn header(n: u8) -> PackHeader {
    PackHeader {
        id: PackId([n; 16]),
        key: key(),
        incarnation: Incarnation([9; 16]),
        role: EvaluatorRole::Second,
        corrections: 100,
        prepared: 8,
        seal: SignedSeal { seal: PackSeal { seeds: [[1; 32], [2; 32]], corrections: [3; 32] }, signature: [4; 64] },
    }
}

fn contents(n: u8) -> PackContents {
    PackContents { seed: Seed::from_bytes([n; 32]), corrections: vec![n; 100], prepared: vec![n; 8] }
}

fn make(store: &PackStore, n: u8, purpose: Purpose) -> Result<PackId, PackError> {
    let promised = store.promise(key(), header(n).file_len().unwrap(), purpose)?;
    promised.stage(header(n), contents(n))?.commit(Instant::now());
    Ok(PackId([n; 16]))
}

fn add(store: &PackStore, n: u8) -> PackId {
    make(store, n, purpose(1, None)).unwrap()
}

fn open(dir: &Path, limits: PackLimits) -> Arc<PackStore> {
    Arc::new(PackStore::open(dir, limits).unwrap().0)
}

fn take(store: &Arc<PackStore>, id: &PackId) -> (PackContents, InUse) {
    store.reserve_this(&key(), id).unwrap().take(EvaluatorRole::Second).unwrap()
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_pack_is_used_once_and_one_that_was_only_reserved_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), LIMITS);
    let (one, two) = (add(&store, 1), add(&store, 2));
    assert_eq!(store.held(&key()), vec![one, two]);
    let mut reserved = store.reserve(&key(), &for_job(JOB), NOW).unwrap().unwrap();
    assert_eq!(reserved.id(), one);
    reserved.load(EvaluatorRole::Second).unwrap();
    assert!(store.reserve_this(&key(), &one).is_none(), "reserved for one job only");
    assert_eq!(store.held(&key()), vec![two, one], "a pack in use counts as held");
    drop(reserved);
    assert_eq!(store.held(&key()), vec![one, two], "the job was not opened");

    let reserved = store.reserve(&key(), &for_job(JOB), NOW).unwrap().unwrap();
    let (contents, in_use) = reserved.take(EvaluatorRole::Second).unwrap();
    assert_eq!((&contents.corrections[..], &contents.prepared[..]), (&[1; 100][..], &[1; 8][..]));
    assert_eq!(files(dir.path()), vec![format!("{two}.pack")], "its file is gone before it can be used");
    assert!(store.reserve_this(&key(), &one).is_none());
    drop(in_use);
    assert_eq!(store.held(&key()), vec![two]);
    store.reserve_this(&key(), &two).unwrap().destroy().unwrap();
    assert!(files(dir.path()).is_empty() && store.held(&key()).is_empty());
    assert!(store.reserve(&key(), &for_job(JOB), NOW).unwrap().is_none());
}

#[test]
fn files_found_at_the_start_are_used_only_if_their_names_are_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let limits = PackLimits { memory: 2 * header(1).file_len().unwrap(), ..LIMITS };
    let store = open(dir.path(), limits);
    let (one, two, three) = (add(&store, 1), add(&store, 2), add(&store, 3));
    assert_eq!(files(dir.path()), vec![format!("{three}.pack")], "no room in memory is left for the third");
    let mut ready: Vec<_> = store.close().iter().map(|header| header.id).collect();
    ready.sort();
    assert_eq!(ready, vec![one, two, three]);
    assert!(store.reserve(&key(), &for_job(JOB), NOW).unwrap().is_none(), "closed: nothing is handed out any more");
    assert!(store.reserve_this(&key(), &one).is_none());
    assert_eq!(store.spill(|header| header.id != one).unwrap(), 1);
    assert_eq!(files(dir.path()), vec![format!("{two}.pack"), format!("{three}.pack")]);
    assert_eq!(store.lock().memory, 0);
    drop(store);

    fs::write(dir.path().join(format!("{}.partial", PackId([9; 16]))), b"half").unwrap();
    fs::write(dir.path().join(format!("{}.taken", PackId([8; 16]))), b"of an earlier version").unwrap();
    let (store, found) = PackStore::open(dir.path(), limits).unwrap();
    let store = Arc::new(store);
    assert_eq!(found, vec![header(2), header(3)]);
    assert_eq!(files(dir.path()).len(), 2, "what is not a whole pack is destroyed");
    assert!(store.counts().is_empty() && store.reserve_this(&key(), &two).is_none(), "found is not usable");
    store.readmit(&found[..1], purpose(1, None), Instant::now());
    store.discard(&found[1..]).unwrap();
    assert_eq!((store.counts(), files(dir.path())), (vec![(key(), 1)], vec![format!("{two}.pack")]));
    assert_eq!(take(&store, &two).0.prepared[..], [2; 8]);
}

#[test]
fn a_helper_gives_each_name_back_once_to_its_evaluator_and_only_in_its_own_incarnation() {
    let helper = Deposits::new(3).unwrap();
    let (now, names) = (helper.incarnation(), [1, 2, 3].map(|n| PackId([n; 16])));
    assert_eq!(helper.hand_back(1, now, &names[..2]), 2);
    assert_eq!(helper.reclaim(2, now, &names), vec![], "another evaluator's");
    assert_eq!(helper.reclaim(1, Incarnation([7; 16]), &names), vec![], "of another run");
    assert_eq!(helper.reclaim(1, now, &names), names[..2].to_vec(), "the third was never handed back");
    assert_eq!(helper.reclaim(1, now, &names), vec![], "each once");
    assert_eq!(helper.hand_back(1, Incarnation([7; 16]), &names), 0);
    assert_ne!(Deposits::new(3).unwrap().incarnation(), now);
}

#[test]
fn damaged_packs_are_found_before_they_are_used() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), LIMITS);
    let ids: Vec<_> = (1..=3).map(|n| add(&store, n)).collect();
    let path = |id: &PackId| dir.path().join(format!("{id}.pack"));
    let whole = fs::read(path(&ids[0])).unwrap();
    assert_eq!(whole.len(), PREFIX + 108 + CHECKSUM);
    let load = |id: &PackId| {
        let mut reserved = store.reserve_this(&key(), id).unwrap();
        let result = reserved.load(EvaluatorRole::Second);
        reserved.destroy().unwrap();
        result
    };
    // Any bit of the front, of the corrections, of the products, of the checksum.
    for at in [60, PREFIX - 1, PREFIX + 5, PREFIX + 107, PREFIX + 110] {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        fs::write(path(&ids[0]), &bytes).unwrap();
        assert!(matches!(file::read(&path(&ids[0])), Err(PackError::Damaged { .. })), "byte {at}");
    }
    assert!(matches!(load(&ids[0]), Err(PackError::Damaged { .. })));
    fs::write(path(&ids[1]), &fs::read(path(&ids[1])).unwrap()[..340]).unwrap();
    assert!(matches!(load(&ids[1]), Err(PackError::Damaged { .. })));
    let error = store.reserve_this(&key(), &ids[2]).unwrap().load(EvaluatorRole::First).unwrap_err().to_string();
    assert!(error.contains("role"), "made for the other role: {error}");
    load(&ids[2]).unwrap();
    assert!(files(dir.path()).is_empty());

    add(&store, 4);
    let mut bytes = fs::read(path(&PackId([4; 16]))).unwrap();
    bytes[8] = 99;
    fs::write(path(&PackId([4; 16])), bytes).unwrap();
    let error = file::read_header(&path(&PackId([4; 16]))).unwrap_err().to_string();
    assert!(error.contains("version 99"), "{error}");
    assert!(PackStore::open(dir.path(), LIMITS).unwrap().1.is_empty());
}

#[test]
fn a_pack_made_for_a_job_waits_for_it_and_a_job_waits_for_one_that_is_being_made() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), PackLimits { memory: 10_000, ..LIMITS });
    let own = make(&store, 1, purpose(1, Some(JOB))).unwrap();
    let other = JobId([41; 16]);
    assert!(store.reserve(&key(), &for_job(other), NOW).unwrap().is_none(), "it is for another job");
    let namesake = purpose(2, Some(JOB));
    assert!(store.reserve(&key(), &namesake, NOW).unwrap().is_none(), "it is for another consumer's job of that name");
    let late = Instant::now() + index::RESERVED;
    assert!(matches!(store.lock().choose(&spot(), &for_job(other), late), Choice::Pack(pack) if pack.header.id == own));
    store.lock().release(&spot(), &own);

    let promised = store.promise(key(), header(2).file_len().unwrap(), purpose(1, None)).unwrap();
    let waiting = {
        let store = store.clone();
        std::thread::spawn(move || {
            store.reserve(&key(), &for_job(JOB), Duration::from_secs(20)).unwrap().map(|r| r.id())
        })
    };
    std::thread::sleep(Duration::from_millis(20));
    promised.stage(header(2), contents(2)).unwrap().commit(Instant::now());
    assert_eq!(waiting.join().unwrap(), Some(PackId([2; 16])));

    let two = store.reserve_this(&key(), &PackId([2; 16])).unwrap();
    let promised = store.promise(key(), 200, purpose(1, Some(other))).unwrap();
    assert!(matches!(store.lock().choose(&spot(), &for_job(other), Instant::now()), Choice::Wait));
    assert!(
        matches!(store.lock().choose(&spot(), &for_job(JOB), Instant::now()), Choice::None),
        "that one is for another job"
    );
    drop((promised, two));
    assert!(matches!(store.lock().choose(&spot(), &for_job(other), Instant::now()), Choice::Pack(_)));
}

#[test]
fn a_pack_made_for_no_job_in_particular_is_its_consumers_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), PackLimits { memory: 10_000, ..LIMITS });
    let (one, other) = (for_job(JOB), purpose(2, Some(JOB)));
    let counts = |now| [1, 2].map(|n| store.count_for(&key(), PublicKey([n; 32]), now));
    let promised = store.promise(key(), header(1).file_len().unwrap(), purpose(1, None)).unwrap();
    let choose = |wanted: &Purpose, now| store.lock().choose(&spot(), wanted, now);
    let now = Instant::now();
    assert!(matches!(choose(&one, now), Choice::Wait));
    assert!(matches!(choose(&other, now), Choice::None), "another consumer does not wait for it");
    promised.stage(header(1), contents(1)).unwrap().commit(now);
    assert!(matches!(choose(&other, now), Choice::None), "nor is given it");
    assert_eq!(counts(now), [1, 0]);
    let late = now + index::RESERVED;
    assert_eq!(counts(late), [1, 1]);
    assert!(matches!(choose(&other, late), Choice::Pack(_)));
    // What it has for any job goes before what is for nobody, and what was made for the job before both.
    store.lock().release(&spot(), &PackId([1; 16]));
    make(&store, 2, purpose(2, None)).unwrap();
    make(&store, 3, purpose(1, None)).unwrap();
    make(&store, 4, one).unwrap();
    let late = Instant::now() + index::RESERVED;
    for expected in [4, 3, 2] {
        assert!(matches!(choose(&one, late), Choice::Pack(pack) if pack.header.id == PackId([expected; 16])));
    }
    // Whose a pack was is not known after a restart.
    store.readmit(&[header(5)], purpose(9, None), now);
    assert_eq!(counts(now), [1, 1]);
}

#[test]
fn limits_hold_and_who_has_most_makes_room_for_who_has_less() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), LIMITS);
    let ids: Vec<_> = (1..=3).map(|n| add(&store, n)).collect();
    let error = make(&store, 4, purpose(1, None)).unwrap_err().to_string();
    assert!(error.contains("3 packs") && error.contains("limits.packs"), "{error}");
    make(&store, 4, purpose(2, None)).unwrap();
    assert_eq!(store.held(&key()), vec![ids[1], ids[2], PackId([4; 16])], "the oldest of key 1 went");
    let error = make(&store, 5, purpose(2, None)).unwrap_err().to_string();
    assert!(error.contains("3 packs"), "key 2 would have as many as key 1: {error}");
    assert_eq!(files(dir.path()).len(), 3);

    let other = PackKey { graph: GraphId([8; 32]), ..key() };
    let error = store.promise(other, 5 * BLOCK - 99, purpose(2, None)).err().unwrap().to_string();
    assert!(error.contains("limits.pack_megabytes"), "{error}");
    assert_eq!(store.held(&key()).len(), 3, "nobody lost a pack for what is refused");
    let promised = store.promise(other, 4 * BLOCK, purpose(3, None));
    assert!(promised.is_err(), "nobody has more than that");
    assert_eq!(store.keep_only(&key(), &ids[2..]).unwrap(), 2);
    assert_eq!(store.retain(|_| false).unwrap(), 1);
    assert!(files(dir.path()).is_empty());
    let promised = store.promise(other, 5 * BLOCK - 99, purpose(2, None)).unwrap();
    assert!(make(&store, 6, purpose(1, None)).is_err(), "room is kept for what is being made");
    drop(promised);
    make(&store, 6, purpose(1, None)).unwrap();
    let age = Duration::from_secs(60);
    assert_eq!(store.expire(age, Instant::now()).unwrap(), 0);
    assert_eq!(store.expire(age, Instant::now() + age).unwrap(), 1, "a pack that nobody asked for goes");
}

#[test]
fn a_pack_of_ones_own_that_has_lain_for_a_while_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), PackLimits { memory: 10_000, ..LIMITS });
    let ids: Vec<_> = (1..=3).map(|n| add(&store, n)).collect();
    let own = Promise { spot: spot(), bytes: 1, purpose: purpose(1, None) };
    let (soon, late) = (Instant::now(), Instant::now() + index::RESERVED);
    assert!(store.lock().promise(&LIMITS, own, soon).is_err());
    assert_eq!(store.lock().promise(&LIMITS, own, late).unwrap(), [(0, ids[0])]);
    assert_eq!(store.held(&key()), ids[1..]);
}

/// Bytes that version 4 wrote; a later version must still read them or refuse them by name.
#[test]
fn version_4_pack_header() {
    let mut stored = b"SHPACK\0\0\x04\0".to_vec();
    stored.extend([1; 16]); // name
    stored.extend([5; 32]); // manifest
    stored.extend([3; 32]); // graph
    stored.extend([0, 0]); // helper, exact
    stored.extend([9; 16]); // the helper's incarnation
    stored.push(1); // second evaluator
    stored.extend([100, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]); // lengths
    stored.extend([[1; 32], [2; 32], [3; 32], [4; 32], [4; 32]].concat()); // what the helper signed
    stored.extend([7; 32]); // seed
    assert_eq!(stored.len(), PREFIX);
    let (decoded, seed) = PackHeader::decode(&stored).unwrap();
    assert_eq!(decoded, header(1));
    assert_eq!(seed.as_bytes(), &[7; 32]);
    assert_eq!(&decoded.encode(&seed)[..], &stored[..]);
}

#[cfg(unix)]
#[test]
fn packs_are_private_files() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), LIMITS);
    let id = add(&store, 1);
    let mode = fs::metadata(dir.path().join(format!("{id}.pack"))).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_newcomer_that_is_refused_costs_nobody_a_pack() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), PackLimits { bytes: 3 * BLOCK, ..LIMITS });
    for n in 1..=3 {
        make(&store, n, purpose(1, None)).unwrap();
    }
    let before = files(dir.path());
    // Larger than everything together; and one for which the first of two victims alone would be found.
    for bytes in [4 * BLOCK, 2 * BLOCK] {
        for _ in 0..3 {
            assert!(store.promise(key(), bytes, purpose(2, None)).is_err());
        }
        assert_eq!(store.count(&key()), 3, "packs of others went for nothing");
        assert_eq!(files(dir.path()), before, "what the index counts is what lies there");
    }
    store.promise(key(), BLOCK, purpose(2, None)).map(drop).unwrap();
    assert_eq!((store.count(&key()), files(dir.path()).len()), (2, 2));
}

#[test]
fn a_pack_that_was_offered_goes_unless_it_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), LIMITS);
    let (one, two) = (add(&store, 1), add(&store, 2));
    store.reserve_this(&key(), &one).unwrap().offer(wanted).unwrap().give_back();
    assert_eq!(store.count(&key()), 2);
    drop(store.reserve_this(&key(), &one).unwrap().offer(wanted).unwrap());
    assert_eq!((store.held(&key()), files(dir.path())), (vec![two], vec![format!("{two}.pack")]));
    let (_, in_use) =
        store.reserve_this(&key(), &two).unwrap().offer(wanted).unwrap().take(EvaluatorRole::Second).unwrap();
    assert_eq!((store.held(&key()), store.count(&key())), (vec![two], 0));
    drop(in_use);
    assert!(store.held(&key()).is_empty() && files(dir.path()).is_empty());
}

fn wanted() -> Result<(), &'static str> {
    Ok(())
}

#[test]
fn a_pack_that_is_not_wanted_any_more_goes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), LIMITS);
    let (one, two) = (add(&store, 1), add(&store, 2));
    let untouched = |when: &str| {
        assert_eq!((store.count(&key()), store.held(&key())), (2, vec![one, two]), "{when}");
        assert_eq!(files(dir.path()).len(), 2, "{when}");
    };
    let reserve = |asked: &mut u32, gone_at: u32| {
        store.reserve_while(&key(), &for_job(JOB), NOW, NOW, || {
            *asked += 1;
            if *asked == gone_at { Err("gone") } else { Ok(()) }
        })
    };
    for gone_at in [1, 2] {
        assert_eq!(reserve(&mut 0, gone_at).map(|_| ()), Err("gone"), "asked before a pack is chosen, and after");
        untouched("while it was chosen");
    }
    let reserved = reserve(&mut 0, 3).unwrap().unwrap();
    assert_eq!(reserved.offer(|| Err("gone")).map(|_| ()), Err("gone"));
    untouched("before it was offered");
}

#[test]
fn whoever_waits_for_a_pack_is_asked_whether_it_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), LIMITS);
    let _promised = store.promise(key(), header(1).file_len().unwrap(), purpose(1, None)).unwrap();
    let (long, glance, mut asked) = (Duration::from_secs(60), Duration::from_millis(1), 0);
    let gone = store.reserve_while(&key(), &for_job(JOB), long, glance, || {
        asked += 1;
        if asked == 5 { Err("gone") } else { Ok(()) }
    });
    assert_eq!(gone.map(|_| ()), Err("gone"));
}

#[test]
fn the_buffer_of_a_used_pack_serves_the_next_and_gives_way_to_packs() {
    const LEN: usize = 2 << 20;
    let dir = tempfile::tempdir().unwrap();
    let pack = header(1).file_len().unwrap();
    let store = open(dir.path(), PackLimits { memory: LEN as u64 + pack, ..LIMITS });
    let used = vec![7; LEN];
    let place = used.as_ptr();
    store.recycle(used, Instant::now());
    let small = store.buffer(LEN / 2);
    assert!(small.as_ptr() != place, "too large for half of it");
    let buffer = store.buffer(LEN);
    assert_eq!((buffer.as_ptr(), buffer.len()), (place, LEN), "the same memory");
    assert!(store.buffer(LEN).iter().all(|b| *b == 0), "there is no other");

    store.recycle(buffer, Instant::now());
    add(&store, 1);
    let buffer = store.buffer(LEN);
    assert_eq!(buffer.as_ptr(), place, "there was room for both");
    store.recycle(buffer, Instant::now());
    add(&store, 2);
    assert!(store.buffer(LEN).iter().all(|b| *b == 0), "it went for the second pack");
    store.recycle(vec![7; LEN], Instant::now());
    assert!(store.buffer(LEN).iter().all(|b| *b == 0), "no room is left for it");
    store.close();
    store.recycle(vec![7; LEN], Instant::now());
    assert!(store.buffer(LEN).iter().all(|b| *b == 0), "nothing is made any more");
}

/// A tiny pack takes a block of the disk and a place of the index, whatever its length.
#[test]
fn tiny_packs_count_for_what_they_take_and_whoever_has_most_of_all_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    assert!(header(1).file_len().unwrap() < BLOCK / 4);
    let store = open(dir.path(), PackLimits { bytes: 2 * BLOCK, ..LIMITS });
    let _ = (add(&store, 1), add(&store, 2));
    assert!(make(&store, 3, purpose(1, None)).is_err(), "two blocks are two files");

    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), PackLimits { all: 3, ..LIMITS });
    let other = PackKey { graph: GraphId([8; 32]), ..key() };
    let ids: Vec<_> = (1..=2).map(|n| add(&store, n)).collect();
    let promised = store.promise(other, 1, purpose(2, None)).unwrap();
    let error = store.promise(other, 1, purpose(2, None)).err().unwrap().to_string();
    assert!(error.contains("3 packs are ready already"), "both have two then: {error}");
    assert_eq!(store.held(&key()), ids);
    let newcomer = store.promise(other, 1, purpose(3, None)).unwrap();
    assert_eq!(store.held(&key()), ids[1..], "the oldest of whoever has most");
    drop((promised, newcomer));
    add(&store, 3);

    // A task with one pack takes most for each: a queue begins with four places, a table has twice as many as it needs.
    let place = size_of::<(Spot, std::collections::VecDeque<Ready>)>();
    assert!((4 * size_of::<Ready>() + 3 * place + 64) as u64 <= index::PACK_MEMORY, "{}", size_of::<Ready>());
}

#[test]
fn committees_have_packs_and_folders_of_their_own_and_share_their_room() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let limits = PackLimits { bytes: 3 * BLOCK, ..LIMITS };
    let dirs = vec![one.path().to_path_buf(), two.path().to_path_buf()];
    let open = || PackStore::open_all(dirs.clone(), limits).unwrap();
    let [a, b] = <[_; 2]>::try_from(open()).ok().unwrap().map(|(store, found)| {
        assert_eq!(found, []);
        Arc::new(store)
    });
    let ids: Vec<_> = [1, 2].map(|n| add(&a, n)).into();
    let own = add(&b, 3);
    assert_eq!((a.count(&key()), b.count(&key())), (2, 1));
    assert_eq!((a.held(&key()), b.held(&key())), (ids.clone(), vec![own]));
    assert_eq!((a.counts(), b.counts()), (vec![(key(), 2)], vec![(key(), 1)]));
    // The same task, and a name that is known: still nothing of the other committee's.
    assert!(a.reserve_this(&key(), &own).is_none() && b.reserve_this(&key(), &ids[0]).is_none());
    assert_eq!((b.keep_only(&key(), &[own]).unwrap(), b.expire(NOW, Instant::now()).unwrap()), (0, 1));
    assert_eq!((files(one.path()).len(), files(two.path()).len()), (2, 0));
    assert_eq!(b.retain(|_| false).unwrap(), 0);
    assert_eq!((a.count(&key()), a.count_for(&key(), PublicKey([1; 32]), Instant::now())), (2, 2));
    // There is room for three in all; whoever has most makes room where it has it.
    let third = add(&a, 4);
    let other = make(&b, 5, purpose(2, None)).unwrap();
    assert_eq!(files(one.path()), [ids[1], third].map(|id| format!("{id}.pack")), "the oldest of the key with most");
    assert_eq!(b.held(&key()), [other]);
    assert!(matches!(make(&a, 6, purpose(1, None)), Err(PackError::Full(_))), "it would have more than anybody");
    // A pack of one is taken for good in its own folder.
    let (_, in_use) = take(&b, &other);
    assert_eq!((files(two.path()).len(), b.held(&key()).len()), (0, 1));
    drop(in_use);
    add(&b, 7);
    // The node stops: each hands its own names back, and finds its own again.
    let (left, there) = (a.close(), b.close());
    assert_eq!((left.len(), there.len(), there[0].id), (2, 1, PackId([7; 16])));
    assert!(b.reserve_this(&key(), &there[0].id).is_none(), "one closes both");
    a.spill(|_| true).unwrap();
    b.spill(|_| false).unwrap();
    drop((a, b));
    let found: Vec<_> = open().into_iter().map(|(_, found)| found.len()).collect();
    assert_eq!(found, [2, 0]);
}

#[test]
fn a_job_waits_for_a_pack_of_its_own_committee_only() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dirs = vec![one.path().to_path_buf(), two.path().to_path_buf()];
    let [a, b] = <[_; 2]>::try_from(PackStore::open_all(dirs, LIMITS).unwrap()).ok().unwrap().map(|(s, _)| Arc::new(s));
    let promised = a.promise(key(), header(1).file_len().unwrap(), for_job(JOB)).unwrap();
    let began = Instant::now();
    assert!(b.reserve(&key(), &for_job(JOB), Duration::from_secs(20)).unwrap().is_none());
    assert!(began.elapsed() < Duration::from_secs(5), "nothing is being made there");
    promised.stage(header(1), contents(1)).unwrap().commit(Instant::now());
    assert!(b.reserve(&key(), &for_job(JOB), NOW).unwrap().is_none());
    assert!(a.reserve(&key(), &for_job(JOB), NOW).unwrap().is_some());
}

/// A helper says for whom it deals, and nothing shows that they have asked: what it deals in anybody's name is its own share.
#[test]
fn a_helper_of_one_committee_does_not_use_up_what_a_consumer_may_have_in_another() {
    let limits = PackLimits { per_key: 10, ..LIMITS };
    for names in [[1; 5], [1, 2, 3, 4, 5]] {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let stores = PackStore::open_all(dirs.iter().map(|dir| dir.path().to_owned()).collect(), limits).unwrap();
        let [theirs, ours] = <[_; 2]>::try_from(stores).ok().unwrap().map(|(store, _)| Arc::new(store));
        for (n, name) in (1..).zip(names) {
            make(&theirs, n, purpose(name, None)).unwrap();
        }
        let one = make(&ours, 11, purpose(1, None)).unwrap();
        let two = make(&ours, 12, purpose(1, None)).unwrap();
        assert_eq!((ours.held(&key()), theirs.held(&key()).len()), (vec![one, two], 3), "{names:?}");
        // Nor does the consumer drive out the others there.
        let full = make(&ours, 13, purpose(1, None)).unwrap_err().to_string();
        assert!(full.contains("limits.pack_megabytes"), "{full}");
        // And the helper gets nothing back, in whatever name.
        for name in 1..9 {
            let _ = make(&theirs, 20 + name, purpose(name, None));
        }
        assert_eq!(ours.held(&key()), vec![one, two]);
    }
}
