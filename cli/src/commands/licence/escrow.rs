//! `sahara licence deliver | unpack | dispute | complain | refund | collect | withdraw`: what becomes of a price that waits.

use std::path::PathBuf;

use alloy_primitives::{Address, B256, U256};
use clap::Args;
use sahara_market::abi::{AssetRegistry, Licences, Terms, Token};
use sahara_market::{ASSET_REGISTRY, LICENCES};
use serde_json::json;

use super::delivery::{self, Sale};
use super::facts;
use crate::chain_client::{Chain, Order};
use crate::commands::Context;
use crate::commands::money::{MoneyArgs, Payer};
use crate::commands::network::NetworkArgs;
use crate::commands::output::moment;
use crate::commands::publish;
use crate::commands::terms::FULL_ACCESS;
use crate::error::{Blame, Error, Result};
use crate::market::ciphertext::{Sealed, Wrong};
use crate::market::coin::Coin;
use crate::market::content::registered;
use crate::moment::DAY;

/// Since the purchase, for the owner to open what was sold; since the opening, for anybody to show that the key is wrong: the
/// contract's own numbers.
pub(super) const OPENING_TIME: u64 = 7 * DAY;
pub(super) const DISPUTE_TIME: u64 = 3 * DAY;
/// Since a complaint, for the owner to answer.
pub(super) const ANSWER_TIME: u64 = 7 * DAY;
/// What a licence's money does.
pub(super) const PAID: u8 = 0;
pub(super) const VESTING: u8 = 1;
pub(super) const SEALED: u8 = 2;

/// A licence that money moves for.
#[derive(Args, Debug)]
pub struct OneArgs {
    /// Its number
    licence: U256,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct UnpackArgs {
    /// Its number
    licence: U256,
    /// The ciphertext
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Folder that is made from it
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Args, Debug)]
pub struct DisputeArgs {
    /// Its number
    licence: U256,
    /// The ciphertext
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    money: MoneyArgs,
}

/// Opens the ciphertext for all who bought it. Nobody sees the key before it is proven that a price waits for it.
pub fn deliver(args: &OneArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    context.progress.step("proving that the price waits for the key");
    let sale = delivery::due(&payer, args.licence)?;
    let Sale { asset, root, until, .. } = sale;
    let key = publish::key(&context.home, root)?;
    // Whoever only tries shows another one: what it costs is the same.
    let shown = if payer.only_tries() { B256::ZERO } else { B256::from(*key) };
    let call = Licences::openCall { asset, root, key: shown };
    let order = Order::call("opening the ciphertext", LICENCES, &call).unseen(delivery::GAS);
    let done = payer.carry_out(&order, context).map_err(|error| match error.blame() {
        Blame::User => error,
        _ => {
            let words = format!(
                "{}; nodes of the chain have seen the key, and the price is yours only if it is in a block before {}: see \
                 `sahara licence show {}` and type this again if it does not say that it was delivered",
                error.report(),
                moment(until.saturating_mul(1000)),
                args.licence
            );
            error.saying(words)
        }
    })?;
    let Some(done) = done else { return Ok(()) };
    let due = payer.chain.time()?.saturating_add(DISPUTE_TIME);
    let words = format!(
        "the key of ciphertext {root} is public, for all who bought it: from {} on the price is yours with `sahara licence \
         collect {}`, unless somebody shows that the key is wrong",
        moment(due.saturating_mul(1000)),
        args.licence
    );
    let value = json!({"licence": args.licence.to_string(), "asset": asset, "root": root, "block": done.block});
    payer.tell(&words, value, context)
}

/// Opens the ciphertext that was bought, with the key that is on the chain.
pub fn unpack(args: &UnpackArgs, context: &mut Context) -> Result<()> {
    let chain = args.network.find(context)?.chain();
    let (asset, terms, bought) = full_access(&chain, args.licence)?;
    let key = opened(&chain, asset, &terms, bought, args.licence)?;
    context.progress.step("comparing the ciphertext with what was sold");
    let sealed = the_one_that_was_sold(&args.from, &terms)?;
    if sealed.wrong(&key)?.is_some() {
        return Err(Error::user(format!(
            "the key that the owner opened is not this ciphertext's: `sahara licence dispute {} --from {}` gets the price back",
            args.licence,
            args.from.display()
        )));
    }
    context.progress.step("opening");
    let files = sealed.unpack(&key, &args.out)?;
    context.progress.clear();
    if context.out.json() {
        return context.out.value(&json!({"licence": args.licence.to_string(), "folder": args.out, "files": files}));
    }
    let root = registered(&chain, asset)?;
    let words = format!(
        "{files} files in {}. A model's weights have the root {root}, if it is what was registered: `sahara model pull` it and \
         see `sahara model show`",
        args.out.display()
    );
    context.out.folded("", &words)
}

/// Shows that the key is wrong, and takes the price back.
pub fn dispute(args: &DisputeArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let (asset, terms, bought) = full_access(&payer.chain, args.licence)?;
    let key = opened(&payer.chain, asset, &terms, bought, args.licence)?;
    let sealed = the_one_that_was_sold(&args.from, &terms)?;
    let wrong = sealed.wrong(&key)?;
    let Some(Wrong { index, piece, plaintext, proof }) = wrong else {
        return Err(Error::user(format!(
            "the key opens all of the ciphertext: `sahara licence unpack {} --from {} --out FOLDER`",
            args.licence,
            args.from.display()
        )));
    };
    let root = terms.details;
    let shown = Licences::openingOfCall { asset, root };
    if !payer.chain.call("asking for the opening", LICENCES, &shown)?.wrong {
        let index = U256::from(index);
        let call = Licences::disproveCall { asset, root, index, piece: piece.into(), plaintextHash: plaintext, proof };
        let order = Order::call("showing that the key is wrong", LICENCES, &call);
        if payer.carry_out(&order, context)?.is_none() {
            return Ok(());
        }
    }
    give_back(args.licence, &terms, &mut payer, context)
}

/// Says that the holder of a long-term licence is not served.
pub fn complain(args: &OneArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let money = Licences::moneyOfCall { licence: args.licence };
    let money = payer.chain.call("asking for its money", LICENCES, &money)?;
    if money.complainedAt != 0 {
        let due = moment(money.complainedAt.saturating_add(ANSWER_TIME).saturating_mul(1000));
        return Err(Error::user(format!(
            "licence {} is complained of already: `sahara licence refund {}` after {due}, unless somebody is served before",
            args.licence, args.licence
        )));
    }
    let call = Licences::complainCall { licence: args.licence };
    if payer.carry_out(&Order::call("complaining", LICENCES, &call), context)?.is_none() {
        return Ok(());
    }
    let due = payer.chain.time()?.saturating_add(ANSWER_TIME);
    let words = format!(
        "unless somebody is served before, `sahara licence refund {}` gives back what has not vested, after {}",
        args.licence,
        moment(due.saturating_mul(1000))
    );
    payer.tell(&words, json!({"licence": args.licence.to_string(), "until": due}), context)
}

/// Takes back what is owed to the holder of a licence.
pub fn refund(args: &OneArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let facts = facts(&payer.chain, args.licence)?;
    if facts.withdrawnAt == 0 {
        is_due(&payer.chain, args.licence, &facts)?;
    }
    give_back(args.licence, &facts.terms, &mut payer, context)
}

/// Refuses a refund that the contract would refuse, and says from when on it comes.
fn is_due(chain: &Chain, licence: U256, facts: &Licences::licenceOfReturn) -> Result<()> {
    let money = chain.call("asking for its money", LICENCES, &Licences::moneyOfCall { licence })?;
    let now = chain.time()?;
    let date = |seconds: u64| moment(seconds.saturating_mul(1000));
    let why = match money.state {
        VESTING if money.complainedAt == 0 => {
            format!("say first that it is not served, with `sahara licence complain {licence}`")
        }
        VESTING if now <= money.complainedAt.saturating_add(ANSWER_TIME) => {
            format!("the complaint can be answered until {}", date(money.complainedAt.saturating_add(ANSWER_TIME)))
        }
        SEALED => {
            let call = Licences::openingOfCall { asset: facts.asset, root: facts.terms.details };
            let opening = chain.call("asking for the opening", LICENCES, &call)?;
            let due = facts.boughtAt.saturating_add(OPENING_TIME);
            match opening.openedAt {
                _ if opening.wrong => return Ok(()),
                0 if now <= due => format!("its owner can deliver until {}", date(due)),
                0 => return Ok(()),
                at if at > due => return Ok(()),
                at => format!(
                    "it was delivered {}; whoever finds that the key is wrong says so with `sahara licence dispute {licence}`",
                    date(at)
                ),
            }
        }
        PAID => "its price is the owner's".to_owned(),
        _ => return Ok(()),
    };
    Err(Error::user(format!("nothing of licence {licence} comes back now: {why}")))
}

/// Sends what of a price is the owner's by now to the asset's revenue.
pub fn collect(args: &OneArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let facts = facts(&payer.chain, args.licence)?;
    let coin = Coin::of(&payer.chain, facts.terms.token)?;
    let call = Licences::collectCall { licence: args.licence };
    // Anybody may send it, and nobody pays gas for nothing.
    if payer.chain.call("asking what can be collected", LICENCES, &call)?.is_zero() {
        let why = unripe(&payer.chain, args.licence, &facts, &coin)?;
        return Err(Error::user(format!(
            "nothing of the price of licence {} can be collected now: {why}",
            args.licence
        )));
    }
    let Some(done) = payer.carry_out(&Order::call("collecting the price", LICENCES, &call), context)? else {
        return Ok(());
    };
    let amount = done.event::<Licences::Collected>(LICENCES).map_or(U256::ZERO, |event| event.amount);
    let units = u128::try_from(amount).unwrap_or(u128::MAX);
    let words = format!("{} are the asset's revenue now", coin.words(units));
    let value = json!({"licence": args.licence.to_string(), "collected": units.to_string(), "token": coin.token.to_checksum(None)});
    payer.tell(&words, value, context)
}

/// Why there is nothing to collect, and from when on there is.
fn unripe(chain: &Chain, licence: U256, facts: &Licences::licenceOfReturn, coin: &Coin) -> Result<String> {
    let money = chain.call("asking for its money", LICENCES, &Licences::moneyOfCall { licence })?;
    let collected = coin.words(money.collected);
    if money.state == VESTING {
        return Ok(match money.complainedAt {
            0 => format!("{collected} of it are collected, and more of it becomes the owner's day by day"),
            _ => format!(
                "{collected} of it are collected, and its holder complains: see `sahara licence show {licence}`"
            ),
        });
    }
    if money.state != SEALED {
        return Ok(format!("{collected} of it are collected, which is all that is the owner's"));
    }
    let call = Licences::openingOfCall { asset: facts.asset, root: facts.terms.details };
    let opening = chain.call("asking for the opening", LICENCES, &call)?;
    let due = moment(opening.openedAt.saturating_add(DISPUTE_TIME).saturating_mul(1000));
    Ok(match opening.openedAt {
        0 => format!("deliver it first, with `sahara licence deliver {licence}`"),
        _ if opening.wrong => "somebody showed that the key is wrong: the price goes back".to_owned(),
        _ => format!("the key can be disputed until {due}: come back then"),
    })
}

/// Ends a licence as the asset's owner, who pays back what is owed for it.
pub fn withdraw(args: &OneArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let terms = facts(&payer.chain, args.licence)?.terms;
    let coin = Coin::of(&payer.chain, terms.token)?;
    let owed = Licences::refundOwedCall { licence: args.licence };
    let owed = payer.chain.call("asking what is owed", LICENCES, &owed)?;
    let owed = u128::try_from(owed).map_err(|_| Error::fault("more is owed than there is"))?;
    let money = Licences::moneyOfCall { licence: args.licence };
    let what = match payer.chain.call("asking for its money", LICENCES, &money)?.state {
        VESTING => "what has not vested of its price goes back to its holder".to_owned(),
        SEALED if owed == 0 => "its price, which waits for a key, goes back to its holder".to_owned(),
        _ => format!("{} are paid back to its holder", coin.words(owed)),
    };
    context.progress.note(&what);
    let mut order = Order::call("withdrawing the licence", LICENCES, &Licences::withdrawCall { licence: args.licence });
    if coin.is_native() {
        // What is owed for time that is left becomes less until then; what is too much can be taken again.
        order = order.paying(owed);
    } else if owed > 0 && coin.allowance(&payer.chain, payer.address)? < U256::from(owed) {
        let call = Token::approveCall { spender: LICENCES, value: U256::from(owed) };
        let allow = Order::call("allowing what is owed to be taken", coin.token, &call);
        if payer.carry_out(&allow, context)?.is_none() {
            return Ok(());
        }
    }
    let Some(done) = payer.carry_out(&order, context)? else { return Ok(()) };
    let event = done.event::<Licences::Withdrawn>(LICENCES).filter(|event| event.licence == args.licence);
    let event = event.ok_or_else(|| {
        Error::fault(format!(
            "the licence was withdrawn (transaction {}), and the node does not say what went back: see `sahara licence show {}`",
            done.transaction, args.licence
        ))
    })?;
    let back = u128::try_from(event.refund).unwrap_or(u128::MAX);
    let own = event.holder == payer.address;
    // What was paid too much; of a licence of one's own all of it.
    take(coin.token, &mut payer, context)?;
    let words = format!(
        "licence {} is good for nothing any more; {}",
        args.licence,
        gone(args.licence, back, own, &event, &coin)
    );
    let value = json!({
        "licence": args.licence.to_string(),
        "holder": event.holder.to_checksum(None),
        "paid_back": back.to_string(),
        "token": coin.token.to_checksum(None),
    });
    payer.tell(&words, value, context)
}

/// What goes back to the holder, and how it is taken.
fn gone(licence: U256, back: u128, own: bool, event: &Licences::Withdrawn, coin: &Coin) -> String {
    let back_words = coin.words(back);
    match (back, own) {
        (0, _) => "nothing of its price goes back".to_owned(),
        (_, true) => format!("{back_words} came back"),
        _ => {
            format!("{back_words} are {}'s again, who takes them with `sahara licence refund {licence}`", event.holder)
        }
    }
}

fn give_back(licence: U256, terms: &Terms, payer: &mut Payer, context: &mut Context) -> Result<()> {
    let facts = facts(&payer.chain, licence)?;
    if facts.withdrawnAt == 0 {
        let call = Licences::refundCall { licence };
        let order = Order::call("asking for the price back", LICENCES, &call);
        if payer.carry_out(&order, context)?.is_none() {
            return Ok(());
        }
    }
    let coin = Coin::of(&payer.chain, terms.token)?;
    let Some(taken) = take(coin.token, payer, context)? else { return Ok(()) };
    let words = match taken {
        0 => "nothing came back to this wallet that it has not taken".to_owned(),
        taken => format!("{} came back", coin.words(taken)),
    };
    let value =
        json!({"licence": licence.to_string(), "returned": taken.to_string(), "token": coin.token.to_checksum(None)});
    payer.tell(&words, value, context)
}

/// Takes what lies for this wallet at the licences' contract; nothing if it was only tried.
fn take(token: Address, payer: &mut Payer, context: &mut Context) -> Result<Option<u128>> {
    let takeable = Licences::takeableCall { account: payer.address, token };
    let takeable = payer.chain.call("asking for what came back", LICENCES, &takeable)?;
    if takeable.is_zero() {
        return Ok(Some(0));
    }
    let call = Licences::takeCall { token, to: payer.address };
    let done = payer.carry_out(&Order::call("taking what came back", LICENCES, &call), context)?;
    Ok(done.map(|done| {
        let taken = done.event::<Licences::Taken>(LICENCES).map_or(takeable, |event| event.amount);
        taken.try_into().unwrap_or(u128::MAX)
    }))
}

/// Asset, terms and time of purchase of a full-access licence.
fn full_access(chain: &Chain, licence: U256) -> Result<(B256, Terms, u64)> {
    let facts = facts(chain, licence)?;
    match facts.terms.kind {
        FULL_ACCESS => Ok((facts.asset, facts.terms, facts.boughtAt)),
        _ => Err(Error::user(format!(
            "licence {licence} is not one for full access: see `sahara licence show {licence}`"
        ))),
    }
}

/// The key that the owner opened.
fn opened(chain: &Chain, asset: B256, terms: &Terms, bought: u64, licence: U256) -> Result<B256> {
    let call = Licences::openingOfCall { asset, root: terms.details };
    let opening = chain.call("asking for the opening", LICENCES, &call)?;
    if opening.openedAt != 0 {
        return Ok(opening.key);
    }
    let owner = chain.call("asking for the owner", ASSET_REGISTRY, &AssetRegistry::ownerOfCall { asset })?;
    let due = moment(bought.saturating_add(OPENING_TIME).saturating_mul(1000));
    Err(Error::user(format!(
        "{owner} has not opened the ciphertext yet, and has time until {due}; after that `sahara licence refund {licence}`"
    )))
}

/// A ciphertext's file, which has to be what the licence names.
fn the_one_that_was_sold(file: &std::path::Path, terms: &Terms) -> Result<Sealed> {
    let sealed = Sealed::read(file)?;
    match sealed.root() == terms.details {
        true => Ok(sealed),
        false => Err(Error::user(format!(
            "{} is not the ciphertext of this licence: its root is {}, the licence's {}",
            file.display(),
            sealed.root(),
            terms.details
        ))),
    }
}
