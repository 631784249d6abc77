//! A whole run, made and checked.

use zeroize::Zeroize;

use super::step::Head;
use super::transcript::{Step, Transcript};
use super::{Definition, DefinitionError, Rows, commit};
use crate::noise::{DiscreteGaussian, Generator, NoiseError};
use crate::train::sample;

/// From which batches, noise and the keys of commitments are derived. Whoever has it can subtract the noise.
pub struct Secret([u8; 32]);

/// What a commitment is of, or what randomness is for.
#[derive(Clone, Copy)]
enum Purpose {
    Row,
    Batch,
    Coins,
    Gradient,
    Noise,
    Samples,
}

impl Secret {
    /// From the operating system.
    ///
    /// # Errors
    /// When it has none to give.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// As it was kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// To be kept from everybody else.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }

    /// A commitment to it.
    pub fn commitment(&self) -> [u8; 32] {
        blake3::derive_key("sahara provable training: secret", &self.0)
    }

    /// A commitment to each row, and to all of them.
    fn rows(&self, rows: &Rows) -> (Vec<[u8; 32]>, [u8; 32]) {
        let leaves = rows.leaves(|row| self.key(Purpose::Row, &[0; 32], row));
        let root = commit::tree(&leaves);
        (leaves, root)
    }

    /// The commitment to these rows that a definition has.
    pub fn root(&self, rows: &Rows) -> [u8; 32] {
        self.rows(rows).1
    }

    /// For a purpose, in a run, at a place.
    fn key(&self, purpose: Purpose, run: &[u8; 32], place: u64) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&[purpose as u8]).update(run).update(&place.to_le_bytes());
        *hasher.finalize().as_bytes()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A part of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The weights before it.
    Before,
    /// The batch.
    Batch,
    /// The gradient.
    Gradient,
    /// The noise.
    Noise,
    /// The weights after it.
    After,
    /// The hash that chains it to the others.
    Hash,
    /// The weights that were released, at the last step.
    Released,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Before => "weights before it",
            Self::Batch => "batch",
            Self::Gradient => "gradient",
            Self::Noise => "noise",
            Self::After => "weights after it",
            Self::Hash => "chained hash",
            Self::Released => "weights that were released after it",
        })
    }
}

/// Where a transcript is not what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The first such step, from 1.
    pub step: usize,
    /// What of it.
    pub part: Part,
}

/// Why a run cannot be made or checked.
#[derive(Debug, thiserror::Error)]
pub enum ProvableError {
    /// There is no such run.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// There is no such noise.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// Another secret.
    #[error("the secret is not the one that the run committed to")]
    Secret,
    /// Other rows.
    #[error("the rows are not those that the run committed to")]
    Rows,
    /// Another sampler.
    #[error("this program draws noise by another sampler than the run: take the version that made it")]
    Sampler,
    /// No such step.
    #[error("there is no step {asked}: the run has {steps}")]
    Step {
        /// Which was asked for, from 1.
        asked: usize,
        /// How many there are.
        steps: usize,
    },
    /// Whoever waits said that it is enough.
    #[error("the run was stopped")]
    Stopped,
}

/// A run that is ready for its next step.
pub(super) struct Machine<'a> {
    definition: &'a Definition,
    rows: &'a Rows,
    secret: &'a Secret,
    run: [u8; 32],
    leaves: Vec<[u8; 32]>,
    sampler: Option<DiscreteGaussian>,
    pub(super) head: Head,
    pub(super) root: [u8; 32],
    pub(super) hash: [u8; 32],
    place: usize,
}

impl<'a> Machine<'a> {
    pub(super) fn new(definition: &'a Definition, rows: &'a Rows, secret: &'a Secret) -> Result<Self, ProvableError> {
        definition.check()?;
        if secret.commitment() != definition.secret {
            return Err(ProvableError::Secret);
        }
        let (leaves, root) = secret.rows(rows);
        let sizes = (rows.len() as u64, rows.inputs()) == (definition.rows, definition.inputs);
        if !sizes || rows.greatest() >= definition.classes || root != definition.root {
            return Err(ProvableError::Rows);
        }
        if Definition::sampler_of(definition.sigma)? != definition.sampler {
            return Err(ProvableError::Sampler);
        }
        let sampler = definition.is_private().then(|| DiscreteGaussian::new(definition.sigma)).transpose()?;
        let head = Head::begin(definition.inputs, definition.classes);
        let (root, run) = (head.root(), definition.digest());
        Ok(Self { definition, rows, secret, run, leaves, sampler, root, head, hash: run, place: 0 })
    }

    fn key(&self, purpose: Purpose) -> [u8; 32] {
        self.secret.key(purpose, &self.run, self.place as u64)
    }

    pub(super) fn step(&mut self) -> Step {
        let Definition { rate, cap, clip, shift, multipliers, .. } = self.definition;
        let mut coins = Generator::from_seed(self.key(Purpose::Coins));
        let most = usize::try_from(*cap).unwrap_or(usize::MAX);
        let batch = sample::batch(self.rows.len(), *rate, most, &mut coins);
        let mut gradient = self.head.gradient(self.rows, &batch, *clip);
        let mut noise = vec![0; gradient.len()];
        if let Some(sampler) = &self.sampler {
            sampler.fill(&mut Generator::from_seed(self.key(Purpose::Samples)), &mut noise);
        }
        let members: Vec<[u8; 32]> = batch.iter().map(|&row| self.leaves[row]).collect();
        let members = commit::tree(&members);
        let words = members.as_chunks().0.iter().map(|word| i64::from_le_bytes(*word));
        let places = batch.iter().map(|&row| row as i64);
        let before = self.root;
        self.head.update(&gradient, &noise, multipliers[self.place], *shift);
        self.root = self.head.root();
        let mut step = Step {
            before,
            batch: commit::hidden(&self.key(Purpose::Batch), places.chain(words)),
            gradient: commit::hidden(&self.key(Purpose::Gradient), gradient.iter().copied()),
            noise: commit::hidden(&self.key(Purpose::Noise), noise.iter().copied()),
            after: self.root,
            hash: [0; 32],
        };
        step.hash = step.chained(&self.hash, self.place);
        gradient.zeroize();
        noise.zeroize();
        self.hash = step.hash;
        self.place += 1;
        step
    }
}

/// Makes all steps. `go_on` is told after each how many are done. What the run costs has to be spent before.
///
/// # Errors
/// When the definition makes no sense or is not of these rows and this secret, or `go_on` says no.
pub fn train(
    definition: Definition,
    rows: &Rows,
    secret: &Secret,
    mut go_on: impl FnMut(usize) -> bool,
) -> Result<Transcript, ProvableError> {
    let mut machine = Machine::new(&definition, rows, secret)?;
    let mut steps = Vec::with_capacity(definition.steps());
    for done in 1..=definition.steps() {
        steps.push(machine.step());
        if !go_on(done) {
            return Err(ProvableError::Stopped);
        }
    }
    let head = machine.head;
    Ok(Transcript { definition, steps, head })
}

/// Does the steps of a transcript again, up to `last` (from 1; all if there is none), and says where it first is not what comes out.
///
/// # Errors
/// When the rows or the secret are not those that the run committed to, or `go_on` says no.
pub fn verify(
    transcript: &Transcript,
    rows: &Rows,
    secret: &Secret,
    last: Option<usize>,
    mut go_on: impl FnMut(usize) -> bool,
) -> Result<Option<Difference>, ProvableError> {
    let steps = transcript.definition.steps();
    let last = last.unwrap_or(steps);
    if last == 0 || last > steps || transcript.steps.len() != steps {
        return Err(ProvableError::Step { asked: last, steps });
    }
    let mut machine = Machine::new(&transcript.definition, rows, secret)?;
    for (place, said) in transcript.steps.iter().enumerate().take(last) {
        let found = machine.step();
        let parts = [
            (Part::Before, said.before == found.before),
            (Part::Batch, said.batch == found.batch),
            (Part::Gradient, said.gradient == found.gradient),
            (Part::Noise, said.noise == found.noise),
            (Part::After, said.after == found.after),
            (Part::Hash, said.hash == found.hash),
            (Part::Released, place + 1 < steps || transcript.head == machine.head),
        ];
        if let Some((part, _)) = parts.into_iter().find(|(_, same)| !same) {
            return Ok(Some(Difference { step: place + 1, part }));
        }
        if !go_on(place + 1) {
            return Err(ProvableError::Stopped);
        }
    }
    Ok(None)
}
