//! Training with differential privacy (DP-SGD: Abadi et al., 2016): each step draws a batch, clips the gradient of every example
//! in it, adds them up on a grid, adds noise, and divides by the size that a batch is *expected* to have.
//!
//! What neighbours are: two data sets of which one has an example where the other has one that adds nothing. What is public: how many
//! examples there are, and whatever [`Plan`] holds. A batch is drawn by a coin for each example ([`sample`]); an empty one is a step like any other.
//!
//! What is counted beyond the textbook: a coin's bias is a multiple of 2⁻⁶⁴ and is accounted as it is; a factor leaves room for
//! the rounding of norms; sums in single precision and their rounding to the grid make two neighbours differ by more than the
//! bound, and the noise is made larger by as much ([`Grid`]); a batch larger than [`Plan::cap`] is cut, and its probability is
//! added to δ.

mod checkpoint;
mod convolution;
mod data;
mod ledger;
mod matmul;
mod model;
mod network;
mod noise;
mod optimizer;
mod plan;
mod run;
pub mod sample;
mod step;
pub mod table;
pub mod transformer;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use convolution::{Convolution, Pooling};
pub use data::{DataError, Examples};
pub use ledger::{Ledger, LedgerError};
pub use model::{Data, Gradients, Misfit, Model, Outcome};
pub use network::{Layer, MOST_PARAMETERS, MOST_ROW, Network, Pass, ShapeError};
pub use noise::Noise;
pub use optimizer::{Optimizer, Rule, Schedule};
pub use plan::{Clip, Grid, Plan, PlanError, Wish};
pub use run::{Progress, Run, TrainError, measure};
pub use step::Step;
