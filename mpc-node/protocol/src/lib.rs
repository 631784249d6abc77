//! Masked evaluation of an integer graph by two evaluators and a helper, as pure state machines.
//!
//! `PROTOCOL.md` in the folder above this crate has the correctness and the simulation argument of every gate. A wire `x` is held
//! as additive shares of the two evaluators; where a product or a table needs it, `m = x + r` is opened to both, under
//! a mask `r = r_1 + r_2` of which each evaluator knows its part and the helper knows all. The helper never meets a
//! value: [`deal`] runs ahead of any input. [`prepare`] is what an evaluator can compute ahead by itself, and
//! [`Evaluator`] is the online phase. None of them has a clock, a socket or a source of randomness but its seeds.

mod compare;
mod cost;
mod evaluator;
mod exchange;
mod helper;
#[cfg(test)]
mod hostile;
mod linear;
mod lookup;
mod plan;
mod products;
mod rescale;
pub mod ring;
mod secret;
mod section;
mod select;
#[cfg(test)]
mod tests;
mod weights;

pub use crate::ring::prg::Seed;
pub use cost::{Cost, CostLimits, TooCostly};
pub use evaluator::{Evaluator, Step, prepare};
pub use helper::deal;
pub use plan::Plan;
pub use secret::{JobSecret, ZeroSharing};
pub use weights::{MaskDomain, WeightMaterial, mask_weights};

use crate::ring::prg::{Label, Prg};
use crate::ring::secret::wipe;

/// How values are rescaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// Bit for bit the reference executor.
    Exact,
    /// Values may be one off in the last place, without bias; indices and comparisons stay exact.
    Faithful,
}

/// Who may see the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// Secret-shared among the nodes.
    Private,
    /// Known to the evaluators; only the consumer's input is secret.
    Open,
}

/// Which of the two evaluators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvaluatorRole {
    /// Derives everything it is dealt from its seed.
    First,
    /// Receives the helper's corrections.
    Second,
}

/// Which of three nodes helps; the other two evaluate, in ascending order of index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Assignment(u8);

impl Assignment {
    /// The three assignments of a committee.
    pub const ALL: [Self; 3] = [Self(0), Self(1), Self(2)];

    /// The assignment with this node (0 to 2) as helper.
    pub const fn new(helper: u8) -> Option<Self> {
        if helper < 3 { Some(Self(helper)) } else { None }
    }

    /// The helper's index.
    pub const fn helper(self) -> u8 {
        self.0
    }

    /// The evaluators' indices: first, second.
    pub const fn evaluators(self) -> [u8; 2] {
        match self.0 {
            0 => [1, 2],
            1 => [0, 2],
            _ => [0, 1],
        }
    }

    /// The role of a node as evaluator, or `None` for the helper and strangers.
    pub fn role(self, node: u8) -> Option<EvaluatorRole> {
        let [first, second] = self.evaluators();
        match node {
            n if n == first => Some(EvaluatorRole::First),
            n if n == second => Some(EvaluatorRole::Second),
            _ => None,
        }
    }
}

/// One evaluator's preprocessing for one job. Not `Clone`, and consumed by [`Evaluator::new`]: a mask serves once.
/// Wiped when dropped.
pub struct PackContents {
    /// The seed shared with the helper.
    pub seed: Seed,
    /// What the helper dealt; empty for the first evaluator.
    pub corrections: Vec<u8>,
    /// What [`prepare`] made.
    pub prepared: Vec<u8>,
}

impl Drop for PackContents {
    fn drop(&mut self) {
        wipe(&mut self.corrections);
        wipe(&mut self.prepared);
    }
}

/// Splits an input into the shares of the first and the second evaluator; `seed` is fresh for each job.
pub fn share_inputs(inputs: &[Vec<i32>], seed: &Seed) -> [Vec<Vec<u32>>; 2] {
    let mut shares = [Vec::new(), Vec::new()];
    for (index, input) in inputs.iter().enumerate() {
        let mut mask = vec![0; input.len()];
        Prg::new(seed, Label::Input(index as u32)).fill_words(4, &mut mask);
        shares[1].push(input.iter().zip(&mask).map(|(x, r)| (*x as u32).wrapping_sub(*r)).collect());
        shares[0].push(mask);
    }
    shares
}

/// Adds both evaluators' shares of the outputs; `None` when their shapes differ.
pub fn combine_outputs(first: &[Vec<u32>], second: &[Vec<u32>]) -> Option<Vec<Vec<i32>>> {
    if first.len() != second.len() || first.iter().zip(second).any(|(a, b)| a.len() != b.len()) {
        return None;
    }
    let add = |(a, b): (&Vec<u32>, &Vec<u32>)| a.iter().zip(b).map(|(a, b)| a.wrapping_add(*b) as i32).collect();
    Some(first.iter().zip(second).map(add).collect())
}

/// Why a graph has no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The graph is not well-formed.
    #[error("cannot plan the graph: {0}")]
    Graph(String),
    /// A weight is read in two ways.
    #[error("cannot plan the graph: weight `{0}` is used both as a matrix of products and as a vector")]
    WeightUse(String),
}

/// Why a party of the protocol stopped.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// Weights of another length.
    #[error("the shared weights do not have the number of words that the graph asks for")]
    WeightLength,
    /// Weights shared for another role or visibility.
    #[error("the shared weights are for another role or another visibility than the plan")]
    WeightKind,
    /// A pack made for another plan.
    #[error("the pack does not have the length that the plan asks for")]
    PackLength,
    /// Inputs of another shape.
    #[error("the input shares do not have the shapes that the graph asks for")]
    Inputs,
    /// The peer's frame has another length.
    #[error("the peer's frame has {received} bytes, {expected} were expected")]
    FrameLength {
        /// Bytes sent and so expected.
        expected: usize,
        /// Bytes received.
        received: usize,
    },
    /// Called again after the end.
    #[error("the job has already ended")]
    Finished,
    /// The helper dealt another number of bytes than planned.
    #[error("internal: dealt another number of bytes than planned at node `{0}`")]
    Layout(String),
    /// The corrections could not be delivered.
    #[error("cannot deliver the corrections: {0}")]
    Sink(#[from] std::io::Error),
}
