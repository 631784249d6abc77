//! `sahara chain …`: the commands of the ledger, which live in its own crate.

use sahara_chain::cli::Command;
use sahara_chain::node::NodeError;

use crate::error::{Blame, Error, Result};
use sahara::home::Home;

/// Runs one of the ledger's commands.
pub fn run(command: Command, home: &Home) -> Result<()> {
    let command = command.or_home(|given| crate::devnet::chain_home(given.unwrap_or(home.path())));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::fault_from("starting the runtime", e))?;
    let done = runtime.block_on(command.run(&["chain"]));
    // A thread may be blocked in a read for ever; the process ends all the same.
    runtime.shutdown_background();
    done.map_err(|error| match error {
        NodeError::ReaderGone => Error::reader_gone(),
        NodeError::Fault(_) => Error::wrap("chain", Blame::Fault, error),
        _ => Error::wrap("chain", Blame::User, error),
    })
}
