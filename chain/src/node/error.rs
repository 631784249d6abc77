//! Why a node does not start or stops.

use crate::error::Fault;

/// Why a node does not start or stops.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The user can put it right.
    #[error("{0}")]
    Setup(String),
    /// A file cannot be read or written.
    #[error("{doing} {path}: {cause}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Whoever read standard output has gone; nothing is wrong.
    #[error("the reader of standard output has gone")]
    ReaderGone,
    /// The ledger cannot go on.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A socket failed.
    #[error("{doing}: {cause}")]
    Socket {
        /// What was being done.
        doing: String,
        /// What the system said.
        cause: String,
    },
}
