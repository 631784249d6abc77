//! A consumer that hangs up before it has its answer leaves no job behind: what waits is dropped, what runs is given up,
//! and the slot is the next consumer's, long before any time-out.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Network, case};
use sahara_mpc::client::{Client, ClientError, ClientOptions, Rounding, Stop, Task, Visibility};
use sahara_mpc::engine::{Seed, random_seed, share_inputs};
use sahara_mpc::identity::{self, Identity};
use sahara_mpc::lane::Lane;
use sahara_mpc::meter::Traffic;
use sahara_mpc::transcript::sign_requests;
use sahara_mpc::wire::{AskJob, JobId, OpenJob, OpenReply, PackId, Presence, Run, Share};

/// Far above what anything here takes, far below the time that the nodes would wait.
const SOON: Duration = Duration::from_secs(40);

#[test]
fn hung_up_jobs_hold_no_slot_and_are_never_done() {
    let network =
        Network::start(|toml| toml.replacen("round = 10", "round = 100", 1).replacen("jobs = 4", "jobs = 1", 1));
    let owner = network.client();
    let case = case(51);
    case.register(&owner, Visibility::Private);
    let task = case.task(2, Rounding::Exact, Visibility::Private);
    let consumer = Arc::new(identity::generate().unwrap());
    let client = Client::shared(consumer.clone(), network.committee.clone(), ClientOptions::default());
    client.prepare(&task, 6, &mut |_| ()).unwrap();

    let began = Instant::now();
    let shares = share_inputs(&case.inputs, &random_seed().unwrap()).map(Share);
    for _ in 0..3 {
        let [first, second] = task.assignment.evaluators();
        // The first evaluator would wait for the second, the second for the first.
        for (i, node) in [first, second].into_iter().enumerate() {
            let job = JobId::random().unwrap();
            let runs = sign_requests(&consumer, &network.committee.digest(), job, task, &shares).unwrap();
            drop(ask(&network, &consumer, node, &runs[i], &shares[i]));
        }
    }
    assert_eq!(case.run(&client, task, true).unwrap().outputs, case.expected);
    assert!(began.elapsed() < SOON, "the slots were held for {:?}", began.elapsed());
    let status = network.status(&client);
    assert_eq!(status.iter().map(|s| s.jobs_running).sum::<u32>(), 0, "nothing runs");
    let done: u64 = status.iter().map(|s| s.jobs_done).sum();
    assert_eq!(done, 2, "the one job that somebody waited for, at both of its evaluators");
}

fn ask(network: &Network, consumer: &Identity, node: u8, run: &Run, share: &Share) -> Lane {
    let mut lane = Lane::connect(consumer, &network.committee, node, Duration::from_secs(5), Arc::default()).unwrap();
    lane.begin("asking", Traffic::Client, Duration::from_secs(5));
    lane.send(run).unwrap();
    lane.send(share).unwrap();
    lane
}

#[test]
fn a_client_that_was_told_to_stop_asks_for_nothing_more() {
    let network = Network::start(|toml| toml);
    let client = network.client();
    let case = case(52);
    case.register(&client, Visibility::Private);
    let task = case.task(0, Rounding::Exact, Visibility::Private);
    let stop = Stop::default();
    let stoppable = client.until(stop.clone());
    assert_eq!(case.run(&stoppable, task, true).unwrap().outputs, case.expected);
    stop.set();
    let dealt = network.status(&client).map(|s| s.packs_dealt);
    assert!(matches!(stoppable.prepare(&task, 3, &mut |_| ()), Err(ClientError::Stopped)));
    assert!(matches!(case.run(&stoppable, task, true), Err(ClientError::Stopped)));
    assert_eq!(network.status(&client).map(|s| s.packs_dealt), dealt);
    // The flag is that one handle's: others of the same client go on.
    assert_eq!(run(&case, &client, task), case.expected);
}

fn run(case: &common::Case, client: &Client, task: Task) -> Vec<Vec<i32>> {
    case.run(client, task, true).unwrap().outputs
}

/// The first evaluator is played by the test: it opens a job whose consumer has gone in that moment.
#[test]
fn a_pack_is_not_burnt_for_a_consumer_that_has_gone() {
    let network = Network::start(|toml| toml.replacen("pack_memory_megabytes = 1024", "pack_memory_megabytes = 0", 1));
    let client = network.client();
    let case = case(53);
    case.register(&client, Visibility::Private);
    let task = case.task(0, Rounding::Exact, Visibility::Private);
    client.prepare(&task, 1, &mut |_| ()).unwrap();
    let packs = common::files(&network.home(2).join("packs"));
    let name = packs[0].file_stem().unwrap().to_str().unwrap();
    let pack = PackId(sahara_circuits::bytes::unhex(name).unwrap());
    let first = identity::load(&network.home(1).join("key")).unwrap();
    let consumer = identity::generate().unwrap();
    for _ in 0..5 {
        let shares = share_inputs(&case.inputs, &random_seed().unwrap()).map(Share);
        let job = JobId::random().unwrap();
        let runs = sign_requests(&consumer, &network.committee.digest(), job, task, &shares).unwrap();
        let asker = ask(&network, &consumer, 2, &runs[1], &shares[1]);
        let mut lane = Lane::connect(&first, &network.committee, 2, Duration::from_secs(5), Arc::default()).unwrap();
        lane.begin("opening", Traffic::Online, SOON);
        let question = AskJob { job, task, consumer: consumer.public().0, paid_with: None };
        while {
            lane.send(&question).unwrap();
            lane.receive::<Presence>().unwrap() != Presence::Here
        } {}
        drop(asker);
        let (held, secret) = (vec![pack], Seed::from_bytes([0; 32]));
        let consumer = consumer.public().0;
        lane.send(&OpenJob { job, task, consumer, pack, held, secret, signature: [0; 64], paid_with: None }).unwrap();
        assert!(matches!(lane.receive().unwrap(), OpenReply::Gone));
    }
    assert_eq!(network.status(&client).map(|status| status.packs_for(&task)), [0, 1, 1]);
    assert_eq!(case.run(&client, task, false).unwrap().outputs, case.expected);
}
