//! CometBFT around this ledger: finding the program, laying out homes, running it, handing in transactions.

mod client;
mod forward;
mod headers;
mod home;
mod join;
mod neighbours;
mod ports;
mod process;
pub mod settings;

pub use client::{Answer, AskError, Client, quantity};
pub use forward::Forward;
pub use home::{Layout, Validator, find, layout, run};
pub use join::{Invitation, Trust, on_this_machine};
pub use ports::{PortBlock, Ports};
pub use process::{Launch, Process, Processes, stop_all};
