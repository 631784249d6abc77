//! An application that does nothing, over the same ABCI server as the ledger: what is left is the price of consensus.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy_primitives::Bytes;
use sahara_chain::{
    abci::{Adapter, Events},
    application::{
        Answer, Application, ChainStart, ChainStarted, Check, Committed, DecidedBlock, Finalized, Info, Proposal,
        Query, TxResult, TxVerdict, Verdict,
    },
    error::Fault,
    state::AppHash,
};

use super::Result;

#[derive(Default)]
struct Noop {
    height: AtomicU64,
}

impl Application for Noop {
    fn info(&self) -> Info {
        Info { height: self.height.load(Ordering::SeqCst), app_hash: AppHash::default() }
    }

    fn init_chain(&self, _: &ChainStart) -> std::result::Result<ChainStarted, Fault> {
        Ok(ChainStarted { validators: vec![], app_hash: AppHash::default() })
    }

    fn check_tx(&self, _: &[u8], _: Check) -> TxVerdict {
        TxVerdict { code: 0, reason: String::new(), gas: 1 }
    }

    fn prepare(&self, proposal: &Proposal<'_>) -> Vec<Bytes> {
        let mut bytes = 0u64;
        let fits = |tx: &&Bytes| {
            bytes += tx.len() as u64 + 8;
            bytes <= proposal.max_bytes
        };
        proposal.txs.iter().take_while(fits).cloned().collect()
    }

    fn process(&self, _: &Proposal<'_>) -> Verdict {
        Verdict::Accept
    }

    fn finalize(&self, block: &DecidedBlock) -> std::result::Result<Finalized, Fault> {
        self.height.store(block.height, Ordering::SeqCst);
        let nothing = TxResult { code: 0, reason: String::new(), gas_wanted: 1, gas_used: 1, data: Bytes::new() };
        Ok(Finalized { results: vec![nothing; block.txs.len()], validators: vec![], app_hash: AppHash::default() })
    }

    fn commit(&self) -> std::result::Result<Committed, Fault> {
        Ok(Committed { retain_height: 0 })
    }

    fn query(&self, _: &Query<'_>) -> Answer {
        Answer::default()
    }
}

struct Quiet;

impl Events for Quiet {
    fn committed(&self, _: u64) {}

    fn fault(&self, fault: &Fault) -> ! {
        eprintln!("{fault}");
        std::process::exit(1)
    }
}

/// Serves CometBFT at `address`.
pub fn serve(address: SocketAddr) -> Result<()> {
    Ok(Adapter::new(Arc::new(Noop::default()), Arc::new(Quiet)).serve(address)?)
}
