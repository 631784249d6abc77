//! `sahara licence`: what this wallet may use, and what others may use of what is its own.

mod buy;
mod escrow;
mod partnership;

use std::collections::BTreeSet;

use alloy_primitives::{B256, U256};
use alloy_sol_types::SolEvent;
use clap::{Args, Subcommand};
use sahara_market::LICENCES;
use sahara_market::abi::{Licences, Terms};
use serde_json::{Value, json};

use super::Context;
use super::network::NetworkArgs;
use super::terms::{FULL_ACCESS, LONG_TERM, terms_of, terms_value};
use super::wallet::FileArgs;
use crate::chain_client::{Chain, Key};
use crate::error::{Error, Result};
use crate::market::coin::Coin;

#[derive(Subcommand, Debug)]
#[command(after_help = "\
`licence buy ASSET` shows the price, pays it, and opens a session: a deposit
from which calls are paid, one by one. After that `sahara embed --model ASSET`
is paid by itself, within the caps that you set here.

A full-access licence sells the key of a ciphertext: `asset publish`, `asset
offer --kind full-access`, then the buyer's `licence buy`, the owner's `licence
deliver`, the buyer's `licence unpack`, or `dispute`. A partnership has terms
that both signed: the owner's `licence propose`, the holder's `licence accept`.")]
pub enum LicenceCommand {
    /// Buy a licence, and open a session with it
    Buy(Box<buy::BuyArgs>),
    /// Sign terms for one holder, as the asset's owner
    Propose(Box<partnership::ProposeArgs>),
    /// Sign a proposal as its holder, pay, and open a session
    Accept(Box<partnership::AcceptArgs>),
    /// Open the ciphertext that was sold, as its owner: its key becomes public
    Deliver(escrow::OneArgs),
    /// Open the ciphertext that was bought, once its owner has delivered
    Unpack(escrow::UnpackArgs),
    /// Show that the key is wrong, and take the price back
    Dispute(escrow::DisputeArgs),
    /// Say that a long-term licence is not served
    Complain(escrow::OneArgs),
    /// Take the price back: it was not delivered in time, or a complaint stayed unanswered
    Refund(escrow::OneArgs),
    /// Take what of a price is the owner's by now
    Collect(escrow::OneArgs),
    /// End a licence as the asset's owner, and pay back what is owed for it
    Withdraw(escrow::OneArgs),
    /// List this wallet's licences
    Ls(LsArgs),
    /// Show a licence: its terms, and until when it is good
    Show(ShowArgs),
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

/// What a licence's money does, as the contract counts it.
const MONEY: [&str; 4] = ["paid", "vesting", "sealed", "refunded"];

pub fn run(command: LicenceCommand, context: &mut Context) -> Result<()> {
    match command {
        LicenceCommand::Buy(args) => buy::buy(&args, context),
        LicenceCommand::Propose(args) => partnership::propose(&args, context),
        LicenceCommand::Accept(args) => partnership::accept(&args, context),
        LicenceCommand::Deliver(args) => escrow::deliver(&args, context),
        LicenceCommand::Unpack(args) => escrow::unpack(&args, context),
        LicenceCommand::Dispute(args) => escrow::dispute(&args, context),
        LicenceCommand::Complain(args) => escrow::complain(&args, context),
        LicenceCommand::Refund(args) => escrow::refund(&args, context),
        LicenceCommand::Collect(args) => escrow::collect(&args, context),
        LicenceCommand::Withdraw(args) => escrow::withdraw(&args, context),
        LicenceCommand::Ls(args) => ls(&args, context),
        LicenceCommand::Show(args) => show(&args, context),
    }
}

/// Of licences that others gave to an account or lend it, so many are looked at, the newest: anybody may give some away.
const GIFTS: usize = 64;

/// The licences that `who` holds, or is the user of, for `asset` or any: all that it bought itself, and the newest that others gave or
/// lend it.
pub(super) fn licences(chain: &Chain, who: alloy_primitives::Address, asset: Option<B256>) -> Result<Vec<U256>> {
    let doing = "asking for the licences";
    let came = [Some(Licences::Transfer::SIGNATURE_HASH), None, Some(who.into_word())];
    let lent = [Some(Licences::UpdateUser::SIGNATURE_HASH), None, Some(who.into_word())];
    let mut all = BTreeSet::new();
    for (key, most) in [(Key::Account(who), usize::MAX), (Key::Others(who), GIFTS)] {
        let came = chain.logs(doing, LICENCES, key, &came)?;
        let lent = chain.logs(doing, LICENCES, key, &lent)?;
        let came = came.iter().rev().filter_map(|log| log.topics.get(3).copied());
        let lent = lent.iter().rev().filter_map(|log| log.topics.get(1).copied());
        all.extend(came.take(most).chain(lent.take(most)).map(|licence| U256::from_be_bytes(licence.0)));
    }
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
    if facts.ends <= chain.time()? {
        let since = super::output::moment(facts.ends.saturating_mul(1000));
        return Err(Error::user(format!(
            "licence {licence} is over since {since}: buy another with `sahara licence buy {}`",
            facts.asset
        )));
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
        context.out.folded("    ", &terms_of(&chain, &facts.terms)?)
    })
}

fn show(args: &ShowArgs, context: &mut Context) -> Result<()> {
    let chain = args.network.find(context)?.chain();
    let facts = facts(&chain, args.licence)?;
    let holder = chain.call("asking whose it is", LICENCES, &Licences::ownerOfCall { licence: args.licence })?;
    let money = chain.call("asking for its money", LICENCES, &Licences::moneyOfCall { licence: args.licence })?;
    if context.out.json() {
        let mut value = value(args.licence, &facts);
        value["holder"] = json!(holder.to_checksum(None));
        value["money"] = json!(MONEY.get(usize::from(money.state)));
        value["paid"] = json!(money.paid.to_string());
        value["collected"] = json!(money.collected.to_string());
        value["complained"] = if money.complainedAt == 0 { Value::Null } else { json!(money.complainedAt) };
        return context.out.value(&value);
    }
    context.out.line(&format!("licence {} of {}", args.licence, facts.asset))?;
    context.out.line(&format!("held by {holder}"))?;
    context.out.folded("", &terms_of(&chain, &facts.terms)?)?;
    let moment = |seconds: u64| super::output::moment(seconds.saturating_mul(1000));
    if facts.ends != u64::MAX {
        context.out.line(&format!("good until {}", moment(facts.ends)))?;
    }
    if [LONG_TERM, FULL_ACCESS].contains(&facts.terms.kind) {
        let coin = Coin::of(&chain, facts.terms.token)?;
        let state = MONEY.get(usize::from(money.state)).copied().unwrap_or("unknown");
        let (paid, collected) = (coin.words(money.paid), coin.words(money.collected));
        context.out.line(&format!("its money: {state}; {paid} paid, {collected} of it collected"))?;
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
