//! What the program knows of paid inference: networks, what was agreed and paid there, and what share nodes are owed.

pub mod account;
pub mod allowance;
pub mod bill;
pub mod ciphertext;
pub mod coin;
pub mod content;
pub mod engine;
pub mod ledger;
pub mod lost;
pub mod network;
pub mod node;
pub mod operator;
pub mod operators;
pub mod places;
pub mod proposal;
pub mod proven;
pub mod purse;
pub mod receipts;
pub mod requests;
pub mod settler;
