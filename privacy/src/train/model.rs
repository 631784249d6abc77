//! What a model has to offer so that runs train it: its gradients, known example by example without being held so.

/// A model, whose parameters are held apart from it.
pub trait Model {
    /// Examples that it learns from.
    type Data: Data;
    /// Room for the gradients of some of them.
    type Gradients<'a>: Gradients<Self::Data>
    where
        Self: 'a;

    /// How many numbers are trained.
    fn parameters(&self) -> usize;

    /// Parameters to begin with; they depend on the seed alone.
    fn begin(&self, seed: u64) -> Vec<f32>;

    /// Whether it can learn from these examples.
    ///
    /// # Errors
    /// When it takes others.
    fn fits(&self, data: &Self::Data) -> Result<(), Misfit>;

    /// How many of the first of `rest`, which is not empty, are computed at once: at least one.
    fn at_once(&self, data: &Self::Data, rest: &[usize]) -> usize;

    /// By how much the sums of the clipped gradients of two neighbours may lie apart because this model's own sums within an
    /// example are rounded, for each example of a batch, in bounds times 2⁻²⁴.
    fn rounding(&self) -> f64 {
        0.0
    }

    /// Room for gradients. If they are `private`, the norm of each example's is known.
    fn gradients(&self, private: bool) -> Self::Gradients<'_>;
}

/// Examples, each of a class.
pub trait Data {
    /// The class of each.
    fn classes(&self) -> &[u32];
}

/// The gradients of some examples.
pub trait Gradients<D> {
    /// Takes parameters for the examples to come.
    ///
    /// # Panics
    /// If they are not as many as the model has.
    fn load(&mut self, parameters: &[f32]);

    /// Goes forth and back for some examples of the data.
    fn compute(&mut self, parameters: &[f32], data: &D, some: &[usize]) -> Outcome;

    /// Goes forth alone.
    fn outcome(&mut self, parameters: &[f32], data: &D, some: &[usize]) -> Outcome;

    /// For each of the examples the square of a number that its gradient's norm is not above, but for rounding of which
    /// [`Clip`](super::Clip) leaves room for. Only of private gradients.
    fn squares(&self) -> &[f32];

    /// Makes one of the examples, by its place among them, add nothing, whatever numbers it led to.
    fn forget(&mut self, example: usize);

    /// Adds the gradients of the examples, each times its factor, to `sum`, which is laid out as the parameters are. Once.
    fn add(&mut self, factors: &[f32], sum: &mut [f32]);
}

/// What a batch has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Sum of the cross-entropies, in nats.
    pub loss: f64,
    /// How many were sorted into their class.
    pub right: usize,
}

impl Outcome {
    /// Both together.
    pub fn and(&mut self, other: Self) {
        self.loss += other.loss;
        self.right += other.right;
    }
}

/// A model does not take these examples.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(pub String);
