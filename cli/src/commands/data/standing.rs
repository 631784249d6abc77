//! Where a budget of this machine stands, and what a job takes of it.

use sahara_market::budget::{ORDERS, Refusal};
use sahara_privacy::budget::{Book, BudgetError, Cost, Words};
use serde_json::{Value, json};

use super::super::Context;
use super::dataset::budget_error;
use super::query::plain;
use crate::error::{Error, Result};

/// What a job takes of a budget of this machine, in nano of ε.
#[derive(Clone, Copy)]
pub struct Taken {
    before: u128,
    after: u128,
    /// What a budget's first job takes that costs nothing.
    once: u128,
}

impl Taken {
    /// With whatever else is reserved.
    pub fn of(book: &Book, cost: &Cost) -> Self {
        let grant = book.grant();
        let nothing = Cost { costs: [1; ORDERS], failure: 0 };
        let once = nothing.epsilon(grant.log_inverse_delta, grant.orders);
        Self { before: book.standing().with_reserved, after: book.with(cost), once }
    }

    /// As ε.
    pub fn epsilon(&self) -> f64 {
        nano(self.after.saturating_sub(self.before))
    }

    /// Why it is more than the job costs by itself, where it is.
    pub fn why(&self) -> Option<String> {
        (self.before == 0).then(|| {
            format!(
                "A budget adds up divergences and turns their sum into ε at its δ. That takes {:.4} once, with the first job, \
                 whatever the job costs.",
                nano(self.once)
            )
        })
    }

    /// As JSON: what it takes, and what of that is taken once.
    pub fn json(&self) -> Value {
        json!({"epsilon": self.epsilon(), "once": if self.before == 0 { nano(self.once) } else { 0.0 }})
    }
}

/// Where a budget stands, as JSON: ε in its owner's words.
pub fn standing(book: &Book) -> Value {
    let (standing, words) = (book.standing(), Words::said(&book.grant()));
    let spent = nano(standing.spent);
    json!({
        "epsilon": words.epsilon,
        "delta": words.delta,
        "spent": spent,
        "left": (words.epsilon - spent).max(0.0),
        "neighbours": book.unit(),
        "failure_spent": standing.failure as f64 / 1e18,
        "failure_granted": standing.failure_granted as f64 / 1e18,
    })
}

/// As ε.
pub fn nano(value: u128) -> f64 {
    value as f64 / 1e9
}

/// What a job would take.
pub fn tried(name: &str, book: &Book, cost: &Cost, context: &mut Context) -> Result<()> {
    let (with, taken) = (nano(book.with(cost)), Taken::of(book, cost));
    if context.out.json() {
        let budget = standing(book);
        return context
            .out
            .value(&json!({"dataset": name, "budget": budget, "spent_with_this": with, "taken": taken.json()}));
    }
    let granted = nano(book.standing().granted.into());
    let fits = if with <= granted { "" } else { ", which is refused" };
    context.out.folded(
        "",
        &format!(
            "{name}: ε would be {with:.4} of {}, {:.4} of it by this{fits}; nothing was spent",
            plain(granted),
            taken.epsilon()
        ),
    )?;
    taken.why().map_or(Ok(()), |why| context.out.folded("", &why))
}

/// Why a budget does not let a job in, with what can be done.
pub fn refused(name: &str, book: &Book, cost: &Cost, error: BudgetError) -> Error {
    let BudgetError::Refused(refusal) = error else { return budget_error(error) };
    let (standing, words) = (book.standing(), Words::said(&book.grant()));
    let alone = nano(cost.epsilon(book.grant().log_inverse_delta, book.grant().orders));
    match refusal {
        Refusal::OverBudget { epsilon, .. } => Error::user(format!(
            "the budget of {name} does not suffice: ε would be {:.4} of {:.4} (spent {:.4}; this alone costs {alone:.4} at the \
             budget's δ); ask with less --epsilon, or grant more",
            nano(epsilon),
            words.epsilon,
            nano(standing.spent)
        )),
        Refusal::FailureAbove { failure, granted } => Error::user(format!(
            "the budget of {name} does not suffice: its part of δ for failures would be at {:.3e} of {:.3e}; ask with a smaller δ",
            failure as f64 / 1e18,
            granted as f64 / 1e18
        )),
        other => Error::user(format!("the budget of {name}: {other}")),
    }
}
