//! The leader of a training: opens a round after the other, and adds what they bring to the weights.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use sahara::embedding::Stop;
use sahara::keys::{self, Role};
use sahara_mpc::client::{Assignment, Client, Committee};
use sahara_mpc::identity::PublicKey;
use sahara_mpc::protocol::round::Vectors;
use sahara_mpc::rounds::{RoundNonce, RoundResult, RoundTerms, SignedTerms, attachment_hash};
use sahara_privacy::together::{Local, Quantiser, Spent, variance_for};
use sahara_privacy::train::table::Description;
use sahara_privacy::train::{Examples, Network, measure};
use serde::Serialize;

use super::super::Context;
use super::super::signals::stop_when_interrupted;
use super::super::train::{
    classifier, columns,
    folder::{Folder, Model},
    rows, texts,
};
use super::columns::ColumnsArgs;
use super::task::{Task, weights_to_bytes};
use super::{NodesArgs, failed};
use crate::error::{Error, Result};

/// How often the leader asks who has sent.
const LOOK: Duration = Duration::from_millis(30);

#[derive(Args, Debug)]
pub struct LeadArgs {
    /// Keys of the providers, one a line
    #[arg(long, value_name = "FILE")]
    providers: PathBuf,
    /// Rows of your own with the same columns, on which the model is tried
    #[arg(long, value_name = "FILE")]
    test: PathBuf,
    #[command(flatten)]
    columns: ColumnsArgs,
    /// What all rounds together may cost a provider
    #[arg(long, value_name = "E")]
    epsilon: f64,
    /// The δ beside it; below 1 in the number of providers
    #[arg(long, value_name = "D")]
    delta: f64,
    /// How many rounds
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How far a provider may move the model in a round
    #[arg(long, value_name = "C", default_value_t = 1.0)]
    clip: f64,
    /// Steps of a provider on its rows in a round
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    steps: u32,
    /// Learning rate of these steps
    #[arg(long, value_name = "R", default_value_t = 0.5)]
    rate: f32,
    /// What the mean of what providers send is multiplied by
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    server_rate: f64,
    /// Fewest accepted providers of a round [default: half of all]
    #[arg(long, value_name = "N")]
    least: Option<u32>,
    /// Close a round as soon as so many have sent [default: all]
    #[arg(long, value_name = "N")]
    enough: Option<usize>,
    /// Longest time for a round's contributions, in seconds
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Folder for the result
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    nodes: NodesArgs,
}

/// The object printed at the end, and released beside the model.
#[derive(Serialize)]
struct Report {
    /// Of each provider, at `delta`.
    epsilon: f64,
    delta: f64,
    neighbours: &'static str,
    /// Deviation of what is left of the noise when one node's is known, over the greatest norm.
    noise_multiplier: f64,
    rounds: u32,
    providers: usize,
    parameters: usize,
    clip: f64,
    /// Of each round: how many sent to both evaluators, and how many vectors were accepted.
    included: Vec<usize>,
    accepted: Vec<usize>,
    /// Of the rows of `--test`.
    test_accuracy: f64,
    seconds: f64,
}

struct Leader<'a> {
    args: &'a LeadArgs,
    client: Client,
    stop: Stop,
    committee: Committee,
    providers: Vec<PublicKey>,
    least: u32,
    quantiser: Quantiser,
    variance: u64,
    task: Task,
}

pub fn run(args: &LeadArgs, context: &mut Context) -> Result<()> {
    check(args)?;
    let description = args.columns.description()?;
    let description =
        description.ok_or_else(|| Error::user("--label, --labels: say what the model is to tell apart"))?;
    let (test, features) = columns::rows(&args.test, &description)?;
    let columns = rows::columns(&description, &features);
    let columns = columns.ok_or_else(|| Error::fault("the features are not those of the described columns"))?;
    let network =
        Network::logistic(test.width(), description.labels.len()).map_err(|error| Error::user(error.to_string()))?;
    let nodes = args.nodes.connect(context)?;
    let folder = Folder::new(&args.out, &context.home, false)?;
    let subject = Subject { description, columns, features, network, test };
    let report = match lead(args, nodes, &subject, &folder, context) {
        Ok(report) => report,
        Err(failed) => {
            // There is nothing in it that somebody could go on with.
            folder.forget();
            return Err(failed);
        }
    };
    if context.out.json() {
        return context.out.value(&report);
    }
    let right = 100.0 * report.test_accuracy;
    context.out.line(&format!("trained: ε = {:.4} of each provider at δ = {:e}", report.epsilon, args.delta))?;
    context.out.line(&format!("right on --test: {right:.2} %; the model is in {}", args.out.display()))
}

/// What is trained, and the rows on which it is tried.
struct Subject {
    description: Description,
    columns: Vec<rows::Read>,
    features: Vec<String>,
    network: Network,
    test: Examples,
}

/// All rounds, and the release of what they bring.
fn lead(
    args: &LeadArgs,
    (client, committee): (Client, Committee),
    subject: &Subject,
    folder: &Folder,
    context: &mut Context,
) -> Result<Report> {
    let Subject { description, columns, features, network, test } = subject;
    let stop = stop_when_interrupted();
    let client = client.until(stop.clone());
    let mut leader = Leader::new(args, (client, stop), committee, description, network.parameters())?;
    let multiplier = sahara_privacy::together::multiplier(leader.variance, leader.quantiser.bound());
    let multiplier = multiplier.map_err(|error| Error::user(error.to_string()))?;
    let spent = Spent::round(leader.variance, leader.quantiser.bound());
    let epsilon = spent.and_then(|round| round.times(args.rounds).epsilon(args.delta));
    let epsilon = epsilon.map_err(|error| Error::user(error.to_string()))?;
    let providers = leader.providers.len();
    context.progress.note(&format!(
        "{} rounds with {providers} providers, {} parameters: noise {multiplier:.3}, ε = {epsilon:.4} of each at δ = {:e}",
        args.rounds,
        network.parameters(),
        args.delta
    ));
    let began = Instant::now();
    let mut weights = vec![0.0_f32; network.parameters()];
    let (mut included, mut accepted) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds {
        leader.task.round = round;
        let result = leader.round(&weights, context)?;
        leader.add(&result, &mut weights);
        included.push(result.included.len());
        accepted.push(result.count());
        let right = 100.0 * right(network, &weights, test)?;
        context.progress.note(&format!(
            "round {round} of {}: {} of {providers} accepted, {right:.2} % right on --test",
            args.rounds,
            result.count()
        ));
    }
    let report = Report {
        epsilon,
        delta: args.delta,
        neighbours: "a provider's vectors, or zeros in their place",
        noise_multiplier: multiplier,
        rounds: args.rounds,
        providers,
        parameters: network.parameters(),
        clip: args.clip,
        included,
        accepted,
        test_accuracy: right(network, &weights, test)?,
        seconds: began.elapsed().as_secs_f64(),
    };
    folder.put(&report, |to| {
        let (parameters, labels) = (&weights, &description.labels);
        Model { network, parameters, labels, columns, features }.write(to)?;
        let asked = rows::some(columns, test, classifier::TRIED);
        classifier::check(to, network, parameters, (&asked, test), &context.progress)
    })?;
    Ok(report)
}

fn check(args: &LeadArgs) -> Result<()> {
    if !(args.clip >= 1e-6 && args.clip <= 1e6 && args.server_rate > 0.0 && args.server_rate <= 1e3) {
        return Err(Error::user("--clip is from 1e-6 to 1e6, --server-rate above 0 and at most 1000"));
    }
    if !args.rate.is_finite() {
        return Err(Error::user("--rate is a finite number"));
    }
    Ok(())
}

/// A round that closes early has one contribution more than it needs, at least: whoever sends what is not accepted would end it,
/// and have everybody spend for nothing.
fn check_enough(least: u32, enough: Option<usize>, providers: usize) -> Result<()> {
    match enough {
        Some(enough) if enough < providers && least as usize >= enough => Err(Error::user(format!(
            "--enough {enough} is not above --least {least}: one provider that sends what is not accepted would end the \
             training; close later, or be content with fewer"
        ))),
        _ => Ok(()),
    }
}

fn right(network: &Network, weights: &[f32], test: &Examples) -> Result<f64> {
    let outcome = measure(network, weights, test).map_err(|error| Error::user(error.to_string()))?;
    Ok(outcome.right as f64 / test.len().max(1) as f64)
}

impl<'a> Leader<'a> {
    fn new(
        args: &'a LeadArgs,
        (client, stop): (Client, Stop),
        committee: Committee,
        description: &Description,
        parameters: usize,
    ) -> Result<Self> {
        let providers = keys_of(&args.providers)?;
        let least = args.least.unwrap_or((providers.len() as u32).div_ceil(2));
        check_enough(least, args.enough, providers.len())?;
        let quantiser = Quantiser::new(parameters, args.clip).map_err(|error| Error::user(error.to_string()))?;
        let variance = variance_for(args.epsilon, args.delta, args.rounds, quantiser.bound());
        let variance = variance.map_err(|error| Error::user(format!("choosing the noise: {error}")))?;
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|error| Error::fault(format!("drawing the name of a training: {error}")))?;
        let local = Local { steps: args.steps, rate: args.rate };
        let task = Task::new(sahara_circuits::bytes::hex(&name), args.rounds, description, args.clip, local);
        task.note()?;
        Ok(Self { args, client, stop, committee, providers, least, quantiser, variance, task })
    }

    /// One round, from its opening to its result.
    fn round(&self, weights: &[f32], context: &Context) -> Result<RoundResult> {
        let attachment = weights_to_bytes(weights);
        let signed = self.terms(&attachment, context)?;
        self.client.open_round(&signed, &attachment).map_err(|error| failed("opening a round", error))?;
        self.gather(&signed);
        let result = self.client.close_round(&signed).map_err(|error| failed("closing a round", error));
        if result.is_err() {
            self.give_up(&signed, context);
        }
        if self.stop.is_set() {
            let said = "interrupted: the round is given up at the nodes; what it has cost its providers stays spent";
            return result.map_err(|_| Error::interrupted().saying(said));
        }
        result
    }

    /// Ends a round at the nodes, so that nobody else sends for it. What is not reached forgets it by itself.
    fn give_up(&self, signed: &SignedTerms, context: &Context) {
        // The client that was stopped asks nothing any more.
        if let Ok((client, _)) = self.args.nodes.connect(context) {
            let _ = client.abandon_round(signed);
        }
    }

    fn terms(&self, attachment: &[u8], context: &Context) -> Result<SignedTerms> {
        let vectors = Vectors::new(attachment.len() as u32 / 4, self.quantiser.bits(), self.quantiser.bound());
        let nonce = RoundNonce::random().map_err(|error| Error::fault(format!("drawing a name: {error}")))?;
        // Which node helps changes from round to round.
        let assignment = Assignment::ALL[self.task.round as usize % Assignment::ALL.len()];
        let terms = RoundTerms {
            committee: self.committee.digest(),
            coordinator: self.client.key(),
            nonce,
            assignment,
            vectors: vectors.map_err(|error| Error::user(error.to_string()))?,
            variance: self.variance,
            least: self.least,
            seconds: self.args.seconds,
            note: self.task.note()?,
            attachment: (attachment.len() as u32, attachment_hash(attachment)),
            providers: self.providers.clone(),
        };
        terms.check().map_err(|error| Error::user(error.to_string()))?;
        Ok(terms.sign(&keys::load(&context.home, Role::Consumer)?))
    }

    /// Waits until all, or as many as are enough, have sent to both evaluators, or the time is over. Everybody has spent by then: a
    /// node that does not answer once is asked again.
    fn gather(&self, signed: &SignedTerms) {
        let end = Instant::now() + Duration::from_secs(self.args.seconds.into());
        let [first, second] = signed.terms().assignment.evaluators();
        let enough = self.args.enough.unwrap_or(usize::MAX).min(self.providers.len());
        let has_enough = |node| {
            let shown = self.client.round_at(node, signed.id(), false);
            shown.is_ok_and(|(shown, _)| shown.contributed as usize >= enough)
        };
        while Instant::now() < end && !self.stop.is_set() && !(has_enough(second) && has_enough(first)) {
            std::thread::sleep(LOOK);
        }
    }

    /// The mean of what was accepted, with its noise.
    fn add(&self, result: &RoundResult, weights: &mut [f32]) {
        let unit = self.args.server_rate / (self.quantiser.scale() * result.count().max(1) as f64);
        weights.iter_mut().zip(&result.sum).for_each(|(weight, sum)| *weight += (f64::from(*sum) * unit) as f32);
    }
}

/// The providers of a file, in order.
fn keys_of(path: &std::path::Path) -> Result<Vec<PublicKey>> {
    let text = texts::file(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys = lines.map(|line| line.parse().map_err(|why| Error::user(format!("{}: {why}", path.display()))));
    let mut keys: Vec<PublicKey> = keys.collect::<Result<_>>()?;
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    if keys.len() < all {
        return Err(Error::user(format!("{}: a key is there twice", path.display())));
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_closes_early_needs_fewer_than_have_sent() {
        let said = check_enough(6, Some(6), 12).unwrap_err().to_string();
        assert!(said.contains("--enough 6 is not above --least 6"), "{said}");
        assert!(check_enough(6, Some(7), 12).is_ok());
        // It does not close early.
        assert!(check_enough(12, Some(12), 12).is_ok() && check_enough(12, None, 12).is_ok());
    }
}
