//! What the node may know of other nodes.

use std::{future::Future, pin::Pin};

/// What consensus says about other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neighbours {
    /// Nodes that it is connected to.
    pub peers: u64,
    /// While the node catches up: the height it began at, and the highest it knows of.
    pub syncing: Option<(u64, u64)>,
}

/// An answer about other nodes, later.
pub type Asked<'a> = Pin<Box<dyn Future<Output = Result<Neighbours, String>> + Send + 'a>>;
