//! Every decoder of bytes from outside, hammered with random bytes, cut and changed messages: an answer, never a panic,
//! and what is accepted is written back to the same bytes.
#![allow(clippy::unwrap_used)] // a panic is the failure report

use proptest::prelude::*;
use sahara_mpc::committee::Committee;
use sahara_mpc::config::Config;
use sahara_mpc::engine::{Assignment, EvaluatorRole, GraphId, JobSecret, Rounding, Seed, Visibility};
use sahara_mpc::models::PartHeader;
use sahara_mpc::packs::{PackHeader, PackKey};
use sahara_mpc::status::NodeStatus;
use sahara_mpc::transcript::{Session, SignedRecord, Transcript};
use sahara_mpc::wire::{
    Deal, Fail, FailCode, HaveModel, Hello, JobId, Kind, Message, ModelParts, OpenJob, OpenReply, PackId, Prepare,
    Progress, PutGraph, PutWeights, Run, RunReply, Share, SharingId, Task, parse_header,
};

/// What a decoder makes of bytes: the bytes it would write, or nothing when it refuses.
type Decoder = fn(&[u8]) -> Option<Vec<u8>>;

fn message<M: Message>(bytes: &[u8]) -> Option<Vec<u8>> {
    M::decode(bytes).ok().map(|m| m.encode())
}

const DECODERS: [(&str, Decoder); 17] = [
    ("Hello", message::<Hello>),
    ("Progress", message::<Progress>),
    ("HaveModel", message::<HaveModel>),
    ("ModelParts", |b| message::<ModelParts>(b).map(|_| b.to_vec())), // ignores the id of what is absent
    ("PutGraph", message::<PutGraph>),
    ("PutWeights", message::<PutWeights>),
    ("Prepare", message::<Prepare>),
    ("Deal", message::<Deal>),
    ("Run", message::<Run>),
    ("Share", message::<Share>),
    ("RunReply", message::<RunReply>),
    ("OpenJob", message::<OpenJob>),
    ("OpenReply", message::<OpenReply>),
    ("SignedRecord", message::<SignedRecord>),
    ("NodeStatus", |b| message::<NodeStatus>(b).map(|_| b.to_vec())), // any non-zero byte counts as ready
    ("PackHeader", |b| PackHeader::decode(b).ok().map(|(h, seed)| h.encode(&seed).to_vec())),
    ("PartHeader", |b| PartHeader::decode(b).ok().map(|h| h.encode())),
];

fn task() -> Task {
    Task {
        graph: GraphId([1; 32]),
        assignment: Assignment::ALL[2],
        rounding: Rounding::Faithful,
        visibility: Visibility::Open,
    }
}

/// One valid example of each.
fn examples() -> Vec<(&'static str, Vec<u8>)> {
    let identity = sahara_mpc::identity::generate().unwrap();
    let session = Session {
        job: JobId([2; 16]),
        pack: PackId([3; 16]),
        task: task(),
        evaluators: [identity.public(), sahara_mpc::identity::generate().unwrap().public()],
    };
    let record = Transcript::new(session, 0, &JobSecret::from_bytes([9; 32])).sign(&identity);
    let seed = zeroize::Zeroizing::new([4; 32]);
    let sharing = SharingId([5; 16]);
    let key = PackKey { task: task(), sharing };
    let pack = PackHeader { id: PackId([3; 16]), key, role: EvaluatorRole::Second, corrections: 7, prepared: 9 };
    let part = PartHeader {
        graph: GraphId([1; 32]),
        root: [6; 32],
        visibility: Visibility::Private,
        assignment: Assignment::ALL[1],
        sharing,
        owner: identity.public(),
        len: 64,
    };
    let share = vec![vec![1, 2, 3], vec![], vec![4]];
    let (visibility, assignment) = (Visibility::Private, Assignment::ALL[0]);
    vec![
        ("Hello", Hello { committee: [7; 32] }.encode()),
        ("Progress", Progress { done: 1, total: 2 }.encode()),
        ("HaveModel", HaveModel { graph: GraphId([1; 32]), root: [6; 32], visibility, assignment }.encode()),
        ("ModelParts", ModelParts { graph: true, weights: Some(sharing) }.encode()),
        ("PutGraph", PutGraph { graph: GraphId([1; 32]), len: 100 }.encode()),
        ("PutWeights", PutWeights { graph: GraphId([1; 32]), visibility, assignment, sharing, len: 64 }.encode()),
        ("Prepare", Prepare { task: task(), count: 3 }.encode()),
        ("Deal", Deal { pack: PackId([3; 16]), task: task(), sharing, seed, corrections: 10 }.encode()),
        ("Run", Run { job: JobId([2; 16]), task: task() }.encode()),
        ("Share", Share(share.clone()).encode()),
        ("RunReply", RunReply { figures: Default::default(), transcript: record.encode(), outputs: share }.encode()),
        (
            "OpenJob",
            OpenJob {
                job: JobId([2; 16]),
                task: task(),
                consumer: [8; 32],
                pack: PackId([3; 16]),
                held: vec![PackId([3; 16]); 2],
                secret: Seed::from_bytes([9; 32]),
            }
            .encode(),
        ),
        ("OpenReply", OpenReply::Go(Seed::from_bytes([9; 32])).encode()),
        ("SignedRecord", record.encode()),
        (
            "NodeStatus",
            NodeStatus { graphs: vec![GraphId([1; 32])], packs: vec![(task(), 2)], ..Default::default() }.encode(),
        ),
        ("PackHeader", pack.encode(&Seed::from_bytes([4; 32])).to_vec()),
        ("PartHeader", part.encode()),
    ]
}

#[test]
fn every_cut_and_every_changed_byte() {
    for ((name, decode), (example, bytes)) in DECODERS.iter().zip(examples()) {
        assert_eq!(*name, example);
        assert_eq!(decode(&bytes).as_deref(), Some(&bytes[..]), "{name} reads what it writes");
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), None, "{name} cut at {end}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(decode(&longer), None, "{name} with a byte too many");
        for at in 0..bytes.len() {
            for bit in [1, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= bit;
                if let Some(again) = decode(&changed) {
                    assert_eq!(again, changed, "{name} changed at {at}");
                }
            }
        }
    }
}

#[test]
fn a_failure_report_cannot_command_a_terminal() {
    let fail = Fail { code: FailCode::Peer, text: "bad\u{1b}[2J\r\nnews".into() };
    assert_eq!(Fail::decode(&fail.encode()).unwrap().text, "bad[2Jnews");
}

proptest! {
    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        for (_, decode) in DECODERS {
            if let Some(again) = decode(&bytes) {
                prop_assert_eq!(&again, &bytes);
            }
        }
        let _ = Fail::decode(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        prop_assert!(Committee::parse(&text).is_err());
        prop_assert!(Config::parse(&text, std::path::Path::new("/")).is_err());
    }

    #[test]
    fn random_headers(bytes in any::<[u8; 8]>()) {
        if let Ok((kind, len)) = parse_header(bytes) {
            prop_assert!(len <= kind.limit());
            prop_assert_eq!(Kind::from_code(bytes[0]), Some(kind));
            prop_assert_eq!(sahara_mpc::wire::header(kind, len), bytes);
        }
    }
}
