//! Jobs over real sockets give the reference's integers, in every assignment and both visibilities.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use common::{Network, case};
use sahara_mpc::client::{Rounding, Visibility};
use sahara_mpc::wire::FailCode;

#[test]
fn every_assignment_and_visibility() {
    let network = Network::start(|toml| toml);
    let client = network.client();
    for (seed, visibility) in [(1, Visibility::Private), (2, Visibility::Open), (3, Visibility::Private)] {
        let case = case(seed);
        case.register(&client, visibility);
        for helper in 0..3 {
            let task = case.task(helper, Rounding::Exact, visibility);
            let mut done = Vec::new();
            client.prepare(&task, 2, &mut |n| done.push(n)).unwrap();
            assert_eq!(done, [1, 2]);
            for _ in 0..2 {
                let answer = case.run(&client, task, false).unwrap();
                assert_eq!(answer.outputs, case.expected);
                assert!(!answer.stats.prepared);
                assert!(answer.transcripts[0].agrees_with(&answer.transcripts[1]));
                assert_eq!(answer.stats.rounds, answer.transcripts[0].record.rounds);
            }
            let error = case.run(&client, task, false).unwrap_err();
            assert_eq!(error.code(), Some(FailCode::NoPack), "{error}");
            let answer = case.run(&client, task, true).unwrap();
            assert_eq!(answer.outputs, case.expected);
            assert!(answer.stats.prepared);
        }
    }
    let status = network.status(&client);
    assert!(status.iter().all(|s| s.jobs_failed == 0 && s.ready && s.packs.is_empty()), "{status:?}");
    // Each of the 9 tasks ran 3 jobs well, on two evaluators each.
    assert_eq!(status.iter().map(|s| s.jobs_done).sum::<u64>(), 9 * 3 * 2);
    assert!(status.iter().all(|s| s.sent.offline > 0 && s.received.online > 0 && s.received.client > 0));
    // What one end sent, another received (but for a frame that came in one piece with the greeting before it).
    let online = |f: fn(&sahara_mpc::client::NodeStatus) -> u64| status.iter().map(f).sum::<u64>();
    let (sent, received) = (online(|s| s.sent.online), online(|s| s.received.online));
    assert!(sent.abs_diff(received) < sent / 100, "{sent} {received}");
    assert!(
        common::files(network.dir.path()).iter().all(|f| f.extension().is_none_or(|e| e != "pack" && e != "taken"))
    );
}

#[test]
fn a_restarted_network_still_serves() {
    let mut network = Network::start(|toml| toml);
    let client = network.client();
    let case = case(4);
    case.register(&client, Visibility::Private);
    let task = case.task(1, Rounding::Exact, Visibility::Private);
    client.prepare(&task, 2, &mut |_| ()).unwrap();
    assert_eq!(case.run(&client, task, false).unwrap().outputs, case.expected);
    for i in 0..3 {
        network.stop_node(i);
        network.start_node(i);
    }
    // The helper was started anew, so the pack that was left is void.
    assert_eq!(case.run(&client, task, false).unwrap_err().code(), Some(FailCode::NoPack));
    assert_eq!(case.run(&client, task, true).unwrap().outputs, case.expected);
    for i in [0, 2] {
        client.prepare(&task, 1, &mut |_| ()).unwrap();
        network.stop_node(i);
        network.start_node(i);
        assert_eq!(case.run(&client, task, false).unwrap().outputs, case.expected, "only an evaluator was");
    }
}

#[test]
fn many_jobs_at_once() {
    let network = Network::start(|toml| toml);
    let client = network.client();
    let case = case(5);
    case.register(&client, Visibility::Private);
    std::thread::scope(|scope| {
        for i in 0..12 {
            let (client, case) = (&client, &case);
            scope.spawn(move || {
                let task = case.task(i % 3, Rounding::Exact, Visibility::Private);
                assert_eq!(case.run(client, task, true).unwrap().outputs, case.expected);
            });
        }
    });
}
