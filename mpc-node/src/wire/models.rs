//! Messages about sharings and preprocessing packs.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};

use super::{
    Incarnation, JobId, Kind, MAX_STREAM, ManifestId, Message, PackId, SharingId, Task, flag, read_visibility,
    visibility_code,
};
use crate::engine::Visibility;
use crate::identity::PublicKey;
use crate::manifest::{AnswerCost, MAX_MANIFEST, SharingName, SignedAccess, SignedManifest};

/// Most kinds of noisy answers on one account.
pub const MAX_KINDS: usize = 64;
/// Most sharings in one list.
pub const MAX_SHARINGS: usize = 1024;

/// Asks for the manifest of one sharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindSharing {
    /// Whatever version is current.
    Current(SharingId),
    /// The version with this manifest, if it is current.
    Exactly(ManifestId),
}

impl Message for FindSharing {
    const KIND: Kind = Kind::FindSharing;
    const NAME: &'static str = "question for a sharing";

    fn write(&self, w: &mut Writer) {
        match self {
            Self::Current(id) => w.u8(0).bytes(&id.0),
            Self::Exactly(id) => w.u8(1).bytes(&id.0),
        };
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8()? {
            0 => Ok(Self::Current(SharingId(r.array()?))),
            1 => Ok(Self::Exactly(ManifestId(r.array()?))),
            _ => Err(r.field("question")),
        }
    }
}

/// What a node has of a sharing, as far as the asker may know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharingReply {
    /// The highest version that was ever here, also after a deletion; 0 for none. Told to the owner only.
    pub last_version: u64,
    /// The highest serial number of an access list that was ever here. Told to the owner only.
    pub last_serial: u64,
    /// Whether the owner deleted it, which is not the same as having lost it. Told to the owner only.
    pub deleted: bool,
    /// The current version.
    pub manifest: Option<SignedManifest>,
    /// A later access list than the manifest's.
    pub access: Option<SignedAccess>,
}

impl Message for SharingReply {
    const KIND: Kind = Kind::SharingReply;
    const NAME: &'static str = "answer about a sharing";

    fn write(&self, w: &mut Writer) {
        w.u64(self.last_version).u64(self.last_serial).u8(self.deleted.into());
        let manifest = self.manifest.as_ref().map_or(&[][..], SignedManifest::encode);
        w.u32(manifest.len() as u32).bytes(manifest);
        let access = self.access.as_ref().map(SignedAccess::encode).unwrap_or_default();
        w.u32(access.len() as u32).bytes(&access);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (last_version, last_serial, deleted) = (
            r.u64()?,
            r.u64()?,
            match r.u8()? {
                0 => false,
                1 => true,
                _ => return Err(r.field("deletion")),
            },
        );
        let len = r.count("manifest", MAX_MANIFEST)?;
        let manifest = r.take(len)?;
        let len = r.count("access list", MAX_MANIFEST)?;
        let access = r.take(len)?;
        let some = |bytes: &[u8]| !bytes.is_empty();
        Ok(Self {
            last_version,
            last_serial,
            deleted,
            manifest: some(manifest).then(|| SignedManifest::decode(manifest)).transpose()?,
            access: some(access).then(|| SignedAccess::decode(access)).transpose()?,
        })
    }
}

/// Asks for the sharings that the asker owns or may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListSharings;

impl Message for ListSharings {
    const KIND: Kind = Kind::ListSharings;
    const NAME: &'static str = "question for sharings";

    fn write(&self, _: &mut Writer) {}

    fn read(_: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

/// One sharing in a list. Nothing of it is signed: a client that goes on with one asks for its manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharingEntry {
    /// The owner's key (as far as it opens lanes).
    pub owner: PublicKey,
    /// The owner's name for it.
    pub name: SharingName,
    /// The current version.
    pub version: u64,
    /// Its manifest.
    pub manifest: ManifestId,
    /// Who knows the weights.
    pub visibility: Visibility,
    /// Bytes of the client part; 0 for none.
    pub client_part: u64,
    /// Bytes that it takes on the node.
    pub bytes: u64,
}

/// Answer to [`ListSharings`], the first [`MAX_SHARINGS`] in the order of owner and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharingList(pub Vec<SharingEntry>);

impl Message for SharingList {
    const KIND: Kind = Kind::SharingList;
    const NAME: &'static str = "list of sharings";

    fn write(&self, w: &mut Writer) {
        w.u32(self.0.len().min(MAX_SHARINGS) as u32);
        for entry in self.0.iter().take(MAX_SHARINGS) {
            w.bytes(&entry.owner.0).text_up_to(entry.name.as_str(), SharingName::LIMIT).u64(entry.version);
            w.bytes(&entry.manifest.0).u8(visibility_code(entry.visibility)).u64(entry.client_part).u64(entry.bytes);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let entry = |r: &mut Reader<'_>| {
            Ok(SharingEntry {
                owner: PublicKey(r.array()?),
                name: r.text("name", SharingName::LIMIT)?.parse().map_err(|_| r.field("name"))?,
                version: r.u64()?,
                manifest: ManifestId(r.array()?),
                visibility: read_visibility(r)?,
                client_part: r.u64()?,
                bytes: r.u64()?,
            })
        };
        (0..r.count("sharings", MAX_SHARINGS)?).map(|_| entry(r)).collect::<Result<_, _>>().map(Self)
    }
}

/// Begins the upload of one version of a sharing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// What the pieces are checked against.
    pub manifest: SignedManifest,
    /// Bytes of all pieces that this node will be sent.
    pub bytes: u64,
}

impl Message for Begin {
    const KIND: Kind = Kind::Begin;
    const NAME: &'static str = "announcement of a sharing";

    fn write(&self, w: &mut Writer) {
        w.u64(self.bytes).bytes(self.manifest.encode());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = r.u64()?;
        let left = r.left();
        Ok(Self { bytes, manifest: SignedManifest::decode(r.take(left)?)? })
    }
}

/// Announces one piece of an upload; which one follows from the manifest: the graphs in their order, this node's parts
/// of the weights in the order of the assignments, the client part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes that follow in chunks.
    pub len: u64,
}

impl Message for Piece {
    const KIND: Kind = Kind::Piece;
    const NAME: &'static str = "announcement of a piece";

    fn write(&self, w: &mut Writer) {
        w.u64(self.len);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { len: stream_length(r)? })
    }
}

/// Replaces the list of consumers of a sharing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutAccess(pub SignedAccess);

impl Message for PutAccess {
    const KIND: Kind = Kind::PutAccess;
    const NAME: &'static str = "new access list";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.0.encode());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let left = r.left();
        SignedAccess::decode(r.take(left)?).map(Self)
    }
}

/// Deletes a sharing and everything that was made for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeleteSharing(pub SharingId);

impl Message for DeleteSharing {
    const KIND: Kind = Kind::DeleteSharing;
    const NAME: &'static str = "deletion of a sharing";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.0.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(SharingId(r.array()?)))
    }
}

/// Asks for the client part of a version; a [`Piece`] with its bytes is the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetClientPart(pub ManifestId);

impl Message for GetClientPart {
    const KIND: Kind = Kind::ClientPart;
    const NAME: &'static str = "question for a client part";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.0.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(ManifestId(r.array()?)))
    }
}

fn stream_length(r: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let len = r.u64()?;
    if len > MAX_STREAM { Err(r.field("length")) } else { Ok(len) }
}

/// Asks a helper to make packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// What they are for.
    pub task: Task,
    /// How many.
    pub count: u32,
    /// For which consumer: the asker itself, unless a node of the committee shows what that consumer has `asked` for.
    pub consumer: PublicKey,
    /// The job that the (one) pack is for: it is kept for that job for a while.
    pub job: Option<JobId>,
    /// The consumer's request for a job of this task, when a node has packs made ahead.
    pub asked: Option<Asked>,
}

impl Message for Prepare {
    const KIND: Kind = Kind::Prepare;
    const NAME: &'static str = "preparation request";

    fn write(&self, w: &mut Writer) {
        self.task.write(w);
        w.u32(self.count).bytes(&self.consumer.0);
        write_job(w, self.job);
        w.u8(u8::from(self.asked.is_some()));
        if let Some(Asked { job, inputs, signature }) = &self.asked {
            w.bytes(&job.0).bytes(&inputs[0]).bytes(&inputs[1]).bytes(signature);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (task, count, consumer, job) = (Task::read(r)?, r.u32()?, PublicKey(r.array()?), read_job(r)?);
        let asked = if flag(r, "request")? {
            Some(Asked { job: JobId(r.array()?), inputs: [r.array()?, r.array()?], signature: r.array()? })
        } else {
            None
        };
        Ok(Self { task, count, consumer, job, asked })
    }
}

/// What a consumer signed when it asked for a job: it shows others that this consumer did ask. It tells them nothing of the
/// input, whose commitments have salts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The job.
    pub job: JobId,
    /// Commitments to both evaluators' input shares.
    pub inputs: [[u8; 32]; 2],
    /// The consumer's signature on job, task and commitments, [`crate::transcript::request_digest`].
    pub signature: [u8; 64],
}

fn write_job(w: &mut Writer, job: Option<JobId>) {
    w.u8(u8::from(job.is_some())).bytes(&job.unwrap_or(JobId([0; 16])).0);
}

fn read_job(r: &mut Reader<'_>) -> Result<Option<JobId>, DecodeError> {
    let there = flag(r, "job")?;
    let job = JobId(r.array()?);
    if !there && job.0 != [0; 16] {
        return Err(r.field("job"));
    }
    Ok(there.then_some(job))
}

/// A helper deals one pack to an evaluator; wiped from memory when dropped.
pub struct Deal {
    /// The pack's name.
    pub pack: PackId,
    /// What it is for.
    pub task: Task,
    /// For which consumer it is made: the evaluators look at the access list, too.
    pub consumer: PublicKey,
    /// For which job, if for one.
    pub job: Option<JobId>,
    /// Which run of the helper deals it.
    pub incarnation: Incarnation,
    /// The seed between helper and this evaluator.
    pub seed: zeroize::Zeroizing<[u8; 32]>,
    /// Bytes of corrections that follow in chunks (none for the first evaluator).
    pub corrections: u64,
}

impl Message for Deal {
    const KIND: Kind = Kind::Deal;
    const NAME: &'static str = "pack announcement";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.pack.0);
        self.task.write(w);
        w.bytes(&self.consumer.0);
        write_job(w, self.job);
        w.bytes(&self.incarnation.0).bytes(&self.seed[..]).u64(self.corrections);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            pack: PackId(r.array()?),
            task: Task::read(r)?,
            consumer: PublicKey(r.array()?),
            job: read_job(r)?,
            incarnation: Incarnation(r.array()?),
            seed: zeroize::Zeroizing::new(r.array()?),
            corrections: stream_length(r)?,
        })
    }
}

/// Asks what the noisy answers about the data of a sharing have cost: whoever may use this version, or its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskAccount(pub ManifestId);

impl Message for AskAccount {
    const KIND: Kind = Kind::AskAccount;
    const NAME: &'static str = "question for an account";

    fn write(&self, w: &mut Writer) {
        w.bytes(&self.0.0);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(ManifestId(r.array()?)))
    }
}

/// How many answers of each kind have been spent: at most [`MAX_KINDS`], ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountReply(pub Vec<(AnswerCost, u64)>);

impl Message for AccountReply {
    const KIND: Kind = Kind::AccountReply;
    const NAME: &'static str = "account of noisy answers";

    fn write(&self, w: &mut Writer) {
        w.u32(self.0.len() as u32);
        for (cost, times) in &self.0 {
            cost.write(w);
            w.u64(*times);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let read = |r: &mut Reader<'_>| Ok((AnswerCost::read(r)?, r.u64()?));
        let spent =
            (0..r.count("kinds of answers", MAX_KINDS)?).map(|_| read(r)).collect::<Result<Vec<_>, DecodeError>>()?;
        if !spent.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(r.field("kinds of answers"));
        }
        Ok(Self(spent))
    }
}
