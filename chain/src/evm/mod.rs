//! The Ethereum virtual machine. The only module that knows revm: it breaks its interface with every major version.

pub mod abi;
pub mod committee;
mod database;
mod machine;
pub mod native;
mod provider;
mod refusal;
mod stateless;
pub mod trace;

pub use machine::{BlockContext, Call, CallResult, Halt, Machine, Outcome, admits, check_code};
pub use provider::{Natives, SYSTEM_CODE, system_contracts};
pub use refusal::{Refusal, Rule};
pub use revm::primitives::hardfork::SpecId;

/// The fork of Ethereum whose rules this chain follows.
pub const FORK: SpecId = SpecId::OSAKA;

/// Gas one transaction may use at most (EIP-7825).
pub const TX_GAS_CAP: u64 = 1 << 24;
