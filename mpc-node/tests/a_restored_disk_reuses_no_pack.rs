//! Unused packs survive a clean stop, and no pack is used a second time though the disks of all three nodes are put back to
//! an earlier state.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::collections::HashSet;
use std::fs;

use common::{Case, Network, case, copy_folder, files};
use sahara_mpc::client::{Client, Rounding, Task, Visibility};
use sahara_mpc::wire::{FailCode, PackId};

struct Setting {
    network: Network,
    client: Client,
    case: Case,
    task: Task,
    used: HashSet<PackId>,
}

impl Setting {
    fn new(edit: impl Fn(String) -> String) -> Self {
        let network = Network::start(edit);
        let client = network.client();
        let case = case(23);
        case.register(&client, Visibility::Private);
        let task = case.task(0, Rounding::Exact, Visibility::Private);
        Self { network, client, case, task, used: HashSet::new() }
    }

    /// Runs jobs on the packs that are there until there is none; says how many ran.
    fn use_up(&mut self, most: usize) -> usize {
        for done in 0..most {
            match self.case.run(&self.client, self.task, false) {
                Ok(answer) => {
                    assert_eq!(answer.outputs, self.case.expected);
                    let pack = answer.transcripts[0].record.opening.session.pack;
                    assert!(self.used.insert(pack), "pack {pack} is used a second time");
                }
                Err(error) => {
                    assert_eq!(error.code(), Some(FailCode::NoPack), "{error}");
                    return done;
                }
            }
        }
        most
    }

    fn stop(&mut self, nodes: &[usize]) {
        nodes.iter().for_each(|node| self.network.stop_node(*node));
    }

    fn start(&mut self, nodes: &[usize]) {
        nodes.iter().for_each(|node| self.network.start_node(*node));
    }

    fn backup(&self, nodes: &[usize]) {
        for node in nodes {
            copy_folder(&self.network.home(*node), &self.network.dir.path().join(format!("backup{node}")));
        }
    }

    fn restore(&self, nodes: &[usize]) {
        for node in nodes {
            fs::remove_dir_all(self.network.home(*node)).unwrap();
            copy_folder(&self.network.dir.path().join(format!("backup{node}")), &self.network.home(*node));
        }
    }

    fn packs_on_disk(&self, node: usize) -> usize {
        files(&self.network.home(node).join("packs")).len()
    }
}

fn evaluators_go_back(edit: impl Fn(String) -> String) {
    let mut setting = Setting::new(edit);
    setting.client.prepare(&setting.task, 4, &mut |_| ()).unwrap();
    assert_eq!(setting.use_up(1), 1);
    setting.stop(&[1, 2]);
    assert_eq!((setting.packs_on_disk(1), setting.packs_on_disk(2)), (3, 3), "a stopped node keeps its packs");
    setting.backup(&[1, 2]);
    setting.start(&[1, 2]);
    assert_eq!(setting.use_up(2), 2, "packs survive a clean stop");
    setting.stop(&[1, 2]);
    setting.restore(&[1, 2]);
    assert_eq!((setting.packs_on_disk(1), setting.packs_on_disk(2)), (3, 3), "of which two were used");
    setting.start(&[1, 2]);
    assert_eq!(setting.use_up(9), 1, "the one that was not used is");
    // Once more, without a clean stop that handed anything back.
    setting.stop(&[1, 2]);
    setting.restore(&[1, 2]);
    setting.start(&[1, 2]);
    assert_eq!(setting.use_up(9), 0);
    assert_eq!((setting.packs_on_disk(1), setting.packs_on_disk(2)), (0, 0), "void files are removed");
    assert_eq!(setting.used.len(), 4);
}

#[test]
fn evaluators_go_back_with_packs_in_memory() {
    evaluators_go_back(|toml| toml);
}

#[test]
fn evaluators_go_back_with_packs_on_disk() {
    evaluators_go_back(|toml| toml.replacen("pack_memory_megabytes = 1024", "pack_memory_megabytes = 0", 1));
}

#[test]
fn one_evaluator_goes_back() {
    for node in [1, 2] {
        let mut setting = Setting::new(|toml| toml);
        setting.client.prepare(&setting.task, 3, &mut |_| ()).unwrap();
        setting.stop(&[node]);
        setting.backup(&[node]);
        setting.start(&[node]);
        assert_eq!(setting.use_up(2), 2);
        setting.stop(&[node]);
        setting.restore(&[node]);
        setting.start(&[node]);
        assert_eq!(setting.use_up(9), 1, "node {} went back", node + 1);
    }
}

#[test]
fn all_three_go_back() {
    let mut setting = Setting::new(|toml| toml);
    setting.client.prepare(&setting.task, 3, &mut |_| ()).unwrap();
    // The helper stops last, so that the evaluators can hand their packs back.
    setting.stop(&[1, 2, 0]);
    assert_eq!((setting.packs_on_disk(1), setting.packs_on_disk(2)), (3, 3));
    setting.backup(&[0, 1, 2]);
    for _ in 0..2 {
        setting.start(&[0, 1, 2]);
        assert_eq!(setting.use_up(9), 0, "a helper that was started anew knows no pack of before");
        setting.client.prepare(&setting.task, 1, &mut |_| ()).unwrap();
        assert_eq!(setting.use_up(9), 1);
        setting.stop(&[1, 2, 0]);
        setting.restore(&[0, 1, 2]);
    }
    assert_eq!(setting.used.len(), 2);
}
