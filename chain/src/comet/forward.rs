//! The way of a transaction into CometBFT's mempool: checked and kept by this node first, then handed on in batches.
//!
//! CometBFT answers a transaction of its own RPC with a round trip to the ledger and back. A batch of those that the
//! ledger has checked already costs one request, and its mempool's check finds them known.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use alloy_consensus::Transaction as _;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use super::{
    client::{Answer, AskError, Client},
    headers::Headers,
    neighbours,
};
use crate::{
    ledger::Ledger,
    pool::MAX_TXS,
    rpc::{Asked, Signed, Submit, Submitted, blocking},
    tx::Tx,
};

/// Transactions in one request, and their bytes: CometBFT takes 200 and 1 MB of base64 by our settings and its own.
const BATCH: usize = 200;
const BATCH_BYTES: usize = 600_000;
/// Transactions that wait to be handed on, with those that have left the pool meanwhile.
const QUEUE: usize = 2 * MAX_TXS;
/// Pause after CometBFT could not take a batch.
const RETRY: Duration = Duration::from_millis(250);
/// A transaction that still waits after so many blocks is handed on again: an earlier nonce was missing, or CometBFT
/// forgot its mempool in a restart.
const AGAIN_AFTER: u64 = 5;

/// Hands the ledger's transactions to CometBFT.
pub struct Forward {
    ledger: Arc<Ledger>,
    queue: Arc<Queue>,
    client: Client,
    headers: Headers,
    /// The height at the start of this process.
    began: u64,
}

#[derive(Default)]
struct Queue {
    /// Locked before the pool where both are.
    waiting: Mutex<VecDeque<Arc<Tx>>>,
    news: Notify,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<Tx>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn batch(&self) -> Vec<Arc<Tx>> {
        let mut waiting = self.waiting();
        let mut bytes = 0;
        let fitting = waiting.iter().take(BATCH).take_while(|tx| {
            bytes += tx.bytes.len();
            bytes <= BATCH_BYTES
        });
        let count = fitting.count();
        waiting.drain(..count).collect()
    }

    /// The best payers first: CometBFT's mempool has no room for all.
    fn sort(&self, base_fee: u64) {
        let tip = |tx: &Tx| tx.envelope.effective_tip_per_gas(base_fee);
        self.waiting().make_contiguous().sort_by_key(|tx| std::cmp::Reverse(tip(tx)));
    }

    fn give_back(&self, txs: Vec<Arc<Tx>>) {
        let mut waiting = self.waiting();
        txs.into_iter().rev().for_each(|tx| waiting.push_front(tx));
    }
}

impl Forward {
    /// A way into the mempool of the CometBFT whose RPC is at `address`. Needs a tokio runtime.
    pub fn new(ledger: Arc<Ledger>, address: SocketAddr, heights: watch::Receiver<u64>) -> Self {
        let queue = Arc::new(Queue::default());
        let client = Client::new(address);
        let began = *heights.borrow();
        let headers = Headers::new(client.clone());
        tokio::spawn(hand_on(client.clone(), ledger.clone(), queue.clone(), heights));
        Self { ledger, queue, client, headers, began }
    }
}

impl Submit for Forward {
    fn submit(&self, tx: Arc<Tx>) -> Submitted<'_> {
        Box::pin(async move {
            blocking(|| self.ledger.admit(tx.clone()))?;
            let mut waiting = self.queue.waiting();
            if waiting.len() >= QUEUE {
                // Twice as many as the pool can hold: half of them have left it since, so this walk is not soon again.
                let pool = self.ledger.pool();
                waiting.retain(|tx| pool.contains(tx.hash));
            }
            waiting.push_back(tx);
            drop(waiting);
            self.queue.news.notify_one();
            Ok(())
        })
    }

    fn neighbours(&self) -> Asked<'_> {
        Box::pin(neighbours::ask(&self.client, self.began))
    }

    fn signed_header(&self, height: u64) -> Signed<'_> {
        Box::pin(self.headers.at(height, self.ledger.head().map_or(0, |head| head.height)))
    }
}

async fn hand_on(client: Client, ledger: Arc<Ledger>, queue: Arc<Queue>, mut heights: watch::Receiver<u64>) {
    let mut handed: VecDeque<(u64, Arc<Tx>)> = VecDeque::new();
    loop {
        tokio::select! {
            () = queue.news.notified() => {}
            changed = heights.changed() => if changed.is_err() { return },
        }
        let height = *heights.borrow_and_update();
        while handed.front().is_some_and(|(at, _)| at + AGAIN_AFTER <= height) {
            let Some((_, tx)) = handed.pop_front() else { break };
            if ledger.pool().contains(tx.hash) {
                queue.waiting().push_back(tx);
            }
        }
        loop {
            let batch = queue.batch();
            if batch.is_empty() {
                break;
            }
            // What has left the pool is forgotten; what cannot be in the next block waits for another look.
            let mut ready = Vec::with_capacity(batch.len());
            {
                let pool = ledger.pool();
                for tx in batch.into_iter().filter(|tx| pool.contains(tx.hash)) {
                    match pool.held_back(tx.hash) {
                        None => ready.push(tx),
                        Some(_) => handed.push_back((height, tx)),
                    }
                }
            }
            let batch = ready;
            if batch.is_empty() {
                continue;
            }
            let params: Vec<Value> = batch.iter().map(|tx| json!({ "tx": STANDARD.encode(&tx.bytes) })).collect();
            match client.ask_all("broadcast_tx_async", &params).await {
                Ok(answers) => {
                    let full = |answer: &Answer| matches!(answer, Err(AskError::MempoolFull(_)));
                    let (later, taken): (Vec<_>, Vec<_>) = batch.into_iter().zip(&answers).partition(|(_, a)| full(a));
                    handed.extend(taken.into_iter().map(|(tx, _)| (height, tx)));
                    if !later.is_empty() {
                        queue.give_back(later.into_iter().map(|(tx, _)| tx).collect());
                        let base_fee = ledger.pool().base_fee();
                        queue.sort(base_fee);
                        tokio::time::sleep(RETRY).await;
                    }
                }
                Err(why) => {
                    tracing::warn!("hand transactions to CometBFT: {why}");
                    queue.give_back(batch);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
