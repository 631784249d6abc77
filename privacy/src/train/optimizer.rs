//! What is done with a noisy gradient. It is public by then: nothing here costs privacy.

/// How a gradient changes parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Stochastic gradient descent.
    Sgd {
        /// Part of the last change that is kept; 0 for none.
        momentum: f32,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
    AdamW {
        /// Memory of the gradient.
        beta1: f32,
        /// Memory of its square.
        beta2: f32,
        /// Added to the root of the square.
        epsilon: f32,
        /// Part of a parameter that is lost each step, times the rate.
        decay: f32,
    },
}

impl Rule {
    /// AdamW with memories of 0.9 and 0.999, 10⁻⁸, and no decay.
    pub const ADAM: Self = Self::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.0 };
}

/// How the rate changes over a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// Down to 0 on a line.
    Linear,
    /// Down to 0 on half a cosine.
    Cosine,
}

impl Schedule {
    /// What the rate is multiplied by at a step of so many.
    pub fn factor(self, step: u64, steps: u64) -> f32 {
        let part = step as f64 / steps.max(1) as f64;
        let factor = match self {
            Self::Constant => 1.0,
            Self::Linear => 1.0 - part,
            Self::Cosine => (1.0 + (std::f64::consts::PI * part).cos()) / 2.0,
        };
        factor as f32
    }
}

/// A rule and what it remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    /// The rule.
    pub rule: Rule,
    /// Changes so far.
    pub(super) steps: u64,
    pub(super) first: Vec<f32>,
    pub(super) second: Vec<f32>,
}

impl Optimizer {
    /// For so many parameters.
    pub fn new(rule: Rule, parameters: usize) -> Self {
        let (first, second) = Self::sizes(rule, parameters);
        Self { rule, steps: 0, first: vec![0.0; first], second: vec![0.0; second] }
    }

    /// How many numbers are remembered.
    pub(super) fn sizes(rule: Rule, parameters: usize) -> (usize, usize) {
        match rule {
            Rule::Sgd { momentum } => (if momentum == 0.0 { 0 } else { parameters }, 0),
            Rule::AdamW { .. } => (parameters, parameters),
        }
    }

    /// One change.
    pub fn change(&mut self, parameters: &mut [f32], gradient: &[f32], rate: f32) {
        self.steps += 1;
        let all = parameters.iter_mut().zip(gradient);
        match self.rule {
            Rule::Sgd { momentum: 0.0 } => super::matmul::wide(|| all.for_each(|(p, g)| *p -= rate * g)),
            Rule::Sgd { momentum } => super::matmul::wide(|| {
                for ((p, g), m) in all.zip(&mut self.first) {
                    *m = momentum * *m + g;
                    *p -= rate * *m;
                }
            }),
            Rule::AdamW { beta1, beta2, epsilon, decay } => {
                let power = i32::try_from(self.steps).unwrap_or(i32::MAX);
                let (one, two) = (1.0 - beta1.powi(power), 1.0 - beta2.powi(power));
                super::matmul::wide(|| {
                    for (((p, g), m), v) in all.zip(&mut self.first).zip(&mut self.second) {
                        *m = beta1 * *m + (1.0 - beta1) * g;
                        *v = beta2 * *v + (1.0 - beta2) * g * g;
                        *p -= rate * (*m / one / ((*v / two).sqrt() + epsilon) + decay * *p);
                    }
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_those_of_the_books() {
        let mut parameters = vec![1.0, -2.0];
        Optimizer::new(Rule::Sgd { momentum: 0.0 }, 2).change(&mut parameters, &[0.5, 1.0], 0.1);
        assert_eq!(parameters, [0.95, -2.1]);
        let mut momentum = Optimizer::new(Rule::Sgd { momentum: 0.5 }, 1);
        let mut parameter = vec![0.0];
        (0..2).for_each(|_| momentum.change(&mut parameter, &[1.0], 1.0));
        assert_eq!(parameter, [-2.5]);
        // The first change of Adam is the rate, whatever the gradient's size.
        for size in [1e-3, 1e3] {
            let mut parameter = vec![0.0];
            Optimizer::new(Rule::ADAM, 1).change(&mut parameter, &[size], 0.01);
            assert!((parameter[0] + 0.01).abs() < 1e-6, "{parameter:?}");
        }
        let decay = Rule::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.1 };
        let mut parameter = vec![2.0];
        Optimizer::new(decay, 1).change(&mut parameter, &[0.0], 0.5);
        assert_eq!(parameter, [1.9]);
    }

    #[test]
    fn schedules_begin_at_one_and_end_at_nothing() {
        assert_eq!(Schedule::Constant.factor(9, 10), 1.0);
        assert_eq!(Schedule::Linear.factor(5, 10), 0.5);
        assert!((Schedule::Cosine.factor(5, 10) - 0.5).abs() < 1e-6);
        assert!(Schedule::Cosine.factor(0, 10) == 1.0 && Schedule::Cosine.factor(10, 10) < 1e-6);
    }
}
