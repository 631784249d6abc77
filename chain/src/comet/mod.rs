//! CometBFT around this ledger: finding the program, laying out homes, handing in transactions.

mod home;
mod submit;

pub use home::{Ports, Validator, find, layout};
pub use submit::CometSubmit;
