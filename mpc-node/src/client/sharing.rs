//! Sharings as their owners and consumers handle them: find one, fetch its client part, let others use it, take it back
//! (`offer` hands a model over). What the nodes say is believed only as far as the owner has signed it.

use sahara_circuits::graph::Graph;

use super::{Client, ClientError, Committee, SLOWEST};
use crate::accounts::Spent;
use crate::engine::{Assignment, GraphId, Rounding};
use crate::manifest::{
    AccessList, ClientPart, Consumers, MAX_CLIENT_PART, Manifest, ManifestId, OwnerKey, SharingId, SharingName,
    SharingRef, SignedAccess, SignedManifest,
};
use crate::meter::Traffic;
use crate::wire::{
    AccountReply, AskAccount, DeleteSharing, FailCode, FindSharing, GetClientPart, Kind, ListSharings, Piece,
    PutAccess, SharingEntry, SharingList, SharingReply, Task,
};

/// A sharing that all three nodes hold in the same version, with its owner's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharing(pub(super) SignedManifest);

impl Sharing {
    /// What the owner has signed.
    pub fn manifest(&self) -> &Manifest {
        self.0.manifest()
    }

    /// Hash of the manifest.
    pub fn id(&self) -> ManifestId {
        self.0.id()
    }

    /// The signed manifest.
    pub fn signed(&self) -> &SignedManifest {
        &self.0
    }

    /// The task of running one of the graphs.
    ///
    /// # Errors
    /// When the owner does not permit the graph or the assignment.
    pub fn task(&self, graph: &Graph, assignment: Assignment, rounding: Rounding) -> Result<Task, ClientError> {
        self.task_of(graph.id(), graph, assignment, rounding)
    }

    /// [`Sharing::task`] for a graph whose id is known.
    ///
    /// # Errors
    /// As there.
    pub fn task_of(
        &self,
        id: GraphId,
        graph: &Graph,
        assignment: Assignment,
        rounding: Rounding,
    ) -> Result<Task, ClientError> {
        let manifest = self.manifest();
        if !manifest.permits(id, graph) {
            let text = format!("the graph for {} tokens is not one that the sharing's owner permits", graph.seq_len);
            return Err(ClientError::Request(text));
        }
        if !manifest.serves(assignment) {
            let text = format!("the sharing is not for jobs with node {} as helper", assignment.helper() + 1);
            return Err(ClientError::Request(text));
        }
        Ok(Task { manifest: self.id(), graph: id, assignment, rounding })
    }

    /// Whether this is what `graphs` and `weights_root` of a model here would be shared as.
    pub fn is_of(&self, graphs: &[GraphId], weights_root: &[u8; 32]) -> bool {
        let manifest = self.manifest();
        let all = graphs.iter().all(|id| manifest.graphs.binary_search(id).is_ok());
        all && manifest.graphs.len() == graphs.len() && manifest.weights_root == *weights_root
    }
}

/// What each node says of a sharing, and why the first that could not be asked could not.
pub(super) type Answers = (Vec<Option<SharingReply>>, Option<ClientError>);

/// What the nodes list for a key.
#[derive(Debug, Default)]
pub struct Listing {
    /// What at least one node lists, as the first one that does tells.
    pub sharings: Vec<SharingEntry>,
    /// Why other nodes list nothing: the key is not admitted there, or they are away.
    pub failed: Vec<ClientError>,
}

impl Listing {
    /// What one more node lists.
    fn add(&mut self, list: Vec<SharingEntry>) {
        for entry in list {
            let same = |other: &SharingEntry| (other.owner, &other.name) == (entry.owner, &entry.name);
            if !self.sharings.iter().any(same) {
                self.sharings.push(entry);
            }
        }
    }
}

impl Client {
    /// The key of this client, as owners are named.
    pub fn owner_key(&self) -> OwnerKey {
        OwnerKey::Ed25519(self.identity.public())
    }

    /// What all nodes have seen of a sharing of this key.
    pub(super) fn seen(&self, sharing: SharingId) -> Result<Seen, ClientError> {
        let (replies, failed) = self.answers(sharing)?;
        failed.map_or_else(|| Ok(self.seen_in(replies, sharing)), Err)
    }

    fn seen_in(&self, replies: Vec<Option<SharingReply>>, sharing: SharingId) -> Seen {
        let replies: Vec<_> = replies.into_iter().map(Option::unwrap_or_default).collect();
        Seen::new(&replies, self.owner_key(), sharing, &self.committee.digest())
    }

    /// What each node says of a sharing of this key; of one that could not be asked, nothing, and the first reason. A node
    /// that does not answer must not keep its owner from telling the others.
    pub(super) fn answers(&self, sharing: SharingId) -> Result<Answers, ClientError> {
        let mut failed = None;
        let told = self.at_all(|node| self.find_on(node, FindSharing::Current(sharing)));
        let replies: Vec<_> = told
            .into_iter()
            .map(|told| match told {
                Ok(reply) => Some(reply),
                Err(error) => {
                    failed.get_or_insert(error);
                    None
                }
            })
            .collect();
        match failed {
            Some(error) if replies.iter().all(Option::is_none) => Err(error),
            failed => Ok((replies, failed)),
        }
    }

    pub(super) fn find_on(&self, node: u8, question: FindSharing) -> Result<SharingReply, ClientError> {
        self.ask(node, "when asked for a sharing", |lane| {
            lane.send(&question)?;
            Ok(lane.receive()?)
        })
    }

    /// Finds a sharing: all nodes must hold the version that is meant, signed by the owner that is meant.
    /// `None` when no node has it, or none has it for this key.
    ///
    /// # Errors
    /// When a node cannot be reached, or the nodes do not agree.
    pub fn find(&self, which: &SharingRef) -> Result<Option<Sharing>, ClientError> {
        let question = match which {
            SharingRef::Named(owner, name) => FindSharing::Current(SharingId::of(owner, name)),
            SharingRef::Manifest(id) => FindSharing::Exactly(*id),
        };
        let told = self.at_all(|node| self.find_on(node, question).map(|reply| reply.manifest));
        let replies = told.into_iter().collect::<Result<Vec<_>, _>>()?;
        for (node, signed) in replies.iter().enumerate() {
            let meant = signed.as_ref().is_none_or(|signed| self.is_meant(which, signed));
            if !meant {
                let elsewhere = signed.as_ref().is_some_and(|s| s.manifest().committee != self.committee.digest());
                let why = if elsewhere {
                    ": it is for another committee, as from before a member was replaced, and its owner has to share it again"
                } else {
                    ""
                };
                let who = self.committee.label(node as u8);
                return Err(ClientError::Answer(format!("{who} answers with another sharing than {which}{why}")));
            }
        }
        if replies.iter().all(Option::is_none) {
            return Ok(None);
        }
        let mut ids = replies.iter().map(|signed| signed.as_ref().map(SignedManifest::id));
        let first = ids.next().flatten();
        if first.is_some() && ids.all(|id| id == first) {
            let found = replies.into_iter().flatten().next();
            if let Some(signed) = &found {
                self.paying.found(signed, self.committee.keys());
            }
            return Ok(found.map(Sharing));
        }
        let held = replies.iter().enumerate().map(|(node, signed)| {
            let version = signed.as_ref().map_or("nothing".into(), |s| format!("version {}", s.manifest().version));
            format!("node {}: {version}", node + 1)
        });
        let text = format!(
            "the nodes hold different versions of {which} ({}): its owner is sharing it now, or has to share it again",
            held.collect::<Vec<_>>().join(", ")
        );
        Err(ClientError::Answer(text))
    }

    fn is_meant(&self, which: &SharingRef, signed: &SignedManifest) -> bool {
        let manifest = signed.manifest();
        manifest.committee == self.committee.digest()
            && match which {
                SharingRef::Named(owner, name) => manifest.owner == *owner && manifest.name == *name,
                SharingRef::Manifest(id) => signed.id() == *id,
            }
    }

    /// The sharings that this key owns or may use, as any node tells, and why the others tell nothing; [`Client::find`] verifies
    /// one.
    ///
    /// # Errors
    /// When no node answers: the first reason.
    pub fn sharings(&self) -> Result<Listing, ClientError> {
        let told = self.at_all(|node| {
            self.ask(node, "when asked for the sharings", |lane| {
                lane.send(&ListSharings)?;
                Ok(lane.receive::<SharingList>()?.0)
            })
        });
        let answered = told.iter().any(Result::is_ok);
        let mut listing = Listing::default();
        for list in told {
            match list {
                Ok(list) => listing.add(list),
                Err(error) if answered => listing.failed.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(listing)
    }

    /// Fetches the client part of a sharing from the first node that has it; its digest is that of the manifest.
    ///
    /// # Errors
    /// When the sharing has none, or no node gives the right bytes.
    pub fn client_part(&self, sharing: &Sharing, progress: &mut dyn FnMut(u64, u64)) -> Result<Vec<u8>, ClientError> {
        let part = sharing.manifest().client_part.ok_or_else(|| {
            ClientError::Request("the sharing has no client part: only who has the model can use it".into())
        })?;
        let mut last = None;
        for node in self.committee.indices() {
            let fetched =
                self.shown(&sharing.id(), &[node], || self.client_part_from(node, sharing.id(), part, progress));
            match fetched {
                Ok(bytes) => return Ok(bytes),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| ClientError::Answer("no node was asked".into())))
    }

    fn client_part_from(
        &self,
        node: u8,
        manifest: ManifestId,
        part: ClientPart,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Vec<u8>, ClientError> {
        self.on_lane(node, |lane| {
            lane.begin("while it sent the client part", Traffic::Setup, self.options.prepare_timeout);
            lane.pace(Some((self.options.prepare_timeout, SLOWEST)));
            lane.send(&GetClientPart(manifest))?;
            let piece: Piece = lane.receive()?;
            if piece.len != part.len || piece.len > MAX_CLIENT_PART {
                return Err(ClientError::Answer(format!("{} has another client part than the owner's", lane.who())));
            }
            let mut bytes = Vec::new();
            lane.receive_chunks(piece.len, &mut |chunk| {
                bytes.extend_from_slice(chunk);
                progress(bytes.len() as u64, part.len);
                true
            })?;
            if *blake3::hash(&bytes).as_bytes() != part.digest {
                return Err(ClientError::Answer(format!("{} sent another client part than the owner's", lane.who())));
            }
            Ok(bytes)
        })
    }

    /// What the answers about the data of a sharing have cost so far: the more of what its two evaluators say. Nothing for a sharing
    /// whose answers leave without noise.
    ///
    /// # Errors
    /// When one of them cannot be reached, or does not know the sharing.
    pub fn spent(&self, sharing: &Sharing) -> Result<Option<Spent>, ClientError> {
        let Some(terms) = &sharing.manifest().noise else { return Ok(None) };
        let mut most: Option<(Spent, f64)> = None;
        for node in terms.assignment.evaluators() {
            let AccountReply(spent) = self.ask(node, "when asked for an account", |lane| {
                lane.send(&AskAccount(sharing.id()))?;
                Ok(lane.receive()?)
            })?;
            let spent = Spent(spent);
            let beyond = |e| ClientError::Answer(format!("{} tells of no account: {e}", self.committee.label(node)));
            let epsilon = spent.epsilon(&terms.budget).map_err(beyond)?;
            if most.as_ref().is_none_or(|(_, before)| epsilon > *before) {
                most = Some((spent, epsilon));
            }
        }
        Ok(most.map(|(spent, _)| spent))
    }

    /// Lets other consumers use a sharing of this key, without a new version.
    ///
    /// # Errors
    /// When a node refuses or cannot be reached, after the others have the list; it keeps the old one then, and the next
    /// attempt puts it right.
    pub fn set_consumers(&self, name: &SharingName, consumers: Consumers) -> Result<(), ClientError> {
        let owner = self.owner_key();
        let sharing = SharingId::of(&owner, name);
        let (replies, _) = self.answers(sharing)?;
        let serial = self.seen_in(replies, sharing).next_serial()?;
        let refused = |e| ClientError::Request(format!("the list cannot be signed: {e}"));
        let access = AccessList { serial, consumers };
        let access = access.sign(owner, sharing, self.committee.digest(), &self.identity).map_err(refused)?;
        let told = self.at_all(|node| {
            self.ask(node, "while it was given an access list", |lane| {
                lane.send(&PutAccess(access.clone()))?;
                lane.receive_frame(Kind::Done)?;
                Ok(())
            })
        });
        told.into_iter().collect()
    }

    /// Deletes a sharing of this key on all nodes; whether any had it.
    ///
    /// # Errors
    /// When a node cannot be reached, after the others have deleted it.
    pub fn unshare(&self, name: &SharingName) -> Result<bool, ClientError> {
        let sharing = SharingId::of(&self.owner_key(), name);
        // All are told before the first error is: one node that fails must not keep a model with the others.
        let told = self.at_all(|node| {
            let done = self.ask(node, "while it deleted a sharing", |lane| {
                lane.send(&DeleteSharing(sharing))?;
                lane.receive_frame(Kind::Done)?;
                Ok(())
            });
            match done {
                Ok(()) => Ok(true),
                Err(error) if error.code() == Some(FailCode::NoModel) => Ok(false),
                Err(error) => Err(error),
            }
        });
        told.into_iter().try_fold(false, |any, here| Ok(any | here?))
    }
}

/// How far the claim of one node may be above what the others say and what the owner itself has signed.
const MAX_LEAD: u64 = 1 << 16;

/// What the nodes claim to have seen, beside what is known without the highest claim. Numbers never go back: who followed a
/// claim far above all others would let a node that lies use up all there are.
struct Claims {
    /// By two nodes, or by this owner's own signature.
    known: u64,
    most: u64,
    /// Who claims the most.
    node: u8,
}

impl Claims {
    /// `signed` is the highest that is known by this owner's own signature.
    fn new(claims: &[u64], signed: u64) -> Self {
        let mut sorted: Vec<(u64, u8)> = claims.iter().copied().zip(0..).collect();
        sorted.sort_unstable();
        let (most, node) = sorted.pop().unwrap_or_default();
        let by_two = sorted.pop().map_or(0, |(claim, _)| claim);
        Self { known: by_two.max(signed), most, node }
    }

    /// Whether the highest claim is one to follow.
    fn is_followed(&self) -> bool {
        self.most.saturating_sub(self.known) <= MAX_LEAD
    }
}

/// The number after a last one.
fn after(what: &str, last: u64) -> Result<u64, ClientError> {
    last.checked_add(1).ok_or_else(|| ClientError::Answer(format!("no {what} is left for this sharing")))
}

/// What the nodes have seen of a sharing of this client's own key.
pub(super) struct Seen {
    versions: Vec<u64>,
    serials: Vec<u64>,
    /// The highest version and serial among those that this owner has signed.
    signed: [u64; 2],
}

impl Seen {
    fn new(replies: &[SharingReply], owner: OwnerKey, sharing: SharingId, committee: &[u8; 32]) -> Self {
        let manifests = replies.iter().filter_map(|reply| reply.manifest.as_ref()).map(SignedManifest::manifest);
        // The signatures are genuine; whose they are, and of what, is asked here.
        let own: Vec<&Manifest> = manifests.filter(|m| m.sharing() == sharing && m.committee == *committee).collect();
        let later = replies.iter().filter_map(|reply| reply.access.as_ref());
        let later = later.filter(|access| access.owner() == owner && access.sharing() == sharing);
        let later = later.filter(|access| access.committee().is_none_or(|of| of == *committee));
        let lists = own.iter().filter_map(|manifest| manifest.access.list()).chain(later.map(SignedAccess::list));
        let version = own.iter().map(|manifest| manifest.version).max();
        let serial = lists.map(|list| list.serial).max();
        Self {
            versions: replies.iter().map(|reply| reply.last_version).collect(),
            serials: replies.iter().map(|reply| reply.last_serial).collect(),
            signed: [version.unwrap_or(0), serial.unwrap_or(0)],
        }
    }

    /// The version that comes next.
    ///
    /// # Errors
    /// Names the node whose claim is not followed.
    pub(super) fn next_version(&self, committee: &Committee) -> Result<u64, ClientError> {
        let claims = Claims::new(&self.versions, self.signed[0]);
        let Claims { known, most, node } = claims;
        if !claims.is_followed() {
            let text = format!(
                "{} claims to have seen version {most} of this sharing, and nobody else more than {known}: that is not followed, ask its operator",
                committee.label(node)
            );
            return Err(ClientError::Answer(text));
        }
        after("version", most.max(known))
    }

    /// The serial that comes next: after what all claim, but for a claim that is not followed. It does not keep the list from
    /// the other nodes; the one that makes it will refuse.
    pub(super) fn next_serial(&self) -> Result<u64, ClientError> {
        let claims = Claims::new(&self.serials, self.signed[1]);
        after("serial", if claims.is_followed() { claims.most.max(claims.known) } else { claims.known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::committee::Member;
    use crate::identity::generate;

    #[test]
    fn one_node_cannot_use_up_the_numbers_of_a_sharing() {
        let member = |n: u8| Member {
            name: format!("node {n}"),
            address: format!("127.0.0.1:700{n}"),
            key: generate().unwrap().public(),
        };
        let committee = Committee::new([1, 2, 3].map(member)).unwrap();
        let next = |versions: [u64; 3], signed| {
            Seen { versions: versions.into(), serials: vec![0; 3], signed: [signed, 0] }.next_version(&committee)
        };
        assert_eq!(next([0; 3], 0).unwrap(), 1);
        assert_eq!(next([3, 5, 4], 0).unwrap(), 6, "half an upload: one is ahead");
        assert_eq!(next([0, MAX_LEAD, 0], 0).unwrap(), MAX_LEAD + 1);
        for (claims, liar) in
            [([u64::MAX, 7, 7], "node 1"), ([7, 8 + MAX_LEAD, 7], "node 2"), ([0, 0, 1 << 60], "node 3")]
        {
            let error = next(claims, 7).unwrap_err().to_string();
            assert!(error.contains(liar) && error.contains("is not followed"), "{error}");
        }
        assert_eq!(next([0, 0, 200_000], 199_999).unwrap(), 200_001, "its owner has signed as much");
        assert_eq!(next([5, 5, 5], 9).unwrap(), 10, "what was signed is never signed again");
        assert!(next([u64::MAX; 3], u64::MAX).unwrap_err().to_string().contains("no version is left"));
        // A list of who may ask reaches the others whatever one claims.
        let serial = |serials: [u64; 3], signed| {
            Seen { versions: vec![0; 3], serials: serials.into(), signed: [0, signed] }.next_serial()
        };
        assert_eq!(serial([4, 6, 5], 0).unwrap(), 7);
        assert_eq!(serial([u64::MAX, 6, 5], 0).unwrap(), 7);
        assert_eq!(serial([0, 0, 1 << 40], 9).unwrap(), 10);
        assert!(serial([u64::MAX; 3], 0).is_err());
    }
}
