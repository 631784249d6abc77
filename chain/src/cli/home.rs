//! The home that a command is about.

use std::path::PathBuf;

use crate::node::NodeError;

/// The home that is meant, given or found by [`Command::or_home`](super::Command::or_home).
pub fn found(home: Option<PathBuf>) -> Result<PathBuf, NodeError> {
    home.ok_or_else(|| {
        NodeError::Setup("no local network was started yet: start one, or give the folder of a node by --home".into())
    })
}
