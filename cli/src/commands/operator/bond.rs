//! `sahara operator bond | quote | allow | unbond | earnings | settle`: an operator's standing on the chain, and what it is owed.

use std::time::Duration;

use alloy_primitives::{B256, U256};
use clap::Args;
use sahara_light::{Light, Options};
use sahara_market::OPERATORS;
use sahara_market::abi::Operators;
use sahara_market::draw::LEAST_BOND;
use sahara_mpc::config::Config;
use serde_json::json;

use super::config_error;
use crate::chain_client::Order;
use crate::commands::Context;
use crate::commands::money::{MoneyArgs, id};
use crate::commands::output::moment;
use crate::error::{Error, Result};
use crate::market::bill::Bill;
use crate::market::content::registered;
use crate::market::ledger;
use crate::market::operator;
use crate::market::purse::short;
use crate::market::settler::{Policy, Settler, Standing, order};
use crate::moment::DAY;
use crate::wallet::amount::Amount;

/// Seconds in which what is in a block is proven.
const PROVEN_AFTER: u32 = 5;

#[derive(Args, Debug)]
pub struct BondArgs {
    /// What is added to the bond
    amount: Amount,
    /// Where the node stands, in your words
    #[arg(long, value_name = "WORDS", default_value = "")]
    region: String,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct QuoteArgs {
    /// What you ask for a call
    amount: Amount,
    /// Days for which that is good
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3650))]
    days: u64,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct AllowArgs {
    /// The asset
    #[arg(value_parser = id)]
    asset: B256,
    /// Not any more
    #[arg(long)]
    not: bool,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct UnbondArgs {
    /// How much of the bond; without it, what is due is paid out
    amount: Option<Amount>,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct EarningsArgs {
    /// Take out what is ripe
    #[arg(long)]
    claim: bool,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct SettleArgs {
    /// Say what is owed, and send nothing
    #[arg(long)]
    owed: bool,
    #[command(flatten)]
    money: MoneyArgs,
}

/// Joins, or adds to the bond; the node's key shows that it belongs to the wallet.
pub fn bond(args: &BondArgs, config: &Config, context: &mut Context) -> Result<()> {
    let node = config.load_identity().map_err(config_error)?;
    let mut payer = args.money.payer(context)?;
    let key = B256::from(node.public().0);
    let digest = Operators::proofDigestCall { operator: payer.address, node: key };
    let shown: B256 = payer.chain.call("asking what the node's key has to sign", OPERATORS, &digest)?;
    let own = proof_digest(payer.chain.id(), payer.address, key);
    if shown != own {
        // A key signs what it knows, never 32 bytes that somebody sends.
        return Err(Error::user(
            "the chain's contract wants something else signed than this program knows: nothing was signed",
        ));
    }
    let call = Operators::joinCall {
        node: key,
        endpoint: config.advertise.clone(),
        region: args.region.clone(),
        proof: node.sign(own.as_slice()).to_vec().into(),
    };
    let order = Order::call("bonding", OPERATORS, &call).paying(args.amount.small().map_err(Error::user)?);
    if payer.carry_out(&order, context)?.is_none() {
        return Ok(());
    }
    let words = format!("{} bonded for node {} at {}", args.amount, node.public(), config.advertise);
    let value = json!({"operator": payer.address, "node": key, "bonded": args.amount.0.to_string()});
    payer.tell(&words, value, context)
}

/// What a node's key signs to show that it belongs to an account.
fn proof_digest(chain: u64, operator: alloy_primitives::Address, node: B256) -> B256 {
    use alloy_primitives::keccak256;
    use alloy_sol_types::SolValue;
    keccak256((keccak256("Sahara operator"), U256::from(chain), OPERATORS, operator, node).abi_encode())
}

/// Says what a call costs.
pub fn quote(args: &QuoteArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let until = payer.chain.time()? + args.days * DAY;
    let per_call = args.amount.small().map_err(Error::user)?;
    let order = Order::call("quoting", OPERATORS, &Operators::setQuoteCall { perCall: per_call, until });
    if payer.carry_out(&order, context)?.is_none() {
        return Ok(());
    }
    let value = json!({"per_call": per_call.to_string(), "until": until});
    payer.tell(&format!("{} a call until {}", args.amount, moment(until.saturating_mul(1000))), value, context)
}

/// Says whether this operator holds an asset's sharing.
pub fn allow(args: &AllowArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    // Its id says nothing of whether there is one: what is given for nothing is gas.
    registered(&payer.chain, args.asset)?;
    let call = Operators::allowCall { asset: args.asset, willing: !args.not };
    if payer.carry_out(&Order::call("saying what is held", OPERATORS, &call), context)?.is_none() {
        return Ok(());
    }
    let words = if args.not { "may not be seated for it any more" } else { "may be seated for it" };
    let value = json!({"asset": args.asset, "willing": !args.not});
    payer.tell(&format!("this operator {words}"), value, context)
}

/// Begins to take some of the bond out, or takes out what is due.
pub fn unbond(args: &UnbondArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let Some(amount) = args.amount else {
        let order = Order::call("taking the bond out", OPERATORS, &Operators::withdrawCall {});
        if payer.carry_out(&order, context)?.is_none() {
            return Ok(());
        }
        return payer.tell("what was due is paid out", json!({"withdrawn": true}), context);
    };
    let asset = B256::ZERO;
    let operator = payer.address;
    let standing = payer.chain.call("asking for the bond", OPERATORS, &Operators::standingCall { operator, asset })?;
    let before = payer.chain.call("asking what leaves", OPERATORS, &Operators::unbondingOfCall { operator })?;
    for note in unbonding_notes(standing.bond, amount.0, before.amount)? {
        context.progress.note(&note);
    }
    let order = Order::call("unbonding", OPERATORS, &Operators::unbondCall { amount: amount.0 });
    if payer.carry_out(&order, context)?.is_none() {
        return Ok(());
    }
    let call = Operators::unbondingOfCall { operator: payer.address };
    let leaving = payer.chain.call("asking when it is due", OPERATORS, &call)?;
    let words = format!(
        "{} are out of the bond and can be taken out from {} on, with `sahara operator unbond`",
        Amount(leaving.amount),
        moment(leaving.due.saturating_mul(1000))
    );
    payer.tell(&words, json!({"unbonding": leaving.amount.to_string(), "due": leaving.due}), context)
}

/// What whoever unbonds `amount` of `bond` has to know before, while `leaving` is on its way out.
fn unbonding_notes(bond: U256, amount: U256, leaving: U256) -> Result<Vec<String>> {
    let left = bond.checked_sub(amount).ok_or_else(|| {
        Error::user(format!("the bond is {}: {} cannot be taken out of it", Amount(bond), Amount(amount)))
    })?;
    let mut notes = Vec::new();
    if left < U256::from(LEAST_BOND) {
        notes.push(format!(
            "{} are left in the bond, less than the {} that a seat takes: this operator is seated and drawn no more",
            Amount(left),
            Amount::from(LEAST_BOND)
        ));
    }
    if !leaving.is_zero() {
        notes.push(format!(
            "{} that leave already wait as long as this from now on: all goes out together",
            Amount(leaving)
        ));
    }
    Ok(notes)
}

/// What was earned, and the operator's standing.
pub fn earnings(args: &EarningsArgs, context: &mut Context) -> Result<()> {
    if args.claim {
        let mut payer = args.money.payer(context)?;
        let order = Order::call("taking the earnings out", OPERATORS, &Operators::claimCall {});
        if payer.carry_out(&order, context)?.is_none() {
            return Ok(());
        }
        return payer.tell("what was ripe is paid out", json!({"claimed": true}), context);
    }
    let chain = args.money.network.find(context)?.chain();
    let operator = args.money.wallet.address(context)?;
    let earned = chain.call("asking for the earnings", OPERATORS, &Operators::earningsOfCall { operator })?;
    let asset = B256::ZERO;
    let standing = chain.call("asking for the bond", OPERATORS, &Operators::standingCall { operator, asset })?;
    let record = chain.call("asking for the record", OPERATORS, &Operators::recordOfCall { operator })?;
    let leaving = chain.call("asking what leaves", OPERATORS, &Operators::unbondingOfCall { operator })?;
    if context.out.json() {
        return context.out.value(&json!({
            "operator": operator.to_checksum(None),
            "node": standing.node,
            "ripe": earned.ripe.to_string(),
            "ripening": earned.ripening.to_string(),
            "bond": standing.bond.to_string(),
            "unbonding": leaving.amount.to_string(),
            "due": if leaving.amount.is_zero() { serde_json::Value::Null } else { json!(leaving.due) },
            "per_call": standing.perCall.to_string(),
            "quote_until": standing.quoteUntil,
            "calls": record.calls,
            "refused": record.refused,
        }));
    }
    let nothing = earned.ripe.is_zero() && earned.ripening.is_zero() && leaving.amount.is_zero();
    if standing.node.is_zero() && nothing {
        return context
            .out
            .folded("", &format!("{operator} is no operator: `sahara operator bond AMOUNT` makes it one"));
    }
    context.out.folded(
        "",
        &format!(
            "{} can be taken out with --claim, {} ripen: earnings can be taken out one to two days after they came",
            Amount(earned.ripe),
            Amount(earned.ripening)
        ),
    )?;
    context.out.line(&format!("bond {}, {} calls served", Amount(standing.bond), record.calls))?;
    if !leaving.amount.is_zero() {
        let due = moment(leaving.due.saturating_mul(1000));
        context.out.line(&format!("{} leave the bond at {due}", Amount(leaving.amount)))?;
    }
    if standing.perCall == 0 {
        return context.out.line("asks nothing a call: `sahara operator quote AMOUNT` says a price");
    }
    context.out.line(&format!(
        "asks {} a call until {}",
        Amount::from(standing.perCall),
        moment(standing.quoteUntil.saturating_mul(1000))
    ))
}

/// Whether it is proven by now that a receipt was paid, or a later one: proofs are some blocks behind.
fn is_paid(settler: &mut Settler, light: &Light, bill: &Bill, time: u64) -> bool {
    (0..PROVEN_AFTER).any(|second| {
        if second > 0 {
            std::thread::sleep(Duration::from_secs(1));
        }
        matches!(settler.standing(light, bill, time), Ok(Standing::Nothing | Standing::Over))
    })
}

/// Has the market pay what is owed by the last receipts of this node; it may run meanwhile.
pub fn settle(args: &SettleArgs, config: &Config, context: &mut Context) -> Result<()> {
    let network = args.money.network.find(context)?;
    let folder = operator::folder(&config.home);
    let bills = ledger::bills(&network.domain(), &folder).map_err(|e| Error::io("reading", &folder, e))?;
    let light = network.light(Options::default());
    let mut settler = Settler::new(&network, Policy { at: 0, after: 0, at_a_loss: true });
    let (mut payer, mut list, mut failed) = (None, Vec::new(), 0);
    for (bill, complete) in &bills {
        let time = network.chain().time()?;
        let standing = settler.standing(&light, bill, time);
        let Standing::Due(owed) = standing.map_err(|why| Error::fault(format!("what is owed is not proven: {why}")))?
        else {
            continue;
        };
        if !args.owed {
            let payer = match &mut payer {
                Some(payer) => payer,
                none => none.insert(args.money.payer(context)?),
            };
            // Another member may have been faster, with one of many.
            if let Err(error) = payer.carry_out(&order(bill, complete), context) {
                if is_paid(&mut settler, &light, bill, time) {
                    context.progress.note(&format!("session {} is paid already", short(bill.deal.id)));
                    continue;
                }
                context.progress.note(&format!("session {}: {}", short(bill.deal.id), error.report()));
                failed += 1;
                continue;
            }
        }
        list.push((bill.deal.id, bill.deal.lane, bill.receipt.number, owed));
    }
    let sum = Amount::from(list.iter().map(|(.., owed)| owed).sum::<u128>());
    let sessions = list.iter().map(|(session, lane, number, owed)| {
        json!({"session": session, "committee": lane, "receipts": number, "owed": owed.to_string()})
    });
    let many = if list.len() == 1 { "one session".to_owned() } else { format!("{} sessions", list.len()) };
    let value = json!({"sessions": sessions.collect::<Vec<_>>(), "owed": sum.0.to_string(), "settled": !args.owed});
    match payer {
        Some(payer) if payer.only_tries() && !list.is_empty() => Ok(()),
        _ if list.is_empty() && failed == 0 && !context.out.json() => {
            context.out.line("nothing is owed: all is paid already")
        }
        Some(payer) => payer.tell(&format!("{sum} paid for {many}"), value, context),
        None if context.out.json() => context.out.value(&value),
        None => context.out.line(&format!("{sum} owed for {many}")),
    }?;
    match failed {
        0 => Ok(()),
        failed => Err(Error::fault(format!("sessions that were not settled, see above: {failed}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_unbonds_hears_what_it_means_before() {
        let sah = |n: u64| U256::from(n) * U256::from(1_000_000_000_000_000_000u64);
        assert!(unbonding_notes(sah(200), sah(100), U256::ZERO).unwrap().is_empty());
        let below = unbonding_notes(sah(200), sah(101), U256::ZERO).unwrap();
        assert!(below.len() == 1 && below[0].contains("99 SAH are left") && below[0].contains("100 SAH"), "{below:?}");
        let second = unbonding_notes(sah(200), sah(5), sah(7)).unwrap();
        assert!(second.len() == 1 && second[0].starts_with("7 SAH"), "{second:?}");
        assert_eq!(unbonding_notes(sah(200), sah(201), U256::ZERO).unwrap_err().exit_code(), 2);
    }
}
