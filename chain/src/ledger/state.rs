//! The ledger between blocks: what is committed, what is decided or proposed, and what waits. Whoever asks comes here.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use alloy_primitives::{Address, Bytes, KECCAK256_EMPTY};

use super::{
    archive,
    execute::{RefusedTxs, Run},
    head::Head,
    history::{self, Retention},
    reveal, rollback, snapshots,
};
use crate::{
    beacon::Secret,
    error::{Fault, StoreError},
    pool::{Pool, Standing},
    snapshot::{Folder, Manifest},
    state::Account,
    store::{Batch, Reader, Store, Table},
    tx::{Tx, TxCache, TxError},
    validator::ConsensusAddress,
};

/// Key of the chain's name, as the engine told it, in the table of names.
pub const NAME: &[u8] = b"chain";

/// Memory for decoded transactions: some hundred thousand transfers.
const CACHED_TX_BYTES: usize = 256 << 20;

/// The state machine behind the [`Application`](crate::application::Application) port.
pub struct Ledger {
    pub(super) store: Arc<dyn Store>,
    txs: TxCache,
    /// What is committed. Readers take it and are not disturbed by the next block.
    pub(super) head: RwLock<Option<Arc<Head>>>,
    /// The block before it, if this process saw it: its state with its tries, which the last header commits to.
    pub(super) parent: RwLock<Option<Arc<Head>>>,
    /// What is decided but not committed.
    pending: Mutex<Pending>,
    pool: Mutex<Pool>,
    /// How often the transactions of a block were executed.
    executions: AtomicU64,
    /// Whoever develops may change it; see [`Change`].
    pub(super) developed: bool,
    /// A height that a developer wants to go back to: what that needs is not forgotten.
    pub(super) pinned: Mutex<Option<u64>>,
    pub(super) keep: Retention,
    change_sets: history::ChangeSetCache,
    pub(super) snapshots: snapshots::Snapshots,
    pub(super) reveals: reveal::Reveals,
}

/// What is decided or proposed, but not committed.
#[derive(Default)]
pub struct Pending {
    /// The first state, until the first block is committed.
    pub genesis: Option<(Arc<Head>, Batch)>,
    /// The block that waits for its commit, and what its execution refused.
    pub block: Option<(Head, Batch, RefusedTxs)>,
    /// Proposals for the next block that were executed.
    pub runs: Vec<Run>,
}

impl Ledger {
    /// Opens the ledger in `store`: where it was committed last, or before its beginning.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn open(store: Arc<dyn Store>) -> Result<Self, Fault> {
        let head = Head::load(store.reader()?)?.map(Arc::new);
        let mut pool = Pool::default();
        if let Some(head) = &head {
            pool.turn(head.height, head.next_base_fee(), []);
        }
        Ok(Self {
            store,
            txs: TxCache::new(CACHED_TX_BYTES),
            head: RwLock::new(head),
            parent: RwLock::new(None),
            pending: Mutex::default(),
            pool: Mutex::new(pool),
            executions: AtomicU64::new(0),
            developed: false,
            pinned: Mutex::default(),
            keep: Retention::default(),
            change_sets: history::ChangeSetCache::default(),
            snapshots: snapshots::Snapshots::default(),
            reveals: reveal::Reveals::default(),
        })
    }

    /// The same ledger with another idea of how much of the past it keeps.
    pub fn keeping(self, keep: Retention) -> Self {
        Self { keep, ..self }
    }

    /// The same ledger for development: it takes changes of accounts and transactions that nobody signed. Never for a
    /// chain that anybody relies on; no engine but the embedded driver proposes them, and none accepts them.
    pub fn for_development(self) -> Self {
        Self { developed: true, txs: self.txs.for_development(), ..self }
    }

    /// What begins the next block of `proposer`, this node, if it has something to show for the beacon.
    ///
    /// # Errors
    /// When the store fails or what it holds is damaged; a transaction is no cause.
    pub fn beacon_item(&self, proposer: ConsensusAddress) -> Result<Option<Bytes>, Fault> {
        let Some(base) = self.base() else { return Ok(None) };
        Ok(self.reveals.item(&base, Some(proposer))?.map(|item| item.encode()))
    }

    /// From now on what is needed to go back to `height` is kept.
    pub fn pin(&self, height: Option<u64>) {
        *self.pinned.lock().unwrap_or_else(PoisonError::into_inner) = height;
    }

    /// Goes back to the state after block `height`, block by block. What waits is forgotten.
    ///
    /// # Errors
    /// When the state after that block is not kept, or the store fails.
    pub fn rewind(&self, height: u64) -> Result<(), Fault> {
        let rows = history::lowest_height(self.store.reader()?.as_ref(), Table::ChangeSets)?;
        let oldest = rows.map_or(u64::MAX, |first| first.saturating_sub(1));
        if height < oldest && self.head().is_some_and(|head| head.height > height) {
            let why = format!("state of block {height} is not kept, this node has those from block {oldest} on");
            return Err(StoreError::new("go back", why).into());
        }
        self.snapshots.forget_above(height)?;
        let mut pending = self.pending();
        *self.parent.write().unwrap_or_else(PoisonError::into_inner) = None;
        while self.head().is_some_and(|head| head.height > height) {
            rollback::roll_back(self.store.as_ref())?;
            let head = Head::load(self.store.reader()?)?.map(Arc::new);
            self.change_sets.forget_from(head.as_ref().map_or(0, |head| head.height + 1));
            *self.head.write().unwrap_or_else(PoisonError::into_inner) = head;
        }
        *pending = Pending::default();
        drop(pending);
        let mut pool = self.pool();
        *pool = Pool::default();
        if let Some(head) = self.head() {
            pool.turn(head.height, head.next_base_fee(), []);
        }
        Ok(())
    }

    /// The same ledger with snapshots in `folder`, one every `every` blocks (0 makes none).
    pub fn with_snapshots(self, folder: Folder, every: u64) -> Self {
        Self { snapshots: snapshots::Snapshots::new(folder, every), ..self }
    }

    /// The same ledger of a validator that can propose: `secret` is what its beacon chain comes from.
    pub fn with_beacon(self, secret: Secret) -> Self {
        Self { reveals: reveal::Reveals::new(secret), ..self }
    }

    /// Makes the snapshot that is due, if one is. It takes its time and disturbs nobody.
    ///
    /// # Errors
    /// When the store cannot be read, or the folder of snapshots not written.
    pub fn make_due_snapshot(&self) -> Result<Option<Manifest>, StoreError> {
        self.snapshots.make_due()
    }

    /// The state after block `height`, as long as it is kept. It answers everything but proofs.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn state_at(&self, height: u64) -> Result<Option<Arc<Head>>, StoreError> {
        self.state_at_charged(height, |_| Ok(()))
    }

    /// The same; `read` is told the bytes of each row that the state is seen through, and may refuse to go on.
    ///
    /// # Errors
    ///
    /// Reading the store fails, or `read` refuses.
    pub fn state_at_charged<E: From<StoreError>>(
        &self,
        height: u64,
        read: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<Option<Arc<Head>>, E> {
        let Some(head) = self.head().filter(|head| head.height >= height) else { return Ok(None) };
        if head.height == height {
            return Ok(Some(head));
        }
        let past: Arc<dyn Reader> = match archive::first(head.reader.as_ref())?.is_some_and(|first| first <= height + 1)
        {
            true => Arc::new(archive::ArchivedState { now: head.reader.clone(), height }),
            false => match self.change_sets.state_at(head.reader.clone(), head.height, height, read)? {
                Some(past) => Arc::new(past),
                None => return Ok(None),
            },
        };
        Ok(Head::load(past)?.map(Arc::new))
    }

    /// The lowest height whose state is kept.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn oldest_state(&self) -> Result<u64, StoreError> {
        let Some(head) = self.head() else { return Ok(0) };
        let rows = history::lowest_height(head.reader.as_ref(), Table::ChangeSets)?;
        let archived = archive::first(head.reader.as_ref())?;
        let first = [rows, archived].into_iter().flatten().min();
        Ok(first.map_or(head.height, |first| first.saturating_sub(1)))
    }

    /// The engine's name of the chain, if this ledger saw its beginning.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds there is damaged.
    pub fn chain_name(&self) -> Result<Option<String>, StoreError> {
        let name = self.store.reader()?.get(Table::Meta, NAME)?;
        Ok(name.map(|name| String::from_utf8_lossy(&name).into_owned()))
    }

    /// What is committed, once the first block is.
    pub fn head(&self) -> Option<Arc<Head>> {
        self.head.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The block before the last one, if this process saw both. The last header commits to its state, so this is the
    /// newest state that a proof can be of; unlike the states of [`Self::state_at`] it has its tries.
    pub fn parent(&self) -> Option<Arc<Head>> {
        self.parent.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The waiting transactions.
    pub fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody is at the waiting transactions, or this thread would wait for itself.
    #[cfg(test)]
    pub(super) fn pool_is_free(&self) -> bool {
        self.pool.try_lock().is_ok()
    }

    /// What block the next one builds on: committed, or the first state.
    pub(super) fn base(&self) -> Option<Arc<Head>> {
        self.head().or_else(|| self.pending().genesis.as_ref().map(|(head, _)| head.clone()))
    }

    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The decoded form of `bytes`; they are hashed and the sender is recovered once, however often this is asked.
    ///
    /// # Errors
    /// When the bytes are no transaction of this chain, or its signature is none.
    pub fn decode(&self, bytes: &[u8], head: &Head) -> Result<Arc<Tx>, TxError> {
        self.txs.decode(bytes, head.params.chain_id)
    }

    /// How often this process made a transaction of bytes: once for each, whichever doors it came in by.
    pub fn decodings(&self) -> u64 {
        self.txs.decodings()
    }

    /// How often this process executed the transactions of a block: once for each block, unless consensus decided on
    /// another than it had proposed.
    pub fn executions(&self) -> u64 {
        self.executions.load(Ordering::Relaxed)
    }

    pub(super) fn count_execution(&self) {
        self.executions.fetch_add(1, Ordering::Relaxed);
    }
}

/// What an account in `reader` may do next.
///
/// # Errors
/// When the store cannot be read, or what it holds there is damaged.
pub fn standing(reader: &dyn Reader, address: Address) -> Result<Standing, StoreError> {
    let account = crate::state::view::committed_account(reader, address)?;
    Ok(account.as_ref().map_or_else(Standing::default, Standing::from))
}

impl From<&Account> for Standing {
    fn from(account: &Account) -> Self {
        let delegated = account.code_hash != KECCAK256_EMPTY;
        Self { nonce: account.nonce, balance: account.balance, delegated }
    }
}
