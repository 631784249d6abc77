//! `sahara licence buy`: the price is paid, in the native coin or in a token, and a session opened.

use alloy_primitives::{Address, B256, U256};
use clap::Args;
use sahara_market::LICENCES;
use sahara_market::abi::{Allowance, Licences, Terms, Token};
use serde_json::json;
use std::path::PathBuf;

use super::{facts, licence_of, licences};
use crate::chain_client::{Chain, Order, Preview};
use crate::commands::Context;
use crate::commands::asset::offers;
use crate::commands::money::{MoneyArgs, Payer, id};
use crate::commands::session::{OpenTerms, Plan, open_planned, plan};
use crate::commands::terms::{FULL_ACCESS, call_price, terms_value, terms_words};
use crate::error::{Blame, Error, Result};
use crate::market::ciphertext::Sealed;
use crate::market::coin::Coin;
use crate::wallet::amount::Amount;

/// Most gas that opening a session takes: it cannot be tried before there is a licence.
const OPENING_GAS: u64 = 600_000;
/// Most gas of a purchase that cannot be tried before a token allows it.
const BUYING_GAS: u64 = 500_000;
/// Seconds for which a permit is good.
const PERMIT_TIME: u64 = 3600;

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
    /// Pay in this token; its contract is then allowed to take the price, by permit where it knows them
    #[arg(long, value_name = "ADDRESS")]
    token: Option<Address>,
    /// The ciphertext that is bought with a full-access licence: it has to be the one that is offered
    #[arg(long, value_name = "FILE")]
    ciphertext: Option<PathBuf>,
    /// Pay for the key of a ciphertext that is not here
    #[arg(long, conflicts_with = "ciphertext")]
    without_ciphertext: bool,
    /// Open no session
    #[arg(long, conflicts_with_all = ["deposit", "session_days", "committees", "name", "cap_call", "cap_day"])]
    no_session: bool,
    /// Buy one more, though this wallet has a good licence of these terms
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    session: OpenTerms,
    #[command(flatten)]
    money: MoneyArgs,
}

/// A licence that is to be bought.
pub struct Purchase {
    /// Of what.
    pub asset: B256,
    /// On which terms.
    pub terms: Terms,
    /// Their hash.
    pub hash: B256,
    /// In what its price is paid.
    pub coin: Coin,
}

pub fn buy(args: &BuyArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let (hash, terms) = chosen(&payer.chain, args)?;
    let coin = Coin::of(&payer.chain, terms.token)?;
    context.progress.note(&terms_words(&terms, &coin));
    let most = args.max_price.map_or(Ok(terms.price), |most| coin.units(most))?;
    let purchase = Purchase { asset: args.asset, terms, hash, coin };
    purchase.within(most)?;
    match &args.ciphertext {
        Some(file) if purchase.terms.kind == FULL_ACCESS => is_offered(file, &purchase.terms)?,
        Some(_) => {
            return Err(Error::user("this licence sells no ciphertext: leave out --ciphertext; nothing was paid"));
        }
        None if purchase.terms.kind == FULL_ACCESS && !args.without_ciphertext => {
            return Err(Error::user(
                "what is sold is a key for a ciphertext: have that before you pay, and name it with --ciphertext FILE, or say \
                 --without-ciphertext if you can have it later (the price is its owner's once the key is there, with the ciphertext or \
                 without); nothing was paid",
            ));
        }
        None => {}
    }
    if !args.again {
        let known = held(&payer, args.asset, &purchase.terms)?;
        refuse_another(known, args.no_session || call_price(&purchase.terms) == 0)?;
    }
    let call = Licences::buyCall {
        asset: args.asset,
        termsHash: hash,
        maxPrice: most,
        maxRevenueShare: purchase.terms.revenueShare,
        holder: payer.address,
    };
    let sought = if args.no_session { None } else { Some(&args.session) };
    let typed = format!("{}{}", args.session.typed(), args.money.typed());
    purchase.carry_out(&mut payer, Buying::Offer(call), sought, &typed, context)
}

/// How it is bought.
pub enum Buying {
    /// By an offer that stands.
    Offer(Licences::buyCall),
    /// By an agreement.
    Agreement(Box<Licences::partnerCall>),
}

impl Purchase {
    /// Refuses a price above `most`.
    pub fn within(&self, most: u128) -> Result<()> {
        match self.terms.price <= most {
            true => Ok(()),
            false => Err(Error::user(format!(
                "the licence costs {}, more than the {} that you allow",
                self.coin.words(self.terms.price),
                self.coin.words(most)
            ))),
        }
    }

    /// Pays the price and opens a session, if one is `sought` and the licence has a price a call; or says what that would cost.
    /// `typed`: how a session is opened with the same options.
    pub fn carry_out(
        &self,
        payer: &mut Payer,
        how: Buying,
        sought: Option<&OpenTerms>,
        typed: &str,
        context: &mut Context,
    ) -> Result<()> {
        let terms = &self.terms;
        // Whatever can stop the session stops it before the licence is paid.
        let sought = sought.map(|session| sessionless(terms, session).map(|()| session)).transpose()?;
        let plan = match sought {
            Some(session) if call_price(terms) > 0 => {
                Some((plan(payer, self.asset, terms.clone(), session, context)?, session))
            }
            _ => None,
        };
        if plan.is_none() && terms.kind != FULL_ACCESS && call_price(terms) == 0 {
            context
                .progress
                .note("no session is opened: these terms have no price a call, so that no call can be paid");
        }
        let deposit = plan.as_ref().map(|(plan, _)| Plan::deposit(plan));
        let (first, order) = self.orders(payer, how)?;
        context.progress.step("looking at what it takes");
        let opening = if plan.is_some() { OPENING_GAS } else { 0 };
        // What an allowance has to come before cannot be tried yet.
        let (tried, gas) = match first.first() {
            Some(first) => (first, opening + BUYING_GAS),
            None => (&order, opening),
        };
        let more = Amount::from(deposit.unwrap_or_default());
        let preview = payer.chain.preview_with(payer.address, tried, more, gas)?;
        if payer.only_tries() {
            return self.tell_tried(&preview, deposit, context);
        }
        for order in &first {
            payer.carry_out(order, context)?;
        }
        let Some(done) = payer.carry_out(&order, context)? else { return Ok(()) };
        let bought = done.event::<Licences::Bought>(LICENCES);
        let bought = bought.filter(|event| event.asset == self.asset && event.termsHash == self.hash);
        let licence = bought.map(|event| event.licence).ok_or_else(|| {
            Error::fault(format!(
                "the licence was paid (transaction {}), and the node does not say its number: see `sahara licence ls`",
                done.transaction
            ))
        })?;
        let mut value = terms_value(terms);
        value["licence"] = json!(licence.to_string());
        value["asset"] = json!(self.asset);
        value["terms"] = json!(self.hash);
        let mut words = format!("licence {licence} is yours: {}", terms_words(terms, &self.coin));
        if terms.kind == FULL_ACCESS {
            words.push_str(&format!(
                "; the price waits until its owner opens the ciphertext: then `sahara licence unpack {licence} --from FILE --out \
                 FOLDER`; if that does not happen within 7 days, `sahara licence refund {licence}`"
            ));
        }
        if plan.is_none() && terms.kind != FULL_ACCESS {
            words.push_str(&match call_price(terms) {
                0 => "; no session is opened, as it has no price a call".to_owned(),
                _ => format!("; no session is opened: `sahara session open --licence {licence}` does"),
            });
        }
        if let Some((plan, session)) = plan {
            // Whatever becomes of the session.
            context.progress.note(&format!("licence {licence} is yours"));
            let opened = licence_of(&payer.chain, licence)
                .and_then(|(_, _, ends)| open_planned(payer, licence, ends, plan, session, context))
                .map_err(|error| unopened(error, licence, typed))?;
            if let Some(opened) = opened {
                words.push_str(&format!("; {}", opened.words()));
                value["session"] = opened.json();
            }
        }
        payer.tell(&words, value, context)
    }

    /// What has to be sent: what lets the contract take the price, if anything has to, and what buys.
    fn orders(&self, payer: &Payer, how: Buying) -> Result<(Vec<Order>, Order)> {
        let price = self.terms.price;
        let doing = "buying the licence";
        let plain = |how: Buying| match how {
            Buying::Offer(call) => Order::call(doing, LICENCES, &call),
            Buying::Agreement(call) => Order::call("making the partnership", LICENCES, &*call),
        };
        if self.coin.is_native() {
            return Ok((vec![], plain(how).paying(price)));
        }
        let (chain, holder) = (&payer.chain, payer.address);
        let balance = self.coin.balance(chain, holder)?;
        if balance < U256::from(price) {
            return Err(Error::user(format!(
                "{doing}: {holder} has {}, and this takes {}",
                self.coin.words(balance.try_into().unwrap_or(u128::MAX)),
                self.coin.words(price)
            )));
        }
        let allowed = self.coin.allowance(chain, holder)?;
        if allowed >= U256::from(price) {
            return Ok((vec![], plain(how)));
        }
        if let Buying::Offer(call) = &how {
            let deadline = chain.time()?.saturating_add(PERMIT_TIME);
            let digest = self.coin.permit(chain, holder, price, deadline)?;
            let signature = digest.map(|digest| payer.sign(digest)).transpose()?.flatten();
            if let Some(signature) = signature {
                let call = with_permit(call, price, deadline, &signature);
                return Ok((vec![], Order::call(doing, LICENCES, &call)));
            }
        }
        let approve = |value: U256| {
            let call = Token::approveCall { spender: LICENCES, value };
            Order::call("allowing the price to be taken", self.coin.token, &call)
        };
        let mut first = vec![approve(U256::from(price))];
        if !allowed.is_zero() {
            // Some tokens change an allowance only from nothing.
            first.insert(0, approve(U256::ZERO));
        }
        Ok((first, plain(how)))
    }

    /// Says what would be paid.
    fn tell_tried(&self, preview: &Preview, deposit: Option<u128>, context: &mut Context) -> Result<()> {
        context.progress.clear();
        let price = self.coin.words(self.terms.price);
        if context.out.json() {
            let mut value = preview.json();
            value["doing"] = json!("buying the licence");
            value["deposit"] = json!(deposit.map(|deposit| deposit.to_string()));
            value["price"] = json!(self.terms.price.to_string());
            value["token"] = json!(self.coin.token.to_checksum(None));
            return context.out.value(&value);
        }
        let locked =
            deposit.map(|deposit| format!(", lock {} in a session", Amount::from(deposit))).unwrap_or_default();
        let words = format!(
            "buying the licence would pay {price}{locked}, and at most {} for gas; nothing was sent",
            preview.fee
        );
        context.out.folded("", &words)
    }
}

/// Refuses what was said of a session where none is opened.
fn sessionless(terms: &Terms, session: &OpenTerms) -> Result<()> {
    let why = if terms.kind == FULL_ACCESS { "sells a key" } else { "has no price a call" };
    match session.given().filter(|_| call_price(terms) == 0) {
        None => Ok(()),
        Some(option) => Err(Error::user(format!(
            "this licence {why}, so that no session is opened with it: leave out {option}; nothing was paid"
        ))),
    }
}

fn with_permit(
    call: &Licences::buyCall,
    price: u128,
    deadline: u64,
    signature: &[u8; 65],
) -> Licences::buyWithPermitCall {
    let permit = Allowance {
        value: U256::from(price),
        deadline: U256::from(deadline),
        v: signature[64],
        r: B256::from_slice(&signature[..32]),
        s: B256::from_slice(&signature[32..64]),
    };
    Licences::buyWithPermitCall {
        asset: call.asset,
        termsHash: call.termsHash,
        maxPrice: call.maxPrice,
        maxRevenueShare: call.maxRevenueShare,
        holder: call.holder,
        permit,
    }
}

/// Refuses a ciphertext that is not the one that is sold.
fn is_offered(file: &std::path::Path, terms: &Terms) -> Result<()> {
    let root = Sealed::read(file)?.root();
    match root == terms.details {
        true => Ok(()),
        false => Err(Error::user(format!(
            "{} has the root {root}, and {} is offered: nothing was paid",
            file.display(),
            terms.details
        ))),
    }
}

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

/// The offer that is meant.
fn chosen(chain: &Chain, args: &BuyArgs) -> Result<(B256, Terms)> {
    let mut all = offers(chain, args.asset)?;
    if let Some(hash) = args.terms {
        all.retain(|(known, _)| *known == hash);
    }
    if let Some(token) = args.token {
        all.retain(|(_, terms)| terms.token == token);
    }
    let (hash, terms) = match all.len() {
        1 => all.swap_remove(0),
        0 => return Err(Error::user("no licence is on offer under these terms: see `sahara asset show`")),
        many => {
            return Err(Error::user(format!(
                "{many} offers stand: say which with --terms HASH (`sahara asset show` lists them)"
            )));
        }
    };
    if args.token.is_none() && !terms.token.is_zero() {
        let price = Coin::of(chain, terms.token)?.words(terms.price);
        return Err(Error::user(format!(
            "this licence costs {price}, paid in a token: if you trust its contract, say --token {}",
            terms.token
        )));
    }
    Ok((hash, terms))
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
    fn what_is_said_of_a_session_is_refused_by_name_where_none_is_opened() {
        let terms = |kind, compute| Terms {
            kind,
            token: Address::ZERO,
            price: 2,
            royalty: 0,
            compute,
            duration: 0,
            revenueShare: 0,
            transferable: false,
            allowance: 0,
            details: B256::ZERO,
        };
        for words in [["--deposit", "1"], ["--as", "mine"], ["--session-days", "3"], ["--cap-day", "1"]] {
            let said = Said::parse_from([&["it"][..], &words].concat()).terms;
            for kind in [1, FULL_ACCESS] {
                let error = sessionless(&terms(kind, 0), &said).unwrap_err();
                assert!(error.exit_code() == 2 && error.report().contains(words[0]), "{}", error.report());
            }
            assert!(sessionless(&terms(1, 3), &said).is_ok());
        }
        assert!(sessionless(&terms(1, 0), &Said::parse_from(["it"]).terms).is_ok());
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
