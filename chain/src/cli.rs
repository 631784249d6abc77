//! `chain …`: the commands around a node, for this crate's own program and for `sahara chain …`.

mod export;
mod init;
mod keys;
mod rollback;
mod snapshot;
mod status;
mod testnet;

use std::path::PathBuf;

use clap::Subcommand;

pub use init::Init;

use crate::node::{self, NodeError};

/// What can be done with a chain.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the home of a chain of one validator, for development
    Init(init::Init),
    /// Run the node of a home until it is interrupted
    Start {
        /// Folder of the node
        #[arg(long)]
        home: PathBuf,
        /// Stop when standard input ends, so that no process outlives the one that started it
        #[arg(long, hide = true)]
        until_stdin_ends: bool,
    },
    /// Run a network of real CometBFT validators on this machine until it is interrupted
    Testnet(testnet::Testnet),
    /// Show how far a node is
    Status(status::Status),
    /// Write the newest state of a stopped node as a genesis file
    Export(export::Export),
    /// Take the last block of a stopped node back
    Rollback(rollback::Rollback),
    /// List, make or restore snapshots of a stopped node
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    /// Show the development accounts and this node's validator key
    Keys(keys::Keys),
}

impl Command {
    /// Does it. `own` is how to reach these commands again in this program: empty, or `["chain"]`.
    pub async fn run(self, own: &[&str]) -> Result<(), NodeError> {
        node::explain_damage();
        match self {
            Self::Init(init) => init.run(own),
            Self::Start { home, until_stdin_ends } => start(&home, until_stdin_ends).await,
            Self::Testnet(testnet) => testnet.run(own).await,
            Self::Status(status) => status.run().await,
            Self::Export(export) => export.run(),
            Self::Rollback(rollback) => rollback.run(),
            Self::Snapshot(snapshot) => snapshot.run(),
            Self::Keys(keys) => keys.run(),
        }
    }
}

async fn start(home: &std::path::Path, until_stdin_ends: bool) -> Result<(), NodeError> {
    let node = node::run(home, |config, rpc| {
        println!("driver: {}", config.driver.describe());
        println!("JSON-RPC: http://{rpc}");
    });
    if !until_stdin_ends {
        return node.await;
    }
    tokio::select! {
        ended = node => ended,
        () = stdin_end() => Ok(()),
    }
}

/// Returns when whoever holds the other end of standard input is gone.
async fn stdin_end() {
    let (tell, told) = tokio::sync::oneshot::channel();
    // A thread of its own: a blocked read must not keep the runtime from shutting down.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = tell.send(());
    });
    let _ = told.await;
}
