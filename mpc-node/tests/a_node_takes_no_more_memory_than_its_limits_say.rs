//! Memory that others can make a node take: jobs that wait hold nothing of a model, and weights are compared as they come.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;
#[path = "common/counting.rs"]
mod counting;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::upload::ByHand;
use common::{Case, Network, product};
use sahara_mpc::client::{Assignment, JobId, Offer, Rounding, Task, Visibility};
use sahara_mpc::engine::{random_seed, share_inputs};
use sahara_mpc::identity;
use sahara_mpc::lane::Lane;
use sahara_mpc::meter::{Meter, Traffic};
use sahara_mpc::transcript::sign_requests;
use sahara_mpc::wire::Share;

const TIME: Duration = Duration::from_secs(60);

/// One test at a time is counted.
static ALONE: Mutex<()> = Mutex::new(());

/// The most megabytes that this process, with all its nodes, holds at a time beyond what it holds before.
fn peak<R>(work: impl FnOnce() -> R) -> (R, u64) {
    let (result, bytes) = counting::peak(work);
    (result, bytes >> 20)
}

#[test]
fn an_upload_of_64_megabytes_takes_few() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let network = Network::start(|toml| toml);
    let owner = identity::generate().unwrap();
    let model = ByHand::new(&network, &owner, "large", 1, &product([1, 1 << 12, 1 << 12]));
    assert_eq!(model.bytes(1) >> 20, 64);
    let (done, megabytes) = peak(|| model.upload(&network, &owner, 1));
    done.unwrap();
    assert!(megabytes < 16, "{megabytes} MB");
}

/// Begins a job at one evaluator and sends no input.
fn park(network: &Network, case: &Case, task: Task) -> Lane {
    let id = identity::generate().unwrap();
    let first = task.assignment.evaluators()[0];
    let mut lane = Lane::connect(&id, &network.committee, first, TIME, Arc::new(Meter::default())).unwrap();
    lane.begin("in the test", Traffic::Client, TIME);
    let shares = share_inputs(&case.inputs, &random_seed().unwrap()).map(Share);
    let runs = sign_requests(&id, &network.committee.digest(), JobId::random().unwrap(), task, &shares).unwrap();
    lane.send(&runs[0]).unwrap();
    lane
}

#[test]
fn jobs_that_wait_hold_no_weights_and_keep_nobody_out() {
    const CACHE: u64 = 26;
    const PARKED: u64 = 24;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let network =
        Network::start(|toml| toml.replacen("cache_megabytes = 4096", &format!("cache_megabytes = {CACHE}"), 1));
    let client = network.client();
    // Material of 8 MB at each evaluator, and 16 more while it is read: one at a time.
    let case = product([1, 1 << 10, 1 << 10]);
    let tasks: Vec<Task> = (0..4)
        .map(|n| {
            let offer = Offer { name: format!("model-{n}").parse().unwrap(), ..case.offer(Visibility::Private) };
            let sharing = client.share(&offer, &|_, _| ()).unwrap();
            sharing.task(&case.graph, Assignment::ALL[0], Rounding::Exact).unwrap()
        })
        .collect();
    case.run(&client, tasks[0], true).unwrap();
    let (parked, megabytes) = peak(|| {
        let parked: Vec<Lane> = tasks.iter().cycle().take(PARKED as usize).map(|t| park(&network, &case, *t)).collect();
        for task in &tasks {
            assert_eq!(case.run(&client, *task, true).unwrap().outputs, case.expected);
        }
        parked
    });
    drop(parked);
    // Each parked job with its own material would take 192 MB at the first evaluator alone.
    let most = 3 * CACHE + 2 * PARKED + 16;
    assert!(megabytes <= most, "{megabytes} MB of {most}");
}
