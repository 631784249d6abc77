//! `sahara round`: many providers train one model; what any of them adds is known to no one (distributed differential privacy).

mod columns;
mod join;
mod lead;
mod rows;
mod task;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use sahara::keys::{self, Role};
use sahara::network;
use sahara_mpc::client::{Client, ClientError, Committee};
use sahara_mpc::rounds::RoundId;
use sahara_mpc::wire::RoundStage;
use serde_json::json;

use super::Context;
use crate::error::{Blame, Error, Result};

#[derive(Subcommand, Debug)]
pub enum RoundCommand {
    /// Lead a training: open rounds, add what providers send to the model
    #[command(after_help = LEAD_HELP, override_usage = "\
sahara round lead --providers <FILE> --test <FILE> --label <COLUMN>
                         --labels <A,B,…> --epsilon <E> --delta <D> --out <DIR>
                         [OPTIONS]")]
    Lead(lead::LeadArgs),
    /// Take part in a training with rows that stay here
    #[command(after_help = JOIN_HELP, override_usage = "\
sahara round join --data <FILE> --leader <KEY> --epsilon <E> --delta <D>
                         [OPTIONS]")]
    Join(join::JoinArgs),
    /// The rounds that this machine's key has opened or may take part in
    Ls(NodesArgs),
    /// One round: its terms, and what came out of it
    Show(ShowArgs),
}

const LEAD_HELP: &str = "\
Example:
  sahara round lead --providers keys.txt --test held-out.csv --label ill \\
    --labels no,yes --range age=0:120 --values sex=F,M --rounds 20 \\
    --epsilon 4 --delta 1e-6 --out trained

--providers has a key a line (`sahara whoami` prints one's own). In each round
every provider trains a little on its own rows and sends shares of how far its
weights moved to two nodes; the nodes drop what is longer than --clip allows,
and open one sum with noise of all three of them. ε is that of each provider,
whoever else knows the noise of one node. Neighbours: the provider's rows, or
none. That it takes part is public.";

const JOIN_HELP: &str = "\
Example:
  sahara round join --data patients.csv --leader KEY --epsilon 4 --delta 1e-6

Rows stay on this machine. Which columns are looked at, and how, the leader's
first round says for all that follow; or you do, with --label, --labels,
--range, --values and --ignore, and take part in nothing else. A row that does
not fit is left out: whether anything is sent does not depend on what is in
your rows. When it is sent does, a little, on how many there are.

--epsilon is what you allow in all, for all trainings together: it is written
down in Sahara's folder before anything is sent, and beyond it nothing is. It
counts what is sent with this folder and key, and nothing else that is done
with the same rows.";

/// Which nodes.
#[derive(Args, Debug)]
pub struct NodesArgs {
    /// The nodes' committee file [default: the local network's]
    #[arg(long, value_name = "FILE")]
    committee: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The round's name, of `sahara round ls`
    #[arg(value_name = "ROUND")]
    round: String,
    #[command(flatten)]
    nodes: NodesArgs,
}

pub fn run(command: RoundCommand, context: &mut Context) -> Result<()> {
    match command {
        RoundCommand::Lead(args) => lead::run(&args, context),
        RoundCommand::Join(args) => join::run(&args, context),
        RoundCommand::Ls(args) => list(&args, context),
        RoundCommand::Show(args) => show(&args, context),
    }
}

impl NodesArgs {
    /// The committee, and a connection to it with the key one asks with.
    fn connect(&self, context: &Context) -> Result<(Client, Committee)> {
        let committee = network::committee(&context.home, self.committee.as_deref())?;
        Ok((keys::client(&context.home, Role::Consumer, committee.clone())?, committee))
    }
}

fn list(args: &NodesArgs, context: &mut Context) -> Result<()> {
    let (client, _) = args.connect(context)?;
    let list = client.rounds_at(0).map_err(|error| failed("asking for rounds", error))?.0;
    if context.out.json() {
        let rounds: Vec<_> =
            list.iter().map(|(id, at)| json!({"round": id.to_string(), "stage": stage(*at)})).collect();
        return context.out.value(&rounds);
    }
    for (id, at) in &list {
        context.out.line(&format!("{id}  {}", stage(*at)))?;
    }
    if list.is_empty() {
        context.out.line("no round: node 1 has none that your key has opened or may take part in")?;
    }
    Ok(())
}

fn show(args: &ShowArgs, context: &mut Context) -> Result<()> {
    let (client, _) = args.nodes.connect(context)?;
    let id = sahara_circuits::bytes::unhex(&args.round).map(RoundId);
    let id = id.ok_or_else(|| Error::user("a round's name has 64 hexadecimal digits: see `sahara round ls`"))?;
    let (shown, _) = client.round_at(0, id, false).map_err(|error| failed("asking for the round", error))?;
    let terms = shown.terms.terms();
    let first = terms.assignment.evaluators()[0];
    let at = client.round_at(first, id, false).map_err(|error| failed("asking for the round", error))?.0.stage;
    let result = if at == RoundStage::Ended { client.round_result(&shown.terms, 0).ok() } else { None };
    let value = json!({
        "round": id.to_string(),
        "stage": stage(at),
        "coordinator": terms.coordinator.to_string(),
        "dimension": terms.vectors.dimension(),
        "bits": terms.vectors.bits(),
        "squared_norm_bound": terms.vectors.bound(),
        "variance_of_each_node": terms.variance,
        "noise_multiplier": sahara_privacy::together::multiplier(terms.variance, terms.vectors.bound()).ok(),
        "least": terms.least,
        "providers": terms.providers.len(),
        "included": result.as_ref().map(|result| result.included.len()),
        "accepted": result.as_ref().map(|result| result.count()),
    });
    if context.out.json() {
        return context.out.value(&value);
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        context.out.line(&format!("{name:<22} {value}"))?;
    }
    Ok(())
}

fn stage(stage: RoundStage) -> &'static str {
    match stage {
        RoundStage::Open => "open",
        RoundStage::Closing => "closing",
        RoundStage::Ended => "ended",
        RoundStage::Failed => "failed",
        RoundStage::Helped => "over (node 1 was its helper)",
    }
}

/// What a node says no to is for the person to put right.
fn failed(doing: &str, error: ClientError) -> Error {
    let blame = if error.code().is_some() || error.is_not_admitted() { Blame::User } else { Blame::Fault };
    match (&error, blame) {
        (_, Blame::User) => Error::user(format!("{doing}: {error}")),
        (ClientError::Request(_), _) => Error::user(format!("{doing}: {error}")),
        _ => Error::wrap(doing, blame, error),
    }
}
