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
use sahara_mpc::engine::{JobSecret, Seed};
use sahara_mpc::identity::{self, Identity};
use sahara_mpc::lane::{Lane, LaneError};
use sahara_mpc::meter::{Meter, Traffic};
use sahara_mpc::tls::{Admission, server_config};
use sahara_mpc::transcript::{Session, Transcript};
use sahara_mpc::wire::{
    Begin, Caller, Deal, FailCode, Kind, Message, OpenJob, OpenReply, PackId, Piece, Presence, SharingReply,
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
    let case = case(11);
    let rogue = Rogue::start(&network, act);
    let error = run_with_rogue(&network, &case);
    rogue.stop();

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
                std::thread::spawn(move || {
                    let channel = Channel::accept(tcp, server, TIME).unwrap();
                    let lane = Lane::accept(channel, "caller".into(), &committee, TIME, Arc::new(Meter::default()));
                    let keys = [1, 2].map(|i| committee.members[i as usize].key);
                    let _ = serve(lane.unwrap(), act, &identity, keys);
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
fn serve(
    mut lane: Lane,
    act: Act,
    identity: &Identity,
    evaluators: [sahara_mpc::identity::PublicKey; 2],
) -> Result<(), LaneError> {
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
                lane.send_frame(Kind::DealReady, &[])?;
                lane.receive_frame(Kind::DealCommit)?;
                lane.send_frame(Kind::Done, &[])?;
            }
            Kind::Run => {
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
                return job(&mut lane, &open, act, identity, evaluators);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn job(
    lane: &mut Lane,
    open: &OpenJob,
    act: Act,
    identity: &Identity,
    evaluators: [sahara_mpc::identity::PublicKey; 2],
) -> Result<(), LaneError> {
    lane.send(&OpenReply::Go(Seed::from_bytes([0; 32])))?;
    for round in 1.. {
        let (kind, frame) = lane.receive_one_of(&[Kind::Round, Kind::Transcript])?;
        if kind == Kind::Transcript {
            let session = Session { job: open.job, pack: PackId([7; 16]), task: open.task, evaluators };
            lane.send(&Transcript::new(session, 1, &JobSecret::from_bytes([0; 32])).sign(identity))?;
            continue;
        }
        let answer = vec![0; frame.len()];
        if round < 3 || act == Act::OtherTranscript {
            lane.send_frame(Kind::Round, &answer)?;
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
            Act::OtherTranscript | Act::NoPack => {}
        }
        return Ok(());
    }
    Ok(())
}
