//! Budgets on the chain: granted, lowered, raised, allowed, and what was reserved of them given back.

use alloy_primitives::{Address, B256};
use clap::Args;
use sahara_market::PRIVACY_BUDGET;
use sahara_market::abi::PrivacyBudget;
use sahara_market::budget::{ALL_ORDERS, Grant};
use sahara_privacy::budget::Words;
use serde_json::{Value, json};

use super::super::super::Context;
use super::super::super::money::{MoneyArgs, Payer, id};
use super::super::super::wallet::account;
use super::super::dataset::{Dataset, entries};
use super::super::draw::{jobs, release};
use super::super::standing::nano;
use crate::chain_client::{Chain, Order};
use crate::error::{Error, Result};
use crate::moment::moment;

#[derive(Args, Debug)]
pub struct GrantArgs {
    /// The dataset's asset
    #[arg(long, value_name = "ASSET", value_parser = id)]
    asset: B256,
    /// What may be learned in all
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    epsilon: f64,
    /// The probability with which it may be more; it never changes
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
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
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
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
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
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
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
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

/// The same for people.
pub fn lines(value: &Value, context: &mut Context) -> Result<()> {
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

pub fn granted(args: &GrantArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let words = Words { epsilon: args.epsilon, delta: args.delta };
    if !grant(&mut payer, args.asset, words, context)? {
        return Ok(());
    }
    let value = on_chain(&payer.chain, args.asset)?;
    payer.tell(&format!("ε = {} at δ = {:e} may be learned from it", words.epsilon, words.delta), value, context)
}

/// Grants a budget on the chain, and allows the wallet all of it; false if it was only tried.
pub fn grant(payer: &mut Payer, asset: B256, words: Words, context: &mut Context) -> Result<bool> {
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
        return Ok(false);
    }
    let call = PrivacyBudget::allowCall { dataset: asset, spender: payer.address, epsilon };
    payer.carry_out(&Order::call("allowing this wallet to draw on it", PRIVACY_BUDGET, &call), context)?;
    Ok(true)
}

/// Most gas that allowing takes: it cannot be tried before there is a budget.
const ALLOWING_GAS: u64 = 80_000;
/// Most gas that both take, after an asset is registered.
pub const GRANTING_GAS: u64 = 120_000 + ALLOWING_GAS;

pub fn lower(args: &LowerArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let call = PrivacyBudget::lowerCall { dataset: args.asset, epsilon: in_nano(args.epsilon)? };
    if payer.carry_out(&Order::call("lowering the budget", PRIVACY_BUDGET, &call), context)?.is_none() {
        return Ok(());
    }
    let value = on_chain(&payer.chain, args.asset)?;
    payer.tell(&format!("the budget is ε = {}", value["epsilon"]), value, context)
}

pub fn raise(args: &RaiseArgs, context: &mut Context) -> Result<()> {
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

pub fn allow(args: &AllowArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let epsilon = in_nano(args.epsilon)?;
    let call = PrivacyBudget::allowCall { dataset: args.asset, spender: args.spender, epsilon };
    if payer.carry_out(&Order::call("allowing an account to draw", PRIVACY_BUDGET, &call), context)?.is_none() {
        return Ok(());
    }
    let value = json!({"asset": args.asset, "spender": args.spender.to_checksum(None), "epsilon": args.epsilon});
    payer.tell(&format!("{} may draw ε = {} of it", args.spender, args.epsilon), value, context)
}

pub fn release_all(args: &ReleaseArgs, context: &mut Context) -> Result<()> {
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
    if folder.exists() { entries(&folder) } else { Ok(Vec::new()) }
}

/// ε as the chain counts, rounded down.
fn in_nano(epsilon: f64) -> Result<u64> {
    match (0.0..=1000.0).contains(&epsilon) {
        true => Ok((epsilon * 1e9).floor() as u64),
        false => Err(Error::user(format!("ε is {epsilon}, and must be from 0 to 1000"))),
    }
}
