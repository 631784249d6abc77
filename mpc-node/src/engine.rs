//! The few points where the node touches the protocol and the graph, in one place.

use std::sync::Arc;

use sahara_circuits::check::MAX_NODES;
use sahara_circuits::graph::Graph;
use thiserror::Error;
use zeroize::Zeroizing;

pub use sahara_circuits::codec::{GraphId, MAX_GRAPH_BYTES};
pub use sahara_protocol::{
    Assignment, CHUNK_BYTES, Cost, CostLimits, Dealing, Evaluator, EvaluatorRole, JobSecret, MAX_VARIANCE, MaskDomain,
    NodeNoise, PackContents, Plan, ProtocolError, Rounding, Seed, Step, TooCostly, Visibility, WeightDomain,
    WeightMaterial, ZeroSharing, combine_outputs, mask_weights, prepare, share_inputs,
};

/// A fresh seed from the operating system's generator.
///
/// # Errors
/// When the operating system has no randomness to give.
pub fn random_seed() -> Result<Seed, getrandom::Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut bytes[..])?;
    Ok(Seed::from_bytes(*bytes))
}

/// A graph from outside that cannot be used.
#[derive(Debug, Error)]
#[error("graph refused: {0}")]
pub struct GraphRefused(String);

/// Decodes and checks a graph from outside; it must have the announced id.
///
/// # Errors
/// When the bytes are not a graph that is read, it breaks a rule, or its id is another.
pub fn read_graph(bytes: &[u8], id: GraphId) -> Result<Arc<Graph>, GraphRefused> {
    let graph = Graph::from_bytes(bytes).map_err(|e| GraphRefused(e.to_string()))?;
    if GraphId(*blake3::hash(bytes).as_bytes()) != id {
        return Err(GraphRefused("its bytes have another id than announced".into()));
    }
    Ok(Arc::new(graph))
}

/// Words of all weight tensors of a graph.
pub fn weight_words(graph: &Graph) -> u64 {
    graph.weights.iter().map(|w| u64::from(w.rows) * u64::from(w.cols)).sum()
}

/// Bytes of memory that it takes to read and look at a graph of so many bytes.
pub fn graph_scratch(bytes: u64) -> u64 {
    // The shortest node has more bytes than this. The bytes as they are read, and once more what they say.
    let nodes = (bytes / 32).min(MAX_NODES as u64);
    4 * bytes + 1024 * nodes
}
