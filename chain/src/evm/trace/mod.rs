//! Watches an execution: which calls it makes, what each step does, which state it touches. Answers are JSON text,
//! written while the machine runs and never longer than a budget.

mod access;
mod calls;
mod failure;
mod flat;
mod place;
mod prestate;
mod selectors;
mod steps;
mod transfers;
mod watch;

use revm::inspector::NoOpInspector;

use self::watch::watch;
pub use self::{
    access::access_list,
    calls::CallOptions,
    flat::FlatOptions,
    place::Place,
    prestate::PrestateOptions,
    steps::StepOptions,
    transfers::{Supposed, Supposition, suppose},
    watch::Subject,
};
use super::{
    BlockContext, Outcome,
    provider::{Natives, ethereum_contracts},
};
use crate::{error::Fault, state::StateView};

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

/// An execution that was watched.
pub struct Traced {
    /// What it did.
    pub outcome: Outcome,
    /// What was seen, as JSON; nothing if it is longer than the budget.
    pub seen: Option<String>,
}

/// Executes `subject` on `view` inside `block` and watches it with `tracer`, which writes `budget` bytes at most.
/// With several tracers the subject is executed once for each of them, on the same state.
///
/// # Errors
/// When the store fails; a subject that cannot be executed is the inner error.
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
