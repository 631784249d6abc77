//! One step: a batch in, a gradient out that may be known.

use zeroize::Zeroizing;

use super::matmul::wide;
use super::model::{Gradients, Model, Outcome};
use super::network::Network;
use super::noise::Noise;
use super::plan::{Clip, Grid};

/// What a step needs, with its room.
pub struct Step<'a, M: Model = Network> {
    model: &'a M,
    gradients: M::Gradients<'a>,
    /// Examples that are summed in single precision.
    strand: usize,
    private: Option<(Clip, Grid)>,
    factors: Vec<f32>,
    /// The sum of a strand.
    strands: Vec<f32>,
    /// The sum of the strands before it; empty where there is none.
    sum: Vec<f64>,
}

/// Parameters whose noise is drawn together, so that it stays near.
const BLOCK: usize = 4096;

/// Adding and taking away this rounds a number below 2⁵¹ to an integer.
const ROUNDING: f64 = 6_755_399_441_055_744.0;

impl<'a, M: Model> Step<'a, M> {
    /// Steps that clip and round.
    pub fn private(model: &'a M, clip: Clip, grid: Grid) -> Self {
        Self::new(model, Some((clip, grid)))
    }

    /// Steps of plain stochastic gradient descent, to compare with. What they give bounds nothing.
    pub fn plain(model: &'a M) -> Self {
        Self::new(model, None)
    }

    fn new(model: &'a M, private: Option<(Clip, Grid)>) -> Self {
        Self {
            model,
            gradients: model.gradients(private.is_some()),
            strand: private.map_or(Grid::STRAND, |(_, grid)| grid.strand),
            private,
            factors: Vec::new(),
            strands: vec![0.0; model.parameters()],
            sum: Vec::new(),
        }
    }

    /// The noisy sum of the clipped gradients of a batch, divided by `expected`; of a plain step the sum, divided by it.
    ///
    /// # Panics
    /// If `parameters` and `gradient` are not as long as the model has parameters, or the batch has an example that there is
    /// not: mistakes of the caller.
    pub fn gradient(
        &mut self,
        parameters: &[f32],
        examples: &M::Data,
        batch: &[usize],
        noise: &mut dyn Noise,
        expected: f64,
        gradient: &mut [f32],
    ) -> Outcome {
        let outcome = self.sum(parameters, examples, batch);
        assert_eq!(gradient.len(), self.strands.len(), "as many gradients as the model has parameters");
        let Some((_, grid)) = self.private else {
            self.each(gradient, |to, sum| *to = (sum / expected) as f32);
            return outcome;
        };
        let (inverse, scale) = (1.0 / grid.unit, grid.unit / expected);
        let mut drawn = Zeroizing::new([0; BLOCK]);
        let blocks = gradient.chunks_mut(BLOCK).zip(self.strands.chunks(BLOCK));
        for (at, (gradient, strands)) in blocks.enumerate() {
            let drawn = &mut drawn[..gradient.len()];
            noise.fill(drawn);
            let noisy = |to: &mut f32, sum: f64, noise: i64| {
                let rounded = (sum * inverse + ROUNDING) - ROUNDING;
                *to = ((rounded + noise as f64) * scale) as f32;
            };
            let pairs = gradient.iter_mut().zip(strands).zip(drawn.iter());
            match self.sum.get(at * BLOCK..) {
                Some(sums) if !sums.is_empty() => wide(|| {
                    pairs
                        .zip(sums)
                        .for_each(|(((to, &strand), &noise), sum)| noisy(to, sum + f64::from(strand), noise));
                }),
                _ => wide(|| pairs.for_each(|((to, &strand), &noise)| noisy(to, strand.into(), noise))),
            }
        }
        outcome
    }

    /// The sum of the clipped gradients, in `strands` and `sum`; it never leaves here without noise.
    fn sum(&mut self, parameters: &[f32], examples: &M::Data, batch: &[usize]) -> Outcome {
        let mut outcome = Outcome::default();
        self.gradients.load(parameters);
        self.sum.clear();
        self.strands.fill(0.0);
        let (mut held, mut adds) = (0, 0);
        let mut rest = batch;
        while !rest.is_empty() {
            let most = self.model.at_once(examples, rest).min(self.strand).clamp(1, rest.len());
            if held + most > self.strand || adds == Grid::ADDS {
                self.set_aside();
                (held, adds) = (0, 0);
            }
            let (some, later) = rest.split_at(most);
            (rest, held, adds) = (later, held + some.len(), adds + 1);
            outcome.and(self.gradients.compute(parameters, examples, some));
            self.factors.clear();
            match self.private {
                Some((clip, _)) => {
                    self.factors.extend(self.gradients.squares().iter().map(|&square| clip.factor(square)))
                }
                None => self.factors.resize(some.len(), 1.0),
            }
            for example in 0..some.len() {
                // An example whose gradient is no number adds nothing; nothing times infinity would.
                if self.factors[example] == 0.0 {
                    self.gradients.forget(example);
                }
            }
            self.gradients.add(&self.factors, &mut self.strands);
        }
        outcome
    }

    /// Begins another strand.
    fn set_aside(&mut self) {
        self.sum.resize(self.strands.len(), 0.0);
        let pairs = self.sum.iter_mut().zip(&mut self.strands);
        wide(|| {
            for (sum, strand) in pairs {
                *sum += f64::from(*strand);
                *strand = 0.0;
            }
        });
    }

    /// Does something with each number of the sum.
    fn each(&self, gradient: &mut [f32], change: impl Fn(&mut f32, f64)) {
        let pairs = gradient.iter_mut().zip(&self.strands);
        match self.sum.is_empty() {
            true => wide(|| pairs.for_each(|(to, &strand)| change(to, strand.into()))),
            false => wide(|| pairs.zip(&self.sum).for_each(|((to, &strand), sum)| change(to, sum + f64::from(strand)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::Examples;
    use super::super::network::Pass;
    use super::*;
    use crate::noise::Generator;

    struct Silence;

    impl Noise for Silence {
        fn fill(&mut self, values: &mut [i64]) {
            values.fill(0);
        }
    }

    fn examples(network: &Network, count: usize) -> Examples {
        let mut random = Generator::from_seed([8; 32]);
        let values = (0..count * network.inputs()).map(|_| random.unit() as f32).collect();
        let classes = (0..count as u32).map(|index| index % network.classes() as u32).collect();
        Examples::new(network.inputs(), values, classes).unwrap()
    }

    fn networks() -> [Network; 3] {
        let mlp = Network::perceptron(20, &[17, 9], 5).unwrap();
        [Network::logistic(33, 10).unwrap(), mlp, Network::small_images(10).unwrap()]
    }

    /// Weights that are nowhere 0.
    fn weights(network: &Network) -> Vec<f32> {
        let mut random = Generator::from_seed([9; 32]);
        network.begin(4).iter().map(|w| w + (random.unit() as f32 - 0.5) * 0.1).collect()
    }

    fn grid() -> Grid {
        Grid { unit: 2.0_f64.powi(-30), strand: 256, sensitivity: 0.0 }
    }

    fn gradient(network: &Network, clip: Option<Clip>, examples: &Examples, batch: &[usize]) -> Vec<f32> {
        let mut step = match clip {
            Some(clip) => Step::private(network, clip, grid()),
            None => Step::plain(network),
        };
        let mut gradient = vec![0.0; network.parameters()];
        step.gradient(&weights(network), examples, batch, &mut Silence, 1.0, &mut gradient);
        gradient
    }

    fn norm(values: &[f32]) -> f64 {
        values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn gradients_are_those_of_small_differences() {
        for network in networks() {
            let data = examples(&network, 3);
            let exact = gradient(&network, None, &data, &[0, 1, 2]);
            let weights = weights(&network);
            let loss = |weights: &[f32]| Step::plain(&network).sum(weights, &data, &[0, 1, 2]).loss;
            let mut random = Generator::from_seed([1; 32]);
            for _ in 0..4 {
                let way: Vec<f32> = (0..weights.len()).map(|_| (random.unit() as f32 - 0.5) * 1e-3).collect();
                let at = |sign: f32| weights.iter().zip(&way).map(|(w, v)| w + sign * v).collect::<Vec<f32>>();
                let slope = (loss(&at(1.0)) - loss(&at(-1.0))) / 2.0;
                let expected: f64 = exact.iter().zip(&way).map(|(&g, &v)| f64::from(g) * f64::from(v)).sum();
                let scale = norm(&exact) * norm(&way);
                assert!((slope - expected).abs() < 0.01 * scale, "{slope} {expected} of {scale}");
            }
        }
    }

    #[test]
    fn norms_of_examples_are_those_of_batches_of_one() {
        for network in networks() {
            let data = examples(&network, 70);
            let weights = weights(&network);
            let mut pass = Pass::new(&network, true);
            pass.load(&weights);
            pass.inputs(70).copy_from_slice(&(0..70).flat_map(|i| data.row(i)).copied().collect::<Vec<_>>());
            pass.forward(&weights);
            pass.backward(data.classes());
            for example in 0..70 {
                let alone = norm(&gradient(&network, None, &data, &[example]));
                let known = f64::from(pass.squares()[example]).sqrt();
                assert!((known - alone).abs() < 1e-5 * alone, "{example}: {known} {alone}");
            }
        }
    }

    #[test]
    fn a_clipped_sum_is_that_of_the_clipped_examples() {
        for network in networks() {
            let data = examples(&network, 70);
            let norms: Vec<f64> = (0..70).map(|i| norm(&gradient(&network, None, &data, &[i]))).collect();
            let bound = norms.iter().sum::<f64>() / 70.0;
            for clip in [Clip::Flat(bound), Clip::Automatic(bound)] {
                let all: Vec<usize> = (0..70).collect();
                let sum = gradient(&network, Some(clip), &data, &all);
                let mut expected = vec![0.0; sum.len()];
                for (i, norm) in norms.iter().enumerate() {
                    let factor = match clip {
                        Clip::Flat(_) => (bound / norm).min(1.0),
                        Clip::Automatic(_) => bound / (norm + 0.01),
                    };
                    let one = gradient(&network, None, &data, &[i]);
                    expected.iter_mut().zip(&one).for_each(|(e, &g)| *e += (factor * f64::from(g)) as f32);
                }
                let apart: Vec<f32> = sum.iter().zip(&expected).map(|(a, b)| a - b).collect();
                // Factors leave a thousandth of room.
                assert!(norm(&apart) < 1.1e-3 * 70.0 * bound, "{clip:?}: {} of {bound}", norm(&apart));
            }
        }
    }

    #[test]
    fn no_example_adds_more_than_the_bound() {
        for network in networks() {
            let data = examples(&network, 40);
            for bound in [1e-3, 0.5, 1e4] {
                for clip in [Clip::Flat(bound), Clip::Automatic(bound)] {
                    for example in 0..40 {
                        let contribution = norm(&gradient(&network, Some(clip), &data, &[example]));
                        let rounding = 2.0_f64.powi(-30) * (network.parameters() as f64).sqrt();
                        assert!(contribution <= bound + rounding, "{contribution} of {bound}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_example_that_is_no_number_adds_nothing() {
        let network = Network::perceptron(2, &[3], 2).unwrap();
        let data = Examples::new(2, vec![1.0, 2.0, f32::MAX, f32::MAX], vec![0, 1]).unwrap();
        let clip = Some(Clip::Flat(1.0));
        let both = gradient(&network, clip, &data, &[0, 1]);
        assert!(both.iter().all(|value| value.is_finite()));
        assert_eq!(both, gradient(&network, clip, &data, &[0]));
    }

    /// What is too small to be squared, times what is almost too large, is no small gradient.
    #[test]
    fn a_gradient_whose_square_is_lost_adds_no_more_than_the_bound() {
        let network = Network::logistic(1, 2).unwrap();
        // A logit of 53 leaves 10⁻²³ to the other class, whose square is nothing.
        let (x, weights) = (1e19, [5.3e-18, 0.0, 0.0, 0.0]);
        let data = Examples::new(1, vec![x], vec![0]).unwrap();
        let mut gradient = vec![0.0; 4];
        Step::plain(&network).gradient(&weights, &data, &[0], &mut Silence, 1.0, &mut gradient);
        assert!(norm(&gradient) > 1e-5, "the test needs such a gradient: {gradient:?}");
        let grid = Grid { unit: 2.0_f64.powi(-50), ..grid() };
        Step::private(&network, Clip::Flat(1e-6), grid).gradient(
            &weights,
            &data,
            &[0],
            &mut Silence,
            1.0,
            &mut gradient,
        );
        assert!(norm(&gradient) <= 1e-6, "{gradient:?}");
    }

    #[test]
    fn an_empty_batch_is_noise_alone() {
        struct Ones;
        impl Noise for Ones {
            fn fill(&mut self, values: &mut [i64]) {
                values.fill(1);
            }
        }
        let network = Network::logistic(3, 2).unwrap();
        let grid = Grid { unit: 0.5, strand: 64, sensitivity: 3.0 };
        let mut step = Step::private(&network, Clip::Flat(1.0), grid);
        let mut gradient = vec![9.0; 8];
        let outcome = step.gradient(&[0.0; 8], &examples(&network, 2), &[], &mut Ones, 4.0, &mut gradient);
        assert_eq!((gradient, outcome), (vec![0.125; 8], Outcome::default()));
    }
}
