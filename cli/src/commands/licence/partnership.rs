//! `sahara licence propose | accept`: terms of their own that an owner and a holder both sign.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, B256, U256, keccak256};
use clap::Args;
use sahara_market::ASSET_REGISTRY;
use sahara_market::abi::{AssetRegistry, Licences};
use sahara_mpc::durable;
use serde_json::json;

use super::buy::{Buying, Purchase};
use crate::commands::Context;
use crate::commands::money::{MoneyArgs, id, span};
use crate::commands::output::moment;
use crate::commands::session::OpenTerms;
use crate::commands::terms::{PARTNERSHIP, PriceArgs, terms_value, terms_words, unusable};
use crate::error::{Error, Result};
use crate::market::coin::Coin;
use crate::market::proposal::{MAX_DOCUMENT, Proposal};
use crate::wallet::amount::Amount;

#[derive(Args, Debug)]
#[command(override_usage = "sahara licence propose ASSET --holder ADDRESS --document FILE --out FILE")]
pub struct ProposeArgs {
    /// The asset, which is yours
    #[arg(value_parser = id)]
    asset: B256,
    /// Who may take it: the address of their wallet
    #[arg(long, value_name = "ADDRESS")]
    holder: Address,
    /// The terms in words: a text of 64 KB at most, whose hash the licence binds
    #[arg(long, value_name = "FILE")]
    document: PathBuf,
    /// For how long it may be taken: days, or 12h, 90m, 45s
    #[arg(long, value_name = "N", default_value = "7", value_parser = span)]
    valid: u64,
    /// Where the proposal goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    price: PriceArgs,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct AcceptArgs {
    /// The proposal
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The most that the licence may cost [default: what is proposed]
    #[arg(long, value_name = "AMOUNT")]
    max_price: Option<Amount>,
    /// Pay in this token; its contract is then allowed to take the price
    #[arg(long, value_name = "ADDRESS")]
    token: Option<Address>,
    /// Open no session
    #[arg(long, conflicts_with_all = ["deposit", "session_days", "committees", "name", "cap_call", "cap_day"])]
    no_session: bool,
    #[command(flatten)]
    session: OpenTerms,
    #[command(flatten)]
    money: MoneyArgs,
}

/// Signs terms for one holder; nothing is sent.
pub fn propose(args: &ProposeArgs, context: &mut Context) -> Result<()> {
    let payer = args.money.payer(context)?;
    let owner = AssetRegistry::ownerOfCall { asset: args.asset };
    let owner = payer.chain.call("asking for the owner", ASSET_REGISTRY, &owner)?;
    if owner != payer.address {
        return Err(Error::user(format!("asset {} is {owner}'s: sign with that wallet (--wallet)", args.asset)));
    }
    let document = text(&args.document)?;
    let details = keccak256(document.as_bytes());
    let (terms, coin) = args.price.terms(&payer.chain, PARTNERSHIP, details)?;
    if let Some(why) = unusable(&terms) {
        context.progress.note(why);
    }
    if args.out.exists() {
        return Err(Error::user(format!("{} is there already: name another file", args.out.display())));
    }
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|e| Error::fault(format!("the system gives no random numbers: {e}")))?;
    let deadline = payer.chain.time()?.saturating_add(args.valid);
    let nonce = U256::from_be_bytes(nonce);
    let proposal = Proposal::new(payer.chain.id(), args.asset, args.holder, nonce, deadline, &terms, document);
    let mut value = terms_value(&terms);
    value["asset"] = json!(args.asset);
    value["holder"] = json!(args.holder.to_checksum(None));
    value["deadline"] = json!(deadline);
    let words = format!(
        "{} may take until {}: {}",
        args.holder,
        moment(deadline.saturating_mul(1000)),
        terms_words(&terms, &coin)
    );
    let Some(signature) = payer.sign(proposal.digest()?)? else {
        value["dry_run"] = json!(true);
        return match context.out.json() {
            true => context.out.value(&value),
            false => context.out.folded("", &format!("{words}; nothing was signed")),
        };
    };
    let bytes = proposal.signed(&signature)?;
    let written = durable::create(&args.out, |file| file.write_all(&bytes));
    written.map_err(|e| Error::io("writing the proposal", &args.out, e))?;
    value["file"] = json!(args.out);
    match context.out.json() {
        true => context.out.value(&value),
        false => context.out.folded(
            "",
            &format!("{words}. Signed in {}: the holder takes it with `sahara licence accept`", args.out.display()),
        ),
    }
}

/// Signs as the holder, pays and makes the partnership.
pub fn accept(args: &AcceptArgs, context: &mut Context) -> Result<()> {
    let proposal = Proposal::read(&args.file)?;
    let mut payer = args.money.payer(context)?;
    let chain = &payer.chain;
    if proposal.chain != chain.id() {
        return Err(Error::user(format!(
            "the proposal is for chain {}, this network is chain {}: name another with --network",
            proposal.chain,
            chain.id()
        )));
    }
    if proposal.holder != payer.address {
        return Err(Error::user(format!(
            "the proposal is for {}, not for {}: sign with that wallet (--wallet)",
            proposal.holder, payer.address
        )));
    }
    let owner = AssetRegistry::ownerOfCall { asset: proposal.asset };
    proposal.check(chain.call("asking for the owner", ASSET_REGISTRY, &owner)?)?;
    if proposal.deadline < chain.time()? {
        let until = moment(proposal.deadline.saturating_mul(1000));
        return Err(Error::user(format!("the proposal was good until {until}: ask for another one")));
    }
    let terms = proposal.terms()?;
    let coin = Coin::of(chain, terms.token)?;
    if args.token.unwrap_or_default() != terms.token {
        let price = coin.words(terms.price);
        return Err(Error::user(match terms.token.is_zero() {
            true => format!("this partnership costs {price}, not paid in a token: leave out --token"),
            false => format!(
                "this partnership costs {price}, paid in a token: if you trust its contract, say --token {}",
                terms.token
            ),
        }));
    }
    context.progress.note(&terms_words(&terms, &coin));
    proposal.document.lines().for_each(|line| context.progress.note(&format!("| {line}")));
    let most = args.max_price.map_or(Ok(terms.price), |most| coin.units(most))?;
    let hash = terms.hash(proposal.asset);
    let purchase = Purchase { asset: proposal.asset, terms: terms.clone(), hash, coin };
    purchase.within(most)?;
    // Who sends it need not sign: nothing is, where nothing is sent.
    let signature = payer.sign(proposal.digest()?)?.unwrap_or([0; 65]);
    let call = Licences::partnerCall { a: proposal.agreement(&signature), t: terms };
    let sought = if args.no_session { None } else { Some(&args.session) };
    let typed = format!("{}{}", args.session.typed(), args.money.typed());
    purchase.carry_out(&mut payer, Buying::Agreement(Box::new(call)), sought, &typed, context)
}

fn text(file: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(|e| Error::io("reading", file, e))?;
    opened.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut bytes).map_err(|e| Error::io("reading", file, e))?;
    if bytes.is_empty() || bytes.len() > MAX_DOCUMENT {
        return Err(Error::user(format!("{}: terms are a text of 1 to {MAX_DOCUMENT} bytes", file.display())));
    }
    String::from_utf8(bytes).map_err(|_| Error::user(format!("{} is not UTF-8", file.display())))
}
