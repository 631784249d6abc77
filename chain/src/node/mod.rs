//! A running node: the ledger on disk, one of the two drivers, JSON-RPC. The shell around the state machine; time,
//! threads and sockets live here.

mod config;
mod drive;
mod key;

use std::{path::Path, sync::Arc};

use tokio::sync::watch;

pub use config::{CONFIG_FILE, Config, Driver, GENESIS_FILE, KEY_FILE, Keep, write};
pub use key::{generate_key, load_key, store_key};

use crate::{
    error::Fault,
    ledger::Ledger,
    rpc::{self, Backend},
    store::DiskStore,
};

/// Folder of the database inside a home.
const DATA: &str = "chain-data";

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
    let store: Arc<DiskStore> = Arc::new(DiskStore::open(&home.join(DATA)).map_err(Fault::from)?);
    let ledger = Arc::new(Ledger::open(store.clone())?.keeping(config.keep.retention()));
    let (heights, seen) = watch::channel(ledger.head().map_or(0, |head| head.height));
    let (submit, mut failed) = drive::start(&config, home, ledger.clone(), store, heights)?;
    let backend = Arc::new(Backend::new(ledger, submit, seen));
    let (bound, server) = rpc::serve(backend, config.rpc).await.map_err(|e| NodeError::Socket {
        doing: format!("listen for JSON-RPC at {}", config.rpc),
        cause: e.to_string(),
    })?;
    ready(&config, bound);
    let stopped = tokio::select! {
        why = failed.recv() => why.map_or(Ok(()), Err),
        () = stop_signal() => Ok(()),
    };
    let _ = server.stop();
    stopped
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
