//! Gradient descent with gradients that came with noise: whoever asked for them does it, and it spends nothing.

use super::{BIAS, Gradient, GradientError, LONGEST_HEAD};

/// Greatest rate: with rows of length 1 the logistic loss is curved by at most ¼, and a step twice its inverse long does not overshoot.
const GREATEST_RATE: f64 = 8.0;
/// How far the noise of a whole run may move a head, if the rate stayed (as of `sahara-privacy`'s plans).
const WALK: f64 = 8.0;

/// A head on its way.
#[derive(Clone, Debug)]
pub struct Descent {
    gradient: Gradient,
    steps: u64,
    done: u64,
    rate: f64,
    head: Vec<f32>,
}

impl Descent {
    /// From a head of zeros, with so many steps, whose rate falls to nothing; `variance` is that of the noise on each number of an output, in
    /// squares of the last place. What the rate is follows from these, and not from the rows.
    pub fn new(gradient: Gradient, steps: u64, variance: u64) -> Self {
        let noise = (variance as f64).sqrt() * gradient.last_place() / gradient.rows() as f64;
        let walk = noise * (steps as f64 * gradient.width() as f64).sqrt();
        let rate = (WALK / walk).min(GREATEST_RATE);
        Self { gradient, steps, done: 0, rate, head: vec![0.0; gradient.numbers()] }
    }

    /// The head as the graph takes it for the next gradient.
    ///
    /// # Errors
    /// None for heads that only [`Descent::step`] moved.
    pub fn input(&self) -> Result<Vec<i32>, GradientError> {
        self.gradient.input(&self.head)
    }

    /// Steps taken.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// One step down an output of the graph; a head that would be longer than the graph takes is shortened.
    ///
    /// # Errors
    /// When the output has another number of numbers.
    pub fn step(&mut self, output: &[i32]) -> Result<(), GradientError> {
        if output.len() != self.head.len() {
            return Err(GradientError::Head { expected: self.head.len() });
        }
        let left = 1.0 - self.done as f64 / self.steps.max(self.done + 1) as f64;
        let rate = (self.rate * left) as f32;
        self.head.iter_mut().zip(self.gradient.mean(output)).for_each(|(w, slope)| *w -= rate * slope);
        for head in self.head.chunks_mut(self.gradient.width()) {
            let length = head.iter().map(|w| f64::from(*w) * f64::from(*w)).sum::<f64>().sqrt();
            let most = f64::from(LONGEST_HEAD) * (1.0 - 1e-6);
            if length > most {
                head.iter_mut().for_each(|w| *w = (f64::from(*w) * most / length) as f32);
            }
        }
        self.done += 1;
        Ok(())
    }

    /// What the head is worth on rows as they were before they got a length: for each label the weights of a linear layer, and its bias. The
    /// greatest output names the label.
    pub fn layer(&self) -> Vec<(Vec<f32>, f32)> {
        let of = |head: &[f32], sign: f32| {
            let (bias, weights) = head.split_last().map_or((0.0, &[][..]), |(bias, weights)| (*bias, weights));
            (weights.iter().map(|w| w * sign).collect(), bias * BIAS * sign)
        };
        let heads = self.head.chunks(self.gradient.width());
        match self.gradient.heads() {
            1 => [-0.5, 0.5].into_iter().zip(heads.cycle()).map(|(sign, head)| of(head, sign)).collect(),
            _ => heads.map(|head| of(head, 1.0)).collect(),
        }
    }
}
