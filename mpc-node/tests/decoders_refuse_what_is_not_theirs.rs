//! Every decoder of bytes from outside, hammered with random bytes, cut and changed messages: an answer, never a panic,
//! and what is accepted is written back to the same bytes.
#![allow(clippy::unwrap_used)] // a panic is the failure report

use proptest::prelude::*;
use sahara_mpc::committee::Committee;
use sahara_mpc::config::Config;
use sahara_mpc::engine::{Assignment, EvaluatorRole, GraphId, JobSecret, Rounding, Seed, Visibility};
use sahara_mpc::identity::{Identity, PublicKey};
use sahara_mpc::manifest::{
    AccessList, AccessRule, AnswerCost, AssignmentShare, ClientPart, Consumers, Manifest, OwnerKey, Sensitivity,
    Shares, SignedManifest,
};
use sahara_mpc::models::{PartHeader, SharingRecord};
use sahara_mpc::packs::PackHeader;
use sahara_mpc::protocol::round::Vectors;
use sahara_mpc::rounds::{RoundId, RoundNonce, RoundResult, RoundTerms, SignedTerms};
use sahara_mpc::status::NodeStatus;
use sahara_mpc::transcript::{
    DealtRecord, JobRecord, Opening, Openings, PackSeal, Session, SignedRecord, SignedSeal, Transcript,
};
use sahara_mpc::wire::{
    AbandonRound, AccountReply, Again, AskAccount, AskJob, AskSession, Begin, CloseRound, Complete, Completed,
    Contribute, Cosign, Cosigned, CountPacks, Deal, DealRound, Dealt, DeleteSharing, Draft, Fail, FailCode, FetchRound,
    FindSharing, GetClientPart, HandBack, Hello, Incarnation, JobId, JoinRound, Kind, LastReceipt, LastReply,
    MAX_RECEIPT, MAX_SESSION, MAX_VOUCHER, ManifestId, Message, OpenJob, OpenReply, OpenRound, PackCount, PackId,
    PackNames, Piece, Prepare, Presence, Present, Progress, PutAccess, Reclaim, Reclaimed, RoundDealt, RoundJoined,
    RoundList, RoundReply, RoundStage, Run, RunReply, Share, SharingEntry, SharingList, SharingReply, ShowRound, Task,
    parse_header,
};

/// What a decoder makes of bytes: the bytes it would write, or nothing when it refuses.
type Decoder = fn(&[u8]) -> Option<Vec<u8>>;

fn message<M: Message>(bytes: &[u8]) -> Option<Vec<u8>> {
    M::decode(bytes).ok().map(|m| m.encode())
}

const DECODERS: [(&str, Decoder); 59] = [
    ("Hello", message::<Hello>),
    ("HandBack", message::<HandBack>),
    ("Reclaim", message::<Reclaim>),
    ("Reclaimed", message::<Reclaimed>),
    ("AskJob", message::<AskJob>),
    ("Presence", message::<Presence>),
    ("Progress", message::<Progress>),
    ("FindSharing", message::<FindSharing>),
    ("SharingReply", message::<SharingReply>),
    ("SharingList", message::<SharingList>),
    ("AskAccount", message::<AskAccount>),
    ("AccountReply", message::<AccountReply>),
    ("Begin", message::<Begin>),
    ("Piece", message::<Piece>),
    ("PutAccess", message::<PutAccess>),
    ("DeleteSharing", message::<DeleteSharing>),
    ("GetClientPart", message::<GetClientPart>),
    ("CountPacks", message::<CountPacks>),
    ("PackCount", message::<PackCount>),
    ("Prepare", message::<Prepare>),
    ("Prepare", message::<Prepare>),
    ("Deal", message::<Deal>),
    ("Run", message::<Run>),
    ("Share", message::<Share>),
    ("RunReply", message::<RunReply>),
    ("OpenJob", message::<OpenJob>),
    ("OpenReply", message::<OpenReply>),
    ("SignedRecord", message::<SignedRecord>),
    ("SignedSeal", message::<SignedSeal>),
    ("JobRecord", |b| JobRecord::decode(b).ok().map(|_| b.to_vec())), // takes control characters out of the reason
    ("Openings", |b| Openings::decode(b).ok().map(|o| o.encode().to_vec())),
    ("DealtRecord", |b| DealtRecord::decode(b).ok().map(|d| d.encode())),
    ("NodeStatus", |b| message::<NodeStatus>(b).map(|_| b.to_vec())), // any non-zero byte counts as ready
    ("PackHeader", |b| PackHeader::decode(b).ok().map(|(h, seed)| h.encode(&seed).to_vec())),
    ("PartHeader", |b| PartHeader::decode(b).ok().map(|h| h.encode())),
    ("SharingRecord", |b| SharingRecord::decode(b).ok().map(|r| r.encode())),
    ("Present", message::<Present>),
    ("LastReceipt", message::<LastReceipt>),
    ("LastReply", message::<LastReply>),
    ("LastReply", message::<LastReply>),
    ("Draft", message::<Draft>),
    ("Cosign", message::<Cosign>),
    ("Cosigned", message::<Cosigned>),
    ("Completed", message::<Completed>),
    ("Again", message::<Again>),
    ("AskSession", message::<AskSession>),
    ("OpenRound", message::<OpenRound>),
    ("RoundList", message::<RoundList>),
    ("ShowRound", message::<ShowRound>),
    ("RoundReply", message::<RoundReply>),
    ("Contribute", message::<Contribute>),
    ("CloseRound", message::<CloseRound>),
    ("FetchRound", message::<FetchRound>),
    ("AbandonRound", message::<AbandonRound>),
    ("RoundResult", message::<RoundResult>),
    ("JoinRound", message::<JoinRound>),
    ("RoundJoined", message::<RoundJoined>),
    ("DealRound", message::<DealRound>),
    ("RoundDealt", message::<RoundDealt>),
];

fn task() -> Task {
    Task {
        manifest: ManifestId([9; 32]),
        graph: GraphId([1; 32]),
        assignment: Assignment::ALL[2],
        rounding: Rounding::Faithful,
    }
}

fn cost(variance: u64) -> AnswerCost {
    AnswerCost { variance, sensitivity: Sensitivity { l1: 2, l2_squared: 2 }, numbers: 3 }
}

fn manifest(identity: &Identity) -> SignedManifest {
    let share = |assignment| AssignmentShare { assignment, masked: [1; 32], seeds: [[2; 32], [3; 32]] };
    let manifest = Manifest {
        owner: OwnerKey::Ed25519(identity.public()),
        name: "a-model.v2".parse().unwrap(),
        version: 3,
        weights_root: [4; 32],
        layout: [5; 32],
        graphs: vec![GraphId([7; 32]), GraphId([6; 32])],
        committee: [8; 32],
        shares: Shares::Private(vec![share(Assignment::ALL[2]), share(Assignment::ALL[0])]),
        client_part: Some(ClientPart { digest: [9; 32], len: 1234 }),
        access: AccessRule::Keys(access(1)),
        noise: None,
    };
    manifest.sign(identity).unwrap()
}

fn access(serial: u64) -> AccessList {
    AccessList { serial, consumers: Consumers::only([PublicKey([2; 32]), PublicKey([1; 32])]) }
}

/// One valid example of each.
fn examples() -> Vec<(&'static str, Vec<u8>)> {
    let identity = sahara_mpc::identity::generate().unwrap();
    let session = Session {
        committee: [7; 32],
        job: JobId([2; 16]),
        pack: PackId([3; 16]),
        task: task(),
        consumer: PublicKey([8; 32]),
        evaluators: [identity.public(), sahara_mpc::identity::generate().unwrap().public()],
        helper: PublicKey([6; 32]),
    };
    let seal = PackSeal { seeds: [[1; 32], [2; 32]], corrections: [3; 32] };
    let seal = seal.sign(&[7; 32], &PackId([3; 16]), &task(), &identity);
    let opening = Opening { session, inputs: [[4; 32], [5; 32]], seal: seal.seal };
    let salt = || Seed::from_bytes([9; 32]);
    let mut transcript = Transcript::open(opening, 0, [[1; 64], [2; 64]], [salt(), salt()], &identity);
    for _ in 0..17 {
        transcript.checkpoint(&identity);
        transcript.round(b"sent", b"received");
    }
    let end = transcript.finish(&Share(vec![vec![1]]), &identity);
    let (kept, _) = transcript.close(Some(end), Some("why"), 6, &identity);
    let openings = Openings {
        job: JobId([2; 16]),
        secret: JobSecret::from_bytes([9; 32]),
        input_salt: salt(),
        output_salt: salt(),
    };
    let dealt =
        DealtRecord { committee: [7; 32], pack: PackId([3; 16]), task: task(), helper: identity.public(), seal };
    let consumer = identity.public();
    let run = Run {
        job: JobId([2; 16]),
        task: task(),
        inputs: opening.inputs,
        salt: salt(),
        signature: [3; 64],
        voucher: vec![],
    };
    let seed = zeroize::Zeroizing::new([4; 32]);
    let pack = PackHeader {
        id: PackId([3; 16]),
        key: task(),
        incarnation: Incarnation([5; 16]),
        role: EvaluatorRole::Second,
        corrections: 7,
        prepared: 9,
        seal,
    };
    let names = PackNames { incarnation: Incarnation([5; 16]), packs: vec![PackId([3; 16]), PackId([4; 16])] };
    let part = PartHeader { manifest: ManifestId([1; 32]), masked_for: Some(Assignment::ALL[1]), len: 64 };
    let signed = manifest(&identity);
    let (owner, sharing) = (signed.manifest().owner, signed.manifest().sharing());
    let access = access(4).sign(owner, sharing, signed.manifest().committee, &identity).unwrap();
    let entry = SharingEntry {
        owner: identity.public(),
        name: signed.manifest().name.clone(),
        version: 3,
        manifest: signed.id(),
        visibility: Visibility::Open,
        client_part: 5,
        bytes: 6,
    };
    let record = SharingRecord {
        owner,
        name: signed.manifest().name.clone(),
        last_version: 3,
        last_serial: 4,
        current: Some(signed.id()),
        access: Some(access.clone()),
    };
    let reply = SharingReply {
        last_version: 3,
        last_serial: 4,
        deleted: true,
        manifest: Some(signed.clone()),
        access: Some(access.clone()),
    };
    let share = vec![vec![1, 2, 3], vec![], vec![4]];
    vec![
        ("Hello", Hello { committee: [7; 32] }.encode()),
        ("HandBack", HandBack(names.clone()).encode()),
        ("Reclaim", Reclaim(names.clone()).encode()),
        ("Reclaimed", Reclaimed(names).encode()),
        ("AskJob", AskJob { job: JobId([2; 16]), task: task(), consumer: [7; 32], paid_with: None }.encode()),
        ("Presence", Presence::Here.encode()),
        ("Progress", Progress { done: 1, total: 2 }.encode()),
        ("FindSharing", FindSharing::Exactly(signed.id()).encode()),
        ("SharingReply", reply.encode()),
        ("SharingList", SharingList(vec![entry]).encode()),
        ("AskAccount", AskAccount(signed.id()).encode()),
        ("AccountReply", AccountReply(vec![(cost(5), 3), (cost(7), 1)]).encode()),
        ("Begin", Begin { manifest: signed, bytes: 99 }.encode()),
        ("Piece", Piece { len: 100 }.encode()),
        ("PutAccess", PutAccess(access).encode()),
        ("DeleteSharing", DeleteSharing(sharing).encode()),
        ("GetClientPart", GetClientPart(ManifestId([1; 32])).encode()),
        ("CountPacks", CountPacks(task()).encode()),
        ("PackCount", PackCount(7).encode()),
        ("Prepare", Prepare { task: task(), count: 3, consumer, job: Some(JobId([2; 16])), asked: None }.encode()),
        ("Prepare", Prepare { task: task(), count: 3, consumer, job: None, asked: Some(run.asked()) }.encode()),
        (
            "Deal",
            Deal {
                pack: PackId([3; 16]),
                task: task(),
                consumer,
                job: None,
                incarnation: Incarnation([5; 16]),
                seed,
                corrections: 10,
            }
            .encode(),
        ),
        ("Run", run.encode()),
        ("Share", Share(share.clone()).encode()),
        (
            "RunReply",
            RunReply {
                figures: Default::default(),
                transcript: end.encode(),
                salt: salt(),
                outputs: Share(share),
                complete: None,
            }
            .encode(),
        ),
        (
            "OpenJob",
            OpenJob {
                job: JobId([2; 16]),
                task: task(),
                consumer: [8; 32],
                pack: PackId([3; 16]),
                held: vec![PackId([3; 16]); 2],
                secret: salt(),
                signature: [3; 64],
                paid_with: None,
            }
            .encode(),
        ),
        ("OpenReply", OpenReply::Go(salt(), [3; 64]).encode()),
        ("SignedRecord", end.encode()),
        ("SignedSeal", seal.encode()),
        ("JobRecord", kept.encode()),
        ("Openings", openings.encode().to_vec()),
        ("DealtRecord", dealt.encode()),
        ("NodeStatus", NodeStatus { sharings: 1, packs: vec![(task(), 2)], ..Default::default() }.encode()),
        ("PackHeader", pack.encode(&Seed::from_bytes([4; 32])).to_vec()),
        ("PartHeader", part.encode()),
        ("SharingRecord", record.encode()),
        ("Present", Present { manifest: ManifestId([1; 32]), session: vec![5; 40] }.encode()),
        ("LastReceipt", LastReceipt { manifest: ManifestId([1; 32]), consumer, voucher: vec![5; 40] }.encode()),
        ("LastReply", LastReply(None).encode()),
        ("LastReply", LastReply(Some(complete())).encode()),
        ("Draft", Draft { receipt: vec![5; 40], signature: [6; 64] }.encode()),
        (
            "Cosign",
            Cosign {
                task: task(),
                consumer,
                asked: run.asked(),
                voucher: vec![7; 9],
                receipt: vec![5; 40],
                signatures: [[6; 64], [7; 64]],
            }
            .encode(),
        ),
        ("Cosigned", Cosigned([6; 64]).encode()),
        ("Completed", Completed([6; 64]).encode()),
        ("Again", Again { job: JobId([2; 16]), task: task(), inputs: [[4; 32]; 2], voucher: vec![7; 9] }.encode()),
        (
            "AskSession",
            AskSession(LastReceipt { manifest: ManifestId([1; 32]), consumer, voucher: vec![5; 40] }).encode(),
        ),
        ("OpenRound", OpenRound(round_terms()).encode()),
        (
            "RoundList",
            RoundList(vec![(RoundId([1; 32]), RoundStage::Open), (RoundId([2; 32]), RoundStage::Ended)]).encode(),
        ),
        ("ShowRound", ShowRound { round: RoundId([3; 32]), attachment: true }.encode()),
        (
            "RoundReply",
            RoundReply { terms: round_terms(), stage: RoundStage::Failed, contributed: 7, own: true }.encode(),
        ),
        (
            "Contribute",
            Contribute {
                round: RoundId([3; 32]),
                shares: [[4; 32], [5; 32]],
                salt: Seed::from_bytes([6; 32]),
                signature: [7; 64],
            }
            .encode(),
        ),
        ("CloseRound", CloseRound(RoundId([3; 32])).encode()),
        ("FetchRound", FetchRound(RoundId([4; 32])).encode()),
        ("AbandonRound", AbandonRound(RoundId([5; 32])).encode()),
        (
            "RoundResult",
            RoundResult {
                round: RoundId([3; 32]),
                included: vec![(1, [1; 32]), (300, [2; 32])],
                accepted: vec![true, false],
                sum: vec![-5, 7, 1 << 30],
                signatures: [[8; 64], [9; 64]],
            }
            .encode(),
        ),
        ("JoinRound", JoinRound { round: RoundId([3; 32]), contributions: vec![(0, [1; 32]), (1, [2; 32])] }.encode()),
        ("RoundJoined", RoundJoined(vec![(5, [1; 32])]).encode()),
        ("DealRound", DealRound { round: RoundId([3; 32]), digest: [1; 32], what: Dealt::Check(2, 100) }.encode()),
        ("RoundDealt", RoundDealt { seed: [3; 32].into(), len: 1 << 20 }.encode()),
    ]
}

fn round_terms() -> SignedTerms {
    let coordinator = sahara_mpc::identity::from_secret(&[7; 32]);
    let terms = RoundTerms {
        committee: [1; 32],
        coordinator: coordinator.public(),
        nonce: RoundNonce([2; 16]),
        assignment: Assignment::ALL[1],
        vectors: Vectors::new(10, 12, 1 << 16).unwrap(),
        variance: 5000,
        least: 2,
        seconds: 60,
        note: b"mean".to_vec(),
        attachment: (9, [3; 32]),
        providers: vec![PublicKey([1; 32]), PublicKey([2; 32])],
    };
    terms.sign(&coordinator)
}

fn complete() -> Complete {
    Complete { receipt: vec![5; 40], signatures: [[6; 64], [7; 64], [8; 64]] }
}

/// What pays stands behind what there was before anything was paid: requests and answers that are not paid have the bytes that
/// they had.
#[test]
fn what_pays_is_behind_what_older_programs_send_and_read() {
    let salt = || Seed::from_bytes([9; 32]);
    let run = |voucher: &[u8]| Run {
        job: JobId([2; 16]),
        task: task(),
        inputs: [[4; 32], [5; 32]],
        salt: salt(),
        signature: [3; 64],
        voucher: voucher.to_vec(),
    };
    let reply = |complete| RunReply {
        figures: Default::default(),
        transcript: vec![1, 2],
        salt: salt(),
        outputs: Share(vec![vec![1]]),
        complete,
    };
    assert_eq!(run(&[]).encode().len(), 16 + 66 + 64 + 32 + 64);
    let [plain, paid] = [&[][..], &[7; 9]].map(|voucher| run(voucher).encode());
    assert!(paid.starts_with(&plain) && paid.len() == plain.len() + 4 + 9);
    assert_eq!(Run::decode(&paid).unwrap(), run(&[7; 9]));
    let [open, receipted] = [None, Some(complete())].map(|complete| reply(complete).encode());
    assert!(receipted.starts_with(&open));
    assert_eq!(RunReply::decode(&receipted).unwrap().complete, Some(complete()));
    assert_eq!(RunReply::decode(&open).unwrap().complete, None);
    for (message, whole, decodes) in [
        (&plain, &paid, (|b| Run::decode(b).is_ok()) as fn(&[u8]) -> bool),
        (&open, &receipted, |b| RunReply::decode(b).is_ok()),
    ] {
        assert!((message.len() + 1..whole.len()).all(|end| !decodes(&whole[..end])));
        let nothing = [&message[..], &[0; 4]].concat();
        assert!(!decodes(&nothing), "nothing is not said");
    }
}

#[test]
fn what_is_longer_than_its_limit_is_not_read() {
    let long = |len: usize| vec![7; len];
    let present = |len| Present { manifest: ManifestId([1; 32]), session: long(len) }.encode();
    let last = |len| LastReceipt { manifest: ManifestId([1; 32]), consumer: PublicKey([2; 32]), voucher: long(len) };
    let draft = |len| Draft { receipt: long(len), signature: [6; 64] }.encode();
    assert!(Present::decode(&present(MAX_SESSION)).is_ok() && Present::decode(&present(MAX_SESSION + 1)).is_err());
    assert!(Present::decode(&present(0)).is_err());
    assert!(LastReceipt::decode(&last(MAX_VOUCHER).encode()).is_ok());
    assert!(LastReceipt::decode(&last(MAX_VOUCHER + 1).encode()).is_err());
    assert!(Draft::decode(&draft(MAX_RECEIPT)).is_ok() && Draft::decode(&draft(MAX_RECEIPT + 1)).is_err());
    // The longest of each fits its frame.
    assert!(present(MAX_SESSION).len() <= Kind::Present.limit() && draft(MAX_RECEIPT).len() <= Kind::Draft.limit());
    assert!(last(MAX_VOUCHER).encode().len() <= Kind::LastReceipt.limit());
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
