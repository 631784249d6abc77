//! `sahara data budget`: how much may be learned from a dataset, in its owner's words: on this machine, and on the chain.

mod chain;

use alloy_primitives::B256;
use clap::{Args, Subcommand};
use sahara_privacy::budget::{Book, JobState, Words};
use serde_json::json;

use super::super::Context;
use super::super::money::id;
use super::super::network::NetworkArgs;
use super::dataset::{Dataset, ROW, budget_error, person};
use super::query::plain;
use super::standing::{nano, standing};
use crate::error::{Error, Result};
pub use chain::{GRANTING_GAS, grant, on_chain};

#[derive(Subcommand, Debug)]
pub enum BudgetCommand {
    /// Say how much may be learned from a dataset, on this machine
    Set(SetArgs),
    /// Where the budgets stand
    Show(ShowArgs),
    /// Grant a budget to a dataset of yours on the chain, and allow this wallet all of it
    #[command(override_usage = "\
sahara data budget grant --asset <ASSET> --epsilon <E> --delta <D>
                                [OPTIONS]")]
    Grant(chain::GrantArgs),
    /// Lower the budget on the chain, at once
    Lower(chain::LowerArgs),
    /// Announce a higher budget on the chain; after 14 days, without --epsilon, make it so
    Raise(chain::RaiseArgs),
    /// Say how much an account may draw on the chain
    #[command(override_usage = "\
sahara data budget allow --asset <ASSET> --spender <ACCOUNT>
                                --epsilon <E> [OPTIONS]")]
    Allow(chain::AllowArgs),
    /// Give back what this machine reserved on the chain and never began
    Release(chain::ReleaseArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sahara data budget set visits --epsilon 3 --delta 1e-6
  sahara data budget set patients --epsilon 2 --delta 1e-7 --person patient

Everything that is ever answered or trained from the dataset is (ε, δ)-private
together: one row more or less (with --person one person more or less) makes
nothing more likely than e^ε times, but for a probability of δ. δ is below 1 in
the number of rows. Set again, ε becomes another one, but not less than what is
spent; δ stays. Spending is written down before noise is drawn, and comes back
by no crash.

Jobs are added up as divergences, and their sum becomes ε at the budget's δ.
That takes some ε once, with the first job (0.02 at δ = 1e-6); later jobs take
no more than what they cost alone, and many small ones less.")]
pub struct SetArgs {
    /// The dataset: a name of yours, best that of its table without .csv
    #[arg(value_name = "NAME")]
    dataset: String,
    /// What may be learned in all
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    epsilon: f64,
    /// The probability with which it may be more
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    delta: f64,
    /// ε speaks of persons: the column that says whose a row is
    #[arg(long, value_name = "COLUMN")]
    person: Option<String>,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The dataset [default: all of this machine]
    #[arg(value_name = "NAME", conflicts_with = "asset")]
    dataset: Option<String>,
    /// The dataset's asset on the chain
    #[arg(long, value_name = "ASSET", value_parser = id)]
    asset: Option<B256>,
    #[command(flatten)]
    network: NetworkArgs,
}

pub fn run(command: BudgetCommand, context: &mut Context) -> Result<()> {
    match command {
        BudgetCommand::Set(args) => set(&args, context),
        BudgetCommand::Show(args) => show(&args, context),
        BudgetCommand::Grant(args) => chain::granted(&args, context),
        BudgetCommand::Lower(args) => chain::lower(&args, context),
        BudgetCommand::Raise(args) => chain::raise(&args, context),
        BudgetCommand::Allow(args) => chain::allow(&args, context),
        BudgetCommand::Release(args) => chain::release_all(&args, context),
    }
}

fn set(args: &SetArgs, context: &mut Context) -> Result<()> {
    let grant = Words { epsilon: args.epsilon, delta: args.delta }.grant().map_err(Error::user)?;
    let unit = args.person.as_deref().map_or(ROW.to_owned(), person);
    let dataset = Dataset::open(&args.dataset, &context.home, &context.progress)?;
    let book = match dataset.book()? {
        None => Book::create(&dataset.budget(), grant, &unit).map_err(budget_error)?,
        Some(mut book) => {
            let known = book.grant();
            if known.log_inverse_delta != grant.log_inverse_delta {
                let delta = Words::said(&known).delta;
                return Err(Error::user(format!("δ of {} stays what it was: {delta:e}", args.dataset)));
            }
            if book.unit() != unit {
                return Err(Error::user(format!("the budget of {} is about {}, for good", args.dataset, book.unit())));
            }
            book.change(grant.epsilon, grant.failure).map_err(budget_error)?;
            book
        }
    };
    if book.grant().epsilon > grant.epsilon {
        context.progress.note(&format!(
            "ε = {} is less than what is spent: the budget of {} is now all that is spent",
            args.epsilon, args.dataset
        ));
    }
    if context.out.json() {
        return context.out.value(&json!({"dataset": args.dataset, "budget": standing(&book)}));
    }
    line(&args.dataset, &book, context)
}

fn line(name: &str, book: &Book, context: &mut Context) -> Result<()> {
    let (standing, words) = (book.standing(), Words::said(&book.grant()));
    let begun = book.jobs().filter(|(_, job)| !matches!(job.state, JobState::Released | JobState::Reserved)).count();
    context.out.folded(
        &format!("{name}  "),
        &format!(
            "ε = {:.4} of {} spent at δ = {:e}, in {begun} jobs; neighbours differ by {}",
            nano(standing.spent),
            plain(words.epsilon),
            words.delta,
            book.unit()
        ),
    )
}

fn show(args: &ShowArgs, context: &mut Context) -> Result<()> {
    if let Some(asset) = args.asset {
        let value = on_chain(&args.network.find(context)?.chain(), asset)?;
        if context.out.json() {
            return context.out.value(&value);
        }
        return chain::lines(&value, context);
    }
    if args.network.named().is_some() {
        return Err(Error::user("--network means nothing without --asset"));
    }
    let names = match &args.dataset {
        Some(name) => vec![name.clone()],
        None => Dataset::all(&context.home)?,
    };
    let mut all = Vec::new();
    for name in &names {
        let no_budget = || Error::user(format!("{name} has no budget here: `sahara data budget set {name}` makes one"));
        let dataset = Dataset::known(name, &context.home, &context.progress)?.ok_or_else(no_budget)?;
        let book = dataset.book()?.ok_or_else(no_budget)?;
        if context.out.json() {
            all.push(json!({"dataset": name, "budget": standing(&book)}));
        } else {
            line(name, &book, context)?;
        }
    }
    match (context.out.json(), names.is_empty()) {
        (true, _) => context.out.value(&all),
        (false, true) => context.out.line("no dataset has a budget here: `sahara data budget set` makes one"),
        (false, false) => Ok(()),
    }
}
