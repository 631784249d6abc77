//! `cargo xtask bench transports`: answers over TLS and over QUIC on a line with delay and loss.
//!
//! Nodes and consumer are in network namespaces of their own, with a router in user space between them, so that packets of TCP
//! are lost like those of UDP (`benches/transports/line.py`). It needs root and /dev/net/tun.

use std::process::Command;

use crate::Failure;
use crate::process::{self, cargo, root, run, target_dir};

/// Measures, and prints the table or what `--json` asks for.
pub fn bench(arguments: &[String]) -> Result<(), Failure> {
    process::build_sahara()?;
    run(cargo().args([
        "build",
        "--release",
        "--package",
        "sahara",
        "--package",
        "sahara-cli",
        "--example",
        "answers",
    ]))?;
    let home = target_dir().join("bench-transports");
    run(process::sahara().arg("--home").arg(&home).args(["--quiet", "model", "pull", "all-MiniLM-L6-v2"]))?;
    let mut command = Command::new("python3");
    command.arg(root().join("benches").join("transports").join("line.py"));
    command.arg("--sahara").arg(process::sahara_path()).arg("--home").arg(home);
    command.arg("--answers").arg(target_dir().join("release").join("examples").join("answers"));
    run(command.args(arguments))
}
