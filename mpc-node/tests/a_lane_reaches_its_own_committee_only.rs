//! Whatever is asked on a lane of one committee is looked for in that committee: nothing of another one that the same node
//! serves is reached, whoever asks and however well it knows the names. Each question is asked on a lane of the right committee,
//! too, and has another answer there.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;
#[path = "common/four.rs"]
mod four;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Case, case, files};
use four::{ALIGNED, BOTH, Four};
use sahara_mpc::client::{Assignment, Client, Consumers, JobId, Offer, OwnerKey, Rounding, Sharing, Task, Visibility};
use sahara_mpc::engine::{random_seed, share_inputs};
use sahara_mpc::identity::{Identity, generate};
use sahara_mpc::lane::{Lane, LaneError};
use sahara_mpc::manifest::AccessList;
use sahara_mpc::meter::Traffic;
use sahara_mpc::packs::PackHeader;
use sahara_mpc::transcript::sign_requests;
use sahara_mpc::wire::{
    AskJob, Begin, CountPacks, Deal, DeleteSharing, FailCode, FindSharing, GetClientPart, HandBack, Incarnation, Kind,
    ListSharings, Message, OpenJob, OpenReply, PackCount, PackId, PackNames, Piece, Prepare, Presence, PutAccess,
    Reclaim, Reclaimed, Share, SharingList, SharingReply,
};

const TIME: Duration = Duration::from_secs(20);
/// Bytes of a pack file before the corrections.
const PACK_PREFIX: usize = 317;

/// A model that only the second committee has, at nodes that serve both under the same numbers: committees alone tell apart.
struct Setting {
    four: Four,
    case: Case,
    owner: Arc<Identity>,
    client: Client,
    sharing: Sharing,
}

fn setting(edit: impl Fn(String) -> String) -> Setting {
    let four = Four::start(ALIGNED, edit);
    let (case, owner) = (case(46), Arc::new(generate().unwrap()));
    let client = four.client_of(&owner, 1);
    let offer = Offer { client_part: Some(b"the client part"), ..case.offer(Visibility::Private) };
    let sharing = client.share(&offer, &|_, _| ()).unwrap();
    Setting { four, case, owner, client, sharing }
}

impl Setting {
    fn task(&self, helper: u8) -> Task {
        self.sharing.task(&self.case.graph, Assignment::new(helper).unwrap(), Rounding::Exact).unwrap()
    }

    fn lane(&self, who: &Identity, node: usize, committee: usize) -> Lane {
        let number = self.four.number(node, committee);
        let mut lane = Lane::connect(who, &self.four.committees[committee], number, TIME, Arc::default()).unwrap();
        lane.begin("in a test", Traffic::Setup, TIME);
        lane
    }

    /// What a node answers on a lane of a committee.
    fn ask<Q: Message, A: Message>(
        &self,
        who: &Identity,
        node: usize,
        committee: usize,
        question: &Q,
    ) -> Result<A, LaneError> {
        let mut lane = self.lane(who, node, committee);
        lane.send(question)?;
        lane.receive()
    }

    /// Which kind of frame it answers with.
    fn answered(
        &self,
        who: &Identity,
        node: usize,
        committee: usize,
        question: &impl Message,
    ) -> Result<Kind, LaneError> {
        let mut lane = self.lane(who, node, committee);
        lane.send(question)?;
        let (kind, _) =
            lane.receive_one_of(&[Kind::Done, Kind::GoOn, Kind::DealAccept, Kind::Progress, Kind::OpenReply])?;
        Ok(kind)
    }
}

fn code<T>(result: Result<T, LaneError>) -> FailCode {
    match result {
        Err(error) => error.fail().unwrap_or_else(|| panic!("{error}")).code,
        Ok(_) => panic!("it was answered"),
    }
}

#[test]
fn no_sharing_is_found_fetched_changed_or_taken_back() {
    let s = setting(|toml| toml);
    let (owner, friend) = (&*s.owner, generate().unwrap());
    let (id, manifest) = (s.sharing.manifest().sharing(), s.sharing.id());
    for node in BOTH {
        for who in [owner, &friend] {
            for question in [FindSharing::Current(id), FindSharing::Exactly(manifest)] {
                let found = |committee| s.ask::<_, SharingReply>(who, node, committee, &question).unwrap();
                assert_eq!(found(0), SharingReply::default(), "nor which versions there were");
                assert_eq!(found(1).manifest.unwrap().id(), manifest);
            }
            let listed = |committee| s.ask::<_, SharingList>(who, node, committee, &ListSharings).unwrap().0.len();
            assert_eq!((listed(0), listed(1)), (0, 1));
            let part = |committee| s.ask::<_, Piece>(who, node, committee, &GetClientPart(manifest));
            assert_eq!(code(part(0)), FailCode::NoModel);
            assert_eq!(part(1).unwrap().len, 15);
        }
        // What belongs to the other committee is not taken here either, though its owner brings it.
        let begin = Begin { manifest: s.sharing.signed().clone(), bytes: 1 << 10 };
        let error = s.answered(owner, node, 0, &begin).unwrap_err();
        assert!(error.to_string().contains("for another committee"), "{error}");
        assert_eq!(s.answered(owner, node, 1, &begin).unwrap(), Kind::Done, "it is there");
        let key = OwnerKey::Ed25519(owner.public());
        let list = AccessList { serial: 2, consumers: Consumers::Only(Vec::new()) };
        let list = list.sign(key, id, s.sharing.manifest().committee, owner).unwrap();
        assert_eq!(code(s.answered(owner, node, 0, &PutAccess(list.clone()))), FailCode::NoModel);
        assert_eq!(code(s.answered(owner, node, 0, &DeleteSharing(id))), FailCode::NoModel);
        let found: SharingReply = s.ask(owner, node, 1, &FindSharing::Current(id)).unwrap();
        assert_eq!((found.last_serial, found.access, found.deleted), (1, None, false));
        assert_eq!(s.answered(owner, node, 1, &PutAccess(list)).unwrap(), Kind::Done);
        assert_eq!(s.answered(owner, node, 1, &DeleteSharing(id)).unwrap(), Kind::Done);
    }
}

#[test]
fn no_job_is_run_and_no_pack_is_made_or_counted() {
    let s = setting(|toml| toml);
    let consumer = generate().unwrap();
    let asker = s.four.client_of(&Arc::new(generate().unwrap()), 1);
    for helper in 0..3 {
        asker.prepare(&s.task(helper), 1, &mut |_| ()).unwrap();
    }
    for node in BOTH {
        for helper in 0..3 {
            let task = s.task(helper);
            for committee in [0, 1] {
                let own = s.four.number(node, committee);
                let here = committee == 1;
                // A node of the committee may count all packs.
                let counts = s.ask::<_, PackCount>(&s.four.key(BOTH[0]), node, committee, &CountPacks(task)).unwrap().0;
                assert_eq!(counts > 0, here && own != helper);
                let prepare = Prepare { task, count: 1, consumer: consumer.public(), job: None, asked: None };
                if own == helper {
                    let made = s.answered(&consumer, node, committee, &prepare);
                    match here {
                        true => assert_eq!(made.unwrap(), Kind::Progress),
                        false => assert_eq!(code(made), FailCode::NoModel),
                    }
                    continue;
                }
                // Asked on a lane of the first the model is not there, whichever committee the consumer has signed for; and what
                // it has signed for the first is nothing to the second.
                let shares = share_inputs(&s.case.inputs, &random_seed().unwrap()).map(Share);
                for signed_for in [0, 1].into_iter().filter(|signed_for| !here || *signed_for == 0) {
                    let digest = s.four.committees[signed_for].digest();
                    let job = JobId::random().unwrap();
                    let runs = sign_requests(&consumer, &digest, job, task, &shares).unwrap();
                    let mut lane = s.lane(&consumer, node, committee);
                    lane.send(&runs[0]).unwrap();
                    let told = lane.receive_frame(Kind::RunReply).unwrap_err();
                    match here {
                        false => assert_eq!(told.fail().unwrap().code, FailCode::NoModel, "{told}"),
                        true => assert!(told.to_string().contains("not signed"), "{told}"),
                    }
                }
            }
        }
    }
}

#[test]
fn no_job_that_waits_is_met_or_opened() {
    let s = setting(|toml| toml.replacen("meet = 2", "meet = 30", 1));
    let [first, second] = BOTH;
    let (task, consumer) = (s.task(0), generate().unwrap());
    let shares = share_inputs(&s.case.inputs, &random_seed().unwrap()).map(Share);
    let (digest, job) = (s.four.committees[1].digest(), JobId::random().unwrap());
    let runs = sign_requests(&consumer, &digest, job, task, &shares).unwrap();
    let mut waiting = s.lane(&consumer, second, 1);
    waiting.send(&runs[1]).unwrap();
    waiting.send(&shares[1]).unwrap();
    let question = AskJob { job, task, consumer: consumer.public().0, paid_with: None };
    let member = s.four.key(first);
    let began = Instant::now();
    while s.ask::<_, Presence>(&member, second, 1, &question).unwrap() != Presence::Here {
        assert!(began.elapsed() < TIME, "it does not wait");
    }
    // In the first committee they have the same roles.
    assert_eq!(s.ask::<_, Presence>(&member, second, 0, &question).unwrap(), Presence::Unknown);
    let (secret, pack, consumer) = (random_seed().unwrap(), PackId([1; 16]), consumer.public().0);
    let open = OpenJob { job, task, consumer, pack, held: Vec::new(), secret, signature: [0; 64], paid_with: None };
    assert_eq!(s.ask::<_, OpenReply>(&member, second, 0, &open).unwrap(), OpenReply::Gone, "nobody waits for it here");
    assert_eq!(s.ask::<_, Presence>(&member, second, 1, &question).unwrap(), Presence::Here, "it still waits");
}

#[test]
fn no_pack_is_dealt_handed_back_or_reclaimed() {
    let mut s = setting(|toml| toml.replacen("pack_memory_megabytes = 1024", "pack_memory_megabytes = 0", 1));
    // In both committees node 3 helps in this assignment, and node 2 evaluates.
    let [evaluator, helper] = BOTH;
    let task = s.task(s.four.number(helper, 1));
    s.client.prepare(&task, 2, &mut |_| ()).unwrap();
    let folder = s.four.folder(evaluator, 1).join("packs");
    let packs: Vec<PackHeader> = files(&folder)
        .iter()
        .map(|file| PackHeader::decode(&fs::read(file).unwrap()[..PACK_PREFIX]).unwrap().0)
        .collect();
    assert_eq!(packs.len(), 2);
    let incarnation = packs[0].incarnation;
    let names = |incarnation| PackNames { incarnation, packs: packs.iter().map(|header| header.id).collect() };
    let member = s.four.key(evaluator);

    // A pack for a task of the other committee is not taken, though its helper brings it.
    let deal = |committee| {
        let deal = Deal {
            pack: PackId([9; 16]),
            task,
            consumer: s.owner.public(),
            job: None,
            incarnation: Incarnation([1; 16]),
            seed: zeroize::Zeroizing::new([1; 32]),
            corrections: 1,
        };
        s.answered(&s.four.key(helper), evaluator, committee, &deal)
    };
    assert_eq!(code(deal(0)), FailCode::NoModel);
    assert!(deal(1).unwrap_err().to_string().contains("do not have the length"), "there it is looked at");

    // Names of the second committee's packs are nothing that the helper of the first knows.
    assert_eq!(code(s.answered(&member, helper, 0, &HandBack(names(incarnation)))), FailCode::Refused);
    let reclaimed = |s: &Setting, committee, incarnation| {
        let Reclaimed(given) = s.ask(&member, helper, committee, &Reclaim(names(incarnation))).unwrap();
        given.packs.len()
    };
    s.four.stop_node(evaluator);
    assert_eq!(reclaimed(&s, 0, incarnation), 0, "though they were just handed back");
    s.four.start_node(evaluator);
    for _ in 0..2 {
        assert_eq!(s.case.run(&s.client, task, false).unwrap().outputs, s.case.expected, "they are its own again");
    }
    assert_eq!(reclaimed(&s, 1, incarnation), 0, "and given once");
}

#[test]
fn a_member_of_one_committee_is_a_consumer_like_others_in_the_other() {
    let s = setting(|toml| toml);
    // Node 1 is a member of the first committee only, and anybody may ask here.
    let (outsider, node) = (s.four.key(0), BOTH[0]);
    let status: sahara_mpc::client::NodeStatus = {
        let mut lane = s.lane(&outsider, node, 1);
        lane.send_frame(Kind::Status, &[]).unwrap();
        lane.receive().unwrap()
    };
    assert_eq!((status.index, status.sharings), (s.four.number(node, 1), 1), "what is for everyone");
    let names = || PackNames { incarnation: Incarnation([1; 16]), packs: Vec::new() };
    let job = AskJob { job: JobId([1; 16]), task: s.task(0), consumer: [1; 32], paid_with: None };
    for committee in [0, 1] {
        let asked: [Result<(), LaneError>; 3] = [
            s.ask::<_, Reclaimed>(&outsider, node, committee, &Reclaim(names())).map(drop),
            s.answered(&outsider, node, committee, &HandBack(names())).map(drop),
            s.ask::<_, Presence>(&outsider, node, committee, &job).map(drop),
        ];
        let strange = asked.map(|result| match result {
            Err(error) => error.to_string().contains("which does not belong there"),
            Ok(()) => false,
        });
        assert_eq!(strange, [committee == 1; 3], "only members ask that at all");
    }
}
