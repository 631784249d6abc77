//! The reference executor: what a graph computes, in plain integers.
//!
//! Every other executor is compared with this one. It gives the same trace for any number of threads and with either
//! kernel, frees tensors after their last use, and counts the elements that exceed the bound their node declares.

mod ops;

use crate::check::CheckError;
use crate::graph::{Graph, NodeId, Op, RescaleUse, WeightSpec};
use crate::kernels::{PackedB, Simd, pack_b};
use crate::weights::Weights;

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct ExecOptions {
    /// Threads to use; the result does not depend on it.
    pub threads: usize,
    /// Keep every tensor and return it.
    pub record_trace: bool,
    /// Which kernels; the result does not depend on it.
    pub simd: Simd,
}

impl Default for ExecOptions {
    fn default() -> Self {
        Self { threads: 1, record_trace: false, simd: Simd::Auto }
    }
}

/// What a run gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The result tensors, in the order of [`Graph::outputs`].
    pub outputs: Vec<Vec<i32>>,
    /// Every tensor, in the order of [`Graph::nodes`], if asked for.
    pub trace: Option<Vec<Vec<i32>>>,
    /// Nodes with elements beyond their bound, and how many; empty for inputs in range when all bounds are proven.
    pub out_of_range: Vec<(NodeId, u64)>,
}

/// Why a graph cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The graph is malformed.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// Other weights than the graph's.
    #[error("the weights do not have the tensors and sizes that the graph asks for")]
    Weights,
    /// Wrong number of inputs.
    #[error("the graph takes {expected} inputs, {found} were given")]
    Inputs {
        /// Inputs of the graph.
        expected: usize,
        /// Inputs given.
        found: usize,
    },
    /// An input of the wrong size.
    #[error("input {name} has {found} elements, the graph asks for {expected}")]
    InputSize {
        /// Name of the input.
        name: String,
        /// Elements of its shape.
        expected: usize,
        /// Elements given.
        found: usize,
    },
}

/// Runs `graph` on `inputs` (one row-major tensor per input, in order).
///
/// # Errors
/// When the graph breaks a rule, the weights are not its own, or the inputs have other sizes than its own.
pub fn execute(
    graph: &Graph,
    weights: &Weights,
    inputs: &[Vec<i32>],
    opts: &ExecOptions,
) -> Result<Execution, ExecError> {
    Executor::new(graph, weights, &PackedWeights::new(weights, &graph.weights)?)?.run(inputs, opts)
}

/// Weights in the kernels' order: made once, used for every length and run.
pub struct PackedWeights(Vec<PackedB>);

impl PackedWeights {
    /// Packs every tensor.
    ///
    /// # Errors
    /// When the weights do not have these tensors.
    pub fn new(weights: &Weights, specs: &[WeightSpec]) -> Result<Self, ExecError> {
        if !weights.matches(specs) {
            return Err(ExecError::Weights);
        }
        let tensors = weights.tensors.iter().zip(specs);
        Ok(Self(tensors.map(|(t, s)| pack_b(s.rows as usize, s.cols as usize, bytemuck::cast_slice(t))).collect()))
    }
}

/// A checked graph with its weights: make it once, run it often.
pub struct Executor<'a> {
    graph: &'a Graph,
    weights: &'a Weights,
    packed: &'a PackedWeights,
    /// For each node the last node that reads it; outputs are never freed.
    last_use: Vec<usize>,
}

impl<'a> Executor<'a> {
    /// Checks the graph and that the weights are its own; `packed` holds the same weights.
    ///
    /// # Errors
    /// When the graph breaks a rule, or the weights are not its own.
    pub fn new(graph: &'a Graph, weights: &'a Weights, packed: &'a PackedWeights) -> Result<Self, ExecError> {
        graph.check()?;
        let fits = |(p, s): (&PackedB, &WeightSpec)| (p.k(), p.n()) == (s.rows as usize, s.cols as usize);
        let packed_fit = packed.0.len() == graph.weights.len() && packed.0.iter().zip(&graph.weights).all(fits);
        if !weights.matches(&graph.weights) || !packed_fit {
            return Err(ExecError::Weights);
        }
        let mut last_use = vec![0; graph.nodes.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            node.op.operands(|NodeId(id)| last_use[id as usize] = index);
        }
        for &NodeId(id) in &graph.outputs {
            last_use[id as usize] = usize::MAX;
        }
        Ok(Self { graph, weights, packed, last_use })
    }

    /// Runs the graph.
    ///
    /// # Errors
    /// When the inputs are not as many, or not as large, as the graph asks for.
    pub fn run(&self, inputs: &[Vec<i32>], opts: &ExecOptions) -> Result<Execution, ExecError> {
        self.run_with(inputs, opts, None)
    }

    /// Runs the graph with every value rescaled up or down at random, up as often as the dropped bits ask: what the
    /// answer is worth when rescaling is faithful instead of exact. For measurements.
    ///
    /// # Errors
    /// As [`Executor::run`].
    #[doc(hidden)]
    pub fn run_faithful(&self, inputs: &[Vec<i32>], opts: &ExecOptions, seed: u64) -> Result<Execution, ExecError> {
        self.run_with(inputs, opts, Some(crate::testgraph::Rng::new(seed)))
    }

    fn run_with(
        &self,
        inputs: &[Vec<i32>],
        opts: &ExecOptions,
        mut noise: Option<crate::testgraph::Rng>,
    ) -> Result<Execution, ExecError> {
        self.check_inputs(inputs)?;
        let nodes = &self.graph.nodes;
        let mut values: Vec<Vec<i32>> = vec![Vec::new(); nodes.len()];
        let mut out_of_range = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let run = ops::Run { exec: self, node, values: &values, inputs, opts };
            let (mut result, beyond) = run.node();
            if let (Some(rng), Op::Rescale { x, shift, usage: RescaleUse::Value }) = (&mut noise, &node.op) {
                let random = |&x: &i32| x.wrapping_add(rng.below(1 << shift) as i32) >> shift;
                result = values[x.0 as usize].iter().map(random).collect();
            }
            values[index] = result;
            if beyond > 0 {
                out_of_range.push((NodeId(index as u32), beyond));
            }
            if !opts.record_trace {
                node.op.operands(|NodeId(id)| {
                    if self.last_use[id as usize] == index {
                        values[id as usize] = Vec::new();
                    }
                });
            }
        }
        let outputs = self.graph.outputs.iter().map(|&NodeId(id)| values[id as usize].clone()).collect();
        Ok(Execution { outputs, trace: opts.record_trace.then_some(values), out_of_range })
    }

    fn check_inputs(&self, inputs: &[Vec<i32>]) -> Result<(), ExecError> {
        let specs = &self.graph.inputs;
        if inputs.len() != specs.len() {
            return Err(ExecError::Inputs { expected: specs.len(), found: inputs.len() });
        }
        for (spec, input) in specs.iter().zip(inputs) {
            let expected = spec.shape.len();
            if input.len() != expected {
                return Err(ExecError::InputSize { name: spec.name.clone(), expected, found: input.len() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{BoundOrigin, InputRange, InputSpec, Node, Shape};

    #[test]
    fn a_product_with_a_public_constant_wraps_at_its_width() {
        let (shape, bits, name) = (Shape::new(1, 1, 3), 32, String::from("x"));
        let node = |op, bound| Node { name: "n".into(), op, shape, bits, bound, origin: BoundOrigin::Proven };
        let graph = Graph {
            model: "m".into(),
            seq_len: 1,
            layers: 1,
            weights_root: [0; 32],
            inputs: vec![InputSpec { name, shape, bits, range: InputRange::Symmetric, max_abs: 9, max_row_norm: 16 }],
            weights: vec![],
            tables: vec![],
            nodes: vec![node(Op::Input(0), 9), node(Op::MulPublic { x: NodeId(0), k: -500_000_003 }, (1 << 31) - 1)],
            outputs: vec![NodeId(1)],
        };
        let run = execute(&graph, &Weights::default(), &[vec![4, -7, 0]], &ExecOptions::default()).unwrap();
        // 3 500 000 021 does not fit 32 bits: less 2^32.
        assert_eq!(run.outputs, [[-2_000_000_012, -794_967_275, 0]]);
        assert_eq!(run.out_of_range, [(NodeId(1), 1)]);
    }
}
