//! Starts a driver on its own thread and gives the way into its mempool.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

use alloy_primitives::Bytes;
use tokio::sync::watch;

use super::{Config, Driver, GENESIS_FILE, NodeError, key::load_key};
use crate::{
    abci::{Adapter, Events},
    comet::Forward,
    consensus::Time,
    embedded::Embedded,
    error::Fault,
    ledger::Ledger,
    rpc::{Submit, Submitted},
    store::{DiskStore, Store},
};

/// What the node waits for: a fault.
pub type Failed = tokio::sync::mpsc::Receiver<NodeError>;

/// Starts the driver that `config` names.
pub fn start(
    config: &Config,
    home: &Path,
    ledger: Arc<Ledger>,
    store: Arc<DiskStore>,
    heights: watch::Sender<u64>,
) -> Result<(Arc<dyn Submit>, Failed), NodeError> {
    let (failing, failed) = tokio::sync::mpsc::channel(1);
    let submit: Arc<dyn Submit> = match &config.driver {
        Driver::Embedded { chain_id, block_time_ms } => {
            let path = home.join(GENESIS_FILE);
            let genesis = std::fs::read(&path).map_err(|cause| NodeError::File {
                doing: "read",
                path: path.display().to_string(),
                cause,
            })?;
            let store: Arc<dyn Store> = store;
            let mut driver = Embedded::start(ledger.clone(), store, load_key(home)?, chain_id, &genesis, now())?;
            // JSON-RPC answers from committed state: there is a first block before the first question.
            if ledger.head().is_none() {
                driver.step(&[], now())?;
                let _ = heights.send(driver.height());
            }
            let (wake, woken) = mpsc::channel();
            let (pool, pause) = (ledger.clone(), *block_time_ms);
            thread::spawn(move || {
                let fault = make_blocks(&mut driver, &pool, &woken, pause, &heights);
                let _ = failing.blocking_send(fault.into());
            });
            Arc::new(OwnPool { ledger, wake })
        }
        Driver::Cometbft { abci, comet_rpc } => {
            let address = *abci;
            let seen = heights.subscribe();
            let adapter = Adapter::new(ledger.clone(), Arc::new(Shell { heights }));
            thread::spawn(move || {
                if let Err(e) = adapter.serve(address) {
                    let doing = format!("serve CometBFT at {address}");
                    let _ = failing.blocking_send(NodeError::Socket { doing, cause: e.to_string() });
                }
            });
            Arc::new(Forward::new(ledger, *comet_rpc, seen))
        }
    };
    Ok((submit, failed))
}

/// Makes blocks until the ledger cannot go on.
#[expect(clippy::disallowed_methods, reason = "the shell is where time comes from")]
fn make_blocks(
    driver: &mut Embedded<Ledger>,
    ledger: &Ledger,
    woken: &mpsc::Receiver<()>,
    pause_ms: u64,
    heights: &watch::Sender<u64>,
) -> Fault {
    let mut due = Instant::now();
    loop {
        if pause_ms == 0 {
            while !ledger.pool().has_ready() {
                if woken.recv().is_err() {
                    return Fault::Order { call: "the embedded driver", why: "the node is shutting down" };
                }
            }
        } else {
            // A block that took long does not delay the next one; a long sleep of the machine is not made up for.
            due = (due + Duration::from_millis(pause_ms)).max(Instant::now());
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        while woken.try_recv().is_ok() {}
        match driver.step(&[], now()) {
            Ok(block) if pause_ms == 0 && block.results.is_empty() => thread::sleep(Duration::from_millis(50)),
            Ok(_) => {}
            Err(fault) => return fault,
        }
        let _ = heights.send(driver.height());
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell is where time comes from")]
fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// The ledger's own mempool.
struct OwnPool {
    ledger: Arc<Ledger>,
    wake: mpsc::Sender<()>,
}

impl Submit for OwnPool {
    fn submit(&self, tx: Bytes) -> Submitted<'_> {
        Box::pin(async move {
            self.ledger.admit(&tx)?;
            let _ = self.wake.send(());
            Ok(())
        })
    }
}

struct Shell {
    heights: watch::Sender<u64>,
}

impl Events for Shell {
    fn committed(&self, height: u64) {
        let _ = self.heights.send(height);
    }

    fn fault(&self, fault: &Fault) -> ! {
        eprintln!("error: {fault}");
        std::process::exit(1)
    }
}
