//! A node for unit tests: a home of its own, a committee or two, and nobody at its address.

use std::sync::Arc;

use tempfile::TempDir;

use super::seat::Seat;
use super::state::Node;
use crate::committee::{Committee, Member};
use crate::config::{Config, Parties};
use crate::identity::{self, Identity, PublicKey};
use crate::tls::Admission;

/// The first node of a committee, and the keys of the two others.
pub(super) struct Trial {
    pub(super) node: Arc<Node>,
    /// Its seat in that committee.
    pub(super) seat: Arc<Seat>,
    pub(super) others: [Identity; 2],
    _home: TempDir,
}

/// A node that anybody may share models with and ask; `edit` may change its configuration.
pub(super) fn node(edit: impl FnOnce(&mut Config)) -> Trial {
    open(None, edit)
}

/// Such a node with a second seat: its second committee has `further` first, itself, and then the first of its others.
pub(super) fn node_in_two(edit: impl FnOnce(&mut Config)) -> (Trial, Identity) {
    let further = identity::generate().unwrap();
    (open(Some(further.public()), edit), further)
}

fn open(further: Option<PublicKey>, edit: impl FnOnce(&mut Config)) -> Trial {
    let home = tempfile::tempdir().unwrap();
    let anybody = Parties { owners: Admission::Any, consumers: Admission::Any };
    let mut config = Config::init(home.path(), ([127, 0, 0, 1], 1).into(), None, &anybody).unwrap();
    let others = [(); 2].map(|()| identity::generate().unwrap());
    let own = config.load_identity().unwrap().public();
    committee([own, others[0].public(), others[1].public()]).save(config.committee.as_ref().unwrap()).unwrap();
    if let Some(further) = further {
        config.committees = vec![home.path().join("second.toml")];
        committee([further, own, others[0].public()]).save(&config.committees[0]).unwrap();
    }
    edit(&mut config);
    let (node, _) = Node::open(config, None).unwrap();
    Trial { seat: node.seats[0].clone(), node: Arc::new(node), others, _home: home }
}

fn committee(keys: [PublicKey; 3]) -> Committee {
    let mut number = 0;
    let members = keys.map(|key| {
        number += 1;
        Member { name: format!("node {number}"), address: format!("127.0.0.1:{number}"), key }
    });
    Committee::new(members).unwrap()
}
