//! A run as it was committed to: its definition, a record for each step, and the weights at its end.

use super::definition::{Definition, DefinitionError};
use super::step::Head;

const MAGIC: &[u8; 8] = b"SAHPROOF";
const VERSION: u64 = 1;

/// What a step committed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The weights before it.
    pub before: [u8; 32],
    /// Which rows: their places, and the commitments to them. Hidden.
    pub batch: [u8; 32],
    /// The sum of their clipped gradients. Hidden.
    pub gradient: [u8; 32],
    /// The noise. Hidden.
    pub noise: [u8; 32],
    /// The weights after it.
    pub after: [u8; 32],
    /// Of all this, and of the step before.
    pub hash: [u8; 32],
}

impl Step {
    /// What its hash should be, after a step with that of `before`, at a place from 0.
    pub fn chained(&self, before: &[u8; 32], place: usize) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("sahara provable training: step");
        hasher.update(before).update(&(place as u64).to_le_bytes());
        for part in [&self.before, &self.batch, &self.gradient, &self.noise, &self.after] {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

/// A whole run.
#[derive(Clone, Debug, PartialEq)]
pub struct Transcript {
    /// What it was to be.
    pub definition: Definition,
    /// What its steps committed to.
    pub steps: Vec<Step>,
    /// What came out.
    pub head: Head,
}

/// Why bytes are no transcript.
#[derive(Debug, thiserror::Error)]
pub enum TranscriptError {
    /// They are something else.
    #[error("this is no transcript of a provable run")]
    Foreign,
    /// They are of another version.
    #[error("the transcript has version {0}, and this program reads {VERSION}")]
    Version(u64),
    /// They end early, have more than they should, or a number that cannot be there.
    #[error("the transcript is damaged at byte {0}")]
    Damaged(usize),
    /// The run that it speaks of makes no sense.
    #[error("the transcript is of no run that there can be: {0}")]
    Definition(#[from] DefinitionError),
}

impl Transcript {
    /// The hash of the last step: it names the whole run.
    pub fn name(&self) -> [u8; 32] {
        self.steps.last().map_or_else(|| self.definition.digest(), |step| step.hash)
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(MAGIC.to_vec());
        out.number(VERSION);
        self.definition.write(&mut out);
        for step in &self.steps {
            for part in [&step.before, &step.batch, &step.gradient, &step.noise, &step.after, &step.hash] {
                out.hash(part);
            }
        }
        self.head.weights().iter().for_each(|weight| out.number(weight.cast_unsigned()));
        out.0
    }

    /// Reads [`Transcript::encode`]. What it says is not believed by that: see [`super::verify`].
    ///
    /// # Errors
    /// When the bytes are no transcript.
    pub fn decode(bytes: &[u8]) -> Result<Self, TranscriptError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(TranscriptError::Foreign)?;
        let mut input = Reader { rest, whole: bytes.len() };
        match input.number()? {
            VERSION => {}
            other => return Err(TranscriptError::Version(other)),
        }
        let definition = Definition::read(&mut input)?;
        input.has(192 * definition.steps())?;
        let mut step = || {
            let [before, batch, gradient] = [input.hash()?, input.hash()?, input.hash()?];
            let [noise, after, hash] = [input.hash()?, input.hash()?, input.hash()?];
            Ok(Step { before, batch, gradient, noise, after, hash })
        };
        let steps = (0..definition.steps()).map(|_| step()).collect::<Result<_, TranscriptError>>()?;
        let count = (definition.inputs + 1) * definition.classes;
        input.has(8 * count)?;
        let weights = (0..count).map(|_| Ok(input.number()?.cast_signed())).collect::<Result<_, TranscriptError>>()?;
        let head = Head::from_weights(definition.inputs, definition.classes, weights);
        match head {
            Some(head) if input.rest.is_empty() => Ok(Self { definition, steps, head }),
            _ => Err(input.damaged()),
        }
    }
}

/// Appends numbers and hashes.
#[derive(Default)]
pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    pub(super) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn hash(&mut self, hash: &[u8; 32]) {
        self.0.extend_from_slice(hash);
    }
}

/// Takes numbers and hashes off the front.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    whole: usize,
}

impl Reader<'_> {
    pub(super) fn number(&mut self) -> Result<u64, TranscriptError> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn hash(&mut self) -> Result<[u8; 32], TranscriptError> {
        self.take()
    }

    /// A number from 1 to `most`.
    pub(super) fn size(&mut self, most: usize) -> Result<usize, TranscriptError> {
        let number = usize::try_from(self.number()?).unwrap_or(0);
        if number == 0 || number > most { Err(self.damaged()) } else { Ok(number) }
    }

    /// Refuses to make room for what is not there.
    pub(super) fn has(&self, bytes: usize) -> Result<(), TranscriptError> {
        if self.rest.len() < bytes { Err(self.damaged()) } else { Ok(()) }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], TranscriptError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.damaged())?;
        self.rest = rest;
        Ok(*taken)
    }

    fn damaged(&self) -> TranscriptError {
        TranscriptError::Damaged(self.whole - self.rest.len())
    }
}
