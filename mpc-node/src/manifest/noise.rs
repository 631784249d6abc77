//! What an owner says of answers that leave only with noise: who supplies it, how much of it, and what all of it may cost.

use sahara_circuits::bytes::{DecodeError, Reader, Writer};
use sahara_privacy::accounting::{Accountant, AccountingError, Composition, Mechanism};

use super::SharingName;
use crate::engine::{Assignment, MAX_VARIANCE, NodeNoise};

/// Most inputs that the nodes supply.
const MAX_NOISY: usize = 16;
/// Millionths of an ε of 1,000,000.
const MAX_EPSILON: u64 = 1_000_000_000_000;
/// Parts of δ in one.
const PARTS: u64 = 1_000_000_000_000_000;

/// The terms under which a sharing's answers leave. Whoever signs them says how much one record of the data can change the values
/// before the noise; the nodes draw the noise, count what every answer costs, and refuse those beyond the budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoiseTerms {
    /// What the three nodes supply.
    pub noise: NodeNoise,
    /// The only assignment in which the sharing serves: its two evaluators count every answer.
    pub assignment: Assignment,
    /// What the owner calls the data. All sharings of an owner that name the same data draw on one account.
    pub dataset: SharingName,
    /// How far one record can change the noised values of an answer, all together.
    pub sensitivity: Sensitivity,
    /// What all answers about the data may cost together, over all consumers.
    pub budget: Budget,
}

/// The greatest distances between the noised values for two sets of data that differ by one record, in units of the last place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sensitivity {
    /// The sum of absolute differences.
    pub l1: u64,
    /// The sum of squared differences.
    pub l2_squared: u64,
}

/// An (ε, δ).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// ε in millionths.
    pub epsilon_micros: u64,
    /// δ in parts of 10⁻¹⁵.
    pub delta_femtos: u64,
}

impl Budget {
    /// An ε (a millionth to a million, rounded down to millionths) at a δ (10⁻¹⁵ to below 1, rounded down).
    ///
    /// # Errors
    /// A line that says which of them is out of range.
    pub fn new(epsilon: f64, delta: f64) -> Result<Self, String> {
        let (epsilon_micros, delta_femtos) = ((epsilon * 1e6).floor() as u64, (delta * PARTS as f64).floor() as u64);
        let budget = Self { epsilon_micros, delta_femtos };
        match budget.is_valid() && epsilon.is_finite() && delta.is_finite() {
            true => Ok(budget),
            false => Err(format!("ε = {epsilon} at δ = {delta}: ε is from 1e-6 to 1e6, δ from 1e-15 to below 1")),
        }
    }

    /// ε.
    pub fn epsilon(&self) -> f64 {
        self.epsilon_micros as f64 * 1e-6
    }

    /// δ.
    pub fn delta(&self) -> f64 {
        self.delta_femtos as f64 / PARTS as f64
    }

    fn is_valid(&self) -> bool {
        (1..=MAX_EPSILON).contains(&self.epsilon_micros) && (1..PARTS).contains(&self.delta_femtos)
    }
}

/// What one answer costs: what is left of its noise to whoever knows one node's part, against how much one record can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnswerCost {
    /// Variance of two nodes' noise, in squares of the last place.
    pub variance: u64,
    /// How far one record can change the values.
    pub sensitivity: Sensitivity,
    /// How many numbers are noised.
    pub numbers: u64,
}

impl AnswerCost {
    /// Upper bound of ε at `delta` of so many answers each.
    ///
    /// # Errors
    /// When the numbers are beyond what can be accounted.
    pub fn epsilon(answers: &[(Self, u64)], delta: f64) -> Result<f64, AccountingError> {
        let mut all = Composition::new();
        let mut distance = 0.0;
        for (cost, times) in answers {
            let Sensitivity { l1, l2_squared } = cost.sensitivity;
            let l2 = (l2_squared as f64).sqrt().next_up();
            all = all.and(Mechanism::skellam(cost.variance as f64, l1 as f64, l2)?, *times);
            distance += cost.distance() * *times as f64;
        }
        all.with_distance(distance.min(1.0))?.epsilon(delta, Accountant::Rdp)
    }

    /// The least variance of each node's noise with which so many answers keep to a budget, if there is one.
    ///
    /// # Errors
    /// When the numbers are beyond what can be accounted.
    pub fn least_variance(
        sensitivity: Sensitivity,
        numbers: u64,
        answers: u64,
        budget: &Budget,
    ) -> Result<Option<u64>, AccountingError> {
        let keeps = |variance: u64| {
            let one = Self { variance: 2 * variance, sensitivity, numbers };
            Ok(Self::epsilon(&[(one, answers)], budget.delta())? <= budget.epsilon())
        };
        let (mut too_little, mut enough) = (0, MAX_VARIANCE);
        if !keeps(enough)? {
            return Ok(None);
        }
        while enough - too_little > 1 {
            let middle = too_little + (enough - too_little) / 2;
            if keeps(middle)? { enough = middle } else { too_little = middle }
        }
        Ok(Some(enough))
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        let Self { variance, sensitivity: Sensitivity { l1, l2_squared }, numbers } = *self;
        w.u64(variance).u64(l1).u64(l2_squared).u64(numbers);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let variance = r.u64()?;
        let sensitivity = Sensitivity { l1: r.u64()?, l2_squared: r.u64()? };
        Ok(Self { variance, sensitivity, numbers: r.u64()? })
    }

    /// How far the drawn numbers of an answer are from the distribution, at most: fewer than 2²⁴ entries of 2⁻¹²⁶ for each node's.
    fn distance(&self) -> f64 {
        2.0 * self.numbers as f64 * 2_f64.powi(24 - 126)
    }
}

impl NoiseTerms {
    /// What one answer costs, of a graph in which so many numbers are noised.
    pub fn cost(&self, numbers: u64) -> AnswerCost {
        AnswerCost { variance: self.noise.remaining(), sensitivity: self.sensitivity, numbers }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.u32(self.noise.inputs().len() as u32);
        for input in self.noise.inputs() {
            w.u32(*input);
        }
        w.u64(self.noise.variance()).u8(self.assignment.helper());
        w.text_up_to(self.dataset.as_str(), SharingName::LIMIT);
        w.u64(self.sensitivity.l1).u64(self.sensitivity.l2_squared);
        w.u64(self.budget.epsilon_micros).u64(self.budget.delta_femtos);
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let inputs = (0..r.count("inputs of noise", MAX_NOISY)?).map(|_| r.u32()).collect::<Result<Vec<_>, _>>()?;
        let terms = Self {
            noise: NodeNoise::new(inputs, r.u64()?).map_err(|_| r.field("noise"))?,
            assignment: Assignment::new(r.u8()?).ok_or_else(|| r.field("assignment of noise"))?,
            dataset: r
                .text("name of the data", SharingName::LIMIT)?
                .parse()
                .map_err(|_| r.field("name of the data"))?,
            sensitivity: Sensitivity { l1: r.u64()?, l2_squared: r.u64()? },
            budget: Budget { epsilon_micros: r.u64()?, delta_femtos: r.u64()? },
        };
        if !terms.sensitivity.is_valid() {
            return Err(r.field("sensitivity"));
        }
        if !terms.budget.is_valid() {
            return Err(r.field("budget"));
        }
        Ok(terms)
    }
}

impl Sensitivity {
    /// Of whole numbers: |x|₂² is from |x|₁ to its square.
    fn is_valid(&self) -> bool {
        let Self { l1, l2_squared } = *self;
        (1..=1 << 29).contains(&l1) && l1 <= l2_squared && l2_squared <= l1 * l1
    }
}
