//! A provider: waits for rounds of its leader, trains a little on its own rows, and sends shares of what came of it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use sahara::home::create_private_dir;
use sahara_mpc::client::Client;
use sahara_mpc::identity::PublicKey;
use sahara_mpc::rounds::{RoundId, SignedTerms};
use sahara_mpc::wire::RoundStage;
use sahara_privacy::noise::Generator;
use sahara_privacy::together::{Budget, BudgetError, Quantiser, Spent, local_update};
use sahara_privacy::train::Examples;
use serde::Serialize;
use zeroize::Zeroize;

use super::super::Context;
use super::super::signals::stop_when_interrupted;
use super::super::train::texts;
use super::task::{Task, weights_from_bytes};
use super::{NodesArgs, failed};
use crate::error::{Blame, Error, Result};

/// Longest and shortest pause between two questions for rounds.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How long after the first node the others may open a round.
const OPENS_WITHIN: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub struct JoinArgs {
    /// Your rows, as comma-separated values with a line of names
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Key of whoever leads the training
    #[arg(long, value_name = "KEY")]
    leader: PublicKey,
    /// What all rounds that you ever take part in may cost you
    #[arg(long, value_name = "E")]
    epsilon: f64,
    /// The δ beside it; below 1 in the number of providers
    #[arg(long, value_name = "D")]
    delta: f64,
    /// How long to wait for another round, in seconds
    #[arg(long, value_name = "S", default_value_t = 600)]
    wait: u64,
    #[command(flatten)]
    nodes: NodesArgs,
}

/// What is printed at the end.
#[derive(Serialize)]
struct Done {
    /// In which it took part.
    rounds: u32,
    /// What all rounds so far have cost, at `delta`.
    epsilon: f64,
    delta: f64,
}

/// What a provider has.
struct Provider<'a> {
    args: &'a JoinArgs,
    client: Client,
    budget: Budget,
    text: String,
    /// The rows, as the last round wanted them.
    rows: Option<(Task, Examples)>,
}

pub fn run(args: &JoinArgs, context: &mut Context) -> Result<()> {
    let (client, _) = args.nodes.connect(context)?;
    let folder = context.home.path().join("privacy");
    create_private_dir(&folder)?;
    let budget = Budget::open(&folder.join("rounds.spent"), &client.key().0, args.epsilon, args.delta);
    let budget = budget.map_err(spent_error)?;
    budget.spent().map_err(spent_error)?;
    let text = texts::file(&args.data)?;
    let stop = stop_when_interrupted();
    let mut provider = Provider { args, client: client.until(stop.clone()), budget, text, rows: None };
    let (mut seen, mut rounds) = (BTreeSet::new(), 0);
    let (mut waited, mut pause) = (Instant::now(), PAUSES.0);
    context.progress.step("waiting for a round");
    while !stop.is_set() && waited.elapsed() < Duration::from_secs(args.wait) {
        let Some(id) = provider.next(&seen)? else {
            std::thread::sleep(pause);
            pause = (pause * 3 / 2).min(PAUSES.1);
            continue;
        };
        seen.insert(id);
        if let Some((task, epsilon)) = provider.take_part(id)? {
            rounds += 1;
            (waited, pause) = (Instant::now(), PAUSES.0);
            context.progress.note(&format!("round {} of {}: sent, ε so far {epsilon:.3}", task.round, task.rounds));
            if task.round == task.rounds {
                break;
            }
        }
    }
    if stop.is_set() {
        return Err(Error::interrupted());
    }
    let done = Done { rounds, epsilon: provider.budget.spent().map_err(spent_error)?, delta: args.delta };
    if context.out.json() {
        return context.out.value(&done);
    }
    context.out.line(&format!("took part in {rounds} rounds: ε = {:.4} at δ = {:e} so far", done.epsilon, done.delta))
}

impl Provider<'_> {
    /// An open round that this provider has not seen.
    fn next(&self, seen: &BTreeSet<RoundId>) -> Result<Option<RoundId>> {
        let list = self.client.rounds_at(0).map_err(|error| failed("asking for rounds", error))?.0;
        Ok(list.into_iter().find(|(id, stage)| *stage == RoundStage::Open && !seen.contains(id)).map(|(id, _)| id))
    }

    /// Takes part in a round, if it is one of the leader's training; ε after it.
    fn take_part(&mut self, id: RoundId) -> Result<Option<(Task, f64)>> {
        let (shown, attachment) =
            self.client.round_at(0, id, true).map_err(|error| failed("asking for the round", error))?;
        let signed = shown.terms;
        let terms = signed.terms();
        let (leads, takes) = (terms.coordinator == self.args.leader, terms.place_of(&self.client.key()).is_some());
        let Some(task) = Task::read(&terms.note).filter(|_| leads && takes && !shown.own) else { return Ok(None) };
        self.wait_for_both(&signed)?;
        let vector = self.vector(&signed, &task, &attachment)?;
        // Written down before the first byte of it leaves, and not taken back: a share may have arrived.
        let round = Spent::round(terms.variance, terms.vectors.bound()).map_err(|e| Error::user(e.to_string()))?;
        let epsilon = self.budget.spend(round).map_err(spent_error)?;
        self.client.contribute(&signed, &vector).map_err(|error| failed("sending to the round", error))?;
        Ok(Some((task, epsilon)))
    }

    /// Waits until the round is open at both evaluators, too: it is opened at one node after the other.
    fn wait_for_both(&self, signed: &SignedTerms) -> Result<()> {
        let end = Instant::now() + OPENS_WITHIN;
        for node in signed.terms().assignment.evaluators() {
            while let Err(error) = self.client.round_at(node, signed.id(), false) {
                if Instant::now() > end {
                    return Err(failed("asking for the round", error));
                }
                std::thread::sleep(PAUSES.0);
            }
        }
        Ok(())
    }

    /// How far this provider's rows move the weights, as integers that are no longer than the round allows.
    fn vector(&mut self, signed: &SignedTerms, task: &Task, attachment: &[u8]) -> Result<zeroize::Zeroizing<Vec<i32>>> {
        let vectors = signed.terms().vectors;
        let (width, rows) = self.rows(task)?;
        let outputs = task.labels.len();
        let count = (width + 1) * outputs;
        let weights = weights_from_bytes(attachment, count).filter(|_| vectors.dimension() == count);
        let weights = weights.ok_or_else(|| {
            Error::user(format!(
                "the round is of vectors of {} numbers, and your {width} columns and {outputs} labels make {count}: your \
                 file has other columns than the leader says",
                vectors.dimension()
            ))
        })?;
        let mut update = local_update(&weights, rows.0, rows.1, outputs, task.local());
        let quantiser = Quantiser::of(count, vectors.bits(), vectors.bound(), task.clip);
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| Error::fault(format!("drawing random bits: {error}")))?;
        let vector = quantiser.integers(&update, &mut Generator::from_seed(seed));
        seed.zeroize();
        update.zeroize();
        Ok(vector)
    }

    /// The rows as a task wants them: how many numbers, the numbers and the classes.
    #[expect(clippy::type_complexity, reason = "three parts of one thing")]
    fn rows(&mut self, task: &Task) -> Result<(usize, (&[f32], &[u32]))> {
        let same = |known: &Task| known.description() == task.description();
        if !self.rows.as_ref().is_some_and(|(known, _)| same(known)) {
            let path = &self.args.data;
            let read = task.description().read(&self.text);
            let (examples, _) = read.map_err(|error| Error::user(format!("{}: {error}", path.display())))?;
            self.rows = Some((task.clone(), examples));
        }
        let examples = self.rows.as_ref().map(|(_, examples)| examples);
        let examples = examples.ok_or_else(|| Error::fault("the rows are gone"))?;
        let numbers = if examples.is_empty() { &[][..] } else { examples.rows() };
        Ok((examples.width(), (numbers, examples.classes())))
    }
}

fn spent_error(error: BudgetError) -> Error {
    match error {
        BudgetError::Exhausted { .. } | BudgetError::Together(_) => Error::user(error.to_string()),
        BudgetError::Ledger(_) => Error::wrap("writing down what is spent", Blame::User, error),
    }
}
