//! Classifiers of texts on an encoder of BERT's form (MiniLM among them), trained whole or by adapters.
//!
//! Texts of any lengths lie one after the other in rows of tokens: nothing is computed for padding. One pass forth and back
//! leaves, for each matrix, what went into it and the gradient of what came out; norms of examples' gradients are known from
//! those (`ghost`), and small tensors' gradients are made for each example (book-keeping: Bu, Wang, Zha and Karypis, 2023).

mod adapters;
mod attention;
mod back;
mod classifier;
mod functions;
mod ghost;
mod layer;
mod layout;
mod names;
mod pass;
#[cfg(test)]
mod tests;
mod texts;
mod training;
mod weights;

pub use classifier::{Classifier, ClassifierError, Merged, Reading};
pub use layout::{Adapters, Target, Tuning};
pub use names::Tensor;
pub use pass::Pass as TextPass;
pub use texts::{Texts, TextsError};
pub use weights::{LayerWeights, Linear, Norm, Sizes, Weights, WeightsError};
