//! `sahara operator init | show`: a node's folder, and what the other operators need to know of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use sahara_mpc::address::Address;
use sahara_mpc::client::Committee;
use sahara_mpc::config::{Config, FILE, Parties, Places};
use sahara_mpc::identity::PublicKey;
use sahara_mpc::tls::Admission;
use serde_json::{Value, json};

use super::config_error;
use crate::commands::Context;
use crate::commands::output::Output;
use crate::error::{Error, Result};
use crate::parties::parties;
use sahara::home::{Home, create_private_dir};
use sahara::keys::{self, Role};

#[derive(Args, Debug)]
pub struct InitArgs {
    /// Where this node listens: an address, or a name of this machine, with a port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7700", value_parser = host_and_port)]
    listen: String,
    /// Listen over QUIC, too: the same port of UDP
    #[arg(long)]
    quic: bool,
    /// Where the others connect, if that is not where it listens (behind a router, or on all addresses); quic://HOST:PORT with --quic
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    advertise: Option<String>,
    /// Where metrics and /healthz are served; keep it private
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// Key that may share models besides your own owner.key, or 'any' [repeatable]
    #[arg(long, value_name = "KEY")]
    owner: Vec<String>,
    /// Key that may ask besides your own consumer.key, or 'any' [repeatable]
    #[arg(long, value_name = "KEY")]
    consumer: Vec<String>,
}

impl InitArgs {
    /// The keys of this home and those that were named.
    fn parties(&self, home: &Home) -> Result<Parties> {
        let Parties { owners, consumers } = parties(home)?;
        Ok(Parties {
            owners: admission(owners, &self.owner, "--owner")?,
            consumers: admission(consumers, &self.consumer, "--consumer")?,
        })
    }
}

/// A list of keys and those named on the command line.
fn admission(own: Admission, named: &[String], option: &str) -> Result<Admission> {
    if named.iter().any(|name| name == "any") {
        return Ok(Admission::Any);
    }
    let Admission::Only(mut keys) = own else { return Ok(own) };
    for name in named {
        keys.insert(name.parse().map_err(|why| Error::user(format!("{option}: {why}, or `any`")))?);
    }
    Ok(Admission::Only(keys))
}

/// The same behind what carries the bytes, if that is said.
fn address(text: &str) -> std::result::Result<String, String> {
    let address = Address::parse(text).map_err(|why| format!("`{text}` {why}"))?;
    host_and_port(address.place).map(|_| text.to_owned())
}

/// A name or an address with a port, as it stands in a committee file.
fn host_and_port(text: &str) -> std::result::Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or("must be HOST:PORT")?;
    let v6 = host.starts_with('[') && host.ends_with(']');
    let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    if (v6 && text.parse::<SocketAddr>().is_ok()) || (!host.is_empty() && plain && port.parse::<u16>().is_ok()) {
        Ok(text.to_owned())
    } else {
        Err("must be HOST:PORT, a name or an address and a port".to_owned())
    }
}

/// Makes a node's folder.
pub(super) fn init(args: &InitArgs, folder: PathBuf, context: &mut Context) -> Result<()> {
    let parties = args.parties(&context.home)?;
    let anywhere = args.listen.parse::<SocketAddr>().is_ok_and(|listen| listen.ip().is_unspecified());
    if anywhere && args.advertise.is_none() {
        return Err(Error::user(format!(
            "{} is no address that others can connect to: say --advertise HOST:PORT as well",
            args.listen
        )));
    }
    create_private_dir(&folder)?;
    let places = Places {
        listen: &args.listen,
        listen_quic: args.quic.then_some(&args.listen),
        advertise: args.advertise.as_deref(),
        metrics: args.metrics,
    };
    let config = Config::init_at(&folder, &places, &parties).map_err(config_error)?;
    if !context.out.json() {
        let made = format!("the node's folder is {}; look through {FILE} there", folder.display());
        context.out.folded("", &made)?;
    }
    tell(&folder, &config, Some(&args.listen), context)
}

/// Prints again what the other operators need to know.
pub(super) fn show(folder: &Path, config: &Config, context: &mut Context) -> Result<()> {
    tell(folder, config, None, context)
}

/// A committee of this node, as far as its file is written, and how it knows the node.
struct Seat<'a> {
    file: &'a Path,
    committee: Option<Committee>,
    name: String,
    address: String,
}

impl<'a> Seat<'a> {
    fn new(file: &'a Path, key: &PublicKey, config: &Config) -> Self {
        let committee = Committee::load(file).ok();
        // Where the file has this node already, it is as the others know it.
        let member = committee.as_ref().and_then(|committee| committee.member(committee.index_of(key)?));
        let (name, address) = match member {
            Some(member) => (member.name.clone(), member.address.clone()),
            None => ("a name".to_owned(), config.advertise.clone()),
        };
        Self { file, committee, name, address }
    }

    fn fingerprint(&self) -> Option<String> {
        self.committee.as_ref().map(Committee::fingerprint)
    }

    fn value(&self) -> Value {
        json!({
            "file": self.file,
            "fingerprint": self.fingerprint(),
            "epoch": self.committee.as_ref().map(Committee::epoch),
            "name": self.name,
            "address": self.address,
        })
    }

    /// The lines for the committee file.
    fn tell(&self, key: &PublicKey, out: &mut Output) -> Result<()> {
        let words = "give these lines to the other two operators, and put theirs beside them in";
        out.folded("", &format!("{words} {}:", self.file.display()))?;
        out.line("")?;
        out.line("version = 1          # once, at the top")?;
        if let Some(committee) = self.committee.as_ref().filter(|committee| committee.epoch() != 0) {
            out.line(&format!("epoch = {:<12} # once, below", committee.epoch()))?;
        }
        out.line("")?;
        out.line("[[node]]             # three of these, in the same order in all files")?;
        out.line(&format!("name = {}", Value::from(self.name.as_str())))?;
        out.line(&format!("address = \"{}\"", self.address))?;
        out.line(&format!("key = \"{key}\""))?;
        out.line("")
    }
}

/// The lines for the committee files, the keys that all nodes need, and the fingerprint of each file that is whole.
fn tell(folder: &Path, config: &Config, listen: Option<&str>, context: &mut Context) -> Result<()> {
    let key = config.load_identity().map_err(config_error)?.public();
    let seats: Vec<Seat<'_>> = config.committee_files().map(|file| Seat::new(file, &key, config)).collect();
    if context.out.json() {
        let first = seats.first();
        return context.out.value(&json!({
            "home": folder,
            "config": folder.join(FILE),
            "committee": first.map(|seat| seat.file),
            "listen": listen.map_or_else(|| config.listen.to_string(), str::to_owned),
            "address": first.map(|seat| seat.address.as_str()),
            "key": key.to_string(),
            "fingerprint": first.and_then(Seat::fingerprint),
            "committees": seats.iter().map(Seat::value).collect::<Vec<_>>(),
            "owners": listed(&config.owners),
            "consumers": listed(&config.consumers),
            "keys": context.home.path(),
        }));
    }
    let out = &mut context.out;
    seats.iter().try_for_each(|seat| seat.tell(&key, out))?;
    out.line(&format!("`owners` in {FILE} says who may share models ({}),", counted(&config.owners)))?;
    out.line(&format!("`consumers` who may ask ({}).", counted(&config.consumers)))?;
    let words =
        "A key is served when all three nodes have it in these lists: give the other two operators yours, too (of";
    out.folded("", &format!("{words} {}):", context.home.path().display()))?;
    out.line("")?;
    for (list, role) in [("owners", Role::Owner), ("consumers", Role::Consumer)] {
        if let Some(own) = keys::existing(&context.home, role)? {
            out.line(&format!("{list:9}  {}", own.public()))?;
        }
    }
    out.line("")?;
    for seat in &seats {
        let which = if seats.len() > 1 { format!(" {}", seat.file.display()) } else { String::new() };
        match seat.fingerprint() {
            Some(fingerprint) => {
                let words = "is whole. Compare its fingerprint with the others by telephone:";
                out.folded("", &format!("The committee file{which} {words}"))?;
                out.line(&fingerprint)?;
            }
            None => {
                let words = "is whole, `sahara operator show` prints its fingerprint, to compare by telephone.";
                out.folded("", &format!("When the committee file{which} {words}"))?;
            }
        }
    }
    Ok(())
}

fn listed(admission: &Admission) -> Value {
    match admission {
        Admission::Any => json!("any"),
        Admission::Only(keys) => keys.iter().map(ToString::to_string).collect(),
    }
}

fn counted(admission: &Admission) -> String {
    match admission {
        Admission::Any => "anybody".into(),
        Admission::Only(keys) if keys.len() == 1 => "one key".into(),
        Admission::Only(keys) => format!("{} keys", keys.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_to_connect_to_is_a_host_and_a_port() {
        for good in ["127.0.0.1:7700", "[::1]:7700", "node-1.example:443", "localhost:1"] {
            assert_eq!(host_and_port(good), Ok(good.to_owned()));
        }
        for wrong in ["127.0.0.1", ":7700", "a b:1", "a:70000", "::1:7700", "[x]:1", "a\"\n:1", ""] {
            assert!(host_and_port(wrong).is_err(), "{wrong}");
        }
    }
}
