//! `eth_simulateV1`: blocks that are only supposed, one after the other on top of a state, with calls, other accounts and
//! other block fields. Nothing of them stays.

use std::sync::Arc;

use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, Header, Receipt, ReceiptEnvelope, TxType,
    constants::EMPTY_WITHDRAWALS,
    proofs::{calculate_receipt_root, calculate_transaction_root},
};
use alloy_eips::{
    BlockId,
    eip2718::Typed2718,
    eip2935::{HISTORY_SERVE_WINDOW, HISTORY_STORAGE_ADDRESS},
    eip4788::BEACON_ROOTS_ADDRESS,
    eip7685::EMPTY_REQUESTS_HASH,
};
use alloy_primitives::{Address, B256, Bloom, Bytes, Log, U256, hex};
use alloy_rpc_types_eth::{BlockOverrides, TransactionRequest};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Backend,
    block::{block_json, tx_json},
    budget::{BLOCK, Budget, VALUE},
    error::{self, RpcError, RpcResult},
    numbers::hex as number,
    params::{List, Params},
    question::{CALL_GAS, Overrides, override_accounts},
    supposed,
};
use crate::{
    block::{Block, TxFacts},
    evm::{
        BlockContext, FORK, Natives, Rule,
        trace::{Supposed, Supposition, suppose},
    },
    ledger::Head,
    state::StateView,
    tx::Tx,
};

/// Blocks in one question, those counted that fill a gap.
const MAX_BLOCKS: u64 = 256;
/// Calls in one block.
const MAX_CALLS: usize = 5_000;
/// Seconds between blocks that say nothing of their time, as with geth.
const SECONDS: u64 = 12;

/// Codes of the specification.
const BASE_FEE_TOO_LOW: i32 = -38012;
const BLOCK_FULL: i32 = -38015;
const NUMBER: i32 = -38020;
const TIME: i32 = -38021;
const LIMIT: i32 = -38026;
const INTERNAL: i32 = -32603;
const MACHINE: i32 = -32015;
const REVERTED: i32 = 3;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    block_state_calls: List<Wanted, 256>,
    #[serde(default)]
    trace_transfers: bool,
    #[serde(default)]
    validation: bool,
    #[serde(default)]
    return_full_transactions: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wanted {
    block_overrides: Option<BlockOverrides>,
    state_overrides: Option<Overrides>,
    calls: List<TransactionRequest, MAX_CALLS>,
}

pub fn simulate(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let payload: RpcResult<Payload> = params.next();
    let payload = payload.map_err(|e| if e.code == error::LIMIT { error::coded(LIMIT, e.message) } else { e })?;
    let at: Option<BlockId> = params.optional_next()?;
    // "header not found" has geth's code here.
    let base = backend
        .state(at, budget)
        .map_err(|e| RpcError { code: if e.code == error::LIMIT { e.code } else { error::SERVER }, ..e })?;
    let blocks = in_order(payload.block_state_calls.0, &base.header)?;
    let whole = base.height == backend.head()?.height;
    let mut simulation = Simulation {
        view: base.view(),
        parent: base.header.clone(),
        parent_hash: base.hash,
        gas: CALL_GAS,
        whole,
        validate: payload.validation,
        transfers: payload.trace_transfers,
        full: payload.return_full_transactions,
        base,
    };
    budget.list(blocks, |budget, block| simulation.block(block, budget))
}

/// Gives each block its number and time, and puts empty ones where numbers are left out.
fn in_order(wanted: Vec<Wanted>, base: &Header) -> RpcResult<Vec<Wanted>> {
    let mut blocks = Vec::new();
    let (mut last, mut time) = (base.number, base.timestamp);
    for mut block in wanted {
        let fields = block.block_overrides.get_or_insert_default();
        let at = match fields.number {
            None => last.saturating_add(1),
            Some(at) => u64::try_from(at).map_err(|_| error::coded(LIMIT, "too many blocks"))?,
        };
        if at <= last {
            return Err(error::coded(NUMBER, format!("block numbers must be in order: {at} <= {last}")));
        }
        if at - base.number > MAX_BLOCKS {
            return Err(error::coded(LIMIT, "too many blocks"));
        }
        for number in last + 1..at {
            time = time.saturating_add(SECONDS);
            let fields =
                BlockOverrides { number: Some(U256::from(number)), time: Some(time), ..BlockOverrides::default() };
            blocks.push(Wanted { block_overrides: Some(fields), ..Wanted::default() });
        }
        fields.number = Some(U256::from(at));
        let wanted_time = fields.time.unwrap_or_else(|| time.saturating_add(SECONDS));
        if wanted_time <= time {
            return Err(error::coded(TIME, format!("block timestamps must be in order: {wanted_time} <= {time}")));
        }
        fields.time = Some(wanted_time);
        (last, time) = (at, wanted_time);
        blocks.push(block);
    }
    Ok(blocks)
}

/// Blocks that are supposed, so far.
struct Simulation {
    view: StateView,
    base: Arc<Head>,
    parent: Header,
    parent_hash: B256,
    /// Gas that is left for all calls.
    gas: u64,
    /// The tries of the state are there, so that roots can be computed.
    whole: bool,
    validate: bool,
    transfers: bool,
    full: bool,
}

/// A block while it grows.
#[derive(Default)]
struct Body {
    gas_used: u64,
    bloom: Bloom,
    txs: Vec<Arc<Tx>>,
    receipts: Vec<ReceiptEnvelope>,
    facts: Vec<TxFacts>,
    calls: Vec<Supposed>,
    logs: u64,
}

impl Simulation {
    fn block(&mut self, wanted: Wanted, budget: &mut Budget) -> RpcResult<()> {
        budget.work(BLOCK)?;
        let fields = wanted.block_overrides.unwrap_or_default();
        let mut header = self.header(&fields)?;
        let context = BlockContext {
            chain_id: self.base.params.chain_id,
            number: header.number,
            time: header.timestamp,
            beneficiary: header.beneficiary,
            gas_limit: header.gas_limit,
            base_fee: header.base_fee_per_gas.unwrap_or_default(),
            random: header.mix_hash,
            spec: FORK,
        };
        let natives = override_accounts(&mut self.view, wanted.state_overrides.unwrap_or_default(), FORK, budget)?;
        self.view.set_block_hash(self.parent.number, self.parent_hash);
        self.open(&header)?;
        let borrowed = budget.borrow()?;
        let mut room = borrowed.bytes();
        let mut body = Body::default();
        for call in wanted.calls.0 {
            let tx = self.transaction(&call, &context, header.gas_limit - body.gas_used)?;
            room = self.call(tx, &context, &natives, room, &mut body, budget)?;
        }
        header.gas_used = body.gas_used;
        header.logs_bloom = body.bloom;
        header.transactions_root =
            calculate_transaction_root(&body.txs.iter().map(|tx| &tx.envelope).collect::<Vec<_>>());
        header.receipts_root = calculate_receipt_root(&body.receipts);
        if self.whole {
            budget.work(VALUE.saturating_mul(self.view.changed() as u64))?;
            header.state_root = self.view.supposed_root().map_err(error::store)?;
            budget.work(0)?;
        }
        let calls = body.calls;
        let block =
            Block { hash: header.hash_slow(), header, txs: body.txs, receipts: body.receipts, facts: body.facts };
        drop(borrowed);
        self.write(&block, &calls, budget)?;
        self.parent_hash = block.hash;
        self.parent = block.header;
        Ok(())
    }

    fn header(&self, fields: &BlockOverrides) -> RpcResult<Header> {
        if fields.block_hash.is_some() || fields.blob_base_fee.is_some_and(|fee| fee != U256::ONE) {
            return Err(error::invalid("hashes of blocks and the price of blobs cannot be overridden"));
        }
        let narrow = |name: &str, value: U256| {
            u64::try_from(value).map_err(|_| error::invalid(format!("{name} of the block is out of range")))
        };
        let parent = &self.parent;
        let base_fee = match fields.base_fee {
            Some(fee) => narrow("base fee", fee)?,
            None if !self.validate => 0,
            None => {
                let fee = parent.base_fee_per_gas.unwrap_or_default();
                self.base.params.fees.next_base_fee(parent.gas_used, fee)
            }
        };
        Ok(Header {
            parent_hash: self.parent_hash,
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            beneficiary: fields.coinbase.unwrap_or(parent.beneficiary),
            difficulty: fields.difficulty.unwrap_or_default(),
            number: narrow("number", fields.number.unwrap_or_default())?,
            gas_limit: fields.gas_limit.unwrap_or(parent.gas_limit),
            timestamp: fields.time.unwrap_or_default(),
            mix_hash: fields.random.unwrap_or_default(),
            base_fee_per_gas: Some(base_fee),
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(fields.beacon_root.unwrap_or_default()),
            requests_hash: Some(EMPTY_REQUESTS_HASH),
            ..Header::default()
        })
    }

    /// What contracts of Ethereum keep of each block, where they are.
    fn open(&mut self, header: &Header) -> RpcResult<()> {
        /// Slots of the contract of EIP-4788 for times; as many for roots follow.
        const BEACON_SLOTS: u64 = 8191;
        if self.view.account(HISTORY_STORAGE_ADDRESS).map_err(error::store)?.is_some() {
            let window = u64::try_from(HISTORY_SERVE_WINDOW).unwrap_or(u64::MAX);
            let slot = U256::from((header.number - 1) % window);
            self.view.set_slot(HISTORY_STORAGE_ADDRESS, slot, header.parent_hash.into());
        }
        if self.view.account(BEACON_ROOTS_ADDRESS).map_err(error::store)?.is_some() {
            let slot = header.timestamp % BEACON_SLOTS;
            let root = header.parent_beacon_block_root.unwrap_or_default();
            self.view.set_slot(BEACON_ROOTS_ADDRESS, U256::from(slot), U256::from(header.timestamp));
            self.view.set_slot(BEACON_ROOTS_ADDRESS, U256::from(slot + BEACON_SLOTS), root.into());
        }
        Ok(())
    }

    /// `call` as a transaction that nobody signed, in a block that has `left` gas left.
    fn transaction(&mut self, call: &TransactionRequest, block: &BlockContext, left: u64) -> RpcResult<Tx> {
        let from = call.from.unwrap_or_default();
        let next = self.view.account(from).map_err(error::store)?.unwrap_or_default().nonce;
        let nonce = call.nonce.unwrap_or(next);
        // As with geth, nonces are looked at before fees.
        if self.validate && nonce != next {
            let (rule, what) = match nonce < next {
                true => (Rule::NonceTooLow, "low"),
                false => (Rule::NonceTooHigh, "high"),
            };
            return Err(refused(rule, format!("nonce too {what}: address {from}, tx: {nonce} state: {next}")));
        }
        if self.validate && nonce == u64::MAX {
            return Err(refused(Rule::Other, format!("nonce has max value: address {from}, nonce: {nonce}")));
        }
        let wanted = call.gas.unwrap_or(left);
        if wanted > left {
            let why = format!("block gas limit reached: remaining: {left}, required: {wanted}");
            return Err(error::coded(BLOCK_FULL, why));
        }
        supposed::transaction(call, block.chain_id, nonce, wanted.min(self.gas))
    }

    /// Executes `tx`; gives the bytes that are left for what it says.
    fn call(
        &mut self,
        tx: Tx,
        block: &BlockContext,
        natives: &Natives,
        room: usize,
        body: &mut Body,
        budget: &mut Budget,
    ) -> RpcResult<usize> {
        let (validate, transfers) = (self.validate, self.transfers);
        let how = Supposition { natives, validate, transfers, first_log: body.logs, room };
        let done = suppose(&mut self.view, block, &tx, &how).map_err(error::fault)?;
        let done = done.map_err(|refusal| refused(refusal.rule, refusal.to_string()))?;
        let used = done.outcome.gas_used;
        budget.work(used.saturating_add(VALUE))?;
        self.gas = self.gas.saturating_sub(used);
        // The transaction stays until the block is written.
        let bytes: usize = done.logs.iter().map(|(_, log)| log_bytes(log)).sum();
        let taken = bytes + 2 * done.outcome.output.len() + tx.bytes.len() * if self.full { 3 } else { 1 } + 500;
        let room = room.checked_sub(taken).filter(|_| !done.too_long);
        let room = room.ok_or_else(|| error::too_large(how.room))?;
        body.gas_used += used;
        body.logs = done.next_log;
        let receipt = Receipt {
            status: done.outcome.success.into(),
            cumulative_gas_used: body.gas_used,
            logs: done.outcome.logs.clone(),
        };
        let receipt = receipt.with_bloom();
        body.bloom.accrue_bloom(&receipt.logs_bloom);
        let kind = TxType::try_from(tx.envelope.ty()).unwrap_or(TxType::Legacy);
        body.receipts.push(ReceiptEnvelope::from_typed(kind, receipt));
        body.facts.push(TxFacts { sender: tx.sender, gas_used: used, contract: Address::ZERO });
        body.txs.push(Arc::new(tx));
        body.calls.push(done);
        Ok(room)
    }

    fn write(&self, block: &Block, calls: &[Supposed], budget: &mut Budget) -> RpcResult<()> {
        let mut head = block_json(block)?.to_string();
        head.pop();
        budget.text(&head)?;
        budget.text(",\"calls\":")?;
        budget.list(calls.iter().enumerate(), |budget, (index, call)| budget.json(&told(block, index, call)))?;
        budget.text(",\"transactions\":")?;
        budget.list(block.txs.iter().enumerate(), |budget, (index, tx)| match self.full {
            true => budget.json(&tx_json(tx, Some((block, index)))?),
            false => budget.json(&tx.hash),
        })?;
        budget.text("}")
    }
}

fn log_bytes(log: &Log) -> usize {
    1_000 + 2 * log.data.data.len()
}

/// What is told of a call.
fn told(block: &Block, index: usize, call: &Supposed) -> Value {
    let logs: Vec<Value> = call
        .logs
        .iter()
        .map(|(number, log)| super::block::log_json(block, index, usize::try_from(*number).unwrap_or(usize::MAX), log))
        .collect();
    let mut out = json!({
        "returnData": if call.outcome.success { call.outcome.output.clone() } else { Bytes::new() },
        "logs": logs,
        "gasUsed": number(call.outcome.gas_used),
        "maxUsedGas": number(call.peak_gas),
        "status": number(u64::from(call.outcome.success)),
    });
    if !call.outcome.success {
        let output = &call.outcome.output;
        out["error"] = match &call.outcome.halt {
            None => json!({ "code": REVERTED, "message": error::revert_words(output),
                "data": hex::encode_prefixed(output) }),
            Some(halt) => json!({ "code": MACHINE,
                "message": call.failure.map_or_else(|| halt.to_string(), str::to_owned) }),
        };
    }
    out
}

/// A transaction that a rule refuses, with the code of the specification.
fn refused(rule: Rule, why: String) -> RpcError {
    let code = match rule {
        Rule::NonceTooLow => -38010,
        Rule::NonceTooHigh => -38011,
        Rule::BaseFee => BASE_FEE_TOO_LOW,
        Rule::IntrinsicGas => -38013,
        Rule::Funds => -38014,
        Rule::SenderIsContract => -38024,
        Rule::InitCodeSize => -38025,
        _ => INTERNAL,
    };
    error::coded(code, why)
}
