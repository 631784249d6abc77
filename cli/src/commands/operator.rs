//! `sahara operator init | show | run | status | doctor`: a share node of one's own.

mod setup;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;

use clap::Subcommand;
use sahara_mpc::client::{Client, ClientOptions, NodeStatus};
use sahara_mpc::committee::CommitteeError;
use sahara_mpc::config::{Config, ConfigError};
use sahara_mpc::doctor::{self, Finding, Level};
use sahara_mpc::node::{self, NodeError};
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use super::Context;
use super::signals::stopped;
use crate::dashboard::{self, Watched};
use sahara::error::{Blame, Error, Result};
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
        /// Show this node and its peers on a page, at an address of this machine
        #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = dashboard::ADDRESS)]
        dashboard: Option<SocketAddr>,
    },
    /// Show what this node and its two peers say of themselves; exit code 1 when one is not ready
    Status,
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
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stdout).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|e| Error::fault_from("starting the node", e))?;
    let done = runtime.block_on(async {
        let Some(address) = dashboard else { return node::run(config, stopped()).await.map_err(node_error) };
        let (listener, watched) = (dashboard::bind(address).await?, watched(&config)?);
        tracing::info!(%address, "the dashboard is there");
        tokio::select! {
            done = node::run(config, stopped()) => done.map_err(node_error),
            () = dashboard::serve(listener, watched, std::future::pending()) => Ok(()),
        }
    });
    // Threads of jobs that did not end in time must not keep the process.
    runtime.shutdown_background();
    done
}

/// This node's committee, asked with its own key.
fn watched(config: &Config) -> Result<Watched> {
    let committee = config.load_committee().map_err(config_error)?;
    let identity = config.load_identity().map_err(config_error)?;
    let title = format!("committee {}", committee.fingerprint());
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
        context.out.value(&json!({ "fingerprint": committee.fingerprint(), "nodes": nodes }))?;
    } else {
        context.out.line(&format!("committee {}", committee.fingerprint()))?;
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
    let mut findings = doctor::examine(folder);
    for (list, role) in [("owners", Role::Owner), ("consumers", Role::Consumer)] {
        if let Some(identity) = keys::existing(&context.home, role)? {
            findings.extend(doctor::admitted(folder, list, identity));
        }
    }
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
