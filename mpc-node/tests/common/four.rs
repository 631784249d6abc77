//! Four nodes in two committees that overlap: nodes 2 and 3 have a seat in both.
#![allow(dead_code)] // each test file uses its own part

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use sahara_mpc::client::{Client, ClientOptions, Committee, Member};
use sahara_mpc::config::Config;
use sahara_mpc::identity::{self, Identity};
use tempfile::TempDir;

use super::common::{Running, anybody, ports, wait_for};

/// The nodes (from 0) of two committees, in their orders: the two that are in both have other numbers and so other roles.
pub const TURNED: [[usize; 3]; 2] = [[0, 1, 2], [2, 3, 1]];
/// The same, with the same numbers in both.
pub const ALIGNED: [[usize; 3]; 2] = [[0, 1, 2], [3, 1, 2]];
/// The two with a seat in both.
pub const BOTH: [usize; 2] = [1, 2];

pub struct Four {
    pub dir: TempDir,
    pub members: [[usize; 3]; 2],
    pub committees: [Committee; 2],
    pub nodes: [Option<Running>; 4],
}

impl Four {
    /// Four running nodes, which anybody may share models with and ask; `edit` may change each `node.toml` before the start.
    pub fn start(numbers: [[usize; 3]; 2], edit: impl Fn(String) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports = ports::<4>();
        let home = |node: usize| dir.path().join(format!("node{node}"));
        let members: Vec<Member> = (0..4)
            .map(|node| {
                let address = format!("127.0.0.1:{}", ports[node]);
                let config = Config::init(&home(node), address.parse().unwrap(), None, &anybody()).unwrap();
                let file = home(node).join("node.toml");
                fs::write(&file, edit(fs::read_to_string(&file).unwrap())).unwrap();
                Member { name: format!("n{node}"), address, key: config.load_identity().unwrap().public() }
            })
            .collect();
        let committees = numbers.map(|nodes| Committee::new(nodes.map(|node| members[node].clone())).unwrap());
        let mut four = Self { dir, members: numbers, committees, nodes: [const { None }; 4] };
        for node in 0..4 {
            four.serve(node, &numbers.map(|nodes| nodes.contains(&node)));
            four.start_node(node);
        }
        four
    }

    /// Writes which committees a node serves. The first one's folders are those of the home for nodes 1 to 3.
    pub fn serve(&self, node: usize, [first, second]: &[bool; 2]) {
        let home = self.home(node);
        self.committees[0].save(&home.join("committee.toml")).unwrap();
        self.committees[1].save(&home.join("second.toml")).unwrap();
        let file = home.join("node.toml");
        let mut lines: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
        lines.retain(|line| !line.starts_with("committee"));
        let at = lines.iter().position(|line| line.starts_with("key = ")).unwrap();
        if *second {
            lines.insert(at, "committees = [\"second.toml\"]".into());
        }
        if *first {
            lines.insert(at, "committee = \"committee.toml\"".into());
        }
        fs::write(&file, lines.join("\n")).unwrap();
    }

    pub fn home(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("node{node}"))
    }

    /// Where a node keeps what belongs to a committee.
    pub fn folder(&self, node: usize, committee: usize) -> PathBuf {
        match committee {
            0 => self.home(node),
            _ => self.home(node).join("committees").join(sahara_circuits::bytes::hex(&self.committees[1].digest())),
        }
    }

    /// A node's number (from 0) in a committee.
    pub fn number(&self, node: usize, committee: usize) -> u8 {
        self.members[committee].iter().position(|member| *member == node).unwrap() as u8
    }

    /// A node's own key.
    pub fn key(&self, node: usize) -> Identity {
        identity::load(&self.home(node).join("key")).unwrap()
    }

    pub fn client_of(&self, identity: &Arc<Identity>, committee: usize) -> Client {
        Client::shared(identity.clone(), self.committees[committee].clone(), ClientOptions::default())
    }

    /// Starts a node, and waits until it answers in each committee that it serves.
    pub fn start_node(&mut self, node: usize) {
        let config = Config::load(&self.home(node)).unwrap();
        self.nodes[node] = Some(Running::start(&self.home(node)));
        let someone = Arc::new(identity::generate().unwrap());
        for served in config.load_committees().unwrap() {
            let committee = self.committees.iter().position(|committee| *committee == served.committee).unwrap();
            wait_for(&self.client_of(&someone, committee), self.number(node, committee));
        }
    }

    pub fn stop_node(&mut self, node: usize) {
        self.nodes[node].take().unwrap().stop();
    }
}

impl Drop for Four {
    /// The nodes stop before their directories go.
    fn drop(&mut self) {
        self.nodes.iter_mut().filter_map(Option::take).for_each(Running::stop);
    }
}
