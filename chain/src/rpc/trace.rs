//! `debug_trace…`: executions again, watched by a tracer.

use std::{collections::BTreeMap, sync::Arc};

use alloy_eips::{BlockId, BlockNumberOrTag};
use alloy_primitives::B256;
use alloy_rpc_types_eth::{BlockOverrides, TransactionRequest};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{
    Backend,
    budget::{BLOCK, Borrowed, Budget},
    error::{self, RpcError, RpcResult},
    params::Params,
    question::{Overrides, Question},
};
use crate::{
    block::Block,
    evm::{
        BlockContext, Natives,
        trace::{self as tracing, CallOptions, FlatOptions, Place, PrestateOptions, StepOptions, Subject, Tracer},
    },
    state::StateView,
    tx::Tx,
};

/// What tools send along. Unknown fields (timeouts, number of blocks to re-execute) are of no concern here.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Options {
    tracer: Option<String>,
    tracer_config: Option<Box<RawValue>>,
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
    convert_parity_errors: bool,
    include_precompiles: bool,
}

/// Tracers at once; each executes again.
const MAX_TRACERS: usize = 8;

impl Options {
    fn tracer(&self) -> RpcResult<Tracer> {
        match self.tracer.as_deref() {
            None | Some("" | "structLogger") => Ok(Tracer::Steps(StepOptions {
                disable_stack: self.disable_stack,
                disable_storage: self.disable_storage,
                enable_memory: self.enable_memory,
                enable_return_data: self.enable_return_data,
                limit: self.limit,
            })),
            Some(name) => named(name, self.tracer_config.as_deref()),
        }
    }
}

fn named(name: &str, config: Option<&RawValue>) -> RpcResult<Tracer> {
    if name == "muxTracer" {
        let inner: BTreeMap<String, Box<RawValue>> = configured(name, config)?;
        if inner.len() > MAX_TRACERS || inner.contains_key(name) {
            return Err(error::invalid(format!("muxTracer takes {MAX_TRACERS} other tracers at most")));
        }
        let inner = inner.into_iter().map(|(name, config)| Ok((name.clone(), named(&name, Some(&config))?)));
        return Ok(Tracer::Mux(inner.collect::<RpcResult<_>>()?));
    }
    let config: TracerConfig = configured(name, config)?;
    Ok(match name {
        "callTracer" => Tracer::Calls(CallOptions { only_top_call: config.only_top_call, with_log: config.with_log }),
        "flatCallTracer" => Tracer::Flat(FlatOptions {
            convert_parity_errors: config.convert_parity_errors,
            include_precompiles: config.include_precompiles,
        }),
        "prestateTracer" => Tracer::Prestate(PrestateOptions {
            diff_mode: config.diff_mode,
            disable_code: config.disable_code,
            disable_storage: config.disable_storage,
        }),
        "4byteTracer" => Tracer::Selectors,
        "noopTracer" => Tracer::Noop,
        other => {
            let known = "callTracer, flatCallTracer, prestateTracer, 4byteTracer, muxTracer, noopTracer and, without a \
                         name, the struct logger";
            return Err(error::server(format!("tracer {other:?} not found; known are {known}")));
        }
    })
}

fn configured<T: DeserializeOwned + Default>(name: &str, config: Option<&RawValue>) -> RpcResult<T> {
    match config.map(RawValue::get) {
        None | Some("null") => Ok(T::default()),
        Some(text) => serde_json::from_str(text).map_err(|e| error::invalid(format!("tracerConfig of {name}: {e}"))),
    }
}

pub fn transaction(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let (hash, options): (B256, Option<Options>) = (params.next()?, params.optional_next()?);
    let tracer = options.unwrap_or_default().tracer()?;
    let (block, index) = backend.find(hash)?.ok_or_else(|| error::server("transaction not found"))?;
    let mut replay = Replay::begin(backend, &block, budget)?;
    for tx in block.txs.iter().take(index) {
        replay.next(tx, &Tracer::Noop, budget)?;
    }
    let tx = block.txs.get(index).ok_or_else(|| error::server("transaction not found"))?;
    let seen = replay.next(tx, &tracer, budget)?;
    budget.text(&seen)
}

pub fn block_by_number(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let (tag, options): (BlockNumberOrTag, Option<Options>) = (params.next()?, params.optional_next()?);
    let block = backend.block(tag.into(), budget)?;
    whole(backend, &block.ok_or_else(|| error::server(format!("block {tag} not found")))?, options, budget)
}

pub fn block_by_hash(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let (hash, options): (B256, Option<Options>) = (params.next()?, params.optional_next()?);
    let block = backend.block(hash.into(), budget)?;
    whole(backend, &block.ok_or_else(|| error::server(format!("block {hash} not found")))?, options, budget)
}

fn whole(backend: &Backend, block: &Block, options: Option<Options>, budget: &mut Budget) -> RpcResult<()> {
    let tracer = options.unwrap_or_default().tracer()?;
    let mut replay = Replay::begin(backend, block, budget)?;
    budget.list(&block.txs, |budget, tx| {
        let seen = replay.next(tx, &tracer, budget)?;
        budget.text(&format!(r#"{{"txHash":"{}","result":"#, tx.hash))?;
        budget.text(&seen)?;
        budget.text("}")
    })
}

pub fn call(backend: &Backend, params: Params<'_>, budget: &mut Budget) -> RpcResult<()> {
    let mut params = params.sequence();
    let (request, at): (TransactionRequest, Option<BlockId>) = (params.next()?, params.optional_next()?);
    let mut options: Options = params.optional_next()?.unwrap_or_default();
    let tracer = options.tracer()?;
    let (state, block) = (options.state_overrides.take(), options.block_overrides.take());
    let mut question = Question::new(backend, &request, at, state, block, budget)?;
    let subject = Subject::Call(&question.call);
    let place = Place { number: question.block.number, ..Place::default() };
    let borrowed = budget.borrow()?;
    let traced = tracing::trace(
        &mut question.view,
        &question.block,
        subject,
        &tracer,
        borrowed.bytes(),
        &place,
        &question.natives,
    );
    let traced = traced.map_err(error::fault)?.map_err(|refusal| error::server(refusal.to_string()))?;
    budget.work(spent(&tracer, traced.outcome.gas_used))?;
    let seen = traced.seen.ok_or_else(|| too_long(borrowed.bytes()))?;
    drop(borrowed);
    budget.text(&seen)
}

/// What a trace costs: an execution for each tracer.
fn spent(tracer: &Tracer, gas: u64) -> u64 {
    match tracer {
        Tracer::Mux(inner) => gas.saturating_mul(inner.len() as u64 + 1),
        _ => gas,
    }
}

/// A block that is executed again.
struct Replay {
    view: StateView,
    context: BlockContext,
    place: Place,
}

impl Replay {
    fn begin(backend: &Backend, block: &Block, budget: &mut Budget) -> RpcResult<Self> {
        if block.header.number == 0 {
            return Err(error::server("genesis is not traceable"));
        }
        budget.work(BLOCK)?;
        let opened = backend.ledger.replay(block).map_err(error::fault)?;
        let (view, context) = opened.ok_or_else(|| {
            error::server(format!(
                "required historical state unavailable: this node does not keep the state before block {}",
                block.header.number
            ))
        })?;
        let place = Place { block_hash: Some(block.hash), number: block.header.number, index: 0, first_log: 0 };
        Ok(Self { view, context, place })
    }

    fn next(&mut self, tx: &Arc<Tx>, tracer: &Tracer, budget: &mut Budget) -> RpcResult<String> {
        let borrowed = match tracer {
            Tracer::Noop => None,
            _ => Some(budget.borrow()?),
        };
        let room = borrowed.as_ref().map_or(budget.room(), Borrowed::bytes);
        let subject = Subject::Tx(tx);
        let traced =
            tracing::trace(&mut self.view, &self.context, subject, tracer, room, &self.place, &Natives::default());
        let traced = traced
            .map_err(error::fault)?
            .map_err(|refusal| error::server(format!("executing transaction {} again: {}", tx.hash, refusal)))?;
        budget.work(spent(tracer, traced.outcome.gas_used))?;
        self.place.first_log += traced.outcome.logs.len();
        self.place.index += 1;
        traced.seen.ok_or_else(|| too_long(room))
    }
}

fn too_long(room: usize) -> RpcError {
    error::limit(format!(
        "the trace is longer than the {room} bytes that are left for it: ask for less (disableStack, disableStorage, \
         limit, onlyTopCall)"
    ))
}
