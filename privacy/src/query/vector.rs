//! Vectors that are randomised before they leave whoever has them: clipped, put on a grid, and given discrete Gaussian noise.

use super::error::{QueryError, in_range};
use crate::accounting::calibrate::{self, Goal};
use crate::accounting::{Accountant, AccountingError};
use crate::noise::{DiscreteGaussian, Generator};

/// Steps of the grid in the bound of a vector.
const FINENESS: f64 = 1_048_576.0;
/// Most numbers of a vector.
const MOST_WIDTH: usize = 1 << 16;

/// How vectors will be randomised. Neighbours are two vectors of any values, of this width.
pub struct VectorPlan {
    width: usize,
    bound: f64,
    noise: DiscreteGaussian,
}

impl VectorPlan {
    /// For vectors of `width` numbers, which are scaled to a Euclidean norm of `bound` (above 0, at most 10⁶) where they are longer, so
    /// that one costs (ε, δ). Two of them are at most two bounds apart, and what rounding to the grid adds: half a step for each
    /// number of either.
    ///
    /// # Errors
    /// When a number is out of its range, or no noise reaches ε.
    pub fn new(width: usize, bound: f64, (epsilon, delta): (f64, f64)) -> Result<Self, QueryError> {
        in_range("the width of a vector", width as f64, (1.0, MOST_WIDTH as f64), "from 1 to 65,536")?;
        in_range("the bound of a vector", bound, (1e-6, 1e6), "from 1e-6 to 1e6")?;
        in_range("ε of a vector", epsilon, (1e-2, 50.0), "from 0.01 to 50")?;
        in_range("δ of a vector", delta, (1e-12, 1e-2), "from 1e-12 to 0.01")?;
        let no_noise =
            |_: AccountingError| QueryError::unsupported("so small an ε", "no noise reaches it: take a greater one");
        // What the sampler is off by, of all numbers, at either end of e^ε.
        let off = (1.0 + epsilon.exp()) * width as f64 * 2_f64.powi(-110);
        let left = delta - off;
        in_range(
            "what is left of δ beside the sampler's error",
            left,
            (delta / 2.0, delta),
            "at least half: take a greater δ",
        )?;
        let goal = Goal { epsilon, delta: left, rate: 1.0, steps: 1 };
        let multiplier = calibrate::noise(&goal, Accountant::Tightest).map_err(no_noise)?;
        let sensitivity = 2.0 * FINENESS + (width as f64).sqrt() * (1.0 + 1e-12);
        // Rounded noise spends as much as continuous noise of a variance that is less by four.
        let sigma = (multiplier * sensitivity).hypot(2.0) * (1.0 + 1e-9);
        let noise = DiscreteGaussian::new(sigma).map_err(|_| QueryError::Range {
            what: "the deviation of the noise, in steps of the grid",
            value: sigma,
            range: "at most 2^40: take a greater ε",
        })?;
        Ok(Self { width, bound, noise })
    }

    /// Deviation of the noise on each number.
    pub fn deviation(&self) -> f64 {
        self.noise.sigma() * self.bound / FINENESS
    }

    /// A vector with noise; what is no number counts as 0.
    ///
    /// # Errors
    /// When it has another width.
    pub fn randomise(&self, vector: &[f32], generator: &mut Generator) -> Result<Vec<f32>, QueryError> {
        if vector.len() != self.width {
            let value = vector.len() as f64;
            return Err(QueryError::Range { what: "the width of a vector", value, range: "that of all others" });
        }
        let mut units = self.clipped(vector);
        self.noise.add(generator, &mut units);
        Ok(units.iter().map(|units| (*units as f64 / FINENESS * self.bound) as f32).collect())
    }

    /// On the grid, within half a step of a vector that is no longer than the bound.
    fn clipped(&self, vector: &[f32]) -> Vec<i64> {
        let numbers = || vector.iter().map(|number| if number.is_finite() { f64::from(*number) } else { 0.0 });
        let norm = numbers().map(|number| number * number).sum::<f64>().sqrt();
        let factor = if norm > self.bound { self.bound / norm } else { 1.0 };
        // Room for the rounding of the norm.
        let scale = factor * (1.0 - 1e-10) / self.bound * FINENESS;
        numbers().map(|number| (number * scale).round() as i64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::{Composition, Mechanism};

    fn squares(units: &[i64]) -> f64 {
        units.iter().map(|unit| (*unit as f64).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn two_vectors_are_no_further_apart_than_the_noise_is_for() {
        let (width, bound) = (384, 2.0);
        let plan = VectorPlan::new(width, bound, (4.0, 1e-6)).unwrap();
        let sensitivity = 2.0 * FINENESS + (width as f64).sqrt() * (1.0 + 1e-12);
        let long: Vec<f32> = (0..width).map(|at| (at as f32).sin() * 1e20).collect();
        let strange: Vec<f32> = (0..width).map(|at| if at % 3 == 0 { f32::NAN } else { f32::INFINITY }).collect();
        let turned: Vec<f32> = long.iter().map(|number| -number).collect();
        let all =
            [long, turned, strange, vec![1e-30; width], vec![f32::MAX; width]].map(|vector| plan.clipped(&vector));
        for one in &all {
            assert!(squares(one) <= FINENESS + (width as f64).sqrt() / 2.0);
            for other in &all {
                let apart: Vec<i64> = one.iter().zip(other).map(|(a, b)| a - b).collect();
                assert!(squares(&apart) <= sensitivity);
            }
        }
        // And the noise is enough: accounted as what it is.
        let continuous = plan.noise.continuous().unwrap() / sensitivity;
        let spent = Composition::new().and(Mechanism::gaussian(continuous).unwrap(), 1);
        let epsilon = spent.epsilon(1e-6, Accountant::Tightest).unwrap();
        assert!(epsilon <= 4.0 && epsilon > 3.95, "{epsilon}");
    }

    #[test]
    fn what_is_told_is_the_vector_and_its_noise() {
        let plan = VectorPlan::new(2, 1.0, (8.0, 1e-5)).unwrap();
        let mut generator = Generator::from_seed([2; 32]);
        let told: Vec<f32> = (0..40_000).flat_map(|_| plan.randomise(&[3.0, 4.0], &mut generator).unwrap()).collect();
        let (pairs, _) = told.as_chunks::<2>();
        let mean = |at: usize| pairs.iter().map(|pair| f64::from(pair[at])).sum::<f64>() / pairs.len() as f64;
        let variance =
            pairs.iter().map(|pair| (f64::from(pair[0]) - mean(0)).powi(2)).sum::<f64>() / pairs.len() as f64;
        let deviation = plan.deviation();
        let off = 5.0 * deviation / (pairs.len() as f64).sqrt();
        assert!((mean(0) - 0.6).abs() < off && (mean(1) - 0.8).abs() < off, "clipped to length 1");
        assert!((variance.sqrt() / deviation - 1.0).abs() < 0.02, "{variance} {deviation}");
        assert!(plan.randomise(&[1.0], &mut generator).is_err());
        for (width, bound, cost) in
            [(0, 1.0, (1.0, 1e-5)), (2, 0.0, (1.0, 1e-5)), (2, 1.0, (0.0, 1e-5)), (2, 1.0, (1.0, 0.0))]
        {
            assert!(VectorPlan::new(width, bound, cost).is_err());
        }
    }
}
