//! `sahara licence buy | ls | show`: what this wallet may use.

use std::collections::BTreeSet;

use alloy_primitives::{B256, U256};
use alloy_sol_types::SolEvent;
use clap::{Args, Subcommand};
use sahara_market::LICENCES;
use sahara_market::abi::{Licences, Terms};
use serde_json::{Value, json};

use super::Context;
use super::asset::{offers, terms_value, terms_words};
use super::money::{MoneyArgs, Payer, id};
use super::network::NetworkArgs;
use super::session::{OpenTerms, Plan, open_planned, plan};
use super::wallet::FileArgs;
use crate::chain_client::{Chain, Key, Order, Preview};
use crate::error::{Blame, Error, Result};
use crate::wallet::amount::Amount;

#[derive(Subcommand, Debug)]
#[command(after_help = "\
`licence buy ASSET` shows the price, pays it, and opens a session: a deposit
from which calls are paid, one by one. After that `sahara embed --model ASSET`
is paid by itself, within the caps that you set here.")]
pub enum LicenceCommand {
    /// Buy a licence, and open a session with it
    Buy(Box<BuyArgs>),
    /// List this wallet's licences
    Ls(LsArgs),
    /// Show a licence: its terms, and until when it is good
    Show(ShowArgs),
}

#[derive(Args, Debug)]
pub struct BuyArgs {
    /// The asset
    #[arg(value_parser = id)]
    asset: B256,
    /// Which offer: hash of its terms [default: the only one]
    #[arg(long, value_name = "HASH", value_parser = id)]
    terms: Option<B256>,
    /// The most that the licence may cost [default: what is offered now]
    #[arg(long, value_name = "AMOUNT")]
    max_price: Option<Amount>,
    /// Open no session
    #[arg(long, conflicts_with_all = ["deposit", "committees", "name", "cap_call", "cap_day"])]
    no_session: bool,
    /// Buy one more, though this wallet has a good licence of these terms
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    session: OpenTerms,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct LsArgs {
    #[command(flatten)]
    wallet: FileArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Its number
    licence: U256,
    #[command(flatten)]
    network: NetworkArgs,
}

pub fn run(command: LicenceCommand, context: &mut Context) -> Result<()> {
    match command {
        LicenceCommand::Buy(args) => buy(&args, context),
        LicenceCommand::Ls(args) => ls(&args, context),
        LicenceCommand::Show(args) => show(&args, context),
    }
}

fn buy(args: &BuyArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let (hash, terms) = chosen(&payer.chain, args)?;
    context.progress.note(&terms_words(&terms));
    let most = args.max_price.map_or(Ok(terms.price), |most| most.small().map_err(Error::user))?;
    if terms.price > most {
        return Err(Error::user(format!(
            "the licence costs {}, more than the {} that you allow",
            Amount::from(terms.price),
            Amount::from(most)
        )));
    }
    if !terms.token.is_zero() {
        return Err(Error::user(format!(
            "this offer is paid in the token {}: buy it with another wallet",
            terms.token
        )));
    }
    if !args.again {
        let known = held(&payer, args.asset, &terms)?;
        refuse_another(known, args.no_session)?;
    }
    // Whatever can stop the session stops it before the licence is paid.
    let plan = match args.no_session || terms.royalty.saturating_add(terms.compute) == 0 {
        true => None,
        false => Some(plan(&payer, args.asset, terms.clone(), &args.session, context)?),
    };
    let call = Licences::buyCall {
        asset: args.asset,
        termsHash: hash,
        maxPrice: most,
        maxRevenueShare: terms.revenueShare,
        holder: payer.address,
    };
    let order = Order::call("buying the licence", LICENCES, &call).paying(terms.price);
    let deposit = plan.as_ref().map(Plan::deposit);
    context.progress.step("looking at what it takes");
    let gas = if plan.is_some() { OPENING_GAS } else { 0 };
    let preview = payer.chain.preview_with(payer.address, &order, Amount::from(deposit.unwrap_or_default()), gas)?;
    if payer.only_tries() {
        return tried(&preview, &terms, deposit, context);
    }
    let Some(done) = payer.carry_out(&order, context)? else { return Ok(()) };
    let bought = done.event::<Licences::Bought>(LICENCES);
    let licence =
        bought.filter(|event| event.asset == args.asset && event.termsHash == hash).map(|event| event.licence);
    let licence = licence.ok_or_else(|| {
        Error::fault(format!(
            "the licence was paid (transaction {}), and the node does not say its number: see `sahara licence ls`",
            done.transaction
        ))
    })?;
    let mut value = terms_value(&terms);
    value["licence"] = json!(licence.to_string());
    value["asset"] = json!(args.asset);
    value["terms"] = json!(hash);
    let mut words = format!("licence {licence} is yours: {}", terms_words(&terms));
    if let Some(plan) = plan {
        // Whatever becomes of the session.
        context.progress.note(&format!("licence {licence} is yours"));
        let opened = licence_of(&payer.chain, licence)
            .and_then(|(_, _, ends)| open_planned(&mut payer, licence, ends, plan, &args.session, context))
            .map_err(|error| unopened(error, licence, &format!("{}{}", args.session.typed(), args.money.typed())))?;
        if let Some(opened) = opened {
            words.push_str(&format!("; {}", opened.words()));
            value["session"] = opened.json();
        }
    }
    payer.tell(&words, value, context)
}

/// Most gas that opening a session takes: it cannot be tried before there is a licence.
const OPENING_GAS: u64 = 600_000;

/// The good licences of a wallet under the same terms.
fn held(payer: &Payer, asset: B256, terms: &Terms) -> Result<Vec<U256>> {
    let now = payer.chain.time()?;
    let mut good = Vec::new();
    for licence in licences(&payer.chain, payer.address, Some(asset))? {
        let facts = facts(&payer.chain, licence)?;
        if facts.withdrawnAt == 0 && facts.ends > now && facts.terms == *terms {
            good.push(licence);
        }
    }
    Ok(good)
}

fn refuse_another(held: Vec<U256>, no_session: bool) -> Result<()> {
    let Some(licence) = held.last() else { return Ok(()) };
    let go_on = match no_session {
        true => String::new(),
        false => format!("open a session with `sahara session open --licence {licence}`, or "),
    };
    Err(Error::user(format!(
        "licence {licence} of these terms is yours already, and nothing was paid: {go_on}buy one more with --again"
    )))
}

/// The licence is paid and its session is not open: how it goes on.
fn unopened(error: Error, licence: U256, typed: &str) -> Error {
    let first = match error.blame() {
        Blame::Unsettled => "unless `sahara session ls` says that it is open, ",
        _ => "",
    };
    let message = format!(
        "licence {licence} is yours and paid, and its session is not open: {}; {first}go on with `sahara session open \
         --licence {licence} {typed}`",
        error.report()
    );
    match error.blame() {
        // Something was paid: it is not as if nothing had been done.
        Blame::User => Error::fault(message),
        _ => error.saying(message),
    }
}

/// Says what would be paid.
fn tried(preview: &Preview, terms: &Terms, deposit: Option<u128>, context: &mut Context) -> Result<()> {
    context.progress.clear();
    let price = Amount::from(terms.price);
    if context.out.json() {
        let mut value = preview.json();
        value["doing"] = json!("buying the licence");
        value["deposit"] = json!(deposit.map(|deposit| deposit.to_string()));
        return context.out.value(&value);
    }
    let locked = deposit.map(|deposit| format!(", lock {} in a session", Amount::from(deposit))).unwrap_or_default();
    let words =
        format!("buying the licence would pay {price}{locked}, and at most {} for gas; nothing was sent", preview.fee);
    context.out.folded("", &words)
}

/// The offer that is meant.
fn chosen(chain: &Chain, args: &BuyArgs) -> Result<(B256, Terms)> {
    let mut all = offers(chain, args.asset)?;
    if let Some(hash) = args.terms {
        all.retain(|(known, _)| *known == hash);
    }
    match all.len() {
        1 => Ok(all.swap_remove(0)),
        0 => Err(Error::user("no licence is on offer under these terms: see `sahara asset show`")),
        many => Err(Error::user(format!(
            "{many} offers stand: say which with --terms HASH (`sahara asset show` lists them)"
        ))),
    }
}

/// The licences that `who` holds, or is the user of, for `asset` or any.
pub(super) fn licences(chain: &Chain, who: alloy_primitives::Address, asset: Option<B256>) -> Result<Vec<U256>> {
    let doing = "asking for the licences";
    let came = [Some(Licences::Transfer::SIGNATURE_HASH), None, Some(who.into_word())];
    let lent = [Some(Licences::UpdateUser::SIGNATURE_HASH), None, Some(who.into_word())];
    let came = chain.logs(doing, LICENCES, Key::Account(who), &came)?;
    let lent = chain.logs(doing, LICENCES, Key::Account(who), &lent)?;
    let came = came.iter().filter_map(|log| log.topics.get(3).copied());
    let lent = lent.iter().filter_map(|log| log.topics.get(1).copied());
    let all: BTreeSet<U256> = came.chain(lent).map(|licence| U256::from_be_bytes(licence.0)).collect();
    let mut good = Vec::new();
    for licence in all {
        let call = Licences::isUserCall { licence, who };
        let is_for = |wanted| facts(chain, licence).map(|facts| facts.asset == wanted);
        if chain.call("asking whose a licence is", LICENCES, &call)? && asset.map_or(Ok(true), is_for)? {
            good.push(licence);
        }
    }
    Ok(good)
}

fn facts(chain: &Chain, licence: U256) -> Result<Licences::licenceOfReturn> {
    chain.call("asking for the licence", LICENCES, &Licences::licenceOfCall { licence })
}

/// Asset, terms and end of a licence.
pub(super) fn licence_of(chain: &Chain, licence: U256) -> Result<(B256, Terms, u64)> {
    let facts = facts(chain, licence)?;
    if facts.withdrawnAt != 0 {
        return Err(Error::user(format!("licence {licence} was withdrawn")));
    }
    Ok((facts.asset, facts.terms, facts.ends))
}

fn ls(args: &LsArgs, context: &mut Context) -> Result<()> {
    let chain = args.network.find(context)?.chain();
    let who = crate::wallet::address(&args.wallet.path(context))?;
    let all = licences(&chain, who, None)?;
    let facts: Vec<_> = all.iter().map(|licence| facts(&chain, *licence)).collect::<Result<_>>()?;
    if context.out.json() {
        let list: Vec<Value> = all.iter().zip(&facts).map(|(licence, facts)| value(*licence, facts)).collect();
        return context.out.value(&list);
    }
    if all.is_empty() {
        return context.out.line("this wallet has no licence on this chain");
    }
    all.iter().zip(&facts).try_for_each(|(licence, facts)| {
        context.out.line(&format!("licence {licence} of {}", facts.asset))?;
        context.out.folded("    ", &terms_words(&facts.terms))
    })
}

fn show(args: &ShowArgs, context: &mut Context) -> Result<()> {
    let chain = args.network.find(context)?.chain();
    let facts = facts(&chain, args.licence)?;
    let holder = chain.call("asking whose it is", LICENCES, &Licences::ownerOfCall { licence: args.licence })?;
    if context.out.json() {
        let mut value = value(args.licence, &facts);
        value["holder"] = json!(holder);
        return context.out.value(&value);
    }
    context.out.line(&format!("licence {} of {}", args.licence, facts.asset))?;
    context.out.line(&format!("held by {holder}"))?;
    context.out.folded("", &terms_words(&facts.terms))?;
    let moment = |seconds: u64| super::output::moment(seconds.saturating_mul(1000));
    if facts.ends != u64::MAX {
        context.out.line(&format!("good until {}", moment(facts.ends)))?;
    }
    match facts.withdrawnAt {
        0 => Ok(()),
        at => context.out.line(&format!("withdrawn {}", moment(at))),
    }
}

fn value(licence: U256, facts: &Licences::licenceOfReturn) -> Value {
    let mut value = terms_value(&facts.terms);
    value["licence"] = json!(licence.to_string());
    value["asset"] = json!(facts.asset);
    value["bought"] = json!(facts.boughtAt);
    value["ends"] = if facts.ends == u64::MAX { Value::Null } else { json!(facts.ends) };
    value["withdrawn"] = if facts.withdrawnAt == 0 { Value::Null } else { json!(facts.withdrawnAt) };
    value
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Said {
        #[command(flatten)]
        terms: OpenTerms,
        #[command(flatten)]
        money: MoneyArgs,
    }

    #[test]
    fn a_second_licence_of_the_same_terms_is_bought_only_if_that_is_said() {
        assert!(refuse_another(vec![], false).is_ok());
        let error = refuse_another(vec![U256::from(7)], false).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.report().contains("session open --licence 7`") && error.report().contains("--again"));
        assert!(!refuse_another(vec![U256::from(7)], true).unwrap_err().report().contains("session open"));
    }

    #[test]
    fn a_session_that_fails_after_the_licence_was_paid_says_how_to_go_on() {
        let said =
            Said::parse_from(["it", "--deposit", "1", "--as", "mine", "--network", "here", "--wallet", "w.json"]);
        let typed = format!("{}{}", said.terms.typed(), said.money.typed());
        let go_on = "`sahara session open --licence 7 --session-days 30 --deposit 1 --as mine --network here --wallet 'w.json'`";
        for (error, code) in [(Error::user("no"), 1), (Error::fault("no"), 1), (Error::unsettled("no"), 3)] {
            let error = unopened(error, U256::from(7), &typed);
            assert_eq!(error.exit_code(), code);
            assert!(error.report().starts_with("licence 7 is yours") && error.report().contains(go_on));
        }
    }
}
