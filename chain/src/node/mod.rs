//! A running node: the ledger on disk, one of the two drivers, JSON-RPC. The shell around the state machine; time,
//! threads and sockets live here.

mod beacon;
mod blocks;
mod clock;
mod config;
mod damage;
mod drive;
mod key;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::watch;

pub use beacon::{BEACON_FILE, ensure_beacon, load_beacon};
pub use config::{CONFIG_FILE, Config, Driver, GENESIS_FILE, KEY_FILE, Keep, write};
pub use damage::explain_damage;
use drive::Started;
pub use key::{ensure_key, load_key, validator_key};

use crate::{
    error::Fault,
    ledger::Ledger,
    rpc::{self, Backend},
    snapshot::Folder,
    store::DiskStore,
};

/// Folder of the database inside a home.
const DATA: &str = "chain-data";
/// Folder of snapshots inside a home.
pub const SNAPSHOTS: &str = "snapshots";

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

/// Runs the node in `home` until it is told to stop. `ready` gets the address of JSON-RPC.
pub async fn run(home: &Path, ready: impl FnOnce(&Config, std::net::SocketAddr)) -> Result<(), NodeError> {
    let config = Config::load(home)?;
    let (store, ledger) = open(home)?;
    let snapshots = Folder::open(home.join(SNAPSHOTS), config.keep.snapshots).map_err(Fault::from)?;
    let ledger = ledger.keeping(config.keep.retention()).with_snapshots(snapshots, config.keep.snapshot_every);
    let ledger = match load_beacon(home)? {
        Some(secret) => ledger.with_beacon(secret),
        None => ledger,
    };
    check_chain(home, &config, &ledger)?;
    let ledger = match config.driver {
        Driver::Embedded { development: true, .. } => ledger.for_development(),
        _ => ledger,
    };
    let ledger = Arc::new(ledger);
    let (heights, seen) = watch::channel(ledger.head().map_or(0, |head| head.height));
    tokio::spawn(make_snapshots(ledger.clone(), seen.clone()));
    let Started { submit, develop, mut failed } = drive::start(&config, home, ledger.clone(), store, heights)?;
    let mut backend = Backend::new(ledger, submit, seen);
    if let Some(develop) = develop {
        backend = backend.with_development(develop);
    }
    let backend = Arc::new(backend);
    let (bound, server) = rpc::serve(backend, config.web.clone(), config.rpc).await.map_err(|e| NodeError::Socket {
        doing: format!("listen for JSON-RPC at {}", config.rpc),
        cause: e.to_string(),
    })?;
    ready(&config, bound);
    let stopped = tokio::select! {
        why = failed.recv() => why.map_or(Ok(()), Err),
        () = stop_signal() => Ok(()),
    };
    server.stop();
    stopped
}

/// Whether the database belongs to the chain that CometBFT in this home speaks of. The embedded driver sees for itself.
fn check_chain(home: &Path, config: &Config, ledger: &Ledger) -> Result<(), NodeError> {
    let Driver::Cometbft { .. } = config.driver else { return Ok(()) };
    let Ok(genesis) = std::fs::read(home.join("config/genesis.json")) else { return Ok(()) };
    let genesis: serde_json::Value = serde_json::from_slice(&genesis).unwrap_or_default();
    match (genesis["chain_id"].as_str(), ledger.chain_name().map_err(Fault::from)?) {
        (Some(wanted), Some(found)) if wanted != found => Err(NodeError::Setup(format!(
            "{} is of the chain {found:?}, but config/genesis.json is of {wanted:?}: remove the folder or use the \
             genesis file of its chain",
            home.join(DATA).display()
        ))),
        _ => Ok(()),
    }
}

/// The database of the node in `home`, which must not be running.
pub fn open_store(home: &Path) -> Result<Arc<DiskStore>, NodeError> {
    Ok(Arc::new(DiskStore::open(&home.join(DATA)).map_err(Fault::from)?))
}

/// The database and the ledger of the node in `home`, which must not be running.
pub fn open(home: &Path) -> Result<(Arc<DiskStore>, Ledger), NodeError> {
    Config::load(home)?;
    let store = open_store(home)?;
    let ledger = Ledger::open(store.clone())?;
    Ok((store, ledger))
}

/// Renames the database of the node in `home` and gives its new place, if there is one.
pub fn set_data_aside(home: &Path) -> Result<Option<PathBuf>, NodeError> {
    let data = home.join(DATA);
    if !data.exists() {
        return Ok(None);
    }
    let free = |n: u32| home.join(format!("{DATA}-old-{n}"));
    let aside = (1..).map(free).find(|place| !place.exists()).unwrap_or_else(|| free(0));
    std::fs::rename(&data, &aside).map_err(|cause| NodeError::File {
        doing: "set aside",
        path: data.display().to_string(),
        cause,
    })?;
    Ok(Some(aside))
}

/// Makes snapshots as they become due, beside the chain.
async fn make_snapshots(ledger: Arc<Ledger>, mut heights: watch::Receiver<u64>) {
    while heights.changed().await.is_ok() {
        let ledger = ledger.clone();
        let made = tokio::task::spawn_blocking(move || ledger.make_due_snapshot()).await;
        match made {
            Ok(Ok(Some(made))) => tracing::info!("snapshot of block {} made", made.height),
            Ok(Err(e)) => tracing::warn!("no snapshot: {e}"),
            _ => {}
        }
    }
}

/// Returns when the user or the system asks the process to stop.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
