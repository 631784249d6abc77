//! Running other programs: where the workspace is, what was asked, how it ended.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Failure;

/// The root of the checkout: of the one that cargo runs this in, which need not be where it was compiled.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = PathBuf::from(here);
    here.parent().map_or(here.clone(), PathBuf::from)
}

/// Where cargo puts what it builds; virtual environments and test caches live beside it.
pub fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) if !dir.is_empty() => {
            let dir = PathBuf::from(dir);
            if dir.is_absolute() { dir } else { root().join(dir) }
        }
        _ => root().join("target"),
    }
}

/// The cargo that runs this chore, started in the root of the checkout.
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The program that was built, ready to be given arguments.
pub fn sahara() -> Command {
    let mut command = Command::new(sahara_path());
    command.current_dir(root());
    command
}

/// Path of the release binary.
pub fn sahara_path() -> PathBuf {
    target_dir().join("release").join(format!("sahara{}", std::env::consts::EXE_SUFFIX))
}

/// Builds the command line with the release profile, showing cargo's own progress.
pub fn build_sahara() -> Result<(), Failure> {
    eprintln!("xtask: building sahara (the first time takes some minutes)");
    let started = Instant::now();
    run(cargo().args(["build", "--release", "--workspace", "--bin", "sahara"]))?;
    eprintln!("xtask: built in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a program with this terminal; any exit code but 0 is passed on.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    let name = describe(command);
    let status = command.status().map_err(|error| Failure::fault(format!("could not start `{name}`: {error}")))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Failure::exit(&format!("`{name}`"), u8::try_from(code).unwrap_or(1))),
        None => Err(Failure::fault(format!("`{name}` was killed by a signal"))),
    }
}

/// Runs a program and returns its standard output; standard error stays on the terminal.
pub fn output(command: &mut Command) -> Result<String, Failure> {
    let name = describe(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::fault(format!("could not start `{name}`: {error}")))?;
    if !output.status.success() {
        let code = output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        return Err(Failure::exit(&format!("`{name}`"), code));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| Failure::fault(format!("`{name}` printed something that is not UTF-8")))
}

/// Runs a program, showing its standard output as it comes, and calls `line` for each line of it.
/// Returns whether the program succeeded.
pub fn tee(command: &mut Command, mut line: impl FnMut(&str)) -> Result<bool, Failure> {
    let name = describe(command);
    let failed = |error: std::io::Error| Failure::fault(format!("`{name}`: {error}"));
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    if let Some(stdout) = child.stdout.take() {
        let mut terminal = std::io::stdout();
        for text in BufReader::new(stdout).split(b'\n') {
            let text = text.map_err(failed)?;
            let text = String::from_utf8_lossy(&text);
            // A closed terminal must not stop the tests.
            let _ = writeln!(terminal, "{text}");
            line(&text);
        }
    }
    Ok(child.wait().map_err(failed)?.success())
}

/// Whether a program can be started with these arguments and answers with success.
pub fn succeeds(program: impl AsRef<OsStr>, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn describe(command: &Command) -> String {
    let mut text = PathBuf::from(command.get_program())
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
