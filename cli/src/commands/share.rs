//! `sahara model share | unshare | shared | get`: models on share nodes, as their owners and consumers see them.

use std::path::{Path, PathBuf};

use alloy_primitives::B256;
use clap::Args;
use sahara_market::ASSET_REGISTRY;
use sahara_mpc::manifest::{AccessRule, Asset};
use serde_json::{Value, json};

use super::asset::{seated_words, seating};
use super::committee::{self, DrawArgs};
use super::money::{MoneyArgs, id};
use super::network::NetworkArgs;
use super::signals::stop_when_interrupted;
use super::{Context, WeightsArg};
use crate::error::{Blame, Error, Result};
use crate::market::content::{content, registered};
use sahara::home::create_private_dir;
use sahara::keys::{self, Role};
use sahara::models::{DEFAULT_MODEL, Model, SharedStore, Store};
use sahara::network::{
    self, Consumers, NoiseOptions, OwnSharing, Owner, PublicKey, ShareOptions, SharingName, SharingRef, Visibility,
};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sahara model share all-MiniLM-L6-v2                for your own key only
  sahara model share mine --access KEY --access KEY  for these consumers, too
  sahara model share mine --access everyone          for all the nodes serve
  sahara model share mine --asset ID                 for whoever has a licence
  sahara model share vote --dataset reviews --noise 40 --epsilon 8 --delta 1e-5
      a vote of `sahara model ensemble`, whose answers leave with noise, until
      they have cost that much
  sahara model share mine --asset ID --committee auto
      the same, at nodes that are drawn by the chain's rule from the operators
      who are willing, and seated once you have agreed to who it is

The nodes get the weights (masked, unless --weights open) and what a consumer
needs who never has them. Sharing again under the same name replaces the
version before; with the same model it only changes who may use it. A
consumer's key is what `sahara whoami` prints on its machine; your own stays on
the list unless you say --others-only. Ctrl-C before the end leaves the nodes
with what they had before.")]
pub struct ShareArgs {
    /// Name of the model
    #[arg(default_value = DEFAULT_MODEL)]
    model: String,
    /// Whether the share nodes may know the weights
    #[arg(long, value_enum, default_value_t = WeightsArg::Private)]
    weights: WeightsArg,
    /// Key of a consumer besides your own, or 'everyone' [repeatable; default: as before, at first nobody else]
    #[arg(long, value_name = "KEY")]
    access: Vec<String>,
    /// Asset on the chain whose licences give access, for money; you pay, too
    #[arg(long, value_name = "ID", conflicts_with_all = ["access", "others_only"], value_parser = id)]
    asset: Option<B256>,
    #[command(flatten)]
    money: MoneyArgs,
    #[command(flatten)]
    draw: DrawArgs,
    /// Leave your own key off the list of --access
    #[arg(long, requires = "access")]
    others_only: bool,
    /// Name to share it under [default: the model's, with `.open` for open weights]
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    noise: NoiseArgs,
    /// Share it again even if the nodes have it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    nodes: NodesArgs,
}

/// Under which terms the answers of a vote leave.
#[derive(Args, Debug)]
pub struct NoiseArgs {
    /// What you call the data behind a vote: all that you share about it draws on one privacy budget
    #[arg(long, value_name = "NAME", requires_all = ["noise", "epsilon", "delta"])]
    dataset: Option<SharingName>,
    /// Standard deviation of the noise on the counts, that is left when one node tells its part
    #[arg(long, value_name = "VOTES", requires = "dataset")]
    noise: Option<f64>,
    /// ε that all answers about the data may cost together, whoever asks
    #[arg(long, value_name = "E", requires = "dataset")]
    epsilon: Option<f64>,
    /// δ of that ε
    #[arg(long, value_name = "D", requires = "dataset")]
    delta: Option<f64>,
}

impl NoiseArgs {
    fn options(&self) -> Option<NoiseOptions> {
        let Self { dataset, noise, epsilon, delta } = self;
        Some(NoiseOptions { dataset: dataset.clone()?, deviation: (*noise)?, epsilon: (*epsilon)?, delta: (*delta)? })
    }
}

/// Which nodes.
#[derive(Args, Debug)]
pub struct NodesArgs {
    /// Committee file of the share nodes [default: the devnet's]
    #[arg(long, value_name = "FILE")]
    committee: Option<PathBuf>,
}

/// What is named instead of a committee's file where one is drawn.
const AUTO: &str = "auto";

impl NodesArgs {
    fn owner(&self, context: &Context) -> Result<Owner> {
        Ok(Owner::connect(&context.home, self.committee.as_deref())?)
    }
}

#[derive(Args, Debug)]
pub struct UnshareArgs {
    /// Name it was shared under
    name: String,
    #[command(flatten)]
    nodes: NodesArgs,
}

#[derive(Args, Debug)]
pub struct SharedArgs {
    #[command(flatten)]
    nodes: NodesArgs,
}

#[derive(Args, Debug)]
pub struct GetArgs {
    /// OWNER/NAME as its owner tells it, or the id of a manifest
    sharing: SharingRef,
    #[command(flatten)]
    nodes: NodesArgs,
}

/// Hands a model to the nodes, or changes who may use it.
pub fn share(args: &ShareArgs, context: &mut Context) -> Result<()> {
    if args.nodes.committee.as_deref() == Some(Path::new(AUTO)) {
        return share_with_drawn(args, context);
    }
    if let Some(flag) = args.money.given().or(args.draw.given()) {
        return Err(Error::user(format!(
            "{flag} says nothing without --committee {AUTO}: sharing alone moves no money"
        )));
    }
    let progress = context.progress.events();
    let model = Store::new(&context.home).open(&args.model, &progress)?;
    let asset = args.asset.map(|asset| sold(asset, &args.money.network, &model, context)).transpose()?;
    let options = options(args, asset, context)?;
    let owner = args.nodes.owner(context)?;
    let done = hand_over(&owner, &model, &options, context)?;
    let asks = if model.compiled.frontend.classes().is_some() { "classify" } else { "embed" };
    shown(&done, asks, keys::load(&context.home, Role::Consumer)?.public(), context)
}

/// Draws a committee for an asset, and hands it the model and seats it once its owner has agreed to who it is.
fn share_with_drawn(args: &ShareArgs, context: &mut Context) -> Result<()> {
    let asset = args.asset.ok_or_else(|| {
        Error::user(format!("a committee is drawn for an asset on the chain: say which with --asset ID, or name a file instead of {AUTO}"))
    })?;
    let model = Store::new(&context.home).open(&args.model, &context.progress.events())?;
    let mut payer = args.money.payer(context)?;
    let options = options(args, Some(sold(asset, &args.money.network, &model, context)?), context)?;
    committee::owned(&payer.chain, asset, payer.address)?;
    context.progress.step("drawing a committee");
    let drawn = committee::draw(&payer.chain, asset, &args.draw)?;
    context.progress.clear();
    if payer.only_tries() {
        if context.out.json() {
            return context.out.value(&drawn.json());
        }
        drawn.lines().iter().try_for_each(|line| context.out.folded("", line))?;
        return context.out.line("nothing was shared and nothing was sent");
    }
    drawn.agreed(&payer.chain, asset, &args.draw, context)?;
    let folder = context.home.path().join("committees");
    create_private_dir(&folder)?;
    let file = folder.join(format!("{asset:x}.toml"));
    let nodes = drawn.reached(&file, context)?;
    let done = hand_over(&Owner::connect(&context.home, Some(&file))?, &model, &options, context)?;
    let (seat, order) = seating(&payer.chain, asset, &nodes, done.sharing.id(), args.draw.days())?;
    payer.carry_out(&order, context)?;
    let (words, mut value) = seated_words(&seat);
    value["drawn"] = drawn.json();
    value["file"] = json!(file);
    value["uploaded"] = json!(done.uploaded);
    let what = if done.uploaded { "is shared" } else { "is shared already" };
    let name = &done.sharing.manifest().name;
    payer.tell(&format!("{name} {what}; {words}; its nodes are in {}", file.display()), value, context)
}

fn options(args: &ShareArgs, asset: Option<Asset>, context: &Context) -> Result<ShareOptions> {
    let own = keys::load(&context.home, Role::Consumer)?.public();
    Ok(ShareOptions {
        name: args.name.as_ref().map(|name| name.parse().map_err(Error::user)).transpose()?,
        visibility: args.weights.into(),
        consumers: consumers(&args.access, own, args.others_only)?,
        asset,
        noise: args.noise.options(),
        force: args.force,
    })
}

fn hand_over(owner: &Owner, model: &Model, options: &ShareOptions, context: &Context) -> Result<OwnSharing> {
    let done = owner.share(model, options, &stop_when_interrupted(), &context.progress.events());
    let done = done.map_err(Error::from).map_err(|error| match error.blame() {
        Blame::Stopped => error.saying("interrupted: the nodes have the version that they had before"),
        _ => error,
    })?;
    context.progress.clear();
    Ok(done)
}

/// The asset as a manifest names it: of this network's chain, and of this model.
fn sold(asset: B256, network: &NetworkArgs, model: &Model, context: &Context) -> Result<Asset> {
    let chain = network.find(context)?.chain();
    chain.check()?;
    let (root, _) = content(model)?;
    if registered(&chain, asset)? != root {
        return Err(Error::user(format!(
            "asset {asset} has another content than {}: register this one with `sahara asset register`",
            model.info.name
        )));
    }
    Ok(Asset { chain: chain.id(), contract: *ASSET_REGISTRY.0, asset: asset.0 })
}

fn shown(done: &OwnSharing, asks: &str, own: PublicKey, context: &mut Context) -> Result<()> {
    let OwnSharing { sharing, consumers, uploaded, .. } = done;
    let manifest = sharing.manifest();
    let which = SharingRef::Named(manifest.owner, manifest.name.clone());
    let sold = match &manifest.access {
        AccessRule::Chain(asset) => Some(B256::from(asset.asset)),
        AccessRule::Keys(_) => None,
    };
    if context.out.json() {
        let listed: Value = match consumers {
            _ if sold.is_some() => Value::Null,
            Consumers::Everyone => json!("everyone"),
            Consumers::Only(keys) => keys.iter().map(ToString::to_string).collect(),
        };
        return context.out.value(&json!({
            "sharing": which.to_string(),
            "owner": manifest.owner.to_string(),
            "name": manifest.name.as_str(),
            "version": manifest.version,
            "manifest": sharing.id().to_string(),
            "client_part_bytes": manifest.client_part.map(|part| part.len),
            "consumers": listed,
            "asset": sold,
            "uploaded": uploaded,
        }));
    }
    let what = if *uploaded { "is shared" } else { "is shared already" };
    context.out.line(&format!("{} {what}, version {}", manifest.name, manifest.version))?;
    if let Some(asset) = sold {
        context.out.line("for whoever has a licence of asset")?;
        context.out.line(&asset.to_string())?;
        context.out.folded("", "name its nodes on the chain with `sahara asset seat`; it is asked by")?;
    } else {
        context.out.line(&format!("for {}; it is asked by", listed(consumers, own)))?;
    }
    context.out.line("")?;
    context.out.line(&format!("sahara {asks} --committee FILE \"good morning\" --model \\"))?;
    context.out.line(&which.to_string())
}

/// Who may ask, in words for the owner.
fn listed(consumers: &Consumers, own: PublicKey) -> String {
    let Consumers::Only(keys) = consumers else { return "whoever the nodes serve".to_owned() };
    let others = keys.iter().filter(|key| **key != own).count();
    let text = |count: usize, one: &str, many: &str| match count {
        1 => format!("one {one}"),
        count => format!("{count} {many}"),
    };
    match (keys.contains(&own), others) {
        (true, 0) => "your own key only".to_owned(),
        (true, others) => format!("your own key and {}", text(others, "other", "others")),
        (false, others) => format!("{}, your own not among them", text(others, "key", "keys")),
    }
}

/// The consumers that were named, if any were. The owner's `own` key is among them unless that is not wanted: who shares a
/// model with others does not mean to lose it.
fn consumers(named: &[String], own: PublicKey, others_only: bool) -> Result<Option<Consumers>> {
    if named.is_empty() {
        return Ok(None);
    }
    if named.iter().any(|name| name == "everyone") {
        return if named.len() == 1 && !others_only {
            Ok(Some(Consumers::Everyone))
        } else {
            Err(Error::user("--access everyone leaves no room for further keys, nor for --others-only"))
        };
    }
    let keys: Result<Vec<_>> = named
        .iter()
        .map(|name| name.parse().map_err(|why| Error::user(format!("--access: {why}, or `everyone`"))))
        .collect();
    let listed = Consumers::only(keys?);
    Ok(Some(if others_only { listed } else { listed.with(own) }))
}

/// Takes a model back from the nodes.
pub fn unshare(args: &UnshareArgs, context: &mut Context) -> Result<()> {
    let name: SharingName = args.name.parse().map_err(Error::user)?;
    if !args.nodes.owner(context)?.unshare(&name)? {
        return Err(Error::user(format!(
            "you share no model named '{name}' with these nodes: see `sahara model shared`"
        )));
    }
    context.progress.clear();
    if context.out.json() {
        return context.out.value(&json!({"name": name.as_str(), "unshared": true}));
    }
    context.out.folded("", &format!("{name} is no longer shared; its versions and packs are gone from the nodes"))
}

/// Lists the models on the nodes that this machine's user owns or may ask.
pub fn shared(args: &SharedArgs, context: &mut Context) -> Result<()> {
    let own = keys::load(&context.home, Role::Owner)?.public();
    let roles = [Role::Consumer, Role::Owner];
    let listing = network::sharings(&context.home, args.nodes.committee.as_deref(), &roles)?;
    let seen = listing.sharings;
    context.progress.clear();
    let mut told: Vec<String> = listing.silent.into_iter().map(|error| Error::from(error).report()).collect();
    told.dedup();
    told.iter().for_each(|why| context.progress.note(why));
    if context.out.json() {
        let list: Vec<Value> = seen
            .iter()
            .map(|entry| {
                json!({
                    "sharing": format!("{}/{}", entry.owner, entry.name),
                    "name": entry.name.as_str(),
                    "version": entry.version,
                    "manifest": entry.manifest.to_string(),
                    "own": entry.owner == own,
                    "weights": if entry.visibility == Visibility::Open { "open" } else { "private" },
                    "client_part_bytes": entry.client_part,
                    "bytes": entry.bytes,
                })
            })
            .collect();
        return context.out.value(&list);
    }
    if seen.is_empty() {
        return context.out.line("no model on these nodes is yours or for you");
    }
    for entry in &seen {
        let whose = if entry.owner == own { "yours" } else { "for you" };
        let weights = if entry.visibility == Visibility::Open { "open" } else { "private" };
        let what = format!("version {}, {weights} weights, {whose}", entry.version);
        context.out.line(&format!("{}/{}", entry.owner, entry.name))?;
        context.out.line(&format!("    {what}"))?;
    }
    Ok(())
}

/// Fetches what is needed to ask somebody else's model.
pub fn get(args: &GetArgs, context: &mut Context) -> Result<()> {
    let committee = network::committee(&context.home, args.nodes.committee.as_deref())?;
    let progress = context.progress.events();
    let (model, fetched) = SharedStore::new(&context.home).open(&args.sharing, &committee, &progress)?;
    context.progress.clear();
    if context.out.json() {
        let value =
            json!({"name": model.info.name, "source": model.info.source, "folder": model.folder, "fetched": fetched});
        return context.out.value(&value);
    }
    let what = if fetched { "is ready" } else { "is already here" };
    context.out.line(&format!("{} {what} ({}), without its weights", model.info.name, model.info.source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_is_keys_or_everyone_and_the_owner_keeps_its_own() {
        let [key, own] = [PublicKey([0x11; 32]), PublicKey([0x22; 32])];
        let text = key.to_string();
        let read = |named: &[&str], others_only| {
            consumers(&named.iter().map(|&name| name.to_owned()).collect::<Vec<_>>(), own, others_only)
        };
        assert_eq!(read(&[], false).unwrap(), None);
        assert_eq!(read(&["everyone"], false).unwrap(), Some(Consumers::Everyone));
        assert_eq!(read(&[&text, &text], false).unwrap(), Some(Consumers::only([key, own])));
        assert_eq!(read(&[&text], true).unwrap(), Some(Consumers::only([key])));
        for (wrong, others_only) in [(&["everyone", &text][..], false), (&["bob"], false), (&["everyone"], true)] {
            assert_eq!(read(wrong, others_only).unwrap_err().exit_code(), 2);
        }
        for (keys, words) in [
            (vec![own], "your own key only"),
            (vec![own, key], "your own key and one other"),
            (vec![key], "one key, your own not among them"),
        ] {
            assert_eq!(listed(&Consumers::only(keys), own), words);
        }
    }
}
