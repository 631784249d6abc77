//! A committee: the share nodes that compute together, in which roles, and the digest that names them.
//!
//! A committee is a value: it is made whole ([`Committee::new`], [`Committee::two`], or read from its file) and not changed
//! after. A node may have a place in several; whatever belongs to one is bound to its digest.

mod file;

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use crate::address::Address;
use crate::engine::Assignment;
use crate::identity::PublicKey;

/// A committee file that cannot be used.
#[derive(Debug, Error)]
pub enum CommitteeError {
    /// The file system refuses.
    #[error("cannot {action} committee file {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The content is wrong.
    #[error("committee file {}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A committee that this version cannot compute with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "committee {fingerprint} has two nodes and no helper (kind = \"two\"): this version computes with two evaluators and a \
     helper only; use a committee of three"
)]
pub struct NoProtocol {
    /// Which committee.
    fingerprint: String,
}

/// One share node as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Short name for people.
    pub name: String,
    /// Where its lane listener is: see [`Address`].
    pub address: String,
    /// Its public key.
    pub key: PublicKey,
}

/// How many members a committee has, and which roles they take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitteeKind {
    /// Two evaluators and a helper; who is what rotates from job to job.
    Three,
    /// Two evaluators, and no helper.
    Two,
}

impl CommitteeKind {
    /// How many members it has.
    pub const fn size(self) -> usize {
        match self {
            Self::Three => 3,
            Self::Two => 2,
        }
    }
}

impl fmt::Display for CommitteeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Three => "three",
            Self::Two => "two",
        })
    }
}

/// Who is what in a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles<'a> {
    /// The first and the second evaluator.
    pub evaluators: [&'a Member; 2],
    /// The helper.
    pub helper: &'a Member,
}

/// Share nodes that compute together; the position in the list is the index used by assignments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committee {
    kind: CommitteeKind,
    epoch: u32,
    /// As many as its kind says.
    members: Vec<Member>,
}

impl Committee {
    /// A committee of three, of epoch 0, with different keys and addresses.
    ///
    /// # Errors
    /// What is wrong with a member.
    pub fn new(members: [Member; 3]) -> Result<Self, String> {
        Self::of(CommitteeKind::Three, members.into())
    }

    /// A committee of two without a helper, of epoch 0. It can be named and written down; nothing computes with it yet
    /// ([`Committee::runnable`]).
    ///
    /// # Errors
    /// What is wrong with a member.
    pub fn two(members: [Member; 2]) -> Result<Self, String> {
        Self::of(CommitteeKind::Two, members.into())
    }

    /// The same members in another epoch: another committee, with which nothing is shared yet.
    #[must_use]
    pub fn in_epoch(self, epoch: u32) -> Self {
        Self { epoch, ..self }
    }

    fn of(kind: CommitteeKind, members: Vec<Member>) -> Result<Self, String> {
        if members.len() != kind.size() {
            return Err(format!("{} nodes are listed, a committee of kind \"{kind}\" has {kind}", members.len()));
        }
        for (i, a) in members.iter().enumerate() {
            let name = &a.name;
            if name.is_empty() || name.len() > 64 || name.chars().any(|c| c.is_control()) {
                return Err(format!("node {} needs a name of 1 to 64 printable characters", i + 1));
            }
            let address = Address::parse(&a.address)
                .map_err(|why| format!("the address `{}` of node `{name}` {why}", a.address.escape_debug()))?;
            for b in members.iter().take(i) {
                if a.key == b.key {
                    return Err(format!(
                        "nodes `{}` and `{name}` have the same key: one operator must not be two nodes",
                        b.name
                    ));
                }
                if Address::parse(&b.address) == Ok(address) {
                    return Err(format!("nodes `{}` and `{name}` have the same address", b.name));
                }
            }
        }
        Ok(Self { kind, epoch: 0, members })
    }

    /// Which roles its members take.
    pub fn kind(&self) -> CommitteeKind {
        self.kind
    }

    /// Counts the committees that the same members have formed; 0 where the file says nothing.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The nodes, by index.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The keys of a committee of three, in its order.
    pub fn keys(&self) -> Option<[PublicKey; 3]> {
        match self.members.as_slice() {
            [a, b, c] => Some([a.key, b.key, c.key]),
            _ => None,
        }
    }

    /// The node with this index, if there is one.
    pub fn member(&self, index: u8) -> Option<&Member> {
        self.members.get(usize::from(index))
    }

    /// All indices, ascending.
    pub fn indices(&self) -> impl Iterator<Item = u8> + Clone + use<> {
        0..self.members.len() as u8 // three at most
    }

    /// Whether this version computes with such a committee. Whoever starts a node of one, or asks one, asks this first.
    ///
    /// # Errors
    /// Says that it does not, and what to do.
    pub fn runnable(&self) -> Result<(), NoProtocol> {
        match self.kind {
            CommitteeKind::Three => Ok(()),
            CommitteeKind::Two => Err(NoProtocol { fingerprint: self.fingerprint() }),
        }
    }

    /// Who is what in the jobs of an assignment.
    ///
    /// # Errors
    /// When this version does not compute with such a committee.
    pub fn roles(&self, assignment: Assignment) -> Result<Roles<'_>, NoProtocol> {
        self.runnable()?;
        let member = |index| self.member(index).ok_or_else(|| NoProtocol { fingerprint: self.fingerprint() });
        let [first, second] = assignment.evaluators();
        Ok(Roles { evaluators: [member(first)?, member(second)?], helper: member(assignment.helper())? })
    }

    /// Position of the node with this key.
    pub fn index_of(&self, key: &PublicKey) -> Option<u8> {
        self.indices().zip(&self.members).find(|(_, member)| member.key == *key).map(|(index, _)| index)
    }

    /// Hash of what the committee is: its kind, its epoch and its keys in their order. Both ends of a lane must mean the same.
    pub fn digest(&self) -> [u8; 32] {
        // Committees of three without an epoch keep the digest that they had before there was anything else.
        let plain = self.kind == CommitteeKind::Three && self.epoch == 0;
        let mut hasher =
            blake3::Hasher::new_derive_key(if plain { "sahara committee v1" } else { "sahara committee v2" });
        if !plain {
            hasher.update(&[self.kind.size() as u8]).update(&u64::from(self.epoch).to_le_bytes());
        }
        for member in &self.members {
            hasher.update(&member.key.0);
        }
        *hasher.finalize().as_bytes()
    }

    /// The digest as people compare it by telephone: its first half, in groups of four digits. It is of the keys and
    /// their order, the kind and the epoch; names and addresses do not count.
    pub fn fingerprint(&self) -> String {
        let half = sahara_circuits::bytes::hex(&self.digest()[..16]);
        half.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
    }

    /// The digest's first 16 digits: what folders and logs call the committee.
    pub fn short(&self) -> String {
        sahara_circuits::bytes::hex(&self.digest()[..8])
    }

    /// How errors and logs call a node: `node 2 (127.0.0.1:7002)`.
    pub fn label(&self, index: u8) -> String {
        match self.member(index) {
            Some(m) if m.name == format!("node {}", index + 1) => format!("{} ({})", m.name, m.address),
            Some(m) => format!("node {} `{}` ({})", index + 1, m.name, m.address),
            None => format!("node {}", u32::from(index) + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn member(i: u8) -> Member {
        Member { name: format!("node {i}"), address: format!("127.0.0.1:700{i}"), key: PublicKey([i; 32]) }
    }

    pub(super) fn committee() -> Committee {
        Committee::new([1, 2, 3].map(member)).unwrap()
    }

    #[test]
    fn a_fingerprint_is_of_the_keys_and_their_order() {
        let fingerprint = committee().fingerprint();
        assert!(fingerprint.len() == 39 && fingerprint.split(' ').all(|group| group.len() == 4), "{fingerprint}");
        let mut others = [1, 2, 3].map(member);
        others[0].address = "node.example:1".into();
        others[1].name = "bert".into();
        let named = Committee::new(others.clone()).unwrap();
        assert_eq!(named.fingerprint(), fingerprint, "what people call the nodes does not count");
        others.swap(0, 1);
        assert_ne!(Committee::new(others).unwrap().fingerprint(), fingerprint);
    }

    #[test]
    fn kind_and_epoch_are_part_of_the_digest_and_a_plain_committee_keeps_the_one_it_had() {
        // Of Python's blake3, with derive_key_context="sahara committee v1": what older programs hash. And "… v2".
        let digest = |committee: &Committee| sahara_circuits::bytes::hex(&committee.digest());
        assert_eq!(digest(&committee()), "68bb0cc9ffc3af586370eb0b290888b6e5539190a755a9978abefd4eaeaf62dd");
        let second = Committee::two([member(1), member(2)]).unwrap().in_epoch(1);
        assert_eq!(digest(&second), "17e22bc47f68fbb189b0b69b0468a61068d8b21d8a689a32d9d4338e8df02d5b");
        assert_eq!(committee().in_epoch(0), committee());
        let two = |a, b| Committee::two([member(a), member(b)]).unwrap();
        let mut all: Vec<_> = [0, 1, 2, 256].map(|epoch| committee().in_epoch(epoch)).into();
        all.extend([two(1, 2), two(2, 1), two(2, 3), two(1, 2).in_epoch(1)]);
        let digests: std::collections::BTreeSet<_> = all.iter().map(Committee::digest).collect();
        assert_eq!(digests.len(), all.len());
    }

    #[test]
    fn roles_are_those_of_the_assignment_and_a_committee_of_two_has_none_yet() {
        let committee = committee();
        for assignment in Assignment::ALL {
            let roles = committee.roles(assignment).unwrap();
            assert_eq!(Some(roles.helper), committee.member(assignment.helper()));
            for (member, index) in roles.evaluators.into_iter().zip(assignment.evaluators()) {
                assert_eq!(Some(member), committee.member(index));
            }
        }
        assert_eq!((committee.member(3), committee.indices().count()), (None, 3));
        let two = Committee::two([member(1), member(2)]).unwrap();
        assert_eq!((two.members().len(), two.member(2), two.label(2)), (2, None, "node 3".into()));
        let refused = two.runnable().unwrap_err();
        let said = refused.to_string();
        assert!(said.contains(&two.fingerprint()) && said.contains("no helper") && said.contains("three"), "{said}");
        assert!(Assignment::ALL.iter().all(|assignment| two.roles(*assignment) == Err(refused.clone())));
    }
}
