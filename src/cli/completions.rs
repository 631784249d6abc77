//! `sahara completions` and `sahara man`: made from the commands themselves, so that they cannot go stale.

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use super::{Cli, Context};
use crate::error::{Error, Result};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sahara completions bash > ~/.local/share/bash-completion/completions/sahara
  sahara completions zsh > \"${fpath[1]}/_sahara\"
  sahara completions fish > ~/.config/fish/completions/sahara.fish")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  sahara man ~/.local/share/man/man1 && man sahara-embed")]
pub struct ManArgs {
    /// Folder for the pages; it is made if need be
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Prints the completions of a shell.
pub fn completions(args: &CompletionsArgs, context: &mut Context) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "sahara", &mut script);
    let script = String::from_utf8_lossy(&script);
    if context.out.json() {
        return context.out.value(&json!({"shell": args.shell.to_string(), "script": script}));
    }
    context.out.line(script.trim_end())
}

/// Writes one page for each command.
pub fn man(args: &ManArgs, context: &mut Context) -> Result<()> {
    fs::create_dir_all(&args.folder).map_err(|e| Error::io("creating", &args.folder, e))?;
    clap_mangen::generate_to(Cli::command(), &args.folder).map_err(|e| Error::io("writing to", &args.folder, e))?;
    let entries = fs::read_dir(&args.folder).map_err(|e| Error::io("reading", &args.folder, e))?;
    let mut pages: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    pages.retain(|name| name.starts_with("sahara"));
    pages.sort();
    if context.out.json() {
        return context.out.value(&json!({"folder": args.folder, "pages": pages}));
    }
    context.out.line(&format!("{} pages are in {}", pages.len(), args.folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_completed_and_has_a_page() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sahara", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(
                ["whoami", "gateway", "--token-arrays"]
                    .iter()
                    .all(|word| script.contains(word.trim_start_matches('-')))
            );
        }
        let folder = tempfile::tempdir().unwrap();
        clap_mangen::generate_to(Cli::command(), folder.path()).unwrap();
        for page in ["sahara.1", "sahara-embed.1", "sahara-chain-join.1", "sahara-operator-doctor.1"] {
            assert!(folder.path().join(page).metadata().unwrap().len() > 100, "{page}");
        }
    }
}
