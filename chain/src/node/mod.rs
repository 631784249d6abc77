//! A running node: the ledger on disk, one of the two drivers, JSON-RPC. The shell around the state machine; time,
//! threads and sockets live here.

mod beacon;
mod blocks;
mod clock;
mod config;
mod damage;
mod drive;
mod error;
mod file;
mod key;
mod tell;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::watch;

pub use beacon::{BEACON_FILE, ensure_beacon, load_beacon};
pub use config::{CONFIG_FILE, Config, Driver, GENESIS_FILE, KEY_FILE, Keep, StoreSettings};
pub use damage::explain_damage;
use drive::Started;
pub use error::NodeError;
pub use file::write;
pub use key::{ensure_key, load_key, validator_key};
pub use tell::tell;

use crate::{
    durable,
    error::Fault,
    ledger::Ledger,
    rpc::{self, Backend},
    snapshot::Folder,
    store::{OpenError, Store, is_in_use},
};

/// Folder of the database inside a home.
pub const DATA: &str = "chain-data";
/// Folder of snapshots inside a home.
pub const SNAPSHOTS: &str = "snapshots";

/// Runs the node in `home` until it is told to stop. `ready` gets the address of JSON-RPC.
///
/// # Errors
/// When there is no node in `home`, a port is in use, or what it runs on fails.
pub async fn run(home: &Path, ready: impl FnOnce(&Config, std::net::SocketAddr)) -> Result<(), NodeError> {
    let config = Config::load(home)?;
    let (store, ledger) = assemble(home, &config)?;
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

/// The database, and the ledger as the settings want it. What nobody signed is taken under one setting only.
fn assemble(home: &Path, config: &Config) -> Result<(Arc<dyn Store>, Ledger), NodeError> {
    let (store, ledger) = open(home)?;
    let snapshots = Folder::open(home.join(SNAPSHOTS), config.keep.snapshots).map_err(Fault::from)?;
    let ledger = ledger.keeping(config.keep.retention()).with_snapshots(snapshots, config.keep.snapshot_every);
    let ledger = match load_beacon(home)? {
        Some(secret) => ledger.with_beacon(secret),
        None => ledger,
    };
    check_chain(home, config, &ledger)?;
    let ledger = match config.driver {
        Driver::Embedded { development: true, .. } => ledger.for_development(),
        _ => ledger,
    };
    Ok((store, ledger))
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
///
/// # Errors
/// When a node runs there, its settings cannot be read, or the database is of another engine or format, or damaged.
pub fn open_store(home: &Path) -> Result<Arc<dyn Store>, NodeError> {
    let engine = Config::load(home)?.store.engine;
    match engine.open(&home.join(DATA)) {
        Ok(store) => Ok(store),
        Err(e @ (OpenError::NotBuilt(_) | OpenError::Another { .. })) => Err(NodeError::Setup(e.to_string())),
        Err(_) if is_running(home) => Err(NodeError::Setup(format!(
            "open {}: another process is using it: stop the node first",
            home.join(DATA).display()
        ))),
        Err(OpenError::Store(e)) => Err(Fault::from(e).into()),
    }
}

/// Whether the node in `home` is running: it has its database for itself.
pub fn is_running(home: &Path) -> bool {
    is_in_use(&home.join(DATA))
}

/// The database and the ledger of the node in `home`, which must not be running.
///
/// # Errors
/// As [`open_store`]; when what the ledger has in it is damaged.
pub fn open(home: &Path) -> Result<(Arc<dyn Store>, Ledger), NodeError> {
    let store = open_store(home)?;
    let ledger = Ledger::open(store.clone())?;
    Ok((store, ledger))
}

/// Renames the database of the node in `home`, which must not be running, and gives its new place, if there is one.
///
/// # Errors
/// When a node runs there, or the folder cannot be renamed.
pub fn set_data_aside(home: &Path) -> Result<Option<PathBuf>, NodeError> {
    let data = home.join(DATA);
    if !data.exists() {
        return Ok(None);
    }
    // It would go on writing into the folder under its new name.
    if is_running(home) {
        return Err(NodeError::Setup(format!(
            "set aside {}: a running node is using it: stop the node first",
            data.display()
        )));
    }
    let free = |n: u32| home.join(format!("{DATA}-old-{n}"));
    let aside = (1..).map(free).find(|place| !place.exists()).unwrap_or_else(|| free(0));
    durable::rename(&data, &aside).map_err(|cause| NodeError::File {
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

#[cfg(test)]
mod tests {
    use alloy_consensus::TxEip1559;
    use alloy_eips::eip2718::Encodable2718;
    use alloy_primitives::{Address, Bytes, TxKind, U256};

    use super::*;
    use crate::{
        application::{Application, ChainStart, Check, DecidedBlock, Proposal, Verdict},
        genesis::{DEV_ACCOUNTS, DEV_CHAIN_ID, Genesis, GenesisValidator},
        ledger::Change,
        tx,
        validator::ConsensusKey,
    };

    /// A ledger as a node with `driver` has it, with a chain begun.
    fn begun(home: &Path, driver: Driver) -> Ledger {
        let config = Config::new(([127, 0, 0, 1], 0).into(), driver);
        config.save(home).unwrap();
        let ledger = assemble(home, &config).unwrap().1;
        let key = ed25519_dalek::SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes();
        let consensus_key = ConsensusKey(key.into());
        let validator = GenesisValidator { operator: DEV_ACCOUNTS[9].0, consensus_key, power: 10 };
        let app_state = serde_json::to_vec(&Genesis::development(vec![validator])).unwrap();
        let start = ChainStart { chain_id: "c".into(), time: 1, app_state, initial_height: 1, evidence: None };
        ledger.init_chain(&start).unwrap();
        ledger
    }

    #[test]
    fn the_database_of_a_running_node_stays_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        let ledger = begun(home, Driver::Embedded { chain_id: "c".into(), block_time_ms: 0, development: true });
        let refused = set_data_aside(home).unwrap_err().to_string();
        assert!(refused.contains("stop the node first"), "{refused}");
        assert!(home.join(DATA).exists());
        drop(ledger);
        let aside = set_data_aside(home).unwrap().unwrap();
        assert!(aside.exists() && !home.join(DATA).exists());
        assert_eq!(set_data_aside(home).unwrap(), None, "there is nothing left");
    }

    #[test]
    fn a_real_node_refuses_what_nobody_signed_wherever_it_comes_from() {
        let fields = TxEip1559 {
            chain_id: DEV_CHAIN_ID,
            gas_limit: 21_000,
            max_fee_per_gas: 100_000_000_000,
            to: TxKind::Call(Address::repeat_byte(1)),
            value: U256::from(5),
            ..TxEip1559::default()
        };
        let unsigned = Bytes::from(tx::unsigned(fields, DEV_ACCOUNTS[0].0).encoded_2718());
        let change = Change::Balance(Address::repeat_byte(2), U256::from(7)).encode();
        let embedded = |development| Driver::Embedded { chain_id: "c".into(), block_time_ms: 0, development };
        let (abci, comet_rpc) = (([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into());
        for (driver, taken) in
            [(embedded(true), true), (embedded(false), false), (Driver::Cometbft { abci, comet_rpc }, false)]
        {
            let folder = tempfile::tempdir().unwrap();
            let said = format!("{driver:?}");
            let ledger = begun(folder.path(), driver);
            let txs = std::slice::from_ref(&unsigned);
            let offer = Proposal { height: 1, time: 2, txs, max_bytes: 100_000, ..Proposal::default() };
            assert_eq!(ledger.check_tx(&unsigned, Check::New).code == 0, taken, "CheckTx: {said}");
            assert!(ledger.receive(&change).is_err(), "{said}");
            assert_eq!(ledger.process(&offer) == Verdict::Accept, taken, "ProcessProposal: {said}");
            assert_eq!(ledger.prepare(&offer).contains(&unsigned), taken, "PrepareProposal: {said}");
            let txs = vec![unsigned.clone(), change.clone()];
            let block = DecidedBlock { height: 1, time: 2, txs, ..DecidedBlock::default() };
            let results = ledger.finalize(&block).unwrap().results;
            let codes: Vec<bool> = results.iter().map(|result| result.code == 0).collect();
            assert_eq!(codes, [taken, taken], "FinalizeBlock: {said}");
            ledger.commit().unwrap();
            let mut view = ledger.head().unwrap().view();
            let mut balance = |address| view.account(address).unwrap().map_or(U256::ZERO, |account| account.balance);
            let (paid, given) = (balance(Address::repeat_byte(1)), balance(Address::repeat_byte(2)));
            let wanted = if taken { (U256::from(5), U256::from(7)) } else { (U256::ZERO, U256::ZERO) };
            assert_eq!((paid, given), wanted, "{said}");
        }
    }
}
