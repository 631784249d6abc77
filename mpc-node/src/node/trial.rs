//! A node for unit tests: a home of its own, a committee, and nobody at its address.

use std::sync::Arc;

use tempfile::TempDir;

use super::state::Node;
use crate::committee::{Committee, Member};
use crate::config::{Config, Parties};
use crate::identity::{self, Identity};
use crate::tls::Admission;

/// The first node of a committee, and the keys of the two others.
pub(super) struct Trial {
    pub(super) node: Arc<Node>,
    pub(super) others: [Identity; 2],
    _home: TempDir,
}

/// A node that anybody may share models with and ask; `edit` may change its configuration.
pub(super) fn node(edit: impl FnOnce(&mut Config)) -> Trial {
    let home = tempfile::tempdir().unwrap();
    let anybody = Parties { owners: Admission::Any, consumers: Admission::Any };
    let mut config = Config::init(home.path(), ([127, 0, 0, 1], 1).into(), None, &anybody).unwrap();
    let others = [(); 2].map(|()| identity::generate().unwrap());
    let keys = [config.load_identity().unwrap().public(), others[0].public(), others[1].public()];
    let mut number = 0;
    let members = keys.map(|key| {
        number += 1;
        Member { name: format!("node {number}"), address: format!("127.0.0.1:{number}"), key }
    });
    Committee::new(members).unwrap().save(&config.committee).unwrap();
    edit(&mut config);
    let (node, _) = Node::open(config).unwrap();
    Trial { node: Arc::new(node), others, _home: home }
}
