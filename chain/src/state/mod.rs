//! The ledger's state: accounts and storage for the EVM, keys and values for the chain, each under its own root.

pub mod account;
pub mod app_hash;
pub mod chain_store;
pub mod proof;
pub mod size;
pub mod trie;
pub mod view;

pub use account::Account;
pub use app_hash::{AppHash, StoreRoots};
pub use view::StateView;
