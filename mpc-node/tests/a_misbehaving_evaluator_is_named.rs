//! The third node is played by the test: it hangs up, falls silent, or sends what does not belong. The consumer hears
//! which node and in which step, well within the time-out, and the honest nodes serve the next job.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Case, Network, case};
use sahara_mpc::channel::Channel;
use sahara_mpc::client::{Assignment, ClientError, Rounding, Visibility};
use sahara_mpc::committee::Committee;
use sahara_mpc::engine::Seed;
use sahara_mpc::identity::{self, Identity, PublicKey};
use sahara_mpc::lane::{Lane, LaneError};
use sahara_mpc::meter::{Meter, Traffic};
use sahara_mpc::tls::{Admission, server_config};
use sahara_mpc::transcript::{JobRecord, Opening, Session, SignedSeal, Transcript};
use sahara_mpc::wire::{
    Begin, Caller, Deal, FailCode, Kind, Message, OpenJob, OpenReply, PackId, Piece, Presence, Run, Share, SharingReply,
};

const TIME: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Debug)]
enum Act {
    HangUp,
    FallSilent,
    WrongLength,
    WrongKind,
    OversizedFrame,
    SayWhy,
    OtherOpening,
    OtherWindow,
    OtherTranscript,
    NoPack,
}

#[test]
fn hangs_up() {
    let error = provoke(Act::HangUp);
    assert_named(&error, &["node 3", "closed the connection", "in round 3 ("]);
}

#[test]
fn falls_silent() {
    let error = provoke(Act::FallSilent);
    assert_named(&error, &["node 3", "did not answer within 1 s", "in round 3 ("]);
}

#[test]
fn sends_a_frame_of_another_length() {
    let error = provoke(Act::WrongLength);
    assert_named(&error, &["node 3", "sent a Round frame", "in round 3 (", "does not belong"]);
}

#[test]
fn sends_another_kind_of_frame() {
    let error = provoke(Act::WrongKind);
    assert_named(&error, &["node 3", "sent a Chunk frame", "in round 3 ("]);
}

#[test]
fn announces_more_than_is_allowed() {
    let error = provoke(Act::OversizedFrame);
    assert_named(&error, &["node 3", "at most", "in round 3 ("]);
}

#[test]
fn says_why_it_fails() {
    let error = provoke(Act::SayWhy);
    assert_named(&error, &["node 3", "says: the disk burns"]);
}

#[test]
fn signs_another_opening() {
    let error = provoke(Act::OtherOpening);
    assert_named(&error, &["node 3", "signed another opening of the job"]);
}

#[test]
fn signs_another_window() {
    let error = provoke(Act::OtherWindow);
    assert_named(&error, &["node 3", "signed another transcript of the job up to round 16"]);
}

#[test]
fn signs_another_story() {
    let error = provoke(Act::OtherTranscript);
    assert_named(&error, &["node 3", "signed another transcript"]);
}

#[test]
fn has_lost_all_its_packs() {
    let error = provoke(Act::NoPack);
    assert_eq!(error.code(), Some(FailCode::NoPack), "{error}");
}

fn assert_named(error: &ClientError, parts: &[&str]) {
    let text = error.to_string();
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    assert_eq!(error.code(), Some(FailCode::Peer), "{text}");
}

/// Runs a job with a third node that misbehaves, then one with all honest.
fn provoke(act: Act) -> ClientError {
    let mut network = Network::start(|toml| toml.replacen("round = 10", "round = 1", 1));
    network.stop_node(2);
    let case = if act == Act::OtherWindow { common::deep_case() } else { case(11) };
    let rogue = Rogue::start(&network, act);
    let error = run_with_rogue(&network, &case);
    rogue.stop();
    if act != Act::NoPack {
        // The honest evaluator keeps a record of the failed job, signed as far as it came.
        let kept: Vec<JobRecord> = common::files(&network.home(1).join("transcripts"))
            .iter()
            .filter(|path| path.extension().is_some_and(|e| e == "transcript"))
            .map(|path| JobRecord::decode(&std::fs::read(path).unwrap()).unwrap())
            .collect();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].faults(), [""; 0]);
        let why = kept[0].failure.as_deref().unwrap();
        assert!(error.to_string().contains(why), "{error} for {why}");
        assert_eq!(kept[0].other.is_some(), act == Act::OtherTranscript, "what contradicts is kept");
    }

    let client = network.client();
    network.start_node(2);
    let owner = network.client();
    let honest = common::case(12);
    honest.register(&owner, Visibility::Private);
    let answer = honest.run(&client, honest.task(0, Rounding::Exact, Visibility::Private), true).unwrap();
    assert_eq!(answer.outputs, honest.expected);
    error
}

fn run_with_rogue(network: &Network, case: &Case) -> ClientError {
    let client = network.client();
    case.register_for(&client, Visibility::Private, &Assignment::ALL[..1]);
    let task = case.task(0, Rounding::Exact, Visibility::Private);
    client.prepare(&task, 2, &mut |_| ()).unwrap();
    let began = Instant::now();
    let error = case.run(&client, task, false).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    error
}

struct Rogue {
    stop: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    address: String,
    thread: std::thread::JoinHandle<()>,
}

impl Rogue {
    fn start(network: &Network, act: Act) -> Self {
        let committee = network.committee.clone();
        let address = committee.members[2].address.clone();
        let listener = TcpListener::bind(&address).unwrap();
        let identity = Arc::new(identity::load(&network.home(2).join("key")).unwrap());
        let server = server_config(&identity, Admission::Any).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let (run, seals) = Default::default();
        let play = Arc::new(Play { committee: committee.clone(), run, seals });
        let open = Arc::new(Mutex::new(Vec::new()));
        let all = open.clone();
        let thread = std::thread::spawn(move || {
            for tcp in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let tcp: TcpStream = tcp.unwrap();
                let handle = tcp.try_clone().unwrap();
                all.lock().unwrap().push(tcp.try_clone().unwrap());
                let (server, committee, identity) = (server.clone(), committee.clone(), identity.clone());
                let play = play.clone();
                std::thread::spawn(move || {
                    let channel = Channel::accept(tcp, server, TIME).unwrap();
                    let lane = Lane::accept(channel, "caller".into(), &committee, TIME, Arc::new(Meter::default()));
                    let _ = serve(lane.unwrap(), act, &identity, &play);
                    let _ = handle.shutdown(Shutdown::Both);
                });
            }
        });
        Self { stop, open, address, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
        self.thread.join().unwrap();
        for tcp in self.open.lock().unwrap().iter() {
            let _ = tcp.shutdown(Shutdown::Both);
        }
    }
}

/// Plays along until the job's third round.
fn serve(mut lane: Lane, act: Act, identity: &Identity, play: &Play) -> Result<(), LaneError> {
    lane.begin("rogue", Traffic::Setup, TIME);
    loop {
        let (kind, payload) = lane.receive_request(Caller::Member)?;
        match kind {
            Kind::FindSharing => lane.send(&SharingReply::default())?,
            Kind::Begin => {
                Begin::decode(&payload).unwrap();
                lane.send_frame(Kind::GoOn, &[])?;
                while let (Kind::Piece, announced) = lane.receive_one_of(&[Kind::Piece, Kind::Commit])? {
                    lane.receive_stream(Piece::decode(&announced).unwrap().len as usize)?;
                }
                lane.send_frame(Kind::Done, &[])?;
            }
            Kind::Deal => {
                let deal = Deal::decode(&payload).unwrap();
                lane.send_frame(Kind::DealAccept, &[])?;
                lane.receive_stream(deal.corrections as usize)?;
                play.seals.lock().unwrap().push((deal.pack, lane.receive()?));
                lane.send_frame(Kind::DealReady, &[])?;
                lane.receive_frame(Kind::DealCommit)?;
                lane.send_frame(Kind::Done, &[])?;
            }
            Kind::Run => {
                *play.run.lock().unwrap() = Some(Run::decode(&payload).unwrap());
                lane.receive_frame(Kind::Input)?;
                std::thread::sleep(Duration::from_secs(8)); // the consumer is kept waiting
            }
            Kind::AskJob => lane.send(&Presence::Here)?,
            Kind::OpenJob => {
                let open = OpenJob::decode(&payload).unwrap();
                if act == Act::NoPack {
                    lane.send(&OpenReply::NoSuchPack)?;
                    continue;
                }
                return job(&mut lane, &open, act, identity, play);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn job(lane: &mut Lane, open: &OpenJob, act: Act, identity: &Identity, play: &Play) -> Result<(), LaneError> {
    let mut transcript = play.transcript(open, identity);
    let second = Seed::from_bytes([0; 32]);
    transcript.join([&open.secret, &second], open.signature).unwrap();
    let signature = if act == Act::OtherOpening { [1; 64] } else { transcript.signature() };
    lane.send(&OpenReply::Go(second, signature))?;
    for round in 1.. {
        let (kind, frame) = lane.receive_one_of(&[Kind::Round, Kind::Transcript])?;
        if kind == Kind::Transcript {
            let mut end = transcript.finish(&Share(vec![]), identity).record;
            end.heads[0][0] ^= 1;
            lane.send(&end.sign(identity))?;
            continue;
        }
        let front = transcript.checkpoint(identity);
        let opened = &frame[front.map_or(0, |front| front.len())..];
        let answer = vec![0; opened.len()];
        if round < 3 || matches!(act, Act::OtherTranscript | Act::OtherWindow) {
            let front =
                front.map_or(vec![], |front| if act == Act::OtherWindow { vec![1; 64] } else { front.to_vec() });
            lane.send_frame(Kind::Round, &[&front[..], &answer].concat())?;
            transcript.round(&answer, opened);
            continue;
        }
        match act {
            Act::HangUp => return Ok(()),
            Act::FallSilent => std::thread::sleep(Duration::from_secs(8)),
            Act::WrongLength => lane.send_frame(Kind::Round, &vec![0; frame.len() + 4])?,
            Act::WrongKind => lane.send_frame(Kind::Chunk, &answer[..answer.len().min(100)])?,
            // The header alone: the limit is checked before anything is allocated or read.
            Act::OversizedFrame => lane.send_frame(Kind::Input, &vec![0; (64 << 20) + 1])?,
            Act::SayWhy => lane.refuse(FailCode::Internal, "the disk burns"),
            Act::OtherOpening | Act::OtherWindow | Act::OtherTranscript | Act::NoPack => {}
        }
        return Ok(());
    }
    Ok(())
}

/// What the rogue needs to sign what an honest second evaluator would.
struct Play {
    committee: Committee,
    run: Mutex<Option<Run>>,
    seals: Mutex<Vec<(PackId, SignedSeal)>>,
}

impl Play {
    fn transcript(&self, open: &OpenJob, identity: &Identity) -> Transcript {
        let run = loop {
            if let Some(run) = self.run.lock().unwrap().clone() {
                break run;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let seal = self.seals.lock().unwrap().iter().find(|(pack, _)| *pack == open.pack).unwrap().1;
        let key = |i: usize| self.committee.members[i].key;
        let session = Session {
            committee: self.committee.digest(),
            job: open.job,
            pack: open.pack,
            task: open.task,
            consumer: PublicKey(open.consumer),
            evaluators: [key(1), key(2)],
            helper: key(0),
        };
        let opening = Opening { session, inputs: run.inputs, seal: seal.seal };
        let salts = [run.salt.clone(), Seed::from_bytes([0; 32])];
        Transcript::open(opening, 1, [run.signature, seal.signature], salts, identity)
    }
}
