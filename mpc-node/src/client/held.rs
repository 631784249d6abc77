//! What the nodes hold of a sharing, as its owner sees it: also when they do not agree, because a node lost it, an upload
//! did not come to its end, or a node went back to an older list. The latest list that any node shows under the owner's
//! signature counts, so that a node that lost it takes nobody off; but not once a node says that the owner took the model
//! back, nor for another committee: no node that kept what it should have deleted, or that sits in two committees, brings
//! anybody in.

use super::{Client, ClientError, Sharing};
use crate::manifest::{AccessList, Consumers, OwnerKey, SharingId, SharingName, SignedAccess, SignedManifest};
use crate::wire::SharingReply;

/// A sharing of this client's own key, by those nodes that answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The version that all of them hold; `None` when they hold different ones, one holds none, or it is for another
    /// committee: then the model has to be shared again.
    pub sharing: Option<Sharing>,
    /// Who may use it.
    pub listed: Listed,
    /// Whether all of them go by the latest list: otherwise it has to be given to them again.
    pub settled: bool,
    /// Whether the newest version has a client part, for consumers who do not hold the model.
    pub client_part: bool,
}

/// Who may use a sharing, as far as its nodes can be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// The latest list.
    Keys(Consumers),
    /// It was taken back, says one node at least, though another still shows it: its list does not count any more.
    TakenBack {
        /// The numbers, from 1, of the nodes that still show it.
        shown_by: Vec<u8>,
    },
    /// It was shared with another committee; whoever could use it there has to be named anew.
    Elsewhere,
    /// A node shows a later list that names no committee, as earlier programs signed them: it may be of another one.
    Unbound,
}

impl Listed {
    /// The keys that count: none after it was taken back, or for another committee.
    pub fn keys(&self) -> Option<&Consumers> {
        match self {
            Self::Keys(keys) => Some(keys),
            Self::TakenBack { .. } | Self::Elsewhere | Self::Unbound => None,
        }
    }
}

impl Client {
    /// What the nodes hold of a sharing of this key; `None` when none holds anything of it.
    ///
    /// # Errors
    /// When no node answers, or one does not and the others hold nothing.
    pub fn held(&self, name: &SharingName) -> Result<Option<Held>, ClientError> {
        let owner = self.owner_key();
        let (replies, failed) = self.answers(SharingId::of(&owner, name))?;
        match (Held::new(&replies, &owner, name, &self.committee.digest()), failed) {
            (None, Some(error)) => Err(error),
            (held, _) => Ok(held),
        }
    }
}

impl Held {
    /// The signatures in `replies` are genuine; whose they are, and of what, is asked here.
    fn new(
        replies: &[Option<SharingReply>],
        owner: &OwnerKey,
        name: &SharingName,
        committee: &[u8; 32],
    ) -> Option<Self> {
        let id = SharingId::of(owner, name);
        let own = |reply: &&SharingReply| reply.manifest.as_ref().is_some_and(|m| m.manifest().sharing() == id);
        let elsewhere = replies.iter().flatten().any(|reply| own(&reply));
        let mut unbound = false;
        let nodes: Vec<(u8, &SignedManifest, Option<&AccessList>)> = (1..)
            .zip(replies)
            .filter_map(|(number, reply)| {
                let reply = reply.as_ref()?;
                let signed = reply.manifest.as_ref().filter(|_| own(&reply));
                let signed = signed.filter(|signed| signed.manifest().committee == *committee)?;
                let own = |access: &&SignedAccess| access.sharing() == id && access.owner() == *owner;
                let later = reply.access.as_ref().filter(own);
                let first = signed.manifest().access.list().map_or(0, |list| list.serial);
                unbound |= later.is_some_and(|access| access.committee().is_none() && access.list().serial > first);
                let later = later.filter(|access| access.committee() == Some(*committee));
                let lists = signed.manifest().access.list().into_iter().chain(later.map(SignedAccess::list));
                Some((number, signed, lists.max_by_key(|list| list.serial)))
            })
            .collect();
        let answered = replies.iter().flatten().count();
        let Some(newest) = nodes.iter().map(|(_, signed, _)| *signed).max_by_key(|s| s.manifest().version) else {
            return elsewhere.then_some(Self {
                sharing: None,
                listed: Listed::Elsewhere,
                settled: false,
                client_part: false,
            });
        };
        let latest = nodes.iter().filter_map(|(.., list)| *list).max_by_key(|list| list.serial);
        // Not of an earlier version: a new one is being put in place. Whoever lost it, or cannot read it, does not say so.
        let deleted = |reply: &SharingReply| {
            reply.deleted && reply.manifest.is_none() && reply.last_version >= newest.manifest().version
        };
        let same = nodes.iter().all(|(_, signed, _)| signed.id() == newest.id());
        Some(Self {
            sharing: (same && nodes.len() == answered).then(|| Sharing(newest.clone())),
            listed: if replies.iter().flatten().any(deleted) {
                Listed::TakenBack { shown_by: nodes.iter().map(|(number, ..)| *number).collect() }
            } else if unbound {
                Listed::Unbound
            } else {
                Listed::Keys(latest.map_or(Consumers::Only(Vec::new()), |list| list.consumers.clone()))
            },
            settled: !unbound && nodes.len() == answered && nodes.iter().all(|(.., list)| *list == latest),
            client_part: newest.manifest().client_part.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Identity, PublicKey, generate};
    use crate::manifest::{AccessRule, tests};

    const HERE: [u8; 32] = [1; 32];
    const ELSEWHERE: [u8; 32] = [2; 32];

    fn only(key: u8) -> Consumers {
        Consumers::only([PublicKey([key; 32])])
    }

    /// What three nodes of a committee say, the second one with a later list beside the manifest.
    fn held(owner: &Identity, later: impl Fn(&SignedManifest) -> Option<SignedAccess>) -> Held {
        let mut manifest = tests::manifest(owner, &tests::graph(1));
        manifest.committee = HERE;
        manifest.access = AccessRule::Keys(AccessList { serial: 4, consumers: only(5) });
        let signed = manifest.sign(owner).unwrap();
        let reply = SharingReply { last_version: 1, manifest: Some(signed.clone()), ..SharingReply::default() };
        let mut replies = [const { None }; 3].map(|_: Option<()>| Some(reply.clone()));
        replies[1].as_mut().unwrap().access = later(&signed);
        let manifest = signed.manifest();
        Held::new(&replies, &manifest.owner, &manifest.name, &HERE).unwrap()
    }

    #[test]
    fn a_list_counts_in_the_committee_that_it_was_signed_for() {
        let owner = generate().unwrap();
        let later = |committee| {
            held(&owner, |signed| {
                let (of, sharing) = (signed.manifest().owner, signed.manifest().sharing());
                Some(AccessList { serial: 9, consumers: only(6) }.sign(of, sharing, committee, &owner).unwrap())
            })
        };
        let here = later(HERE);
        assert_eq!((here.listed, here.settled), (Listed::Keys(only(6)), false), "the others have to be given it");
        // A node of both committees brings the list of the other one.
        let elsewhere = later(ELSEWHERE);
        assert_eq!((elsewhere.listed, elsewhere.settled), (Listed::Keys(only(5)), true));
    }

    #[test]
    fn a_list_that_names_no_committee_has_to_be_made_anew() {
        let owner = generate().unwrap();
        let unbound = |serial| {
            held(&owner, |signed| {
                let (of, sharing) = (signed.manifest().owner, signed.manifest().sharing());
                let list = AccessList { serial, consumers: only(6) }.sign(of, sharing, ELSEWHERE, &owner).unwrap();
                // As programs before this version signed it.
                let bytes = list.encode();
                let at = bytes.windows(32).position(|bytes| bytes == ELSEWHERE).unwrap();
                let mut body = [&bytes[..at], &bytes[at + 32..bytes.len() - 64]].concat();
                body[8] = 1;
                let signature = owner.sign(&body);
                Some(SignedAccess::decode(&[&body[..], &signature].concat()).unwrap())
            })
        };
        let later = unbound(9);
        assert_eq!((later.listed.clone(), later.settled), (Listed::Unbound, false));
        assert!(later.listed.keys().is_none());
        let earlier = unbound(3);
        assert_eq!((earlier.listed, earlier.settled), (Listed::Keys(only(5)), true), "the manifest's own is later");
    }
}
