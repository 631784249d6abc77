//! `sahara data budget`: how much may be learned from a dataset, in its owner's words: on this machine, and on the chain.

use alloy_primitives::{Address, B256};
use clap::{Args, Subcommand};
use sahara_market::PRIVACY_BUDGET;
use sahara_market::abi::PrivacyBudget;
use sahara_market::budget::{ALL_ORDERS, Grant};
use sahara_privacy::budget::{Book, JobState, Words};
use serde_json::{Value, json};

use super::super::Context;
use super::super::money::{MoneyArgs, Payer, id};
use super::super::network::NetworkArgs;
use super::super::wallet::account;
use super::dataset::{Dataset, ROW, budget_error, person};
use super::draw::{jobs, nano, release, standing};
use crate::chain_client::{Chain, Order};
use crate::error::{Error, Result};
use crate::moment::moment;

#[derive(Subcommand, Debug)]
pub enum BudgetCommand {
    /// Say how much may be learned from a dataset, on this machine
    Set(SetArgs),
    /// Where the budgets stand
    Show(ShowArgs),
    /// Grant a budget to a dataset of yours on the chain, and allow this wallet all of it
    Grant(GrantArgs),
    /// Lower the budget on the chain, at once
    Lower(LowerArgs),
    /// Announce a higher budget on the chain; after 14 days, without --epsilon, make it so
    Raise(RaiseArgs),
    /// Say how much an account may draw on the chain
    Allow(AllowArgs),
    /// Give back what this machine reserved on the chain and never began
    Release(ReleaseArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sahara data budget set visits --epsilon 3 --delta 1e-6
  sahara data budget set patients --epsilon 2 --delta 1e-7 --person patient

Everything that is ever answered or trained from the dataset is (ε, δ)-private
together: one row more or less (with --person one person more or less) makes
nothing more likely than e^ε times, but for a probability of δ. δ is below 1 in
the number of rows. Set again, ε becomes another one; what is spent stays spent,
and δ stays. Spending is written down before noise is drawn, and comes back by
no crash.")]
pub struct SetArgs {
    /// The dataset: a name of yours, best that of its table without .csv
    #[arg(value_name = "NAME")]
    dataset: String,
    /// What may be learned in all
    #[arg(long, value_name = "E")]
    epsilon: f64,
    /// The probability with which it may be more
    #[arg(long, value_name = "D")]
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

#[derive(Args, Debug)]
pub struct GrantArgs {
    /// The dataset's asset
    #[arg(long, value_name = "ASSET", value_parser = id)]
    asset: B256,
    /// What may be learned in all
    #[arg(long, value_name = "E")]
    epsilon: f64,
    /// The probability with which it may be more; it never changes
    #[arg(long, value_name = "D")]
    delta: f64,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct LowerArgs {
    /// The dataset's asset
    #[arg(long, value_name = "ASSET", value_parser = id)]
    asset: B256,
    /// What may be learned in all; what is spent is the least
    #[arg(long, value_name = "E")]
    epsilon: f64,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct RaiseArgs {
    /// The dataset's asset
    #[arg(long, value_name = "ASSET", value_parser = id)]
    asset: B256,
    /// What may be learned in all, from 14 days after this on
    #[arg(long, value_name = "E")]
    epsilon: Option<f64>,
    /// Take the announcement back
    #[arg(long, conflicts_with = "epsilon")]
    cancel: bool,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct AllowArgs {
    /// The dataset's asset
    #[arg(long, value_name = "ASSET", value_parser = id)]
    asset: B256,
    /// The account that may draw
    #[arg(long, value_name = "ACCOUNT", value_parser = account)]
    spender: Address,
    /// How much of the budget, 0 for nothing more
    #[arg(long, value_name = "E")]
    epsilon: f64,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct ReleaseArgs {
    /// The dataset's asset
    #[arg(long, value_name = "ASSET", value_parser = id)]
    asset: B256,
    #[command(flatten)]
    money: MoneyArgs,
}

pub fn run(command: BudgetCommand, context: &mut Context) -> Result<()> {
    match command {
        BudgetCommand::Set(args) => set(&args, context),
        BudgetCommand::Show(args) => show(&args, context),
        BudgetCommand::Grant(args) => {
            let payer = args.money.payer(context)?;
            let words = Words { epsilon: args.epsilon, delta: args.delta };
            grant(payer, args.asset, words, context)
        }
        BudgetCommand::Lower(args) => lower(&args, context),
        BudgetCommand::Raise(args) => raise(&args, context),
        BudgetCommand::Allow(args) => allow(&args, context),
        BudgetCommand::Release(args) => release_all(&args, context),
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
            // The part for failures is from the first ε on.
            if known.log_inverse_delta != grant.log_inverse_delta {
                let delta = 2.0 * (-(known.log_inverse_delta as f64) / 1e9).exp();
                return Err(Error::user(format!("δ of {} stays what it was: {delta:e}", args.dataset)));
            }
            if grant.failure < known.failure {
                return Err(Error::user(format!(
                    "at ε = {} the chances of failure that were granted come to more than δ: grant less",
                    args.epsilon
                )));
            }
            if book.unit() != unit {
                return Err(Error::user(format!("the budget of {} is about {}, for good", args.dataset, book.unit())));
            }
            book.change(grant.epsilon).map_err(budget_error)?;
            book
        }
    };
    if context.out.json() {
        return context.out.value(&json!({"dataset": args.dataset, "budget": standing(&book)}));
    }
    line(&args.dataset, &book, context)
}

fn line(name: &str, book: &Book, context: &mut Context) -> Result<()> {
    let (standing, words) = (book.standing(), Words::of(&book.grant()));
    let begun = book.jobs().filter(|(_, job)| !matches!(job.state, JobState::Released | JobState::Reserved)).count();
    context.out.folded(
        &format!("{name}  "),
        &format!(
            "ε = {:.4} of {} spent at δ = {:.3e}, in {begun} jobs; neighbours differ by {}",
            nano(standing.spent),
            words.epsilon,
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
        return chain_lines(&value, context);
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
        let dataset = Dataset::open(name, &context.home, &context.progress)?;
        let Some(book) = dataset.book()? else {
            return Err(Error::user(format!("{name} has no budget here: `sahara data budget set {name}` makes one")));
        };
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

/// Where a budget on the chain stands, as a node says.
pub fn on_chain(chain: &Chain, asset: B256) -> Result<Value> {
    let doing = "asking for the dataset's budget";
    let found = chain.call(doing, PRIVACY_BUDGET, &PrivacyBudget::grantOfCall { dataset: asset })?;
    if found.orders == 0 {
        return Err(Error::user(format!(
            "asset {asset} has no budget on this chain: its owner grants one with `sahara data budget grant --asset {asset}`"
        )));
    }
    let spent = chain.call(doing, PRIVACY_BUDGET, &PrivacyBudget::spentOfCall { dataset: asset })?;
    let words = Words::of(&Grant {
        epsilon: found.epsilon,
        log_inverse_delta: found.logInverseDelta,
        failure: found.failure,
        orders: found.orders,
    });
    let number = |value: alloy_primitives::U256| u128::try_from(value).map_or(f64::INFINITY, nano);
    Ok(json!({
        "asset": asset,
        "epsilon": words.epsilon,
        "delta": words.delta,
        "spent": number(spent.spent),
        "with_reserved": number(spent.withReserved),
        "left": (words.epsilon - number(spent.withReserved)).max(0.0),
        "orders": found.orders.count_ones(),
        "raised_to": (found.from != 0).then(|| nano(found.raisedTo.into())),
        "raised_from": (found.from != 0).then_some(found.from),
        "raised_from_block": (found.from != 0).then_some(found.fromBlock),
    }))
}

fn chain_lines(value: &Value, context: &mut Context) -> Result<()> {
    let number = |name: &str| value[name].as_f64().unwrap_or_default();
    context.out.line(&format!(
        "ε = {:.4} of {} spent at δ = {:.3e}, {:.4} with what is reserved",
        number("spent"),
        number("epsilon"),
        number("delta"),
        number("with_reserved")
    ))?;
    match value["raised_from"].as_u64() {
        Some(from) => context.out.line(&format!(
            "announced: ε = {}, from {} and block {} on",
            number("raised_to"),
            moment(from.saturating_mul(1000)),
            value["raised_from_block"]
        )),
        None => Ok(()),
    }
}

/// Grants a budget on the chain, and allows the wallet all of it.
pub fn grant(mut payer: Payer, asset: B256, words: Words, context: &mut Context) -> Result<()> {
    let Grant { epsilon, log_inverse_delta, failure, .. } = words.grant().map_err(Error::user)?;
    let call = PrivacyBudget::grantCall {
        dataset: asset,
        epsilon,
        logInverseDelta: log_inverse_delta,
        failure,
        orders: ALL_ORDERS,
    };
    let order = Order::call("granting the dataset's budget", PRIVACY_BUDGET, &call);
    if payer.carry_out_first(&order, ALLOWING_GAS, context)?.is_none() {
        return Ok(());
    }
    let call = PrivacyBudget::allowCall { dataset: asset, spender: payer.address, epsilon };
    payer.carry_out(&Order::call("allowing this wallet to draw on it", PRIVACY_BUDGET, &call), context)?;
    let value = on_chain(&payer.chain, asset)?;
    payer.tell(&format!("ε = {} at δ = {:e} may be learned from it", words.epsilon, words.delta), value, context)
}

/// Most gas that allowing takes: it cannot be tried before there is a budget.
const ALLOWING_GAS: u64 = 80_000;

fn lower(args: &LowerArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let call = PrivacyBudget::lowerCall { dataset: args.asset, epsilon: in_nano(args.epsilon)? };
    if payer.carry_out(&Order::call("lowering the budget", PRIVACY_BUDGET, &call), context)?.is_none() {
        return Ok(());
    }
    let value = on_chain(&payer.chain, args.asset)?;
    payer.tell(&format!("the budget is ε = {}", value["epsilon"]), value, context)
}

fn raise(args: &RaiseArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let dataset = args.asset;
    let (order, words) = match (args.epsilon, args.cancel) {
        (Some(epsilon), _) => {
            let call = PrivacyBudget::announceRaiseCall { dataset, epsilon: in_nano(epsilon)? };
            let words = "announced; after 14 days and 600 blocks: `sahara data budget raise` without --epsilon";
            (Order::call("announcing a higher budget", PRIVACY_BUDGET, &call), words)
        }
        (None, true) => {
            let call = PrivacyBudget::cancelRaiseCall { dataset };
            (
                Order::call("taking the announcement back", PRIVACY_BUDGET, &call),
                "no higher budget is announced any more",
            )
        }
        (None, false) => {
            let call = PrivacyBudget::raiseCall { dataset };
            (Order::call("raising the budget", PRIVACY_BUDGET, &call), "the budget is raised")
        }
    };
    if payer.carry_out(&order, context)?.is_none() {
        return Ok(());
    }
    let value = on_chain(&payer.chain, dataset)?;
    payer.tell(words, value, context)
}

fn allow(args: &AllowArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let epsilon = in_nano(args.epsilon)?;
    let call = PrivacyBudget::allowCall { dataset: args.asset, spender: args.spender, epsilon };
    if payer.carry_out(&Order::call("allowing an account to draw", PRIVACY_BUDGET, &call), context)?.is_none() {
        return Ok(());
    }
    let value = json!({"asset": args.asset, "spender": args.spender.to_checksum(None), "epsilon": args.epsilon});
    payer.tell(&format!("{} may draw ε = {} of it", args.spender, args.epsilon), value, context)
}

fn release_all(args: &ReleaseArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let (mut released, own) = (0, payer.address);
    for name in names_with_jobs(context)? {
        let dataset = Dataset::open(&name, &context.home, &context.progress)?;
        for job in jobs(&dataset, args.asset)?.iter().filter(|job| job.spender == own) {
            released += u32::from(release(&mut payer, job, context)?);
        }
    }
    if payer.only_tries() {
        return Ok(());
    }
    payer.tell(&format!("{released} reservations were given back"), json!({"released": released}), context)
}

/// All datasets of this machine, with a budget here or not.
fn names_with_jobs(context: &Context) -> Result<Vec<String>> {
    let folder = context.home.path().join("datasets");
    if folder.exists() { super::dataset::entries(&folder) } else { Ok(Vec::new()) }
}

/// ε as the chain counts, rounded down.
fn in_nano(epsilon: f64) -> Result<u64> {
    match (0.0..=1000.0).contains(&epsilon) {
        true => Ok((epsilon * 1e9).floor() as u64),
        false => Err(Error::user(format!("ε is {epsilon}, and must be from 0 to 1000"))),
    }
}
