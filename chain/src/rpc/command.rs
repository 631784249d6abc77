//! What a developer can have done to a chain for development, by whoever makes its blocks.

use std::{future::Future, pin::Pin};

use crate::ledger::Change;

/// What is done to the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Makes blocks, the first at `time`, the others `interval` seconds after one another.
    Mine {
        /// How many.
        blocks: u64,
        /// Seconds since the epoch.
        time: Option<u64>,
        /// Seconds.
        interval: u64,
    },
    /// From now on time is so many seconds later. Gives by how much it is later in all.
    IncreaseTime(u64),
    /// The next block has this time, in seconds since the epoch.
    SetNextTime(u64),
    /// Remembers the state as it is, and gives it a number.
    Snapshot,
    /// Goes back to the state with this number.
    Revert(u64),
    /// Changes an account.
    Change(Change),
    /// A block for each transaction, or only when it is asked for.
    Automine(bool),
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It.
    It,
    /// It, and this is its number.
    Number(u64),
    /// Nothing: there is no such thing.
    Nothing,
}

/// The outcome of a command, later.
pub type Doing<'a> = Pin<Box<dyn Future<Output = Result<Done, String>> + Send + 'a>>;

/// Who makes blocks on a chain for development.
pub trait Develop: Send + Sync {
    /// Does it; the error says why not.
    fn develop(&self, command: Command) -> Doing<'_>;
}
