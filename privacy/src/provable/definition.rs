//! What a provable run was agreed to be: everything public about it, before its first step.

use super::rows::{MOST_CLASSES, MOST_INPUTS, MOST_ROWS, ROW_ONE};
use super::step::{GRADIENT_FRACTION, table};
use super::transcript::{Reader, Writer};
use super::{TranscriptError, commit};
use crate::accounting::{Accountant, AccountingError, Composition, Mechanism};
use crate::noise::{DiscreteGaussian, Generator, NoiseError};
use crate::train::sample::Rate;

/// Fractional bits of a row's numbers.
pub const ROW_FRACTION: u32 = 12;
/// Fractional bits of weights.
pub const WEIGHT_FRACTION: u32 = 16;

/// Most steps.
const MOST_STEPS: usize = 1 << 20;
/// Largest multiplier of an update.
const MOST_MULTIPLIER: u32 = u16::MAX as u32;
/// Largest bound of gradients, with 28 fractional bits.
const MOST_CLIP: i64 = 1 << 40;
/// Most rows of a batch.
const MOST_BATCH: u64 = 1 << 24;
/// Samples that tell one sampler from another.
const TOLD: usize = 64;

/// A run before its first step.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Numbers of a row.
    pub inputs: usize,
    /// Classes.
    pub classes: usize,
    /// Rows.
    pub rows: u64,
    /// Commitment to the rows and their classes, hidden under keys of the secret.
    pub root: [u8; 32],
    /// Commitment to the secret.
    pub secret: [u8; 32],
    /// Somebody else's randomness, drawn after that commitment was known; zeros where there was none.
    pub beacon: [u8; 32],
    /// With what probability a row is in a batch.
    pub rate: Rate,
    /// Most rows of a batch.
    pub cap: u64,
    /// Bound of a row's gradient, with 28 fractional bits.
    pub clip: i64,
    /// Parameter of the discrete Gaussian noise, in units of 2^-28; 0 for a run without noise, which bounds nothing.
    pub sigma: f64,
    /// Tells which sampler draws the noise.
    pub sampler: [u8; 32],
    /// Fractional bits of the multipliers.
    pub shift: u32,
    /// For each step, what its noisy gradient is multiplied by: learning rate over expected batch.
    pub multipliers: Vec<u32>,
}

/// Why there is no such run.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// A field is out of its range.
    #[error("{field} of the run is {value}: {range}")]
    Range {
        /// Which.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        range: &'static str,
    },
    /// There is no such noise.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The accountant refuses.
    #[error("accounting for the run")]
    Accounting(#[from] AccountingError),
}

impl Definition {
    /// Multipliers of these learning rates, for batches that are expected to have so many rows.
    ///
    /// # Errors
    /// When a rate is no number above 0, or there is none large enough to be written down.
    pub fn multipliers(rates: &[f64], batch: usize) -> Result<(u32, Vec<u32>), DefinitionError> {
        let largest = rates.iter().copied().fold(0.0, f64::max) / batch.max(1) as f64;
        let fine = rates.iter().all(|rate| rate.is_finite() && *rate >= 0.0);
        let shift = (1..=60).rev().find(|&shift| largest * 2_f64.powi(shift) <= f64::from(MOST_MULTIPLIER));
        let (Some(shift), true, true) = (shift, fine, largest > 0.0) else {
            let value = format!("{largest} over the batch");
            return Err(range("the learning rate", value, "a number above 0 and below 32768 times the batch"));
        };
        let unit = 2_f64.powi(shift) / batch.max(1) as f64;
        Ok((shift.cast_unsigned(), rates.iter().map(|rate| (rate * unit + 0.5).floor() as u32).collect()))
    }

    /// A bound of gradients with 28 fractional bits, rounded down.
    pub fn clip_of(bound: f64) -> i64 {
        (bound * 2_f64.powi(GRADIENT_FRACTION.cast_signed())).floor() as i64
    }

    /// Steps.
    pub fn steps(&self) -> usize {
        self.multipliers.len()
    }

    /// Whether noise is added.
    pub fn is_private(&self) -> bool {
        self.sigma != 0.0
    }

    /// Refuses what has no meaning, or could wrap in 64 bits.
    ///
    /// # Errors
    /// The first field that is out of its range.
    pub fn check(&self) -> Result<(), DefinitionError> {
        let fields: [(&str, bool, String, &str); 10] = [
            ("the number of inputs", (1..=MOST_INPUTS).contains(&self.inputs), self.inputs.to_string(), "1 to 65536"),
            (
                "the number of classes",
                (2..=MOST_CLASSES).contains(&self.classes),
                self.classes.to_string(),
                "2 to 1024",
            ),
            ("the number of rows", (1..=MOST_ROWS as u64).contains(&self.rows), self.rows.to_string(), "1 to 2^32"),
            ("the cap of a batch", (1..=MOST_BATCH).contains(&self.cap), self.cap.to_string(), "1 to 2^24"),
            (
                "the cap of a batch of all rows",
                self.rate != Rate::from_bits(u64::MAX) || self.cap >= self.rows,
                self.cap.to_string(),
                "at least the number of rows",
            ),
            ("the clip", (1..=MOST_CLIP).contains(&self.clip), self.clip.to_string(), "above 0, at most 4096"),
            (
                "σ of the noise",
                self.sigma == 0.0 || (4.0..=2_f64.powi(40)).contains(&self.sigma),
                self.sigma.to_string(),
                "0, or 4 to 2^40 units of 2^-28",
            ),
            ("the number of steps", (1..=MOST_STEPS).contains(&self.steps()), self.steps().to_string(), "1 to 2^20"),
            ("the shift", (1..=60).contains(&self.shift), self.shift.to_string(), "1 to 60"),
            (
                "the largest multiplier",
                self.multipliers.iter().all(|&multiplier| multiplier <= MOST_MULTIPLIER),
                self.multipliers.iter().max().copied().unwrap_or(0).to_string(),
                "at most 65535",
            ),
        ];
        for (field, fine, value, allowed) in fields {
            if !fine {
                return Err(range(field, value, allowed));
            }
        }
        Ok(())
    }

    /// With the least noise, from that of a multiplier on, that keeps the run within ε at δ.
    ///
    /// # Errors
    /// When no noise near that does.
    pub fn with_noise(mut self, multiplier: f64, epsilon: f64, delta: f64) -> Result<Self, DefinitionError> {
        let mut multiplier = multiplier;
        for _ in 0..64 {
            self.sigma = libm::hypot(multiplier * self.sensitivity(), 2.0) * (1.0 + 1e-12);
            if self.epsilon(delta)? <= epsilon {
                self.sampler = Self::sampler_of(self.sigma)?;
                return Ok(self);
            }
            multiplier *= 1.0005;
        }
        Err(range("ε of the run", epsilon.to_string(), "more, for this δ and so many steps"))
    }

    /// Without noise: what comes out bounds nothing.
    ///
    /// # Errors
    /// None: without noise, there is a sampler.
    pub fn without_noise(mut self) -> Result<Self, DefinitionError> {
        self.sigma = 0.0;
        self.sampler = Self::sampler_of(0.0)?;
        Ok(self)
    }

    /// How far the gradients of two neighbours can lie apart, in units of 2^-28: the bound, and half a unit of each error times
    /// the longest row that there may be.
    pub fn sensitivity(&self) -> f64 {
        let longest = (f64::from(ROW_ONE) * (self.inputs as f64 + 1.0).sqrt()).ceil();
        (self.clip as f64 + longest * (self.classes as f64).sqrt() / 2.0) * (1.0 + 1e-12)
    }

    /// What the run costs at this δ; nothing bounds that of a run without noise.
    ///
    /// # Errors
    /// When the accountant refuses, or there is no such noise.
    pub fn epsilon(&self, delta: f64) -> Result<f64, DefinitionError> {
        let Some((run, distance)) = self.account()? else { return Ok(f64::INFINITY) };
        Ok(run.with_distance(distance)?.epsilon(delta, Accountant::Tightest)?)
    }

    /// The steps as they are accounted for, and how far in total variation they may be from it; none of a run without noise.
    ///
    /// # Errors
    /// As [`Definition::epsilon`].
    pub fn account(&self) -> Result<Option<(Composition, f64)>, DefinitionError> {
        if !self.is_private() {
            return Ok(None);
        }
        let sampler = DiscreteGaussian::new(self.sigma)?;
        let Some(continuous) = sampler.continuous() else {
            return Err(range("σ of the noise", self.sigma.to_string(), "at least 4 units of 2^-28"));
        };
        let steps = self.steps() as f64;
        let drawn = steps * ((self.inputs + 1) * self.classes) as f64 * sampler.distance();
        let distance = (drawn + steps * self.cut()).min(1.0);
        let mechanism = Mechanism::sampled_gaussian(continuous / self.sensitivity(), self.rate.probability())?;
        Ok(Some((Composition::new().and(mechanism, self.steps() as u64), distance)))
    }

    /// An upper bound of the probability that more rows are drawn for a batch than it may have (Bernstein).
    fn cut(&self) -> f64 {
        if self.cap >= self.rows {
            return 0.0;
        }
        let mean = self.rows as f64 * self.rate.probability();
        match self.cap as f64 - mean {
            over if over > 0.0 => (-over * over / (2.0 * (mean + over / 3.0))).exp(),
            _ => 1.0,
        }
    }

    /// Tells the sampler of this program, at a deviation: a commitment to what it draws from a known seed.
    ///
    /// # Errors
    /// When there is no such noise.
    pub fn sampler_of(sigma: f64) -> Result<[u8; 32], NoiseError> {
        let mut drawn = [0; TOLD];
        if sigma != 0.0 {
            DiscreteGaussian::new(sigma)?.fill(&mut Generator::from_seed([0; 32]), &mut drawn);
        }
        Ok(commit::open(drawn.into_iter()))
    }

    /// Names the run: a hash of all of it, and of the table of the exponential.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("sahara provable training: definition");
        hasher.update(&commit::open(table().iter().copied()));
        let mut writer = Writer::default();
        self.write(&mut writer);
        hasher.update(&writer.0);
        *hasher.finalize().as_bytes()
    }

    pub(super) fn write(&self, out: &mut Writer) {
        for number in [self.inputs as u64, self.classes as u64, self.rows] {
            out.number(number);
        }
        [self.root, self.secret, self.beacon].iter().for_each(|hash| out.hash(hash));
        for number in [self.rate.bits(), self.cap, self.clip.cast_unsigned(), self.sigma.to_bits()] {
            out.number(number);
        }
        out.hash(&self.sampler);
        out.number(self.shift.into());
        out.number(self.steps() as u64);
        self.multipliers.iter().for_each(|&multiplier| out.number(multiplier.into()));
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let (inputs, classes, rows) = (input.size(MOST_INPUTS)?, input.size(MOST_CLASSES)?, input.number()?);
        let (root, secret, beacon) = (input.hash()?, input.hash()?, input.hash()?);
        let (rate, cap) = (Rate::from_bits(input.number()?), input.number()?);
        let (clip, sigma) = (input.number()?.cast_signed(), f64::from_bits(input.number()?));
        let (sampler, shift) = (input.hash()?, input.size(60)? as u32);
        let steps = input.size(MOST_STEPS)?;
        input.has(8 * steps)?;
        let multiplier = |_| Ok(u32::try_from(input.number()?).unwrap_or(u32::MAX));
        let multipliers = (0..steps).map(multiplier).collect::<Result<_, TranscriptError>>()?;
        let read =
            Self { inputs, classes, rows, root, secret, beacon, rate, cap, clip, sigma, sampler, shift, multipliers };
        read.check()?;
        Ok(read)
    }
}

fn range(field: &'static str, value: String, range: &'static str) -> DefinitionError {
    DefinitionError::Range { field, value, range }
}
