//! Inputs of a graph that the three nodes supply: noise, of which no node knows the sum.
//!
//! Each of the three adds a number of its own, so that whoever knows one of the numbers still faces the sum of two. An evaluator
//! puts its numbers where the consumer's share would be; the helper deals its own as corrections. A graph says nothing of
//! it: to the plain executor such an input is one like the others.

use sahara_circuits::graph::{Graph, Node, NodeId, Op};
use sahara_privacy::noise::{Generator, Skellam};
use zeroize::{Zeroize, Zeroizing};

use crate::ring::prg::{Label, Prg, Seed};
use crate::weight_form::weight_form;

/// Greatest variance of one node's numbers.
pub const MAX_VARIANCE: u64 = 1 << 26;
/// Greatest variance that is drawn at once; more is a sum.
const AT_ONCE: u64 = 1 << 16;
/// ln 2¹²⁸: what is less likely than its inverse is in no table of the sampler.
const RAREST: f64 = 88.8;

/// Which inputs of the graphs the nodes supply, and how much noise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeNoise {
    inputs: Vec<u32>,
    variance: u64,
}

/// Why noise cannot be supplied, or not to this graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("noise of the nodes: {0}")]
pub struct NoiseRefused(pub(crate) String);

fn refused<T>(why: impl Into<String>) -> Result<T, NoiseRefused> {
    Err(NoiseRefused(why.into()))
}

impl NodeNoise {
    /// Symmetric Skellam noise in these inputs (positions in [`Graph::inputs`], ascending), of which each node supplies this
    /// variance (1 to [`MAX_VARIANCE`], in squares of the last place). The three together have three times as much, and twice
    /// as much is left to whoever knows one node's part.
    ///
    /// # Errors
    /// When there is no input, they are out of order, or the variance is out of range.
    pub fn new(inputs: Vec<u32>, variance: u64) -> Result<Self, NoiseRefused> {
        if inputs.is_empty() || !inputs.is_sorted_by(|a, b| a < b) {
            return refused("its inputs are none, or out of order");
        }
        if !(1..=MAX_VARIANCE).contains(&variance) {
            return refused(format!("a variance of {variance} for each node, not 1 to {MAX_VARIANCE}"));
        }
        Ok(Self { inputs, variance })
    }

    /// Positions of the inputs, ascending.
    pub fn inputs(&self) -> &[u32] {
        &self.inputs
    }

    /// Variance of one node's numbers, in squares of the last place.
    pub fn variance(&self) -> u64 {
        self.variance
    }

    /// What is left of the variance to whoever knows one node's part.
    pub fn remaining(&self) -> u64 {
        2 * self.variance
    }

    /// No sum of the three nodes' numbers is beyond this: `max_abs` of an input that they supply is at least as much.
    ///
    /// A sample of variance v has P(|x| ≥ k) ≤ 2 exp(-k² / 2(v + k/3)) (Bennett), and the sampler has no entry for what is less
    /// likely than 2⁻¹²⁶.
    pub fn greatest(&self) -> u64 {
        3 * self.samples() * self.widest()
    }

    /// Samples that one number is the sum of.
    fn samples(&self) -> u64 {
        self.variance.div_ceil(AT_ONCE)
    }

    /// No sample is beyond this.
    fn widest(&self) -> u64 {
        let variance = self.variance as f64 / self.samples() as f64;
        (RAREST / 3.0 + (RAREST * RAREST / 9.0 + 2.0 * variance * RAREST).sqrt()).ceil() as u64
    }

    /// Comparisons of one number's sampling.
    pub(crate) fn work(&self) -> u64 {
        self.samples() * self.widest()
    }

    /// Whether the nodes supply the input at this position.
    pub fn supplies(&self, input: u32) -> bool {
        self.inputs.binary_search(&input).is_ok()
    }

    /// Whether nothing leaves this graph without noise, and no sum with noise can wrap.
    ///
    /// Every number that the nodes supply is added, once, to a value of the same shape; an output is made of such sums alone, by
    /// operators that read no weight.
    ///
    /// # Errors
    /// The first node or input for which that does not hold.
    pub fn check(&self, graph: &Graph) -> Result<(), NoiseRefused> {
        for &index in &self.inputs {
            let Some(spec) = graph.inputs.get(index as usize) else {
                return refused(format!("the graph has no input {index}"));
            };
            if u64::from(spec.max_abs) < self.greatest() {
                let (name, most, reach) = (&spec.name, spec.max_abs, self.greatest());
                return refused(format!("it reaches {reach}, and input `{name}` is for numbers up to {most}"));
            }
        }
        let mut reads = vec![0_u32; graph.nodes.len()];
        let mut clear = vec![true; graph.nodes.len()];
        for (index, node) in graph.nodes.iter().enumerate() {
            let mut operands = Vec::new();
            node.op.operands(|x| operands.push(x));
            let noisy: Vec<NodeId> = operands.iter().copied().filter(|x| self.is_noise(graph, *x)).collect();
            noisy.iter().for_each(|x| reads[x.0 as usize] += 1);
            clear[index] = match (&node.op, &noisy[..]) {
                (Op::Add { a, b }, [noise]) if *b == *noise => {
                    added(graph, node, *a, *b)?;
                    false
                }
                (_, []) => {
                    let of_operands = operands.iter().any(|x| clear[x.0 as usize]);
                    matches!(node.op, Op::Input(_)) || weight_form(&node.op).is_some() || of_operands
                }
                _ => return refused(format!("node `{}` reads it, and is no sum `value + noise`", node.name)),
            };
        }
        if let Some(node) = reads.iter().position(|times| *times > 1) {
            return refused(format!(
                "`{}` is added to two values, which tells their difference",
                graph.nodes[node].name
            ));
        }
        let used = |input: &u32| {
            let of = |node: &Node| matches!(node.op, Op::Input(i) if i == *input);
            graph.nodes.iter().zip(&reads).any(|(node, reads)| of(node) && *reads == 1)
        };
        if let Some(unused) = self.inputs.iter().find(|input| !used(input)) {
            return refused(format!("input {unused} is added to nothing"));
        }
        match graph.outputs.iter().find(|output| clear[output.0 as usize]) {
            Some(output) => refused(format!("output `{}` would leave without", graph.nodes[output.0 as usize].name)),
            None => Ok(()),
        }
    }

    fn is_noise(&self, graph: &Graph, NodeId(id): NodeId) -> bool {
        matches!(graph.nodes[id as usize].op, Op::Input(index) if self.supplies(index))
    }
}

/// A sum of a value and noise: element by element, and without a wrap.
fn added(graph: &Graph, node: &Node, NodeId(value): NodeId, NodeId(noise): NodeId) -> Result<(), NoiseRefused> {
    let (value, noise) = (&graph.nodes[value as usize], &graph.nodes[noise as usize]);
    if value.shape != noise.shape {
        return refused(format!("it is {} and is added to `{}`, which is {}", noise.shape, value.name, value.shape));
    }
    let most = value.bound.saturating_add(noise.bound);
    if node.bound < most || most >= 1 << (node.bits - 1) {
        let (name, bound, bits) = (&node.name, node.bound, node.bits);
        return refused(format!("`{name}` reaches {most}, over its bound of {bound} or its {bits} bits"));
    }
    Ok(())
}

/// The sampler of a plan.
pub(crate) struct Sampler {
    pub(crate) noise: NodeNoise,
    skellam: Skellam,
}

impl Sampler {
    pub(crate) fn new(noise: NodeNoise) -> Result<Self, NoiseRefused> {
        let skellam = Skellam::new(noise.variance as f64).map_err(|e| NoiseRefused(e.to_string()))?;
        Ok(Self { noise, skellam })
    }

    /// An evaluator's numbers for an input, from a seed that it alone knows.
    pub(crate) fn of_evaluator(&self, seed: &Seed, input: u32, len: usize) -> Vec<u32> {
        self.draw([seed], input, len)
    }

    /// The helper's numbers for an input. Its seeds are those of the pack: each evaluator knows one of the two, so that what comes
    /// of both is new to it; and whoever deals the pack again deals the same.
    pub(crate) fn of_helper(&self, seeds: [&Seed; 2], input: u32, len: usize) -> Vec<u32> {
        self.draw(seeds, input, len)
    }

    fn draw<const N: usize>(&self, seeds: [&Seed; N], input: u32, len: usize) -> Vec<u32> {
        let mut key = Zeroizing::new([0; 32]);
        for seed in seeds {
            let mut part = Zeroizing::new([0; 32]);
            Prg::new(seed, Label::Noise(input)).fill(&mut part[..]);
            key.iter_mut().zip(part.iter()).for_each(|(key, part)| *key ^= part);
        }
        let mut numbers = Zeroizing::new(vec![0_i64; len]);
        let mut generator = Generator::from_seed(*key);
        self.skellam.fill(&mut generator, &mut numbers);
        key.zeroize();
        numbers.iter().map(|x| *x as u32).collect()
    }
}

#[cfg(test)]
mod tests;
