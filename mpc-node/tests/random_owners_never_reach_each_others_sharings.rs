//! Three keys share, replace, use, delete and steal at random; a small model of who may do what says what must happen.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::upload::{ByHand, ask, lane};
use common::{Case, Network, case};
use sahara_circuits::testgraph::Rng;
use sahara_mpc::client::{
    Assignment, Client, Consumers, Offer, OwnerKey, Rounding, Sharing, SharingName, SharingRef, Task, Visibility,
};
use sahara_mpc::identity::{Identity, generate};
use sahara_mpc::lane::LaneError;
use sahara_mpc::manifest::{AccessList, SharingId};
use sahara_mpc::wire::{DeleteSharing, FailCode, GetClientPart, Kind, ListSharings, Prepare, PutAccess, SharingList};

const KEYS: usize = 3;
const NAMES: [&str; 2] = ["one", "two"];

/// What should be true of one sharing.
struct Expected {
    model: usize,
    sharing: Sharing,
    consumers: Vec<usize>,
}

struct World {
    network: Network,
    keys: Vec<Arc<Identity>>,
    clients: Vec<Client>,
    models: Vec<Case>,
    /// By owner and name.
    expected: BTreeMap<(usize, usize), Expected>,
    /// Every manifest that ever was, for those who try old ones.
    past: Vec<(usize, Sharing)>,
}

impl World {
    fn new() -> Self {
        let network = Network::start(|toml| toml);
        let keys: Vec<_> = (0..KEYS).map(|_| Arc::new(generate().unwrap())).collect();
        let clients = keys.iter().map(|key| network.client_of(key)).collect();
        let models = (0..3).map(|n| case(100 + n)).collect();
        Self { network, keys, clients, models, expected: BTreeMap::new(), past: Vec::new() }
    }

    fn owner(&self, key: usize) -> OwnerKey {
        OwnerKey::Ed25519(self.keys[key].public())
    }

    fn consumers(&self, list: &[usize]) -> Consumers {
        Consumers::only(list.iter().map(|key| self.keys[*key].public()))
    }

    fn share(&mut self, owner: usize, name: usize, model: usize, list: Vec<usize>) {
        let client_part = self.client_part(owner, name, model);
        let offer = Offer {
            name: NAMES[name].parse().unwrap(),
            assignments: &Assignment::ALL[..1],
            access: self.consumers(&list).into(),
            client_part: Some(&client_part),
            ..self.models[model].offer(Visibility::Private)
        };
        let sharing = self.clients[owner].share(&offer, &|_, _| ()).unwrap();
        self.past.push((model, sharing.clone()));
        self.expected.insert((owner, name), Expected { model, sharing, consumers: list });
    }

    fn client_part(&self, owner: usize, name: usize, model: usize) -> Vec<u8> {
        format!("what consumers of model {model} need, {} of {owner}", NAMES[name]).into_bytes()
    }

    fn admit(&mut self, owner: usize, name: usize, list: Vec<usize>) {
        let result = self.clients[owner].set_consumers(&NAMES[name].parse().unwrap(), self.consumers(&list));
        match self.expected.get_mut(&(owner, name)) {
            Some(expected) => {
                result.unwrap();
                expected.consumers = list;
            }
            None => assert_eq!(result.unwrap_err().code(), Some(FailCode::NoModel)),
        }
    }

    fn delete(&mut self, owner: usize, name: usize) {
        let name_there: SharingName = NAMES[name].parse().unwrap();
        let gone = self.clients[owner].unshare(&name_there).unwrap();
        assert_eq!(gone, self.expected.remove(&(owner, name)).is_some());
    }

    /// `key` asks for what `owner` calls `name`: it gets the right answer, or learns that there is nothing for it.
    fn ask(&self, key: usize, owner: usize, name: usize) {
        let found = self.clients[key].find(&SharingRef::Named(self.owner(owner), NAMES[name].parse().unwrap()));
        let Some(sharing) = found.unwrap() else {
            assert!(!self.may(key, owner, name), "{key} finds nothing of {owner}/{name}");
            self.learns_nothing(key, owner, name);
            return;
        };
        let expected = &self.expected[&(owner, name)];
        assert!(self.may(key, owner, name), "{key} finds {owner}/{name}");
        assert_eq!(sharing, expected.sharing, "what the owner shared last");
        let part = self.clients[key].client_part(&sharing, &mut |_, _| ()).unwrap();
        assert_eq!(part, self.client_part(owner, name, expected.model));
        let model = &self.models[expected.model];
        let task = sharing.task(&model.graph, Assignment::ALL[0], Rounding::Exact).unwrap();
        assert_eq!(model.run(&self.clients[key], task, true).unwrap().outputs, model.expected);
        // One is left for others to hear of.
        if self.clients[key].node_status(1).unwrap().packs_for(&task) == 0 {
            self.clients[key].prepare(&task, 1, &mut |_| ()).unwrap();
        }
    }

    /// Whoever may not use a sharing cannot tell from any node's answers that it is there, even if it knows its name.
    fn learns_nothing(&self, key: usize, owner: usize, name: usize) {
        let of = (0..KEYS).flat_map(|owner| [(owner, 0), (owner, 1)]);
        let mine: Vec<_> = of.filter(|(owner, name)| self.may(key, *owner, *name)).collect();
        for node in 0..3 {
            let mut lane = lane(&self.network, &self.keys[key], node);
            lane.send(&ListSharings).unwrap();
            let SharingList(list) = lane.receive().unwrap();
            let ids: BTreeSet<_> = list.iter().map(|entry| entry.manifest).collect();
            assert_eq!(ids, mine.iter().map(|at| self.expected[at].sharing.id()).collect(), "node {node} to {key}");
            let status = self.clients[key].node_status(node).unwrap();
            assert_eq!(status.sharings as usize, mine.len());
            assert!(status.packs.iter().all(|(task, _)| ids.contains(&task.manifest)), "packs of others are told");
        }
        let Some(Expected { model, sharing, .. }) = self.expected.get(&(owner, name)) else { return };
        for node in 0..3 {
            let mut lane = lane(&self.network, &self.keys[key], node);
            lane.send(&GetClientPart(sharing.id())).unwrap();
            missing(lane.receive_frame(Kind::Piece).map(|_| ()));
        }
        let task = sharing.task(&self.models[*model].graph, Assignment::ALL[0], Rounding::Exact).unwrap();
        let consumer = self.keys[key].public();
        missing(ask(&self.network, &self.keys[key], 0, &Prepare { task, count: 1, consumer, job: None, asked: None }));
    }

    fn may(&self, key: usize, owner: usize, name: usize) -> bool {
        self.expected.get(&(owner, name)).is_some_and(|e| owner == key || e.consumers.contains(&key))
    }

    /// `key` tries a manifest of the past and a graph of its choice, whatever it may use.
    fn guess(&self, key: usize, which: usize, model: usize) {
        let Some((shared, sharing)) = self.past.get(which % self.past.len().max(1)) else { return };
        let (owner, name) = (0..KEYS)
            .flat_map(|owner| [(owner, 0), (owner, 1)])
            .find(|(o, n)| self.owner(*o) == sharing.manifest().owner && NAMES[*n] == sharing.manifest().name.as_str())
            .unwrap();
        let current = self.expected.get(&(owner, name)).is_some_and(|e| e.sharing == *sharing);
        let case = &self.models[model];
        let task = Task {
            manifest: sharing.id(),
            graph: case.graph.id(),
            assignment: Assignment::ALL[0],
            rounding: Rounding::Exact,
        };
        let result = case.run(&self.clients[key], task, true);
        if !current || !self.may(key, owner, name) {
            assert_eq!(result.unwrap_err().code(), Some(FailCode::NoModel));
        } else if model == *shared {
            assert_eq!(result.unwrap().outputs, case.expected);
        } else {
            assert_eq!(result.unwrap_err().code(), Some(FailCode::Refused), "another graph");
        }
    }

    /// `thief` tries to change what is `owner`'s, with everything it may have seen and its own key.
    fn attack(&self, thief: usize, owner: usize, name: usize, node: u8, how: u64) {
        let thief = &self.keys[thief];
        let (key, named) = (self.owner(owner), NAMES[name].parse().unwrap());
        let sharing = SharingId::of(&key, &named);
        let result = match how {
            0 => ask(&self.network, thief, node, &DeleteSharing(sharing)),
            1 => {
                let list = AccessList { serial: 1 << 40, consumers: Consumers::only([thief.public()]) };
                let own = list
                    .sign(OwnerKey::Ed25519(thief.public()), sharing, self.network.committee.digest(), thief)
                    .unwrap();
                ask(&self.network, thief, node, &PutAccess(own))
            }
            _ => {
                let Some(expected) = self.expected.get(&(owner, name)) else { return };
                let by_hand = ByHand::new(&self.network, thief, NAMES[name], 1 << 40, &self.models[0]);
                by_hand.begin(&self.network, thief, expected.sharing.signed(), node, usize::MAX).map(|_| ())
            }
        };
        let error = result.unwrap_err();
        assert!(matches!(error.fail().map(|f| f.code), Some(FailCode::Refused | FailCode::NoModel)), "{error}");
    }
}

/// As if it did not exist.
fn missing(result: Result<(), LaneError>) {
    let error = result.unwrap_err();
    assert_eq!(error.fail().map(|fail| fail.code), Some(FailCode::NoModel), "{error}");
}

#[test]
fn journey() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = setting("SAHARA_TEST_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let steps = setting("SAHARA_TEST_STEPS").unwrap_or(100);
    println!("SAHARA_TEST_SEED={seed} replays this");
    let mut rng = Rng::new(seed);
    let mut world = World::new();
    for step in 0..steps {
        let mut pick = |n: usize| rng.below(n as u64) as usize;
        let (key, owner, name, model) = (pick(KEYS), pick(KEYS), pick(NAMES.len()), pick(3));
        let list: Vec<usize> = (0..KEYS).filter(|_| pick(3) == 0).collect();
        let (what, node, how, which) = (pick(12), pick(3) as u8, pick(3) as u64, pick(1 << 20));
        println!("step {step}: {what} by {key} of {owner}/{name}, model {model}, list {list:?}");
        match what {
            0..=2 => world.share(key, name, model, list),
            3 => world.admit(key, name, list),
            4 => world.delete(key, name),
            5..=7 => world.ask(key, owner, name),
            8 | 9 => world.guess(key, which, model),
            _ if key != owner => world.attack(key, owner, name, node, how),
            _ => {}
        }
        if step % 200 == 60 {
            for node in 0..3 {
                world.network.stop_node(node);
                world.network.start_node(node);
            }
        }
    }
    for (owner, name) in (0..KEYS).flat_map(|owner| [(owner, 0), (owner, 1)]) {
        (0..KEYS).for_each(|key| world.ask(key, owner, name));
    }
}
