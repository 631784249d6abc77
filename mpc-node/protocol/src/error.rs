//! Why a graph has no plan, and why a party stopped.

use crate::noise::NoiseRefused;

/// Why a graph has no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The graph is not well-formed.
    #[error("cannot plan the graph: {0}")]
    Graph(String),
    /// A weight is read in two ways.
    #[error("cannot plan the graph: weight `{0}` is used both as a matrix of products and as a vector")]
    WeightUse(String),
    /// Noise of the nodes that does not suit it.
    #[error("cannot plan the graph: {0}")]
    Noise(#[from] NoiseRefused),
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
}
