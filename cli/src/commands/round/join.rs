//! A provider: waits for rounds of its leader, trains a little on its own rows, and sends shares of what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use sahara::home::create_private_dir;
use sahara_mpc::client::{Client, ClientError};
use sahara_mpc::identity::PublicKey;
use sahara_mpc::rounds::{RoundId, RoundTerms, SignedTerms};
use sahara_mpc::wire::{FailCode, RoundStage};
use sahara_privacy::noise::Generator;
use sahara_privacy::together::{Budget, BudgetError, Quantiser, Spent, local_update};
use serde::Serialize;
use zeroize::{Zeroize, Zeroizing};

use super::super::Context;
use super::super::signals::stop_when_interrupted;
use super::super::train::texts;
use super::columns::ColumnsArgs;
use super::rows::Rows;
use super::task::{Task, weights_from_bytes};
use super::{NodesArgs, failed};
use crate::error::{Blame, Error, Result};

/// Longest and shortest pause between two questions for rounds.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How long after the first node the others may open a round.
const OPENS_WITHIN: Duration = Duration::from_secs(10);

/// How often a round, or one of its evaluators, is asked again that is too busy or not reached.
const TRIES: u32 = 5;

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
    columns: ColumnsArgs,
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
    /// Which node is asked for rounds: another one when it does not answer.
    node: u8,
    budget: Budget,
    rows: Rows,
    /// Rounds that were taken part in, or are not for this provider.
    seen: BTreeSet<RoundId>,
    tries: BTreeMap<RoundId, u32>,
}

/// What became of a round.
enum Taken {
    /// It is none of the leader's training, or takes nothing of this provider any more.
    Other,
    /// A node was too busy, or not reached, before anything was spent.
    Later(String),
    /// It is spent, and was sent to both evaluators, or not, for this reason.
    Spent(Task, f64, Option<String>),
    /// The leader asks for what this provider does not send; nothing is spent.
    Refused(String),
}

pub fn run(args: &JoinArgs, context: &mut Context) -> Result<()> {
    let declared = args.columns.description()?;
    let (client, _) = args.nodes.connect(context)?;
    let folder = context.home.path().join("privacy");
    create_private_dir(&folder)?;
    let budget = Budget::open(&folder.join("rounds.spent"), &client.key().0, args.epsilon, args.delta);
    let budget = budget.map_err(spent_error)?;
    budget.spent().map_err(spent_error)?;
    let rows = Rows::new(args.data.clone(), texts::file(&args.data)?, declared);
    let stop = stop_when_interrupted();
    let client = client.until(stop.clone());
    client.rounds_at(0).map_err(|error| failed("asking for rounds", error))?;
    let (seen, tries) = Default::default();
    let mut provider = Provider { args, client, node: 0, budget, rows, seen, tries };
    let mut rounds = 0;
    let (mut waited, mut pause) = (Instant::now(), PAUSES.0);
    context.progress.step("waiting for a round");
    while !stop.is_set() && waited.elapsed() < Duration::from_secs(args.wait) {
        match provider.next()? {
            Some(Taken::Spent(task, epsilon, missed)) => {
                rounds += u32::from(missed.is_none());
                (waited, pause) = (Instant::now(), PAUSES.0);
                let sent = missed.map_or("sent".to_owned(), |why| format!("not sent to both nodes ({why})"));
                context
                    .progress
                    .note(&format!("round {} of {}: {sent}, ε so far {epsilon:.3}", task.round, task.rounds));
                if task.round == task.rounds {
                    break;
                }
                continue;
            }
            Some(Taken::Refused(why)) => context.progress.note(&format!("a round is left out: {why}")),
            Some(Taken::Later(why)) => context.progress.note(&format!("waiting: {why}")),
            Some(Taken::Other) | None => {}
        }
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(PAUSES.1);
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
    /// Looks for a round that this provider has not seen, and takes part in it. Trouble with nodes is told and passes; what ends
    /// it is the budget, or columns that are not those of the file or of the command.
    fn next(&mut self) -> Result<Option<Taken>> {
        let list = match self.client.rounds_at(self.node) {
            Ok(list) => list.0,
            Err(error) => return Ok(Some(self.trouble(None, &error))),
        };
        let open = list.into_iter().find(|(id, stage)| *stage == RoundStage::Open && !self.seen.contains(id));
        let Some((id, _)) = open else { return Ok(None) };
        let taken = self.take_part(id)?;
        if !matches!(taken, Taken::Later(_)) {
            self.seen.insert(id);
        }
        Ok(Some(taken))
    }

    /// The next time another node is asked; a round that does not get on is left out in the end.
    fn trouble(&mut self, round: Option<RoundId>, error: &ClientError) -> Taken {
        self.node = (self.node + 1) % 3;
        if let Some(round) = round {
            let tries = self.tries.entry(round).or_default();
            *tries += 1;
            if *tries >= TRIES {
                self.seen.insert(round);
            }
        }
        Taken::Later(error.to_string())
    }

    /// Takes part in a round, if it is one of the leader's training. Whether it does depends on the round and on what is spent, and
    /// not on any row.
    fn take_part(&mut self, id: RoundId) -> Result<Taken> {
        let signed = match self.client.round_at(self.node, id, false) {
            Ok((shown, _)) => shown.terms,
            Err(error) => return Ok(self.trouble(Some(id), &error)),
        };
        let terms = signed.terms();
        let (leads, takes) = (terms.coordinator == self.args.leader, terms.place_of(&self.client.key()).is_some());
        let Some(task) = Task::read(&terms.note).filter(|_| leads && takes) else { return Ok(Taken::Other) };
        let quantiser = match self.quantiser(terms, &task)? {
            Ok(quantiser) => quantiser,
            Err(why) => return Ok(Taken::Refused(why)),
        };
        match self.is_open_at_both(&signed) {
            Ok(true) => {}
            Ok(false) => return Ok(Taken::Other),
            Err(error) => return Ok(self.trouble(Some(id), &error)),
        }
        let attachment = match self.client.round_at(self.node, id, true) {
            Ok((_, attachment)) => attachment,
            Err(error) => return Ok(self.trouble(Some(id), &error)),
        };
        let Some(weights) = weights_from_bytes(&attachment, terms.vectors.dimension()) else {
            return Ok(Taken::Refused("what the leader attaches is not weights of that many numbers".into()));
        };
        let round = match Spent::round(terms.variance, terms.vectors.bound()) {
            Ok(round) => round,
            Err(error) => return Ok(Taken::Refused(error.to_string())),
        };
        // Written down before the first byte of it leaves, and not taken back: a share may have arrived.
        let epsilon = self.budget.spend(round).map_err(spent_error)?;
        let vector = self.vector(&quantiser, &task, &weights)?;
        let missed = self.send(&signed, &vector).err().map(|error| error.to_string());
        Ok(Taken::Spent(task, epsilon, missed))
    }

    /// What makes integers of an update; or why the leader's round is refused. No row is looked at for that.
    fn quantiser(&mut self, terms: &RoundTerms, task: &Task) -> Result<std::result::Result<Quantiser, String>> {
        let vectors = terms.vectors;
        let numbers = match self.rows.admit(&task.description())? {
            Ok(numbers) => numbers,
            Err(why) => return Ok(Err(why)),
        };
        let count = (numbers + 1) * task.labels.len();
        if vectors.dimension() != count {
            return Ok(Err(format!(
                "its vectors are of {} numbers, and its columns make {count}",
                vectors.dimension()
            )));
        }
        let quantiser = Quantiser::of(count, vectors.bits(), vectors.bound(), task.clip);
        Ok(quantiser.map_err(|error| error.to_string()))
    }

    /// Waits until the round is open at both evaluators, too: it is opened at one node after the other. No if one of them takes
    /// nothing of this provider any more.
    fn is_open_at_both(&self, signed: &SignedTerms) -> std::result::Result<bool, ClientError> {
        let end = Instant::now() + OPENS_WITHIN;
        for node in signed.terms().assignment.evaluators() {
            let shown = loop {
                match self.client.round_at(node, signed.id(), false) {
                    Ok((shown, _)) => break shown,
                    Err(error) if Instant::now() > end => return Err(error),
                    Err(_) => std::thread::sleep(PAUSES.0),
                }
            };
            if shown.stage != RoundStage::Open || shown.own {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How far this provider's rows move the weights, as integers that are no longer than the round allows, whatever the rows are.
    fn vector(&mut self, quantiser: &Quantiser, task: &Task, weights: &[f32]) -> Result<Zeroizing<Vec<i32>>> {
        let examples = self.rows.examples()?;
        let numbers = if examples.is_empty() { &[][..] } else { examples.rows() };
        let update = local_update(weights, numbers, examples.classes(), task.labels.len(), task.local());
        let update = Zeroizing::new(update);
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| Error::fault(format!("drawing random bits: {error}")))?;
        let vector = quantiser.integers(&update, &mut Generator::from_seed(seed));
        seed.zeroize();
        Ok(vector)
    }

    /// Sends both evaluators their share of one vector; again, the same, to one that is too busy or not reached.
    fn send(&self, signed: &SignedTerms, vector: &[i32]) -> std::result::Result<(), ClientError> {
        let contribution = self.client.contribution(signed, vector)?;
        for evaluator in 0..2 {
            let mut tries = 1;
            while let Err(error) = self.client.send_share(signed, &contribution, evaluator) {
                let passes = error.code().is_none_or(|code| code == FailCode::Busy);
                if !passes || tries == TRIES {
                    return Err(error);
                }
                std::thread::sleep(PAUSES.0 * 2_u32.pow(tries));
                tries += 1;
            }
        }
        Ok(())
    }
}

fn spent_error(error: BudgetError) -> Error {
    match error {
        BudgetError::Exhausted { .. } | BudgetError::Together(_) => Error::user(error.to_string()),
        BudgetError::Ledger(_) => Error::wrap("writing down what is spent", Blame::User, error),
    }
}
