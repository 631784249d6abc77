//! Starts a driver on its own thread and gives the way into its mempool.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::sync::{oneshot, watch};

use super::{
    blocks::{Maker, Rhythm, Wake, now},
    config::{Config, Driver, GENESIS_FILE},
    error::NodeError,
    key::load_key,
    tell::tell,
};
use crate::{
    abci::{Adapter, Events},
    comet::Forward,
    embedded::{Embedded, kept_height, signed_header},
    error::Fault,
    ledger::Ledger,
    rpc::{Command, Develop, Doing, Followup, Signed, SignedHeader, Submit, Submitted, blocking},
    store::Store,
    tx::Tx,
};

/// What the node waits for: a fault.
pub type Failed = tokio::sync::mpsc::Receiver<NodeError>;

/// A driver that runs.
pub struct Started {
    /// The way into its mempool.
    pub submit: Arc<dyn Submit>,
    /// The way to change its chain, if that is for development.
    pub develop: Option<Arc<dyn Develop>>,
    /// What went wrong.
    pub failed: Failed,
}

/// Starts the driver that `config` names.
pub fn start(
    config: &Config,
    home: &Path,
    ledger: Arc<Ledger>,
    store: Arc<dyn Store>,
    heights: watch::Sender<u64>,
) -> Result<Started, NodeError> {
    let (failing, failed) = tokio::sync::mpsc::channel(1);
    match &config.driver {
        Driver::Embedded { chain_id, block_time_ms, development } => {
            let path = home.join(GENESIS_FILE);
            let genesis = std::fs::read(&path).map_err(|cause| NodeError::File {
                doing: "read",
                path: path.display().to_string(),
                cause,
            })?;
            // A node that died while it went back is not there yet.
            let height = kept_height(store.as_ref()).map_err(Fault::from)?;
            if let (true, Some(height)) = (*development, height)
                && ledger.head().is_some_and(|head| head.height > height)
            {
                ledger.rewind(height)?;
            }
            let driver = Embedded::start(ledger.clone(), store.clone(), load_key(home)?, chain_id, &genesis, now())?;
            let rhythm = match block_time_ms {
                0 => Rhythm::EachTx,
                pause => Rhythm::Every(Duration::from_millis(*pause)),
            };
            let mut maker = Maker::new(driver, ledger.clone(), heights, rhythm);
            // JSON-RPC answers from committed state: there is a first block before the first question.
            if ledger.head().is_none() {
                maker.block()?;
            }
            let (wake, woken) = mpsc::channel();
            thread::spawn(move || {
                let fault = maker.run(&woken);
                let _ = failing.blocking_send(fault.into());
            });
            let own = Arc::new(Own { ledger, store, wake, on_demand: rhythm == Rhythm::EachTx });
            Ok(Started { submit: own.clone(), develop: development.then_some(own), failed })
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
            let submit = Arc::new(Forward::new(ledger, *comet_rpc, seen));
            Ok(Started { submit, develop: None, failed })
        }
    }
}

/// The ledger's own mempool, and the way to whoever makes blocks.
struct Own {
    ledger: Arc<Ledger>,
    store: Arc<dyn Store>,
    wake: mpsc::Sender<Wake>,
    /// A block for each transaction, and none otherwise.
    on_demand: bool,
}

impl Submit for Own {
    fn submit(&self, tx: Arc<Tx>) -> Submitted<'_> {
        Box::pin(async move {
            blocking(|| self.ledger.admit(tx))?;
            let _ = self.wake.send(Wake::Tx);
            Ok(())
        })
    }

    fn signed_header(&self, height: u64) -> Signed<'_> {
        Box::pin(async move {
            let found = blocking(|| signed_header(self.store.as_ref(), height)).map_err(|e| e.to_string())?;
            // Who validates never changes here.
            Ok(found.map(|(header, set)| Arc::new(SignedHeader::new(&header, &set, &set))))
        })
    }

    fn follow(&self) -> Followup<'_> {
        Box::pin(async move {
            let (tell, told) = oneshot::channel();
            if self.on_demand && self.wake.send(Wake::Follow(tell)).is_ok() {
                let _ = told.await;
            }
        })
    }
}

impl Develop for Own {
    fn develop(&self, command: Command) -> Doing<'_> {
        Box::pin(async move {
            let (tell, told) = oneshot::channel();
            let gone = "the node is shutting down";
            self.wake.send(Wake::Command(command, tell)).map_err(|_| gone)?;
            told.await.map_err(|_| gone)?
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
        tell(format_args!("error: {fault}"));
        std::process::exit(1)
    }
}
