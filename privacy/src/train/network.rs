//! Networks of few layers, whose gradients are known example by example without ever being held example by example.
//!
//! A pass forth and back leaves, for each layer with weights, what went into it and the gradient of what came out. The gradient
//! of an example by the weights of a dense layer is the outer product of the two, so its norm is the product of their norms, and
//! the sum of many, each with a factor of its own, is one product of matrices (book-keeping: Bu, Wang, Zha and Karypis, 2023).
//! A convolution's gradient of one example is small, and is made.

use super::convolution::{Convolution, Pooling};
use super::data::Examples;
use super::matmul::{Left, Right, SUMMED, multiply, square, wide};
use super::model::{Gradients, Misfit, Model, Outcome};
use crate::noise::Generator;

/// A part of a network. What goes in and comes out is a row for each example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// `y = x·W + b`; weights are `inputs × outputs`, row-major, and the bias follows them.
    Dense {
        /// Numbers that go in.
        inputs: usize,
        /// Numbers that come out.
        outputs: usize,
    },
    /// A convolution over an image.
    Convolution(Convolution),
    /// The greatest of each window of an image.
    Pooling(Pooling),
    /// `max(x, 0)`.
    Relu,
}

/// Layers one after the other; the last gives a logit for each class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    layers: Vec<Layer>,
    /// Numbers between layers: what goes into layer `i` is `widths[i]`.
    widths: Vec<usize>,
}

/// Why layers are no network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ShapeError {
    /// A layer does not take what the one before gives.
    #[error("layer {index} takes {takes} numbers, but is given {given}")]
    Mismatch {
        /// Its position.
        index: usize,
        /// Numbers that it takes.
        takes: usize,
        /// Numbers that the layer before gives.
        given: usize,
    },
    /// There is nothing to train, or a size is 0 or above [`MOST_PARAMETERS`], or [`MOST_ROW`] in a layer.
    #[error(
        "a network has between 1 and {MOST_PARAMETERS} parameters, at most {MOST_ROW} to or from a layer, and no size of 0"
    )]
    Size,
}

/// Most parameters, and most numbers of one example between two layers.
pub const MOST_PARAMETERS: usize = 1 << 26;
/// Most numbers whose squares are summed: beyond, the rounding of the sum is more than [`Clip`](super::Clip) leaves room for.
pub const MOST_ROW: usize = 1 << 17;
/// The square of a row's norm above which its example is taken for no number: times a gradient that is too small to be squared in
/// single precision it could still be something.
const MOST_SQUARE: f32 = (1_u64 << 60) as f32;

impl Network {
    /// Of layers that fit.
    ///
    /// # Errors
    /// When they do not, or are too large.
    pub fn new(layers: Vec<Layer>, inputs: usize) -> Result<Self, ShapeError> {
        let mut widths = vec![inputs];
        let mut parameters = 0_usize;
        for (index, layer) in layers.iter().enumerate() {
            let given = widths[index];
            let (takes, gives) = layer.sizes(given).ok_or(ShapeError::Size)?;
            if takes != given {
                return Err(ShapeError::Mismatch { index, takes, given });
            }
            parameters = layer.parameters().and_then(|own| parameters.checked_add(own)).ok_or(ShapeError::Size)?;
            if gives == 0 || gives > MOST_PARAMETERS || layer.longest_row() > MOST_ROW {
                return Err(ShapeError::Size);
            }
            widths.push(gives);
        }
        if inputs == 0 || parameters == 0 || parameters > MOST_PARAMETERS {
            return Err(ShapeError::Size);
        }
        Ok(Self { layers, widths })
    }

    /// One dense layer: multinomial logistic regression.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn logistic(inputs: usize, classes: usize) -> Result<Self, ShapeError> {
        Self::perceptron(inputs, &[], classes)
    }

    /// Dense layers with ReLU between them.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn perceptron(inputs: usize, hidden: &[usize], classes: usize) -> Result<Self, ShapeError> {
        let mut layers = Vec::new();
        let mut before = inputs;
        for &outputs in hidden {
            layers.extend([Layer::Dense { inputs: before, outputs }, Layer::Relu]);
            before = outputs;
        }
        layers.push(Layer::Dense { inputs: before, outputs: classes });
        Self::new(layers, inputs)
    }

    /// The small network for images of 28 × 28 in grey: 16 filters of 8 × 8, 32 of 4 × 4, a hidden layer of 32.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn small_images(classes: usize) -> Result<Self, ShapeError> {
        let first = Convolution { height: 28, width: 28, channels: 1, filters: 16, size: 8, stride: 2, padding: 3 };
        let second = Convolution { height: 13, width: 13, channels: 16, filters: 32, size: 4, stride: 2, padding: 0 };
        let layers = vec![
            Layer::Convolution(first),
            Layer::Relu,
            Layer::Pooling(Pooling { height: 14, width: 14, channels: 16 }),
            Layer::Convolution(second),
            Layer::Relu,
            Layer::Pooling(Pooling { height: 5, width: 5, channels: 32 }),
            Layer::Dense { inputs: 512, outputs: 32 },
            Layer::Relu,
            Layer::Dense { inputs: 32, outputs: classes },
        ];
        Self::new(layers, 28 * 28)
    }

    /// The layers.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Numbers of an example.
    pub fn inputs(&self) -> usize {
        self.widths[0]
    }

    /// Logits of an example.
    pub fn classes(&self) -> usize {
        self.widths[self.layers.len()]
    }

    /// How many numbers are trained.
    pub fn parameters(&self) -> usize {
        self.layers.iter().filter_map(Layer::parameters).sum()
    }

    /// Weights to begin with: uniform with variance 1 ∕ (3·inputs) as torch has them, and biases of 0; a lone dense layer begins
    /// at 0. They depend on the seed alone.
    pub fn begin(&self, seed: u64) -> Vec<f32> {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut random = Generator::from_seed(key);
        let mut parameters = Vec::with_capacity(self.parameters());
        let lone = self.layers.len() == 1;
        for layer in &self.layers {
            let (depth, outputs) = layer.shape();
            let bound = if lone { 0.0 } else { 1.0 / (depth as f64).sqrt() };
            parameters.extend((0..depth * outputs).map(|_| ((random.unit() * 2.0 - 1.0) * bound) as f32));
            parameters.extend(std::iter::repeat_n(0.0, outputs));
        }
        parameters
    }
}

impl Layer {
    /// How many numbers it takes and gives, if it is given so many; none if a size is 0 or too large.
    fn sizes(&self, given: usize) -> Option<(usize, usize)> {
        match self {
            Self::Dense { inputs, outputs } => Some((*inputs, *outputs)),
            Self::Relu => Some((given, given)),
            Self::Convolution(convolution) => convolution.sizes(),
            Self::Pooling(pooling) => pooling.sizes(),
        }
    }

    /// Numbers whose squares are summed for the norm of an example's gradient.
    fn longest_row(&self) -> usize {
        match self {
            Self::Dense { inputs, outputs } => *inputs.max(outputs),
            Self::Convolution(_) => self.parameters().unwrap_or(usize::MAX),
            Self::Relu | Self::Pooling(_) => 0,
        }
    }

    /// Rows and columns of its weights.
    fn shape(&self) -> (usize, usize) {
        match self {
            Self::Dense { inputs, outputs } => (*inputs, *outputs),
            Self::Convolution(convolution) => (convolution.patch(), convolution.filters),
            Self::Relu | Self::Pooling(_) => (0, 0),
        }
    }

    /// How many numbers it trains, the bias with them.
    fn parameters(&self) -> Option<usize> {
        let (depth, outputs) = self.shape();
        depth.checked_add(1)?.checked_mul(outputs)
    }
}

/// What a pass needs to remember, for a number of examples at a time.
pub struct Pass<'a> {
    network: &'a Network,
    private: bool,
    examples: usize,
    /// What goes into each layer, and at the end the logits.
    values: Vec<Vec<f32>>,
    /// The gradient of what comes out of each layer with weights.
    deltas: Vec<Vec<f32>>,
    /// Weights as they are multiplied, forth and back.
    forth: Vec<Right>,
    back: Vec<Right>,
    /// Of convolutions: the patches, and the gradient of each example.
    patches: Vec<Vec<f32>>,
    gradients: Vec<Vec<f32>>,
    /// Of pooling: which of a window was the greatest.
    greatest: Vec<Vec<u8>>,
    /// Squares of the norms of the examples' gradients.
    squares: Vec<f32>,
    scratch: Vec<f32>,
    packed: Right,
}

impl<'a> Pass<'a> {
    /// For a network. A `private` pass knows the norm of each example's gradient.
    pub fn new(network: &'a Network, private: bool) -> Self {
        let layers = network.layers.len();
        Self {
            network,
            private,
            examples: 0,
            values: vec![Vec::new(); layers + 1],
            deltas: vec![Vec::new(); layers],
            forth: vec![Right::default(); layers],
            back: vec![Right::default(); layers],
            patches: vec![Vec::new(); layers],
            gradients: vec![Vec::new(); layers],
            greatest: vec![Vec::new(); layers],
            squares: Vec::new(),
            scratch: Vec::new(),
            packed: Right::default(),
        }
    }

    /// Takes weights for the examples to come: [`Network::parameters`] numbers.
    ///
    /// # Panics
    /// If they are another number of numbers.
    pub fn load(&mut self, parameters: &[f32]) {
        assert_eq!(parameters.len(), self.network.parameters(), "as many parameters as the network has");
        let mut begin = 0;
        let mut first = true;
        for (index, layer) in self.network.layers.iter().enumerate() {
            let (depth, outputs) = layer.shape();
            if outputs == 0 {
                continue;
            }
            let weights = &parameters[begin..begin + depth * outputs];
            wide(|| self.forth[index].lay(weights, depth, outputs));
            if !first {
                wide(|| self.back[index].lay_transposed(weights, outputs, depth));
            }
            first = false;
            begin += (depth + 1) * outputs;
        }
    }

    /// The room for the inputs of so many examples, to be written before [`Pass::forward`].
    pub fn inputs(&mut self, examples: usize) -> &mut [f32] {
        self.examples = examples;
        self.values[0].resize(examples * self.network.inputs(), 0.0);
        &mut self.values[0]
    }

    /// The logits of the examples in [`Pass::inputs`], a row each.
    pub fn forward(&mut self, parameters: &[f32]) -> &[f32] {
        let examples = self.examples;
        let mut begin = 0;
        for (index, layer) in self.network.layers.iter().enumerate() {
            let (depth, outputs) = layer.shape();
            let bias = &parameters[begin + depth * outputs..begin + (depth + 1) * outputs];
            begin += (depth + 1) * outputs;
            let (before, after) = self.values.split_at_mut(index + 1);
            let (x, y) = (&before[index], &mut after[0]);
            y.resize(examples * self.network.widths[index + 1], 0.0);
            match layer {
                Layer::Dense { .. } => {
                    wide(|| y.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias)));
                    multiply(Left::Rows(x), &self.forth[index], y, true);
                }
                Layer::Convolution(convolution) => {
                    let patches = &mut self.patches[index];
                    convolution.cut(x, patches);
                    wide(|| y.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(bias)));
                    multiply(Left::Rows(patches), &self.forth[index], y, true);
                }
                Layer::Pooling(pooling) => pooling.forward(x, y, &mut self.greatest[index]),
                Layer::Relu => wide(|| y.iter_mut().zip(x).for_each(|(y, &x)| *y = x.max(0.0))),
            }
        }
        &self.values[self.network.layers.len()]
    }

    /// The way back from the logits, for the class of each example; a class that there is not is a mistake of the caller.
    pub fn backward(&mut self, classes: &[u32]) -> Outcome {
        let layers = self.network.layers.len();
        let mut delta = std::mem::take(&mut self.deltas[layers - 1]);
        let outcome = cross_entropy(&self.values[layers], classes, self.network.classes(), &mut delta);
        self.squares.clear();
        self.squares.resize(self.examples, 0.0);
        let lowest = self.network.layers.iter().position(|layer| layer.shape().1 > 0).unwrap_or(0);
        for index in (lowest..layers).rev() {
            let x = &self.values[index];
            let below = index > lowest;
            let width = self.network.widths[index];
            // What comes out of a layer without weights is not needed again: its room serves the layer below.
            let mut next = if below { std::mem::take(&mut self.deltas[index - 1]) } else { Vec::new() };
            if below {
                next.resize(self.examples * width, 0.0);
            }
            match &self.network.layers[index] {
                Layer::Dense { inputs, outputs } => {
                    if self.private {
                        let squares = &mut self.squares;
                        let rows = x.chunks_exact(*inputs).zip(delta.chunks_exact(*outputs));
                        wide(|| {
                            for (sum, (x, delta)) in squares.iter_mut().zip(rows) {
                                let inputs = square(x);
                                let product = (inputs + 1.0) * square(delta);
                                *sum += if inputs <= MOST_SQUARE { product } else { f32::INFINITY };
                            }
                        });
                    }
                    if below {
                        multiply(Left::Rows(&delta), &self.back[index], &mut next, false);
                    }
                }
                Layer::Convolution(convolution) => {
                    if self.private {
                        let gradients = &mut self.gradients[index];
                        convolution.gradients(&self.patches[index], &delta, gradients, &mut self.packed);
                        let size = (convolution.patch() + 1) * convolution.filters;
                        let squares = &mut self.squares;
                        wide(|| {
                            for (sum, gradient) in squares.iter_mut().zip(gradients.chunks_exact(size)) {
                                *sum += square(gradient);
                            }
                        });
                    }
                    if below {
                        self.scratch.resize(self.patches[index].len(), 0.0);
                        multiply(Left::Rows(&delta), &self.back[index], &mut self.scratch, false);
                        convolution.paste(&self.scratch, &mut next);
                    }
                }
                Layer::Pooling(pooling) => pooling.backward(&delta, &self.greatest[index], &mut next),
                Layer::Relu => {
                    let y = &self.values[index + 1];
                    wide(|| {
                        for ((next, &delta), &y) in next.iter_mut().zip(&delta).zip(y) {
                            *next = if y > 0.0 { delta } else { 0.0 };
                        }
                    });
                }
            }
            self.deltas[index] = std::mem::replace(&mut delta, next);
        }
        outcome
    }

    /// Squares of the norms of the examples' gradients, of a private pass.
    pub fn squares(&self) -> &[f32] {
        &self.squares
    }

    /// Makes an example add nothing, whatever numbers it led to.
    pub fn forget(&mut self, example: usize) {
        let parts = self.values.iter_mut().chain(&mut self.deltas).chain(&mut self.patches).chain(&mut self.gradients);
        for part in parts {
            let each = part.len() / self.examples.max(1);
            if let Some(own) = part.get_mut(example * each..(example + 1) * each) {
                own.fill(0.0);
            }
        }
    }

    /// Adds the gradients of the examples, each times its factor, to `sum`, which is laid out as the parameters are.
    pub fn add_gradients(&mut self, factors: &[f32], sum: &mut [f32]) {
        let mut begin = 0;
        for (index, layer) in self.network.layers.iter().enumerate() {
            let (depth, outputs) = layer.shape();
            let own = &mut sum[begin..begin + (depth + 1) * outputs];
            begin += own.len();
            match layer {
                Layer::Convolution(_) if self.private => {
                    let gradients = self.gradients[index].chunks(SUMMED * own.len()).zip(factors.chunks(SUMMED));
                    let block = &mut self.scratch;
                    wide(|| {
                        for (gradients, factors) in gradients {
                            block.clear();
                            block.resize(own.len(), 0.0);
                            for (&factor, gradient) in factors.iter().zip(gradients.chunks_exact(own.len())) {
                                block.iter_mut().zip(gradient).for_each(|(sum, &value)| *sum += factor * value);
                            }
                            own.iter_mut().zip(&*block).for_each(|(sum, &value)| *sum += value);
                        }
                    });
                }
                Layer::Dense { .. } | Layer::Convolution(_) => {
                    let delta = &mut self.deltas[index];
                    let each = delta.len() / factors.len().max(1);
                    let (weights, bias) = own.split_at_mut(depth * outputs);
                    let block = &mut self.scratch;
                    wide(|| {
                        for (rows, factors) in delta.chunks_mut((SUMMED * each).max(1)).zip(factors.chunks(SUMMED)) {
                            block.clear();
                            block.resize(outputs, 0.0);
                            for (rows, &factor) in rows.chunks_exact_mut(each.max(1)).zip(factors) {
                                for row in rows.chunks_exact_mut(outputs) {
                                    for (bias, value) in block.iter_mut().zip(row) {
                                        *value *= factor;
                                        *bias += *value;
                                    }
                                }
                            }
                            bias.iter_mut().zip(&*block).for_each(|(bias, &value)| *bias += value);
                        }
                        self.packed.lay(delta, delta.len() / outputs, outputs);
                    });
                    let x =
                        if matches!(layer, Layer::Dense { .. }) { &self.values[index] } else { &self.patches[index] };
                    multiply(Left::Columns(x), &self.packed, weights, true);
                }
                Layer::Relu | Layer::Pooling(_) => {}
            }
        }
    }
}

impl Model for Network {
    type Data = Examples;
    type Gradients<'a> = Pass<'a>;

    fn parameters(&self) -> usize {
        self.parameters()
    }

    fn begin(&self, seed: u64) -> Vec<f32> {
        self.begin(seed)
    }

    fn fits(&self, data: &Examples) -> Result<(), Misfit> {
        let greatest = data.classes().iter().copied().max().unwrap_or(0);
        let (width, inputs, classes) = (data.width(), self.inputs(), self.classes());
        if width == inputs && (greatest as usize) < classes {
            return Ok(());
        }
        Err(Misfit(format!(
            "rows of {width} numbers and classes up to {greatest} do not fit a network of {inputs} inputs and {classes} \
             classes"
        )))
    }

    fn at_once(&self, _: &Examples, rest: &[usize]) -> usize {
        let images = self.layers.iter().any(|layer| matches!(layer, Layer::Convolution(_)));
        let most = match images {
            true => 32,
            false if self.parameters() < 100_000 => 64,
            false => 256,
        };
        rest.len().min(most)
    }

    fn gradients(&self, private: bool) -> Pass<'_> {
        Pass::new(self, private)
    }
}

impl Gradients<Examples> for Pass<'_> {
    fn load(&mut self, parameters: &[f32]) {
        self.load(parameters);
    }

    fn compute(&mut self, parameters: &[f32], data: &Examples, some: &[usize]) -> Outcome {
        let classes = self.take(data, some);
        self.forward(parameters);
        self.backward(&classes)
    }

    fn outcome(&mut self, parameters: &[f32], data: &Examples, some: &[usize]) -> Outcome {
        let classes = self.take(data, some);
        self.forward(parameters);
        let logits = &self.values[self.network.layers.len()];
        cross_entropy(logits, &classes, self.network.classes(), &mut self.scratch)
    }

    fn squares(&self) -> &[f32] {
        self.squares()
    }

    fn forget(&mut self, example: usize) {
        self.forget(example);
    }

    fn add(&mut self, factors: &[f32], sum: &mut [f32]) {
        self.add_gradients(factors, sum);
    }
}

impl Pass<'_> {
    /// The inputs of some examples, and their classes.
    fn take(&mut self, data: &Examples, some: &[usize]) -> Vec<u32> {
        let rows = self.inputs(some.len()).chunks_exact_mut(data.width());
        rows.zip(some).for_each(|(to, &index)| to.copy_from_slice(data.row(index)));
        some.iter().map(|&index| data.classes()[index]).collect()
    }
}

/// Cross-entropy of the softmax, and its gradient by the logits.
pub(super) fn cross_entropy(logits: &[f32], classes: &[u32], width: usize, delta: &mut Vec<f32>) -> Outcome {
    delta.resize(logits.len(), 0.0);
    let mut outcome = Outcome::default();
    for ((logits, delta), &class) in logits.chunks_exact(width).zip(delta.chunks_exact_mut(width)).zip(classes) {
        let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for (delta, &logit) in delta.iter_mut().zip(logits) {
            *delta = (logit - greatest).exp();
            sum += *delta;
        }
        delta.iter_mut().for_each(|delta| *delta /= sum);
        let Some((own, logit)) = delta.get_mut(class as usize).zip(logits.get(class as usize)) else { continue };
        outcome.loss += f64::from(sum.ln() + greatest - logit);
        outcome.right += usize::from(*logit == greatest);
        *own -= 1.0;
    }
    outcome
}
