//! Two committees that overlap in two nodes: both answer at the same time, with masks of their own; what protects the machine
//! is one for both; a restart keeps both, and who leaves one keeps the other.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;
#[path = "common/four.rs"]
mod four;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Case, case};
use four::{BOTH, Four, TURNED};
use sahara_mpc::client::{Assignment, Client, Consumers, Job, OwnerKey, Rounding, Sharing, Task, Visibility};
use sahara_mpc::doctor::{Level, examine};
use sahara_mpc::engine::{Seed, mask_weights};
use sahara_mpc::identity;
use sahara_mpc::lane::Lane;
use sahara_mpc::manifest::{AccessList, AccessRule, Manifest, Shares, layout_digest};
use sahara_mpc::models::PartHeader;
use sahara_mpc::wire::FailCode;

/// The model of a case, shared with both committees by one owner under one name.
fn share(four: &Four, case: &Case) -> ([Client; 2], [Sharing; 2]) {
    let owner = Arc::new(identity::generate().unwrap());
    let clients = [0, 1].map(|committee| four.client_of(&owner, committee));
    let sharings = clients.each_ref().map(|client| client.share(&case.offer(Visibility::Private), &|_, _| ()).unwrap());
    let [one, two] = sharings.each_ref().map(|sharing| sharing.manifest().sharing());
    assert_eq!(one, two, "one owner, one name");
    assert_ne!(sharings[0].id(), sharings[1].id());
    (clients, sharings)
}

fn task(case: &Case, sharing: &Sharing, helper: u8) -> Task {
    sharing.task(&case.graph, Assignment::new(helper).unwrap(), Rounding::Exact).unwrap()
}

fn answers(case: &Case, client: &Client, task: Task) {
    let answer = client.infer(&Job { graph: &case.graph, task, inputs: &case.inputs, auto_prepare: true }).unwrap();
    assert_eq!(answer.outputs, case.expected);
    for record in &answer.transcripts {
        assert_eq!(record.record.opening.session.committee, client.committee().digest());
    }
}

#[test]
fn both_answer_equal_to_the_reference_at_the_same_time_and_count_their_own_jobs() {
    let four = Four::start(TURNED, |toml| toml);
    let case = case(41);
    let (clients, sharings) = share(&four, &case);
    std::thread::scope(|scope| {
        for (client, sharing) in clients.iter().zip(&sharings) {
            for helper in 0..3 {
                let case = &case;
                scope.spawn(move || (0..2).for_each(|_| answers(case, client, task(case, sharing, helper))));
            }
        }
    });
    answers(&case, &clients[1], task(&case, &sharings[1], 0));
    let done = clients.each_ref().map(|client| {
        let told = client.status().into_iter().map(|status| status.unwrap());
        told.map(|status| (status.jobs_done, status.packs_dealt)).collect::<Vec<_>>()
    });
    assert_eq!(done, [vec![(4, 2); 3], vec![(4, 3), (5, 2), (5, 2)]], "each committee its own jobs and packs");
    assert!(clients.iter().all(|client| client.sharings().unwrap().sharings.len() == 1));
}

/// What a node keeps of private weights in a folder, without the front: for each helper.
fn parts(folder: &Path, sharing: &Sharing) -> Vec<Vec<u8>> {
    let version = folder.join("sharings").join(sharing.id().to_string());
    (0..3).map(|helper| fs::read(version.join(format!("part-{helper}"))).unwrap()[PartHeader::LEN..].to_vec()).collect()
}

#[test]
fn no_mask_is_in_both_committees() {
    let four = Four::start(TURNED, |toml| toml);
    let case = case(42);
    let (_, sharings) = share(&four, &case);
    for node in BOTH {
        let of: Vec<_> = (0..2).map(|c| (four.number(node, c), parts(&four.folder(node, c), &sharings[c]))).collect();
        let (mut words, mut seeds) = (HashSet::new(), HashSet::new());
        for (number, parts) in of {
            for (helper, part) in (0..).zip(&parts) {
                let (front, masked) = part.split_at(if helper == number { 64 } else { 32 });
                assert_eq!(masked.is_empty(), helper == number, "a helper has the seeds alone");
                for seed in front.chunks(32) {
                    assert!(seeds.insert(seed.to_vec()), "a seed is used twice");
                }
                for (at, word) in masked.chunks(4).enumerate() {
                    assert!(words.insert((at, word.to_vec())), "a masked weight is the same twice");
                }
            }
        }
        assert_eq!(seeds.len(), 8);
    }
}

#[test]
fn the_same_seeds_give_other_masks_in_another_committee() {
    let case = case(42);
    let owner = identity::generate().unwrap();
    let masked = [[1; 32], [2; 32]].map(|committee| {
        let manifest = Manifest {
            owner: OwnerKey::Ed25519(owner.public()),
            name: "model".parse().unwrap(),
            version: 1,
            weights_root: case.graph.weights_root,
            layout: layout_digest(&case.graph),
            graphs: vec![case.graph.id()],
            committee,
            shares: Shares::Private(Vec::new()),
            client_part: None,
            access: AccessRule::Keys(AccessList { serial: 1, consumers: Consumers::Everyone }),
            noise: None,
        };
        let seeds = [[3; 32], [4; 32]].map(Seed::from_bytes);
        mask_weights(&case.weights, &manifest.masks(Assignment::ALL[0]), &seeds[0], &seeds[1])
    });
    assert_eq!(masked[0].iter().zip(&masked[1]).filter(|(a, b)| a == b).count(), 0);
}

#[test]
fn a_key_gets_no_more_by_asking_in_two_committees() {
    let four = Four::start(TURNED, |toml| {
        let toml = toml.replacen("owner_sharings = 64", "owner_sharings = 1", 1);
        toml.replacen("lanes_per_key = 64", "lanes_per_key = 2", 1)
    });
    let case = case(43);
    let owner = Arc::new(identity::generate().unwrap());
    let clients = [0, 1].map(|committee| four.client_of(&owner, committee));
    clients[0].share(&case.offer(Visibility::Private), &|_, _| ()).unwrap();
    let error = clients[1].share(&case.offer(Visibility::Private), &|_, _| ()).unwrap_err();
    assert!(error.code() == Some(FailCode::Refused) && error.to_string().contains("limits.owner_sharings"), "{error}");

    // Two lanes of a key at a node, of whichever committee: the one that is idle for longest makes room.
    let (who, node) = (identity::generate().unwrap(), BOTH[0]);
    let lane = |committee: usize| {
        let number = four.number(node, committee);
        Lane::connect(&who, &four.committees[committee], number, Duration::from_secs(5), Arc::default()).unwrap()
    };
    let mut first = lane(0);
    std::thread::sleep(Duration::from_millis(50)); // until it rests
    let mut second = lane(1);
    std::thread::sleep(Duration::from_millis(50));
    assert!(first.is_idle() && second.is_idle());
    let third = lane(1);
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while !first.has_hung_up() && std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(first.has_hung_up() && !second.has_hung_up() && !third.has_hung_up());
}

#[test]
fn a_restart_keeps_both() {
    let mut four = Four::start(TURNED, |toml| toml);
    let case = case(44);
    let (clients, sharings) = share(&four, &case);
    // The helpers run on: node 1 in the first committee, node 4 in the second.
    let tasks = [task(&case, &sharings[0], 0), task(&case, &sharings[1], 1)];
    for (client, task) in clients.iter().zip(&tasks) {
        client.prepare(task, 2, &mut |_| ()).unwrap();
    }
    for node in BOTH {
        four.stop_node(node);
        for committee in 0..2 {
            let packs = common::files(&four.folder(node, committee).join("packs"));
            assert_eq!(packs.len(), 2, "each in its own folder");
        }
    }
    BOTH.into_iter().for_each(|node| four.start_node(node));
    for ((client, task), sharing) in clients.iter().zip(&tasks).zip(&sharings) {
        for _ in 0..2 {
            assert_eq!(case.run(client, *task, false).unwrap().outputs, case.expected, "with a pack of before");
        }
        assert_eq!(case.run(client, *task, false).unwrap_err().code(), Some(FailCode::NoPack));
        (0..3).for_each(|helper| answers(&case, client, self::task(&case, sharing, helper)));
    }
    (0..4).for_each(|node| four.stop_node(node));
    (0..4).for_each(|node| four.start_node(node));
    for (client, sharing) in clients.iter().zip(&sharings) {
        (0..3).for_each(|helper| answers(&case, client, self::task(&case, sharing, helper)));
        let id = client.find(&sahara_mpc::client::SharingRef::Manifest(sharing.id())).unwrap().unwrap().id();
        assert_eq!(id, sharing.id());
    }
}

#[test]
fn who_leaves_one_committee_keeps_the_other() {
    for stays in 0..2 {
        let mut four = Four::start(TURNED, |toml| toml);
        let case = case(45);
        let (clients, sharings) = share(&four, &case);
        let leaves = 1 - stays;
        four.stop_node(BOTH[0]);
        four.serve(BOTH[0], &[stays == 0, stays == 1]);
        four.start_node(BOTH[0]);
        (0..3).for_each(|helper| answers(&case, &clients[stays], task(&case, &sharings[stays], helper)));
        // The other one lacks a node, and says which: the node does not say that it knows the committee.
        let stranger = four.client_of(&Arc::new(identity::generate().unwrap()), leaves);
        let number = four.number(BOTH[0], leaves);
        let error = stranger.node_status(number).unwrap_err();
        assert!(error.is_other_committee(), "{error}");
        assert!(error.to_string().contains(&format!("node {}", number + 1)), "{error}");
        assert!(stranger.node_status((number + 1) % 3).is_ok(), "the others stay");
        let findings = examine(&four.home(BOTH[0]));
        let left: Vec<_> = findings.iter().filter(|finding| finding.what == "folders").collect();
        assert_eq!(left.len(), [3, 1][leaves], "the first has those of the home, the second one of its own: {left:?}");
        assert!(findings.iter().all(|finding| finding.level != Level::Problem), "{findings:?}");
        // It comes back, with what it had.
        four.stop_node(BOTH[0]);
        four.serve(BOTH[0], &[true, true]);
        four.start_node(BOTH[0]);
        for (client, sharing) in clients.iter().zip(&sharings) {
            (0..3).for_each(|helper| answers(&case, client, task(&case, sharing, helper)));
        }
    }
}
