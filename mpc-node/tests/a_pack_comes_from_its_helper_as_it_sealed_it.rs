//! Who deals packs and what they must be: an evaluator takes them from the assignment's helper only, of the length that the
//! graph asks for, under a seal that fits; a helper deals what was asked for in order. And what an evaluator is asked.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::time::{Duration, Instant};

use common::upload::{ask, lane};
use common::{Case, Network, case, rogue};
use sahara_mpc::client::{Client, JobId, Rounding, Task, Visibility};
use sahara_mpc::engine::{Plan, Seed, share_inputs};
use sahara_mpc::identity::{Identity, generate};
use sahara_mpc::lane::LaneError;
use sahara_mpc::transcript::{CorrectionsHash, PackSeal, SignedSeal, seed_commitment, sign_requests};
use sahara_mpc::wire::{CountPacks, Deal, FailCode, Incarnation, Kind, PackCount, PackId, Prepare, Share};
use sahara_protocol::EvaluatorRole;

struct Setting {
    network: Network,
    client: Client,
    case: Case,
    task: Task,
}

fn setting(edit: impl Fn(String) -> String) -> Setting {
    let network = Network::start(edit);
    let client = network.client();
    let case = case(31);
    case.register(&client, Visibility::Private);
    let task = case.task(0, Rounding::Exact, Visibility::Private);
    Setting { network, client, case, task }
}

fn refused<T>(result: Result<T, LaneError>, say: &str) {
    let error = result.map(|_| ()).unwrap_err();
    assert_eq!(error.fail().map(|fail| fail.code), Some(FailCode::Refused), "{error}");
    assert!(error.to_string().contains(say), "{error}");
}

const PACK: PackId = PackId([1; 16]);
const SEEDS: [[u8; 32]; 2] = [[3; 32], [4; 32]];

impl Setting {
    fn announcement(&self, role: EvaluatorRole, corrections: u64) -> Deal {
        Deal {
            pack: PACK,
            task: self.task,
            consumer: self.client.key(),
            job: None,
            incarnation: Incarnation([2; 16]),
            seed: zeroize::Zeroizing::new(SEEDS[role as usize]),
            corrections,
        }
    }

    /// Corrections of the right length, and the seal that fits them.
    fn pack(&self) -> (Vec<u8>, PackSeal) {
        let plan = Plan::new(self.case.graph.clone(), Rounding::Exact, Visibility::Private).unwrap();
        let corrections = vec![5; plan.correction_len() as usize];
        let mut hash = CorrectionsHash::default();
        hash.update(&corrections);
        let seeds = [0, 1].map(|i| seed_commitment(&PACK, i, &Seed::from_bytes(SEEDS[i])));
        (corrections, PackSeal { seeds, corrections: hash.finish() })
    }

    /// Deals as whoever has this key; what the evaluator says in the end.
    fn deal(
        &self,
        as_whom: &Identity,
        role: EvaluatorRole,
        corrections: &[u8],
        seal: &SignedSeal,
    ) -> Result<(), LaneError> {
        let node = self.task.assignment.evaluators()[role as usize];
        let mut lane = lane(&self.network, as_whom, node);
        lane.send(&self.announcement(role, corrections.len() as u64))?;
        lane.receive_frame(Kind::DealAccept)?;
        lane.send_stream(corrections)?;
        lane.send(seal)?;
        lane.receive_frame(Kind::DealReady).map(|_| ())
    }
}

#[test]
fn an_evaluator_takes_a_pack_from_the_helper_only_and_under_a_seal_that_fits() {
    let s = setting(|toml| toml);
    let (helper, other) = (rogue::key(&s.network, 0), rogue::key(&s.network, 1));
    let (corrections, seal) = s.pack();
    let committee = s.network.committee.digest();
    let signed = |seal: PackSeal, by| seal.sign(&committee, &PACK, &s.task, by);
    let right = signed(seal, &helper);
    let (first, second) = (EvaluatorRole::First, EvaluatorRole::Second);

    refused(s.deal(&other, second, &corrections, &right), "only the helper of the assignment deals packs");
    for (role, corrections) in [(first, &corrections[..1]), (second, &corrections[1..]), (second, &[][..])] {
        refused(s.deal(&helper, role, corrections, &right), "the length that the graph asks for");
    }
    for (role, corrections) in [(first, &[][..]), (second, &corrections[..])] {
        refused(s.deal(&helper, role, corrections, &signed(seal, &other)), "wrong signature");
        let mut seed = seal;
        seed.seeds[role as usize][0] ^= 1;
        refused(s.deal(&helper, role, corrections, &signed(seed, &helper)), "another seed");
    }
    let mut changed = corrections.clone();
    changed[7] ^= 1;
    refused(s.deal(&helper, second, &changed, &right), "other corrections");
    assert_eq!(s.network.status(&s.client).map(|status| status.packs_for(&s.task)), [0; 3]);
    // What fits is taken.
    for (role, corrections) in [(first, &[][..]), (second, &corrections[..])] {
        s.deal(&helper, role, corrections, &right).unwrap();
    }
    assert_eq!(s.case.run(&s.client, s.task, true).unwrap().outputs, s.case.expected);
}

#[test]
fn a_helper_deals_what_was_asked_for_in_order() {
    let s = setting(|toml| toml.replacen("\npacks = 64", "\npacks = 2", 1));
    let key = generate().unwrap();
    let right = Prepare { task: s.task, count: 1, consumer: key.public(), job: None, asked: None };
    refused(ask(&s.network, &key, 1, &right), "not the helper of assignment 1");
    for count in [0, 3, u32::MAX] {
        refused(ask(&s.network, &key, 0, &Prepare { count, ..right }), "from 1 to 2 can be");
    }
    let job = Some(JobId([9; 16]));
    refused(ask(&s.network, &key, 0, &Prepare { count: 2, job, ..right }), "one pack is made for a job");
    assert_eq!(s.network.status(&s.client)[0].packs_dealt, 0);
    let mut lane = lane(&s.network, &key, 0);
    lane.send(&right).unwrap();
    assert_eq!(lane.receive_one_of(&[Kind::Progress, Kind::Done]).unwrap().0, Kind::Progress);
}

/// How many packs a helper makes at this request, as the asker hears.
fn made(s: &Setting, as_whom: &Identity, prepare: &Prepare) -> Result<u32, LaneError> {
    let mut lane = lane(&s.network, as_whom, 0);
    lane.send(prepare)?;
    let mut made = 0;
    while lane.receive_one_of(&[Kind::Progress, Kind::Done])?.0 == Kind::Progress {
        made += 1;
    }
    Ok(made)
}

/// Dealing is the consumer's, and so is the room for what the helper keeps of it: a node spends it for jobs only that the
/// consumer has asked for.
#[test]
fn a_node_has_packs_made_in_the_name_of_a_consumer_that_asked_and_once_for_each_job() {
    let s = setting(|toml| toml.replacen("packs_ahead = 0", "packs_ahead = 2", 1));
    let (first, second, victim) = (rogue::key(&s.network, 1), rogue::key(&s.network, 2), generate().unwrap());
    let committee = s.network.committee.digest();
    let shares = share_inputs(&s.case.inputs, &Seed::from_bytes([3; 32])).map(Share);
    let asked = |who: &Identity, task: Task, ago: u32| {
        let job = JobId::random().unwrap();
        let job = job.of(job.seconds() - ago);
        Some(sign_requests(who, &committee, job, task, &shares).unwrap()[0].asked())
    };
    let other = Task { rounding: Rounding::Faithful, ..s.task };
    let plain = Prepare { task: s.task, count: 64, consumer: victim.public(), job: None, asked: None };
    let right = Prepare { asked: asked(&victim, s.task, 0), ..plain };
    let for_a_job = Prepare { count: 1, job: Some(JobId([9; 16])), ..right };
    let wrong = [
        (&first, plain, "shows the consumer's request"),
        (&second, right, "the first evaluator"),
        (&victim, Prepare { consumer: first.public(), ..right }, "whoever asks for them only"),
        (&first, for_a_job, "shows the consumer's request"),
        (&first, Prepare { asked: asked(&first, s.task, 0), ..plain }, "not signed by its consumer"),
        (&first, Prepare { asked: asked(&victim, other, 0), ..plain }, "not signed by its consumer"),
        (&first, Prepare { asked: asked(&victim, s.task, 7200), ..plain }, "this node's clock"),
    ];
    for (as_whom, prepare, say) in wrong {
        refused(made(&s, as_whom, &prepare), say);
    }
    let kept = || {
        let names = common::files(&s.network.home(0).join("transcripts"));
        names.iter().filter(|path| path.to_string_lossy().ends_with(&format!("-{}.dealt", victim.public()))).count()
    };
    assert_eq!((s.network.status(&s.client)[0].packs_dealt, kept()), (0, 0), "nothing in the victim's name");
    // As many as the helper would have made ahead, whatever is asked for; and each request serves once.
    assert_eq!(made(&s, &first, &right).unwrap(), 2);
    refused(made(&s, &first, &right), "for this job of the consumer before");
    assert_eq!(kept(), 2);
    assert_eq!(made(&s, &first, &Prepare { count: 1, asked: asked(&victim, s.task, 0), ..plain }).unwrap(), 1);
    assert_eq!(made(&s, &victim, &Prepare { count: 3, ..plain }).unwrap(), 3, "for itself as it likes");
    assert_eq!(kept(), 6);
}

#[test]
fn an_evaluator_is_asked_for_its_role_with_a_share_of_the_graphs_shapes() {
    let s = setting(|toml| toml);
    s.client.prepare(&s.task, 1, &mut |_| ()).unwrap();
    let key = generate().unwrap();
    let mut shares = share_inputs(&s.case.inputs, &Seed::from_bytes([3; 32])).map(Share);
    let ask = |node: u8, shares: &[Share; 2]| {
        let job = JobId::random().unwrap();
        let runs = sign_requests(&key, &s.network.committee.digest(), job, s.task, shares).unwrap();
        let half = usize::from(node == 2);
        let mut lane = lane(&s.network, &key, node);
        lane.send(&runs[half]).unwrap();
        let _ = lane.send(&shares[half]); // a refused request's share is not read any more
        lane.receive_frame(Kind::RunReply)
    };
    refused(ask(0, &shares), "is the helper of the assignment, not an evaluator");
    // Signed and committed to as it is sent, and as long: only the shapes are wrong.
    for share in &mut shares {
        share.0[0].pop().unwrap();
        share.0.push(vec![]);
    }
    for node in [1, 2] {
        refused(ask(node, &shares), "does not have the shapes of the graph");
    }
    assert_eq!(s.case.run(&s.client, s.task, false).unwrap().outputs, s.case.expected, "the pack is there");
}

/// A status lists what its reader may use as far as it has room, and an owner lets anybody in unasked: tasks of others
/// crowd it. So the packs of a task are asked for by its name.
#[test]
fn a_client_asks_for_the_packs_of_its_task_and_goes_by_the_fewer() {
    let mut s = setting(|toml| toml);
    let (task, mut rogues) = (s.task, Vec::new());
    for (node, count) in [(1, 5), (2, 3)] {
        s.network.stop_node(node);
        let rogue = rogue::Rogue::start(&s.network, node, move |mut lane| {
            while let Ok(payload) = lane.receive_frame(Kind::CountPacks) {
                let CountPacks(asked) = lane.decode(&payload).unwrap();
                lane.send(&PackCount(if asked == task { count } else { 9 })).unwrap();
            }
        });
        rogues.push(rogue);
    }
    let client = s.network.client();
    assert_eq!(client.packs_ready(&task).unwrap(), 3);
    rogues.into_iter().for_each(rogue::Rogue::stop);
}

#[test]
fn packs_that_no_job_takes_are_destroyed_after_their_time() {
    let s = setting(|toml| toml.replacen("\npack = 21600", "\npack = 1", 1));
    s.client.prepare(&s.task, 2, &mut |_| ()).unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while s.network.status(&s.client).iter().any(|status| status.packs_for(&s.task) > 0) {
        assert!(Instant::now() < end, "packs stay for ever");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(s.case.run(&s.client, s.task, true).unwrap().outputs, s.case.expected);
}
