//! What is said of a run at its end.

use std::path::Path;

use sahara_privacy::train::Plan;
use serde::Serialize;

use super::super::Context;
use crate::error::Result;

/// The object printed at the end, and released beside the model.
#[derive(Serialize)]
pub struct Report {
    /// What was spent, at `delta`; never above what was wished.
    epsilon: f64,
    delta: f64,
    neighbours: &'static str,
    noise_multiplier: f64,
    sample_rate: f64,
    steps: u64,
    batch: usize,
    clip: f64,
    examples: usize,
    parameters: usize,
}

impl Report {
    pub fn of(plan: &Plan, epsilon: f64) -> Self {
        Self {
            epsilon,
            delta: plan.wish.delta,
            neighbours: "one row more or less",
            noise_multiplier: plan.noise,
            sample_rate: plan.rate.probability(),
            steps: plan.wish.steps,
            batch: plan.wish.batch,
            clip: plan.wish.clip.bound(),
            examples: plan.wish.examples,
            parameters: plan.wish.parameters,
        }
    }
}

/// What is printed at the end.
#[derive(Serialize)]
struct Done<'a> {
    out: &'a Path,
    #[serde(flatten)]
    report: Report,
    /// Of the rows that were trained on; not private.
    own_accuracy: f64,
    /// Of the rows of `--test`; not private.
    test_accuracy: Option<f64>,
}

/// Says what came of it: the part of the rows, and of those of `--test`, that are sorted into their class.
pub fn say(out: &Path, report: Report, own: f64, test: Option<f64>, context: &mut Context) -> Result<()> {
    let (epsilon, delta) = (report.epsilon, report.delta);
    if context.out.json() {
        return context.out.value(&Done { out, report, own_accuracy: own, test_accuracy: test });
    }
    context.out.line(&format!("trained: ε = {epsilon:.4} at δ = {delta:e}, in {}", out.display()))?;
    if let Some(test) = test {
        context.out.line(&format!("right on --test: {:.2} % (not private)", 100.0 * test))?;
    }
    context.out.line(&format!("right on the rows themselves: {:.2} % (not private)", 100.0 * own))
}
