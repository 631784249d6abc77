//! Why a sharing cannot be kept or used, or not yet.

use std::path::PathBuf;
use std::{fmt, io};

use sahara_circuits::bytes::DecodeError;
use thiserror::Error;

use crate::engine::{GraphRefused, ProtocolError, TooCostly};
use crate::market::Unlicensed;

/// A sharing that cannot be kept or used.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The file system refuses.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DecodeError,
    },
    /// Not here, or not for whoever asks.
    #[error("{0} is not here: its owner has to share it with this committee and put your key on its list")]
    Missing(String),
    /// Not acceptable.
    #[error("{0}")]
    Refused(String),
    /// It is asked for money, and whoever asks has no session that counts.
    #[error(transparent)]
    Unlicensed(#[from] Unlicensed),
    /// What is in use leaves no room for more.
    #[error(
        "the plans and weights of running jobs take all the memory there is for them (limits.cache_megabytes), try again"
    )]
    Busy,
    /// Not in memory, and whoever asks has no leave to make it ready.
    #[error("this node makes {0} ready for others right now, try again")]
    Unready(Work),
    /// A graph from outside.
    #[error(transparent)]
    Graph(#[from] GraphRefused),
    /// It costs too much.
    #[error(transparent)]
    TooCostly(#[from] TooCostly),
    /// The protocol cannot use it.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// What there is to do for what is not in memory. One at a time has leave to do each, so that many who want the same make it
/// once; weights are read from disk, and nobody who wants a plan waits for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// To read a graph, or to make its plan.
    Plan,
    /// To read weights and prepare them.
    Weights,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plan => "plans",
            Self::Weights => "weights",
        })
    }
}
