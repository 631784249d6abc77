//! What a gate is: one operator of the graph on shares, as its three parties see it. Each is a file in `gates/`.
//!
//! A gate is told the shapes that it works on when it is made, and finds everything else in a context: the helper's has
//! both evaluators' masks and writes corrections, an evaluator's has its operands, its masks, what it was dealt, and
//! rounds. So a gate can be run again by itself, from seeds, operands and the peer's bytes.

use std::future::{Future, ready};
use std::pin::Pin;

use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::prepare_context::PrepareContext;
use crate::ring::secret::Secret;

/// A coroutine that deals; it pauses where a chunk can be handed out.
pub(crate) type Deals<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// A coroutine that evaluates, and gives the own share of the result; it pauses where it opens something to the peer.
pub(crate) type Evaluates<'a> = Pin<Box<dyn Future<Output = Vec<u32>> + Send + 'a>>;

/// In which form a gate reads its operands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Additive shares, which may lack a deficit.
    Deficient,
    /// Complete additive shares.
    Shares,
    /// The value under a mask.
    Masked,
}

/// What a gate costs, from its shapes alone. Bytes and rounds are exact, `scratch` is a bound.
#[derive(Clone, Copy, Default)]
pub(crate) struct GateCost {
    /// Bytes that the helper deals to the second evaluator.
    pub(crate) corrections: u64,
    /// Bytes that each evaluator prepares by itself.
    pub(crate) prepared: u64,
    /// Rounds between the evaluators.
    pub(crate) rounds: u64,
    /// Multiplications of one evaluator. What is only moved, added or compared is counted by the plan's cost.
    pub(crate) products: u64,
    /// Bytes that evaluating or dealing claims for a while, besides operands and result.
    pub(crate) scratch: u64,
    /// Bytes of the gate in a plan, beyond its place.
    pub(crate) plan: u64,
}

/// Bytes of scratch for each element of a gate with masks and comparisons.
pub(crate) const MASKED_SCRATCH: u64 = 40;

/// Bytes of scratch for each element of a gate that only moves and adds.
pub(crate) const LOCAL_SCRATCH: u64 = 8;

/// One operator on shares.
pub(crate) trait Gate: Send + Sync {
    /// In which form it reads its operands, all of them.
    fn reads(&self) -> Form;

    /// What it costs.
    fn cost(&self) -> GateCost;

    /// Whether the shares of its result lack a deficit, if an operand's do.
    fn lacks(&self, _operand_lacks: bool) -> bool {
        false
    }

    /// The helper's part: deals exactly as many bytes as the gate costs.
    fn deal<'a>(&'a self, _context: &'a mut DealContext<'_>) -> Deals<'a> {
        Box::pin(ready(()))
    }

    /// What the shares of its result lack, which the helper knows; asked where [`Gate::lacks`] says so.
    fn deficit(&self, _context: &DealContext<'_>) -> Vec<u32> {
        Vec::new()
    }

    /// What an evaluator can compute ahead of the job: exactly as many bytes as the gate costs.
    fn prepare(&self, _context: &PrepareContext<'_>) -> Secret<u32> {
        Secret::default()
    }

    /// An evaluator's part.
    fn evaluate<'a>(&'a self, context: &'a mut EvalContext<'_>) -> Evaluates<'a>;
}
