//! Transcripts: per job and direction a hash chain over every frame between the evaluators, signed at the end.
//!
//! Each link is BLAKE3, keyed by the job's secret, of the chain so far, the frame's number and the frame: heads under
//! a key that the helper or the consumer could derive would let it test guesses of what is in a small frame. The heads of both
//! sides must agree (what one sent is what the other received), so a dispute can find the first frame that differs.

use crate::codec::{DecodeError, Reader, Writer};
use crate::engine::JobSecret;
use crate::identity::{Identity, PublicKey};
use crate::wire::{JobId, Kind, Message, PackId, Task};
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"SHTRANS\0";
const VERSION: u16 = 2;

/// What a session's chains are bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The job.
    pub job: JobId,
    /// The pack used up.
    pub pack: PackId,
    /// What was computed.
    pub task: Task,
    /// Keys of the first and the second evaluator.
    pub evaluators: [PublicKey; 2],
}

impl Session {
    fn write(&self, w: &mut Writer) {
        w.bytes(&self.job.0).bytes(&self.pack.0);
        self.task.write(w);
        w.bytes(&self.evaluators[0].0).bytes(&self.evaluators[1].0);
    }

    /// Names the session.
    pub fn digest(&self) -> [u8; 32] {
        let mut w = Writer::default();
        self.write(&mut w);
        blake3::derive_key("sahara 2026 transcript session v1", &w.0)
    }
}

/// One direction's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Frames so far.
    pub frames: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Hash of it all.
    pub head: [u8; 32],
}

impl Chain {
    fn start(key: &[u8; 32], sender: &PublicKey) -> Self {
        Self { frames: 0, bytes: 0, head: *blake3::keyed_hash(key, &sender.0).as_bytes() }
    }

    fn link(&mut self, key: &[u8; 32], frame: &[u8]) {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(&self.head).update(&self.frames.to_le_bytes()).update(frame);
        self.head = *hasher.finalize().as_bytes();
        self.frames += 1;
        self.bytes += frame.len() as u64;
    }

    fn write(&self, w: &mut Writer) {
        w.u64(self.frames).u64(self.bytes).bytes(&self.head);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { frames: r.u64()?, bytes: r.u64()?, head: r.array()? })
    }
}

/// Both chains of one job, as one evaluator sees them.
pub struct Transcript {
    session: Session,
    key: Zeroizing<[u8; 32]>,
    signer: PublicKey,
    sent: Chain,
    received: Chain,
}

impl Transcript {
    /// Empty chains of a session; `own` is 0 for the first evaluator, 1 for the second.
    pub fn new(session: Session, own: usize, secret: &JobSecret) -> Self {
        let key = secret.transcript_key();
        let signer = session.evaluators[own];
        let other = session.evaluators[1 - own];
        Self { sent: Chain::start(&key, &signer), received: Chain::start(&key, &other), signer, session, key }
    }

    /// Adds a frame that was sent.
    pub fn sent(&mut self, frame: &[u8]) {
        self.sent.link(&self.key, frame);
    }

    /// Adds a frame that was received.
    pub fn received(&mut self, frame: &[u8]) {
        self.received.link(&self.key, frame);
    }

    /// The signed end.
    pub fn sign(self, identity: &Identity) -> SignedRecord {
        let record = Record { session: self.session, signer: self.signer, sent: self.sent, received: self.received };
        let signature = identity.sign(&record.signed_bytes());
        SignedRecord { record, signature }
    }
}

/// The end of a transcript as one evaluator saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the chains are bound to.
    pub session: Session,
    /// Who saw it so.
    pub signer: PublicKey,
    /// What the signer sent.
    pub sent: Chain,
    /// What the signer received.
    pub received: Chain,
}

impl Record {
    fn write(&self, w: &mut Writer) {
        w.bytes(MAGIC).u16(VERSION);
        self.session.write(w);
        w.bytes(&self.signer.0);
        self.sent.write(w);
        self.received.write(w);
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut w = Writer::default();
        self.write(&mut w);
        w.0
    }
}

/// A record and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRecord {
    /// What is signed.
    pub record: Record,
    /// Ed25519 signature by `record.signer`.
    pub signature: [u8; 64],
}

impl SignedRecord {
    /// Whether the signer signed it and is one of the evaluators.
    pub fn is_signed(&self) -> bool {
        let record = &self.record;
        record.session.evaluators.contains(&record.signer)
            && record.signer.verifies(&record.signed_bytes(), &self.signature)
    }

    /// Whether two evaluators' records tell the same story.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let (a, b) = (&self.record, &other.record);
        a.session == b.session && a.signer != b.signer && a.sent == b.received && a.received == b.sent
    }
}

impl Message for SignedRecord {
    const KIND: Kind = Kind::Transcript;
    const NAME: &'static str = "transcript";

    fn write(&self, w: &mut Writer) {
        self.record.write(w);
        w.bytes(&self.signature);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.header(MAGIC, VERSION)?;
        let session = Session {
            job: JobId(r.array()?),
            pack: PackId(r.array()?),
            task: Task::read(r)?,
            evaluators: [PublicKey(r.array()?), PublicKey(r.array()?)],
        };
        let record =
            Record { session, signer: PublicKey(r.array()?), sent: Chain::read(r)?, received: Chain::read(r)? };
        Ok(Self { record, signature: r.array()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Assignment, GraphId, Rounding};
    use crate::identity::generate;

    fn records(frames: &[(&[u8], &[u8])], other_view: &[(&[u8], &[u8])]) -> [SignedRecord; 2] {
        let identities = [generate().unwrap(), generate().unwrap()];
        let session = Session {
            job: JobId([1; 16]),
            pack: PackId([2; 16]),
            task: Task {
                manifest: crate::wire::ManifestId([4; 32]),
                graph: GraphId([3; 32]),
                assignment: Assignment::ALL[0],
                rounding: Rounding::Exact,
            },
            evaluators: [identities[0].public(), identities[1].public()],
        };
        let secret = JobSecret::from_bytes([4; 32]);
        let mut both = [Transcript::new(session, 0, &secret), Transcript::new(session, 1, &secret)];
        for (a, b) in frames {
            both[0].sent(a);
            both[0].received(b);
        }
        for (a, b) in other_view {
            both[1].sent(b);
            both[1].received(a);
        }
        let [a, b] = both;
        [a.sign(&identities[0]), b.sign(&identities[1])]
    }

    #[test]
    fn equal_views_agree_and_any_change_is_seen() {
        let story: &[(&[u8], &[u8])] = &[(b"one", b"eins"), (b"two", b"zwei")];
        let [a, b] = records(story, story);
        assert!(a.is_signed() && b.is_signed() && a.agrees_with(&b) && b.agrees_with(&a));
        assert!(!a.agrees_with(&a));
        assert_eq!(SignedRecord::decode(&a.encode()).unwrap(), a);
        assert_eq!((a.record.sent.frames, a.record.sent.bytes), (2, 6));

        let changed: [&[(&[u8], &[u8])]; 3] =
            [&[(b"one", b"eins"), (b"twO", b"zwei")], &[(b"two", b"zwei"), (b"one", b"eins")], &[(b"one", b"eins")]];
        for view in changed {
            let [a, b] = records(story, view);
            assert!(!a.agrees_with(&b));
        }
        let mut forged = a.clone();
        forged.record.sent.frames += 1;
        assert!(!forged.is_signed());
    }
}
