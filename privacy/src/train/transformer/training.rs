//! A classifier as what steps and runs take.

use super::super::matmul::{SUMMED, square, wide};
use super::super::model::{Gradients, Misfit, Model, Outcome};
use super::super::plan::Grid;
use super::classifier::Classifier;
use super::ghost::SPREAD;
use super::layer::{DOWN, OUTPUT, QKV, UP};
use super::layout::Tuning;
use super::pass::Pass;
use super::texts::Texts;
use super::weights::MOST_PLACES;
use crate::noise::Generator;

/// Tokens that are computed at once, unless one text has more.
const ROWS: usize = 256;
/// Texts that are computed at once.
const TEXTS: usize = 64;
/// Numbers of gradients that are made for each example, at once, unless one example has more.
const DIRECT: usize = 1 << 22;

impl Model for Classifier {
    type Data = Texts;
    type Gradients<'a> = Pass<'a>;

    fn parameters(&self) -> usize {
        self.layout.parameters()
    }

    /// The encoder's own weights; the linear layer's uniform with a deviation of 0.02, and `A` as `peft` has it.
    fn begin(&self, seed: u64) -> Vec<f32> {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut random = Generator::from_seed(key);
        let mut uniform = |bound: f64| ((random.unit() * 2.0 - 1.0) * bound) as f32;
        let (d, layout) = (self.layout.hidden, &self.layout);
        let mut parameters = vec![0.0; layout.parameters()];
        let head = layout.head();
        parameters[head.start..head.end - layout.classes].fill_with(|| uniform(0.02 * 3.0_f64.sqrt()));
        for (index, layer) in self.layers.iter().enumerate() {
            if let Tuning::Adapters(_) = self.tuning {
                parameters[layout.adapters(index).0].fill_with(|| uniform(1.0 / (d as f64).sqrt()));
                continue;
            }
            parameters[layout.small(index)].copy_from_slice(&layer.small);
            for (matrix, values) in layer.matrices.iter().enumerate() {
                parameters[layout.matrix(index, matrix)].copy_from_slice(values);
            }
        }
        if self.tuning == Tuning::All {
            let norm = &self.weights.embedding_norm;
            let (gamma, beta) = parameters[layout.embedding_norm()].split_at_mut(d);
            gamma.copy_from_slice(&norm.gamma);
            beta.copy_from_slice(&norm.beta);
            if let Some((weight, bias)) = &self.pooler {
                parameters[layout.pooler()].copy_from_slice(weight);
                parameters[layout.pooler_bias()].copy_from_slice(bias);
            }
        }
        parameters
    }

    fn fits(&self, texts: &Texts) -> Result<(), Misfit> {
        let greatest = texts.classes().iter().copied().max().unwrap_or(0);
        if greatest as usize >= self.classes() {
            return Err(Misfit(format!("there is no class {greatest} of {}", self.classes())));
        }
        let (longest, places) = (texts.longest(), self.weights.places());
        if longest > places {
            return Err(Misfit(format!("a text has {longest} tokens, and the model has places for {places}")));
        }
        let (token, vocabulary) = (texts.greatest(), self.weights.vocabulary());
        match (token as usize) < vocabulary {
            true => Ok(()),
            false => Err(Misfit(format!("a text has token {token}, and the model knows {vocabulary}"))),
        }
    }

    fn at_once(&self, texts: &Texts, rest: &[usize]) -> usize {
        let mut rows = 0;
        let within = |&&index: &&usize| {
            rows += texts.text(index).len();
            rows <= ROWS
        };
        rest.iter().take(TEXTS.min(DIRECT / self.layout.direct())).take_while(within).count().max(1)
    }

    /// What a token adds to a number of a matrix's sum is rounded in its block of `SUMMED` tokens, and once for each block that
    /// comes later in its strand and for each time that some texts are added; by a part of the spread of its text. All others
    /// are sums over texts, not over tokens: the grid knows of those.
    fn rounding(&self) -> f64 {
        let rounded = SUMMED + Grid::ADDS * MOST_PLACES.max(ROWS).div_ceil(SUMMED) + Grid::ADDS;
        match self.tuning {
            Tuning::All => 2.0 * SPREAD * rounded as f64,
            Tuning::Adapters(_) => 0.0,
        }
    }

    fn gradients(&self, private: bool) -> Pass<'_> {
        Pass::new(self, private)
    }
}

impl Classifier {
    /// The logits of texts, a row of [`Classifier::classes`] each.
    ///
    /// # Errors
    /// When it does not take them.
    pub fn logits(&self, parameters: &[f32], texts: &Texts) -> Result<Vec<f32>, Misfit> {
        self.fits(texts)?;
        let mut pass = Pass::new(self, false);
        pass.load(parameters);
        let all: Vec<usize> = (0..texts.len()).collect();
        let (mut rest, mut logits) = (all.as_slice(), Vec::new());
        while !rest.is_empty() {
            let (some, later) = rest.split_at(self.at_once(texts, rest));
            pass.outcome(parameters, texts, some);
            logits.extend_from_slice(pass.logits());
            rest = later;
        }
        Ok(logits)
    }
}

impl Gradients<Texts> for Pass<'_> {
    fn load(&mut self, parameters: &[f32]) {
        let (model, layout) = (self.model, &self.model.layout);
        assert_eq!(parameters.len(), layout.parameters(), "as many parameters as the classifier has");
        let (weight, bias) = parameters[layout.head()].split_at(layout.hidden * layout.classes);
        self.loaded.head.0.lay(weight, layout.hidden, layout.classes);
        self.loaded.head.1.lay_transposed(weight, layout.classes, layout.hidden);
        self.loaded.head.2 = bias.to_vec();
        match &model.tuning {
            Tuning::Adapters(_) => {
                for index in 0..layout.layers {
                    let mut qkv = model.layers[index].matrices[QKV].clone();
                    model.adapt(parameters, index, &mut qkv);
                    self.loaded.lay(index, QKV, &qkv, layout.shapes[QKV]);
                    self.load_adapters(parameters, index);
                }
            }
            Tuning::All => {
                for index in 0..layout.layers {
                    self.loaded.small[index].copy_from_slice(&parameters[layout.small(index)]);
                    for matrix in [QKV, OUTPUT, UP, DOWN] {
                        let values = &parameters[layout.matrix(index, matrix)];
                        self.loaded.lay(index, matrix, values, layout.shapes[matrix]);
                    }
                }
                let (gamma, beta) = parameters[layout.embedding_norm()].split_at(layout.hidden);
                self.loaded.embedding_norm = (gamma.to_vec(), beta.to_vec());
                if layout.pooled {
                    self.loaded.lay_pooler(&parameters[layout.pooler()], &parameters[layout.pooler_bias()]);
                }
            }
        }
    }

    fn compute(&mut self, _: &[f32], texts: &Texts, some: &[usize]) -> Outcome {
        self.forward(texts, some);
        let outcome = self.judge(texts, some);
        self.backward();
        self.squares.clear();
        if self.private {
            let each = self.model.layout.direct();
            for (known, direct) in self.known.iter().zip(self.direct.chunks_exact(each)) {
                // In blocks, so that single precision does for any number of them.
                let direct: f64 = direct.chunks(4096).map(|block| f64::from(wide(|| square(block)))).sum();
                self.squares.push((known.bound() + direct) as f32);
            }
        }
        outcome
    }

    fn outcome(&mut self, _: &[f32], texts: &Texts, some: &[usize]) -> Outcome {
        self.forward(texts, some);
        self.judge(texts, some)
    }

    fn squares(&self) -> &[f32] {
        &self.squares
    }

    fn forget(&mut self, example: usize) {
        self.nothing(example);
    }

    fn add(&mut self, factors: &[f32], sum: &mut [f32]) {
        self.add_all(factors, sum);
    }
}
