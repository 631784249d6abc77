//! A vote of classifiers: each names its label, and of the counts only where the greatest is comes out, after noise has been added
//! (Papernot et al., 2018).
//!
//! The classifiers' outputs lie side by side, those of one after those of another. Each votes once, whatever words its outputs are:
//! of equal ones the first label's counts. So whoever changes one classifier changes two counts by one each, and no more. No input
//! is trusted to be in its range for that: what is compared has gone through tables, and a table has no other entries.

use std::collections::BTreeSet;

use crate::builder::Builder;
use crate::graph::{Graph, InputRange, InputSpec, NodeId, Op, Shape, Table, WeightId, WeightSpec};
use crate::weights::Weights;

/// Bits of an output that is compared with others; what is finer counts as equal.
const COMPARED: u8 = 14;
/// Bits of an index of the tables that hold outputs in their range: the upper ones, and the rest.
const UPPER: u8 = 10;
const LOWER: u8 = 5;
/// What the input of a vote for the noise is called.
const NOISE: &str = "noise";
/// What all last layers are said to come to at most: their own bounds are of private weights, and a graph is public.
const WIDEST: u64 = crate::graph::rescale_limit(20);
/// Most classifiers.
pub const MAX_VOTERS: u32 = 4096;
/// Most labels.
pub const MAX_LABELS: u32 = 256;

/// How far one classifier can change the counts: the sum of the absolute differences.
pub const L1: u64 = 2;
/// The sum of the squared differences.
pub const L2_SQUARED: u64 = 2;

/// Why there is no vote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VoteError {
    /// The outputs are not those of so many classifiers.
    #[error("{outputs} outputs are not those of {voters} classifiers of the same 2 to {MAX_LABELS} labels")]
    Outputs {
        /// Elements of the graph's output.
        outputs: usize,
        /// How many classifiers there were to be.
        voters: u32,
    },
    /// Too few or too many classifiers.
    #[error("a vote takes 2 to {MAX_VOTERS} classifiers, not {0}")]
    Voters(u32),
    /// Weights of another graph, or outputs or noise too large to be compared.
    #[error("the vote: {0}")]
    Misfit(&'static str),
}

/// The tensors that a vote adds to a model's weights: the same for all its graphs.
pub fn vote_weights(weights: &Weights, voters: u32, labels: u32) -> Weights {
    let (voters, labels) = (voters as i32, labels as i32);
    let ties = (0..voters).flat_map(|_| (0..labels).rev()).collect();
    let counted = (0..voters * labels).flat_map(|row| (0..labels).map(move |label| i32::from(row % labels == label)));
    let mut tensors = weights.tensors.clone();
    tensors.extend([ties, counted.collect()]);
    Weights { tensors }
}

/// A graph that ends in the outputs of `voters` classifiers, as one that ends in their vote: for each label 1 where the noisy count is
/// the greatest, and 0 elsewhere (more than one 1 where counts are equal). `weights` is what [`vote_weights`] made. The last input
/// is the noise, for numbers up to `noise` either way; what supplies it is not the graph's business.
///
/// # Errors
/// When the graph's only output is not of `voters` classifiers, the weights are not its own, or numbers are too large.
pub fn vote(graph: &Graph, weights: &Weights, voters: u32, noise: u32) -> Result<Graph, VoteError> {
    if !(2..=MAX_VOTERS).contains(&voters) {
        return Err(VoteError::Voters(voters));
    }
    let [logits] = graph.outputs[..] else { return Err(VoteError::Misfit("the graph has more than one output")) };
    let shape = graph.nodes[logits.0 as usize].shape;
    let labels = shape.cols / voters;
    if shape != Shape::new(1, 1, voters * labels) || !(2..=MAX_LABELS).contains(&labels) {
        return Err(VoteError::Outputs { outputs: shape.len(), voters });
    }
    let mut graph = graph.clone();
    let (ties, counted) = (graph.weights.len() as u32, graph.weights.len() as u32 + 1);
    graph.weights.push(WeightSpec { name: "vote.ties".into(), rows: 1, cols: voters * labels });
    graph.weights.push(WeightSpec { name: "vote.counted".into(), rows: voters * labels, cols: labels });
    if !weights.matches(&graph.weights) {
        return Err(VoteError::Misfit("the weights are not those of the graph and of the vote"));
    }
    graph.weights_root = weights.root(&graph.weights);
    graph.outputs.clear();
    let bound = graph.nodes[logits.0 as usize].bound;
    let mut b = Builder::new(graph);
    b.prefix("vote.".into());
    let (coarse, bound) = coarser(&mut b, logits, bound)?;
    let (compared, bound) = held(&mut b, coarse, bound);
    // Distinct within each classifier: of equal outputs the first label's is greater.
    let spread = bound * f64::from(labels);
    let bits = bits_to_compare(spread + f64::from(labels))?;
    let spread_out = b.mul_public("spread", compared, labels as i32, bits, spread);
    let distinct = b.add_weight("distinct", spread_out, WeightId(ties), spread + f64::from(labels));
    let apart = b.split_heads("apart", distinct, voters);
    let votes = greatest(&mut b, "own", apart, spread + f64::from(labels));
    let votes = b.merge_heads("votes", votes);
    let most = f64::from(voters) + f64::from(noise);
    let counts = b.matmul_weight("counts", votes, WeightId(counted), f64::from(voters));
    let noise = b.unprefixed_input(InputSpec {
        name: NOISE.into(),
        shape: Shape::new(1, 1, labels),
        bits: 32,
        range: InputRange::Symmetric,
        max_abs: noise,
        max_row_norm: u32::MAX,
    });
    let noisy = b.add_narrow("noisy", counts, noise, bits_to_compare(most)?, most);
    let winner = greatest(&mut b, "all", noisy, most);
    b.output(winner);
    Ok(b.finish())
}

/// The values with so few bits that comparing them is cheap.
fn coarser(b: &mut Builder, x: NodeId, bound: u64) -> Result<(NodeId, f64), VoteError> {
    // With room for the upper part to be rounded up.
    let most = (1 << COMPARED) - (1 << (LOWER - 1));
    let Some(shift) = (0..=20).find(|shift| (bound >> shift) + 1 < most) else {
        return Err(VoteError::Misfit("the outputs are too large"));
    };
    if shift == 0 {
        return Ok((x, bound as f64));
    }
    if bound > crate::graph::rescale_limit(shift) {
        return Err(VoteError::Misfit("the outputs are too large"));
    }
    let less = (bound >> shift) as f64 + 1.0;
    Ok((b.index("coarser", x, shift, 32, less), less))
}

/// The same values where they are below 2^[`COMPARED`] either way; and whatever word there is, one not far beyond.
fn held(b: &mut Builder, x: NodeId, bound: f64) -> (NodeId, f64) {
    let table = |name: &str, bits: u8, unit: i32| {
        let entries = (0..1 << bits).map(|i: i32| (i - ((i >> (bits - 1)) << bits)) * unit).collect();
        Table { name: name.into(), entries }
    };
    let unit = 1 << LOWER;
    let upper = b.index("upper", x, LOWER, UPPER, bound / f64::from(unit) + 1.0);
    let most = f64::from(unit << (UPPER - 1));
    let upper = b.lookup("upper_held", upper, &table("vote.upper", UPPER, unit), most);
    let lower = b.lookup("lower_held", x, &table("vote.lower", LOWER, 1), f64::from(unit));
    (b.add("held", upper, lower, most + f64::from(unit)), most + f64::from(unit))
}

/// Classifiers of one encoder side by side, as one graph and its weights: they differ in their last linear layer only.
///
/// # Errors
/// [`VoteError`] when one is not like the first but for that layer.
pub fn side_by_side(members: &[(&Graph, &Weights)]) -> Result<(Graph, Weights), VoteError> {
    let voters = u32::try_from(members.len()).unwrap_or(u32::MAX);
    if !(2..=MAX_VOTERS).contains(&voters) {
        return Err(VoteError::Voters(voters));
    }
    let (first, weights) = members[0];
    let layer = Layer::last(first).ok_or(VoteError::Misfit("the first classifier does not end in one linear layer"))?;
    let tensors: Vec<usize> = layer.weights.iter().map(|w| w.0 as usize).collect();
    let mut graph = first.clone();
    for (member, own) in members {
        let mut like = (*member).clone();
        like.weights_root = first.weights_root;
        like.model.clone_from(&first.model);
        for node in &layer.nodes {
            let (all, one) = (&mut graph.nodes[node.0 as usize], like.nodes.get_mut(node.0 as usize));
            let one = one.ok_or(VoteError::Misfit("one of the classifiers has another encoder"))?;
            if one.bound > WIDEST {
                return Err(VoteError::Misfit("the outputs are too large"));
            }
            all.bound = WIDEST;
            one.bound = first.nodes[node.0 as usize].bound;
        }
        let mut tensors_alike = own.tensors.iter().zip(&weights.tensors).enumerate();
        let alike = tensors_alike.all(|(index, (one, other))| tensors.contains(&index) || one == other);
        if like != *first || !own.matches(&first.weights) || !alike {
            return Err(VoteError::Misfit(
                "one of the classifiers has another encoder, or other labels, than the first",
            ));
        }
    }
    // The same one twice would have two votes.
    let layers = members.iter().map(|(_, own)| tensors.iter().map(|index| &own.tensors[*index]).collect::<Vec<_>>());
    if layers.collect::<BTreeSet<_>>().len() < members.len() {
        return Err(VoteError::Misfit("two of the classifiers are the same"));
    }
    let mut all = weights.clone();
    for index in tensors {
        let spec = &mut graph.weights[index];
        let (rows, cols) = (spec.rows as usize, spec.cols as usize);
        let row = |row: usize| {
            members.iter().flat_map(move |(_, own)| own.tensors[index][row * cols..][..cols].iter().copied())
        };
        all.tensors[index] = (0..rows).flat_map(row).collect();
        spec.cols *= voters;
    }
    for node in &layer.nodes {
        graph.nodes[node.0 as usize].shape.cols *= voters;
    }
    graph.weights_root = all.root(&graph.weights);
    Ok((graph, all))
}

/// The linear layer that a graph ends in.
struct Layer {
    weights: Vec<WeightId>,
    nodes: Vec<NodeId>,
}

impl Layer {
    fn last(graph: &Graph) -> Option<Self> {
        let op = |id: NodeId| &graph.nodes[id.0 as usize].op;
        let [end] = graph.outputs[..] else { return None };
        let (mut weights, mut nodes, mut at) = (Vec::new(), Vec::new(), end);
        if let Op::AddWeight { x, w } = op(at) {
            weights.push(*w);
            nodes.push(at);
            at = *x;
        }
        let Op::MatMulWeight { w, .. } = op(at) else { return None };
        weights.push(*w);
        nodes.push(at);
        Some(Self { weights, nodes })
    }
}

/// Where a graph that ends in a vote takes the noise from: its last input.
pub fn noise_input(graph: &Graph) -> Option<u32> {
    let last = graph.inputs.len().checked_sub(1)?;
    (graph.inputs[last].name == NOISE).then_some(last as u32)
}

/// The width in which values up to `most` either way can be compared with each other.
fn bits_to_compare(most: f64) -> Result<u8, VoteError> {
    (2..=31_u8)
        .find(|bits| 2.0 * most < 2_f64.powi(i32::from(*bits) - 1))
        .ok_or(VoteError::Misfit("the counts and the noise are too large"))
}

/// In each row 1 where the greatest value is.
fn greatest(b: &mut Builder, name: &str, rows: NodeId, most: f64) -> NodeId {
    let top = b.row_max(&format!("{name}.greatest"), rows, most);
    let below = b.sub(&format!("{name}.below"), top, rows, 2.0 * most);
    b.step(&format!("{name}.is_greatest"), below, 1, vec![(1, -1)], 1.0)
}

#[cfg(test)]
mod tests;
