//! The records that real nodes keep: they fit together, name everybody, blame nobody; a job's name is used once, and
//! what a consumer signs is what it sends.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Network, case, deep_case, files};
use sahara_mpc::client::{Client, ClientOptions, Rounding, Task, Visibility};
use sahara_mpc::engine::{Seed, share_inputs};
use sahara_mpc::identity::{self, Identity};
use sahara_mpc::lane::Lane;
use sahara_mpc::meter::{Meter, Traffic};
use sahara_mpc::transcript::{DealtRecord, JobRecord, Openings, WINDOW, input_commitment, request_digest, verify};
use sahara_mpc::wire::{JobId, Kind, Run, Share};

fn read<T>(dir: &Path, extension: &str, decode: impl Fn(&[u8]) -> T) -> Vec<T> {
    let all = files(&dir.join("transcripts")).into_iter().filter(|p| p.extension().is_some_and(|e| e == extension));
    all.map(|path| decode(&std::fs::read(path).unwrap())).collect()
}

#[test]
fn both_records_and_the_helpers_agree_and_name_everybody() {
    let mut network = Network::start(|toml| toml);
    let client = network.client();
    let case = deep_case();
    case.register(&client, Visibility::Private);
    let task = case.task(0, Rounding::Exact, Visibility::Private);
    let answer = case.run(&client, task, true).unwrap();
    assert_eq!(answer.outputs, case.expected);
    // A node keeps the record after it has answered.
    for index in 0..3 {
        network.stop_node(index);
    }
    let records: Vec<JobRecord> =
        [1, 2].iter().flat_map(|i| read(&network.home(*i), "transcript", |b| JobRecord::decode(b).unwrap())).collect();
    assert_eq!(records.len(), 2);
    assert!(answer.stats.rounds > WINDOW, "both signed in between");
    let dealt = read(&network.home(0), "dealt", |b| DealtRecord::decode(b).unwrap());
    let of_the_job = dealt.iter().find(|d| d.pack == records[0].end.record.opening.session.pack).unwrap();
    let verdict = verify([&records[0], &records[1]], Some(of_the_job)).unwrap();
    assert!(verdict.agree, "{verdict:?}");
    assert_eq!(verdict.rounds, [answer.stats.rounds; 2]);
    assert_eq!(verdict.signed_by_both, answer.stats.rounds);

    for (index, record) in records.iter().enumerate() {
        let session = record.end.record.opening.session;
        let keys = [0, 1, 2].map(|i: usize| network.committee.members()[i].key);
        assert_eq!((session.job, session.task), (answer.job, task));
        assert_eq!((session.evaluators, session.helper), ([keys[1], keys[2]], keys[0]));
        assert_eq!(session.committee, network.committee.digest());
        assert_eq!(record.end, answer.transcripts[index], "the consumer holds the same end");
        assert_eq!(record.checkpoints.len() as u32, (answer.stats.rounds - 1) / 16);
        let openings = read(&network.home(1 + index), "openings", |b| Openings::decode(b).unwrap());
        assert_eq!(openings.len(), 1);
        assert_eq!(openings[0].secret.commitment(), record.end.record.secret);
    }
}

struct Asker<'a> {
    network: &'a Network,
    identity: Arc<Identity>,
    task: Task,
    shares: [Share; 2],
}

impl Asker<'_> {
    /// Asks the second evaluator alone; what it says.
    fn ask(&self, job: JobId, change: impl Fn(&mut Run)) -> String {
        let committee = &self.network.committee;
        let salt = Seed::from_bytes([5; 32]);
        let inputs = [0, 1].map(|i| input_commitment(salt.as_bytes(), i, &self.shares[i]));
        let signature = self.identity.sign(&request_digest(&committee.digest(), &job, &self.task, &inputs));
        let mut run = Run { job, task: self.task, inputs, salt, signature, voucher: Vec::new() };
        change(&mut run);
        let timeout = Duration::from_secs(20);
        let mut lane = Lane::connect(&self.identity, committee, 2, timeout, Arc::new(Meter::default())).unwrap();
        lane.begin("asking", Traffic::Client, timeout);
        lane.send(&run).unwrap();
        // A node that refuses the request may not read the share any more.
        let _ = lane.send(&self.shares[1]);
        lane.receive_frame(Kind::RunReply).unwrap_err().to_string()
    }
}

#[test]
fn a_job_is_asked_for_once_and_exactly_as_it_was_signed() {
    let mut network = Network::start(|toml| toml.replacen("round = 10", "round = 1", 1));
    let identity = Arc::new(identity::load(&network.dir.path().join("consumer")).unwrap_or_else(|_| {
        let identity = identity::generate().unwrap();
        identity.save(&network.dir.path().join("consumer")).unwrap();
        identity
    }));
    let client = Client::shared(identity.clone(), network.committee.clone(), ClientOptions::default());
    let case = case(11);
    case.register(&client, Visibility::Private);
    let task = case.task(0, Rounding::Exact, Visibility::Private);
    let shares = share_inputs(&case.inputs, &Seed::from_bytes([3; 32])).map(Share);
    let asker = Asker { network: &network, identity: identity.clone(), task, shares: shares.clone() };

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32;
    let job = JobId([1; 16]).of(now);
    let unsigned = asker.ask(job, |run| run.signature[0] ^= 1);
    assert!(unsigned.contains("not signed by the key that sends it"), "{unsigned}");
    let renamed = asker.ask(job, |run| run.job = JobId([2; 16]).of(now));
    assert!(renamed.contains("not signed by the key that sends it"), "{renamed}");
    // A name that the node may have forgotten, and one that it would have to remember for ever.
    for (at, side) in [(now - 7200, "behind"), (now + 120, "ahead of")] {
        let other_time = asker.ask(job.of(at), |_| ());
        assert!(other_time.contains(&format!("s {side} this node's clock")), "{other_time}");
    }
    let swapped = asker.ask(job, |run| run.salt = Seed::from_bytes([6; 32]));
    assert!(swapped.contains("not the one that the request names"), "{swapped}");
    // The first evaluator was never asked, so the job fails; its name is used up only once both have met.
    for _ in 0..2 {
        let alone = asker.ask(job, |_| ());
        assert!(alone.contains("was not asked for the job"), "{alone}");
    }
    let answer = case.run(&client, task, true).unwrap();
    let again = asker.ask(answer.job, |_| ());
    assert!(again.contains("was asked for before"), "{again}");
    drop(asker);

    network.stop_node(2);
    network.start_node(2);
    let asker = Asker { network: &network, identity, task, shares };
    let after = asker.ask(answer.job, |_| ());
    assert!(after.contains("was asked for before"), "after a restart: {after}");
    assert_eq!(case.run(&client, task, true).unwrap().outputs, case.expected);
}
