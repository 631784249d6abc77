//! What an owner says of a sharing, and signs: which weights, which graphs may be run on them, who may ask.
//!
//! A *sharing* is a model as one owner has handed it to one committee. Its [`SharingId`] comes from the owner's key and
//! a name of the owner's choice, so nobody can take or block somebody else's. A [`Manifest`] is one version of it; its
//! [`ManifestId`] is the hash of the canonical bytes, and jobs, packs and transcripts name that. Nodes check every
//! byte that is uploaded against the manifest, and derive weight material for the graphs that it permits only.

mod access;
mod commit;
mod name;
mod noise;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::str::FromStr;

use sahara_circuits::bytes::{DecodeError, Reader, Writer, unhex};
use sahara_circuits::graph::Graph;

pub use access::{AccessList, AccessRule, Asset, Consumers, MAX_ACCESS_KEYS, SignedAccess};
pub use commit::{layout_digest, masked_digest, masked_hasher, seed_commitment};
pub use name::{SharingName, SharingRef};
pub use noise::{AnswerCost, Budget, NoiseTerms, Sensitivity};

use crate::engine::{Assignment, GraphId, MaskDomain, NodeNoise, Visibility};
use crate::identity::{Identity, PublicKey};
use crate::ids::id_type;

const MAGIC: &[u8; 8] = b"SHMANIF\0";
/// Of manifests whose answers leave with noise; what is said of that is at the end.
const NOISY: u16 = 2;
const VERSION: u16 = 1;
const WHAT: &str = "manifest";
/// Most graphs of one sharing.
pub const MAX_GRAPHS: usize = 64;
/// Longest client part, in bytes.
pub const MAX_CLIENT_PART: u64 = 1 << 30;
/// Longest signed manifest, in bytes.
pub const MAX_MANIFEST: usize = 48 << 10;

id_type!(
    /// Names a sharing for all its versions: a hash of its owner's key and its name.
    SharingId, 32
);
id_type!(
    /// Names one version of a sharing: the hash of its manifest.
    ManifestId, 32
);

impl FromStr for ManifestId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        unhex(text).map(Self).ok_or_else(|| format!("`{text}` is not a manifest id (64 hexadecimal digits)"))
    }
}

/// The key of an owner. Only keys that also open lanes are known today; others (wallets) get tags of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OwnerKey {
    /// An Ed25519 key, as consumers and nodes have.
    Ed25519(PublicKey),
}

impl OwnerKey {
    const ED25519: u8 = 1;

    pub(crate) fn write(&self, w: &mut Writer) {
        match self {
            Self::Ed25519(key) => w.u8(Self::ED25519).bytes(&key.0),
        };
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8()? {
            Self::ED25519 => Ok(Self::Ed25519(PublicKey(r.array()?))),
            other => Err(r.unknown("owner's key", other)),
        }
    }

    fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        match self {
            Self::Ed25519(key) => key.verifies(message, signature),
        }
    }

    /// The key that opens lanes for this owner.
    pub fn lane_key(&self) -> PublicKey {
        match self {
            Self::Ed25519(key) => *key,
        }
    }
}

impl fmt::Display for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ed25519(key) => key.fmt(f),
        }
    }
}

impl SharingId {
    /// The sharing that `owner` calls `name`.
    pub fn of(owner: &OwnerKey, name: &SharingName) -> Self {
        let mut w = Writer::default();
        owner.write(&mut w);
        w.text_up_to(name.as_str(), SharingName::LIMIT);
        Self(blake3::derive_key("sahara 2026 sharing id v1", &w.0))
    }
}

/// What the manifest commits to for one assignment of private weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignmentShare {
    /// Which node is helper.
    pub assignment: Assignment,
    /// [`masked_digest`] of the masked tensors, which both evaluators hold.
    pub masked: [u8; 32],
    /// [`seed_commitment`] of the seeds that the helper shares with the first and with the second evaluator.
    pub seeds: [[u8; 32]; 2],
}

/// How the weights are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shares {
    /// Masked, once for each assignment that can be used; in the order of the assignments.
    Private(Vec<AssignmentShare>),
    /// The same as programs shared that did not bind masks to the committee: such sharings go on as they are, and the next
    /// version of each is bound.
    OldPrivate(Vec<AssignmentShare>),
    /// Given to the evaluators as they are; the weights root commits to them.
    Open,
}

/// What a consumer needs and the nodes serve: digest and length of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPart {
    /// BLAKE3 of its bytes.
    pub digest: [u8; 32],
    /// Its length in bytes.
    pub len: u64,
}

/// One version of a sharing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Whose it is.
    pub owner: OwnerKey,
    /// What the owner calls it.
    pub name: SharingName,
    /// Which version; a later one replaces an earlier one.
    pub version: u64,
    /// [`sahara_circuits::graph::Graph::weights_root`] of all graphs.
    pub weights_root: [u8; 32],
    /// [`layout_digest`] of all graphs.
    pub layout: [u8; 32],
    /// The graphs that may be run on the weights, ascending.
    pub graphs: Vec<GraphId>,
    /// [`crate::committee::Committee::digest`] of the nodes that it is for.
    pub committee: [u8; 32],
    /// How the weights are shared.
    pub shares: Shares,
    /// What consumers fetch, if they can do without the model.
    pub client_part: Option<ClientPart>,
    /// Who may ask.
    pub access: AccessRule,
    /// The terms under which answers leave, if they leave with noise only.
    pub noise: Option<NoiseTerms>,
}

impl Manifest {
    /// Which sharing this is a version of.
    pub fn sharing(&self) -> SharingId {
        SharingId::of(&self.owner, &self.name)
    }

    /// Who knows the weights.
    pub fn visibility(&self) -> Visibility {
        match self.shares {
            Shares::Private(_) | Shares::OldPrivate(_) => Visibility::Private,
            Shares::Open => Visibility::Open,
        }
    }

    /// What the nodes supply, if answers leave with noise only.
    pub fn node_noise(&self) -> Option<&NodeNoise> {
        self.noise.as_ref().map(|terms| &terms.noise)
    }

    /// What the masks of an assignment are derived from, besides their seeds.
    pub fn masks(&self, assignment: Assignment) -> MaskDomain {
        let sharing = self.sharing().0;
        match self.shares {
            Shares::OldPrivate(_) => MaskDomain::old(sharing, self.version, assignment),
            Shares::Private(_) | Shares::Open => MaskDomain::new(sharing, self.committee, self.version, assignment),
        }
    }

    /// Whether a graph is one of those that may be run: named here, with these weights and in this layout.
    pub fn permits(&self, id: GraphId, graph: &Graph) -> bool {
        self.graphs.binary_search(&id).is_ok()
            && graph.weights_root == self.weights_root
            && layout_digest(graph) == self.layout
    }

    /// What the manifest says of private weights in an assignment; nothing for open weights.
    pub fn share(&self, assignment: Assignment) -> Option<&AssignmentShare> {
        self.shares.private().iter().find(|share| share.assignment == assignment)
    }

    /// Whether the sharing can be used in an assignment.
    pub fn serves(&self, assignment: Assignment) -> bool {
        let counted = self.noise.as_ref().is_none_or(|noise| noise.assignment == assignment);
        counted && (self.shares == Shares::Open || self.share(assignment).is_some())
    }

    /// Signs the manifest; lists are put in their order first.
    ///
    /// # Errors
    /// When a field is out of its range, or `identity` does not hold the owner's key.
    pub fn sign(mut self, identity: &Identity) -> Result<SignedManifest, DecodeError> {
        self.graphs.sort_unstable();
        self.graphs.dedup();
        if let Shares::Private(shares) | Shares::OldPrivate(shares) = &mut self.shares {
            shares.sort_by_key(|share| share.assignment.helper());
        }
        let mut bytes = self.canonical();
        bytes.extend_from_slice(&identity.sign(&bytes));
        SignedManifest::decode(&bytes)
    }

    fn canonical(&self) -> Vec<u8> {
        let mut w = Writer::with_header(MAGIC, if self.noise.is_some() { NOISY } else { VERSION });
        self.owner.write(&mut w);
        w.text_up_to(self.name.as_str(), SharingName::LIMIT).u64(self.version);
        w.bytes(&self.weights_root).bytes(&self.layout).bytes(&self.committee);
        w.u32(self.graphs.len() as u32);
        for graph in &self.graphs {
            w.bytes(&graph.0);
        }
        w.u8(self.shares.code());
        if self.visibility() == Visibility::Private {
            let shares = self.shares.private();
            w.u8(shares.len() as u8);
            for share in shares {
                w.u8(share.assignment.helper()).bytes(&share.masked);
                w.bytes(&share.seeds[0]).bytes(&share.seeds[1]);
            }
        }
        match &self.client_part {
            None => w.u8(0),
            Some(part) => w.u8(1).bytes(&part.digest).u64(part.len),
        };
        self.access.write(&mut w);
        if let Some(noise) = &self.noise {
            noise.write(&mut w);
        }
        w.0
    }

    fn read(r: &mut Reader<'_>, version: u16) -> Result<Self, DecodeError> {
        r.header(MAGIC, version)?;
        let manifest = Self {
            owner: OwnerKey::read(r)?,
            name: r.text("name", SharingName::LIMIT)?.parse().map_err(|_| r.field("name"))?,
            version: r.u64()?,
            weights_root: r.array()?,
            layout: r.array()?,
            committee: r.array()?,
            graphs: (0..r.count("graphs", MAX_GRAPHS)?)
                .map(|_| r.array().map(GraphId))
                .collect::<Result<_, DecodeError>>()?,
            shares: read_shares(r)?,
            client_part: match r.u8()? {
                0 => None,
                1 => Some(ClientPart { digest: r.array()?, len: r.u64()? }),
                _ => return Err(r.field("client part")),
            },
            access: AccessRule::read(r)?,
            noise: if version == NOISY { Some(NoiseTerms::read(r)?) } else { None },
        };
        if manifest.version == 0 {
            return Err(r.field("version"));
        }
        if manifest.graphs.is_empty() || !manifest.graphs.is_sorted_by(|a, b| a < b) {
            return Err(r.field("list of graphs"));
        }
        if manifest.client_part.is_some_and(|part| part.len == 0 || part.len > MAX_CLIENT_PART) {
            return Err(r.field("length of the client part"));
        }
        let counted = |noise: &NoiseTerms| {
            let masked = manifest.shares.private();
            manifest.shares == Shares::Open || masked.len() == 1 && masked[0].assignment == noise.assignment
        };
        if !manifest.noise.as_ref().is_none_or(counted) {
            return Err(r.field("assignment of noise"));
        }
        Ok(manifest)
    }
}

impl Shares {
    const OLD_PRIVATE: u8 = 0;
    const OPEN: u8 = 1;
    const PRIVATE: u8 = 2;

    fn code(&self) -> u8 {
        match self {
            Self::OldPrivate(_) => Self::OLD_PRIVATE,
            Self::Open => Self::OPEN,
            Self::Private(_) => Self::PRIVATE,
        }
    }

    /// What is said of each assignment of private weights; nothing for open ones.
    pub fn private(&self) -> &[AssignmentShare] {
        match self {
            Self::Private(shares) | Self::OldPrivate(shares) => shares,
            Self::Open => &[],
        }
    }
}

fn read_shares(r: &mut Reader<'_>) -> Result<Shares, DecodeError> {
    let private = match r.u8()? {
        Shares::OLD_PRIVATE => Shares::OldPrivate,
        Shares::PRIVATE => Shares::Private,
        Shares::OPEN => return Ok(Shares::Open),
        other => return Err(r.unknown("way of sharing", other)),
    };
    let count = r.u8()?;
    let shares = (0..count)
        .map(|_| {
            Ok(AssignmentShare {
                assignment: Assignment::new(r.u8()?).ok_or_else(|| r.field("assignment"))?,
                masked: r.array()?,
                seeds: [r.array()?, r.array()?],
            })
        })
        .collect::<Result<Vec<_>, DecodeError>>()?;
    if shares.is_empty() || !shares.is_sorted_by(|a, b| a.assignment.helper() < b.assignment.helper()) {
        return Err(r.field("list of assignments"));
    }
    Ok(private(shares))
}

/// A manifest with its owner's signature, which has been checked: there is no other way to have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedManifest {
    manifest: Manifest,
    id: ManifestId,
    bytes: Vec<u8>,
}

impl SignedManifest {
    /// Reads a manifest and its signature, and checks both.
    ///
    /// # Errors
    /// When a field is out of its range, or the signature is not that of the owner named.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_MANIFEST {
            return Err(DecodeError::Field { what: WHAT, field: "length" });
        }
        let (body, signature) =
            bytes.split_last_chunk::<64>().ok_or(DecodeError::Truncated { what: WHAT, at: bytes.len() })?;
        let mut r = Reader::new(WHAT, body);
        let noisy = body.get(MAGIC.len()..MAGIC.len() + 2) == Some(&NOISY.to_le_bytes());
        let manifest = Manifest::read(&mut r, if noisy { NOISY } else { VERSION })?;
        r.finish()?;
        if !manifest.owner.verifies(body, signature) {
            return Err(DecodeError::Signature(WHAT));
        }
        Ok(Self { manifest, id: ManifestId(*blake3::hash(body).as_bytes()), bytes: bytes.to_vec() })
    }

    /// The canonical bytes and the signature.
    pub fn encode(&self) -> &[u8] {
        &self.bytes
    }

    /// What is signed.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Hash of the canonical bytes.
    pub fn id(&self) -> ManifestId {
        self.id
    }
}
