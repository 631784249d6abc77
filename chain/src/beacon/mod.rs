//! Randomness that no proposer chooses.
//!
//! A validator commits to a *chain* of hashes by its tip, and each block that it proposes shows the tip's preimage, which
//! is the tip from then on. It cannot choose what it shows: there is one right value, fixed long before. Blocks are
//! counted in *epochs*; the value of an epoch mixes what the epoch before has shown, and nothing of the blocks' content.
//! So a proposer has one choice only: to propose or to forfeit its turn, one bit. `docs/adr` argues it.
//!
//! A chain that is new in the middle of play could be chosen with the others' values in sight. So what a new validator
//! shows counts [`DELAY`] epochs after it registered, and another chain replaces the first one only as many epochs after
//! it was announced.
//!
//! [`chain`] is the secret side, [`item`] what a proposal carries, [`state`] what the ledger keeps (in the
//! staking contract's storage), [`contract`] what Solidity sees.

pub mod chain;
mod commitment;
pub mod contract;
pub mod item;
mod params;
pub mod state;

pub use chain::Secret;
pub use commitment::{Commitment, MAX_LENGTH, step};
pub use item::Item;
pub use params::{BeaconParams, DELAY, HISTORY};
