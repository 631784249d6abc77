//! `sahara devnet up | status | logs | down`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::Context;
use crate::devnet::{Devnet, Status};
use crate::error::{Error, Result};

#[derive(Subcommand, Debug)]
#[command(after_help = "\
Examples:
  sahara devnet up                   three nodes at ports 7700 to 7702, metrics at 7705 to 7707
  sahara devnet up --port 9100       at other ports
  sahara devnet logs 2 --lines 20    the last lines of node 2's log
  sahara devnet down")]
pub enum DevnetCommand {
    /// Start the nodes; those that run are left alone
    Up {
        /// First of the ports [default: as last time, else 7700]
        #[arg(long, value_name = "PORT")]
        port: Option<u16>,
    },
    /// Show whether the nodes are ready and what they did
    Status,
    /// Show the end of the nodes' logs
    Logs {
        /// Only this node (1, 2 or 3)
        #[arg(value_parser = clap::value_parser!(u8).range(1..=3))]
        node: Option<u8>,
        /// Lines of each node
        #[arg(long, short = 'n', default_value_t = 20)]
        lines: u32,
    },
    /// Stop the nodes
    Down,
}

pub fn run(command: DevnetCommand, context: &mut Context) -> Result<()> {
    let devnet = Devnet::new(&context.home, program()?);
    match command {
        DevnetCommand::Up { port } => up(&devnet, port, context),
        DevnetCommand::Status => {
            let status = devnet.status()?;
            show(&status, context)
        }
        DevnetCommand::Logs { node, lines } => {
            for (node, line) in devnet.logs(node.map(usize::from), lines as usize)? {
                if context.out.json() {
                    context.out.value(&json!({"node": node, "line": line}))?;
                } else {
                    context.out.line(&format!("node {node}  {line}"))?;
                }
            }
            Ok(())
        }
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

/// The program that nodes are started with: this one.
pub fn program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|e| Error::fault_from("finding the path of this program", e))
}

fn up(devnet: &Devnet, port: Option<u16>, context: &mut Context) -> Result<()> {
    let started = devnet.up(port, &context.progress)?;
    let status = devnet.status()?;
    context.progress.clear();
    if context.out.json() {
        let mut value = json!(status);
        value["started"] = json!(started);
        return context.out.value(&value);
    }
    let ports = format!("ports {} to {}", status.port, status.port + 2);
    if started {
        context.out.line(&format!("three share nodes are ready ({ports}); try: sahara embed \"good morning\""))
    } else {
        context.out.line(&format!("three share nodes are already running ({ports}); nothing changed"))
    }
}

fn show(status: &Status, context: &mut Context) -> Result<()> {
    if context.out.json() {
        return context.out.value(status);
    }
    for node in &status.nodes {
        let state = match (&node.problem, node.ready) {
            (_, true) => "ready".to_owned(),
            (Some(problem), false) => format!("not ready: {problem}"),
            (None, false) => "not ready".to_owned(),
        };
        let pid = node.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
        context.out.line(&format!(
            "node {}  {}  process {pid:>7}  jobs {:>5}  packs {:>4}  CPU {:>8} s  {state}",
            node.node,
            node.address,
            number(node.jobs_done),
            number(node.packs),
            node.cpu_seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.2}")),
        ))?;
    }
    Ok(())
}
