//! Tests of a node's store of sharings by itself: how much owners may keep, what a restart finds, what is whose.

use tempfile::TempDir;

use sahara_circuits::graph::Op;
use sahara_circuits::testgraph;
use sahara_circuits::weights::Weights;

use super::files::PartHeader;
use super::part::scratch;
use super::*;
use crate::config::Limits;
use crate::engine::{Assignment, GraphId, Rounding, Seed, Visibility, mask_weights};
use crate::identity::{Identity, generate};
use crate::manifest::{
    AssignmentShare, ClientPart, Consumers, Manifest, OwnerKey, Shares, SignedManifest, layout_digest, masked_digest,
    seed_commitment,
};
use crate::market::{Complete, JobEnd, Order, Unlicensed, Waste};

const COMMITTEE: [u8; 32] = [8; 32];

struct Model {
    graphs: Vec<Arc<Graph>>,
    weights: Weights,
}

/// A small random model; of several graphs all but the first differ from it by their name only.
fn model(seed: u64, graphs: usize) -> Model {
    let (mut graph, weights, _) = testgraph::random(seed);
    graph.weights_root = weights.root(&graph.weights);
    let mut graphs: Vec<_> =
        (0..graphs).map(|n| Arc::new(Graph { model: format!("model {n}"), ..graph.clone() })).collect();
    graphs.sort_by_key(|graph| graph.id());
    Model { graphs, weights }
}

/// What an owner sends to one node.
struct Version {
    signed: SignedManifest,
    pieces: Vec<Vec<u8>>,
}

impl Version {
    /// Bytes that the owner announces.
    fn announced(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    /// Bytes that it takes on the disk.
    fn kept(&self) -> u64 {
        (self.signed.encode().len() + PartHeader::LEN) as u64 + self.announced()
    }

    fn id(&self) -> ManifestId {
        self.signed.id()
    }

    fn sharing(&self) -> SharingId {
        self.signed.manifest().sharing()
    }

    fn task(&self, graph: GraphId, helper: u8) -> Task {
        let assignment = Assignment::new(helper).unwrap();
        Task { manifest: self.id(), graph, assignment, rounding: Rounding::Exact }
    }
}

fn keys(count: u8) -> Consumers {
    Consumers::only((0..count).map(|n| PublicKey([n; 32])))
}

/// A version with private weights for the first assignment, as the first node gets it: as the helper.
fn version(owner: &Identity, name: &str, version: u64, model: &Model, consumers: Consumers) -> Version {
    let mut manifest = manifest(owner, name, version, model, consumers);
    let assignment = Assignment::ALL[0];
    let domain = manifest.masks(assignment);
    let seeds = [[1; 32], [2; 32]].map(Seed::from_bytes);
    manifest.shares = Shares::Private(vec![AssignmentShare {
        assignment,
        masked: masked_digest(&mask_weights(&model.weights, &domain, &seeds[0], &seeds[1])),
        seeds: [0, 1].map(|role| seed_commitment(&domain, role, &seeds[role])),
    }]);
    let both = [*seeds[0].as_bytes(), *seeds[1].as_bytes()].concat();
    signed(owner, manifest, model, both)
}

/// A version with open weights.
fn open_version(owner: &Identity, name: &str, version: u64, model: &Model) -> Version {
    let manifest = manifest(owner, name, version, model, Consumers::Everyone);
    let words = model.weights.tensors.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
    signed(owner, manifest, model, words)
}

fn manifest(owner: &Identity, name: &str, version: u64, model: &Model, consumers: Consumers) -> Manifest {
    Manifest {
        owner: OwnerKey::Ed25519(owner.public()),
        name: name.parse().unwrap(),
        version,
        weights_root: model.graphs[0].weights_root,
        layout: layout_digest(&model.graphs[0]),
        graphs: model.graphs.iter().map(|graph| graph.id()).collect(),
        committee: COMMITTEE,
        shares: Shares::Open,
        client_part: None,
        access: AccessRule::Keys(AccessList { serial: version, consumers }),
        noise: None,
    }
}

fn signed(owner: &Identity, manifest: Manifest, model: &Model, part: Vec<u8>) -> Version {
    let mut pieces: Vec<Vec<u8>> = model.graphs.iter().map(|graph| graph.to_bytes()).collect();
    pieces.push(part);
    Version { signed: manifest.sign(owner).unwrap(), pieces }
}

fn limits() -> ModelLimits {
    let cost = Limits::default().cost();
    ModelLimits { bytes: u64::MAX, owner_bytes: u64::MAX, sharings: 99, owner_sharings: 99, access_keys: 99, cost }
}

fn store(dir: &TempDir, limits: ModelLimits) -> ModelStore {
    let parties = Parties { owners: Admission::Any, consumers: Admission::Any };
    ModelStore::open(dir.path(), 0, COMMITTEE, parties, limits).unwrap()
}

fn begin<'a>(store: &'a ModelStore, version: &Version) -> Result<Box<Upload<'a>>, ModelError> {
    let owner = version.signed.manifest().owner.lane_key();
    match store.begin(owner, version.signed.clone(), version.announced())? {
        Begun::Upload(upload) => Ok(upload),
        Begun::Here => Err(ModelError::Refused("it is here already".into())),
    }
}

fn upload(store: &ModelStore, version: &Version) -> Result<Committed, ModelError> {
    let mut upload = begin(store, version)?;
    for piece in &version.pieces {
        upload.receive(piece.len() as u64, |write| piece.chunks(1_000).try_for_each(write))?;
        upload.check()?;
    }
    upload.commit()
}

fn permit(store: &ModelStore, task: &Task, key: &PublicKey) -> Result<Permit, ModelError> {
    store.permit(task, key, Some(Work::Plan))
}

/// Makes the weights of a task ready.
fn material(store: &ModelStore, task: &Task, key: &PublicKey) -> Result<(), ModelError> {
    permit(store, task, key)?.plan()?;
    store.permit(task, key, Some(Work::Weights))?.material().map(drop)
}

fn refused<T>(result: Result<T, ModelError>, say: &str) {
    match result {
        Err(ModelError::Refused(text)) => assert!(text.contains(say), "{text}"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was taken"),
    }
}

/// Spoils one byte of a file.
fn spoil(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[test]
fn an_owner_keeps_so_many_bytes_also_over_a_restart_and_over_damage() {
    let (owner, other, model) = (generate().unwrap(), generate().unwrap(), model(1, 1));
    let [first, again, second] =
        [("a", 1), ("a", 2), ("b", 1)].map(|(name, number)| version(&owner, name, number, &model, Consumers::Everyone));
    let theirs = version(&other, "a", 1, &model, Consumers::Everyone);
    let (announced, kept) = (first.announced(), first.kept());
    let dir = tempfile::tempdir().unwrap();
    let with = |owner_bytes| store(&dir, ModelLimits { owner_bytes, ..limits() });
    refused(begin(&with(announced - 1), &first), "more than 0 MB (limits.owner_megabytes)");
    refused(upload(&with(kept - 1), &first), "limits.owner_megabytes");
    assert!(files(&dir).is_empty(), "nothing of that stays");
    let tight = with(kept);
    assert_eq!(upload(&tight, &first).unwrap().replaced, None);
    assert_eq!(upload(&tight, &again).unwrap().replaced, Some(first.id()), "what is replaced makes room");
    refused(begin(&tight, &second), "limits.owner_megabytes");
    upload(&tight, &theirs).unwrap();
    assert_eq!(tight.list(&owner.public(), false).0.iter().map(|entry| entry.bytes).collect::<Vec<_>>(), [kept; 2]);
    drop(tight);
    for damage in [false, true] {
        if damage {
            spoil(&dir.path().join(again.id().to_string()).join("manifest"), 20);
        }
        let (less, enough) = (with(kept + announced - 1), with(kept + announced));
        assert_eq!(less.damage().len(), usize::from(damage), "{:?}", less.damage());
        refused(begin(&less, &second), "limits.owner_megabytes");
        begin(&enough, &second).unwrap();
        assert_eq!(enough.count(Some(&owner.public())), if damage { 1 } else { 2 }, "the other's is for everyone");
    }
    let text = with(kept).damage()[0].clone();
    assert!(text.contains(&format!("version 2 of {}/a", owner.public())), "{text}");
    upload(&with(kept), &version(&owner, "a", 3, &model, Consumers::Everyone)).unwrap();
}

#[test]
fn all_owners_keep_so_many_bytes_together_and_what_is_under_way_counts() {
    let owners = [(); 3].map(|()| generate().unwrap());
    let model = model(2, 1);
    let versions = owners.each_ref().map(|owner| version(owner, "a", 1, &model, Consumers::Everyone));
    let (announced, kept) = (versions[0].announced(), versions[0].kept());
    let dir = tempfile::tempdir().unwrap();
    let with = |bytes| store(&dir, ModelLimits { bytes, ..limits() });
    refused(begin(&with(announced - 1), &versions[0]), "limit of 0 MB (limits.model_megabytes)");
    let tight = with(kept + 2 * announced - 1);
    upload(&tight, &versions[0]).unwrap();
    let under_way = begin(&tight, &versions[1]).unwrap();
    refused(begin(&tight, &versions[1]), "another upload of this owner is under way");
    refused(begin(&tight, &versions[2]), "limits.model_megabytes");
    drop(under_way);
    begin(&tight, &versions[2]).unwrap();
    drop(tight);
    let enough = with(kept + 2 * announced);
    let under_way = begin(&enough, &versions[1]).unwrap();
    begin(&enough, &versions[2]).unwrap();
    drop(under_way);
    drop(enough);
    let exact = with(2 * kept);
    upload(&exact, &versions[1]).unwrap();
    assert_eq!(exact.count(None), 2);
    refused(upload(&with(3 * kept - 1), &versions[2]), "limits.model_megabytes");
}

#[test]
fn there_are_so_many_sharings_in_all_and_of_one_owner_deleted_and_unreadable_ones_included() {
    let (owner, other, model) = (generate().unwrap(), generate().unwrap(), model(3, 1));
    let of = |owner, name| version(owner, name, 1, &model, Consumers::Everyone);
    let [a, b, c] = ["a", "b", "c"].map(|name| of(&owner, name));
    let theirs = of(&other, "a");
    let dir = tempfile::tempdir().unwrap();
    let open = || store(&dir, ModelLimits { sharings: 3, owner_sharings: 2, ..limits() });
    let first = open();
    upload(&first, &a).unwrap();
    upload(&first, &b).unwrap();
    assert!(first.delete(&owner.public(), &a.sharing()).unwrap());
    refused(begin(&first, &c), "an owner may have 2 sharings here, deleted ones included");
    refused(begin(&first, &a), "not newer than version 1");
    begin(&first, &theirs).unwrap();
    upload(&first, &version(&owner, "a", 2, &model, Consumers::Everyone)).unwrap();
    drop(first);
    spoil(&dir.path().join(format!("{}.sharing", a.sharing())), 60);
    let second = open();
    assert!(second.damage()[0].contains(&a.sharing().to_string()), "{:?}", second.damage());
    refused(begin(&second, &version(&owner, "a", 9, &model, Consumers::Everyone)), "is damaged");
    upload(&second, &theirs).unwrap();
    refused(begin(&second, &of(&other, "b")), "has 3 sharings");
}

fn list(owner: &Identity, of: &Version, serial: u64, consumers: Consumers) -> SignedAccess {
    let manifest = of.signed.manifest();
    AccessList { serial, consumers }.sign(manifest.owner, manifest.sharing(), manifest.committee, owner).unwrap()
}

#[test]
fn access_lists_have_so_many_keys_together_and_those_of_a_deleted_sharing_go_with_it() {
    let (owner, model) = (generate().unwrap(), model(4, 1));
    let key = owner.public();
    let dir = tempfile::tempdir().unwrap();
    let with = |access_keys| store(&dir, ModelLimits { access_keys, ..limits() });
    // The first list of each counts twice.
    let tight = with(6);
    let [a, b, c] = [("a", 2), ("b", 1), ("c", 1)].map(|(name, count)| version(&owner, name, 1, &model, keys(count)));
    upload(&tight, &a).unwrap();
    upload(&tight, &b).unwrap();
    // Nothing is left, and each list may be replaced by one that is no longer.
    tight.put_access(&key, list(&owner, &a, 2, keys(2))).unwrap();
    tight.put_access(&key, list(&owner, &b, 2, keys(1))).unwrap();
    let full = "the access lists here have 4 keys, with 3 more";
    refused(tight.put_access(&key, list(&owner, &b, 3, keys(2))), full);
    tight.put_access(&key, list(&owner, &a, 3, keys(1))).unwrap();
    refused(tight.put_access(&key, list(&owner, &a, 4, keys(3))), "limits.access_keys");
    assert!(
        tight.find(&FindSharing::Current(a.sharing()), &key).access.is_some_and(|access| access.list().serial == 3)
    );
    refused(begin(&tight, &c), "limits.access_keys");
    let everyone = version(&owner, "c", 1, &model, Consumers::Everyone);
    upload(&tight, &everyone).unwrap();
    drop(tight);
    // Also where there are too many already.
    let less = with(4);
    less.put_access(&key, list(&owner, &everyone, 2, Consumers::Everyone)).unwrap();
    less.put_access(&key, list(&owner, &a, 4, keys(2))).unwrap();
    refused(less.put_access(&key, list(&owner, &a, 5, keys(3))), "limits.access_keys");
    less.put_access(&key, list(&owner, &a, 5, keys(0))).unwrap();
    drop(less);
    // A new version brings its own list in place of both.
    let tight = with(6);
    refused(begin(&tight, &version(&owner, "a", 6, &model, keys(3))), "limits.access_keys");
    upload(&tight, &version(&owner, "a", 6, &model, keys(2))).unwrap();
    tight.delete(&key, &a.sharing()).unwrap();
    tight.put_access(&key, list(&owner, &b, 3, keys(5))).unwrap();
    tight.delete(&key, &b.sharing()).unwrap();
    upload(&tight, &version(&owner, "c", 3, &model, keys(3))).unwrap();
}

#[test]
fn a_version_is_current_until_another_is_or_its_owner_deletes_it() {
    let (owner, stranger, model) = (generate().unwrap(), generate().unwrap(), model(5, 1));
    let [first, second] = [1, 2].map(|number| version(&owner, "a", number, &model, keys(1)));
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, limits());
    let current = || [&first, &second].map(|version| store.is_current(&version.id()));
    assert_eq!(current(), [false, false]);
    upload(&store, &first).unwrap();
    assert!(matches!(store.begin(owner.public(), first.signed.clone(), 1), Ok(Begun::Here)));
    assert_eq!(current(), [true, false]);
    let task = |version: &Version| version.task(model.graphs[0].id(), 0);
    material(&store, &task(&first), &owner.public()).unwrap();
    assert!(store.shared.ready.bytes() > 0);
    upload(&store, &second).unwrap();
    assert_eq!(current(), [false, true]);
    assert_eq!(store.shared.ready.bytes(), 0, "what was made of the other version is forgotten");
    assert!(!dir.path().join(first.id().to_string()).exists());
    for (who, may) in [(owner.public(), true), (PublicKey([0; 32]), true), (stranger.public(), false)] {
        assert_eq!(store.admits(&second.id(), &who), may);
        assert_eq!(permit(&store, &task(&second), &who).is_ok(), may);
        assert_eq!(store.list(&who, false).0.len(), usize::from(may));
    }
    assert_eq!(store.list(&stranger.public(), true).0.len(), 1, "an operator sees all");
    assert!(!store.delete(&stranger.public(), &second.sharing()).unwrap());
    assert_eq!(current(), [false, true]);
    assert!(store.delete(&owner.public(), &second.sharing()).unwrap());
    assert!(!store.delete(&owner.public(), &second.sharing()).unwrap(), "there is none any more");
    assert_eq!(current(), [false, false]);
    assert!(!store.admits(&second.id(), &owner.public()));
    assert!(!dir.path().join(second.id().to_string()).exists());
}

#[test]
fn all_graphs_of_a_sharing_are_there_and_open_weights_are_read_by_evaluators_only() {
    let (owner, model) = (generate().unwrap(), model(6, 2));
    let dir = tempfile::tempdir().unwrap();
    let version = open_version(&owner, "a", 1, &model);
    upload(&store(&dir, limits()), &version).unwrap();
    let task = |graph: &Graph, helper| version.task(graph.id(), helper);
    let key = PublicKey([7; 32]);
    let read = store(&dir, limits());
    for graph in &model.graphs {
        let found = permit(&read, &task(graph, 0), &key).unwrap();
        assert_eq!((found.graph().id(), found.plan().is_ok()), (graph.id(), true));
        (0..2).for_each(|helper| material(&read, &task(graph, helper), &key).unwrap());
    }
    // Without the file of the weights there is nothing to evaluate with; a helper needs none.
    fs::remove_file(dir.path().join(version.id().to_string()).join("part-open")).unwrap();
    let without = store(&dir, limits());
    material(&without, &task(&model.graphs[0], 0), &key).unwrap();
    assert!(matches!(material(&without, &task(&model.graphs[0], 1), &key), Err(ModelError::Io { .. })));
    let unknown = version.task(GraphId([1; 32]), 0);
    refused(permit(&read, &unknown, &owner.public()), "not one that the owner of the sharing permits");
}

#[test]
fn a_start_removes_what_belongs_to_no_record_and_leaves_what_is_not_its_own() {
    let (owner, model) = (generate().unwrap(), model(7, 1));
    let [first, second] = [1, 2].map(|number| version(&owner, "a", number, &model, Consumers::Everyone));
    let dir = tempfile::tempdir().unwrap();
    upload(&store(&dir, limits()), &second).unwrap();
    let before = files(&dir);
    let folder = |id: &str| {
        let folder = dir.path().join(id);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("manifest"), first.signed.encode()).unwrap();
        folder
    };
    let (older, half) = (folder(&first.id().to_string()), folder("upload-of-somebody"));
    fs::write(dir.path().join("x.partial"), [1]).unwrap();
    fs::write(dir.path().join("notes"), [1]).unwrap();
    let opened = store(&dir, limits());
    assert!(!older.exists() && !half.exists() && opened.damage().is_empty());
    assert!(fs::remove_file(dir.path().join("notes")).is_ok(), "no file of a store");
    assert_eq!(files(&dir), before);
    assert!(opened.is_current(&second.id()));
    drop(opened);
    // Without its record a version is not served, and bars what came before it all the same; one of another committee, or
    // under another name, says nothing.
    let record = dir.path().join(format!("{}.sharing", second.sharing()));
    fs::remove_file(&record).unwrap();
    let other = Manifest { committee: [9; 32], version: 7, ..first.signed.manifest().clone() }.sign(&owner).unwrap();
    for name in [other.id().to_string(), ManifestId([3; 32]).to_string()] {
        let folder = folder(&name);
        fs::write(folder.join("manifest"), other.encode()).unwrap();
    }
    let opened = store(&dir, limits());
    assert_eq!(opened.damage().len(), 1, "{:?}", opened.damage());
    assert!(opened.damage()[0].contains("version 2 of") && record.exists() && !opened.is_current(&second.id()));
    assert_eq!(files(&dir), std::slice::from_ref(&record));
    refused(begin(&opened, &second), "not newer than version 2");
    drop(opened);
    // What may belong to a record that cannot be read stays.
    spoil(&record, 60);
    let older = folder(&first.id().to_string());
    let strange = folder("upload-of-nobody");
    assert_eq!(store(&dir, limits()).damage().len(), 1);
    assert!(older.exists() && !strange.exists());
}

#[test]
fn pieces_have_their_order_and_their_length_and_are_checked_before_the_next() {
    let (owner, model) = (generate().unwrap(), model(8, 1));
    let mut version = version(&owner, "a", 1, &model, Consumers::Everyone);
    let part = b"tokenizer".to_vec();
    let mut manifest = version.signed.manifest().clone();
    manifest.client_part = Some(ClientPart { digest: *blake3::hash(&part).as_bytes(), len: part.len() as u64 });
    version.signed = manifest.sign(&owner).unwrap();
    version.pieces.push(part);
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, limits());
    let [graph, weights, client] = &version.pieces[..] else { panic!("three pieces") };
    let send = |upload: &mut Upload<'_>, len: usize, bytes: &[u8]| {
        upload.receive::<ModelError>(len as u64, |write| bytes.chunks(7).try_for_each(write))
    };
    // Of each piece one byte too few and one too many, said so or not.
    let mut taken = begin(&store, &version).unwrap();
    assert_eq!(taken.scratch(), 0);
    for piece in [graph, weights, client] {
        let mut attempt = begin_again(&store, taken, &version, piece);
        refused(send(&mut attempt, piece.len(), &piece[1..]), "not as long as it was announced");
        let mut attempt = begin_again(&store, attempt, &version, piece);
        refused(send(&mut attempt, piece.len(), &[&piece[..], &[0]].concat()), "longer than it was announced");
        let mut attempt = begin_again(&store, attempt, &version, piece);
        if piece != graph {
            refused(send(&mut attempt, piece.len() - 1, &piece[1..]), "does not fit");
            refused(send(&mut attempt, piece.len() + 1, &[&piece[..], &[0]].concat()), "does not fit");
        }
        send(&mut attempt, piece.len(), piece).unwrap();
        assert!(!attempt.is_complete(), "it is not checked");
        assert_eq!(attempt.scratch() > 0, piece == graph);
        attempt.check().unwrap();
        assert_eq!((attempt.is_complete(), attempt.scratch()), (piece == client, 0));
        taken = attempt;
    }
    refused(send(&mut taken, 0, &[]), "no further piece");
    taken.commit().unwrap();
    let (file, len, whose) = store.client_part(&version.id(), &owner.public()).unwrap();
    assert_eq!((len, file.metadata().unwrap().len(), whose), (9, 9, owner.public()));
    let unfinished = begin(&store, &self::version(&owner, "b", 1, &model, Consumers::Everyone)).unwrap();
    refused(unfinished.commit(), "the upload is not complete");
}

/// A new upload in place of one that was spoilt, as far as `next`.
fn begin_again<'a>(store: &'a ModelStore, before: Box<Upload<'a>>, version: &Version, next: &[u8]) -> Box<Upload<'a>> {
    drop(before);
    let mut upload = begin(store, version).unwrap();
    for piece in version.pieces.iter().take_while(|piece| piece[..] != *next) {
        upload.receive::<ModelError>(piece.len() as u64, |write| write(piece)).unwrap();
        upload.check().unwrap();
    }
    upload
}

#[test]
fn more_than_was_announced_is_not_taken() {
    let (owner, model) = (generate().unwrap(), model(9, 1));
    let version = version(&owner, "a", 1, &model, Consumers::Everyone);
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, limits());
    let announced = version.announced() - 1;
    let Ok(Begun::Upload(mut upload)) = store.begin(owner.public(), version.signed.clone(), announced) else {
        panic!("it is not begun")
    };
    let [graph, weights] = &version.pieces[..] else { panic!("two pieces") };
    upload.receive::<ModelError>(graph.len() as u64, |write| write(graph)).unwrap();
    upload.check().unwrap();
    refused(upload.receive::<ModelError>(weights.len() as u64, |write| write(weights)), "does not fit");
}

#[test]
fn open_weights_are_those_of_the_root_when_they_come_and_when_they_are_read() {
    let (owner, model) = (generate().unwrap(), model(10, 1));
    let dir = tempfile::tempdir().unwrap();
    let good = open_version(&owner, "a", 1, &model);
    let mut other = open_version(&owner, "a", 1, &model);
    other.pieces[1][0] ^= 1;
    refused(upload(&store(&dir, limits()), &other), "not those that the manifest commits to");
    upload(&store(&dir, limits()), &good).unwrap();
    let part = dir.path().join(good.id().to_string()).join("part-open");
    let whole = fs::read(&part).unwrap();
    let read = |bytes: &[u8]| {
        fs::write(&part, bytes).unwrap();
        let store = store(&dir, limits());
        material(&store, &good.task(model.graphs[0].id(), 1), &owner.public())
    };
    read(&whole).unwrap();
    for (at, of_the_weights) in [(10, false), (PartHeader::LEN - 9, false), (PartHeader::LEN, true)] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        match read(&changed) {
            Err(ModelError::Refused(text)) if of_the_weights => assert!(text.contains("not those that"), "{text}"),
            Err(ModelError::Damaged { .. }) if !of_the_weights => {}
            other => panic!("byte {at}: {other:?}"),
        }
    }
    for wrong in [&[&whole[..], &[0]].concat(), &whole[..whole.len() - 1]] {
        assert!(matches!(read(wrong), Err(ModelError::Damaged { .. })), "another length");
    }
}

#[test]
fn whoever_looks_at_a_piece_says_before_how_much_memory_that_takes() {
    let (owner, model) = (generate().unwrap(), model(11, 1));
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, limits());
    let version = open_version(&owner, "a", 1, &model);
    let mut upload = begin(&store, &version).unwrap();
    let columns = model.graphs[0].weights.iter().map(|spec| u64::from(spec.cols)).max().unwrap();
    let [graph, words] = [0, 1].map(|piece| version.pieces[piece].len() as u64);
    let look = 4 * graph + 1024 * (graph / 32);
    for (piece, bytes) in version.pieces.iter().zip([look, look + 2 * words + 64 * columns]) {
        upload.receive::<ModelError>(piece.len() as u64, |write| write(piece)).unwrap();
        assert_eq!(upload.scratch(), bytes);
        upload.check().unwrap();
    }
}

#[test]
fn only_the_owner_replaces_a_list_of_what_is_here_by_a_later_one() {
    let (owner, thief, model) = (generate().unwrap(), generate().unwrap(), model(12, 1));
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, limits());
    let version = version(&owner, "a", 1, &model, keys(1));
    upload(&store, &version).unwrap();
    let (mine, theirs) = (list(&owner, &version, 3, keys(2)), {
        let list = AccessList { serial: 3, consumers: Consumers::Everyone };
        let committee = version.signed.manifest().committee;
        list.sign(OwnerKey::Ed25519(thief.public()), version.sharing(), committee, &thief).unwrap()
    });
    for (key, access) in [(&thief, &mine), (&thief, &theirs), (&owner, &theirs)] {
        let taken = store.put_access(&key.public(), access.clone());
        assert!(matches!(taken, Err(ModelError::Missing(_))), "{taken:?}");
    }
    let put = |serial| store.put_access(&owner.public(), list(&owner, &version, serial, keys(2)));
    // The owner's own list, and its own lane, but of another committee.
    let elsewhere = AccessList { serial: 3, consumers: Consumers::Everyone };
    let manifest = version.signed.manifest();
    let elsewhere = elsewhere.sign(manifest.owner, manifest.sharing(), [7; 32], &owner).unwrap();
    refused(store.put_access(&owner.public(), elsewhere), "not signed for this committee");
    put(3).unwrap();
    refused(put(3), "serial 3, this node has seen 3");
    refused(put(2), "serial 2, this node has seen 3");
    refused(put(4 + MAX_JUMP), "more than 4294967296 above 3");
    put(3 + MAX_JUMP).unwrap();
    store.delete(&owner.public(), &version.sharing()).unwrap();
    assert!(matches!(put(4 + MAX_JUMP), Err(ModelError::Missing(_))), "there is nothing to have a list");
}

#[test]
fn numbers_of_versions_grow_and_do_not_jump() {
    let (owner, model) = (generate().unwrap(), model(13, 1));
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, limits());
    let begins = |number| begin(&store, &version(&owner, "a", number, &model, Consumers::Everyone)).map(|_| ());
    refused(begins(MAX_JUMP + 1), "version 4294967297 is more than 4294967296 above 0");
    begins(MAX_JUMP).unwrap();
    upload(&store, &version(&owner, "a", 7, &model, Consumers::Everyone)).unwrap();
    refused(begins(6), "not newer than version 7");
    refused(begins(8 + MAX_JUMP), "is more than 4294967296 above 7");
    begins(7 + MAX_JUMP).unwrap();
}

#[test]
fn an_evaluator_reads_the_weights_that_were_masked_for_it() {
    let (owner, model) = (generate().unwrap(), model(14, 1));
    let helpers = version(&owner, "a", 1, &model, Consumers::Everyone);
    let seeds = [[1; 32], [2; 32]].map(Seed::from_bytes);
    let masked =
        mask_weights(&model.weights, &helpers.signed.manifest().masks(Assignment::ALL[0]), &seeds[0], &seeds[1]);
    let words: Vec<u8> = masked.iter().flat_map(|word| word.to_le_bytes()).collect();
    for node in [1, 2] {
        let own = [&seeds[node - 1].as_bytes()[..], &words].concat();
        let version = Version { signed: helpers.signed.clone(), pieces: vec![helpers.pieces[0].clone(), own] };
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let parties = Parties { owners: Admission::Any, consumers: Admission::Any };
            ModelStore::open(dir.path(), node as u8, COMMITTEE, parties, limits()).unwrap()
        };
        refused(upload(&open(), &helpers), "does not fit");
        upload(&open(), &version).unwrap();
        let task = version.task(model.graphs[0].id(), 0);
        material(&open(), &task, &owner.public()).unwrap();
        // One byte of the seed, and one of the words, changed on the disk.
        let part = dir.path().join(version.id().to_string()).join("part-0");
        for at in [PartHeader::LEN, PartHeader::LEN + 32] {
            spoil(&part, at);
            refused(material(&open(), &task, &owner.public()), "not those that the manifest commits to");
            spoil(&part, at);
        }
        refused(permit(&open(), &version.task(model.graphs[0].id(), 1), &owner.public()), "not for jobs with node 2");
    }
}

/// Bytes that a job of a graph holds in memory with what it takes to make that ready, by the parts of a graph.
fn held(graph: &Graph, visibility: Visibility) -> u64 {
    let own = |op: &Op| match op {
        Op::Step { steps, .. } => size_of_val(&steps[..]),
        Op::ConcatCols { parts } => size_of_val(&parts[..]),
        _ => 0,
    };
    let nodes: usize = graph.nodes.iter().map(|node| size_of_val(node) + node.name.len() + own(&node.op)).sum();
    let tables: usize = graph.tables.iter().map(|table| table.entries.len() * 4 + 64).sum();
    let weights: usize = graph.weights.iter().map(|weight| weight.name.len() + 64).sum();
    let cost = Cost::of(graph, Rounding::Faithful, visibility);
    let [evaluator, helper] = cost.material_memory;
    let most = (evaluator + scratch(graph, visibility, true)).max(helper + scratch(graph, visibility, false));
    cost.plan_memory + 2 * (nodes + tables + weights) as u64 + most
}

#[test]
fn a_graph_is_taken_only_if_a_job_of_it_has_room_in_memory() {
    let mut seen = [false; 2];
    for seed in 0..24 {
        let graph = &model(seed, 1).graphs[0];
        for (seen, op) in seen.iter_mut().zip(["Step", "ConcatCols"]) {
            *seen |= graph.nodes.iter().any(|node| format!("{:?}", node.op).starts_with(op));
        }
        for visibility in [Visibility::Private, Visibility::Open] {
            let held = held(graph, visibility);
            let with = |cache_memory| Ready::new(CostLimits { cache_memory, ..limits().cost });
            with(held).admit(graph, visibility, None).unwrap();
            let [needs, limit] = [held, held - 1].map(|bytes| bytes.div_ceil(1 << 20));
            let refusal = with(held - 1).admit(graph, visibility, None).unwrap_err().to_string();
            assert!(refusal.contains(&format!("needs {needs} MB for itself")), "{refusal}");
            assert!(refusal.contains(&format!("limit of {limit} MB (limits.cache_megabytes)")), "{refusal}");
        }
    }
    assert_eq!(seen, [true; 2], "graphs with lists in their nodes are among them");
    let dear = CostLimits { rounds: 0, ..limits().cost };
    assert!(matches!(
        Ready::new(dear).admit(&model(1, 1).graphs[0], Visibility::Open, None),
        Err(ModelError::TooCostly(_))
    ));
}

#[test]
fn what_is_in_use_makes_no_room_and_what_is_not_does() {
    let (owner, model) = (generate().unwrap(), model(1, 1));
    let [one, other] = ["a", "b"].map(|name| version(&owner, name, 1, &model, Consumers::Everyone));
    let dir = tempfile::tempdir().unwrap();
    let cache_memory = held(&model.graphs[0], Visibility::Private);
    let store = store(&dir, ModelLimits { cost: CostLimits { cache_memory, ..limits().cost }, ..limits() });
    let [one, other] = [one, other].map(|version| {
        upload(&store, &version).unwrap();
        version.task(model.graphs[0].id(), 0)
    });
    let key = owner.public();
    material(&store, &one, &key).unwrap();
    material(&store, &other, &key).unwrap();
    let (in_use, weights) = {
        material(&store, &one, &key).unwrap();
        let permit = permit(&store, &one, &key).unwrap();
        let made = (permit.plan().unwrap(), permit.material().unwrap());
        (permit, made)
    };
    assert!(matches!(material(&store, &other, &key), Err(ModelError::Busy)));
    drop((in_use, weights));
    material(&store, &other, &key).unwrap();
}

/// All files below the store's folder.
fn files(dir: &TempDir) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.path().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// A version as it is shared with another committee, under the same seeds.
fn for_committee(committee: [u8; 32], owner: &Identity, name: &str, number: u64, model: &Model) -> Version {
    let mut manifest = Manifest { committee, ..manifest(owner, name, number, model, Consumers::Everyone) };
    let assignment = Assignment::ALL[0];
    let domain = manifest.masks(assignment);
    let seeds = [[1; 32], [2; 32]].map(Seed::from_bytes);
    manifest.shares = Shares::Private(vec![AssignmentShare {
        assignment,
        masked: masked_digest(&mask_weights(&model.weights, &domain, &seeds[0], &seeds[1])),
        seeds: [0, 1].map(|role| seed_commitment(&domain, role, &seeds[role])),
    }]);
    signed(owner, manifest, model, [*seeds[0].as_bytes(), *seeds[1].as_bytes()].concat())
}

#[test]
fn committees_find_nothing_of_each_other_and_share_all_limits() {
    const OTHER: [u8; 32] = [9; 32];
    let (owner, friend, model) = (generate().unwrap(), generate().unwrap(), model(1, 1));
    let graph = model.graphs[0].id();
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = |limits| {
        let place = |dir: &TempDir, committee| ModelPlace { dir: dir.path().into(), node: 0, committee };
        let parties = Parties { owners: Admission::Any, consumers: Admission::Any };
        let places = vec![place(&dir, COMMITTEE), place(&other_dir, OTHER)];
        <[ModelStore; 2]>::try_from(ModelStore::open_all(places, &parties, limits).unwrap()).ok().unwrap()
    };
    let [here, there] = [COMMITTEE, OTHER].map(|committee| for_committee(committee, &owner, "a", 1, &model));
    assert_eq!(here.sharing(), there.sharing(), "its owner calls it the same");
    let [one, two] = open(limits());
    refused(begin(&one, &there), "for another committee");
    upload(&one, &here).unwrap();
    upload(&two, &there).unwrap();
    let key = friend.public();
    for (store, own, foreign) in [(&one, &here, &there), (&two, &there, &here)] {
        material(store, &own.task(graph, 0), &key).unwrap();
        assert!(matches!(permit(store, &foreign.task(graph, 0), &key), Err(ModelError::Missing(_))));
        assert!(matches!(permit(store, &foreign.task(graph, 0), &owner.public()), Err(ModelError::Missing(_))));
        assert!(matches!(store.client_part(&foreign.id(), &key), Err(ModelError::Missing(_))));
        assert!(store.is_current(&own.id()) && !store.is_current(&foreign.id()));
        assert!(store.admits(&own.id(), &key) && !store.admits(&foreign.id(), &key));
        assert_eq!(store.find(&FindSharing::Exactly(foreign.id()), &owner.public()), SharingReply::default());
        let found = store.find(&FindSharing::Current(own.sharing()), &key).manifest.unwrap();
        assert_eq!(found.id(), own.id());
        assert_eq!(store.list(&key, true).0.iter().map(|entry| entry.manifest).collect::<Vec<_>>(), [own.id()]);
        assert_eq!(store.count(None), 1);
    }
    // Its owner takes it back in one, and has it in the other.
    assert!(one.delete(&owner.public(), &here.sharing()).unwrap());
    assert_eq!((one.count(None), two.count(None)), (0, 1));
    material(&two, &there.task(graph, 0), &key).unwrap();
    drop((one, two));

    let again = for_committee(COMMITTEE, &owner, "a", 2, &model);
    let more = for_committee(COMMITTEE, &owner, "b", 1, &model);
    let kept = there.kept();
    let with = |limits| open(limits)[0].begin(owner.public(), more.signed.clone(), more.announced()).map(drop);
    refused(with(ModelLimits { sharings: 2, ..limits() }), "limits.sharings");
    refused(with(ModelLimits { owner_sharings: 2, ..limits() }), "limits.owner_sharings");
    refused(with(ModelLimits { owner_bytes: kept + more.announced() - 1, ..limits() }), "limits.owner_megabytes");
    refused(with(ModelLimits { bytes: kept + more.announced() - 1, ..limits() }), "limits.model_megabytes");
    with(limits()).unwrap();
    // What is announced in one counts in the other while it comes.
    let [one, two] = open(ModelLimits { owner_bytes: kept + 2 * more.announced(), ..limits() });
    let coming = begin(&one, &again).unwrap();
    let second = for_committee(OTHER, &owner, "b", 1, &model);
    let under_way = begin(&two, &second).unwrap();
    drop(coming);
    refused(begin(&two, &for_committee(OTHER, &owner, "c", 1, &model)), "another upload of this owner is under way");
    let third = for_committee(COMMITTEE, &owner, "c", 1, &model);
    begin(&one, &third).unwrap();
    drop(under_way);
    let [one, two] = open(ModelLimits { owner_bytes: kept + 2 * more.announced() - 1, ..limits() });
    let _coming = begin(&one, &again).unwrap();
    refused(begin(&two, &second), "limits.owner_megabytes");
}

#[test]
fn what_a_committee_of_before_has_left_is_shown_to_its_owner_and_computed_with_by_nobody() {
    let (owner, model, dir) = (generate().unwrap(), model(1, 1), tempfile::tempdir().unwrap());
    let graph = model.graphs[0].id();
    let old = version(&owner, "a", 1, &model, Consumers::Everyone);
    upload(&store(&dir, limits()), &old).unwrap();
    let parties = Parties { owners: Admission::Any, consumers: Admission::Any };
    let replaced = ModelStore::open(dir.path(), 0, [9; 32], parties, limits()).unwrap();
    let shown = replaced.find(&FindSharing::Current(old.sharing()), &owner.public());
    assert_eq!(shown.manifest.map(|signed| signed.id()), Some(old.id()));
    assert!(matches!(permit(&replaced, &old.task(graph, 0), &owner.public()), Err(ModelError::Missing(_))));
    assert!(!replaced.is_current(&old.id()), "nor is a pack of it of any use");
    let next = for_committee([9; 32], &owner, "a", 1, &model);
    refused(begin(&replaced, &next), "not newer than version 1");
    let next = for_committee([9; 32], &owner, "a", 2, &model);
    assert_eq!(upload(&replaced, &next).unwrap().replaced, Some(old.id()));
    material(&replaced, &next.task(graph, 0), &owner.public()).unwrap();
}

const ASSET: Asset = Asset { chain: 5, contract: [1; 20], asset: [2; 32] };

/// A version whose access rule is a chain's, with open weights.
fn sold(owner: &Identity, number: u64, model: &Model) -> Version {
    let mut manifest = manifest(owner, "a", number, model, Consumers::Everyone);
    manifest.access = AccessRule::Chain(ASSET);
    manifest.client_part = Some(ClientPart { digest: *blake3::hash(b"part").as_bytes(), len: 4 });
    let words = model.weights.tensors.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
    let mut version = signed(owner, manifest, model, words);
    version.pieces.push(b"part".to_vec());
    version
}

/// A market that calls one key licensed, at one place, and nobody else.
struct Licensed(Mutex<Option<(Place, PublicKey)>>);

impl Market for Licensed {
    fn licensed(&self, place: &Place, asker: &PublicKey) -> Result<(), Unlicensed> {
        match &*self.0.lock().unwrap() {
            Some((at, key)) if (at, key) == (place, asker) => Ok(()),
            _ => Err(Unlicensed::Unknown("not bought".into())),
        }
    }

    fn present(&self, _: &Place, _: &PublicKey, _: &[u8]) -> Result<(), Unlicensed> {
        panic!("not asked")
    }

    fn accept(&self, _: &Order) -> Result<(), Unlicensed> {
        panic!("not asked")
    }

    fn draw_up(&self, _: &Order, _: &JobEnd) -> Result<Vec<u8>, Unlicensed> {
        panic!("not asked")
    }

    fn judge(&self, _: &Order, _: Option<&JobEnd>, _: &[u8]) -> Result<[u8; 32], Unlicensed> {
        panic!("not asked")
    }

    fn complete(&self, _: &Order, _: &Complete) -> Result<(), Unlicensed> {
        panic!("not asked")
    }

    fn give_up(&self, _: &Order, _: Waste) {}

    fn last(&self, _: &Place, _: &PublicKey, _: &[u8]) -> Option<Complete> {
        None
    }

    fn learn(&self, _: &Place, _: &PublicKey, _: &Complete) -> Result<(), Unlicensed> {
        panic!("not asked")
    }
}

#[test]
fn what_is_sold_is_for_whom_the_market_calls_licensed_and_its_owner_is_no_exception() {
    let (owner, buyer, model) = (generate().unwrap(), generate().unwrap().public(), model(14, 1));
    let dir = tempfile::tempdir().unwrap();
    let market = Arc::new(Licensed(Mutex::default()));
    let keys = [1, 2, 3].map(|n| PublicKey([n; 32]));
    let here = store(&dir, limits()).with_market(market.clone(), keys);
    let version = sold(&owner, 1, &model);
    upload(&here, &version).unwrap();
    let task = version.task(model.graphs[0].id(), 0);
    let own = owner.public();
    for key in [own, buyer] {
        assert!(matches!(here.permit(&task, &key, None), Err(ModelError::Unlicensed(_))));
        assert!(!here.admits(&version.id(), &key));
        assert!(here.find(&FindSharing::Exactly(version.id()), &key).manifest.is_some(), "what is for sale is shown");
    }
    assert!(matches!(here.client_part(&version.id(), &buyer), Err(ModelError::Unlicensed(_))));
    assert_eq!(here.client_part(&version.id(), &own).unwrap().1, 4, "its owner has what it brought");
    let listed = |key: &PublicKey| (here.list(key, false).0.len(), here.count(Some(key)));
    assert_eq!((listed(&own), listed(&buyer)), ((1, 1), (0, 0)));
    assert_eq!((here.list(&buyer, true).0.len(), here.count(None)), (1, 1));

    let place = here.place(&version.id()).unwrap();
    assert_eq!((place.committee, place.keys, place.manifest, place.asset), (COMMITTEE, keys, version.id(), ASSET));
    *market.0.lock().unwrap() = Some((place.clone(), buyer));
    let permit = here.permit(&task, &buyer, Some(Work::Plan)).unwrap();
    assert_eq!(permit.place(), Some(&place));
    assert!(here.admits(&version.id(), &buyer) && here.client_part(&version.id(), &buyer).is_ok());
    assert_eq!(listed(&buyer), (1, 1));
    assert!(matches!(here.permit(&task, &own, None), Err(ModelError::Unlicensed(_))));

    // Without a market nothing of it is served, nor taken.
    drop(permit);
    drop(here);
    let without = store(&dir, limits());
    refused(without.permit(&task, &buyer, None).map(|_| ()), "serves no market");
    assert!(without.place(&version.id()).is_none() && !without.admits(&version.id(), &buyer));
    assert!(without.find(&FindSharing::Exactly(version.id()), &buyer).manifest.is_none());
    assert!(without.find(&FindSharing::Exactly(version.id()), &own).manifest.is_some());
    refused(begin(&without, &sold(&owner, 2, &model)).map(|_| ()), "serves no market");
}

#[test]
fn a_list_of_keys_does_not_outlive_its_sharings_sale_and_serials_do() {
    let (owner, friend, model) = (generate().unwrap(), PublicKey([0; 32]), model(15, 1));
    let dir = tempfile::tempdir().unwrap();
    let market = Arc::new(Licensed(Mutex::default()));
    let here = store(&dir, limits()).with_market(market, [friend; 3]);
    let open = open_version(&owner, "a", 1, &model);
    upload(&here, &open).unwrap();
    here.put_access(&owner.public(), list(&owner, &open, 5, keys(1))).unwrap();
    assert!(here.admits(&open.id(), &friend));
    assert!(here.place(&open.id()).is_none(), "it is not sold");
    let sale = sold(&owner, 2, &model);
    upload(&here, &sale).unwrap();
    assert!(!here.admits(&sale.id(), &friend));
    refused(here.put_access(&owner.public(), list(&owner, &sale, 6, keys(1))), "an asset on a chain says who");
    // A list that comes after the sale follows the last before it.
    let after = |serial| {
        let mut manifest = manifest(&owner, "a", 3, &model, keys(1));
        manifest.access = AccessRule::Keys(AccessList { serial, consumers: keys(1) });
        let words = model.weights.tensors.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
        signed(&owner, manifest, &model, words)
    };
    refused(begin(&here, &after(5)).map(|_| ()), "serial 5, this node has seen 5");
    upload(&here, &after(6)).unwrap();
    assert!(here.admits(&after(6).id(), &friend));
}
