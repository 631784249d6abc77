//! Rounds: what a coordinator asks three nodes to add up, what a provider signs, and what comes out.
//!
//! A coordinator opens a round at all three nodes of a committee with the same signed [`RoundTerms`]; their hash is the round's
//! name ([`RoundId`]). Providers are named in it. Each sends a share of its vector to either evaluator, once. The coordinator
//! closes the round: what both evaluators have is checked, and the noisy sum of what is accepted is opened
//! (`sahara_protocol::round`), once.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};
use sahara_protocol::round::{NodeNoise, RoundError, Vectors};

use crate::engine::Assignment;
use crate::identity::{Identity, PublicKey};
use crate::ids::{id_type, random_id};

const MAGIC: &[u8; 8] = b"SAHROUND";
const VERSION: u16 = 1;
/// Most providers of a round.
pub const MOST_PROVIDERS: usize = 1024;
/// Longest note, in bytes.
pub const MOST_NOTE: usize = 4096;
/// Longest attachment, in bytes: a number of four bytes for each coordinate.
pub const MOST_ATTACHMENT: usize = 4 << 20;
/// Longest time for contributions, in seconds.
pub const MOST_SECONDS: u32 = 3600;
/// Longest terms, in bytes.
pub const MOST_TERMS: usize = 32 * MOST_PROVIDERS + MOST_NOTE + 512;

const TERMS: &str = "sahara 2026 round terms v1";
const OPENING: &str = "sahara 2026 round opening v1";
const SHARE: &str = "sahara 2026 round share v1";
const CONTRIBUTION: &str = "sahara 2026 round contribution v1";
const INCLUDED: &str = "sahara 2026 round included v1";
const OUTCOME: &str = "sahara 2026 round outcome v1";
const RESULT: &str = "sahara 2026 round result v1";

id_type!(
    /// Names one round: the hash of its terms.
    RoundId, 32
);
id_type!(
    /// Makes the terms of a round different from all others; chosen by the coordinator.
    RoundNonce, 16
);
random_id!(RoundNonce, 16);

/// Everything that all parties of a round agree on before anybody sends anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundTerms {
    /// [`crate::committee::Committee::digest`].
    pub committee: [u8; 32],
    /// Who opens and closes it.
    pub coordinator: PublicKey,
    /// Fresh for each round.
    pub nonce: RoundNonce,
    /// Which node is helper.
    pub assignment: Assignment,
    /// Dimension, bits and bound of the vectors.
    pub vectors: Vectors,
    /// Variance of the noise of each of the three nodes (16 to 2⁵²): half of what is claimed.
    pub variance: u64,
    /// With fewer accepted vectors nothing is opened (1 to as many as there are providers).
    pub least: u32,
    /// How long contributions are taken, from the opening at the node on (1 to [`MOST_SECONDS`]).
    pub seconds: u32,
    /// What the providers are told, at most [`MOST_NOTE`] bytes; nodes do not read it.
    pub note: Vec<u8>,
    /// Length and hash (BLAKE3) of what else they are given, at most [`MOST_ATTACHMENT`] bytes.
    pub attachment: (u32, [u8; 32]),
    /// Who may take part, ascending, at most [`MOST_PROVIDERS`].
    pub providers: Vec<PublicKey>,
}

/// Why there are no such terms.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TermsError {
    /// The vectors or the noise.
    #[error(transparent)]
    Round(#[from] RoundError),
    /// Another field.
    #[error("{0}")]
    Field(&'static str),
}

impl RoundTerms {
    /// Whether there can be such a round.
    ///
    /// # Errors
    /// Which field is out of range; [`RoundError::Wraps`] when the sum could leave 32 bits.
    pub fn check(&self) -> Result<(), TermsError> {
        let count = self.providers.len();
        let field = |ok, what| if ok { Ok(()) } else { Err(TermsError::Field(what)) };
        field((1..=MOST_PROVIDERS).contains(&count), "a round has from 1 to 1024 providers")?;
        field(self.providers.is_sorted_by(|a, b| a < b), "the providers of a round are in order, each once")?;
        field(
            (1..=count).contains(&(self.least as usize)),
            "fewest accepted: from 1 to as many as there are providers",
        )?;
        field((1..=MOST_SECONDS).contains(&self.seconds), "contributions are taken for 1 to 3600 seconds")?;
        field(self.note.len() <= MOST_NOTE, "the note of a round has at most 4096 bytes")?;
        field(self.attachment.0 as usize <= MOST_ATTACHMENT, "the attachment of a round has at most 4 MB")?;
        Ok(NodeNoise::new(self.variance)?.fits(&self.vectors, count)?)
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::with_header(MAGIC, VERSION);
        w.bytes(&self.committee).bytes(&self.coordinator.0).bytes(&self.nonce.0).u8(self.assignment.helper());
        w.u32(self.vectors.dimension() as u32).u8(self.vectors.bits()).u64(self.vectors.bound());
        w.u64(self.variance).u32(self.least).u32(self.seconds);
        w.u32(self.note.len() as u32).bytes(&self.note);
        w.u32(self.attachment.0).bytes(&self.attachment.1);
        w.u32(self.providers.len() as u32);
        self.providers.iter().for_each(|key| {
            w.bytes(&key.0);
        });
        w.0
    }

    /// Reads terms that pass [`RoundTerms::check`].
    ///
    /// # Errors
    /// When the bytes are not such terms.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new("terms of a round", bytes);
        r.header(MAGIC, VERSION)?;
        let (committee, coordinator, nonce) = (r.array()?, PublicKey(r.array()?), RoundNonce(r.array()?));
        let assignment = Assignment::new(r.u8()?).ok_or_else(|| r.field("helper"))?;
        let (dimension, bits, bound) = (r.u32()?, r.u8()?, r.u64()?);
        let vectors = Vectors::new(dimension, bits, bound).map_err(|_| r.field("dimension, bits or bound"))?;
        let (variance, least, seconds) = (r.u64()?, r.u32()?, r.u32()?);
        let note = r.count("bytes of a note", MOST_NOTE)?;
        let note = r.take(note)?.to_vec();
        let attachment = (r.u32()?, r.array()?);
        let count = r.count("providers", MOST_PROVIDERS)?;
        let providers = (0..count).map(|_| r.array().map(PublicKey)).collect::<Result<_, _>>()?;
        let terms = Self {
            committee,
            coordinator,
            nonce,
            assignment,
            vectors,
            variance,
            least,
            seconds,
            note,
            attachment,
            providers,
        };
        terms.check().map_err(|error| match error {
            TermsError::Round(RoundError::Wraps { .. }) => r.field("providers, bits and noise (the sum could wrap)"),
            TermsError::Round(_) => r.field("noise"),
            TermsError::Field(_) => r.field("one of the numbers, or the order of the providers,"),
        })?;
        r.finish()?;
        Ok(terms)
    }

    /// The round's name.
    pub fn id(&self) -> RoundId {
        RoundId(blake3::derive_key(TERMS, &self.encode()))
    }

    /// A provider's place in the list.
    pub fn place_of(&self, key: &PublicKey) -> Option<u16> {
        self.providers.binary_search(key).ok().and_then(|place| u16::try_from(place).ok())
    }

    /// The terms with the coordinator's signature.
    pub fn sign(self, coordinator: &Identity) -> SignedTerms {
        let signature = coordinator.sign(&opening(&self.id()));
        SignedTerms { id: self.id(), terms: self, signature }
    }
}

/// How terms name an attachment.
pub fn attachment_hash(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

fn opening(id: &RoundId) -> [u8; 32] {
    blake3::derive_key(OPENING, &id.0)
}

/// Terms whose coordinator has signed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTerms {
    id: RoundId,
    terms: RoundTerms,
    signature: [u8; 64],
}

impl SignedTerms {
    /// Reads terms and a signature.
    ///
    /// # Errors
    /// When they are no terms, or not signed by their coordinator.
    pub fn new(terms: &[u8], signature: [u8; 64]) -> Result<Self, DecodeError> {
        let terms = RoundTerms::decode(terms)?;
        let id = terms.id();
        if !terms.coordinator.verifies(&opening(&id), &signature) {
            return Err(DecodeError::Signature("terms of a round"));
        }
        Ok(Self { id, terms, signature })
    }

    /// The terms.
    pub fn terms(&self) -> &RoundTerms {
        &self.terms
    }

    /// The round's name.
    pub fn id(&self) -> RoundId {
        self.id
    }

    /// The coordinator's signature.
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }
}

/// Commits a provider to the share of one evaluator (0 or 1).
pub fn share_commitment(
    round: &RoundId,
    provider: &PublicKey,
    evaluator: u8,
    salt: &[u8; 32],
    share: &[u8],
) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(SHARE);
    hasher.update(&round.0).update(&provider.0).update(&[evaluator]).update(salt).update(share);
    *hasher.finalize().as_bytes()
}

/// What a provider signs: the round (with all its terms) and both shares.
pub fn contribution_digest(round: &RoundId, provider: &PublicKey, shares: &[[u8; 32]; 2]) -> [u8; 32] {
    let parts = [&round.0[..], &provider.0, &shares[0], &shares[1]].concat();
    blake3::derive_key(CONTRIBUTION, &parts)
}

/// Names the contributions that are checked: places of providers and [`contribution_digest`]s, ascending.
pub fn included_digest(round: &RoundId, included: &[(u16, [u8; 32])]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(INCLUDED);
    hasher.update(&round.0);
    for (place, digest) in included {
        hasher.update(&place.to_le_bytes()).update(digest);
    }
    *hasher.finalize().as_bytes()
}

/// Names the contributions whose sum is opened: fixed before any noise is drawn.
pub fn outcome_digest(included: &[u8; 32], accepted: &[bool]) -> [u8; 32] {
    let bits: Vec<u8> = accepted.iter().map(|accepted| u8::from(*accepted)).collect();
    blake3::derive_key(OUTCOME, &[&included[..], &bits].concat())
}

/// What came out of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundResult {
    /// Which round.
    pub round: RoundId,
    /// Who sent both shares in time: places in the list of providers, with what each signed.
    pub included: Vec<(u16, [u8; 32])>,
    /// Of these, whose vectors are no longer than allowed.
    pub accepted: Vec<bool>,
    /// The sum of the accepted vectors and the noise of all three nodes.
    pub sum: Vec<i32>,
    /// Signatures of the first and the second evaluator.
    pub signatures: [[u8; 64]; 2],
}

impl RoundResult {
    /// What the evaluators sign.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(RESULT);
        hasher.update(&outcome_digest(&included_digest(&self.round, &self.included), &self.accepted));
        for word in &self.sum {
            hasher.update(&word.to_le_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// How many vectors are in the sum.
    pub fn count(&self) -> usize {
        self.accepted.iter().filter(|accepted| **accepted).count()
    }

    /// Whether it has the form of a result of these terms, and both evaluators have signed it.
    pub fn is_of(&self, terms: &SignedTerms, evaluators: [PublicKey; 2]) -> bool {
        let places = self.included.iter().map(|(place, _)| *place);
        self.round == terms.id()
            && places.clone().is_sorted_by(|a, b| a < b)
            && places.clone().all(|place| usize::from(place) < terms.terms().providers.len())
            && self.accepted.len() == self.included.len()
            && self.sum.len() == terms.terms().vectors.dimension()
            && self.count() >= terms.terms().least as usize
            && evaluators.iter().zip(&self.signatures).all(|(key, signature)| key.verifies(&self.digest(), signature))
    }
}

#[cfg(test)]
mod tests;
