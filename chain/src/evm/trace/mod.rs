//! Watches an execution: which calls it makes, what each step does, which state it touches. Answers are JSON text,
//! written while the machine runs and never longer than a budget.

mod access;
mod calls;
mod flat;
mod prestate;
mod selectors;
mod steps;
mod transfers;
mod words;

use alloy_primitives::{B256, Bytes};
use revm::{
    DatabaseCommit, ExecuteEvm, InspectEvm, Inspector, MainBuilder, context::TxEnv, context_interface::ContextTr,
    inspector::NoOpInspector, state::EvmState as Changes,
};

pub use self::{
    access::access_list,
    calls::CallOptions,
    flat::FlatOptions,
    prestate::PrestateOptions,
    steps::StepOptions,
    transfers::{Supposed, Supposition, suppose},
};
use super::{
    BlockContext, Call, CallResult, Outcome,
    machine::{Ctx, Rules, call_env, context, settle, tx_env},
    provider::{Natives, Precompiles, ethereum_contracts},
};
use crate::{error::Fault, state::StateView, tx::Tx};

/// What is executed.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    /// A transaction of the block; its effects stay in the view.
    Tx(&'a Tx),
    /// A question; the view stays as it is.
    Call(&'a Call),
}

/// What is watched.
#[derive(Clone, Debug)]
pub enum Tracer {
    /// Each step of the machine.
    Steps(StepOptions),
    /// Each call and creation.
    Calls(CallOptions),
    /// The state that is touched, before or with its changes.
    Prestate(PrestateOptions),
    /// Each call and creation, one after the other.
    Flat(FlatOptions),
    /// Which functions are called.
    Selectors,
    /// Several of these by name, on the same execution.
    Mux(Vec<(String, Tracer)>),
    /// Nothing.
    Noop,
}

/// Where in the chain an execution is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// The block, if it is one of the chain's.
    pub block_hash: Option<B256>,
    /// Its height.
    pub number: u64,
    /// The index of the transaction in it.
    pub index: usize,
    /// How many logs the block has before.
    pub first_log: usize,
}

/// An execution that was watched.
pub struct Traced {
    /// What it did.
    pub outcome: Outcome,
    /// What was seen, as JSON; nothing if it is longer than the budget.
    pub seen: Option<String>,
}

/// Executes `subject` on `view` inside `block` and watches it with `tracer`, which writes `budget` bytes at most.
/// With several tracers the subject is executed once for each of them, on the same state.
pub fn trace(
    view: &mut StateView,
    block: &BlockContext,
    subject: Subject<'_>,
    tracer: &Tracer,
    budget: usize,
    place: &Place,
    natives: &Natives,
) -> Result<Result<Traced, super::Refusal>, Fault> {
    let hash = match subject {
        Subject::Tx(tx) => Some(tx.hash),
        Subject::Call(_) => None,
    };
    let (result, seen) = match tracer {
        Tracer::Steps(options) => {
            let watched = watch(view, block, natives, subject, steps::Steps::new(*options, budget))?;
            let seen = watched.inspector.finish(watched.result.as_ref().ok());
            (watched.result, seen)
        }
        Tracer::Calls(options) => {
            let watched = watch(view, block, natives, subject, calls::Calls::new(*options, budget, place.first_log))?;
            let used = watched.result.as_ref().map_or(0, |outcome| outcome.gas_used);
            let seen = watched.inspector.finish(used);
            (watched.result, seen)
        }
        Tracer::Prestate(options) => {
            // What was there before is read from a copy of the view: the effects go into the view itself.
            let mut before = view.clone();
            let watched = watch(view, block, natives, subject, NoOpInspector)?;
            let seen = prestate::write(&mut before, &watched.changes, *options, budget)?;
            (watched.result, seen)
        }
        Tracer::Flat(options) => {
            let watched = watch(
                view,
                block,
                natives,
                subject,
                flat::Flat::new(*options, budget, ethereum_contracts(block.spec)),
            )?;
            let used = watched.result.as_ref().map_or(0, |outcome| outcome.gas_used);
            let seen = watched.inspector.finish(used, hash, place);
            (watched.result, seen)
        }
        Tracer::Selectors => {
            let watched = watch(
                view,
                block,
                natives,
                subject,
                selectors::Selectors::new(budget, ethereum_contracts(block.spec)),
            )?;
            let seen = watched.inspector.finish();
            (watched.result, seen)
        }
        Tracer::Mux(tracers) => return mux(view, block, subject, tracers, budget, place, natives),
        Tracer::Noop => (watch(view, block, natives, subject, NoOpInspector)?.result, Some("{}".into())),
    };
    Ok(result.map(|outcome| Traced { outcome, seen }))
}

fn mux(
    view: &mut StateView,
    block: &BlockContext,
    subject: Subject<'_>,
    tracers: &[(String, Tracer)],
    budget: usize,
    place: &Place,
    natives: &Natives,
) -> Result<Result<Traced, super::Refusal>, Fault> {
    let mut all = String::from("{");
    let mut long = false;
    for (index, (name, tracer)) in tracers.iter().enumerate() {
        let mut before = view.clone();
        match trace(&mut before, block, subject, tracer, budget.saturating_sub(all.len()), place, natives)? {
            Err(refusal) => return Ok(Err(refusal)),
            Ok(Traced { seen: Some(seen), .. }) => {
                let comma = if index > 0 { "," } else { "" };
                all.push_str(&format!("{comma}{}:{seen}", serde_json::Value::from(name.as_str())));
            }
            Ok(Traced { seen: None, .. }) => long = true,
        }
        long |= all.len() >= budget;
        if long {
            break;
        }
    }
    all.push('}');
    // The effects go into the view itself at the end.
    let result = watch(view, block, natives, subject, NoOpInspector)?.result;
    Ok(result.map(|outcome| Traced { outcome, seen: (!long).then_some(all) }))
}

struct Watched<I> {
    inspector: I,
    result: CallResult,
    changes: Changes,
}

fn watch<'a, I>(
    view: &'a mut StateView,
    block: &BlockContext,
    natives: &Natives,
    subject: Subject<'_>,
    inspector: I,
) -> Result<Watched<I>, Fault>
where
    I: Inspector<Ctx<'a>>,
{
    let (rules, env): (Rules, TxEnv) = match subject {
        Subject::Tx(tx) => (Rules::Block, tx_env(tx.sender, &tx.envelope)),
        Subject::Call(call) => (Rules::Question, call_env(call)),
    };
    let sender = env.caller;
    let mut context = context(view, block, rules);
    if let Subject::Tx(tx) = subject {
        context.cfg.disable_eip3607 = tx.is_unsigned();
    }
    let mut evm = context
        .build_mainnet_with_inspector(inspector)
        .with_precompiles(Precompiles::with(block.spec, natives.clone()));
    let result = evm.inspect_one_tx(env);
    let changes = evm.finalize();
    let result = settle(result, sender, block.base_fee)?;
    if matches!(subject, Subject::Tx(_)) && result.is_ok() {
        evm.ctx.db_mut().commit(changes.clone());
    }
    evm.ctx.db_mut().failure()?;
    Ok(Watched { inspector: evm.inspector, result, changes })
}

/// Bytes as JSON.
fn hex(bytes: &Bytes) -> String {
    format!("\"{}\"", alloy_primitives::hex::encode_prefixed(bytes))
}
