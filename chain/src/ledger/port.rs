//! The ledger behind the port: what each call of a consensus engine does to it.

use std::sync::{Arc, PoisonError};

use alloy_primitives::Bytes;

use super::{
    execute,
    head::Head,
    history, mempool, proposal, query, snapshots,
    state::{Ledger, NAME, Pending},
};
use crate::{
    application::{
        Answer, Application, ChainStart, ChainStarted, Check, ChunkVerdict, Committed, DecidedBlock, Finalized, Info,
        Offer, Proposal, Query, Snapshot, TxVerdict, Verdict,
    },
    error::Fault,
    failpoint,
    genesis::Genesis,
    store::{Layered, Reader, Table},
};

impl Application for Ledger {
    fn info(&self) -> Info {
        self.head().map_or_else(Info::default, |head| Info { height: head.height, app_hash: head.app_hash })
    }

    fn init_chain(&self, chain: &ChainStart) -> Result<ChainStarted, Fault> {
        if self.head().is_some() {
            return Err(Fault::Order { call: "InitChain", why: "this data folder already has a chain" });
        }
        let genesis = Genesis::read(&chain.app_state)?;
        if chain.initial_height != genesis.first_height() {
            let why = "initial_height must be 1, or the one after exported.height of the genesis file";
            return Err(Fault::Order { call: "InitChain", why });
        }
        if let Some(age) = chain.evidence {
            genesis.check_evidence(age)?;
        }
        snapshots::clear_leftovers(self.store.as_ref())?;
        let committed = self.store.reader()?;
        let (head, mut batch) = execute::first_state(&genesis, chain, committed.clone())?;
        batch.put(Table::Meta, NAME, chain.chain_id.as_bytes());
        let reader: Arc<dyn Reader> = Arc::new(Layered { base: committed, batch: batch.clone() });
        let head = Arc::new(Head { reader, ..head });
        let answer = ChainStarted { validators: genesis.validator_updates(), app_hash: head.app_hash };
        self.pool().turn(head.height, head.next_base_fee(), []);
        *self.pending() = Pending { genesis: Some((head, batch)), ..Pending::default() };
        Ok(answer)
    }

    fn check_tx(&self, tx: &[u8], _: Check) -> TxVerdict {
        mempool::check(self, tx)
    }

    fn prepare(&self, proposal: &Proposal<'_>) -> Vec<Bytes> {
        // A database that fails now will stop the node when it executes; an empty proposal is always valid.
        proposal::make(self, proposal).unwrap_or_default()
    }

    fn process(&self, proposal: &Proposal<'_>) -> Verdict {
        proposal::judge(self, proposal).unwrap_or(Verdict::Reject)
    }

    fn finalize(&self, block: &DecidedBlock) -> Result<Finalized, Fault> {
        let Some(base) = self.base() else {
            return Err(Fault::Order { call: "FinalizeBlock", why: "InitChain has not been called" });
        };
        let expected = base.height + 1;
        if block.height != expected {
            return Err(Fault::Height { asked: block.height, expected });
        }
        let run = match proposal::take(self, block) {
            Some(run) => run,
            None => proposal::execute(self, &base, block)?,
        };
        let mut executed = run.seal(&base)?;
        history::record_with(base.reader.as_ref(), block.height, self.keep.archive, &mut executed.batch)?;
        let pinned = *self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = self.keep.with_states_from(block.height, pinned);
        history::prune(base.reader.as_ref(), block.height, keep, &mut executed.batch)?;
        self.pending().block = Some((executed.head, executed.batch, executed.refused));
        Ok(executed.answer)
    }

    fn commit(&self) -> Result<Committed, Fault> {
        let mut pending = self.pending();
        let Some((head, batch, refused)) = pending.block.take() else {
            return Err(Fault::Order { call: "Commit", why: "no block was finalized" });
        };
        let all = match pending.genesis.take() {
            Some((_, mut first)) => {
                first.extend(batch);
                first
            }
            None => batch,
        };
        failpoint::reach("commit");
        self.store.write(&all)?;
        failpoint::reach("committed");
        let head = Arc::new(Head { reader: self.store.reader()?, ..head });
        let before = self.head.write().unwrap_or_else(PoisonError::into_inner).replace(head.clone());
        *self.parent.write().unwrap_or_else(PoisonError::into_inner) = before;
        pending.runs.clear();
        drop(pending);
        self.snapshots.after_block(&head);
        mempool::after_block(self, &head, &all, refused)?;
        Ok(Committed { retain_height: self.keep.lowest_block(head.height) })
    }

    fn query(&self, query: &Query<'_>) -> Answer {
        let Some(head) = self.head() else {
            return Answer { code: 1, reason: "no block yet".into(), ..Answer::default() };
        };
        query::answer(&head, query)
    }

    fn snapshots(&self) -> Vec<Snapshot> {
        self.snapshots.announce()
    }

    fn snapshot_chunk(&self, height: u64, format: u32, index: u32) -> Option<Vec<u8>> {
        self.snapshots.chunk(height, format, index)
    }

    fn offer_snapshot(&self, offered: &Snapshot, app_hash: &[u8]) -> Result<Offer, Fault> {
        if self.head().is_some() {
            return Ok(Offer::Abort);
        }
        self.snapshots.offer(&self.store, offered, app_hash)
    }

    fn apply_chunk(&self, index: u32, chunk: &[u8]) -> Result<ChunkVerdict, Fault> {
        let (verdict, complete) = self.snapshots.apply(index, chunk)?;
        if complete {
            let head = Head::load(self.store.reader()?)?.map(Arc::new);
            if let Some(head) = &head {
                self.pool().turn(head.height, head.next_base_fee(), []);
            }
            *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
            *self.pending() = Pending::default();
        }
        Ok(verdict)
    }
}
