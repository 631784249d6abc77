//! `sahara operator init | run | status | doctor`: a share node of one's own.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use sahara_mpc::client::{Client, ClientOptions, NodeStatus};
use sahara_mpc::committee::CommitteeError;
use sahara_mpc::config::{Config, ConfigError, FILE, Parties};
use sahara_mpc::doctor::{self, Finding, Level};
use sahara_mpc::node::{self, NodeError};
use sahara_mpc::tls::Admission;
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use super::Context;
use super::signals::stopped;
use crate::error::{Blame, Error, Result};
use crate::home::{Home, create_private_dir};
use crate::keys;

#[derive(Subcommand, Debug)]
#[command(after_help = "\
The node's folder is --home, else $SAHARA_HOME/node. Your own keys, which a new
node admits, are in both cases those of $SAHARA_HOME, else ~/.sahara, as
`sahara whoami` prints them. To set up a node with two other operators:
  1. sahara operator init --home ./node --listen 203.0.113.7:7700
  2. exchange the lines that it prints; all three write the same committee.toml
  3. sahara operator doctor --home ./node     peers that do not run yet are a
                                              problem until they do
  4. sahara operator run --home ./node")]
pub enum OperatorCommand {
    /// Make a node's folder: configuration with comments and a key
    Init(InitArgs),
    /// Run the node until Ctrl-C or SIGTERM; logs go to standard output as JSON lines
    Run,
    /// Show what this node and its two peers say of themselves; exit code 1 when one is not ready
    Status,
    /// Look at everything the node needs, and say the fix for what is missing
    Doctor,
}

#[derive(Args, Debug)]
pub struct InitArgs {
    /// Where this node listens: an address, or a name of this machine, with a port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7700", value_parser = host_and_port)]
    listen: String,
    /// Where the others connect, if that is not where it listens (behind a router, or on all addresses)
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
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
        let Parties { owners, consumers } = keys::parties(home)?;
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

pub fn run(command: OperatorCommand, context: &mut Context) -> Result<()> {
    let folder = context.node_home.clone();
    match command {
        OperatorCommand::Init(args) => init(&args, folder, context),
        OperatorCommand::Run => {
            crate::memory::keep_freed_pages();
            serve(load(&folder)?)
        }
        OperatorCommand::Status => status(&load(&folder)?, context),
        OperatorCommand::Doctor => examine(&folder, context),
    }
}

fn load(folder: &Path) -> Result<Config> {
    Config::load(folder).map_err(config_error)
}

fn config_error(error: ConfigError) -> Error {
    match &error {
        ConfigError::Committee(CommitteeError::Io { source, path, .. }) if source.kind() == ErrorKind::NotFound => {
            Error::user(format!(
                "there is no committee file {}: write it with the lines of all three operators (`sahara operator init` printed yours)",
                path.display()
            ))
        }
        ConfigError::Io { .. } => Error::wrap("reading the node's configuration", Blame::User, error),
        // The others say what is wrong and what to do.
        _ => Error::user(error.to_string()),
    }
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

fn init(args: &InitArgs, folder: PathBuf, context: &mut Context) -> Result<()> {
    let parties = args.parties(&context.home)?;
    let anywhere = args.listen.parse::<SocketAddr>().is_ok_and(|listen| listen.ip().is_unspecified());
    if anywhere && args.advertise.is_none() {
        return Err(Error::user(format!(
            "{} is no address that others can connect to: say --advertise HOST:PORT as well",
            args.listen
        )));
    }
    let advertise = args.advertise.as_deref().unwrap_or(&args.listen);
    create_private_dir(&folder)?;
    let config = Config::init_at(&folder, &args.listen, args.metrics, &parties).map_err(config_error)?;
    let key = config.load_identity().map_err(config_error)?.public();
    if context.out.json() {
        return context.out.value(&json!({
            "home": folder,
            "config": folder.join(FILE),
            "committee": config.committee,
            "listen": args.listen,
            "address": advertise,
            "key": key.to_string(),
            "owners": listed(&config.owners),
            "consumers": listed(&config.consumers),
            "keys": context.home.path(),
        }));
    }
    context.out.folded("", &format!("the node's folder is {}; look through {FILE} there", folder.display()))?;
    let words = "give these lines to the other two operators, and put theirs beside them in";
    context.out.folded("", &format!("{words} {}:", config.committee.display()))?;
    context.out.line("")?;
    context.out.line("version = 1          # once, at the top")?;
    context.out.line("")?;
    context.out.line("[[node]]             # three of these, in the same order in all files")?;
    context.out.line("name = \"a name\"")?;
    context.out.line(&format!("address = \"{advertise}\""))?;
    context.out.line(&format!("key = \"{key}\""))?;
    context.out.line("")?;
    context.out.line(&format!("`owners` in {FILE} says who may share models ({}),", counted(&config.owners)))?;
    context.out.line(&format!("`consumers` who may ask ({});", counted(&config.consumers)))?;
    context.out.folded("", &format!("your own keys are in {}", context.home.path().display()))
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
        Admission::Only(keys) if keys.len() == 1 => "your own key only".into(),
        Admission::Only(keys) => format!("{} keys", keys.len()),
    }
}

fn serve(config: Config) -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stdout).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|e| Error::fault_from("starting the node", e))?;
    let done = runtime.block_on(node::run(config, stopped())).map_err(node_error);
    // Threads of jobs that did not end in time must not keep the process.
    runtime.shutdown_background();
    done
}

fn node_error(error: NodeError) -> Error {
    match error {
        NodeError::Config(error) => config_error(error),
        NodeError::NotAMember { .. } | NodeError::Listen { .. } | NodeError::Locked(_) => {
            Error::user(error.to_string())
        }
        other => Error::wrap("running the node", Blame::Fault, other),
    }
}

fn status(config: &Config, context: &mut Context) -> Result<()> {
    let committee = config.load_committee().map_err(config_error)?;
    let identity = config.load_identity().map_err(config_error)?;
    let client = Client::new(identity, committee.clone(), ClientOptions::default());
    let (mut answers, mut down) = (Vec::new(), Vec::new());
    for (index, answer) in client.status().into_iter().enumerate() {
        let label = committee.label(index as u8);
        if !answer.as_ref().is_ok_and(|status| status.ready) {
            down.push(label.clone());
        }
        answers.push(match answer {
            Ok(status) => (summary(&label, &status), label, described(&status)),
            Err(error) => {
                let problem = error.to_string();
                (json!({"node": index + 1, "label": label, "ready": false, "problem": problem}), label, problem)
            }
        });
    }
    if context.out.json() {
        let nodes: Vec<Value> = answers.into_iter().map(|(value, ..)| value).collect();
        context.out.value(&json!({ "nodes": nodes }))?;
    } else {
        answers.iter().try_for_each(|(_, label, text)| {
            context.out.line(label)?;
            context.out.folded("  ", text)
        })?;
    }
    context.out.flush()?;
    match down.is_empty() {
        true => Ok(()),
        false => Err(Error::fault(format!("not ready: {}; `sahara operator doctor` looks why", down.join(", ")))),
    }
}

fn examine(folder: &Path, context: &mut Context) -> Result<()> {
    let findings = doctor::examine(folder);
    let problems = findings.iter().filter(|finding| finding.level == Level::Problem).count();
    if context.out.json() {
        let list: Vec<Value> = findings.iter().map(finding_value).collect();
        context.out.value(&json!({"ready": problems == 0, "findings": list}))?;
    } else {
        for finding in &findings {
            context.out.folded(&format!("{:8} {:10} ", level_name(finding.level), finding.what), &finding.found)?;
            if let Some(fix) = &finding.fix {
                context.out.folded(&format!("{:8} {:10} → ", "", ""), fix)?;
            }
        }
    }
    context.out.flush()?;
    match problems {
        0 => Ok(()),
        1 => Err(Error::user("the node cannot serve yet: one problem above needs its fix")),
        many => Err(Error::user(format!("the node cannot serve yet: {many} problems above need their fixes"))),
    }
}

fn finding_value(finding: &Finding) -> Value {
    json!({"what": finding.what, "level": level_name(finding.level), "found": finding.found, "fix": finding.fix})
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Good => "good",
        Level::Warning => "warning",
        Level::Problem => "problem",
    }
}

fn summary(label: &str, status: &NodeStatus) -> Value {
    let bytes = |counts: &sahara_mpc::meter::ByteCounts| json!({"setup": counts.setup, "offline": counts.offline, "online": counts.online, "client": counts.client});
    json!({
        "node": status.index + 1,
        "label": label,
        "ready": status.ready,
        "program": status.program,
        "uptime_seconds": status.uptime_seconds,
        "pid": status.process,
        "cpu_seconds": status.cpu_seconds(),
        "bytes_sent": bytes(&status.sent),
        "bytes_received": bytes(&status.received),
        "jobs_done": status.jobs_done,
        "jobs_failed": status.jobs_failed,
        "jobs_running": status.jobs_running,
        "rounds": status.rounds,
        "packs_dealt": status.packs_dealt,
        "packs_ready": status.packs.iter().map(|(_, count)| u64::from(*count)).sum::<u64>(),
        "sharings": status.sharings,
    })
}

fn described(status: &NodeStatus) -> String {
    format!(
        "{}, up {} s, {} jobs done, {} failed, {} running, {} packs ready, {:.1} CPU-seconds",
        if status.ready { "ready" } else { "stopping" },
        status.uptime_seconds,
        status.jobs_done,
        status.jobs_failed,
        status.jobs_running,
        status.packs.iter().map(|(_, count)| u64::from(*count)).sum::<u64>(),
        status.cpu_seconds(),
    )
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
