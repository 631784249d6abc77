//! `debug_trace…`: executions again, watched by a tracer.

use std::sync::Arc;

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::B256;
use alloy_rpc_types_eth::{BlockOverrides, TransactionRequest};
use jsonrpsee::{core::RpcResult, types::Params};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Backend, block, error,
    question::{Overrides, Question},
};
use crate::{
    block::Block,
    evm::{
        BlockContext,
        trace::{self as tracing, CallOptions, PrestateOptions, StepOptions, Subject, Tracer},
    },
    state::StateView,
    tx::Tx,
};

/// Bytes of one answer. The server refuses longer ones anyway; here the work stops before.
const MAX_BYTES: usize = 45 << 20;

/// What tools send along. Unknown fields (timeouts, number of blocks to re-execute) are of no concern here.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Options {
    tracer: Option<String>,
    tracer_config: Option<TracerConfig>,
    disable_stack: bool,
    disable_storage: bool,
    enable_memory: bool,
    enable_return_data: bool,
    limit: u64,
    state_overrides: Option<Overrides>,
    block_overrides: Option<BlockOverrides>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TracerConfig {
    only_top_call: bool,
    with_log: bool,
    diff_mode: bool,
    disable_code: bool,
    disable_storage: bool,
}

impl Options {
    fn tracer(&self) -> RpcResult<Tracer> {
        let default = TracerConfig::default();
        let config = self.tracer_config.as_ref().unwrap_or(&default);
        Ok(match self.tracer.as_deref() {
            None | Some("" | "structLogger") => Tracer::Steps(StepOptions {
                disable_stack: self.disable_stack,
                disable_storage: self.disable_storage,
                enable_memory: self.enable_memory,
                enable_return_data: self.enable_return_data,
                limit: self.limit,
            }),
            Some("callTracer") => {
                Tracer::Calls(CallOptions { only_top_call: config.only_top_call, with_log: config.with_log })
            }
            Some("prestateTracer") => Tracer::Prestate(PrestateOptions {
                diff_mode: config.diff_mode,
                disable_code: config.disable_code,
                disable_storage: config.disable_storage,
            }),
            Some("noopTracer") => Tracer::Noop,
            Some(other) => {
                let known = "callTracer, prestateTracer, noopTracer and, without a name, the struct logger";
                return Err(error::server(format!("tracer {other:?} not found; known are {known}")));
            }
        })
    }
}

pub fn transaction(backend: &Backend, params: Params<'_>) -> RpcResult<Box<RawValue>> {
    let mut params = params.sequence();
    let (hash, options): (B256, Option<Options>) = (params.next()?, params.optional_next()?);
    let tracer = options.unwrap_or_default().tracer()?;
    let (block, index) = block::find(backend, hash)?.ok_or_else(|| error::server("transaction not found"))?;
    let mut replay = Replay::begin(backend, &block)?;
    for tx in block.txs.iter().take(index) {
        replay.next(tx, &Tracer::Noop, MAX_BYTES)?;
    }
    let tx = block.txs.get(index).ok_or_else(|| error::server("transaction not found"))?;
    answer(replay.next(tx, &tracer, MAX_BYTES)?)
}

pub fn block_by_number(backend: &Backend, params: Params<'_>) -> RpcResult<Box<RawValue>> {
    let mut params = params.sequence();
    let (tag, options): (BlockNumberOrTag, Option<Options>) = (params.next()?, params.optional_next()?);
    let block = backend.block(tag.into())?;
    whole(backend, &block.ok_or_else(|| error::server(format!("block {tag} not found")))?, options)
}

pub fn block_by_hash(backend: &Backend, params: Params<'_>) -> RpcResult<Box<RawValue>> {
    let mut params = params.sequence();
    let (hash, options): (B256, Option<Options>) = (params.next()?, params.optional_next()?);
    let block = backend.block(hash.into())?;
    whole(backend, &block.ok_or_else(|| error::server(format!("block {hash} not found")))?, options)
}

fn whole(backend: &Backend, block: &Block, options: Option<Options>) -> RpcResult<Box<RawValue>> {
    let tracer = options.unwrap_or_default().tracer()?;
    let mut replay = Replay::begin(backend, block)?;
    let mut all = String::from("[");
    for (index, tx) in block.txs.iter().enumerate() {
        let seen = replay.next(tx, &tracer, MAX_BYTES.saturating_sub(all.len()))?;
        let comma = if index > 0 { "," } else { "" };
        all.push_str(&format!(r#"{comma}{{"txHash":"{}","result":{seen}}}"#, tx.hash));
    }
    all.push(']');
    answer(all)
}

pub fn call(backend: &Backend, params: Params<'_>) -> RpcResult<Box<RawValue>> {
    let mut params = params.sequence();
    let (request, at): (TransactionRequest, Option<BlockId>) = (params.next()?, params.optional_next()?);
    let mut options: Options = params.optional_next()?.unwrap_or_default();
    let tracer = options.tracer()?;
    let (state, block) = (options.state_overrides.take(), options.block_overrides.take());
    let mut question = Question::new(backend, &request, at, state, block)?;
    let subject = Subject::Call(&question.call);
    let traced = tracing::trace(&mut question.view, &question.block, subject, &tracer, MAX_BYTES, 0);
    let traced = traced.map_err(error::fault)?.map_err(|refusal| error::server(refusal.0))?;
    answer(traced.seen.ok_or_else(too_long)?)
}

/// A block that is executed again.
struct Replay {
    view: StateView,
    context: BlockContext,
    logs: usize,
}

impl Replay {
    fn begin(backend: &Backend, block: &Block) -> RpcResult<Self> {
        if block.header.number == 0 {
            return Err(error::server("genesis is not traceable"));
        }
        let opened = backend.ledger.opened(block).map_err(error::fault)?;
        let (view, context) = opened.ok_or_else(|| {
            error::server(format!(
                "required historical state unavailable: this node does not keep the state before block {}",
                block.header.number
            ))
        })?;
        Ok(Self { view, context, logs: 0 })
    }

    fn next(&mut self, tx: &Arc<Tx>, tracer: &Tracer, budget: usize) -> RpcResult<String> {
        let traced = tracing::trace(&mut self.view, &self.context, Subject::Tx(tx), tracer, budget, self.logs);
        let traced = traced
            .map_err(error::fault)?
            .map_err(|refusal| error::server(format!("executing transaction {} again: {}", tx.hash, refusal.0)))?;
        self.logs += traced.outcome.logs.len();
        traced.seen.ok_or_else(too_long)
    }
}

fn too_long() -> jsonrpsee::types::ErrorObjectOwned {
    error::limit(format!(
        "the trace is longer than {MAX_BYTES} bytes: ask for less (disableStack, disableStorage, limit, onlyTopCall)"
    ))
}

fn answer(text: String) -> RpcResult<Box<RawValue>> {
    RawValue::from_string(text).map_err(|e| error::server(format!("writing the trace: {e}")))
}
