//! `chain …`: the commands around a node, for this crate's own program and for `sahara chain …`.

mod export;
mod home;
mod init;
mod join;
mod keys;
mod rollback;
mod say;
mod snapshot;
mod status;
mod testnet;

use std::{path::PathBuf, time::Duration};

use clap::Subcommand;
use serde_json::json;

pub use export::Export;
pub use init::Init;
pub use join::{Invite, Join};
pub use keys::Keys;
pub use rollback::Rollback;
use say::say;
pub use snapshot::Snapshot;
pub use status::Status;
pub use testnet::Testnet;

use crate::{
    comet,
    node::{self, CONFIG_FILE, Config, Driver, NodeError},
};

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
        /// Run its CometBFT too, and stop it at the end
        #[arg(long)]
        cometbft: bool,
        /// Say where it listens as one JSON object
        #[arg(long)]
        json: bool,
        /// Stop when standard input ends, so that no process outlives the one that started it
        #[arg(long, hide = true)]
        until_stdin_ends: bool,
    },
    /// Run a network of real CometBFT validators on this machine until it is interrupted
    Testnet(testnet::Testnet),
    /// Make the home of a further node of a chain that runs
    Join(join::Join),
    /// Write what another node needs to join this chain
    Invite(join::Invite),
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
    /// The home of a node that is there, for the commands that are about one.
    fn home(&mut self) -> Option<&mut Option<PathBuf>> {
        match self {
            Self::Status(status::Status { home, .. })
            | Self::Keys(keys::Keys { home, .. })
            | Self::Export(export::Export { home, .. })
            | Self::Rollback(rollback::Rollback { home, .. })
            | Self::Invite(join::Invite { home, .. }) => Some(home),
            Self::Snapshot(snapshot) => Some(snapshot.home()),
            Self::Init(_) | Self::Start { .. } | Self::Testnet(_) | Self::Join(_) => None,
        }
    }

    /// Where the home of a node is not given, or holds no node but a local network, the node of that network is meant.
    pub fn or_home(mut self, devnet: impl Fn(Option<&std::path::Path>) -> PathBuf) -> Self {
        if let Some(home) = self.home() {
            let is_node = |home: &std::path::Path| home.join(CONFIG_FILE).exists();
            if !home.as_deref().is_some_and(is_node) {
                let found = devnet(home.as_deref());
                *home = if is_node(&found) { Some(found) } else { home.take() };
            }
        }
        self
    }

    /// Does it. `own` is how to reach these commands again in this program: empty, or `["chain"]`.
    ///
    /// # Errors
    /// In one line, what could not be done and what to do about it.
    pub async fn run(self, own: &[&str]) -> Result<(), NodeError> {
        node::explain_damage();
        match self {
            Self::Init(init) => init.run(own),
            Self::Start { home, cometbft: false, json, until_stdin_ends } => start(&home, json, until_stdin_ends).await,
            Self::Start { home, cometbft: true, json, .. } => start_both(&home, json).await,
            Self::Join(join) => join.run(own).await,
            Self::Invite(invite) => invite.run().await,
            Self::Testnet(testnet) => testnet.run(own).await,
            Self::Status(status) => status.run().await,
            Self::Export(export) => export.run(),
            Self::Rollback(rollback) => rollback.run(),
            Self::Snapshot(snapshot) => snapshot.run(),
            Self::Keys(keys) => keys.run().await,
        }
    }
}

async fn start(home: &std::path::Path, json: bool, until_stdin_ends: bool) -> Result<(), NodeError> {
    let node = node::run(home, |config, rpc| {
        let driver = config.driver.describe();
        // Whoever read the lines may have gone: the node stays.
        let _ = match json {
            true => say!("{}", json!({ "driver": driver, "rpc": format!("http://{rpc}") })),
            false => say!("driver: {driver}").and_then(|()| say!("JSON-RPC: http://{rpc}")),
        };
    });
    if !until_stdin_ends {
        return node.await;
    }
    tokio::select! {
        ended = node => ended,
        () = stdin_end() => Ok(()),
    }
}

/// How often the CometBFT of a node is looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// Runs the node of a home with its CometBFT.
async fn start_both(home: &std::path::Path, json: bool) -> Result<(), NodeError> {
    let Driver::Cometbft { abci, .. } = Config::load(home)?.driver else {
        return Err(NodeError::Setup(format!("{} has no CometBFT: leave --cometbft out", home.display())));
    };
    let program = comet::find()?;
    let mut running = None;
    let watched = async {
        while tokio::net::TcpStream::connect(abci).await.is_err() {
            tokio::time::sleep(GLANCE).await;
        }
        let process = running.insert(comet::Process::cometbft(&program, home)?);
        loop {
            if let Some(how) = process.ended() {
                return Err(NodeError::Setup(how));
            }
            tokio::time::sleep(GLANCE).await;
        }
    };
    let ended = tokio::select! {
        ended = start(home, json, false) => ended,
        ended = watched => ended,
    };
    if let Some(mut process) = running {
        process.stop();
    }
    ended
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(subcommand)]
        command: Command,
    }

    #[test]
    fn the_commands_about_a_node_that_is_there_find_the_local_networks() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG_FILE), "").unwrap();
        let other = folder.path().join("other").display().to_string();
        let found = |words: &str, home: &[&str]| {
            let words = std::iter::once("chain").chain(words.split(' ')).chain(home.iter().copied());
            let mut command = Program::try_parse_from(words).unwrap().command.or_home(|_| folder.path().to_owned());
            command.home().and_then(|home| home.clone())
        };
        for words in
            ["status", "keys", "export", "rollback", "invite", "snapshot list", "snapshot make", "snapshot restore"]
        {
            assert_eq!(found(words, &[]).as_deref(), Some(folder.path()), "{words}");
            let given = found(words, &["--home", &folder.path().display().to_string()]);
            assert_eq!(given.as_deref(), Some(folder.path()), "{words}");
            assert_eq!(
                found(words, &["--home", &other]).as_deref(),
                Some(folder.path()),
                "{words}: a network's folder"
            );
        }
        for words in ["init", "start", "join http://x"] {
            let words = std::iter::once("chain").chain(words.split(' '));
            assert!(Program::try_parse_from(words).is_err(), "a home to be made, or run, is named");
        }
        let nowhere = Program::try_parse_from(["chain", "export"]).unwrap().command.or_home(|_| other.clone().into());
        let Command::Export(export) = nowhere else { panic!("another command") };
        assert!(export.run().unwrap_err().to_string().contains("--home"));
    }
}
