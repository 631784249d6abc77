//! What the methods share: the ledger, the way into the mempool, and news of blocks.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use alloy_consensus::Header;
use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::{Address, B256};
use tokio::sync::{Semaphore, watch};

use super::{
    budget::{BLOCK, Budget, Flight, HEADER, Limits, VALUE, now},
    command::Develop,
    error::{self, RpcResult},
    filters::Filters,
    neighbours::{Asked, Neighbours},
    session::{Following, Session},
    signed::Signed,
    turn::{Turn, Turns},
};
use crate::{
    block::{self, Block},
    evm::{BlockContext, FORK},
    ledger::{AdmitError, Head, Ledger},
    tx::Tx,
};

/// The outcome of handing in a transaction, later.
pub type Submitted<'a> = Pin<Box<dyn Future<Output = Result<(), AdmitError>> + Send + 'a>>;

/// A block more, later.
pub type Followup<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The way to whoever decides about blocks, this process or CometBFT: into its mempool, and to what it signed.
pub trait Submit: Send + Sync {
    /// Hands in `tx`, which the ledger has decoded; the error is Ethereum's.
    fn submit(&self, tx: Arc<Tx>) -> Submitted<'_>;

    /// What is known of other nodes. A driver in this process has none.
    fn neighbours(&self) -> Asked<'_> {
        Box::pin(std::future::ready(Ok(Neighbours::default())))
    }

    /// The header at `height` with what shows that it was decided.
    fn signed_header(&self, _height: u64) -> Signed<'_> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Has a block made on top of the last one, where blocks are made on demand only: the state after a block is proven
    /// by the header of the next.
    fn follow(&self) -> Followup<'_> {
        Box::pin(std::future::ready(()))
    }
}

/// What the methods answer from.
pub struct Backend {
    /// The ledger.
    pub ledger: Arc<Ledger>,
    /// The way into the mempool.
    pub submit: Arc<dyn Submit>,
    /// The height of the last block.
    pub heights: watch::Receiver<u64>,
    pub(super) develop: Option<Arc<dyn Develop>>,
    /// Accounts without a key that transactions are taken from, on a chain for development.
    pub(super) impersonated: Mutex<BTreeSet<Address>>,
    pub(super) filters: Mutex<Filters>,
    pub(super) following: Arc<Following>,
    pub(super) flight: Arc<Flight>,
    pub(super) limits: Limits,
    pub(super) turns: Turns,
    /// The block that was told last: all that follow hear of the same one.
    recent: Mutex<Option<(u64, Arc<Block>)>>,
    /// What was said of other nodes last, and when.
    neighbours: tokio::sync::Mutex<Option<(Instant, Result<Neighbours, String>)>>,
}

/// How long what was said of other nodes is said again.
const NEWS_OF_NEIGHBOURS: Duration = Duration::from_secs(1);

impl Backend {
    /// A backend on `ledger` that hands transactions to `submit` and hears of blocks by `heights`.
    pub fn new(ledger: Arc<Ledger>, submit: Arc<dyn Submit>, heights: watch::Receiver<u64>) -> Self {
        Self {
            ledger,
            submit,
            heights,
            develop: None,
            impersonated: Mutex::default(),
            filters: Mutex::default(),
            following: Arc::default(),
            flight: Flight::new(Limits::default().total),
            limits: Limits::default(),
            turns: turns(&Limits::default()),
            recent: Mutex::default(),
            neighbours: tokio::sync::Mutex::default(),
        }
    }

    /// The same backend with other limits.
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { flight: Flight::new(limits.total), turns: turns(&limits), limits, ..self }
    }

    /// The same backend on a chain for development, which `develop` can change.
    pub fn with_development(self, develop: Arc<dyn Develop>) -> Self {
        Self { develop: Some(develop), ..self }
    }

    /// Bytes of all requests and answers that are under way.
    pub fn under_way(&self) -> usize {
        self.limits.total - self.flight.left()
    }

    /// What one request may cost.
    pub(super) fn budget(&self) -> Budget {
        Budget::new(vec![self.flight.clone()], &self.limits)
    }

    /// The same for one of `session`: its address has a part of what all may have.
    pub(super) fn budget_of(&self, session: &Session) -> Budget {
        Budget::new(self.accounts(session.account.clone()), &self.limits)
    }

    /// What somebody draws on whose address has `account`.
    pub(super) fn accounts(&self, account: Option<Arc<Flight>>) -> Vec<Arc<Flight>> {
        std::iter::once(self.flight.clone()).chain(account).collect()
    }

    /// What is known of other nodes, asked once a second at most, whoever wants to know.
    pub(super) async fn neighbours(&self) -> RpcResult<Neighbours> {
        let mut known = self.neighbours.lock().await;
        let told = match known.take().filter(|(asked, _)| now().duration_since(*asked) < NEWS_OF_NEIGHBOURS) {
            Some(told) => told,
            None => {
                let told = self.submit.neighbours().await;
                (now(), told)
            }
        };
        known.insert(told).1.clone().map_err(error::server)
    }

    /// The block at `height`, read once for all that follow the chain.
    pub(super) fn recent_block(&self, height: u64) -> RpcResult<Option<Arc<Block>>> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = block::hash_at(self.head()?.reader.as_ref(), height).map_err(error::store)?;
        if let Some((_, block)) = recent.as_ref().filter(|(at, block)| *at == height && Some(block.hash) == hash) {
            return Ok(Some(block.clone()));
        }
        let Some(block) = block::block_at(self.head()?.reader.as_ref(), height).map_err(error::store)? else {
            return Ok(None);
        };
        let block = Arc::new(block);
        *recent = Some((height, block.clone()));
        Ok(Some(block))
    }

    pub(super) fn head(&self) -> RpcResult<Arc<Head>> {
        self.ledger.head().ok_or_else(|| error::server("the chain has no block yet"))
    }

    /// The height that `tag` means.
    pub(super) fn height(&self, tag: BlockNumberOrTag, head: &Head) -> u64 {
        match tag {
            BlockNumberOrTag::Number(number) => number,
            BlockNumberOrTag::Earliest => 0,
            _ => head.height,
        }
    }

    /// The height of the block that `id` means, if there is one with such a hash.
    fn height_of(&self, id: BlockId, head: &Head) -> RpcResult<Option<u64>> {
        match id {
            BlockId::Number(tag) => Ok(Some(self.height(tag, head))),
            BlockId::Hash(hash) => block::height_of(head.reader.as_ref(), hash.block_hash).map_err(error::store),
        }
    }

    /// The block that `id` means, if it is there.
    pub(super) fn block(&self, id: BlockId, budget: &mut Budget) -> RpcResult<Option<Block>> {
        let head = self.head()?;
        let Some(height) = self.height_of(id, &head)? else { return Ok(None) };
        read_block(&head, height, budget)
    }

    /// The block and the place of the transaction with `hash`.
    pub(super) fn find(&self, hash: B256) -> RpcResult<Option<(Block, usize)>> {
        let Some(head) = self.ledger.head() else { return Ok(None) };
        let reader = head.reader.as_ref();
        let Some((height, index)) = block::place_of(reader, hash).map_err(error::store)? else { return Ok(None) };
        Ok(block::block_at(reader, height).map_err(error::store)?.map(|block| (block, index)))
    }

    /// The header of the block that `id` means, if it is there.
    pub(super) fn header(&self, id: BlockId) -> RpcResult<Option<Header>> {
        let head = self.head()?;
        let Some(height) = self.height_of(id, &head)? else { return Ok(None) };
        block::header_at(head.reader.as_ref(), height).map_err(error::store)
    }

    /// The state that `id` means, as long as it is kept. What is read to see a state of the past is charged.
    pub(super) fn state(&self, id: Option<BlockId>, budget: &mut Budget) -> RpcResult<Arc<Head>> {
        let head = self.head()?;
        let height = match id {
            None => head.height,
            Some(BlockId::Number(tag)) => self.height(tag, &head),
            Some(BlockId::Hash(hash)) => block::height_of(head.reader.as_ref(), hash.block_hash)
                .map_err(error::store)?
                .ok_or_else(|| error::not_found("header not found"))?,
        };
        match height {
            _ if height == head.height => Ok(head),
            _ if height > head.height => Err(error::not_found("header not found")),
            _ => {
                budget.work(HEADER + VALUE)?;
                let read = |row: usize| budget.work(ROW + row as u64 / ROW_BYTES);
                self.ledger.state_at_charged(height, read)?
            }
            .ok_or_else(|| {
                let oldest = self.ledger.oldest_state().unwrap_or(head.height);
                error::server(format!(
                    "missing trie node: state of block {height} is pruned, this node keeps those from block {oldest} on"
                ))
            }),
        }
    }

    /// What the block of `head` tells a call, or with `pending` the one that comes after it.
    pub(super) fn context(&self, head: &Head, pending: bool) -> BlockContext {
        let next = pending || head.height == 0;
        BlockContext {
            chain_id: head.params.chain_id,
            number: head.height + u64::from(pending),
            time: head.header.timestamp + u64::from(pending),
            beneficiary: head.header.beneficiary,
            gas_limit: head.params.fees.block_gas_limit,
            base_fee: if next { head.next_base_fee() } else { head.header.base_fee_per_gas.unwrap_or_default() },
            random: head.header.mix_hash,
            spec: FORK,
        }
    }
}

/// Work of seeing a state through what one block replaced, in gas, and bytes of it for each further unit.
const ROW: u64 = 1_000;
const ROW_BYTES: u64 = 4;

/// Reads a block and charges for it.
pub fn read_block(head: &Head, height: u64, budget: &mut Budget) -> RpcResult<Option<Block>> {
    budget.work(BLOCK)?;
    let block = block::block_at(head.reader.as_ref(), height).map_err(error::store)?;
    if let Some(block) = &block {
        // A block takes as long to read as what it holds has bytes, and gas paid for those.
        budget.work(block.header.gas_used / 20)?;
    }
    Ok(block)
}

fn turns(limits: &Limits) -> Turns {
    Turns { light: Turn::new(limits.light), heavy: Turn::new(limits.heavy), news: Semaphore::new(limits.heavy) }
}
