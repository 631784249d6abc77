//! An integer graph on shares: two evaluators and a helper, as pure state machines.
//!
//! A wire `x` is held as additive shares of the two **evaluators**, words modulo 2^32. Where a product or a table needs
//! it, `m = x + r` is opened to both, under a mask `r = r_1 + r_2` of which each evaluator knows its part and the
//! **helper** knows all. The helper meets no value, so its work is done ahead of any input. One of the three may be
//! curious; two together learn everything. `PROTOCOL.md`, in the folder above this crate, has the correctness and the
//! simulation argument of every gate.
//!
//! 1. [`Plan`] fixes the protocol for a graph, a [`Rounding`] and a [`Visibility`]; [`Cost`] tells before what it takes.
//! 2. [`mask_weights`] and [`WeightMaterial`]: a private model becomes masked weights for the evaluators, and seeds.
//! 3. [`Dealing`] is the helper's part: chunks of *corrections* for the second evaluator. [`prepare`] is what an
//!    evaluator computes ahead by itself. Both make a pack ([`PackContents`]), which serves one job.
//! 4. [`share_inputs`] splits the consumer's input, [`Evaluator::step`] goes from frame to frame,
//!    [`combine_outputs`] adds what comes out.
//!
//! None of these has a clock, a socket, a thread or randomness but its seeds: bytes in, bytes out. So three parties run
//! in one process, and whoever has the seeds can run a job again:
//!
//! ```
//! use std::sync::Arc;
//!
//! use sahara_circuits::{reference, testgraph};
//! use sahara_protocol::*;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A small random graph, with open weights and with inputs that suit it.
//! let (graph, weights, inputs) = testgraph::random(4);
//! let graph = Arc::new(graph);
//! let plan = Arc::new(Plan::new(graph.clone(), Rounding::Exact, Visibility::Open)?);
//! let seed = |n| Seed::from_bytes([n; 32]); // fresh and random elsewhere
//!
//! // The helper deals, each evaluator prepares.
//! let corrections = Dealing::new(&plan, &WeightMaterial::helper_open(), [&seed(1), &seed(2)])?.collect()?;
//! let words: Vec<u32> = weights.tensors.iter().flatten().map(|w| *w as u32).collect();
//! let open = Arc::new(WeightMaterial::evaluator_open(&graph, &words)?);
//! let [mine, yours] = share_inputs(&inputs, &seed(3));
//! let evaluator = |role, seed, corrections: Vec<u8>, share| {
//!     let prepared = prepare(&plan, &open, role, &seed, &corrections)?;
//!     let zero = JobSecret::from_bytes([4; 32]).zero_sharing(0); // both have drawn it
//!     Evaluator::new(plan.clone(), open.clone(), role, PackContents { seed, corrections, prepared }, share, zero)
//! };
//! let mut first = evaluator(EvaluatorRole::First, seed(1), vec![], mine)?;
//! let mut second = evaluator(EvaluatorRole::Second, seed(2), corrections, yours)?;
//!
//! // They exchange one frame a round, until both have their shares of the answer.
//! let (mut to_first, mut to_second) = (None, None);
//! let answer = loop {
//!     match (first.step(to_first.take())?, second.step(to_second.take())?) {
//!         (Step::Exchange { send: a, .. }, Step::Exchange { send: b, .. }) => (to_second, to_first) = (Some(a), Some(b)),
//!         (Step::Done { outputs: a, .. }, Step::Done { outputs: b, .. }) => break combine_outputs(&a, &b).unwrap(),
//!         _ => unreachable!("both follow the same plan"),
//!     }
//! };
//! assert_eq!(answer, reference::execute(&graph, &weights, &inputs, &Default::default())?.outputs);
//! # Ok(())
//! # }
//! ```
//!
//! How it is built, from the bottom up: [`ring`] has words, bit planes and the streams that masks come from. A gate finds
//! what it needs in a context (`deal_context`, `prepare_context`, `eval_context`); `compare` and `select` are what gates
//! are made of; `gates/` has one file for each, behind the trait in `gate`. `plan` lines gates up, `helper` and
//! `evaluator` run them, and `cost` adds up what they say they take. [`round`] is another use of the same parts: vectors of many
//! providers, of which nothing is opened but which of them are no longer than allowed, and their noisy sum.

#![deny(unsafe_code)] // the kernels alone opt out

mod compare;
mod consumer;
mod cost;
mod deal_context;
mod dealt;
mod error;
mod eval_context;
mod evaluator;
mod exchange;
mod gate;
mod gates;
mod helper;
#[cfg(test)]
mod hostile;
mod job_secret;
mod masked;
mod noise;
mod outgoing;
mod pack;
mod plan;
mod prepare_context;
pub mod ring;
mod roles;
pub mod round;
mod select;
mod tensor;
#[cfg(test)]
mod tests;
mod weight_form;
mod weights;
mod wires;

pub use consumer::{combine_outputs, share_inputs};
pub use cost::{Cost, CostLimits, TooCostly};
pub use error::{PlanError, ProtocolError};
pub use evaluator::{Evaluator, Step, prepare};
pub use helper::Dealing;

pub use job_secret::{JobSecret, ZeroSharing};
pub use noise::{MAX_VARIANCE, NodeNoise, NoiseRefused};
pub use outgoing::CHUNK_BYTES;
pub use pack::PackContents;
pub use plan::Plan;
pub use ring::prg::{Seed, WeightDomain};
pub use roles::{Assignment, EvaluatorRole, Rounding, Visibility};
pub use weights::{MaskDomain, WeightMaterial, mask_weights};
