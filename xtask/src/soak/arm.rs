//! `cargo xtask soak arm`: the integer graph and the gates on 64-bit ARM: cross-built, their unit tests run by an
//! emulator, so that the NEON kernels are compared with their scalar twins. On such a machine itself, without either.

use std::process::Command;

use crate::process::{cargo, output, run as run_program, succeeds};
use crate::{Failure, prerequisites};

const TARGET: &str = "aarch64-unknown-linux-gnu";
const COMPILER: &str = "aarch64-linux-gnu-gcc";
const EMULATORS: [&str; 2] = ["qemu-aarch64-static", "qemu-aarch64"];
/// Where Debian puts the C library of the other machine.
const SYSROOT: &str = "/usr/aarch64-linux-gnu";
const PACKAGES: &str = "sudo apt-get update && sudo apt-get install -y gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
                        qemu-user-static";

/// Builds and runs the tests; arguments choose among them by name.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    prerequisites::check_build()?;
    let mut command = cargo();
    command.args(["test", "--release", "--package", "sahara-circuits", "--package", "sahara-protocol", "--lib"]);
    // Without the floating-point model: it is no part of what has to give the same integers everywhere.
    command.args(["--no-default-features", "--features", "sahara-circuits/compile"]);
    if cfg!(not(target_arch = "aarch64")) {
        cross(&mut command)?;
    }
    run_program(command.arg("--").args(arguments))
}

/// Has another machine's program built and emulated.
fn cross(command: &mut Command) -> Result<(), Failure> {
    let library = output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
    if !std::path::Path::new(library.trim()).is_dir() {
        return Err(Failure::user(format!("Rust's library for ARM is missing: rustup target add {TARGET}")));
    }
    let emulator = EMULATORS.into_iter().find(|emulator| succeeds(emulator, &["--version"]));
    let (Some(emulator), true) = (emulator, succeeds(COMPILER, &["--version"])) else {
        return Err(Failure::user(format!("a compiler and an emulator for ARM are missing: {PACKAGES}")));
    };
    let variable = |what: &str| format!("CARGO_TARGET_{}_{what}", TARGET.to_uppercase().replace('-', "_"));
    command
        .args(["--target", TARGET])
        .env(variable("LINKER"), COMPILER)
        .env(variable("RUNNER"), format!("{emulator} -L {SYSROOT}"));
    Ok(())
}
