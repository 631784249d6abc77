//! `sahara devnet up | status | logs | down`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use tokio::net::TcpListener;

use super::Context;
use super::signals::{stop_when_interrupted, stopped};
use crate::dashboard;
use crate::devnet::{self, Devnet, Started, Status};
use crate::error::{Error, Result};
use sahara::models::{DEFAULT_MODEL, Model, Store};

#[derive(Subcommand, Debug)]
#[command(after_help = "\
Examples:
  sahara devnet up                   nodes at ports 7700 to 7702, their metrics
                                     at 7705 to 7707, a chain whose JSON-RPC is
                                     at 8545; a model is sold on it, and you
                                     have a licence and a deposit
  sahara devnet up --free            without that: nobody pays for anything
  sahara devnet up --port 9100       at other ports, the chain's at 9108
  sahara devnet up --dashboard       and a page about it, until Ctrl-C; the
                                     network goes on
  sahara devnet logs 2 --lines 20    the last lines of node 2's log
  sahara devnet down")]
pub enum DevnetCommand {
    /// Start the nodes and the chain; those that run are left alone
    Up {
        /// First of the nodes' ports [default: as last time, else 7700]
        #[arg(long, value_name = "PORT")]
        port: Option<u16>,
        /// Port of the chain's JSON-RPC [default: as last time, else 8545, or PORT + 8]
        #[arg(long, value_name = "PORT")]
        chain_port: Option<u16>,
        /// The model that is sold here and for which a licence is bought
        #[arg(long, value_name = "MODEL", default_value = DEFAULT_MODEL)]
        model: String,
        /// Sell nothing: the nodes serve you without a market
        #[arg(long, conflicts_with = "model")]
        free: bool,
        /// Then show the network on a page, at an address of this machine
        #[arg(long, value_name = "ADDR", num_args = 0..=1, default_missing_value = dashboard::ADDRESS)]
        dashboard: Option<SocketAddr>,
    },
    /// Show whether the nodes and the chain are ready and what they did; exit code 1 when one is not
    Status,
    /// Show the end of the logs
    Logs {
        /// Only this node (1, 2 or 3), or the chain
        #[arg(value_name = "WHICH", value_parser = ["1", "2", "3", "chain"])]
        of: Option<String>,
        /// Lines of each
        #[arg(long, short = 'n', default_value_t = 20)]
        lines: u32,
    },
    /// Stop the nodes and the chain
    Down,
}

pub fn run(command: DevnetCommand, context: &mut Context) -> Result<()> {
    let devnet = Devnet::new(&context.home, program()?);
    match command {
        DevnetCommand::Up { port, chain_port, model, free, dashboard } => {
            // Its address is looked at before anything is started.
            let page = dashboard.map(Page::bind).transpose()?;
            let model = if free { None } else { Some(model.as_str()) };
            up(&devnet, (port, chain_port), (page.as_ref(), model), context)?;
            page.map_or(Ok(()), |page| page.show(&devnet, context))
        }
        DevnetCommand::Status => {
            let status = devnet.status()?;
            show(&status, context)?;
            context.out.flush()?;
            let down = status.down();
            if down.is_empty() {
                return Ok(());
            }
            Err(Error::fault(format!("not ready: {}; `sahara devnet up` starts what does not run", down.join(", "))))
        }
        DevnetCommand::Logs { of, lines } => logs(&devnet, of.as_deref(), lines as usize, context),
        DevnetCommand::Down => {
            let was_up = devnet.down(&context.progress)?;
            context.progress.clear();
            if context.out.json() {
                return context.out.value(&json!({"up": false, "was_up": was_up}));
            }
            context.out.line(if was_up { "the local network is stopped" } else { "the local network was not running" })
        }
    }
}

/// The model that is to be sold, brought in if it is not here; before anything is started.
fn to_be_sold(devnet: &Devnet, name: &str, context: &Context) -> Result<Model> {
    devnet.sells(name)?;
    Store::new(&context.home).open_or_pull(name, &context.progress.events()).map_err(|error| {
        let error = Error::from(error);
        let without = "`sahara devnet up --free` sells nothing and needs no model";
        let said = format!("{}; {without}", error.report());
        error.saying(said)
    })
}

/// The program that nodes are started with: this one.
pub fn program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|e| Error::fault_from("finding the path of this program", e))
}

fn logs(devnet: &Devnet, of: Option<&str>, lines: usize, context: &mut Context) -> Result<()> {
    let mut all: Vec<(String, String)> = Vec::new();
    if of != Some("chain") {
        let node = of.and_then(|number| number.parse().ok());
        all.extend(devnet.logs(node, lines)?.into_iter().map(|(node, line)| (node.to_string(), line)));
    }
    match (of, devnet.chain_logs(lines)) {
        (Some("chain"), lines) => all.extend(lines?.into_iter().map(|line| ("chain".to_owned(), line))),
        // Without a chain the nodes' logs are all there is.
        (None, Ok(lines)) => all.extend(lines.into_iter().map(|line| ("chain".to_owned(), line))),
        _ => {}
    }
    for (of, line) in all {
        match (context.out.json(), of.parse::<usize>()) {
            (true, Ok(node)) => context.out.value(&json!({"node": node, "line": line}))?,
            (true, Err(_)) => context.out.value(&json!({"node": of, "line": line}))?,
            (false, Ok(node)) => context.out.line(&format!("node {node}  {line}"))?,
            (false, Err(_)) => context.out.line(&format!("{of}   {line}"))?,
        }
    }
    Ok(())
}

/// The page about the network.
struct Page {
    runtime: tokio::runtime::Runtime,
    listener: TcpListener,
    url: String,
}

impl Page {
    fn bind(address: SocketAddr) -> Result<Self> {
        let starting = |e| Error::fault_from("starting the dashboard", e);
        let runtime = tokio::runtime::Runtime::new().map_err(starting)?;
        let listener = runtime.block_on(dashboard::bind(address))?;
        let url = format!("http://{}/", listener.local_addr().map_err(starting)?);
        Ok(Self { runtime, listener, url })
    }

    fn show(self, devnet: &Devnet, context: &mut Context) -> Result<()> {
        if !context.out.json() {
            context.out.line(&format!("dashboard at {} (Ctrl-C ends it; the network goes on)", self.url))?;
        }
        context.out.flush()?;
        self.runtime.block_on(dashboard::serve(self.listener, devnet.watched()?, stopped()));
        self.runtime.shutdown_background();
        Ok(())
    }
}

fn up(
    devnet: &Devnet,
    (port, chain_port): (Option<u16>, Option<u16>),
    (page, model): (Option<&Page>, Option<&str>),
    context: &mut Context,
) -> Result<()> {
    let stop = stop_when_interrupted();
    let (Started { nodes: nodes_started, chain: chain_started }, sold) = match model {
        Some(name) => {
            let model = to_be_sold(devnet, name, context)?;
            devnet.up_paid((port, chain_port), &model, &stop, &context.progress)?
        }
        None => (devnet.up_all(port, chain_port, &stop, &context.progress)?, None),
    };
    let status = devnet.status()?;
    context.progress.clear();
    if context.out.json() {
        let mut value = json!(status);
        value["paid"] = json!(sold);
        value["started"] = json!(nodes_started || chain_started);
        if let Some(page) = page {
            value["dashboard"] = json!(page.url);
        }
        return context.out.value(&value);
    }
    let ports = format!("ports {} to {}", status.port, status.port + 2);
    let state = if nodes_started { "ready" } else { "already running" };
    context.out.line(&format!("three share nodes are {state} ({ports})"))?;
    if let Some(chain) = status.chain {
        let state = if chain_started { "ready" } else { "already running" };
        context.out.line(&format!("the chain is {state} at {}", chain.rpc))?;
        context.out.folded("  its driver is ", &chain.driver)?;
        context.out.line(&format!("  try: cast block --rpc-url {}", chain.rpc))?;
    }
    let Some(paid) = sold else {
        return context.out.line("  try: sahara embed \"good morning\"");
    };
    let words = format!(
        "{} is sold here at {} a text, and you have a licence and a deposit for it; every wallet here has the password {}",
        paid.model,
        paid.price(),
        devnet::PASSWORD
    );
    context.out.folded("", &words)?;
    context.out.line("  try: sahara embed \"good morning\"")?;
    context.out.line("       sahara receipt verify last --explain")?;
    context.out.line("       sahara gateway")?;
    context.out.line(&format!("  asset {}", paid.asset))
}

fn show(status: &Status, context: &mut Context) -> Result<()> {
    if context.out.json() {
        return context.out.value(status);
    }
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let number = |value: Option<u64>| or_dash(value.map(|value| value.to_string()));
    let pid = |pid: Option<i32>| or_dash(pid.map(|pid| pid.to_string()));
    context.out.line("node  address             process   jobs  packs     CPU s  state")?;
    for node in &status.nodes {
        context.out.line(&format!(
            "{:<5} {:<18} {:>8} {:>6} {:>6} {:>9}  {}",
            node.node,
            node.address,
            pid(node.pid),
            number(node.jobs_done),
            number(node.packs),
            or_dash(node.cpu_seconds.map(|seconds| format!("{seconds:.2}"))),
            if node.ready { "ready" } else { "not ready" },
        ))?;
        if let Some(problem) = node.problem.as_ref().filter(|_| !node.ready) {
            context.out.folded("      ", problem)?;
        }
    }
    let Some(chain) = &status.chain else { return Ok(()) };
    let address = chain.rpc.trim_start_matches("http://");
    context.out.line(&format!(
        "{:<5} {address:<18} {:>8} {:>23}  {}",
        "chain",
        pid(chain.pid),
        format!("block {}", number(chain.height)),
        if chain.ready { "ready" } else { "not ready" },
    ))?;
    context.out.folded("      ", &chain.driver)
}
