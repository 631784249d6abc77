//! The third node is played by the test: it hangs up, falls silent, or sends what does not belong. The consumer hears
//! which node and in which step, well within the time-out, and the honest nodes serve the next job.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::rogue::{self, Rogue};
use common::{Case, Network, case};
use sahara_mpc::client::{Assignment, ClientError, Rounding, Visibility};
use sahara_mpc::committee::Committee;
use sahara_mpc::engine::Seed;
use sahara_mpc::identity::{Identity, PublicKey};
use sahara_mpc::lane::{Lane, LaneError};
use sahara_mpc::transcript::{JobRecord, Opening, Session, SignedRecord, SignedSeal, Transcript};
use sahara_mpc::wire::{
    Begin, Caller, Complete, Deal, FailCode, JobFigures, Kind, Message, OpenJob, OpenReply, PackId, Piece, Presence,
    Run, RunReply, Share, SharingReply,
};

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
    // Towards the consumer alone, after a job in good order:
    AnswersOtherwise,
    AnswersShorter,
    SignsAnotherJob,
    SignsAnotherEnd,
    SignsNothing,
    GivesAReceipt,
}

impl Act {
    /// The other evaluator sees nothing of it.
    fn is_towards_the_consumer(self) -> bool {
        use Act::{AnswersOtherwise, AnswersShorter, GivesAReceipt, SignsAnotherEnd, SignsAnotherJob, SignsNothing};
        [AnswersOtherwise, AnswersShorter, SignsAnotherEnd, SignsAnotherJob, SignsNothing, GivesAReceipt]
            .contains(&self)
    }
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

#[test]
fn gives_the_consumer_another_answer_than_it_signed() {
    assert_refused(Act::AnswersOtherwise, "gave another answer than it signed");
}

#[test]
fn gives_the_consumer_an_answer_of_another_shape() {
    assert_refused(Act::AnswersShorter, "output shares have wrong shapes");
}

#[test]
fn gives_the_consumer_the_end_of_another_job() {
    assert_refused(Act::SignsAnotherJob, "signed the transcript of another job");
}

#[test]
fn gives_the_consumer_another_end_than_the_other_evaluator() {
    assert_refused(Act::SignsAnotherEnd, "transcripts of the job do not agree");
}

#[test]
fn gives_the_consumer_an_end_that_it_did_not_sign() {
    assert_refused(Act::SignsNothing, "sent a transcript with a wrong signature");
}

#[test]
fn gives_the_consumer_a_receipt_for_what_nobody_paid() {
    assert_refused(Act::GivesAReceipt, "a receipt for a job that nobody paid");
}

fn assert_refused(act: Act, say: &str) {
    let error = provoke(act);
    assert!(matches!(error, ClientError::Answer(_)) && error.to_string().contains(say), "{error}");
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
    let identity = rogue::key(&network, 2);
    let lengths = case.expected.iter().map(Vec::len).collect();
    let committee = network.committee.clone();
    let play = Play { committee, lengths, run: Mutex::default(), seals: Mutex::default(), end: Mutex::default() };
    let rogue = Rogue::start(&network, 2, move |lane| drop(serve(lane, act, &identity, &play)));
    let error = run_with_rogue(&network, &case);
    rogue.stop();
    if act != Act::NoPack && !act.is_towards_the_consumer() {
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

/// Plays along until the job's third round.
fn serve(mut lane: Lane, act: Act, identity: &Identity, play: &Play) -> Result<(), LaneError> {
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
                if act.is_towards_the_consumer() {
                    lane.send(&play.reply(act, identity))?;
                    continue;
                }
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
        if kind == Kind::Transcript && act.is_towards_the_consumer() {
            let end = transcript.finish(&play.answer(), identity);
            *play.end.lock().unwrap() = Some((end, transcript.output_salt().clone()));
            lane.send(&end)?;
            continue;
        }
        if kind == Kind::Transcript {
            let mut end = transcript.finish(&Share(vec![]), identity).record;
            end.heads[0][0] ^= 1;
            lane.send(&end.sign(identity))?;
            continue;
        }
        let front = transcript.checkpoint(identity);
        let opened = &frame[front.map_or(0, |front| front.len())..];
        let answer = vec![0; opened.len()];
        if round < 3 || matches!(act, Act::OtherTranscript | Act::OtherWindow) || act.is_towards_the_consumer() {
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
            _ => {}
        }
        return Ok(());
    }
    Ok(())
}

/// What the rogue needs to sign what an honest second evaluator would.
struct Play {
    committee: Committee,
    /// Of the outputs.
    lengths: Vec<usize>,
    run: Mutex<Option<Run>>,
    seals: Mutex<Vec<(PackId, SignedSeal)>>,
    end: Mutex<Option<(SignedRecord, Seed)>>,
}

impl Play {
    /// Its share of the answer, as far as it is honest.
    fn answer(&self) -> Share {
        Share(self.lengths.iter().map(|len| vec![7; *len]).collect())
    }

    /// What it tells the consumer.
    fn reply(&self, act: Act, identity: &Identity) -> RunReply {
        let (mut end, salt) = soon(&self.end);
        let mut outputs = self.answer();
        match act {
            Act::AnswersOtherwise => outputs.0[0][0] += 1,
            Act::AnswersShorter => drop(outputs.0[0].pop()),
            Act::SignsAnotherJob => {
                end.record.opening.session.job.0[15] ^= 1;
                end = end.record.sign(identity);
            }
            Act::SignsAnotherEnd => {
                end.record.heads[1][0] ^= 1;
                end = end.record.sign(identity);
            }
            Act::GivesAReceipt => {}
            _ => end.signature[0] ^= 1,
        }
        let complete = Complete { receipt: vec![1], signatures: [[2; 64]; 3] };
        let complete = Some(complete).filter(|_| act == Act::GivesAReceipt);
        RunReply { figures: JobFigures::default(), transcript: end.encode(), salt, outputs, complete }
    }

    fn transcript(&self, open: &OpenJob, identity: &Identity) -> Transcript {
        let run = soon(&self.run);
        let seal = self.seals.lock().unwrap().iter().find(|(pack, _)| *pack == open.pack).unwrap().1;
        let key = |i: usize| self.committee.members()[i].key;
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

/// What another lane will bring.
fn soon<T: Clone>(place: &Mutex<Option<T>>) -> T {
    loop {
        if let Some(value) = place.lock().unwrap().clone() {
            return value;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
