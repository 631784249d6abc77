//! `sahara network add | make | ls | show | rm`: the networks that this machine knows.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use crate::error::{Error, Result};
use crate::market::network::{self, Network};
use sahara_light::{Light, Options, Url};

#[derive(Subcommand, Debug)]
#[command(after_help = "\
A network's file says what has to be trusted of it: the chain, and the hash of
one of its headers. Get it from somebody you trust, and compare the hash by
another way; everything else is proven from there.")]
pub enum NetworkCommand {
    /// Add a network from the file that describes it
    Add(AddArgs),
    /// Write the file of a network, as a node of it that you trust (your own) says
    Make(MakeArgs),
    /// List the networks
    Ls,
    /// Show a network, and how far its chain is
    Show(ShowArgs),
    /// Forget a network
    Rm(RmArgs),
}

/// Which network.
#[derive(Args, Clone, Debug, Default)]
pub struct NetworkArgs {
    /// Name of the network [default: the only one]
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
}

#[derive(Args, Debug)]
pub struct AddArgs {
    /// The network's file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What to call it here [default: its chain's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Trust the header in this file instead of the one that is trusted now
    #[arg(long)]
    replace: bool,
}

#[derive(Args, Debug)]
pub struct MakeArgs {
    /// JSON-RPC of a node, e.g. http://127.0.0.1:8545; more of them are asked when it is away
    #[arg(value_name = "URL", required = true)]
    urls: Vec<Url>,
    /// The height of the header that is trusted [default: the newest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    height: Option<u64>,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Its name [default: the only one]
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

#[derive(Args, Debug)]
pub struct RmArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

impl NetworkArgs {
    /// Its name, if it was named.
    pub(super) fn named(&self) -> Option<&str> {
        self.network.as_deref()
    }

    /// The network.
    pub(super) fn find(&self, context: &Context) -> Result<Network> {
        network::find(&context.home, self.network.as_deref())
    }
}

pub fn run(command: NetworkCommand, context: &mut Context) -> Result<()> {
    match command {
        NetworkCommand::Add(args) => {
            let network = network::add(&context.home, &args.file, args.name.as_deref(), args.replace)?;
            told(&network, context)
        }
        NetworkCommand::Make(args) => {
            let anchor = network::anchor_of(args.urls, args.height)?;
            match context.out.json() {
                true => context.out.line(&anchor.to_json()),
                false => anchor.to_toml().lines().try_for_each(|line| context.out.line(line)),
            }
        }
        NetworkCommand::Ls => ls(context),
        NetworkCommand::Show(args) => {
            let network = network::find(&context.home, args.name.as_deref())?;
            show(&network, context)
        }
        NetworkCommand::Rm(args) => {
            network::remove(&context.home, &args.name)?;
            match context.out.json() {
                true => context.out.value(&json!({"name": args.name, "removed": true})),
                false => context.out.line(&format!("{} is not known here any more", args.name)),
            }
        }
    }
}

fn summary(network: &Network) -> Value {
    let anchor = network.anchor();
    json!({
        "name": network.name(),
        "chain": anchor.chain,
        "evm_chain": anchor.evm_chain,
        "height": anchor.height,
        "hash": anchor.hash,
        "rpc": anchor.rpc,
    })
}

fn told(network: &Network, context: &mut Context) -> Result<()> {
    if context.out.json() {
        return context.out.value(&summary(network));
    }
    let anchor = network.anchor();
    context.out.line(&format!("{}: chain {}, id {}", network.name(), anchor.chain, anchor.evm_chain))?;
    context.out.line(&format!("trusts the header at height {}:", anchor.height))?;
    context.out.line(&anchor.hash.to_string())?;
    anchor.rpc.iter().try_for_each(|url| context.out.line(&format!("  asks {url}")))
}

fn ls(context: &mut Context) -> Result<()> {
    let networks = network::list(&context.home)?;
    if context.out.json() {
        return context.out.value(&networks.iter().map(summary).collect::<Vec<_>>());
    }
    if networks.is_empty() {
        return context.out.line("no network is known here: `sahara network add FILE`");
    }
    networks.iter().try_for_each(|network| {
        let anchor = network.anchor();
        context.out.line(&format!("{}  chain {}, id {}", network.name(), anchor.chain, anchor.evm_chain))
    })
}

fn show(network: &Network, context: &mut Context) -> Result<()> {
    context.progress.step("verifying the newest header");
    let believed = Light::refresh(&network.light(Options::default()));
    context.progress.clear();
    if context.out.json() {
        let mut value = summary(network);
        match &believed {
            Ok(header) => {
                value["verified"] = json!({"height": header.height, "hash": header.hash, "time": header.time})
            }
            Err(error) => value["problem"] = error.to_string().into(),
        }
        context.out.value(&value)?;
    } else {
        told(network, context)?;
    }
    match believed {
        Ok(_) if context.out.json() => Ok(()),
        Ok(header) => context.out.line(&format!("verified up to height {}", header.height)),
        Err(error) => {
            context.out.flush()?;
            Err(Error::fault(format!("not verified: {error}")))
        }
    }
}
