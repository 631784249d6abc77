//! What the nodes hold of a sharing, as its owner sees it: also when they do not agree, because a node lost it, an upload
//! did not come to its end, or a node went back to an older list. Whom the owner has let in is never taken from what is
//! missing: the latest list that any node shows under the owner's signature counts.

use super::{Client, ClientError, Sharing};
use crate::manifest::{AccessList, Consumers, OwnerKey, SharingId, SharingName, SignedAccess, SignedManifest};
use crate::wire::SharingReply;

/// A sharing of this client's own key, by those nodes that answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The version that all of them hold; `None` when they hold different ones, one holds none, or it is for another
    /// committee: then the model has to be shared again.
    pub sharing: Option<Sharing>,
    /// Who may use it, by the latest list.
    pub consumers: Consumers,
    /// Whether all of them go by that list: otherwise it has to be given to them again.
    pub settled: bool,
    /// Whether the newest version has a client part, for consumers who do not hold the model.
    pub client_part: bool,
}

impl Client {
    /// What the nodes hold of a sharing of this key; `None` when none holds anything of it.
    ///
    /// # Errors
    /// When no node answers, or one does not and the others hold nothing.
    pub fn held(&self, name: &SharingName) -> Result<Option<Held>, ClientError> {
        let owner = self.owner_key();
        let (replies, failed) = self.answers(SharingId::of(&owner, name))?;
        let answered: Vec<&SharingReply> = replies.iter().flatten().collect();
        match (Held::new(&answered, &owner, name, &self.committee.digest()), failed) {
            (None, Some(error)) => Err(error),
            (held, _) => Ok(held),
        }
    }
}

impl Held {
    /// The signatures in `replies` are genuine; whose they are, and of what, is asked here.
    fn new(replies: &[&SharingReply], owner: &OwnerKey, name: &SharingName, committee: &[u8; 32]) -> Option<Self> {
        let id = SharingId::of(owner, name);
        let nodes: Vec<(Option<&SignedManifest>, Option<&AccessList>)> = replies
            .iter()
            .map(|reply| {
                let signed = reply.manifest.as_ref().filter(|signed| signed.manifest().sharing() == id);
                let own = |access: &&SignedAccess| access.sharing() == id && access.owner() == *owner;
                let later = reply.access.as_ref().filter(own).map(SignedAccess::list);
                let first = signed.and_then(|signed| signed.manifest().access.list());
                (signed, first.into_iter().chain(later).max_by_key(|list| list.serial))
            })
            .collect();
        let newest = nodes.iter().filter_map(|(signed, _)| *signed).max_by_key(|signed| signed.manifest().version)?;
        let latest = nodes.iter().filter_map(|(_, list)| *list).max_by_key(|list| list.serial);
        let whole = newest.manifest().committee == *committee
            && nodes.iter().all(|(signed, _)| signed.is_some_and(|signed| signed.id() == newest.id()));
        Some(Self {
            sharing: whole.then(|| Sharing(newest.clone())),
            consumers: latest.map_or(Consumers::Only(Vec::new()), |list| list.consumers.clone()),
            settled: nodes.iter().all(|(_, list)| *list == latest),
            client_part: newest.manifest().client_part.is_some(),
        })
    }
}
