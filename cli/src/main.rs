//! The program `sahara`: commands for everybody, and the only place where all crates meet.

#![deny(unsafe_code)] // one call to the allocator's parameters opts out
#![allow(unnameable_types)] // nothing is built on a program

mod advice;
mod chain_client;
mod commands;
mod cpu;
mod dashboard;
mod demo;
mod devnet;
mod error;
mod itself;
mod market;
mod memory;
mod moment;
mod parties;
mod progress;
mod wallet;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::main()
}
