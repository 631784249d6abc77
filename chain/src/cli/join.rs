//! `chain join` and `chain invite`: a further node of a chain that runs, without a file written by hand.

use std::{
    ffi::OsStr,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use alloy_primitives::hex;
use clap::Args;
use serde_json::json;

use super::say::say;
use crate::{
    comet::{
        self, Invitation, Trust,
        settings::{self, Addresses, Sync},
    },
    durable,
    node::{CONFIG_FILE, Config, Driver, NodeError, ensure_beacon, tell, validator_key},
};

/// Make the home of a further node of a chain that runs.
///
/// It is asked for at the CometBFT of one of the chain's nodes (http://HOST:26657), or read from the file that `chain
/// invite` wrote there. The new node is a full node with a validator key of its own; docs/validators.md tells how it
/// becomes a validator.
#[derive(Debug, Args)]
pub struct Join {
    /// http://HOST:PORT of a node's CometBFT, or a file of `chain invite`
    source: String,
    /// Folder of the new node
    #[arg(long)]
    home: PathBuf,
    /// Where JSON-RPC will listen
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8545")]
    rpc: SocketAddr,
    /// Where other nodes connect
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:26656")]
    p2p: SocketAddr,
    /// HOST:PORT that other nodes reach it at, where that is another address
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    external: Option<String>,
    /// Where CometBFT's own RPC listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:26657")]
    comet_rpc: SocketAddr,
    /// Where the ledger waits for CometBFT
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:26658")]
    abci: SocketAddr,
    /// Start from a snapshot of the others instead of executing every block
    #[arg(long)]
    snapshot: bool,
    /// The header that a snapshot is checked against, from someone you trust [default: what SOURCE says]
    #[arg(long, value_name = "HEIGHT:HASH", requires = "snapshot")]
    trust: Option<Trust>,
    /// Say what was made as one JSON object
    #[arg(long)]
    json: bool,
}

/// Write what another node needs to join this chain.
#[derive(Debug, Args)]
pub struct Invite {
    /// Folder of a node that runs under CometBFT [default: the local network's]
    #[arg(long)]
    pub(super) home: Option<PathBuf>,
    /// The file to write; standard output if it is not given
    #[arg(long)]
    out: Option<PathBuf>,
    /// Say where it is as one JSON object
    #[arg(long)]
    json: bool,
}

impl Join {
    /// Does it. `own` are the words of this program before `start`.
    ///
    /// # Errors
    /// When the invitation is none, its chain is not reached or cannot be joined, or the home cannot be made.
    pub async fn run(self, own: &[&str]) -> Result<(), NodeError> {
        if self.home.join(CONFIG_FILE).exists() || self.home.join("config").exists() {
            return Err(NodeError::Setup(format!("{} already is the home of a node", self.home.display())));
        }
        let cometbft = comet::find()?;
        let mut invitation = Invitation::of(&self.source).await?;
        let told = invitation.trust.clone();
        if let Some(trust) = &self.trust {
            if trust.height == told.height && trust.hash != told.hash {
                return Err(NodeError::Setup(format!(
                    "{} says that block {} is {}, which is not the header to trust: one of the two lies",
                    self.source, told.height, told.hash
                )));
            }
            invitation.trust = trust.clone();
        }
        self.make(&cometbft, &invitation)?;
        self.tell(own, &invitation)
    }

    /// Writes the files beside their place and moves them there at once.
    fn make(&self, cometbft: &Path, invitation: &Invitation) -> Result<(), NodeError> {
        let failed = |doing, path: &Path| {
            let path = path.display().to_string();
            move |cause| NodeError::File { doing, path, cause }
        };
        let mut name = self.home.file_name().unwrap_or_default().to_owned();
        name.push(".unfinished");
        let draft = self.home.with_file_name(name);
        if draft.exists() {
            std::fs::remove_dir_all(&draft).map_err(failed("remove", &draft))?;
        }
        comet::run(cometbft, ["init", "--home"].map(OsStr::new).into_iter().chain([draft.as_os_str()]))?;
        // What its proposals show is fixed before it starts, or it could not propose until it was started again.
        ensure_beacon(&draft)?;
        let genesis = serde_json::to_vec_pretty(&invitation.genesis).map_err(|e| NodeError::Setup(e.to_string()))?;
        crate::node::write(&draft.join("config/genesis.json"), &genesis)?;
        let addresses = Addresses { p2p: self.p2p, comet_rpc: self.comet_rpc, abci: self.abci };
        let sync = self.snapshot.then(|| Sync {
            servers: invitation.servers.clone(),
            height: invitation.trust.height,
            hash: invitation.trust.hash.clone(),
            seconds: invitation.trust_seconds(),
        });
        let local = comet::on_this_machine(&invitation.peers);
        let external = self.external.as_deref();
        let settings = settings::joined(&addresses, external, &invitation.peers.join(","), local, sync.as_ref());
        settings::apply(&draft.join("config/config.toml"), &settings)?;
        Config::new(self.rpc, Driver::Cometbft { abci: self.abci, comet_rpc: self.comet_rpc }).save(&draft)?;
        // Before the first start, which reads it: once the node validates, its proposals need it.
        crate::node::ensure_beacon(&draft)?;
        if self.home.exists() {
            // Only an empty folder gives way to the new one.
            std::fs::remove_dir(&self.home).map_err(failed("use", &self.home))?;
        }
        durable::sync_tree(&draft).map_err(failed("write", &draft))?;
        durable::rename(&draft, &self.home).map_err(failed("make", &self.home))
    }

    fn tell(&self, own: &[&str], invitation: &Invitation) -> Result<(), NodeError> {
        let key = validator_key(&self.home)?.map(hex::encode_prefixed);
        let Trust { height, hash } = &invitation.trust;
        if self.json {
            let made = json!({
                "home": self.home.to_string_lossy(),
                "chain_id": invitation.chain_id(),
                "evm_chain_id": invitation.evm_chain_id(),
                "rpc": format!("http://{}", self.rpc),
                "peers": invitation.peers,
                "validator": key,
                "snapshot": self.snapshot,
                "trust": { "height": height, "hash": hash },
            });
            say!("{made}")?;
            return Ok(());
        }
        let program = std::env::args().next().unwrap_or_default();
        let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let words = own.iter().map(|word| format!(" {word}")).collect::<String>();
        say!("Made {}: a full node.", self.home.display())?;
        say!("chain      {}, wallets' chain id {}", invitation.chain_id(), invitation.evm_chain_id())?;
        say!("peers      {}", invitation.peers.len())?;
        say!("key        {}", key.unwrap_or_default())?;
        match self.snapshot {
            true => say!("start      from a snapshot, checked against block {height}:\n           {hash}")?,
            false => say!("start      from the first block")?,
        }
        say!("Run it with:")?;
        say!("  {program}{words} start --cometbft --home {}", self.home.display())?;
        say!("Once it has caught up, docs/validators.md tells how it becomes a validator.")?;
        Ok(())
    }
}

impl Invite {
    /// Does it.
    ///
    /// # Errors
    /// When the node in the home does not run, or the file cannot be written.
    pub async fn run(self) -> Result<(), NodeError> {
        let home = super::home::found(self.home)?;
        let Driver::Cometbft { comet_rpc, .. } = Config::load(&home)?.driver else {
            return Err(NodeError::Setup(format!(
                "the chain of {} has one embedded validator: nobody can join it",
                home.display()
            )));
        };
        let invitation = Invitation::of(&format!("http://{comet_rpc}")).await?;
        let text = serde_json::to_string_pretty(&invitation).map_err(|e| NodeError::Setup(e.to_string()))?;
        let Some(path) = &self.out else { return say!("{text}") };
        crate::node::write(path, text.as_bytes())?;
        if self.json {
            return say!("{}", json!({ "out": path, "peers": invitation.peers.len(), "trust": invitation.trust }));
        }
        let path = path.display();
        tell(format_args!("Wrote {path}; whoever has it joins with `sahara chain join {path} --home HOME`"));
        Ok(())
    }
}

fn host_and_port(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b);
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && host.bytes().all(plain) && port.parse::<u16>().is_ok() => {
            Ok(text.to_owned())
        }
        _ => Err("must be HOST:PORT".to_owned()),
    }
}
