//! The two ways in which noise comes in: on a number, and on a choice.

use super::error::QueryError;
use crate::noise::{DiscreteLaplace, Generator};

/// Confidence of what is said about an answer.
pub(super) const CONFIDENCE: f64 = 0.95;

/// What is said of noise.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// On what.
    pub of: String,
    /// `discrete Laplace`, or `noisy maximum`.
    pub mechanism: &'static str,
    /// Its scale, in units of what is asked; of a noisy maximum, in rows.
    pub scale: f64,
    /// What it costs alone.
    pub epsilon: f64,
}

/// Discrete Laplace noise on whole numbers that neighbours change by so much in sum.
pub(super) struct Laplace {
    sampler: DiscreteLaplace,
    sensitivity: f64,
}

impl Laplace {
    /// For a release of all those numbers together that costs ε.
    pub fn new(sensitivity: i64, epsilon: f64) -> Result<Self, QueryError> {
        let sensitivity = sensitivity as f64;
        let scale = sensitivity / epsilon * (1.0 + 1e-12);
        let sampler = DiscreteLaplace::new(scale).map_err(|_| QueryError::Range {
            what: "the scale of the noise, in steps of the column",
            value: scale,
            range: "between 0.01 and 2^40: ask with another ε, or declare a coarser step",
        })?;
        Ok(Self { sampler, sensitivity })
    }

    /// One number with fresh noise.
    pub fn noisy(&self, value: i64, generator: &mut Generator) -> i64 {
        let mut number = [value];
        self.sampler.add(generator, &mut number);
        number[0]
    }

    pub fn scale(&self) -> f64 {
        self.sampler.scale()
    }

    /// The least number that noise exceeds, to either side, with at most this probability.
    pub fn reach(&self, probability: f64) -> i64 {
        // P(|x| > m) = 2 a^{m+1} / (1 + a), with a = e^{-1/t}.
        let (scale, ratio) = (self.scale(), (-1.0 / self.scale()).exp());
        (scale * (2.0 / (probability * (1.0 + ratio))).ln() - 1.0).ceil().max(0.0) as i64
    }

    /// The least number from 1 on that noise reaches with at most this probability.
    pub fn tail(&self, probability: f64) -> i64 {
        // P(x ≥ m) = a^m / (1 + a).
        let (scale, ratio) = (self.scale(), (-1.0 / self.scale()).exp());
        let exact = scale * (1.0 / (probability * (1.0 + ratio))).ln();
        (exact * (1.0 + 1e-12) + 1e-9).ceil().max(1.0) as i64
    }

    /// Upper bound of the Rényi divergence of this order between neighbours.
    pub fn divergence(&self, order: f64) -> f64 {
        of_laplace(self.scale(), self.sensitivity, order)
    }

    /// How far a sample is from its distribution.
    pub fn distance(&self) -> f64 {
        self.sampler.distance()
    }
}

/// The index of a score that is about the greatest: noise is added to each, and the first greatest one wins.
///
/// With discrete Laplace noise of scale 2Δ/ε it is ε-private where neighbours change each score by at most Δ: given the noise of
/// all others, index i wins if its noise is at least some whole number, neighbours move that number by at most 2Δ, and
/// P(x ≥ m) ≤ e^{k/t} P(x ≥ m + k). Where they change all in one direction, the number moves by Δ at most, and Δ/ε is enough
/// (Dwork and Roth, 2014, claim 3.9). Ties go to the lower index, whatever the data.
pub(super) struct Choice {
    sampler: DiscreteLaplace,
    epsilon: f64,
    rounds: u32,
}

impl Choice {
    /// For so many choices that cost ε together, of scores whose comparison neighbours move by at most this.
    pub fn new(movement: i64, epsilon: f64, rounds: u32) -> Result<Self, QueryError> {
        let scale = movement as f64 * f64::from(rounds) / epsilon * (1.0 + 1e-12);
        let sampler = DiscreteLaplace::new(scale).map_err(|_| QueryError::Range {
            what: "the scale of the noise of a choice",
            value: scale,
            range: "between 0.01 and 2^40: ask with another ε",
        })?;
        Ok(Self { sampler, epsilon, rounds })
    }

    /// The choice.
    pub fn choose(&self, scores: impl Iterator<Item = i64>, generator: &mut Generator) -> Option<usize> {
        let noisy = scores.enumerate().map(|(index, score)| {
            let mut number = [score];
            self.sampler.add(generator, &mut number);
            (index, number[0])
        });
        noisy.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(index, _)| index)
    }

    pub fn scale(&self) -> f64 {
        self.sampler.scale()
    }

    /// By how much less than the greatest the score of a choice is at most, among so many, with [`CONFIDENCE`].
    pub fn loss(&self, among: usize) -> f64 {
        2.0 * self.scale() * (2.0 * among as f64 * f64::from(self.rounds) / (1.0 - CONFIDENCE)).ln()
    }

    /// Upper bound of the divergence of all rounds: of two distributions whose ratio is between e^{-ε} and e^ε none diverge
    /// more than a coin that says the truth with probability e^ε / (1 + e^ε) (Kairouz, Oh and Viswanath, 2015).
    pub fn divergence(&self, order: f64) -> f64 {
        f64::from(self.rounds) * of_a_coin(self.epsilon / f64::from(self.rounds), order)
    }

    /// How far a sample is from its distribution.
    pub fn distance(&self) -> f64 {
        self.sampler.distance()
    }
}

/// The divergence of discrete Laplace noise of scale t from the same, shifted by k: with a = e^{-1/t}, r = a^{2α-1} the sum of
/// P(x)^α P(x-k)^{1-α} is A e^{(α-1)k/t} + B e^{-αk/t}, where A = (1 + (1-a) r/(1-r)) / (1+a) and B = (1 - (1-a)/(1-r)) / (1+a).
/// Both are positive, so that the logarithm is convex in k, and a change that is spread over several numbers costs no more than
/// all of it in one. It is more than continuous Laplace noise of that scale spends: a shift by one is randomised response.
fn of_laplace(scale: f64, shift: f64, order: f64) -> f64 {
    let a = (-1.0 / scale).exp();
    // 1 - a and 1 - r without loss.
    let (rest, rest_of_power) = (-(-1.0 / scale).exp_m1(), -(-(2.0 * order - 1.0) / scale).exp_m1());
    let up = (1.0 + rest * (1.0 - rest_of_power) / rest_of_power) / (1.0 + a);
    let down = ((1.0 - rest / rest_of_power) / (1.0 + a)).max(0.0);
    let exponent = (order - 1.0) * shift / scale;
    let moment = exponent + (up + down * (-(2.0 * order - 1.0) * shift / scale).exp()).ln();
    let rounding = 1e-13 * (1.0 + exponent);
    ((moment + rounding) / (order - 1.0)).clamp(0.0, shift / scale)
}

/// The divergence of randomised response: ln(p^α q^{1-α} + q^α p^{1-α}) / (α - 1), with p = e^ε q.
fn of_a_coin(epsilon: f64, order: f64) -> f64 {
    // q (e^{αε} + e^{(1-α)ε}), with q = 1 / (1 + e^ε).
    let exponent = order * epsilon - epsilon.exp().ln_1p();
    let rest = ((1.0 - 2.0 * order) * epsilon).exp().ln_1p();
    ((exponent + rest) / (order - 1.0) * (1.0 + 1e-11) + 1e-14).clamp(0.0, epsilon)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P(x = k) of discrete Laplace noise.
    fn mass(scale: f64, k: i64) -> f64 {
        let a = (-1.0 / scale).exp();
        (1.0 - a) / (1.0 + a) * a.powf(k.abs() as f64)
    }

    #[test]
    fn what_is_said_of_noise_is_what_it_does() {
        for (sensitivity, epsilon) in [(1, 0.5), (3, 2.0), (120, 0.1), (1, 5.0)] {
            let noise = Laplace::new(sensitivity, epsilon).unwrap();
            let beyond = |m: i64| 2.0 * (m + 1..m + 40_000).map(|k| mass(noise.scale(), k)).sum::<f64>();
            let reach = noise.reach(0.05);
            assert!(beyond(reach) <= 0.05 && (reach == 0 || beyond(reach - 1) > 0.05), "{sensitivity} {epsilon}");
            let above = |m: i64| (m..m + 60_000).map(|k| mass(noise.scale(), k)).sum::<f64>();
            let tail = noise.tail(1e-6);
            assert!(
                above(tail) <= 1e-6 * 1.000_001 && (tail == 1 || above(tail - 1) > 1e-6),
                "{sensitivity} {epsilon}"
            );
        }
    }

    /// The divergence of one order between shifted noise, summed up.
    #[test]
    fn divergences_are_bounds_of_what_the_noise_gives() {
        for (shift, epsilon) in [(1, 0.5), (2, 1.0), (5, 3.0)] {
            let noise = Laplace::new(shift, epsilon).unwrap();
            for order in [1.25, 2.0, 8.0, 32.0] {
                let power =
                    |k: i64| mass(noise.scale(), k).powf(order) * mass(noise.scale(), k - shift).powf(1.0 - order);
                let exact = (-2000..2000).map(power).filter(|term| term.is_finite()).sum::<f64>().ln() / (order - 1.0);
                let bound = noise.divergence(order);
                assert!(bound >= exact - 1e-9 && bound <= exact + 1e-9, "{shift} {epsilon} {order}: {bound} {exact}");
                assert!(bound <= epsilon);
                // A change that is spread costs no more.
                let half =
                    Laplace { sampler: DiscreteLaplace::new(noise.scale()).unwrap(), sensitivity: shift as f64 / 2.0 };
                assert!(2.0 * half.divergence(order) <= bound * (1.0 + 1e-9));
            }
        }
    }

    /// The chance of each choice among few, by summing over all noise, on two neighbours.
    #[test]
    fn a_choice_gives_away_no_more_than_it_costs() {
        let epsilon = 1.0;
        let choice = Choice::new(2, epsilon, 1).unwrap();
        let chances = |scores: [i64; 3]| -> [f64; 3] {
            std::array::from_fn(|i| {
                (-80..80_i64)
                    .map(|x| {
                        let mine = scores[i] + x;
                        let below = |limit: i64| -> f64 { (-160..=limit).map(|k| mass(choice.scale(), k)).sum() };
                        let others = (0..3).filter(|j| *j != i).map(|j| below(mine - scores[j] - i64::from(j < i)));
                        mass(choice.scale(), x) * others.product::<f64>()
                    })
                    .sum()
            })
        };
        let (one, other) = (chances([3, 5, 4]), chances([4, 4, 5]));
        assert!((one.iter().sum::<f64>() - 1.0).abs() < 1e-6);
        for (p, q) in one.iter().zip(&other) {
            assert!((p / q).ln().abs() <= epsilon + 1e-6, "{one:?} {other:?}");
        }
        // The drawn choices have those chances.
        let mut generator = Generator::from_seed([9; 32]);
        let mut counts = [0_u32; 3];
        for _ in 0..20_000 {
            counts[choice.choose([3, 5, 4].into_iter(), &mut generator).unwrap()] += 1;
        }
        for (count, chance) in counts.iter().zip(one) {
            let (mean, deviation) = (20_000.0 * chance, (20_000.0 * chance * (1.0 - chance)).sqrt());
            assert!((f64::from(*count) - mean).abs() < 5.0 * deviation, "{counts:?} {one:?}");
        }
    }

    #[test]
    fn a_coins_divergence_is_the_formulas() {
        for (epsilon, order) in [(0.5_f64, 2.0), (2.0, 1.25), (0.01, 64.0), (1.0, 512.0)] {
            let (p, q) = (epsilon.exp() / (1.0 + epsilon.exp()), 1.0 / (1.0 + epsilon.exp()));
            let exact: f64 =
                (p.powf(order) * q.powf(1.0 - order) + q.powf(order) * p.powf(1.0 - order)).ln() / (order - 1.0);
            let found = of_a_coin(epsilon, order);
            assert!(found >= exact.min(epsilon) - 1e-12 && found <= exact + 1e-9, "{epsilon} {order}: {found} {exact}");
        }
    }
}
