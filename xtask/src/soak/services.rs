//! `cargo xtask soak services`: docs/install.md, step by step, on a machine of its own: a small Debian in a container
//! whose systemd runs the units, with the sandbox that they ask for. Needs root, debootstrap and systemd-nspawn; nothing
//! of it reaches this machine's services or network.

use std::path::Path;
use std::process::Command;

use crate::process::{self, output, run as run_program, succeeds, target_dir};
use crate::{Failure, dist, prerequisites};

const INSIDE: &str = include_str!("services/inside.sh");
/// Starts the script once the container is up, and ends the container with it.
const UNIT: &str = "\
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/share/inside.sh
ExecStopPost=/bin/systemctl --no-block poweroff
[Install]
WantedBy=multi-user.target
";
const TOOLS: &str = "sudo apt-get update && sudo apt-get install -y debootstrap systemd-container";
const PACKAGES: &str = "systemd,systemd-sysv,dbus,sudo,curl,man-db";
/// Seconds that everything inside may take.
const PATIENCE: &str = "600";

/// Packs the program, makes the container, runs the steps in it.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    if !arguments.is_empty() {
        return Err(Failure::user("soak services takes no arguments"));
    }
    if output(Command::new("id").arg("-u"))?.trim() != "0" {
        return Err(Failure::user("soak services makes a container: run it as root"));
    }
    if !succeeds("systemd-nspawn", &["--version"]) || !succeeds("debootstrap", &["--version"]) {
        return Err(Failure::user(format!("a tool for containers is missing: {TOOLS}")));
    }
    prerequisites::ensure_cometbft()?;
    let tarball = dist::pack()?;
    let folder = target_dir().join("services");
    let (base, root, share) = (folder.join("debian"), folder.join("root"), folder.join("share"));
    if !base.join("usr/bin/man").exists() {
        dist::empty(&base)?;
        let include = format!("--include={PACKAGES}");
        run_program(Command::new("debootstrap").args(["--variant=minbase", &include, "bookworm"]).arg(&base))?;
    }
    dist::remove(&root)?;
    dist::empty(&share)?;
    let copy = |from: &Path, to: &Path| run_program(Command::new("cp").arg("-a").arg(from).arg(to));
    copy(&base, &root)?;
    copy(&tarball, &share)?;
    copy(&prerequisites::cometbft()?, &share.join("cometbft"))?;
    copy(&dist::model_folder(&process::sahara_path())?, &share.join("model"))?;
    // As the hub has it: without what this program made of it.
    dist::remove(&share.join("model/compiled"))?;
    write(&share.join("inside.sh"), INSIDE)?;
    run_program(Command::new("chmod").arg("755").arg(share.join("inside.sh")))?;
    write(&root.join("etc/systemd/system/inside.service"), UNIT)?;
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    std::fs::create_dir_all(root.join("share"))
        .and_then(|()| std::fs::create_dir_all(&wants))
        .and_then(|()| std::os::unix::fs::symlink("../inside.service", wants.join("inside.service")))
        .map_err(|error| Failure::fault(format!("preparing {}: {error}", root.display())))?;
    eprintln!("xtask: the container starts (its console is in {})", folder.join("console.txt").display());
    let console = std::fs::File::create(folder.join("console.txt"))
        .map_err(|error| Failure::fault(format!("writing to {}: {error}", folder.display())))?;
    let mut nspawn = Command::new("timeout");
    nspawn
        .args([PATIENCE, "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--boot"])
        .arg(format!("--bind={}:/share", share.display()))
        .arg("--directory")
        .arg(&root)
        .stdin(std::process::Stdio::null())
        .stdout(console);
    let ended = run_program(&mut nspawn);
    let report = std::fs::read_to_string(share.join("report.txt")).unwrap_or_default();
    print!("{report}");
    if !report.ends_with("DONE\n") {
        let trace = share.join("trace.txt");
        return Err(Failure::fault(format!("a step failed: the end of {} has it", trace.display())));
    }
    ended
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::fault(format!("writing {}: {error}", path.display())))
}
