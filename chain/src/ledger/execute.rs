//! Executes a block on the state before it: once its transactions, once its roots.

use std::sync::Arc;

use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header, Receipt, ReceiptEnvelope, Transaction as _, TxType,
    proofs::{calculate_receipt_root, ordered_trie_root_encoded},
};
use alloy_eips::{
    eip2718::Typed2718,
    eip2935::{HISTORY_SERVE_WINDOW, HISTORY_STORAGE_ADDRESS},
    eip7685::EMPTY_REQUESTS_HASH,
};
use alloy_primitives::{Address, B64, B256, Bloom, Bytes, U256};

use super::{
    begin_block::BeginBlock,
    change::Change,
    head::{Head, validator_entry, validator_key},
    params::{self, Params},
    reveal,
};
use crate::{
    application::{ChainStart, DecidedBlock, Finalized, Offence, TxResult, Vote},
    beacon::{self, Item},
    block::{Block, TxFacts},
    error::Fault,
    evm::{BlockContext, FORK, Machine, Outcome},
    genesis::{Genesis, credit},
    staking::{self, BlockFacts, StakeError},
    state::StateView,
    store::{Batch, Reader},
    tx::{Tx, TxError},
    validator::ValidatorUpdate,
};

/// Key of the EVM block's hash in the chain's store: it ties transactions and receipts to the application hash.
pub const BLOCK_KEY: &[u8] = b"block";

/// Result codes; see [`TxResult::code`].
const REVERTED: u32 = 1;
const NOT_A_TX: u32 = 2;
const REFUSED: u32 = 3;
const BLOCK_FULL: u32 = 4;

/// Transactions that were not executed, each with the reason.
pub type RefusedTxs = Vec<(Arc<Tx>, String)>;

/// What a block leaves behind.
pub struct Executed {
    /// For the engine.
    pub answer: Finalized,
    /// For the next block. Its reader is still the one before.
    pub head: Head,
    /// For the store.
    pub batch: Batch,
    /// What was not executed, and why: it leaves the pool.
    pub refused: RefusedTxs,
}

/// The state before the first block.
pub fn first_state(genesis: &Genesis, chain: &ChainStart, reader: Arc<dyn Reader>) -> Result<(Head, Batch), Fault> {
    let params = Params::from(genesis);
    let mut view = StateView::new(reader.clone());
    genesis.apply(&mut view)?;
    staking::identify(&mut view, &chain.chain_id, genesis.chain_id)?;
    beacon::state::begin(&mut view, &genesis.beacon, &chain.chain_id, genesis.exported.is_none())?;
    view.set_chain_value(params::KEY, Some(params.encode()));
    for validator in &genesis.validators {
        let (key, value) = validator_entry(validator);
        view.set_chain_value(&key, Some(value));
    }
    let validators = genesis.validators.iter().map(|v| (v.consensus_key.address(), v.clone())).collect();
    let (evm, batch) = view.evm_root()?;
    let header = Header {
        number: genesis.first_height() - 1,
        timestamp: chain.time,
        gas_limit: params.fees.block_gas_limit,
        base_fee_per_gas: Some(params.fees.initial_base_fee),
        state_root: evm,
        ..empty_header()
    };
    let base = Head {
        height: 0,
        app_hash: Default::default(),
        roots: crate::state::StoreRoots { chain: B256::ZERO, evm, ibc: B256::ZERO },
        hash: B256::ZERO,
        header: empty_header(),
        params,
        reader,
        validators: Arc::new(validators),
    };
    let block = Block { hash: header.hash_slow(), header, txs: vec![], receipts: vec![], facts: vec![] };
    seal(&base, view, block, evm, batch)
}

/// A block whose transactions are executed, but whose roots are not computed yet.
pub struct Run {
    /// What it is the execution of: all that it depends on beside the state before it.
    pub block: DecidedBlock,
    item: Option<Item>,
    context: BlockContext,
    view: StateView,
    body: Body,
    results: Vec<TxResult>,
    refused: RefusedTxs,
}

impl Run {
    /// Begins to execute `block`, whose transactions come one by one.
    pub fn begin(base: &Head, block: DecidedBlock) -> Result<Self, Fault> {
        let context = BlockContext {
            chain_id: base.params.chain_id,
            number: block.height,
            time: block.time,
            beneficiary: base.operator(block.proposer),
            gas_limit: base.params.fees.block_gas_limit,
            base_fee: base.next_base_fee(),
            random: beacon::state::random(&mut base.view(), block.height)?,
            spec: FORK,
        };
        let mut view = base.view();
        begin_block(&mut view, base, block.height, block.time, &block.votes, &block.offences)?;
        Ok(Self { block, item: None, context, view, body: Body::default(), results: vec![], refused: vec![] })
    }

    /// Makes `item` the first of the block, before its transactions.
    pub fn show(&mut self, item: Item) {
        self.block.txs.push(item.encode());
        self.results.push(reveal::result(&item));
        self.item = Some(item);
    }

    /// Executes what `fill` gives it.
    pub fn fill<T>(&mut self, fill: impl FnOnce(&mut Filling<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        fill(&mut Filling {
            machine: Machine::new(&mut self.view, &self.context),
            gas_limit: self.context.gas_limit,
            body: &mut self.body,
            txs: &mut self.block.txs,
            results: &mut self.results,
            refused: &mut self.refused,
        })
    }

    /// The state after it.
    pub fn seal(self, base: &Head) -> Result<Executed, Fault> {
        let Self { block, item, context, mut view, body, results, refused } = self;
        let changes = staking::end_block(&mut view).map_err(stake_fault)?;
        let proposer = block.proposer.and_then(|proposer| base.validators.get(&proposer)).map(|v| v.operator);
        beacon::state::end_block(&mut view, block.height, proposer, item)?;
        for validator in &changes {
            let (key, value) = validator_entry(validator);
            view.set_chain_value(&key, Some(value));
        }
        let forgotten = staking::forget(&mut view, block.height, block.time, &changes).map_err(stake_fault)?;
        forgotten.iter().for_each(|key| view.set_chain_value(&validator_key(*key), None));
        let (evm, batch) = view.evm_root()?;
        let sealed = body.block(base, &context, evm);
        let (mut head, mut batch) = seal(base, view, sealed, evm, batch)?;
        BeginBlock::store(&block.votes, &block.offences, item, block.height, &mut batch);
        let updates = changes.iter().map(|v| ValidatorUpdate { key: v.consensus_key, power: v.power }).collect();
        if !changes.is_empty() || !forgotten.is_empty() {
            // Those that left stay known for as long as an offence of theirs can be proven.
            let mut all = base.validators.as_ref().clone();
            all.extend(changes.into_iter().map(|v| (v.consensus_key.address(), v)));
            for key in &forgotten {
                all.remove(&key.address());
            }
            head.validators = Arc::new(all);
        }
        let answer = Finalized { results, validators: updates, app_hash: head.app_hash };
        Ok(Executed { answer, head, batch, refused })
    }
}

/// A block that is being filled.
pub struct Filling<'a> {
    machine: Machine<'a>,
    gas_limit: u64,
    body: &'a mut Body,
    txs: &'a mut Vec<Bytes>,
    results: &'a mut Vec<TxResult>,
    refused: &'a mut RefusedTxs,
}

impl Filling<'_> {
    /// Gas that no transaction has used.
    pub fn gas_left(&self) -> u64 {
        self.gas_limit.saturating_sub(self.body.gas_used)
    }

    /// Executes `tx`. What is not executed leaves no trace.
    pub fn run(&mut self, tx: Result<Arc<Tx>, TxError>) -> Result<TxResult, Fault> {
        self.body.run(&mut self.machine, tx, self.gas_limit)
    }

    /// Makes `bytes`, which gave `result`, the next transaction of the block.
    pub fn take(&mut self, bytes: Bytes, result: TxResult) {
        self.txs.push(bytes);
        self.results.push(result);
    }

    /// Makes `change`, which is `bytes`, the next of the block: a developer wants it.
    pub fn change(&mut self, bytes: Bytes, change: &Change) -> Result<(), Fault> {
        change.apply(self.machine.view())?;
        let result = TxResult { code: 0, reason: String::new(), gas_wanted: 0, gas_used: 0, data: Bytes::new() };
        self.take(bytes, result);
        Ok(())
    }

    /// Executes `tx` and makes it the next of the block, whatever becomes of it: consensus has decided.
    pub fn run_decided(&mut self, bytes: Bytes, tx: Result<Arc<Tx>, TxError>) -> Result<(), Fault> {
        let known = tx.as_ref().ok().cloned();
        let result = self.run(tx)?;
        if let (Some(tx), REFUSED) = (known, result.code) {
            self.refused.push((tx, result.reason.clone()));
        }
        self.take(bytes, result);
        Ok(())
    }
}

/// Keeps the parent's hash where the contract of EIP-2935 serves it, on a chain that has it.
fn remember_parent(view: &mut StateView, base: &Head, height: u64) -> Result<(), Fault> {
    if view.account(HISTORY_STORAGE_ADDRESS)?.is_some() {
        let window = u64::try_from(HISTORY_SERVE_WINDOW).unwrap_or(u64::MAX);
        let slot = U256::from((height - 1) % window);
        view.set_slot(HISTORY_STORAGE_ADDRESS, slot, base.hash.into());
    }
    Ok(())
}

/// What happens in a block before its first transaction.
pub fn begin_block(
    view: &mut StateView,
    base: &Head,
    height: u64,
    time: u64,
    votes: &[Vote],
    offences: &[Offence],
) -> Result<(), Fault> {
    remember_parent(view, base, height)?;
    let facts = BlockFacts { height, time, before: base.header.timestamp, votes, offences, known: &base.validators };
    let made = staking::begin_block(view, &facts).map_err(stake_fault)?;
    Ok(credit(view, staking::ADDRESS, made)?)
}

fn stake_fault(error: StakeError) -> Fault {
    match error {
        StakeError::Store(e) => e.into(),
        StakeError::Refused(why) => Fault::Evm(why.into()),
    }
}

fn seal(base: &Head, mut view: StateView, block: Block, evm: B256, mut batch: Batch) -> Result<(Head, Batch), Fault> {
    view.set_chain_value(BLOCK_KEY, Some(block.hash.to_vec()));
    let height = block.header.number;
    let roots = match block.header.parent_hash.is_zero() {
        true => view.seal_first(height, evm, &mut batch)?,
        false => view.seal(height, evm, &mut batch)?,
    };
    block.store(&mut batch);
    let head = Head {
        height,
        app_hash: roots.app_hash(),
        roots,
        hash: block.hash,
        header: block.header,
        params: base.params.clone(),
        reader: base.reader.clone(),
        validators: base.validators.clone(),
    };
    head.store(&mut batch);
    Ok((head, batch))
}

/// The content of a block while it grows.
#[derive(Default)]
struct Body {
    gas_used: u64,
    bloom: Bloom,
    txs: Vec<Arc<Tx>>,
    receipts: Vec<ReceiptEnvelope>,
    facts: Vec<TxFacts>,
}

impl Body {
    /// Executes one transaction. Whatever it is, it gets a result; only a failing database is a fault.
    fn run(
        &mut self,
        machine: &mut Machine<'_>,
        tx: Result<Arc<Tx>, TxError>,
        gas_limit: u64,
    ) -> Result<TxResult, Fault> {
        let skipped =
            |code, reason: String, gas_wanted| TxResult { code, reason, gas_wanted, gas_used: 0, data: Bytes::new() };
        let tx = match tx {
            Ok(tx) => tx,
            Err(e) => return Ok(skipped(NOT_A_TX, e.to_string(), 0)),
        };
        let wanted = tx.envelope.gas_limit();
        if wanted > gas_limit.saturating_sub(self.gas_used) {
            return Ok(skipped(BLOCK_FULL, "gas limit reached".into(), wanted));
        }
        let outcome = match machine.execute(&tx)? {
            Ok(outcome) => outcome,
            Err(refusal) => return Ok(skipped(REFUSED, refusal.to_string(), wanted)),
        };
        let result = TxResult {
            code: if outcome.success { 0 } else { REVERTED },
            reason: match (&outcome.halt, outcome.success) {
                (Some(halt), _) => halt.to_string(),
                (None, true) => String::new(),
                (None, false) => "execution reverted".into(),
            },
            gas_wanted: wanted,
            gas_used: outcome.gas_used,
            data: outcome.output.clone(),
        };
        self.add(tx, outcome);
        Ok(result)
    }

    fn add(&mut self, tx: Arc<Tx>, outcome: Outcome) {
        self.gas_used = self.gas_used.saturating_add(outcome.gas_used);
        let receipt =
            Receipt { status: outcome.success.into(), cumulative_gas_used: self.gas_used, logs: outcome.logs }
                .with_bloom();
        self.bloom.accrue_bloom(&receipt.logs_bloom);
        let kind = TxType::try_from(tx.envelope.ty()).unwrap_or(TxType::Legacy);
        self.receipts.push(ReceiptEnvelope::from_typed(kind, receipt));
        self.facts.push(TxFacts {
            sender: tx.sender,
            gas_used: outcome.gas_used,
            contract: outcome.contract.unwrap_or(Address::ZERO),
        });
        self.txs.push(tx);
    }

    fn block(self, base: &Head, context: &BlockContext, state_root: B256) -> Block {
        let txs: Vec<&Bytes> = self.txs.iter().map(|tx| &tx.bytes).collect();
        let header = Header {
            parent_hash: base.hash,
            beneficiary: context.beneficiary,
            state_root,
            transactions_root: ordered_trie_root_encoded(&txs),
            receipts_root: calculate_receipt_root(&self.receipts),
            logs_bloom: self.bloom,
            number: context.number,
            gas_limit: context.gas_limit,
            gas_used: self.gas_used,
            timestamp: context.time,
            mix_hash: context.random,
            base_fee_per_gas: Some(context.base_fee),
            ..empty_header()
        };
        Block { hash: header.hash_slow(), header, txs: self.txs, receipts: self.receipts, facts: self.facts }
    }
}

/// A header with the fields of the fork that this chain leaves empty.
fn empty_header() -> Header {
    Header {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        difficulty: U256::ZERO,
        nonce: B64::ZERO,
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}
