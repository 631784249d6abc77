//! What can be followed, and how far a client was told.

use alloy_rpc_types_eth::Filter;

use super::filters::words;

/// What a client wants to hear of.
#[derive(Clone, Debug)]
pub enum Topic {
    /// New blocks.
    Heads,
    /// Logs in new blocks.
    Logs(Box<Filter>),
    /// Transactions that begin to wait.
    Pending {
        /// With all fields.
        full: bool,
    },
    /// Whether the node catches up.
    Syncing,
}

/// Something that is followed, and how far it was told.
#[derive(Clone, Debug)]
pub struct Followed {
    /// What.
    pub topic: Topic,
    /// The height, or how many transactions had come.
    pub told: u64,
    /// The client knows its name: news may come.
    pub announced: bool,
}

impl Followed {
    /// Addresses and topics that it names.
    pub fn words(&self) -> usize {
        match &self.topic {
            Topic::Logs(filter) => words(filter),
            _ => 0,
        }
    }
}
