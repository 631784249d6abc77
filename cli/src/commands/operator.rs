//! `sahara operator init | show | run | status | doctor`: a share node of one's own.

mod bond;
mod market;
mod setup;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use clap::Subcommand;
use sahara_mpc::client::{Client, ClientError, ClientOptions, Committee, NodeStatus};
use sahara_mpc::committee::CommitteeError;
use sahara_mpc::config::{Config, ConfigError, ServedCommittee};
use sahara_mpc::doctor::{self, Finding, Level};
use sahara_mpc::identity::Identity;
use sahara_mpc::market::Market;
use sahara_mpc::node::{self, NodeError};
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use super::Context;
use super::signals::stopped;
use crate::dashboard::{self, Watched};
use crate::error::{Blame, Error, Result};
use crate::market::operator::{Settings, tend};
use crate::market::requests;
use sahara::keys::{self, Role};
use setup::{InitArgs, init, show};

#[derive(Subcommand, Debug)]
#[command(after_help = "\
The node's folder is --home, else $SAHARA_HOME/node. Your own keys, which a new
node admits, are in both cases those of $SAHARA_HOME, else ~/.sahara, as
`sahara whoami` prints them. To set up a node with two other operators:
  1. sahara operator init --home ./node --listen 203.0.113.7:7700
     with --owner KEY and --consumer KEY for everybody who is to be served:
     each key, your own too, has to be in the lists of all three nodes
  2. exchange the lines that it prints; all three write the same committee.toml,
     and compare its fingerprint by telephone (sahara operator show)
  3. sahara operator doctor --home ./node     peers that do not run yet are a
                                              problem until they do
  4. sahara operator run --home ./node")]
pub enum OperatorCommand {
    /// Make a node's folder: configuration with comments and a key
    Init(InitArgs),
    /// Print again what `init` printed for the other operators, and the committee's fingerprint
    Show,
    /// Run the node until Ctrl-C or SIGTERM; logs go to standard output as JSON lines
    Run {
        /// Show this node and its peers (of its first committee) on a page, at an address of this machine
        #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = dashboard::ADDRESS)]
        dashboard: Option<SocketAddr>,
    },
    /// Show what this node and its two peers say of themselves; exit code 1 when one is not ready
    Status,
    /// Join the chain's operators, or add to the bond
    Bond(bond::BondArgs),
    /// Say on the chain what you ask for a call
    Quote(bond::QuoteArgs),
    /// Say on the chain that this node holds an asset's sharing
    Allow(bond::AllowArgs),
    /// Take some of the bond out, which takes its time
    Unbond(bond::UnbondArgs),
    /// Show what was earned, and take it out
    Earnings(bond::EarningsArgs),
    /// Have the market pay what this node's committees are owed
    Settle(bond::SettleArgs),
    /// Look at everything the node needs, and say the fix for what is missing
    Doctor,
}

pub fn run(command: OperatorCommand, context: &mut Context) -> Result<()> {
    let folder = context.node_home.clone();
    match command {
        OperatorCommand::Init(args) => init(&args, folder, context),
        OperatorCommand::Show => show(&folder, &load(&folder)?, context),
        OperatorCommand::Run { dashboard } => {
            crate::memory::keep_freed_pages();
            serve(load(&folder)?, dashboard)
        }
        OperatorCommand::Status => status(&load(&folder)?, context),
        OperatorCommand::Bond(args) => bond::bond(&args, &load(&folder)?, context),
        OperatorCommand::Quote(args) => bond::quote(&args, context),
        OperatorCommand::Allow(args) => bond::allow(&args, context),
        OperatorCommand::Unbond(args) => bond::unbond(&args, context),
        OperatorCommand::Earnings(args) => bond::earnings(&args, context),
        OperatorCommand::Settle(args) => bond::settle(&args, &load(&folder)?, context),
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
                "there is no committee file {}: write it with the lines of all three operators (`sahara operator show` prints yours)",
                path.display()
            ))
        }
        ConfigError::Io { .. } => Error::wrap("reading the node's configuration", Blame::User, error),
        // The others say what is wrong and what to do.
        _ => Error::user(error.to_string()),
    }
}

fn serve(config: Config, dashboard: Option<SocketAddr>) -> Result<()> {
    // A library's warnings are about single packets, of which anybody sends as many as it likes.
    let usual = "info,quinn=error,quinn_proto=error,quinn_udp=error";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stdout).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|e| Error::fault_from("starting the node", e))?;
    let market = market(&config)?;
    let done = runtime.block_on(async {
        let Some(address) = dashboard else {
            return node::run_with(config, market, stopped()).await.map_err(node_error);
        };
        let (listener, watched) = (dashboard::bind(address).await?, watched(&config)?);
        tracing::info!(%address, "the dashboard is there");
        tokio::select! {
            done = node::run_with(config, market, stopped()) => done.map_err(node_error),
            () = dashboard::serve(listener, watched, std::future::pending()) => Ok(()),
        }
    });
    // Threads of jobs that did not end in time must not keep the process.
    runtime.shutdown_background();
    done
}

/// The market that the node's configuration names, with a thread that keeps it true and has it pay.
fn market(config: &Config) -> Result<Option<Arc<dyn Market>>> {
    let Some(file) = &config.market else { return Ok(None) };
    let settings = Settings::load(file)?;
    let market = Arc::new(settings.market(&config.home)?);
    let settler = tend(market.clone(), &settings)?;
    Ok(Some(requests::serve(config, &settings, market, settler)?))
}

/// This node's committee, asked with its own key; where it has several, the first.
fn watched(config: &Config) -> Result<Watched> {
    let served = config.load_committees().map_err(config_error)?;
    let which = if served.len() > 1 { format!(", the first of {}", served.len()) } else { String::new() };
    let first = served.into_iter().next().ok_or_else(|| Error::fault("a node without a committee"))?;
    let (committee, identity) = (first.committee, config.load_identity().map_err(config_error)?);
    let title = format!("committee {}{which}", committee.fingerprint());
    Ok(Watched { title, client: Client::new(identity, committee, ClientOptions::default()), chain: None })
}

fn node_error(error: NodeError) -> Error {
    match error {
        NodeError::Config(error) => config_error(error),
        NodeError::NotAMember { .. }
        | NodeError::NoProtocol { .. }
        | NodeError::Listen { .. }
        | NodeError::Locked(_) => Error::user(error.to_string()),
        other => Error::wrap("running the node", Blame::Fault, other),
    }
}

/// What one node of a committee says of itself.
struct Said {
    label: String,
    text: String,
    value: Value,
    ready: bool,
}

/// What the nodes of a committee say.
fn asked(identity: &Arc<Identity>, committee: &Committee) -> Vec<Said> {
    let client = Client::shared(identity.clone(), committee.clone(), ClientOptions::default());
    let said = |(index, answer): (u8, std::result::Result<NodeStatus, ClientError>)| {
        let label = committee.label(index);
        let ready = answer.as_ref().is_ok_and(|status| status.ready);
        let (mut value, text) = match answer {
            Ok(status) => (summary(&label, &status), described(&status)),
            Err(error) => {
                let problem = error.to_string();
                (json!({"node": index + 1, "label": label, "ready": false, "problem": problem}), problem)
            }
        };
        value["committee"] = committee.fingerprint().into();
        Said { label, text, value, ready }
    };
    (0..).zip(client.status()).map(said).collect()
}

fn status(config: &Config, context: &mut Context) -> Result<()> {
    let served = config.load_committees().map_err(config_error)?;
    let identity = Arc::new(config.load_identity().map_err(config_error)?);
    let (mut nodes, mut down) = (Vec::new(), Vec::new());
    for ServedCommittee { file, committee, .. } in &served {
        let said = asked(&identity, committee);
        let which = if served.len() > 1 { format!(" of {}", file.display()) } else { String::new() };
        down.extend(said.iter().filter(|said| !said.ready).map(|said| format!("{}{which}", said.label)));
        if !context.out.json() {
            context.out.folded("", &format!("committee {}{which}", committee.fingerprint()))?;
            said.iter().try_for_each(|Said { label, text, .. }| {
                context.out.line(label)?;
                context.out.folded("  ", text)
            })?;
        }
        nodes.extend(said.into_iter().map(|said| said.value));
    }
    if context.out.json() {
        let committees: Vec<Value> = served
            .iter()
            .map(|served| json!({"file": served.file, "fingerprint": served.committee.fingerprint()}))
            .collect();
        let fingerprint = committees.first().map(|first| first["fingerprint"].clone());
        context.out.value(&json!({"fingerprint": fingerprint, "committees": committees, "nodes": nodes}))?;
    }
    context.out.flush()?;
    match down.is_empty() {
        true => Ok(()),
        false => Err(Error::fault(format!("not ready: {}; `sahara operator doctor` looks why", down.join(", ")))),
    }
}

fn examine(folder: &Path, context: &mut Context) -> Result<()> {
    let mut findings = doctor::examine(folder);
    for (list, role) in [("owners", Role::Owner), ("consumers", Role::Consumer)] {
        if let Some(identity) = keys::existing(&context.home, role)? {
            findings.extend(doctor::admitted(folder, list, identity));
        }
    }
    findings.extend(market::examine(folder));
    let problems = findings.iter().filter(|finding| finding.level == Level::Problem).count();
    if context.out.json() {
        let list: Vec<Value> = findings.iter().map(finding_value).collect();
        context.out.value(&json!({"ready": problems == 0, "findings": list}))?;
    } else {
        let mut section = None;
        for finding in &findings {
            // What is of one committee of several stands under its name.
            if finding.committee.is_some() && section != finding.committee {
                context.out.folded("", &format!("committee {}", finding.committee.as_deref().unwrap_or_default()))?;
            }
            section.clone_from(&finding.committee);
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
    json!({
        "what": finding.what,
        "committee": finding.committee,
        "level": level_name(finding.level),
        "found": finding.found,
        "fix": finding.fix,
    })
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
        "{}, up {} s, {} done, {} failed, {} running, {} ready, {:.1} CPU-seconds",
        if status.ready { "ready" } else { "stopping" },
        status.uptime_seconds,
        several(status.jobs_done, "job"),
        status.jobs_failed,
        status.jobs_running,
        several(status.packs.iter().map(|(_, count)| u64::from(*count)).sum(), "pack"),
        status.cpu_seconds(),
    )
}

/// A number of things, in the singular for one.
fn several(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
