//! The ledger: who owns what, who is paid, who cheated.
//!
//! [`ledger::Ledger`] is a deterministic state machine behind the [`application::Application`] port: transactions and
//! block facts in, results and a root out. It knows no consensus engine, clock or socket. Two shells drive it:
//! [`abci`] under a real CometBFT, and [`embedded`] (one validator in this process) for development and tests. [`rpc`]
//! answers what Ethereum tools ask, from committed state.
#![forbid(unsafe_code)]
// This crate's code decides what every validator must agree on: silent wrapping and truncation are bugs here.
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::float_arithmetic)]

pub mod abci;
pub mod application;
pub mod beacon;
pub mod block;
pub mod cli;
pub mod comet;
pub mod consensus;
mod durable;
pub mod embedded;
pub mod error;
pub mod evm;
mod failpoint;
pub mod fees;
pub mod genesis;
pub mod ledger;
pub mod merkle;
pub mod node;
pub mod pool;
pub mod rpc;
pub mod snapshot;
pub mod staking;
pub mod state;
pub mod store;
pub mod tx;
pub mod validator;
pub mod wallet;

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    #[test]
    fn a_number_that_overflows_stops_the_node_also_in_a_release() {
        let sum = std::panic::catch_unwind(|| black_box(u64::MAX) + black_box(1));
        assert!(sum.is_err(), "the workspace sets overflow-checks for this crate");
    }
}
