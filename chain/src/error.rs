//! What can go wrong inside the ledger itself. A bad transaction is never one of these: it gets a result of its own.

/// Reading or writing the database failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {cause}")]
pub struct StoreError {
    /// What was being done, to which part of the database.
    pub doing: &'static str,
    /// What the database said.
    pub cause: String,
}

/// What to do about a damaged database.
pub const DAMAGED: &str = "The database is damaged: restore the newest snapshot with `sahara chain snapshot restore --home HOME`, or \
     see \"After damage\" in docs/validators.md";

impl StoreError {
    /// An error of the database while `doing` something.
    pub fn new(doing: &'static str, cause: impl std::fmt::Display) -> Self {
        Self { doing, cause: cause.to_string() }
    }

    /// Stored bytes that do not decode: the database is damaged.
    pub fn corrupt(doing: &'static str, cause: impl std::fmt::Display) -> Self {
        Self { doing, cause: format!("{cause}. {DAMAGED}") }
    }
}

impl revm::database_interface::DBErrorMarker for StoreError {}

/// A fault stops the node: going on would fork it from the others.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The database failed.
    #[error("database: {0}")]
    Store(#[from] StoreError),
    /// The consensus engine asked for something out of order.
    #[error(
        "consensus asked for block {asked} but this node can only execute block {expected}: its data folder belongs to another chain or another time"
    )]
    Height {
        /// The height that was asked for.
        asked: u64,
        /// The height that could follow.
        expected: u64,
    },
    /// A call came before the one it needs, or once too often.
    #[error("consensus called {call} out of order: {why}")]
    Order {
        /// The call.
        call: &'static str,
        /// What is wrong with that.
        why: &'static str,
    },
    /// The genesis file is not usable.
    #[error("genesis: {0}")]
    Genesis(#[from] crate::genesis::error::GenesisError),
    /// The EVM refused to run a block at all.
    #[error("evm: {0}")]
    Evm(String),
}
