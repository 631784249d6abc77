//! CometBFT around this ledger: finding the program, laying out homes, handing in transactions.

mod client;
mod forward;
mod home;

pub use client::{Answer, Client};
pub use forward::Forward;
pub use home::{Ports, Validator, find, layout};
