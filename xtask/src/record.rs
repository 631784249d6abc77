//! `cargo xtask record`: runs a session in a shell and draws it as `docs/session.svg`, the picture of the README.
//!
//! The commands are real and so is what they print; nothing is drawn that was not printed. Lines appear one after the
//! other where a browser animates, and all at once where it does not.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::{Failure, prerequisites, process};

const SESSION: &[&str] = &[
    "sahara devnet up --free  # three share nodes and a chain",
    "sahara embed \"a private sentence\"",
    "sahara embed -q \"a private sentence\" | sha256sum          # on the three nodes",
    "sahara embed -q --plain \"a private sentence\" | sha256sum  # without them: the same bytes",
    "sahara devnet status",
    "sahara devnet down",
];
const MODEL: &str = "sahara model pull all-MiniLM-L6-v2";
/// Characters of a line, and the size of one in the picture.
const COLUMNS: usize = 96;
const WIDTH: f32 = 7.8;
const HEIGHT: f32 = 18.0;
const MARGIN: f32 = 14.0;
/// Lines that one command may print.
const MOST_LINES: usize = 40;

/// Draws the session into the file that is named, or into `docs/session.svg`.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    prerequisites::check_build()?;
    process::build_sahara()?;
    let out = arguments.first().map_or_else(|| process::root().join("docs/session.svg"), PathBuf::from);
    let home = process::target_dir().join("tmp").join(format!("record-{}", std::process::id()));
    shell(MODEL, &home)?;
    let mut lines = Vec::new();
    let drawn = SESSION.iter().try_for_each(|command| {
        let started = Instant::now();
        let said = shell(command, &home)?;
        eprintln!("xtask: {command}: {:.1} s", started.elapsed().as_secs_f32());
        lines.push((format!("$ {command}"), true));
        lines.extend(said.lines().take(MOST_LINES).map(|line| (line.to_owned(), false)));
        Ok(())
    });
    if drawn.is_err() {
        // The nodes of a session that broke off do not stay.
        let _ = shell("sahara devnet down", &home);
    }
    let _ = std::fs::remove_dir_all(&home);
    drawn?;
    std::fs::write(&out, picture(&lines))
        .map_err(|e| Failure::fault(format!("could not write {}: {e}", out.display())))?;
    println!("{}", out.display());
    Ok(())
}

/// What a command prints, on both streams, as a shell's reader sees it.
fn shell(command: &str, home: &Path) -> Result<String, Failure> {
    let failed = |why: String| Failure::fault(format!("`{command}` {why}"));
    let programs = process::sahara_path().parent().map(Path::to_path_buf).unwrap_or_default();
    let path = std::env::var("PATH").unwrap_or_default();
    let ended = Command::new("bash")
        .args(["-c", &format!("set -o pipefail; {{ {command}\n}} 2>&1")])
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("SAHARA_HOME", home)
        .env("COLUMNS", COLUMNS.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| failed(format!("did not start: {e}")))?;
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    match ended.status.success() {
        true => Ok(said.replace(&home.display().to_string(), "~/.sahara")),
        false => Err(failed(format!("failed:\n{said}"))),
    }
}

/// The lines as a terminal shows them; those that are `true` were typed.
fn picture(lines: &[(String, bool)]) -> String {
    let width = (COLUMNS as f32).mul_add(WIDTH, 2.0 * MARGIN);
    let height = (lines.len() as f32).mul_add(HEIGHT, 3.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
         aria-label=\"A terminal session\">\n<style>\n\
         text {{ font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #d7d3c8; white-space: pre }}\n\
         .typed {{ fill: #e8b45a }}\n\
         @media (prefers-reduced-motion: no-preference) {{ text {{ animation: show 0.01s both }} \
         @keyframes show {{ from {{ opacity: 0 }} to {{ opacity: 1 }} }} }}\n</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#1d1b18\"/>\n"
    );
    let mut delay = 0.0;
    for (row, (line, typed)) in lines.iter().enumerate() {
        delay += if *typed { 0.9 } else { 0.06 };
        let y = (row as f32 + 1.0).mul_add(HEIGHT, MARGIN);
        let class = if *typed { " class=\"typed\"" } else { "" };
        let _ = writeln!(
            out,
            "<text{class} x=\"{MARGIN}\" y=\"{y:.0}\" style=\"animation-delay: {delay:.2}s\" xml:space=\"preserve\">{}</text>",
            escaped(&cut(line))
        );
    }
    out + "</svg>\n"
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(COLUMNS) {
        Some(_) => line.chars().take(COLUMNS - 1).chain(['…']).collect(),
        None => line.to_owned(),
    }
}

fn escaped(line: &str) -> String {
    line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_printed_is_drawn_and_nothing_breaks_the_picture() {
        let long = "x".repeat(COLUMNS + 1);
        let drawn = picture(&[("$ echo '<&>'".into(), true), ("<&>".into(), false), (long, false)]);
        assert!(drawn.contains(">$ echo '&lt;&amp;&gt;'</text>") && drawn.contains(">&lt;&amp;&gt;</text>"));
        assert!(drawn.contains(&format!("{}…</text>", "x".repeat(COLUMNS - 1))));
        assert_eq!(drawn.matches("<text").count(), 3);
    }
}
