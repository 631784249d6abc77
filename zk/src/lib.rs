//! Makes succinct proofs that an integer graph gave committed outputs on committed inputs with committed weights.
//!
//! **Not zero-knowledge**: whoever has a proof may learn of inputs and weights ([`sahara_zk_verify::NOTICE`]). A graph
//! that cannot be proven is refused by name ([`sahara_zk_verify::Unprovable`]), before anything is computed.
//!
//! ```
//! use sahara_zk::{ProvableGraph, Salt};
//! use sahara_zk_verify::{Context, NonHidingProof, verify};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (graph, weights, inputs) = sahara_zk::testgraph::perceptron(&[8, 6, 3], 2);
//! let provable = ProvableGraph::new(&graph, &weights)?;
//! let answer = provable.prove(&inputs, [&Salt::new([1; 32]), &Salt::new([2; 32])], Context::default())?;
//! let bytes = answer.proof.to_bytes();
//! // Elsewhere, from the bytes alone:
//! println!("{}", verify(&graph, &answer.statement, &NonHidingProof::from_bytes(bytes)?)?);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod attack;
mod commitment;
mod fractions;
mod prover;
mod sumcheck;
#[doc(hidden)]
pub mod testgraph;
mod values;

use std::borrow::Cow;

use p3_field::PrimeCharacteristicRing;
use sahara_circuits::bytes::Writer;
use sahara_circuits::graph::Graph;
use sahara_circuits::reference::{ExecError, ExecOptions, execute};
use sahara_circuits::weights::Weights;
use sahara_zk_verify::field::F;
use sahara_zk_verify::plan::{SALT, plan};
use sahara_zk_verify::system::{Hint, Oracle, System};
use sahara_zk_verify::whir::OpeningError;
use sahara_zk_verify::{Context, NonHidingProof, Statement, Unprovable, WeightsKey, protocol};
use zeroize::Zeroize;

use commitment::Committed;
use prover::{Prover, polynomial};
use values::Values;

/// Why there is no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// A graph that cannot be proven.
    #[error(transparent)]
    Unprovable(#[from] Unprovable),
    /// A graph that cannot be run, or not with these weights or inputs.
    #[error("the graph was not run, so there is nothing to prove: {0}")]
    Run(#[from] ExecError),
    /// Values that the graph does not allow.
    #[error("this run cannot be proven: {0}")]
    Witness(String),
    /// A commitment that could not be made or opened.
    #[error("the commitment to its {0:?} was not made: {1}")]
    Commitment(Oracle, OpeningError),
}

/// What makes a commitment to few values show none of them: 32 random bytes, used once, kept by whoever may open it.
pub struct Salt([u8; 32]);

impl Salt {
    /// A salt of these bytes, which nobody else knows.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn elements(&self) -> [F; SALT] {
        let pairs = self.0.as_chunks::<2>().0;
        std::array::from_fn(|i| F::from_u16(u16::from_le_bytes(pairs[i])))
    }
}

impl Drop for Salt {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// An answer, its statement, and the proof.
#[derive(Clone, Debug)]
pub struct Proved {
    /// The outputs of the graph.
    pub outputs: Vec<Vec<i32>>,
    /// What is proven.
    pub statement: Statement,
    /// The proof: succinct, not zero-knowledge.
    pub proof: NonHidingProof,
}

/// A graph with its weights, committed to once for all proofs.
pub struct ProvableGraph<'a> {
    graph: &'a Graph,
    weights: &'a Weights,
    system: System,
    bits: Vec<u8>,
    committed: Committed,
}

impl<'a> ProvableGraph<'a> {
    /// Commits to the weights of a graph that can be proven.
    ///
    /// # Errors
    /// When the graph breaks a rule or cannot be proven, or the weights are not its own.
    pub fn new(graph: &'a Graph, weights: &'a Weights) -> Result<Self, ProveError> {
        graph.check().map_err(ExecError::from)?;
        if !weights.matches(&graph.weights) {
            return Err(ExecError::Weights.into());
        }
        let bits: Vec<u8> = weights.tensors.iter().map(|tensor| signed_bits(tensor)).collect();
        let system = plan(graph, &bits)?;
        let committed =
            commit(Oracle::Weights, polynomial(&system, Oracle::Weights, |_, hint| of_weights(weights, hint)))?;
        Ok(Self { graph, weights, system, bits, committed })
    }

    /// The registered commitment.
    pub fn key(&self) -> WeightsKey {
        WeightsKey { root: self.committed.root(), bits: self.bits.clone() }
    }

    /// Runs the graph and proves the run. The salts are of the inputs and of the outputs.
    ///
    /// # Errors
    /// When the inputs are not the graph's, or a value leaves the range that the graph declares.
    pub fn prove(&self, inputs: &[Vec<i32>], salts: [&Salt; 2], context: Context) -> Result<Proved, ProveError> {
        let options = ExecOptions { record_trace: true, ..ExecOptions::default() };
        let run = execute(self.graph, self.weights, inputs, &options)?;
        let values = Values::new(&self.system, self.graph, self.weights, inputs, &run)?;
        let salted = |oracle: Oracle, salt: &Salt| {
            let mut polynomial = polynomial(&self.system, oracle, |id, _| values.of(id).into());
            if let Some(at) = self.system.salts[oracle as usize] {
                polynomial[at..][..SALT].copy_from_slice(&salt.elements());
            }
            commit(oracle, polynomial)
        };
        let (input, output) = (salted(Oracle::Input, salts[0])?, salted(Oracle::Output, salts[1])?);
        let witness = commit(Oracle::Witness, polynomial(&self.system, Oracle::Witness, |id, _| values.of(id).into()))?;
        let (graph, weights) = (self.graph.id(), self.key());
        let statement = Statement { graph, weights, input: input.root(), output: output.root(), context };
        let committed = [&self.committed, &input, &output, &witness];
        let (proof, _) = argue(&self.system, &statement, &values, committed, None)?;
        Ok(Proved { outputs: run.outputs, statement, proof })
    }
}

/// The proof, and how many messages are in it; `altered` is one that is changed.
fn argue(
    system: &System,
    statement: &Statement,
    values: &Values,
    committed: [&Committed; 4],
    altered: Option<usize>,
) -> Result<(NonHidingProof, usize), ProveError> {
    let witness = committed[Oracle::Witness as usize].root();
    let (mut out, transcript) = (Writer::default(), statement.transcript(&witness));
    witness.write(&mut out);
    let mut prover = Prover { system, values, committed, transcript, out, weights: Vec::new(), altered, sent: 0 };
    protocol::run(system, &mut prover)?;
    Ok((NonHidingProof::of_messages(&prover.out.0), prover.sent))
}

fn commit(oracle: Oracle, polynomial: Vec<F>) -> Result<Committed, ProveError> {
    Committed::new(polynomial).map_err(|error| ProveError::Commitment(oracle, error))
}

fn of_weights<'w>(weights: &Weights, hint: &Hint) -> Cow<'w, [i64]> {
    match hint {
        Hint::Weight(i) => weights.tensors[*i as usize].iter().map(|&x| i64::from(x)).collect(),
        _ => Cow::default(),
    }
}

/// The fewest bits that every value fits, signed.
fn signed_bits(tensor: &[i32]) -> u8 {
    let bits = |&x: &i32| 33 - if x < 0 { (!x).leading_zeros() } else { x.leading_zeros() };
    tensor.iter().map(bits).max().unwrap_or(1) as u8
}
