//! `sahara licence buy | ls | show`: what this wallet may use.

use alloy_primitives::{B256, U256};
use alloy_sol_types::SolEvent;
use clap::{Args, Subcommand};
use sahara_market::LICENCES;
use sahara_market::abi::{Licences, Terms};
use serde_json::{Value, json};

use super::Context;
use super::asset::{offers, terms_value, terms_words};
use super::money::{MoneyArgs, id};
use super::network::NetworkArgs;
use super::session::{OpenTerms, open_session};
use super::wallet::FileArgs;
use crate::chain_client::{Chain, Order};
use crate::error::{Error, Result};
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
    #[arg(long)]
    no_session: bool,
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
    let call = Licences::buyCall {
        asset: args.asset,
        termsHash: hash,
        maxPrice: most,
        maxRevenueShare: terms.revenueShare,
        holder: payer.address,
    };
    let order = Order::call("buying the licence", LICENCES, &call).paying(terms.price);
    let Some(done) = payer.carry_out(&order, context)? else { return Ok(()) };
    let bought = done.event::<Licences::Bought>(LICENCES);
    let licence =
        bought.filter(|event| event.asset == args.asset && event.termsHash == hash).map(|event| event.licence);
    let licence = licence.ok_or_else(|| {
        Error::fault(format!(
            "the licence was paid (transaction {}), and the node does not say its number",
            done.transaction
        ))
    })?;
    let mut value = terms_value(&terms);
    value["licence"] = json!(licence.to_string());
    value["asset"] = json!(args.asset);
    value["terms"] = json!(hash);
    let mut words = format!("licence {licence} is yours: {}", terms_words(&terms));
    if !args.no_session && terms.royalty.saturating_add(terms.compute) > 0 {
        // Whatever becomes of the session.
        context.progress.note(&format!("licence {licence} is yours"));
        let opened = open_session(&mut payer, licence, &args.session, context)?;
        if let Some(opened) = opened {
            words.push_str(&format!("; {}", opened.words()));
            value["session"] = opened.json();
        }
    }
    payer.tell(&words, value, context)
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
    let topics = [Some(Licences::Bought::SIGNATURE_HASH), None, asset];
    let logs = chain.logs("asking for the licences", LICENCES, &topics)?;
    let mut all = Vec::new();
    for log in &logs {
        let event = Licences::Bought::decode_raw_log_validate(log.topics.iter().copied(), &log.data);
        let Ok(event) = event else { continue };
        let call = Licences::isUserCall { licence: event.licence, who };
        if !all.contains(&event.licence) && chain.call("asking whose a licence is", LICENCES, &call)? {
            all.push(event.licence);
        }
    }
    Ok(all)
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
