//! Who may use a sharing: a list of keys with a serial number that the owner can replace, or a place on a chain.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};

use crate::identity::{Identity, PublicKey};

use super::{OwnerKey, SharingId};

const MAGIC: &[u8; 8] = b"SHACCES\0";
const VERSION: u16 = 2;
/// Lists of the first version named no committee.
const UNBOUND: u16 = 1;
const WHAT: &str = "access list";
/// Most keys on one list.
pub const MAX_ACCESS_KEYS: usize = 1024;

/// Where it says who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessRule {
    /// In a list of the owner's.
    Keys(AccessList),
    /// With a contract: whoever holds the asset. No node serves it yet, each refuses it by name.
    Chain(Asset),
}

/// Something on a chain that gives access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// EIP-155 id of the chain.
    pub chain: u64,
    /// Address of the contract.
    pub contract: [u8; 20],
    /// Which asset of the contract.
    pub asset: [u8; 32],
}

impl Asset {
    /// All of it in a row: chain, contract, asset.
    pub fn bytes(&self) -> [u8; 60] {
        let mut bytes = [0; 60];
        bytes[..8].copy_from_slice(&self.chain.to_le_bytes());
        bytes[8..28].copy_from_slice(&self.contract);
        bytes[28..].copy_from_slice(&self.asset);
        bytes
    }
}

/// A list of consumers. Of two lists for one sharing the one with the higher serial number counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessList {
    /// Grows with each change.
    pub serial: u64,
    /// Who.
    pub consumers: Consumers,
}

impl AccessList {
    /// Keys on it.
    pub fn len(&self) -> usize {
        match &self.consumers {
            Consumers::Everyone => 0,
            Consumers::Only(keys) => keys.len(),
        }
    }

    /// Whether no key is on it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The consumers of a list. The owner may always use what is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consumers {
    /// Whoever the nodes serve at all.
    Everyone,
    /// These keys, ascending.
    Only(Vec<PublicKey>),
}

impl Consumers {
    /// These keys, put in order.
    pub fn only(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_unstable();
        keys.dedup();
        Self::Only(keys)
    }
}

impl Consumers {
    /// These and one more.
    #[must_use]
    pub fn with(self, key: PublicKey) -> Self {
        match self {
            Self::Everyone => Self::Everyone,
            Self::Only(keys) => Self::only(keys.into_iter().chain([key])),
        }
    }

    /// Those who are among both.
    #[must_use]
    pub fn both(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Everyone, these) | (these, Self::Everyone) => these.clone(),
            (Self::Only(a), Self::Only(b)) => Self::Only(a.iter().filter(|key| b.contains(key)).copied().collect()),
        }
    }
}

impl AccessList {
    /// Whether `key` is on the list.
    pub fn admits(&self, key: &PublicKey) -> bool {
        match &self.consumers {
            Consumers::Everyone => true,
            Consumers::Only(keys) => keys.binary_search(key).is_ok(),
        }
    }

    /// Signs a new list for a sharing with the committee that has this digest.
    ///
    /// # Errors
    /// When the list is out of its limits or out of order.
    pub fn sign(
        self,
        owner: OwnerKey,
        sharing: SharingId,
        committee: [u8; 32],
        identity: &Identity,
    ) -> Result<SignedAccess, DecodeError> {
        let unsigned = SignedAccess { sharing, owner, committee: Some(committee), list: self, signature: [0; 64] };
        let body = unsigned.body();
        SignedAccess::decode(&[&body[..], &identity.sign(&body)].concat())
    }

    fn write(&self, w: &mut Writer) {
        w.u64(self.serial);
        match &self.consumers {
            Consumers::Everyone => {
                w.u8(1);
            }
            Consumers::Only(keys) => {
                w.u8(0).u32(keys.len() as u32);
                for key in keys {
                    w.bytes(&key.0);
                }
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let serial = r.u64()?;
        let consumers = match r.u8()? {
            0 => {
                let keys = (0..r.count("consumers", MAX_ACCESS_KEYS)?)
                    .map(|_| r.array().map(PublicKey))
                    .collect::<Result<Vec<_>, _>>()?;
                if !keys.is_sorted_by(|a, b| a < b) {
                    return Err(r.field("list of consumers"));
                }
                Consumers::Only(keys)
            }
            1 => Consumers::Everyone,
            other => return Err(r.unknown("list of consumers", other)),
        };
        Ok(Self { serial, consumers })
    }
}

impl AccessRule {
    const KEYS: u8 = 0;
    const CHAIN: u8 = 1;

    /// The list, if it is one.
    pub fn list(&self) -> Option<&AccessList> {
        match self {
            Self::Keys(list) => Some(list),
            Self::Chain(_) => None,
        }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        match self {
            Self::Keys(list) => {
                w.u8(Self::KEYS);
                list.write(w);
            }
            Self::Chain(Asset { chain, contract, asset }) => {
                w.u8(Self::CHAIN).u64(*chain).bytes(contract).bytes(asset);
            }
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8()? {
            Self::KEYS => AccessList::read(r).map(Self::Keys),
            Self::CHAIN => Ok(Self::Chain(Asset { chain: r.u64()?, contract: r.array()?, asset: r.array()? })),
            other => Err(r.unknown("access rule", other)),
        }
    }
}

/// A list that replaces the one in a manifest, with the owner's signature, which has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedAccess {
    sharing: SharingId,
    owner: OwnerKey,
    committee: Option<[u8; 32]>,
    list: AccessList,
    signature: [u8; 64],
}

impl SignedAccess {
    /// Reads a list and its signature, and checks both. That the key named is the sharing's owner is for the caller to
    /// check: see [`SignedAccess::owner`].
    ///
    /// # Errors
    /// When a field is out of its range or the signature is not that of the owner named.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (body, signature) =
            bytes.split_last_chunk::<64>().ok_or(DecodeError::Truncated { what: WHAT, at: bytes.len() })?;
        let mut r = Reader::new(WHAT, body);
        let unbound = body.get(MAGIC.len()..MAGIC.len() + 2) == Some(&UNBOUND.to_le_bytes());
        r.header(MAGIC, if unbound { UNBOUND } else { VERSION })?;
        let owner = OwnerKey::read(&mut r)?;
        let sharing = SharingId(r.array()?);
        let committee = if unbound { None } else { Some(r.array()?) };
        let list = AccessList::read(&mut r)?;
        r.finish()?;
        if !owner.verifies(body, signature) {
            return Err(DecodeError::Signature(WHAT));
        }
        Ok(Self { sharing, owner, committee, list, signature: *signature })
    }

    /// The bytes with the signature.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.body();
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    fn body(&self) -> Vec<u8> {
        let mut w = Writer::with_header(MAGIC, if self.committee.is_some() { VERSION } else { UNBOUND });
        self.owner.write(&mut w);
        w.bytes(&self.sharing.0).bytes(self.committee.as_ref().map_or(&[][..], |digest| digest));
        self.list.write(&mut w);
        w.0
    }

    /// Which sharing it is for.
    pub fn sharing(&self) -> SharingId {
        self.sharing
    }

    /// Who signed it.
    pub fn owner(&self) -> OwnerKey {
        self.owner
    }

    /// Digest of the committee at whose nodes it counts; `None` in lists that an earlier program signed, which are no
    /// evidence of anything but to the node that has kept one.
    pub fn committee(&self) -> Option<[u8; 32]> {
        self.committee
    }

    /// The list.
    pub fn list(&self) -> &AccessList {
        &self.list
    }
}
