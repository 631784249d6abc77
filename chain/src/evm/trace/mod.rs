//! Watches an execution: which calls it makes, what each step does, which state it touches. Answers are JSON text,
//! written while the machine runs and never longer than a budget.

mod access;
mod calls;
mod prestate;
mod steps;
mod words;

use alloy_primitives::Bytes;
use revm::{
    DatabaseCommit, ExecuteEvm, InspectEvm, Inspector, MainBuilder, context::TxEnv, context_interface::ContextTr,
    inspector::NoOpInspector, state::EvmState as Changes,
};

pub use self::{access::access_list, calls::CallOptions, prestate::PrestateOptions, steps::StepOptions};
use super::{
    BlockContext, Call, CallResult, Outcome,
    machine::{Ctx, Rules, call_env, context, settle, tx_env},
    provider::Precompiles,
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
#[derive(Clone, Copy, Debug)]
pub enum Tracer {
    /// Each step of the machine.
    Steps(StepOptions),
    /// Each call and creation.
    Calls(CallOptions),
    /// The state that is touched, before or with its changes.
    Prestate(PrestateOptions),
    /// Nothing.
    Noop,
}

/// An execution that was watched.
pub struct Traced {
    /// What it did.
    pub outcome: Outcome,
    /// What was seen, as JSON; nothing if it is longer than the budget.
    pub seen: Option<String>,
}

/// Executes `subject` on `view` inside `block` and watches it with `tracer`, which writes `budget` bytes at most.
/// `first_log` is how many logs the block has before.
pub fn trace(
    view: &mut StateView,
    block: &BlockContext,
    subject: Subject<'_>,
    tracer: &Tracer,
    budget: usize,
    first_log: usize,
) -> Result<Result<Traced, super::Refusal>, Fault> {
    let (result, seen) = match tracer {
        Tracer::Steps(options) => {
            let watched = watch(view, block, subject, steps::Steps::new(*options, budget))?;
            let seen = watched.inspector.finish(watched.result.as_ref().ok());
            (watched.result, seen)
        }
        Tracer::Calls(options) => {
            let watched = watch(view, block, subject, calls::Calls::new(*options, budget, first_log))?;
            let used = watched.result.as_ref().map_or(0, |outcome| outcome.gas_used);
            let seen = watched.inspector.finish(used);
            (watched.result, seen)
        }
        Tracer::Prestate(options) => {
            // What was there before is read from a copy of the view: the effects go into the view itself.
            let mut before = view.clone();
            let watched = watch(view, block, subject, NoOpInspector)?;
            let seen = prestate::write(&mut before, &watched.changes, *options)?;
            (watched.result, Some(seen).filter(|seen| seen.len() <= budget))
        }
        Tracer::Noop => (watch(view, block, subject, NoOpInspector)?.result, Some("{}".into())),
    };
    Ok(result.map(|outcome| Traced { outcome, seen }))
}

struct Watched<I> {
    inspector: I,
    result: CallResult,
    changes: Changes,
}

fn watch<'a, I>(
    view: &'a mut StateView,
    block: &BlockContext,
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
    let mut evm = context(view, block, rules)
        .build_mainnet_with_inspector(inspector)
        .with_precompiles(Precompiles::new(block.spec));
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
