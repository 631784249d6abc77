//! `sahara session open | ls | allow | close`: deposits from which questions are paid.

use std::collections::BTreeSet;

use alloy_primitives::{B256, U256};
use clap::{Args, Subcommand};
use sahara_market::abi::{InferenceMarket, Operators, Terms};
use sahara_market::slots::SessionState;
use sahara_market::{Committee, INFERENCE_MARKET, OPERATORS, Session};
use sahara_mpc::client::Member;
use sahara_mpc::manifest::AccessRule;
use sahara_mpc::market::ManifestId;
use serde_json::{Value, json};

use super::Context;
use super::asset::{committee, committees};
use super::licence::{licence_of, licences};
use super::money::{MoneyArgs, Payer, id};
use super::network::NetworkArgs;
use super::wallet::FileArgs;
use crate::chain_client::{Chain, Order};
use crate::error::{Blame, Error, Result};
use crate::market::account::{Account, Caps};
use crate::market::allowance::spent_today;
use crate::market::bill::Deal;
use crate::market::content::registered;
use crate::market::lost;
use crate::market::network;
use crate::market::operators::{Accepted, insiders, named, not_independent};
use crate::market::purse::short;
use crate::market::{places, proven};
use crate::moment::{DAY, now};
use crate::wallet::amount::Amount;
use crate::wallet::{self, Secret};
use sahara::keys::{self, Role};
use sahara::network as nodes;

/// Blocks that a session is closing at least: the contract's own number.
const CLOSING_BLOCKS: u64 = 600;
/// Days until a session ends unless something else is said.
const SESSION_DAYS: u64 = 30;
/// Calls that a deposit is for unless something else is said.
const CALLS: u32 = 100;

#[derive(Subcommand, Debug)]
#[command(after_help = "\
A session locks a deposit to one licence and to its committees, each with a
part of it: the first is asked, the next one when it fails. A call is paid when
all three share nodes of a committee have signed its receipt; what is left
comes back when the session is closed, a day later. At risk is the price of one
call with each committee: where an answer is lost that was paid, the next one is
asked and paid, too. A committee that is found to have been paid without
an answer is asked no more.")]
pub enum SessionCommand {
    /// Lock a deposit for calls
    Open(Box<OpenArgs>),
    /// List sessions and what is left in them, also those of your wallet that are not kept here
    Ls(LsArgs),
    /// Change what may be spent from a session a call and a day
    Allow(AllowArgs),
    /// Close a session; a day later, again: what is left comes back
    Close(CloseArgs),
}

/// How a session is opened.
#[derive(Args, Clone, Debug)]
pub struct OpenTerms {
    /// What is locked for calls [default: 100 calls' price]
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    deposit: Option<Amount>,
    /// Days until it ends, at most as long as licence and committee are good [default: 30]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=366))]
    session_days: Option<u64>,
    /// The committee that is asked; named again, the one that stands by for it
    /// [repeatable; default: the two that were seated last]
    #[arg(long = "with", value_name = "COMMITTEE", value_parser = id)]
    committees: Vec<B256>,
    /// What the asset is called here: `--model NAME` then means it
    #[arg(long = "as", value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// The most that one call may cost [default: what it costs now]
    #[arg(long, value_name = "AMOUNT")]
    cap_call: Option<Amount>,
    /// The most that the calls of one day may cost
    /// [default: what is spent today already, and the deposit]
    #[arg(long, value_name = "AMOUNT")]
    cap_day: Option<Amount>,
}

#[derive(Args, Debug)]
pub struct OpenArgs {
    /// The asset that is to be asked [default: the licence's]
    #[arg(long, value_name = "ASSET", value_parser = id, required_unless_present = "licence")]
    asset: Option<B256>,
    /// The licence [default: the only one for the asset]
    #[arg(long, value_name = "NUMBER")]
    licence: Option<U256>,
    #[command(flatten)]
    terms: OpenTerms,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct AllowArgs {
    /// The session, or the beginning of its id
    session: String,
    /// The most that one call may cost
    #[arg(long, value_name = "AMOUNT")]
    cap_call: Option<Amount>,
    /// The most that the calls of one day may cost
    #[arg(long, value_name = "AMOUNT")]
    cap_day: Option<Amount>,
    /// Let the operators of its committees read what is asked
    #[arg(long)]
    operators: bool,
}

#[derive(Args, Debug)]
pub struct LsArgs {
    #[command(flatten)]
    wallet: FileArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Args, Debug)]
pub struct CloseArgs {
    /// The session, or the beginning of its id; one that is not kept here, by its whole id
    session: String,
    #[command(flatten)]
    money: MoneyArgs,
}

/// A session that was opened.
pub struct Opened {
    session: Session,
    id: B256,
    caps: Caps,
}

pub fn run(command: SessionCommand, context: &mut Context) -> Result<()> {
    match command {
        SessionCommand::Open(args) => open(&args, context),
        SessionCommand::Ls(args) => ls(&args, context),
        SessionCommand::Allow(args) => allow(&args, context),
        SessionCommand::Close(args) => close(&args, context),
    }
}

impl OpenTerms {
    /// What was said of a session, by its first option.
    pub(super) fn given(&self) -> Option<&'static str> {
        let said = [
            ("--deposit", self.deposit.is_some()),
            ("--session-days", self.session_days.is_some()),
            ("--with", !self.committees.is_empty()),
            ("--as", self.name.is_some()),
            ("--cap-call", self.cap_call.is_some()),
            ("--cap-day", self.cap_day.is_some()),
        ];
        said.into_iter().find_map(|(option, given)| given.then_some(option))
    }

    fn days(&self) -> u64 {
        self.session_days.unwrap_or(SESSION_DAYS)
    }

    /// As they are typed again.
    pub(super) fn typed(&self) -> String {
        let mut words = format!("--session-days {}", self.days());
        let mut add = |flag: &str, value: Option<String>| {
            if let Some(value) = value {
                words.push_str(&format!(" --{flag} {value}"));
            }
        };
        // A space in an amount would be two words.
        let plain = |amount: &Option<Amount>| amount.map(|amount| amount.to_string().replace(" SAH", ""));
        add("deposit", plain(&self.deposit));
        self.committees.iter().for_each(|committee| add("with", Some(committee.to_string())));
        add("as", self.name.clone());
        add("cap-call", plain(&self.cap_call));
        add("cap-day", plain(&self.cap_day));
        words
    }
}

impl Opened {
    /// For people.
    pub fn words(&self) -> String {
        let deposit = Amount::from(self.session.caps.iter().sum::<u128>());
        let price = Amount::from(self.session.price().unwrap_or_default());
        let day = Amount::from(self.caps.day);
        format!("session {} is open for calls at {price}, {day} a day at most: it locks {deposit}", short(self.id))
    }

    /// For other programs.
    pub fn json(&self) -> Value {
        json!({
            "session": self.id,
            "licence": self.session.licence.to_string(),
            "asset": self.session.asset,
            "committees": self.session.lanes,
            "deposit": self.session.caps.iter().sum::<u128>().to_string(),
            "price": self.session.price().unwrap_or_default().to_string(),
            "cap_call": self.caps.call.to_string(),
            "cap_day": self.caps.day.to_string(),
            "ends": self.session.ends,
        })
    }
}

fn open(args: &OpenArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let licence = match args.licence {
        Some(licence) => licence,
        None => only_licence(&payer, args.asset)?,
    };
    let Some(opened) = open_session(&mut payer, licence, &args.terms, context)? else { return Ok(()) };
    payer.tell(&opened.words(), opened.json(), context)
}

fn only_licence(payer: &Payer, asset: Option<B256>) -> Result<U256> {
    let mut all = licences(&payer.chain, payer.address, asset)?;
    match all.len() {
        1 => Ok(all.swap_remove(0)),
        0 => Err(Error::user("this wallet has no licence for this asset: `sahara licence buy ASSET`")),
        _ => Err(Error::user("this wallet has several licences for this asset: say which with --licence NUMBER")),
    }
}

/// A session that could be opened: everything about it that can be looked at before money is moved.
pub(super) struct Plan {
    asset: B256,
    price: u128,
    sold: Terms,
    committees: Vec<Committee>,
    files: Vec<Option<nodes::Committee>>,
    caps_of: Vec<u128>,
    caps: Caps,
}

impl Plan {
    /// What is locked.
    pub(super) fn deposit(&self) -> u128 {
        self.caps_of.iter().sum()
    }
}

/// Looks at all that can stop a session for `asset` under the terms that are `sold`; nothing is moved.
pub(super) fn plan(payer: &Payer, asset: B256, sold: Terms, terms: &OpenTerms, context: &mut Context) -> Result<Plan> {
    let price = sold.royalty.checked_add(sold.compute).filter(|price| *price > 0);
    let price = price.ok_or_else(|| {
        Error::user(
            "the licence has no price a call, and share nodes answer only calls that are paid: buy one of other terms",
        )
    })?;
    let all = sessions(context)?;
    if let Some(name) = &terms.name {
        is_free(name, asset, &all)?;
    }
    let committees = chosen(&payer.chain, asset, &terms.committees, context)?;
    let caps_of = lanes(terms.deposit, price, committees.len())?;
    let today = spent_today(&all, payer.chain.id(), None, None, now())?;
    let caps = caps(terms, price, caps_of.iter().sum(), today)?;
    let mut files = Vec::with_capacity(committees.len());
    for committee in &committees {
        let standings = standings(&payer.chain, committee)?;
        files.push(examined(&payer.chain, committee, &standings, !terms.committees.is_empty(), context)?);
        is_paid_enough(committee, &standings, sold.compute)?;
    }
    Ok(Plan { asset, price, sold, committees, files, caps_of, caps })
}

/// Refuses terms that pay an operator less than it asks now: the market opens no session then.
fn is_paid_enough(committee: &Committee, standings: &[Operators::standingReturn; 3], compute: u128) -> Result<()> {
    // What a member gets of one call, after the hundredth that is burnt.
    let offered = compute.saturating_sub(compute.div_ceil(100)) / 3;
    for (operator, asked) in committee.operators.iter().zip(standings.iter().map(|standing| standing.perCall)) {
        if asked > offered {
            return Err(Error::user(format!(
                "operator {operator} of committee {} asks {} a call, and the licence's terms pay it {}: choose another committee with \
                 --with, or another offer",
                committee.id(),
                Amount::from(asked),
                Amount::from(offered)
            )));
        }
    }
    Ok(())
}

/// What is locked for each of so many committees: whole numbers of calls, as equal as they can be: nothing else could be spent.
fn lanes(deposit: Option<Amount>, price: u128, lanes: usize) -> Result<Vec<u128>> {
    let deposit = match deposit {
        Some(deposit) => deposit.small().map_err(Error::user)?,
        None => price.saturating_mul(CALLS.into()),
    };
    let (calls, lanes) = (deposit / price, lanes as u128);
    if calls < lanes {
        let least = Amount::from(price.saturating_mul(lanes));
        let price = Amount::from(price);
        return Err(Error::user(match lanes {
            1 => format!("a call costs {price}: lock at least {least}"),
            _ => format!(
                "a call costs {price} and the session is with {lanes} committees: lock at least {least}, or choose one with \
                 --with"
            ),
        }));
    }
    Ok((0..lanes).map(|lane| ((calls + lanes - 1 - lane) / lanes) * price).collect())
}

/// What may be spent. What was spent `today` already counts for the day: unless it is said, the whole deposit may be spent
/// besides.
fn caps(terms: &OpenTerms, price: u128, deposit: u128, today: u128) -> Result<Caps> {
    let small = |amount: Amount| amount.small().map_err(Error::user);
    let call = terms.cap_call.map_or(Ok(price), small)?;
    let day = terms.cap_day.map_or(Ok(deposit.saturating_add(today)), small)?;
    if call < price {
        let (price, most) = (Amount::from(price), Amount::from(call));
        return Err(Error::user(format!("a call costs {price}, more than the {most} that you allow")));
    }
    if day < today.saturating_add(price) {
        return Err(Error::user(format!(
            "a call costs {}, {} are spent today with this licence, and --cap-day allows {} a day: no call could be paid",
            Amount::from(price),
            Amount::from(today),
            Amount::from(day)
        )));
    }
    Ok(Caps { call, day })
}

/// Lets the operators of these committees read what is asked of their asset.
fn accept<'a>(committees: impl IntoIterator<Item = &'a Committee>, context: &Context) -> Result<()> {
    let mut accepted = Accepted::load(&context.home)?;
    committees.into_iter().try_for_each(|committee| accepted.accept(committee))
}

/// Whether a name may mean this asset: no session of another one has it.
fn is_free(name: &str, asset: B256, all: &[Account]) -> Result<()> {
    let other = |known: &&Account| {
        known.name().as_deref() == Some(name) && known.session().is_some_and(|session| session.asset != asset)
    };
    match all.iter().find(other) {
        None => Ok(()),
        Some(known) => Err(Error::user(format!(
            "'{name}' is what your session {} calls another asset: give another name with --as",
            short(known.id())
        ))),
    }
}

/// Opens a session with a licence; nothing if it was only tried.
fn open_session(payer: &mut Payer, licence: U256, terms: &OpenTerms, context: &mut Context) -> Result<Option<Opened>> {
    let (asset, sold, ends) = licence_of(&payer.chain, licence)?;
    let mut plan = plan(payer, asset, sold, terms, context)?;
    let today = spent_today(&Account::list(&context.home)?, payer.chain.id(), Some(licence), None, now())?;
    plan.caps = caps(terms, plan.price, plan.deposit(), today)?;
    open_planned(payer, licence, ends, plan, terms, context)
}

/// Opens the session that was planned; nothing if it was only tried.
pub(super) fn open_planned(
    payer: &mut Payer,
    licence: U256,
    licence_ends: u64,
    plan: Plan,
    terms: &OpenTerms,
    context: &mut Context,
) -> Result<Option<Opened>> {
    let deposit = plan.deposit();
    let Plan { asset, sold, committees, files, caps_of, caps, .. } = plan;
    // A session's name is a hash of its prices: with others than the licence's, what is locked would be found by no name.
    context.progress.step("waiting until the licence is proven");
    proven::licence(payer.chain.light()?, licence, asset, &sold, licence_ends)?;
    let now = payer.chain.time()?;
    let until = committees.iter().map(|committee| committee.until).min().unwrap_or_default();
    let ends = now.saturating_add(terms.days() * DAY).min(licence_ends).min(until);
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|e| Error::fault(format!("the system gives no random numbers: {e}")))?;
    let signer = Secret::random()?;
    let session = Session {
        licence,
        asset,
        consumer: payer.address,
        signer: signer.address(),
        asker: keys::load(&context.home, Role::Consumer)?.public().0.into(),
        royalty: sold.royalty,
        compute: sold.compute,
        ends,
        inFlight: 1,
        lanes: committees.iter().map(Committee::id).collect(),
        caps: caps_of,
        nonce: U256::from_be_bytes(nonce),
    };
    let call = InferenceMarket::openCall {
        licence,
        signer: session.signer,
        asker: session.asker,
        lanes: session.lanes.clone(),
        caps: session.caps.clone(),
        ends,
        nonce: session.nonce,
    };
    let order = Order::call("opening the session", INFERENCE_MARKET, &call).paying(deposit);
    if payer.only_tries() {
        payer.carry_out(&order, context)?;
        return Ok(None);
    }
    // Whoever opens a session has seen who operates its nodes: others are not asked without being named.
    accept(&committees, context)?;
    // The key is kept before money is locked to it.
    let chain = payer.chain.id();
    let account = Account::create(&context.home, chain, caps, signer, &session, &committees)?;
    if let Err(error) = payer.carry_out(&order, context) {
        // As far as is known nothing was opened; its key is kept all the same, as that is a node's word.
        if error.blame() == Blame::User {
            account.set_aside()?;
        }
        return Err(error);
    }
    let id = account.id();
    context.progress.step("waiting until it is proven");
    payer.network.wait_for_session(id, |state| *state == SessionState::Open)?;
    for (committee, file) in committees.iter().zip(files) {
        if let Some(file) = file {
            let saved = file.save(&account.committee_file(committee.id()));
            saved.map_err(|e| Error::wrap("keeping the committee", Blame::Fault, e))?;
        }
    }
    if let Some(name) = &terms.name {
        account.call_it(name)?;
    }
    Ok(Some(Opened { session, id, caps }))
}

/// How the operators of a committee stand: what is bonded, what they ask.
pub(super) fn standings(chain: &Chain, committee: &Committee) -> Result<[Operators::standingReturn; 3]> {
    let asset = committee.asset;
    let of = |operator| {
        chain.call("asking who sits on the committee", OPERATORS, &Operators::standingCall { operator, asset })
    };
    let [first, second, third] = committee.operators;
    Ok([of(first)?, of(second)?, of(third)?])
}

/// Tells who sits on a committee, which is what keeps questions private, and compares what its nodes hold with what was
/// registered. The committee as its nodes are reached; none where their operators do not say.
pub(super) fn examined(
    chain: &Chain,
    committee: &Committee,
    standings: &[Operators::standingReturn; 3],
    named: bool,
    context: &Context,
) -> Result<Option<nodes::Committee>> {
    let (asset, doing) = (committee.asset, "asking who sits on the committee");
    context.progress.note(&format!("committee {}:", short(committee.id())));
    let mut members = Vec::new();
    let seats = committee.operators.iter().zip(&committee.keys).zip(standings);
    for (index, ((operator, key), standing)) in seats.enumerate() {
        let operator = *operator;
        let address = chain.call(doing, OPERATORS, &Operators::placeOfCall { operator })?.endpoint;
        places::elsewhere(chain.id(), &operator, &address)?;
        context.progress.note(&format!(
            "node {}: operator {operator} with a bond of {}, at {address}",
            index + 1,
            Amount(standing.bond),
            address = address.escape_debug(),
        ));
        members.push(Member { name: format!("node {}", index + 1), address, key: nodes::PublicKey(key.0) });
    }
    // Two of three nodes together read everything.
    if let Some(why) = not_independent(&committee.operators, &insiders(chain, asset)?) {
        let id = committee.id();
        if !named {
            return Err(Error::user(format!("committee {id}: {why}; say --with {id} if that is what you want")));
        }
        context.progress.note(&format!("committee {id}: {why}"));
    }
    let members: [Member; 3] = members.try_into().map_err(|_| Error::fault("a committee has three members"))?;
    let unnamed = |why: &dyn std::fmt::Display| {
        context.progress.note(&format!("the committee's nodes have to be named with --committee FILE: {why}"));
    };
    let epoch = u32::try_from(committee.epoch).unwrap_or(u32::MAX);
    let file = match nodes::Committee::new(members).map(|file| file.in_epoch(epoch)) {
        Ok(file) if file.digest() == committee.digest.0 => file,
        Ok(_) => {
            unnamed(&"what their operators say is another committee");
            return Ok(None);
        }
        Err(error) => {
            unnamed(&error);
            return Ok(None);
        }
    };
    match holds(chain, committee, &file, named, context)? {
        true => Ok(Some(file)),
        false => Err(Error::user(format!(
            "the nodes of committee {} hold another model than was registered as asset {asset}",
            committee.id()
        ))),
    }
}

/// Whether the nodes hold what was registered; an error where they cannot be asked now, unless the committee was named.
fn holds(
    chain: &Chain,
    committee: &Committee,
    file: &nodes::Committee,
    named: bool,
    context: &Context,
) -> Result<bool> {
    let root = registered(chain, committee.asset)?;
    let client = keys::client(&context.home, Role::Consumer, file.clone())?;
    let why = match client.find(&nodes::SharingRef::Manifest(ManifestId(committee.manifest.0))) {
        Ok(Some(sharing)) => {
            let manifest = sharing.manifest();
            let sold = matches!(&manifest.access, AccessRule::Chain(sold) if sold.asset == committee.asset.0);
            return Ok(sold && manifest.weights_root == root.0);
        }
        Ok(None) => "they do not have the model now".to_owned(),
        Err(error) => error.to_string(),
    };
    let why = format!("what the nodes of committee {} hold cannot be compared: {why}", committee.id());
    if named {
        // It is compared before anything is asked there, too.
        context.progress.note(&why);
        return Ok(true);
    }
    Err(Error::user(format!("{why}; try again when they are up, or name the committee with --with")))
}

/// Committees of a session that nobody has chosen: the one that is asked, and one that stands by.
const USUAL: usize = 2;

fn chosen(chain: &Chain, asset: B256, lanes: &[B256], context: &Context) -> Result<Vec<Committee>> {
    if !lanes.is_empty() {
        let found = lanes.iter().map(|lane| committee(chain, *lane)).collect::<Result<Vec<_>>>()?;
        return match found.iter().find(|committee| committee.asset != asset) {
            None => Ok(found),
            Some(other) => Err(Error::user(format!("committee {} serves another asset", other.id()))),
        };
    }
    let found = committees(chain, asset)?;
    if found.is_empty() {
        return Err(Error::user("no committee serves this asset now: ask its owner"));
    }
    let (usual, others) = usual(found, &Accepted::load(&context.home)?);
    for other in &others {
        let who = named(&other.operators);
        let id = other.id();
        context
            .progress
            .note(&format!("committee {id} has other operators than you accepted ({who}): --with {id} names it"));
    }
    if usual.is_empty() {
        return Err(Error::user(
            "the committees that serve this asset now have other operators than you accepted for it: name one with --with to \
             accept who operates its nodes",
        ));
    }
    Ok(usual)
}

/// The committees that are taken where none is named, and those that are not because they have other operators than were accepted for
/// the asset before. The first time all are new. The same nodes do not stand by for themselves.
fn usual(found: Vec<Committee>, accepted: &Accepted) -> (Vec<Committee>, Vec<Committee>) {
    let (mut good, others): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|committee| !accepted.knows(committee.asset) || accepted.has(committee));
    let nodes = |committee: &Committee| BTreeSet::from(committee.keys);
    let mut known = Vec::new();
    good.retain(|committee| {
        let new = !known.contains(&nodes(committee));
        known.push(nodes(committee));
        new
    });
    good.truncate(USUAL);
    (good, others)
}

/// A name for `--model`, which an id or an owner's name could not be.
fn name(text: &str) -> std::result::Result<String, String> {
    let letter = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match !text.is_empty() && text.len() <= 64 && text.chars().all(letter) && !text.starts_with(['.', '-']) {
        true if !text.starts_with("0x") => Ok(text.to_owned()),
        _ => Err("a name has 1 to 64 letters, digits, dots, dashes and underscores, and does not begin with 0x".into()),
    }
}

/// The sessions of this home; those that cannot be read are told.
fn sessions(context: &Context) -> Result<Vec<Account>> {
    let (all, damaged) = Account::all(&context.home)?;
    damaged.iter().for_each(|damaged| context.progress.note(&format!("skipped: {}", damaged.error.report())));
    Ok(all)
}

/// The session that an id begins with this.
fn find(context: &Context, which: &str) -> Result<Account> {
    kept(context, which)?.ok_or_else(|| {
        Error::user(format!("no session begins with '{}': see `sahara session ls`", which.escape_debug()))
    })
}

/// The same; nothing if none that is kept here does.
fn kept(context: &Context, which: &str) -> Result<Option<Account>> {
    let digits = which.strip_prefix("0x").unwrap_or(which).to_ascii_lowercase();
    let fits = |account: &Account| !digits.is_empty() && format!("{:x}", account.id()).starts_with(&digits);
    let mut all: Vec<_> = sessions(context)?.into_iter().filter(fits).collect();
    match all.len() {
        0 | 1 => Ok(all.pop()),
        _ => Err(Error::user(format!("several sessions begin with '{digits}': give more of the id"))),
    }
}

/// Sessions of the wallet that are open or closing, as is proven, and not kept here.
fn lost(args: &LsArgs, known: &[Account], context: &Context) -> Result<Vec<(B256, Session, SessionState, u64)>> {
    let wallet = args.wallet.path(context);
    // Without a wallet nobody could take anything out.
    if !wallet.exists() {
        return Ok(Vec::new());
    }
    let consumer = wallet::address(&wallet)?;
    let networks = match args.network.named() {
        Some(_) => vec![args.network.find(context)?],
        None => network::list(&context.home)?,
    };
    let known: BTreeSet<B256> = known.iter().map(Account::id).collect();
    let mut all = Vec::new();
    for network in networks {
        let said = lost::of(&network.chain(), &network.domain(), consumer, &known).and_then(|found| {
            let ids: Vec<B256> = found.iter().map(|(id, _)| *id).collect();
            let states = if ids.is_empty() { Vec::new() } else { network.session_states(&ids)? };
            Ok((found, states))
        });
        match said {
            Ok((found, states)) => {
                let open = |state: &SessionState| matches!(state, SessionState::Open | SessionState::Closing(_));
                let found = found.into_iter().zip(states).filter(|(_, state)| open(state));
                all.extend(found.map(|((id, session), state)| (id, session, state, network.domain().chain_id)));
            }
            Err(error) => context.progress.note(&format!(
                "whether this wallet has sessions on network '{}' that are not kept here is not known: {}",
                network.name(),
                error.report()
            )),
        }
    }
    Ok(all)
}

/// A session's state in a word, and when it ends if it closes.
fn state_word(state: &SessionState) -> (&'static str, Option<u64>) {
    match state {
        SessionState::Closing(until) => ("closing", Some(*until)),
        SessionState::None => ("not opened", None),
        SessionState::Open => ("open", None),
        SessionState::Finished => ("over", None),
        SessionState::Unknown(_) => ("unknown", None),
    }
}

fn closes_at(until: u64) -> String {
    format!("closes at {}", super::output::moment(until.saturating_mul(1000)))
}

fn ls(args: &LsArgs, context: &mut Context) -> Result<()> {
    let accounts = sessions(context)?;
    let mut list = Vec::new();
    for account in &accounts {
        let Some(session) = account.session() else { continue };
        let spent: u128 =
            account.deals.iter().map(|deal| Ok(account.spent(deal.lane)?.last.total)).sum::<Result<_>>()?;
        let deposit: u128 = session.caps.iter().sum();
        let found =
            network::of_chain(&context.home, account.chain).and_then(|network| network.session_state(account.id()));
        let ((word, closes), problem) = match &found {
            Ok(state) => (state_word(state), None),
            Err(error) => (("unknown", None), Some(error.report())),
        };
        let told = closes.map(closes_at);
        let problem_words = problem.as_ref().map(|problem| format!(", {problem}")).unwrap_or_default();
        list.push((
            format!("{}  {}", account.id(), told.as_deref().unwrap_or(word)),
            format!(
                "licence {}, {} of {} left, {} a call, {} a day at most, until {}{problem_words}",
                session.licence,
                Amount::from(deposit.saturating_sub(spent)),
                Amount::from(deposit),
                Amount::from(session.price().unwrap_or_default()),
                Amount::from(account.caps.day),
                super::output::moment(session.ends.saturating_mul(1000)),
            ),
            json!({
                "session": account.id(),
                "chain": account.chain,
                "state": word,
                "closes_at": closes,
                "problem": problem,
                "licence": session.licence.to_string(),
                "asset": session.asset,
                "deposit": deposit.to_string(),
                "spent": spent.to_string(),
                "price": session.price().unwrap_or_default().to_string(),
                "cap_call": account.caps.call.to_string(),
                "cap_day": account.caps.day.to_string(),
                "ends": session.ends,
                "kept": true,
            }),
        ));
    }
    for (id, session, found, chain) in lost(args, &accounts, context)? {
        let (deposit, (state, closes)) = (session.caps.iter().sum::<u128>(), state_word(&found));
        list.push((
            format!("{id}  {}, not kept here", closes.map(closes_at).as_deref().unwrap_or(state)),
            format!(
                "licence {}, {} were locked: `sahara session close {id}` brings back what is left",
                session.licence,
                Amount::from(deposit)
            ),
            json!({
                "session": id,
                "chain": chain,
                "state": state,
                "closes_at": closes,
                "licence": session.licence.to_string(),
                "asset": session.asset,
                "deposit": deposit.to_string(),
                "price": session.price().unwrap_or_default().to_string(),
                "ends": session.ends,
                "kept": false,
            }),
        ));
    }
    if context.out.json() {
        let values: Vec<Value> = list.into_iter().map(|(_, _, value)| value).collect();
        return context.out.value(&values);
    }
    if list.is_empty() {
        return context.out.line("no session is open here: `sahara session open --asset ID`");
    }
    list.iter().try_for_each(|(first, rest, _)| {
        context.out.line(first)?;
        context.out.folded("    ", rest)
    })
}

fn allow(args: &AllowArgs, context: &mut Context) -> Result<()> {
    let mut account = find(context, &args.session)?;
    let small = |amount: Amount| amount.small().map_err(Error::user);
    let caps = Caps {
        call: args.cap_call.map_or(Ok(account.caps.call), small)?,
        day: args.cap_day.map_or(Ok(account.caps.day), small)?,
    };
    account.allow(caps)?;
    if args.operators {
        accept(account.deals.iter().map(Deal::committee), context)?;
    }
    if context.out.json() {
        let (call, day) = (caps.call.to_string(), caps.day.to_string());
        let accepted = args.operators;
        let value = json!({"session": account.id(), "cap_call": call, "cap_day": day, "operators_accepted": accepted});
        return context.out.value(&value);
    }
    if args.operators {
        account.deals.iter().try_for_each(|deal| {
            let who = named(&deal.committee().operators);
            context.out.folded("", &format!("accepted in committee {}: {who}", short(deal.lane)))
        })?;
    }
    let words = format!("{} a call and {} a day at most", Amount::from(caps.call), Amount::from(caps.day));
    context.out.folded("", &words)
}

fn close(args: &CloseArgs, context: &mut Context) -> Result<()> {
    let (account, whole) = (kept(context, &args.session)?, args.session.parse::<B256>());
    let (mut payer, session) = match (&account, whole) {
        (Some(account), _) => {
            let payer = args.money.payer(context)?;
            if payer.chain.id() != account.chain {
                let chain = account.chain;
                return Err(Error::user(format!("the session is on chain {chain}: name its network with --network")));
            }
            let Some(session) = account.session().cloned() else { return Ok(()) };
            (payer, session)
        }
        // Its key is lost, with which more could be spent; what is left belongs to the wallet.
        (None, Ok(id)) => {
            let payer = args.money.payer(context)?;
            let session = lost::find(&context.home, &payer.chain, &payer.network.domain(), payer.address, id)?;
            if session.consumer != payer.address {
                let consumer = session.consumer;
                return Err(Error::user(format!("session {id} is {consumer}'s: name that wallet with --wallet FILE")));
            }
            (payer, session)
        }
        (None, Err(_)) => return find(context, &args.session).map(drop),
    };
    let id = session.id(&payer.network.domain());
    let forget = |account: Option<Account>| account.map_or(Ok(()), Account::forget);
    let set_aside = |account: Option<Account>| account.map_or(Ok(None), |account| account.set_aside().map(Some));
    let named = account.as_ref().map_or_else(|| id.to_string(), |_| short(id));
    // Its key is forgotten on no node's word.
    let (state, proven_at) = payer.network.session_at(id)?;
    match state {
        SessionState::None if session.ends >= proven_at => Err(Error::user(format!(
            "the session is not opened, as far as is proven; it is kept until {}",
            super::output::moment(session.ends.saturating_mul(1000))
        ))),
        SessionState::None => {
            if payer.only_tries() {
                return match context.out.json() {
                    true => context.out.value(&json!({"dry_run": true, "session": id, "state": "not opened"})),
                    false => context.out.line("nothing is to be paid: the session was not opened, as is proven"),
                };
            }
            // Its terms may be the wrong ones, and its key be that of one that is open.
            let folder = set_aside(account)?;
            let value = json!({"session": id, "state": "not opened", "folder": folder});
            let words = match folder {
                Some(folder) => format!(
                    "the session was never opened, as is proven; what was kept of it is in {}",
                    folder.display()
                ),
                None => "the session was never opened, as is proven".to_owned(),
            };
            payer.tell(&words, value, context)
        }
        SessionState::Finished => {
            if payer.only_tries() {
                return match context.out.json() {
                    true => context.out.value(&json!({"dry_run": true, "session": id, "state": "over"})),
                    false => context.out.line("nothing is to be paid: the session is over"),
                };
            }
            let value = json!({"session": id, "state": "over"});
            take(&mut payer, context)?;
            forget(account)?;
            payer.tell("the session is over; its receipts are kept", value, context)
        }
        SessionState::Open => {
            let order =
                Order::call("closing the session", INFERENCE_MARKET, &InferenceMarket::closeCall { s: session });
            let Some(done) = payer.carry_out(&order, context)? else { return Ok(()) };
            let until = done.event::<InferenceMarket::Closing>(INFERENCE_MARKET).map_or(0, |event| event.until);
            let moment = super::output::moment(until.saturating_mul(1000));
            context.progress.step("waiting until it is proven");
            payer.network.wait_for_session(id, |state| *state != SessionState::Open)?;
            let words = format!(
                "the session closes; what is left comes back with `sahara session close {named}` after {moment}"
            );
            payer.tell(&words, json!({"session": id, "state": "closing", "until": until}), context)
        }
        SessionState::Closing(until) => {
            let closed = closed_in(&payer.chain, id)?;
            let (time, height) = (payer.chain.time()?, payer.chain.height()?);
            if let Some(missing) = missing(until, closed, time, height) {
                return Err(Error::user(format!("the session is closing: {missing}, then type this again")));
            }
            let order =
                Order::call("ending the session", INFERENCE_MARKET, &InferenceMarket::finishCall { s: session });
            let Some(done) = payer.carry_out(&order, context)? else { return Ok(()) };
            let left =
                done.event::<InferenceMarket::Finished>(INFERENCE_MARKET).map_or(U256::ZERO, |event| event.returned);
            take(&mut payer, context)?;
            context.progress.step("waiting until it is proven");
            payer.network.wait_for_session(id, |state| *state == SessionState::Finished)?;
            forget(account)?;
            let value = json!({"session": id, "state": "over", "returned": left.to_string()});
            payer.tell(&format!("{} came back", Amount(left)), value, context)
        }
        SessionState::Unknown(_) => {
            Err(Error::user("the session is in a state that this program does not know: upgrade it"))
        }
    }
}

/// The block in which a session was closed, as the chain's node says; 0 if it does not.
fn closed_in(chain: &Chain, id: B256) -> Result<u64> {
    let call = InferenceMarket::closedInCall { session: id };
    let block = chain.call("asking when the session was closed", INFERENCE_MARKET, &call)?;
    Ok(u64::try_from(block).unwrap_or(u64::MAX))
}

/// What a closing session waits for; none if it can end.
fn missing(until: u64, closed: u64, time: u64, height: u64) -> Option<String> {
    // The next block is the one that would end it.
    let blocks = closed.saturating_add(CLOSING_BLOCKS).saturating_sub(height.saturating_add(1));
    let blocks = match blocks {
        0 => None,
        1 => Some("one block is missing".to_owned()),
        many => Some(format!("{many} blocks are missing")),
    };
    let moment = super::output::moment(until.saturating_mul(1000));
    match (time < until, blocks) {
        (false, None) => None,
        (true, None) => Some(format!("wait until {moment}")),
        (true, Some(blocks)) => Some(format!("wait until {moment}, and {blocks}")),
        (false, Some(blocks)) => Some(format!("its time is over, and {blocks}")),
    }
}

/// Takes what lies for this wallet at the market.
fn take(payer: &mut Payer, context: &mut Context) -> Result<()> {
    let call = InferenceMarket::balanceOfCall { account: payer.address };
    let balance = payer.chain.call("asking for what came back", INFERENCE_MARKET, &call)?;
    if !balance.is_zero() {
        let order = Order::call("taking what came back", INFERENCE_MARKET, &InferenceMarket::withdrawCall {});
        payer.carry_out(&order, context)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::account::Spent;
    use crate::market::bill::tests::{SIGNER, committee, deal, session};
    use sahara::home::Home;

    fn terms() -> OpenTerms {
        OpenTerms { deposit: None, session_days: None, committees: vec![], name: None, cap_call: None, cap_day: None }
    }

    #[test]
    fn a_deposit_is_whole_calls_and_at_least_one_for_each_committee() {
        assert_eq!(lanes(None, 12, 2).unwrap(), [600, 600]);
        assert_eq!(lanes(Some(Amount::from(41u128)), 12, 2).unwrap(), [24, 12]);
        let error = lanes(Some(Amount::from(23u128)), 12, 2).unwrap_err();
        assert!(error.exit_code() == 2 && error.report().contains("0.000000000000000024 SAH"), "{}", error.report());
    }

    #[test]
    fn caps_that_no_call_fits_in_are_refused_and_what_was_spent_today_is_allowed_besides() {
        assert_eq!(caps(&terms(), 12, 120, 50).unwrap(), Caps { call: 12, day: 170 });
        let amount = |units: u128| Some(Amount::from(units));
        assert!(caps(&OpenTerms { cap_call: amount(11), ..terms() }, 12, 120, 0).is_err());
        assert!(caps(&OpenTerms { cap_day: amount(61), ..terms() }, 12, 120, 50).is_err());
        assert_eq!(caps(&OpenTerms { cap_day: amount(62), ..terms() }, 12, 120, 50).unwrap().day, 62);
    }

    #[test]
    fn other_operators_than_were_accepted_are_taken_only_if_they_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().to_owned())).unwrap();
        let mut accepted = Accepted::load(&home).unwrap();
        let of = |n: u8| Committee {
            operators: [n, n + 1, n + 2].map(alloy_primitives::Address::repeat_byte),
            keys: [n, n + 1, n + 2].map(B256::repeat_byte),
            epoch: n.into(),
            ..committee()
        };
        let all = || vec![of(1), of(4), of(7)];
        assert_eq!(usual(all(), &accepted), (vec![of(1), of(4)], vec![]), "nobody was accepted yet");
        let again = |n: u8| Committee { epoch: 99, ..of(n) };
        assert_eq!(usual(vec![again(1), of(1), of(4)], &accepted).0, [again(1), of(4)], "nobody stands by for itself");
        accepted.accept(&of(4)).unwrap();
        assert_eq!(usual(all(), &accepted), (vec![of(4)], vec![of(1), of(7)]));
        assert_eq!(usual(vec![of(1)], &accepted), (vec![], vec![of(1)]));
    }

    #[test]
    fn what_was_said_of_a_session_is_typed_again() {
        let said = OpenTerms { deposit: Some("0.5".parse().unwrap()), name: Some("mine".into()), ..terms() };
        assert_eq!(said.typed(), "--session-days 30 --deposit 0.5 --as mine");
    }

    #[test]
    fn the_blocks_and_the_time_that_are_missing_are_said() {
        assert_eq!(missing(100, 1000, 100, 1599), None);
        assert_eq!(missing(100, 1000, 100, 1598).unwrap(), "its time is over, and one block is missing");
        assert!(missing(100, 1000, 99, 1599).unwrap().starts_with("wait until 1970-01-01"));
        assert!(missing(100, 1000, 99, 1000).unwrap().ends_with("and 599 blocks are missing"));
    }

    #[test]
    fn a_name_means_one_asset_and_what_a_licence_has_spent_today_counts() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(dir.path().to_owned())).unwrap();
        let signer = Secret::new(&SIGNER.0).unwrap();
        let caps = Caps { call: 12, day: 100 };
        let account = Account::create(&home, 1337, caps, signer, &session(1), &[committee()]).unwrap();
        account.call_it("mine").unwrap();
        let all = Account::list(&home).unwrap();
        assert!(is_free("mine", session(1).asset, &all).is_ok() && is_free("other", B256::ZERO, &all).is_ok());
        assert_eq!(is_free("mine", B256::ZERO, &all).unwrap_err().exit_code(), 2);
        let spent = Spent { promised: 24, ..Spent::default() };
        account.keep(deal().lane, &spent).unwrap();
        let today = |chain, licence, now| spent_today(&all, chain, licence, None, now).unwrap();
        let (licence, good) = (Some(session(1).licence), session(1).ends);
        assert_eq!([today(1337, licence, good), today(1337, None, good), today(1, licence, good)], [24, 0, 0]);
    }
}
