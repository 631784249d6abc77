//! What a job uses up, and when: nothing if only one evaluator was asked; one pack otherwise, also when many ask at once, a
//! file is damaged, or packs have grown old.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Case, Network, case, files};
use sahara_mpc::client::{Client, JobId, Rounding, Task, Visibility};
use sahara_mpc::engine::{random_seed, share_inputs};
use sahara_mpc::identity;
use sahara_mpc::lane::Lane;
use sahara_mpc::meter::{Meter, Traffic};
use sahara_mpc::transcript::sign_requests;
use sahara_mpc::wire::{FailCode, Kind, Share};

const TIME: Duration = Duration::from_secs(20);

fn setting(seed: u64, edit: impl Fn(String) -> String) -> (Network, Client, Case, Task) {
    let network = Network::start(edit);
    let client = network.client();
    let case = case(seed);
    case.register(&client, Visibility::Private);
    let task = case.task(0, Rounding::Exact, Visibility::Private);
    (network, client, case, task)
}

/// Asks one node for its half of a job that nobody else hears of.
fn ask_one(network: &Network, case: &Case, task: Task, node: u8) -> Lane {
    let id = identity::generate().unwrap();
    let mut lane = Lane::connect(&id, &network.committee, node, TIME, Arc::new(Meter::default())).unwrap();
    lane.begin("in the test", Traffic::Client, TIME);
    let shares = share_inputs(&case.inputs, &random_seed().unwrap()).map(Share);
    let job = JobId::random().unwrap();
    let runs = sign_requests(&id, &network.committee.digest(), job, task, &shares).unwrap();
    let evaluator = usize::from(node != task.assignment.evaluators()[0]);
    lane.send(&runs[evaluator]).unwrap();
    lane.send(&shares[evaluator]).unwrap();
    lane
}

#[test]
fn half_asked_jobs_burn_no_pack_hold_no_slot_and_end_soon() {
    let (network, client, case, task) = setting(1, |toml| toml.replacen("meet = 2", "meet = 1", 1));
    client.prepare(&task, 2, &mut |_| ()).unwrap();
    let began = Instant::now();
    let half: Vec<_> = (0..24).map(|n| ask_one(&network, &case, task, 1 + n % 2)).collect();
    // Four slots, two packs: an honest job is not concerned.
    case.run(&client, task, false).unwrap();
    for (mut lane, n) in half.into_iter().zip(0..) {
        let error = lane.receive_frame(Kind::RunReply).unwrap_err();
        let fail = error.fail().unwrap();
        assert_eq!(fail.code, FailCode::Refused, "{error}");
        let other = if n % 2 == 0 { "node 3 (" } else { "node 2 (" };
        assert!(fail.text.starts_with(other) && fail.text.contains("was not asked"), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let ready: Vec<u32> = network.status(&client).iter().map(|s| s.packs_for(&task)).collect();
    assert_eq!(ready, [0, 1, 1], "only the honest job used a pack");
}

#[test]
fn jobs_that_run_at_the_same_time_each_get_a_pack() {
    let (network, client, case, task) = setting(5, |toml| toml);
    client.prepare(&task, 3, &mut |_| ()).unwrap();
    let mut packs = HashSet::new();
    for _ in 0..3 {
        let answers: Vec<_> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| case.run(&client, task, true))).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for answer in answers {
            let answer = answer.unwrap();
            assert_eq!(answer.outputs, case.expected);
            assert!(packs.insert(answer.transcripts[0].record.opening.session.pack));
        }
    }
    assert_eq!(packs.len(), 24);
    drop(network);
}

#[test]
fn damaged_files_are_lone_halves_and_the_next_pack_serves() {
    for node in [1, 2] {
        let on_disk = |toml: String| toml.replacen("pack_memory_megabytes = 1024", "pack_memory_megabytes = 0", 1);
        let (network, client, case, task) = setting(6, on_disk);
        client.prepare(&task, 3, &mut |_| ()).unwrap();
        let packs = files(&network.home(node).join("packs"));
        assert_eq!(packs.len(), 3);
        for pack in &packs[..2] {
            let mut bytes = fs::read(pack).unwrap();
            let middle = bytes.len() - 40;
            bytes[middle] ^= 1;
            fs::write(pack, bytes).unwrap();
        }
        assert_eq!(case.run(&client, task, false).unwrap().outputs, case.expected);
        assert_eq!(case.run(&client, task, false).unwrap_err().code(), Some(FailCode::NoPack));
        assert!(files(&network.home(node).join("packs")).is_empty());
    }
}

#[test]
fn an_evaluator_without_room_is_asked_before_anything_is_dealt() {
    let (network, client, _, task) = setting(7, |toml| toml.replacen("\npacks = 64", "\npacks = 2", 1));
    client.prepare(&task, 2, &mut |_| ()).unwrap();
    let before = network.status(&client);
    let error = client.prepare(&task, 1, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("limits.packs"), "{error}");
    let after = network.status(&client);
    let dealt = after[0].sent.offline - before[0].sent.offline;
    assert_eq!(after[0].packs_dealt, before[0].packs_dealt);
    assert!(dealt < 2000, "{dealt} bytes were sent for a pack that nobody has room for");
}
