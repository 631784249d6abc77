//! `sahara asset register | offer | publish | retract | seat | unseat | ls | show`: what somebody owns on the chain, and on which terms.

use std::path::PathBuf;

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::{SolEvent, SolValue};
use clap::{Args, Subcommand, ValueEnum};
use sahara_market::abi::{Ask, Asset, AssetRegistry, InferenceMarket, Licences, Operators, Terms};
use sahara_market::{ASSET_REGISTRY, Committee, INFERENCE_MARKET, LICENCES, OPERATORS};
use sahara_mpc::manifest::AccessRule;
use sahara_mpc::wire::{ManifestId, Task};
use serde_json::{Value, json};

use super::Context;
use super::data::{GRANTING_GAS, grant};
use super::money::{MoneyArgs, id};
use super::network::NetworkArgs;
use super::publish::{PublishArgs, publish};
use super::terms::{FULL_ACCESS, PriceArgs, call_price, terms_of, terms_value, terms_words, unusable};
use super::wallet::FileArgs;
use crate::chain_client::{Chain, Key, Log, Order};
use crate::error::{Error, Result};
use crate::market::content::{asset_id, content, is_registered};
use crate::market::requests::ask::is_computed;
use crate::moment::DAY;
use crate::wallet::amount::Amount;
use sahara::keys::{self, Role};
use sahara::models::{DEFAULT_MODEL, Store};
use sahara::network::{self, Sharing, SharingName, SharingRef};
use sahara_privacy::budget::Words;

#[derive(Subcommand, Debug)]
#[command(after_help = "\
An owner's way: `asset register MODEL` names a model on the chain, `model share
MODEL --asset ID` hands it to share nodes for whoever pays, `asset seat ID`
names these nodes' operators there, and `asset offer ID` sets the price.
--dry-run says what each would cost.")]
pub enum AssetCommand {
    /// Register a model of this machine, or another content by its root
    Register(RegisterArgs),
    /// Sell licences on these terms
    Offer(OfferArgs),
    /// Seal a model, a folder or a file, and register its root: what full-access licences sell
    Publish(PublishArgs),
    /// End an offer; what was sold stays
    Retract(RetractArgs),
    /// Name the share nodes that serve a model, on the chain
    Seat(SeatArgs),
    /// Let a committee open no more sessions
    Unseat(UnseatArgs),
    /// Let contracts ask a model, at one committee and one price
    Ask(AskArgs),
    /// List assets
    Ls(LsArgs),
    /// Show an asset: its owner, offers and committees
    Show(ShowArgs),
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KindArg {
    Model,
    Dataset,
    Adapter,
    Agent,
}

#[derive(Args, Debug)]
pub struct RegisterArgs {
    /// Name of a model on this machine
    #[arg(default_value = DEFAULT_MODEL, conflicts_with = "root")]
    model: String,
    /// Commitment to another content than a model of this machine: of a file for example its SHA-256
    #[arg(long, value_name = "HASH", value_parser = id)]
    root: Option<B256>,
    /// What it is
    #[arg(long, value_enum, default_value_t = KindArg::Model)]
    kind: KindArg,
    /// Where its description lies
    #[arg(long, value_name = "URI", default_value = "")]
    card: String,
    /// Of a dataset: how much may be learned from it in all
    #[arg(long, value_name = "E", requires = "delta")]
    epsilon: Option<f64>,
    /// The probability with which it may be more
    #[arg(long, value_name = "D", requires = "epsilon")]
    delta: Option<f64>,
    /// What it is derived from, and the licence for that [repeatable]
    #[arg(long, value_name = "ASSET:LICENCE", value_parser = parent)]
    parent: Vec<(B256, U256)>,
    #[command(flatten)]
    money: MoneyArgs,
}

/// Kinds of terms that are offered to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TermsArg {
    /// A fixed price a call
    Api,
    /// For some time; the payment vests over it
    LongTerm,
    /// One payment for the key of a ciphertext
    FullAccess,
}

#[derive(Args, Debug)]
pub struct OfferArgs {
    /// The asset
    #[arg(value_parser = id)]
    asset: B256,
    /// What kind of licence
    #[arg(long, value_enum, default_value_t = TermsArg::Api)]
    kind: TermsArg,
    #[command(flatten)]
    price: PriceArgs,
    /// Root of the ciphertext (full access), or what else is to be bound
    #[arg(long, value_name = "HASH", value_parser = id)]
    details: Option<B256>,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct RetractArgs {
    /// The offer: hash of its terms
    #[arg(value_parser = id)]
    terms: B256,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct SeatArgs {
    /// The asset
    #[arg(value_parser = id)]
    asset: B256,
    /// Name it is shared under [default: the only one of yours that is for this asset]
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// Committee file of the share nodes [default: the devnet's]
    #[arg(long, value_name = "FILE")]
    committee: Option<PathBuf>,
    /// Days for which it is seated
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=700))]
    days: u64,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct UnseatArgs {
    /// The committee
    #[arg(value_parser = id)]
    committee: B256,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct AskArgs {
    /// The asset
    #[arg(value_parser = id)]
    asset: B256,
    /// Name of its model on this machine
    #[arg(default_value = DEFAULT_MODEL)]
    model: String,
    /// Let nobody ask any more
    #[arg(long, conflicts_with_all = ["committee", "bucket", "royalty", "compute"])]
    none: bool,
    /// The committee that answers [default: the one that was seated last]
    #[arg(long, value_name = "COMMITTEE", value_parser = id)]
    committee: Option<B256>,
    /// Padded length of every text; a transaction carries 64 of MiniLM's
    #[arg(long, value_name = "TOKENS", default_value_t = 16)]
    bucket: u32,
    /// Which of the three nodes helps, so that the other two get the text
    #[arg(long, value_name = "NODE", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3))]
    helper: u8,
    /// Yours, for each answer
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    royalty: Amount,
    /// The three operators' together, for each answer
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    compute: Amount,
    #[command(flatten)]
    money: MoneyArgs,
}

#[derive(Args, Debug)]
pub struct LsArgs {
    /// Everybody's, not only this wallet's
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    wallet: FileArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The asset
    #[arg(value_parser = id)]
    asset: B256,
    #[command(flatten)]
    network: NetworkArgs,
}

pub fn run(command: AssetCommand, context: &mut Context) -> Result<()> {
    match command {
        AssetCommand::Register(args) => register(&args, context),
        AssetCommand::Offer(args) => offer(&args, context),
        AssetCommand::Publish(args) => publish(&args, context),
        AssetCommand::Retract(args) => retract(&args, context),
        AssetCommand::Seat(args) => seat(&args, context),
        AssetCommand::Unseat(args) => unseat(&args, context),
        AssetCommand::Ask(args) => ask(&args, context),
        AssetCommand::Ls(args) => ls(&args, context),
        AssetCommand::Show(args) => show(&args, context),
    }
}

fn register(args: &RegisterArgs, context: &mut Context) -> Result<()> {
    let budget = args.epsilon.zip(args.delta).map(|(epsilon, delta)| Words { epsilon, delta });
    if let Some(words) = budget {
        if args.kind != KindArg::Dataset {
            return Err(Error::user("--epsilon and --delta are the budget of a dataset (--kind dataset)"));
        }
        words.grant().map_err(Error::user)?;
    }
    let (root, graph) = match args.root {
        Some(root) => (root, B256::ZERO),
        None if args.kind == KindArg::Dataset => {
            return Err(Error::user(
                "a dataset is registered by a commitment to its bytes, which you choose and keep: give it with --root, for one \
                 file its SHA-256 (`sha256sum FILE`)",
            ));
        }
        None => content(&Store::new(&context.home).open(&args.model, &context.progress.events())?)?,
    };
    let mut payer = args.money.payer(context)?;
    let (chain, owner) = (payer.chain.id(), payer.address);
    let asset = Asset {
        kind: args.kind as u8,
        owner,
        contentRoot: root,
        graph,
        manifest: B256::ZERO,
        card: args.card.clone(),
        parents: args.parent.iter().map(|(asset, _)| *asset).collect(),
        parentLicences: args.parent.iter().map(|(_, licence)| *licence).collect(),
    };
    let named = asset_id(chain, owner, root);
    if payer.chain.call(
        "looking whether it is registered",
        ASSET_REGISTRY,
        &AssetRegistry::existsCall { asset: named },
    )? {
        return Err(Error::user(format!("you have registered this content before, as asset {named}")));
    }
    licensed(&payer.chain, owner, &args.parent)?;
    let mut salt = [0; 32];
    getrandom::fill(&mut salt).map_err(|e| Error::fault(format!("the system gives no random numbers: {e}")))?;
    let salt = B256::from(salt);
    let commitment = keccak256((owner, salt, keccak256(asset.abi_encode())).abi_encode());
    let commit = AssetRegistry::commitCall { commitment };
    let order = Order::call("committing to the asset", ASSET_REGISTRY, &commit);
    let Some(done) = payer.carry_out_first(
        &order,
        registering_gas(&asset) + if budget.is_some() { GRANTING_GAS } else { 0 },
        context,
    )?
    else {
        return Ok(());
    };
    context.progress.step("waiting for the next block");
    payer.chain.wait_for(done.block + 1)?;
    let register = AssetRegistry::registerCall { asset, salt };
    payer.carry_out(&Order::call("registering the asset", ASSET_REGISTRY, &register), context)?;
    if let Some(words) = budget {
        grant(&mut payer, named, words, context)?;
    }
    let rivals =
        payer.chain.call("looking for others", ASSET_REGISTRY, &AssetRegistry::claimsCall { contentRoot: root })?;
    let others: Vec<B256> = rivals.into_iter().filter(|other| *other != named).collect();
    if !others.is_empty() {
        context.progress.note(&format!("{}: see `sahara asset show`", rivals_words(others.len())));
    }
    let value = json!({"asset": named, "owner": owner.to_checksum(None), "content_root": root, "claims": others});
    payer.tell(&format!("registered as asset {named}"), value, context)
}

fn rivals_words(count: usize) -> String {
    match count {
        1 => "one other asset has the same content".to_owned(),
        many => format!("{many} other assets have the same content"),
    }
}

/// Refuses parents that the contract would refuse after the commitment was paid.
fn licensed(chain: &Chain, who: Address, parents: &[(B256, U256)]) -> Result<()> {
    let mut all = 0;
    for (index, (parent, number)) in parents.iter().enumerate() {
        let (parent, number) = (*parent, *number);
        let refuse =
            |why: String| Err(Error::user(format!("parent {parent} with licence {number}: {why}; nothing was paid")));
        if parents[..index].iter().any(|(other, _)| *other == parent) {
            return refuse("it is named twice".to_owned());
        }
        let exists = AssetRegistry::existsCall { asset: parent };
        if !chain.call("looking for the parent", ASSET_REGISTRY, &exists)? {
            return refuse("no such asset is on this chain, see `sahara asset ls --all`".to_owned());
        }
        let facts = chain.call("asking for its licence", LICENCES, &Licences::licenceOfCall { licence: number })?;
        let holder = chain.call("asking whose it is", LICENCES, &Licences::ownerOfCall { licence: number })?;
        let money = chain.call("asking for its money", LICENCES, &Licences::moneyOfCall { licence: number })?;
        if facts.asset != parent {
            return refuse(format!("the licence is one for {}", facts.asset));
        }
        if holder != who {
            return refuse(format!("the licence is {holder}'s: sign with that wallet (--wallet)"));
        }
        if facts.withdrawnAt != 0 || facts.ends <= chain.time()? {
            return refuse("the licence is over".to_owned());
        }
        if facts.terms.revenueShare == 0 {
            return refuse("its terms do not allow to derive from the asset (they name no revenue share)".to_owned());
        }
        if money.collected != money.paid {
            return refuse(format!(
                "its price could still come back: its owner collects it first (`sahara licence collect {number}`)"
            ));
        }
        all += u32::from(facts.terms.revenueShare);
    }
    match all {
        0..=10_000 => Ok(()),
        _ => Err(Error::user("the parents ask for more than all of the revenue; nothing was paid")),
    }
}

/// Most gas that registering takes after the commitment: it cannot be tried before.
fn registering_gas(asset: &Asset) -> u64 {
    250_000 + 250_000 * asset.parents.len() as u64 + 1_000 * asset.card.len() as u64
}

fn offer(args: &OfferArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let (terms, coin) = args.price.terms(&payer.chain, args.kind as u8, args.details.unwrap_or_default())?;
    if terms.kind == FULL_ACCESS && terms.details.is_zero() {
        return Err(Error::user(
            "a full-access licence sells a ciphertext: make it with `sahara asset publish`, and name its root with --details",
        ));
    }
    let call = AssetRegistry::assetOfCall { asset: args.asset };
    let sold = payer.chain.call("asking for the asset", ASSET_REGISTRY, &call)?.kind;
    if let Some(why) = unusable(&terms).filter(|_| sold != KindArg::Dataset as u8) {
        return Err(Error::user(why));
    }
    if sold == KindArg::Dataset as u8 && terms.kind != FULL_ACCESS && call_price(&terms) > 0 {
        context.progress.note("no share node answers calls about a dataset: what is asked for a call is never paid");
    } else if terms.kind != FULL_ACCESS && terms.compute == 0 {
        context
            .progress
            .note("operators whose quote is above nothing do not serve these terms: --compute is what they get");
    }
    let hash = terms.hash(args.asset);
    let call = Licences::offerCall { asset: args.asset, terms: terms.clone() };
    let order = Order::call("offering licences", LICENCES, &call);
    if payer.carry_out(&order, context)?.is_none() {
        return Ok(());
    }
    let mut value = terms_value(&terms);
    value["terms"] = json!(hash);
    value["asset"] = json!(args.asset);
    payer.tell(&format!("offered: {}; terms {hash}", terms_words(&terms, &coin)), value, context)
}

fn retract(args: &RetractArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let call = Licences::retractCall { termsHash: args.terms };
    if payer.carry_out(&Order::call("ending the offer", LICENCES, &call), context)?.is_none() {
        return Ok(());
    }
    payer.tell(
        "the offer is over; licences that were sold stay",
        json!({"terms": args.terms, "retracted": true}),
        context,
    )
}

fn seat(args: &SeatArgs, context: &mut Context) -> Result<()> {
    let nodes = network::committee(&context.home, args.committee.as_deref())?;
    let owner = keys::client(&context.home, Role::Owner, nodes.clone())?;
    context.progress.step("asking the nodes for the model");
    let sharing = match &args.name {
        Some(name) => {
            let name: SharingName = name.parse().map_err(Error::user)?;
            let which = SharingRef::Named(owner.owner_key(), name);
            owner.find(&which).map_err(|e| Error::fault(e.to_string()))?
        }
        None => sharing_for(args, context, &owner)?,
    };
    let sharing = sharing.ok_or_else(|| {
        Error::user(format!(
            "these nodes hold no model of yours for this asset: `sahara model share MODEL --asset {}` first",
            args.asset
        ))
    })?;
    let mut payer = args.money.payer(context)?;
    let for_asset = matches!(&sharing.manifest().access, AccessRule::Chain(asset)
        if asset.chain == payer.chain.id() && asset.contract == *ASSET_REGISTRY.0 && asset.asset == args.asset.0);
    if !for_asset {
        return Err(Error::user(format!(
            "{} is not shared for this asset: `sahara model share MODEL --as {} --asset {}`",
            sharing.manifest().name,
            sharing.manifest().name,
            args.asset
        )));
    }
    let (committee, order) = seating(&payer.chain, args.asset, &nodes, sharing.id(), args.days)?;
    if payer.carry_out(&order, context)?.is_none() {
        return Ok(());
    }
    let (words, value) = seated_words(&committee);
    payer.tell(&words, value, context)
}

/// What seats these nodes for a version of an asset's sharing, for so many days from now.
pub(super) fn seating(
    chain: &Chain,
    asset: B256,
    nodes: &network::Committee,
    manifest: ManifestId,
    days: u64,
) -> Result<(Committee, Order)> {
    let keys = members(nodes)?;
    let mut operators = [Address::ZERO; 3];
    for (operator, key) in operators.iter_mut().zip(&keys) {
        let call = Operators::operatorOfCall { node: key.0.into() };
        *operator = chain.call("asking for the nodes' operators", OPERATORS, &call)?;
        if operator.is_zero() {
            return Err(Error::user(format!(
                "the operator of node {key} has no bond on this chain: `sahara operator bond` there"
            )));
        }
    }
    let now = chain.time()?;
    let committee = Committee {
        asset,
        manifest: manifest.0.into(),
        digest: nodes.digest().into(),
        keys: keys.map(|key| key.0.into()),
        operators,
        epoch: nodes.epoch().into(),
        from: now,
        until: now.saturating_add(days.saturating_mul(DAY)),
    };
    let call = InferenceMarket::seatCall { c: committee.clone() };
    Ok((committee, Order::call("seating the committee", INFERENCE_MARKET, &call)))
}

/// What is told of a committee that was seated.
pub(super) fn seated_words(committee: &Committee) -> (String, Value) {
    (format!("the committee is seated as {}", committee.id()), committee_value(committee))
}

/// The keys of a committee's three nodes, in its order.
fn members(committee: &network::Committee) -> Result<[network::PublicKey; 3]> {
    let keys: Vec<_> = committee.members().iter().map(|member| member.key).collect();
    keys.try_into().map_err(|_| Error::user("this committee has not three nodes"))
}

/// The only sharing of the owner's on these nodes that is for the asset.
fn sharing_for(args: &SeatArgs, context: &Context, owner: &sahara_mpc::client::Client) -> Result<Option<Sharing>> {
    let listing = network::sharings(&context.home, args.committee.as_deref(), &[Role::Owner])?;
    let mut found = None;
    for entry in listing.sharings.iter().filter(|entry| entry.owner == owner.key()) {
        let which = SharingRef::Named(owner.owner_key(), entry.name.clone());
        let sharing = owner.find(&which).map_err(|e| Error::fault(e.to_string()))?;
        let is_for = |sharing: &Sharing| matches!(&sharing.manifest().access, AccessRule::Chain(asset) if asset.asset == args.asset.0);
        if let Some(sharing) = sharing.filter(is_for) {
            if found.is_some() {
                return Err(Error::user("several models of yours are shared for this asset: say which with --as NAME"));
            }
            found = Some(sharing);
        }
    }
    Ok(found)
}

fn unseat(args: &UnseatArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let committee = committee(&payer.chain, args.committee)?;
    let order = Order::call("unseating the committee", INFERENCE_MARKET, &InferenceMarket::unseatCall { c: committee });
    if payer.carry_out(&order, context)?.is_none() {
        return Ok(());
    }
    let value = json!({"committee": args.committee, "unseated": true});
    let words = "the committee opens no more sessions and answers no more in those that are open: who has one closes it, and \
                 has back what is left";
    payer.tell(words, value, context)
}

fn ask(args: &AskArgs, context: &mut Context) -> Result<()> {
    let mut payer = args.money.payer(context)?;
    let asset = args.asset;
    if args.none {
        let nobody = Ask { lane: B256::ZERO, graph: B256::ZERO, parameters: B256::ZERO, royalty: 0, compute: 0 };
        let order =
            Order::call("letting nobody ask", INFERENCE_MARKET, &InferenceMarket::setAskCall { asset, ask: nobody });
        if payer.carry_out(&order, context)?.is_none() {
            return Ok(());
        }
        return payer.tell("no contract asks it any more; what waits is answered", json!({"asset": asset}), context);
    }
    let seated = match args.committee {
        Some(lane) => committee(&payer.chain, lane)?,
        None => committees(&payer.chain, asset)?.into_iter().next().ok_or_else(|| {
            Error::user(format!("no committee serves asset {asset}: `sahara asset seat {asset}` first"))
        })?,
    };
    let model = Store::new(&context.home).open(&args.model, &context.progress.events())?;
    is_registered(&payer.chain, asset, &model)?;
    let graph = sahara::embedding::graph(&model, args.bucket)?.id();
    let assignment = sahara_mpc::client::Assignment::new(args.helper - 1);
    let assignment = assignment.ok_or_else(|| Error::user("a committee has nodes 1 to 3"))?;
    let (manifest, rounding) = (ManifestId(seated.manifest.0), network::Rounding::Exact);
    let task = Task { manifest, graph, assignment, rounding };
    context.progress.step("asking the committee what it computes");
    is_computed(&context.home, &payer.chain, &seated, &task)?;
    let small = |amount: Amount| amount.small().map_err(Error::user);
    let ask = Ask {
        lane: seated.id(),
        graph: graph.0.into(),
        parameters: keccak256(task.encode()),
        royalty: small(args.royalty)?,
        compute: small(args.compute)?,
    };
    let price = ask.royalty.saturating_add(ask.compute);
    if price == 0 {
        return Err(Error::user("an answer has to cost something: give --royalty, --compute, or both"));
    }
    let order = Order::call(
        "letting contracts ask",
        INFERENCE_MARKET,
        &InferenceMarket::setAskCall { asset, ask: ask.clone() },
    );
    if payer.carry_out(&order, context)?.is_none() {
        return Ok(());
    }
    let mut value = ask_value(&ask);
    (value["asset"], value["bucket"]) = (json!(asset), json!(args.bucket));
    payer.tell(&format!("contracts may ask it for {} an answer", Amount::from(price)), value, context)
}

/// A committee by its id: what the chain's nodes show has to hash to that.
pub(super) fn committee(chain: &Chain, lane: B256) -> Result<Committee> {
    let topics = [Some(InferenceMarket::Seated::SIGNATURE_HASH), Some(lane)];
    let logs = chain.logs("asking for the committee", INFERENCE_MARKET, Key::Id(lane), &topics)?;
    let found = logs.iter().filter_map(seated).find(|committee| committee.id() == lane);
    found.ok_or_else(|| Error::user(format!("the chain knows no committee {lane}")))
}

fn seated(log: &Log) -> Option<Committee> {
    let event = InferenceMarket::Seated::decode_raw_log_validate(log.topics.iter().copied(), &log.data).ok()?;
    Some(event.c)
}

/// The committees that serve an asset now, those that were seated last first.
pub(super) fn committees(chain: &Chain, asset: B256) -> Result<Vec<Committee>> {
    let topics = [Some(InferenceMarket::Seated::SIGNATURE_HASH), None, Some(asset)];
    let logs = chain.logs("asking for the asset's committees", INFERENCE_MARKET, Key::Id(asset), &topics)?;
    let now = chain.time()?;
    let mut all = Vec::new();
    for committee in logs.iter().rev().filter_map(seated) {
        let call = InferenceMarket::committeesCall { committee: committee.id() };
        let word = chain.call("asking for a committee", INFERENCE_MARKET, &call)?;
        let state = sahara_market::slots::CommitteeState::read(word);
        let serves = state.is_some_and(|state| state.from > 0 && state.ended == 0) && committee.until > now;
        if serves && committee.asset == asset {
            all.push(committee);
        }
    }
    Ok(all)
}

/// The offers for an asset that stand, with the hash of their terms.
pub(super) fn offers(chain: &Chain, asset: B256) -> Result<Vec<(B256, Terms)>> {
    let topics = [Some(Licences::Offered::SIGNATURE_HASH), Some(asset)];
    let logs = chain.logs("asking for the asset's offers", LICENCES, Key::Id(asset), &topics)?;
    let mut all: Vec<(B256, Terms)> = Vec::new();
    for log in &logs {
        let event = Licences::Offered::decode_raw_log_validate(log.topics.iter().copied(), &log.data);
        let Ok(event) = event else { continue };
        // Terms are what hashes to their name, whoever shows them.
        let hash = event.terms.hash(asset);
        if hash != event.termsHash || all.iter().any(|(known, _)| *known == hash) {
            continue;
        }
        let call = Licences::termsOfCall { termsHash: hash };
        if chain.call("asking whether an offer stands", LICENCES, &call)?.offered {
            all.push((hash, event.terms));
        }
    }
    Ok(all)
}

fn ls(args: &LsArgs, context: &mut Context) -> Result<()> {
    let chain = args.network.find(context)?.chain();
    let owner = match args.all {
        true => None,
        false => Some(crate::wallet::address(&args.wallet.path(context))?),
    };
    let topics = [Some(AssetRegistry::Registered::SIGNATURE_HASH), None, owner.map(|owner| owner.into_word())];
    let key = owner.map_or(Key::All, Key::Account);
    let logs = chain.logs("asking for the assets", ASSET_REGISTRY, key, &topics)?;
    let events = logs.iter().filter_map(|log| {
        AssetRegistry::Registered::decode_raw_log_validate(log.topics.iter().copied(), &log.data).ok()
    });
    let assets: Vec<_> = events.collect();
    if context.out.json() {
        let list: Vec<Value> = assets
            .iter()
            .map(|event| {
                json!({
                    "asset": event.asset,
                    "owner": event.owner.to_checksum(None),
                    "kind": kind(event.details.kind),
                    "content_root": event.contentRoot,
                    "card": event.details.card,
                })
            })
            .collect();
        return context.out.value(&list);
    }
    if assets.is_empty() {
        return context.out.line("no asset of this wallet's is on this chain (--all lists everybody's)");
    }
    assets.iter().try_for_each(|event| {
        context.out.line(&event.asset.to_string())?;
        context.out.folded("    ", &format!("{}, of {} {}", kind(event.details.kind), event.owner, event.details.card))
    })
}

fn show(args: &ShowArgs, context: &mut Context) -> Result<()> {
    let chain = args.network.find(context)?.chain();
    let asset = args.asset;
    let facts = chain.call("asking for the asset", ASSET_REGISTRY, &AssetRegistry::assetOfCall { asset })?;
    let owner = chain.call("asking for its owner", ASSET_REGISTRY, &AssetRegistry::ownerOfCall { asset })?;
    let root = facts.contentRoot;
    let claims = chain.call("looking for others", ASSET_REGISTRY, &AssetRegistry::claimsCall { contentRoot: root })?;
    let lineage = chain.call("asking for its lineage", ASSET_REGISTRY, &AssetRegistry::ancestorsCall { asset })?;
    let (offers, committees) = (offers(&chain, asset)?, committees(&chain, asset)?);
    let ask = chain.call("asking what contracts may ask", INFERENCE_MARKET, &InferenceMarket::askOfCall { asset })?;
    let ask = (!ask.lane.is_zero()).then_some(ask);
    let rivals: Vec<B256> = claims.into_iter().filter(|other| *other != asset).collect();
    if context.out.json() {
        let offers: Vec<Value> = offers
            .iter()
            .map(|(hash, terms)| {
                let mut value = terms_value(terms);
                value["terms"] = json!(hash);
                value
            })
            .collect();
        let ancestors: Vec<Value> = lineage
            .assets
            .iter()
            .zip(&lineage.bps)
            .map(|(asset, part)| json!({"asset": asset, "hundredths_of_percent": part}))
            .collect();
        return context.out.value(&json!({
            "asset": asset,
            "owner": owner.to_checksum(None),
            "kind": kind(facts.kind),
            "content_root": root,
            "graph": facts.graph,
            "card": facts.card,
            "claims": rivals,
            "ancestors": ancestors,
            "offers": offers,
            "committees": committees.iter().map(committee_value).collect::<Vec<_>>(),
            "ask": ask.as_ref().map(ask_value),
        }));
    }
    context.out.line(&format!("{} of {owner}", kind(facts.kind)))?;
    if !facts.card.is_empty() {
        context.out.folded("card: ", &facts.card)?;
    }
    if !rivals.is_empty() {
        context.out.folded("", &rivals_words(rivals.len()))?;
    }
    for (asset, part) in lineage.assets.iter().zip(&lineage.bps) {
        context.out.line(&format!("{}.{:02} % of revenue to {asset}", part / 100, part % 100))?;
    }
    for (hash, terms) in &offers {
        context.out.line(&format!("offer {hash}"))?;
        context.out.folded("    ", &terms_of(&chain, terms)?)?;
    }
    if offers.is_empty() {
        context.out.line("no licences are on offer")?;
    }
    for committee in &committees {
        context.out.line(&format!("committee {}", committee.id()))?;
        let operators: Vec<String> = committee.operators.iter().map(Address::to_string).collect();
        context.out.folded("    ", &operators.join(" "))?;
    }
    if committees.is_empty() {
        context.out.line("no committee serves it")?;
    }
    match &ask {
        Some(ask) => {
            let serves = committees.iter().any(|committee| committee.id() == ask.lane);
            let price = Amount::from(ask.royalty.saturating_add(ask.compute));
            context.out.line(&format!("contracts may ask it for {price} an answer"))?;
            let now = if serves { "" } else { ", which serves no more: its owner has to name another one" };
            context.out.folded("    ", &format!("of committee {}{now}", ask.lane))
        }
        None => context.out.line("contracts may not ask it"),
    }
}

fn ask_value(ask: &Ask) -> Value {
    json!({
        "lane": ask.lane,
        "graph": ask.graph,
        "parameters": ask.parameters,
        "royalty": ask.royalty.to_string(),
        "compute": ask.compute.to_string(),
    })
}

fn committee_value(committee: &Committee) -> Value {
    json!({
        "committee": committee.id(),
        "asset": committee.asset,
        "manifest": committee.manifest,
        "digest": committee.digest,
        "keys": committee.keys,
        "operators": committee.operators.map(|one| one.to_checksum(None)),
        "epoch": committee.epoch,
        "from": committee.from,
        "until": committee.until,
    })
}

fn kind(kind: u8) -> &'static str {
    ["model", "dataset", "adapter", "agent"].get(usize::from(kind)).copied().unwrap_or("unknown")
}

fn parent(text: &str) -> std::result::Result<(B256, U256), String> {
    let wrong = || format!("'{}' is no ASSET:LICENCE", text.escape_debug());
    let (asset, licence) = text.split_once(':').ok_or_else(wrong)?;
    let licence = licence.parse().ok().filter(|_| !licence.is_empty()).ok_or_else(wrong)?;
    Ok((id(asset)?, licence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_named_with_their_licence() {
        let asset = B256::repeat_byte(1);
        assert_eq!(parent(&format!("{asset}:7")), Ok((asset, U256::from(7))));
        for wrong in ["", "0x1:7", &asset.to_string(), &format!("{asset}:x"), &format!("{asset}:")] {
            assert!(parent(wrong).is_err(), "{wrong}");
        }
    }
}
