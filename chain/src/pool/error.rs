//! Why a transaction is not kept, in the words of geth where it has any.

use alloy_primitives::{Address, U256};

/// Why a transaction is not kept. The words are those of geth.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum PoolError {
    #[error("already known")]
    Known,
    #[error("nonce too low: address {sender}, tx: {tx} state: {state}")]
    NonceTooLow { sender: Address, tx: u64, state: u64 },
    #[error("nonce too high: address {sender}, tx: {tx} state: {state}")]
    NonceTooHigh { sender: Address, tx: u64, state: u64 },
    /// It alone can be paid for, but not after what its sender has waiting.
    #[error("insufficient funds for gas * price + value: {0}")]
    Overdraft(Box<Shortfall>),
    #[error("replacement transaction underpriced")]
    Underpriced,
    #[error("transaction underpriced: gas fee cap {have}, minimum needed {want}")]
    FeeFloor { have: u128, want: u64 },
    /// Of one sender, in number or bytes.
    #[error("account limit exceeded")]
    AccountLimit,
    /// Everything that waits pays as well or better.
    #[error("txpool is full")]
    Full,
    #[error("in-flight transaction limit reached for delegated accounts")]
    InFlight,
    #[error("gapped-nonce tx from delegated accounts")]
    DelegatedGap,
    #[error("authority already reserved")]
    AuthorityReserved,
    /// A transaction with authorizations does not wait for an earlier one: nothing would bound how often such ones come
    /// and go. Geth says so of blobs.
    #[error("nonce too high: tx nonce {tx}, gapped nonce {next}")]
    AuthorizationGap { tx: u64, next: u64 },
    /// Each costs the recovery of a signature before anything is paid.
    #[error("too many authorizations: set code tx has {have} authorization tuples, limit {limit}")]
    TooManyAuthorizations { have: usize, limit: usize },
    /// A mistake of the caller: recovering signatures is not for whoever holds the pool.
    #[error("the authorities of the transaction were not recovered before it came to the pool")]
    Unrecovered,
    /// Execution refused this very transaction a moment ago.
    #[error("{0}")]
    Refused(String),
}

/// What a sender lacks to pay for all that it wants to have waiting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("balance {balance}, queued cost {queued}, tx cost {cost}, overshot {overshot}")]
#[expect(missing_docs, reason = "the message says it")]
pub struct Shortfall {
    pub balance: U256,
    pub queued: U256,
    pub cost: U256,
    pub overshot: U256,
}
