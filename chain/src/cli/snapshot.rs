//! `chain snapshot`: list, make and restore snapshots of a node that is stopped.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::{home::found, say::say};
use crate::{
    error::Fault,
    node::{self, Config, NodeError},
    snapshot::{Folder, Manifest},
};

/// Snapshots of a node's state, from which others can start.
#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// Show the snapshots in a home
    List {
        /// Folder of the node [default: the local network's]
        #[arg(long)]
        home: Option<PathBuf>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Make a snapshot of the newest state; the node must be stopped (a running one makes its own, see chain.toml)
    Make {
        /// Folder of the node [default: the local network's]
        #[arg(long)]
        home: Option<PathBuf>,
        /// Say it as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Replace a damaged database by the newest snapshot; CometBFT then replays the blocks after it
    Restore {
        /// Folder of the node [default: the local network's]
        #[arg(long)]
        home: Option<PathBuf>,
        /// Take the snapshot of this block
        #[arg(long)]
        height: Option<u64>,
        /// Say it as one JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Snapshot {
    /// The home of the node.
    pub(super) fn home(&mut self) -> &mut Option<PathBuf> {
        match self {
            Self::List { home, .. } | Self::Make { home, .. } | Self::Restore { home, .. } => home,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// When there is no such home or snapshot, or a file cannot be read or written.
    pub fn run(self) -> Result<(), NodeError> {
        match self {
            Self::List { home, json } => list(&found(home)?, json),
            Self::Make { home, json } => make(&found(home)?, json),
            Self::Restore { home, height, json } => restore(&found(home)?, height, json),
        }
    }
}

fn list(home: &Path, json: bool) -> Result<(), NodeError> {
    folder(home)?.list().map_err(Fault::from)?.iter().try_for_each(|manifest| shown(manifest, json))
}

fn make(home: &Path, json: bool) -> Result<(), NodeError> {
    let ledger = node::open(home)?.1;
    let head = ledger.head().ok_or_else(|| NodeError::Setup(format!("{} has no block yet", home.display())))?;
    shown(&folder(home)?.make(&head).map_err(Fault::from)?, json)
}

fn shown(manifest: &Manifest, json: bool) -> Result<(), NodeError> {
    let (height, chunks) = (manifest.height, manifest.chunks.len());
    match json {
        true => say!("{}", json!({ "height": height, "app_hash": manifest.app_hash.0, "chunks": chunks })),
        false => say!("block {height}  {}\n  {}", counted(chunks), manifest.app_hash.0),
    }
}

fn restore(home: &Path, height: Option<u64>, json: bool) -> Result<(), NodeError> {
    let folder = folder(home)?;
    let newest = folder.heights().map_err(Fault::from)?.first().copied();
    let height = height.or(newest).ok_or_else(|| NodeError::Setup(format!("{} has no snapshot", home.display())))?;
    let manifest = folder.manifest(height).map_err(Fault::from)?;
    let manifest = manifest.ok_or_else(|| NodeError::Setup(format!("there is no snapshot of block {height}")))?;
    // Before the database that is there gives way.
    Config::load(home)?.store.engine.check().map_err(|e| NodeError::Setup(e.to_string()))?;
    let aside = node::set_data_aside(home)?;
    if let Some(aside) = aside.as_ref().filter(|_| !json) {
        say!("The old database is in {}", aside.display())?;
    }
    let store = node::open_store(home)?;
    folder.restore(store, manifest.clone()).map_err(Fault::from)?;
    if json {
        return say!("{}", json!({ "height": height, "app_hash": manifest.app_hash.0, "old_database": aside }));
    }
    say!("Restored block {height}\n  {}", manifest.app_hash.0)
}

fn counted(chunks: usize) -> String {
    if chunks == 1 { "1 chunk".to_owned() } else { format!("{chunks} chunks") }
}

fn folder(home: &Path) -> Result<Folder, NodeError> {
    let config = Config::load(home)?;
    Ok(Folder::open(home.join(node::SNAPSHOTS), config.keep.snapshots).map_err(Fault::from)?)
}
