//! What a run will do and what that costs, decided before the first example is looked at.

use super::matmul::SUMMED;
use super::sample::Rate;
use crate::accounting::calibrate::{self, Goal};
use crate::accounting::{Accountant, AccountingError, Composition, Mechanism};
use crate::noise::{DiscreteGaussian, NoiseError};

/// Room that factors leave for the rounding of norms in single precision: their relative error is below that for up to 2¹³
/// numbers a row, and sixteen times as many in strands.
const ROOM: f64 = 1.0 + 1.0 / 1024.0;

/// The probability that a batch is larger than its cap is below this, whatever the expected size.
const CUT: f64 = 1e-27;

/// Units of the grid that a sum may have: steps round doubles below 2⁵¹ to integers.
const MOST_SUM: f64 = (1_u64 << 50) as f64;

/// The least and the greatest bound: squares of norms of this size are far from what single precision cannot hold.
const BOUNDS: std::ops::RangeInclusive<f64> = 1e-6..=1e6;

/// How gradients of examples are bounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clip {
    /// Those longer than this are scaled to it.
    Flat(f64),
    /// All are scaled to about this length, short ones less: by `bound / (norm + 0.01)` (Bu, Wang, Zha and Karypis, 2023), so that
    /// the bound is but a part of the learning rate.
    Automatic(f64),
}

impl Clip {
    /// The bound, in the Euclidean norm.
    pub fn bound(self) -> f64 {
        let (Self::Flat(bound) | Self::Automatic(bound)) = self;
        bound
    }

    /// What an example's gradient is multiplied by, from the square of its norm; 0 if that is no number.
    pub(super) fn factor(self, square: f32) -> f32 {
        if !square.is_finite() {
            return 0.0;
        }
        let norm = f64::from(square).sqrt() * ROOM;
        match self {
            Self::Flat(bound) if norm <= bound => 1.0,
            Self::Flat(bound) => (bound / norm) as f32,
            Self::Automatic(bound) => (bound / (norm + 0.01)) as f32,
        }
    }
}

/// The grid on which sums of gradients lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// From one point to the next.
    pub unit: f64,
    /// Examples that are summed in single precision, before double.
    pub strand: usize,
    /// How far apart the sums of two neighbours can lie, in units.
    pub sensitivity: f64,
}

impl Grid {
    /// Most examples that are ever summed in single precision.
    pub(super) const STRAND: usize = 1024;

    /// And most times that some of them are added to the others.
    pub(super) const ADDS: usize = 16;

    /// For a bound and so many parameters. Sums of two neighbours lie apart by at most the bound; by the rounding of each number
    /// to the grid, at most a unit each; and by the rounding in single precision. What an example adds to a number of a strand of
    /// `m` is rounded at most `r` times, half of that on average: in its own block (`SUMMED`), and once for each block that
    /// comes later. So that is at most `cap·r·2⁻²⁴` bounds for both sums together, where `r` is 96, or `m` if that is less than
    /// a block. The unit is chosen so that the second part is below 1/128; strands, so that the third is below 1/64.
    pub fn of(bound: f64, parameters: usize, cap: usize) -> Self {
        let root = (parameters as f64).sqrt() * 1.001;
        let fineness = 2.0_f64.powi((128.0 * root).log2().ceil() as i32);
        // A block of 64, and after it at most one for each 64 examples and one for each time that some are added.
        let most = SUMMED + Self::STRAND / SUMMED + Self::ADDS;
        let (strand, rounded) = match cap * most {
            few if few <= 1 << 18 => (Self::STRAND, most),
            _ => {
                let strand = ((1 << 17) / cap.max(1)).clamp(16, SUMMED);
                (strand, strand)
            }
        };
        let single = cap as f64 * rounded as f64 * 2.0_f64.powi(-24);
        // Strands are added up in double precision: rounded once for each that follows.
        let double = cap as f64 * (cap as f64 / strand as f64 + 1.0) * 2.0_f64.powi(-53);
        Self { unit: bound / fineness, strand, sensitivity: fineness * (1.0 + single + double) + root }
    }

    /// For a model whose sums of two neighbours lie apart by `rounding` bounds more for each of at most `cap` examples, in units
    /// of 2⁻²⁴.
    pub(crate) fn and_rounding(self, bound: f64, cap: usize, rounding: f64) -> Self {
        let more = bound / self.unit * cap as f64 * rounding * 2.0_f64.powi(-24);
        Self { sensitivity: self.sensitivity + more, ..self }
    }
}

/// What is wished for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wish {
    /// ε that the run may cost.
    pub epsilon: f64,
    /// δ beside it.
    pub delta: f64,
    /// How many examples there are.
    pub examples: usize,
    /// How many of them a batch has on average.
    pub batch: usize,
    /// Steps.
    pub steps: u64,
    /// The bound of gradients.
    pub clip: Clip,
    /// How many numbers are trained.
    pub parameters: usize,
}

impl Wish {
    /// Times that an example is seen on average, where nobody says how often.
    pub const EPOCHS: f64 = 60.0;

    /// Examples of a batch, where nobody says how many: an 8th of all, at most 1024.
    pub fn usual_batch(examples: usize) -> usize {
        (examples / 8).clamp(1, 1024)
    }

    /// Steps in which each example is seen so many times on average.
    pub fn steps(epochs: f64, examples: usize, batch: usize) -> u64 {
        (epochs * examples as f64 / batch.max(1) as f64).ceil().max(1.0) as u64
    }
}

/// What will be done. Everything in it is public.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// What was wished for.
    pub wish: Wish,
    /// With what probability an example is in a batch.
    pub rate: Rate,
    /// Most examples of a batch.
    pub cap: usize,
    /// Where sums of gradients lie.
    pub grid: Grid,
    /// What the model's own sums are rounded by: [`Model::rounding`](super::Model::rounding).
    pub rounding: f64,
    /// Parameter of the discrete Gaussian, in units of the grid.
    pub sigma: f64,
    /// Deviation of a continuous Gaussian that hides as little, over the sensitivity.
    pub noise: f64,
    /// Total variation of one number of the noise from its distribution.
    pub inexact: f64,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A wish makes no sense.
    #[error("{0}")]
    Wish(&'static str),
    /// The accountant refuses.
    #[error("accounting for the run")]
    Accounting(#[from] AccountingError),
    /// There is no such noise.
    #[error(transparent)]
    Noise(#[from] NoiseError),
}

impl Plan {
    /// The least noise with which the wish is kept.
    ///
    /// # Errors
    /// When the wish makes no sense, or no noise keeps it.
    pub fn new(wish: Wish) -> Result<Self, PlanError> {
        Self::with_rounding(wish, 0.0)
    }

    /// As [`Plan::new`], for a model whose [`Model::rounding`](super::Model::rounding) is not 0.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn with_rounding(wish: Wish, rounding: f64) -> Result<Self, PlanError> {
        check(&wish)?;
        let rate = Rate::of(wish.batch as u64, wish.examples as u64);
        let cap = if wish.batch >= wish.examples { wish.examples } else { (2 * wish.batch + 64).min(wish.examples) };
        let grid = Grid::of(wish.clip.bound(), wish.parameters, cap).and_rounding(wish.clip.bound(), cap, rounding);
        // A sum is at most as long as all bounds of a batch together.
        if cap as f64 * wish.clip.bound() / grid.unit > MOST_SUM {
            return Err(PlanError::Wish("a batch is so large that its sums leave their grid: take a smaller one"));
        }
        let goal = Goal { epsilon: wish.epsilon, delta: wish.delta, rate: rate.probability(), steps: wish.steps };
        let mut noise = calibrate::noise(&goal, Accountant::Tightest)?;
        for _ in 0..64 {
            let plan = Self::with(wish, (rate, cap), (grid, rounding), noise)?;
            if plan.epsilon(wish.steps)? <= wish.epsilon {
                return Ok(plan);
            }
            noise *= 1.0005;
        }
        Err(PlanError::Wish(
            "δ is too small for so many parameters and steps: what the noise is not exact by uses it up",
        ))
    }

    /// With noise of so many sensitivities.
    fn with(
        wish: Wish,
        (rate, cap): (Rate, usize),
        (grid, rounding): (Grid, f64),
        noise: f64,
    ) -> Result<Self, PlanError> {
        let sigma = (noise * grid.sensitivity).hypot(2.0) * (1.0 + 1e-12);
        let gaussian = DiscreteGaussian::new(sigma)?;
        let continuous = gaussian.continuous().ok_or(PlanError::Wish("ε is so great that hardly any noise is left"))?;
        let noise = continuous / grid.sensitivity;
        Ok(Self { wish, rate, cap, grid, rounding, sigma, noise, inexact: gaussian.distance() })
    }

    /// How far so many steps are from what is accounted for: noise that is not quite its distribution, batches that are cut.
    pub fn distance(&self, steps: u64) -> f64 {
        let steps = steps as f64;
        steps * (self.wish.parameters as f64 * self.inexact + CUT)
    }

    /// A learning rate for stochastic gradient descent that needs no look at the data: one with which the noise of the whole run, if
    /// the rate stayed, would move each of `inputs` weights of an output by 8 ∕ √inputs. It suits [`Schedule::Linear`] and clipped
    /// gradients, which a great rate does not throw far; one layer bears any rate, several bear 16.
    ///
    /// [`Schedule::Linear`]: super::Schedule::Linear
    pub fn rate(&self, inputs: usize, layers: usize) -> f32 {
        let walk = self.noise * self.wish.clip.bound() * (self.wish.steps as f64 * inputs as f64).sqrt();
        let rate = (8.0 * self.wish.batch as f64 / walk) as f32;
        if layers > 1 { rate.min(16.0) } else { rate }
    }

    /// What so many steps cost, at the wished δ.
    ///
    /// # Errors
    /// When the accountant refuses.
    pub fn epsilon(&self, steps: u64) -> Result<f64, AccountingError> {
        self.cost(steps, Accountant::Tightest)
    }

    /// An upper bound of [`Plan::epsilon`] that is had at once.
    ///
    /// # Errors
    /// When the accountant refuses.
    pub fn quick_epsilon(&self, steps: u64) -> Result<f64, AccountingError> {
        self.cost(steps, Accountant::Rdp)
    }

    fn cost(&self, steps: u64, accountant: Accountant) -> Result<f64, AccountingError> {
        if steps == 0 {
            return Ok(0.0);
        }
        Composition::new()
            .and(Mechanism::sampled_gaussian(self.noise, self.rate.probability())?, steps)
            .with_distance(self.distance(steps).min(1.0))?
            .epsilon(self.wish.delta, accountant)
    }
}

fn check(wish: &Wish) -> Result<(), PlanError> {
    let positive = |value: f64| value.is_finite() && value > 0.0;
    let reasons = [
        (!positive(wish.epsilon), "ε is not a number above 0"),
        (!positive(wish.delta) || wish.delta >= 1.0, "δ is not between 0 and 1"),
        (wish.examples == 0 || wish.examples > 1 << 32, "there are between 1 and 2³² examples"),
        (wish.batch == 0 || wish.batch > wish.examples, "a batch has between 1 example and all of them"),
        (wish.steps == 0 || wish.steps > 1 << 32, "there are between 1 and 2³² steps"),
        (!BOUNDS.contains(&wish.clip.bound()), "the bound of gradients is between 10⁻⁶ and 10⁶"),
        (
            wish.delta * wish.examples as f64 > 1.0,
            "δ is above 1 in the number of examples: it would allow to publish one",
        ),
    ];
    match reasons.iter().find(|(wrong, _)| *wrong) {
        Some((_, reason)) => Err(PlanError::Wish(reason)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        let clip = Clip::Flat(1.0);
        Wish { epsilon: 1.0, delta: 1e-9, examples: 1000, batch: 100, steps: 50, clip, parameters: 100 }
    }

    #[test]
    fn what_no_step_can_keep_is_refused() {
        let said = |wish: Wish| Plan::new(wish).unwrap_err().to_string();
        for bound in [0.0, -1.0, 1e-7, 2e6, f64::NAN] {
            assert!(said(Wish { clip: Clip::Flat(bound), ..wish() }).contains("10⁻⁶"), "{bound}");
        }
        // 2²¹ units a bound, and 2³¹ examples.
        let large = Wish { examples: 1 << 32, batch: 1 << 30, delta: 1e-12, parameters: 1 << 26, ..wish() };
        assert!(said(large).contains("grid"));
        assert!(said(Wish { epsilon: 1e8, parameters: 1, ..wish() }).contains("hardly any noise"));
        assert!(Plan::new(wish()).is_ok());
    }

    /// Sums of neighbours, whose examples are the same and are rounded otherwise, because one more stands among them.
    #[test]
    fn a_grid_leaves_room_for_every_rounding() {
        for (parameters, cap) in [(1, 10), (1000, 300), (100_000, 5000), (1 << 26, 1 << 20), (10, 1 << 33)] {
            let grid = Grid::of(2.0, parameters, cap);
            let (units, root) = (2.0 / grid.unit, (parameters as f64).sqrt());
            let strands = cap as f64 / grid.strand as f64;
            let rounded = (grid.strand.min(64) as f64 * 2.0_f64.powi(-24) + strands * 2.0_f64.powi(-53)) * cap as f64;
            assert!(grid.sensitivity >= units * (1.0 + rounded) + root, "{parameters} {cap}: {grid:?}");
        }
    }
}
