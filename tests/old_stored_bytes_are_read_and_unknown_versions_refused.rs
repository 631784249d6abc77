//! The upgrade path: bytes that older programs stored are kept in `tests/compat` and read here, to the same values;
//! bytes of a version that this program does not know are refused by name, and damaged ones without a panic.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use sahara_circuits::graph::Graph;
use sahara_circuits::kernels::Simd;
use sahara_circuits::reference::{ExecOptions, execute};
use sahara_circuits::weights::Weights;
use sahara_mpc::client::Assignment;
use sahara_mpc::committee::{Committee, Member};
use sahara_mpc::config::Config;
use sahara_mpc::engine::MaskDomain;
use sahara_mpc::identity::PublicKey;
use sahara_mpc::manifest::{Shares, SignedAccess, SignedManifest};
use sahara_mpc::models::{PartHeader, SharingRecord};
use sahara_mpc::packs::{PackHeader, PackLimits, PackStore, Purpose};
use sahara_mpc::protocol::EvaluatorRole;
use sahara_mpc::transcript::JobRecord;

/// Bytes of a pack file before the corrections.
const PACK_PREFIX: usize = 317;

#[test]
fn version_1_graph_and_weights() {
    let graph = Graph::from_bytes(&read("v1/graph.bin")).expect("a version 1 graph");
    let weights = Weights::from_bytes(&read("v1/weights.bin")).expect("version 1 weights");
    assert_eq!(graph.id().to_string(), text("v1/graph.id"), "the identity of a graph never changes");
    assert_eq!(graph.to_bytes(), read("v1/graph.bin"), "one graph has one encoding");
    assert!(weights.matches(&graph.weights));
    assert_eq!(weights.root(&graph.weights), graph.weights_root, "nor does the commitment to weights");
    let inputs: Vec<Vec<i32>> = serde_json::from_str(&text("v1/inputs.json")).expect("lists of integers");
    let options = ExecOptions { threads: 1, record_trace: false, simd: Simd::Auto };
    let outputs = execute(&graph, &weights, &inputs, &options).expect("a checked graph runs").outputs;
    assert_eq!(
        serde_json::to_string(&outputs).expect("JSON"),
        text("v1/outputs.json"),
        "nor what a stored graph computes"
    );
}

#[test]
fn version_3_transcript() {
    let bytes = read("v3/transcript.bin");
    let record = JobRecord::decode(&bytes).expect("a version 3 transcript");
    assert_eq!(record.faults(), [""; 0], "old signatures still hold");
    let end = &record.end.record;
    assert_eq!((end.rounds, end.bytes, record.checkpoints.len()), (17, [51, 68], 1));
    assert_eq!(record.failure.as_deref(), Some("the lane broke"));
    assert_eq!(record.encode(), bytes);
}

#[test]
fn version_4_pack_is_taken_once_and_only_if_its_name_is_given_back() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let bytes = read("v4/pack.bin");
    let (header, _) = PackHeader::decode(&bytes[..PACK_PREFIX]).expect("a version 4 pack");
    assert_eq!((header.corrections, header.prepared), (5, 8));
    fs::write(home.path().join(format!("{}.pack", header.id)), bytes).expect("a writable folder");
    let limits = PackLimits { per_key: 4, all: 4, bytes: 1 << 20, memory: 1 << 20 };
    let (store, found) = PackStore::open(home.path(), limits).expect("an old store opens");
    let store = Arc::new(store);
    assert_eq!((&found[..], store.counts().len()), (&[header][..], 0), "found, and of no use yet");
    let purpose = Purpose { asked_by: PublicKey([1; 32]), job: None };
    store.readmit(&found, purpose, Instant::now());
    assert_eq!(store.held(&header.key), [header.id]);
    let reserved = store.reserve_this(&header.key, &header.id).expect("the old pack is there");
    let (contents, _in_use) = reserved.take(EvaluatorRole::Second).expect("an old pack loads");
    assert_eq!(contents.seed.as_bytes(), &[9; 32]);
    assert_eq!((&contents.corrections[..], &contents.prepared[..]), (&b"fixes"[..], &b"products"[..]));
    assert!(store.reserve_this(&header.key, &header.id).is_none(), "a pack is taken once");
    assert_eq!(fs::read_dir(home.path()).expect("a folder").count(), 0, "and leaves nothing on disk");
}

#[test]
fn version_2_weight_part_and_record_and_version_1_manifest() {
    let part = PartHeader::decode(&read("v2/part.bin")).expect("a version 2 weight part");
    assert_eq!((part.len, part.masked_for), (77, Some(Assignment::ALL[2])));
    assert_eq!(part.encode(), read("v2/part.bin"));
    let signed = SignedManifest::decode(&read("v1/manifest.bin")).expect("a version 1 manifest, its signature too");
    assert_eq!(signed.id(), part.manifest, "the identity of a manifest never changes");
    assert_eq!((signed.manifest().name.as_str(), signed.manifest().version), ("model", 3));
    let (helper, sharing) = (Assignment::ALL[2], signed.manifest().sharing().0);
    assert!(matches!(signed.manifest().shares, Shares::OldPrivate(_)), "of before masks knew committees");
    assert_eq!(signed.manifest().masks(helper), MaskDomain::old(sharing, 3, helper), "and they stay as they were");
    let bound =
        SignedManifest::decode(&read("v1/manifest-bound.bin")).expect("a manifest whose masks know the committee");
    assert!(bound.manifest().noise.is_none(), "whose answers leave without noise");
    let noisy = SignedManifest::decode(&read("v2/manifest-noisy.bin")).expect("a version 2 manifest");
    let terms = noisy.manifest().noise.as_ref().expect("terms of noise");
    assert_eq!((terms.noise.inputs(), terms.noise.variance(), terms.dataset.as_str()), (&[1][..], 800, "reviews"));
    assert_eq!((terms.assignment, terms.sensitivity.l1, terms.sensitivity.l2_squared), (Assignment::ALL[2], 2, 2));
    assert_eq!((terms.budget.epsilon_micros, terms.budget.delta_femtos), (2_500_000, 1_000_000_000));
    let sharing = bound.manifest().sharing().0;
    assert_eq!(bound.manifest().masks(helper), MaskDomain::new(sharing, [8; 32], 3, helper));
    let record = SharingRecord::decode(&read("v2/sharing.bin")).expect("a version 2 record");
    assert_eq!((record.last_version, record.last_serial, record.current), (3, 4, Some(signed.id())));
    assert_eq!(record.sharing(), signed.manifest().sharing(), "nor does that of a sharing");
    assert_eq!(record.encode(), read("v2/sharing.bin"));
    let old = SharingRecord::decode_version_1(&read("v1/sharing.bin")).expect("a version 1 record, without checksum");
    assert_eq!(old, record);
    assert_eq!(record.access.and_then(|list| list.committee()), None, "its list is of the time before");
    let bound = SharingRecord::decode(&read("v2/sharing-bound.bin")).expect("a record whose list names the committee");
    assert_eq!(bound.access.as_ref().and_then(SignedAccess::committee), Some([8; 32]));
    assert_eq!(bound.encode(), read("v2/sharing-bound.bin"));
}

#[test]
fn what_belongs_to_weights_without_an_owner_is_refused_by_name() {
    for file in ["v1/transcript.bin", "v1/pack.bin", "v1/part.bin"] {
        let said = refusal(file, &read(file));
        assert!(said.contains("version 1"), "{file}: {said}");
    }
}

#[test]
fn what_no_helper_has_signed_is_refused_by_name() {
    for (file, version) in [("v2/transcript.bin", 2), ("v2/pack.bin", 2), ("v3/pack.bin", 3)] {
        let said = refusal(file, &read(file));
        assert!(said.contains(&format!("version {version}")), "{file}: {said}");
    }
}

#[test]
fn version_1_configuration_and_committee() {
    let config = Config::parse(&text("v1/node.toml"), Path::new("/node")).expect("a version 1 configuration");
    assert_eq!(config.listen.to_string(), "127.0.0.1:7001");
    assert_eq!(config.key, Path::new("/node/key"));
    let committee = Committee::parse(&text("v1/committee.toml")).expect("a version 1 committee");
    assert_eq!(committee.members()[2], member(3));
}

#[test]
fn unknown_versions_are_refused_by_name() {
    for (file, position) in [
        ("v1/graph.bin", 7),
        ("v1/weights.bin", 8),
        ("v1/manifest.bin", 8),
        ("v1/manifest-bound.bin", 8),
        ("v2/manifest-noisy.bin", 8),
        ("v2/sharing.bin", 8),
        ("v2/sharing-bound.bin", 8),
    ]
    .into_iter()
    .chain([("v3/transcript.bin", 8), ("v4/pack.bin", 8), ("v2/part.bin", 8)])
    {
        let mut bytes = read(file);
        let version = file.as_bytes()[1] - b'0';
        assert_eq!(bytes[position..position + 2], [version, 0], "{file} holds its version at byte {position}");
        bytes[position] = 99;
        let said = refusal(file, &bytes);
        assert!(said.contains("version 99"), "{file}: {said}");
    }
    for (file, parse) in [("v1/node.toml", parse_config as fn(&str) -> String), ("v1/committee.toml", parse_committee)]
    {
        let newer = text(file).replacen("version = 1", "version = 99", 1);
        assert!(parse(&newer).contains("version 99"), "{file}: {}", parse(&newer));
    }
}

#[test]
fn every_cut_and_every_flipped_byte_is_an_answer_not_a_panic() {
    for file in [
        "v1/graph.bin",
        "v1/weights.bin",
        "v1/manifest.bin",
        "v1/manifest-bound.bin",
        "v2/manifest-noisy.bin",
        "v2/sharing.bin",
        "v2/sharing-bound.bin",
        "v3/transcript.bin",
        "v2/part.bin",
    ] {
        let bytes = read(file);
        for end in (0..bytes.len()).step_by(1 + bytes.len() / 300) {
            assert_ne!(refusal(file, &bytes[..end]), "", "{file} cut at {end} was accepted");
        }
        for at in (0..bytes.len()).step_by(1 + bytes.len() / 300) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            // A flipped byte may be a valid other file; it must not be a panic.
            let _ = refusal(file, &damaged);
        }
    }
}

/// What the reader of a file says of these bytes; empty when it takes them.
fn refusal(file: &str, bytes: &[u8]) -> String {
    let said = match file.rsplit('/').next().unwrap_or_default() {
        "graph.bin" => Graph::from_bytes(bytes).err().map(|error| error.to_string()),
        "weights.bin" => Weights::from_bytes(bytes).err().map(|error| error.to_string()),
        "transcript.bin" => JobRecord::decode(bytes).err().map(|error| error.to_string()),
        "pack.bin" => PackHeader::decode(&bytes[..bytes.len().min(PACK_PREFIX)]).err().map(|error| error.to_string()),
        "part.bin" => PartHeader::decode(bytes).err().map(|error| error.to_string()),
        "manifest.bin" | "manifest-bound.bin" | "manifest-noisy.bin" => {
            SignedManifest::decode(bytes).err().map(|error| error.to_string())
        }
        "sharing.bin" | "sharing-bound.bin" => SharingRecord::decode(bytes).err().map(|error| error.to_string()),
        other => panic!("no reader for {other}"),
    };
    said.unwrap_or_default()
}

fn parse_config(text: &str) -> String {
    Config::parse(text, Path::new("/node")).err().unwrap_or_default()
}

fn parse_committee(text: &str) -> String {
    Committee::parse(text).err().unwrap_or_default()
}

fn member(number: u8) -> Member {
    Member { name: format!("node {number}"), address: format!("127.0.0.1:700{number}"), key: PublicKey([number; 32]) }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/compat")
}

fn read(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap_or_else(|error| panic!("tests/compat/{name}: {error}"))
}

fn text(name: &str) -> String {
    String::from_utf8(read(name)).expect("UTF-8").trim_end().to_owned()
}

/// Writes what is not there yet; run by hand when a version is new.
#[test]
#[ignore = "writes the files that the other tests read"]
fn write_this_versions_bytes() {
    use sahara_circuits::testgraph;
    use sahara_mpc::client::{Consumers, GraphId, JobId, OwnerKey, Rounding, Task};
    use sahara_mpc::config::Parties;
    use sahara_mpc::identity::generate;
    use sahara_mpc::manifest::{AccessList, AccessRule, AssignmentShare, ClientPart, Manifest, layout_digest};
    use sahara_mpc::protocol::{PackContents, Seed};
    use sahara_mpc::transcript::{Opening, PackSeal, Session, SignedSeal, Transcript};
    use sahara_mpc::wire::{Incarnation, PackId};

    let keep = |name: &str, bytes: &[u8]| {
        let path = folder().join(name);
        if !path.exists() {
            fs::write(path, bytes).expect("a writable checkout");
        }
    };
    let (mut graph, weights, inputs) = testgraph::random(7);
    graph.weights_root = weights.root(&graph.weights);
    let options = ExecOptions { threads: 1, record_trace: false, simd: Simd::Scalar };
    let outputs = execute(&graph, &weights, &inputs, &options).expect("a random graph runs").outputs;
    keep("v1/graph.bin", &graph.to_bytes());
    keep("v1/graph.id", graph.id().to_string().as_bytes());
    keep("v1/weights.bin", &weights.to_bytes());
    keep("v1/inputs.json", &serde_json::to_vec(&inputs).expect("JSON"));
    keep("v1/outputs.json", &serde_json::to_vec(&outputs).expect("JSON"));

    let (own, other) = (generate().expect("randomness"), generate().expect("randomness"));
    let key = OwnerKey::Ed25519(own.public());
    let manifest = Manifest {
        owner: key,
        name: "model".parse().expect("a name"),
        version: 3,
        weights_root: graph.weights_root,
        layout: layout_digest(&graph),
        graphs: vec![graph.id()],
        committee: [8; 32],
        shares: Shares::OldPrivate(vec![AssignmentShare {
            assignment: Assignment::ALL[2],
            masked: [1; 32],
            seeds: [[2; 32], [3; 32]],
        }]),
        client_part: Some(ClientPart { digest: [9; 32], len: 1234 }),
        access: AccessRule::Keys(AccessList { serial: 1, consumers: Consumers::only([other.public()]) }),
        noise: None,
    };
    let bound = Manifest { shares: Shares::Private(manifest.shares.private().to_vec()), ..manifest.clone() };
    keep("v1/manifest-bound.bin", bound.sign(&own).expect("a manifest").encode());
    let noise = sahara_mpc::manifest::NoiseTerms {
        noise: sahara_mpc::engine::NodeNoise::new(vec![1], 800).expect("noise"),
        assignment: Assignment::ALL[2],
        dataset: "reviews".parse().expect("a name"),
        sensitivity: sahara_mpc::manifest::Sensitivity { l1: 2, l2_squared: 2 },
        budget: sahara_mpc::manifest::Budget::new(2.5, 1e-6).expect("a budget"),
    };
    let shares = Shares::Private(manifest.shares.private().to_vec());
    let noisy = Manifest { noise: Some(noise), shares, ..manifest.clone() };
    keep("v2/manifest-noisy.bin", noisy.sign(&own).expect("a manifest").encode());
    let committee = manifest.committee;
    let signed = manifest.sign(&own).expect("a manifest");
    keep("v1/manifest.bin", signed.encode());
    let sharing = signed.manifest().sharing();
    let later = AccessList { serial: 4, consumers: Consumers::Everyone };
    let record = SharingRecord {
        owner: key,
        name: signed.manifest().name.clone(),
        last_version: 3,
        last_serial: 4,
        current: Some(signed.id()),
        access: Some(later.sign(key, sharing, committee, &own).expect("a list")),
    };
    keep("v2/sharing-bound.bin", &record.encode());
    let task = Task {
        manifest: signed.id(),
        graph: GraphId([3; 32]),
        assignment: Assignment::ALL[0],
        rounding: Rounding::Exact,
    };
    let helper = generate().expect("randomness");
    let session = Session {
        committee: [7; 32],
        job: JobId([1; 16]),
        pack: PackId([2; 16]),
        task,
        consumer: other.public(),
        evaluators: [own.public(), other.public()],
        helper: helper.public(),
    };
    let seal = PackSeal { seeds: [[1; 32], [2; 32]], corrections: [3; 32] };
    let seal: SignedSeal = seal.sign(&session.committee, &session.pack, &task, &helper);
    let opening = Opening { session, inputs: [[4; 32], [5; 32]], seal: seal.seal };
    let salt = || Seed::from_bytes([8; 32]);
    let request = other.sign(&opening.request_digest());
    let open = |own: usize, key| Transcript::open(opening, own, [request, seal.signature], [salt(), salt()], key);
    let mut both = [open(0, &own), open(1, &other)];
    let signatures = both.each_ref().map(Transcript::signature);
    for (i, transcript) in both.iter_mut().enumerate() {
        transcript.join([&salt(), &salt()], signatures[1 - i]).expect("both sign one opening");
    }
    for _ in 0..17 {
        let due = [both[0].checkpoint(&own), both[1].checkpoint(&other)];
        if let Some(theirs) = due[1] {
            both[0].countersigned(theirs).expect("both saw the same");
        }
        both[0].round(b"one", b"eins");
        both[1].round(b"eins", b"one");
    }
    let [first, _] = both;
    keep("v3/transcript.bin", &first.close(None, Some("the lane broke"), 9, &own).0.encode());

    let pack = PackHeader {
        id: PackId([2; 16]),
        key: task,
        incarnation: Incarnation([6; 16]),
        role: EvaluatorRole::Second,
        corrections: 5,
        prepared: 8,
        seal,
    };
    let front = pack.encode(&Seed::from_bytes([9; 32]));
    assert_eq!(front.len(), PACK_PREFIX);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let limits = PackLimits { per_key: 1, all: 4, bytes: 1 << 20, memory: 0 };
    let (store, _) = PackStore::open(folder.path(), limits).expect("a new store");
    let purpose = Purpose { asked_by: PublicKey([1; 32]), job: None };
    let promised = store.promise(task, pack.file_len().expect("a small pack"), purpose).expect("room");
    let contents = PackContents {
        seed: Seed::from_bytes([9; 32]),
        corrections: b"fixes".to_vec(),
        prepared: b"products".to_vec(),
    };
    promised.stage(pack, contents).expect("a writable folder").commit(Instant::now());
    keep("v4/pack.bin", &fs::read(folder.path().join(format!("{}.pack", pack.id))).expect("just written"));
    let part = PartHeader { manifest: signed.id(), masked_for: Some(Assignment::ALL[2]), len: 77 };
    keep("v2/part.bin", &part.encode());

    let home = tempfile::tempdir().expect("a temporary folder");
    Config::init(home.path(), "127.0.0.1:7001".parse().expect("an address"), None, &Parties::default())
        .expect("a configuration");
    keep("v1/node.toml", &fs::read(home.path().join("node.toml")).expect("just written"));
    keep(
        "v1/committee.toml",
        Committee::new([member(1), member(2), member(3)]).expect("three nodes").to_toml().as_bytes(),
    );
}
