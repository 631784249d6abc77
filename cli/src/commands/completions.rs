//! `sahara completions` and `sahara man`: made from the commands themselves, so that they cannot go stale.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
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
    let pages = pages(&args.folder).map_err(|e| Error::io("writing to", &args.folder, e))?;
    if context.out.json() {
        return context.out.value(&json!({"folder": args.folder, "pages": pages}));
    }
    context.out.line(&format!("{} pages are in {}", pages.len(), args.folder.display()))
}

/// Writes the pages of all commands to a folder; their names, in order.
fn pages(folder: &Path) -> std::io::Result<Vec<String>> {
    fn page(command: &Command, folder: &Path, pages: &mut Vec<String>) -> std::io::Result<()> {
        // As --help has it: the library's own leaves out which options take a value.
        let usage = command.clone().render_usage().to_string();
        let usage = usage.trim_start_matches("Usage:").trim().to_owned();
        let man = Man::new(command.clone().override_usage(usage)).source(concat!("sahara ", env!("CARGO_PKG_VERSION")));
        pages.push(man.get_filename());
        man.generate_to(folder)?;
        command.get_subcommands().filter(|sub| !sub.is_hide_set()).try_for_each(|sub| page(sub, folder, pages))
    }
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut names = Vec::new();
    page(&command, folder, &mut names)?;
    names.sort();
    Ok(names)
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
        let written = pages(folder.path()).unwrap();
        assert!(written.len() > 40, "{written:?}");
        for (name, synopsis) in [
            ("sahara.1", r"\fBsahara\fR [OPTIONS] <COMMAND>"),
            ("sahara-embed.1", r"\fBsahara embed\fR [OPTIONS] [TEXT]..."),
            ("sahara-chain-join.1", r"\fBsahara chain join\fR [OPTIONS] \-\-home <HOME> <SOURCE>"),
            ("sahara-operator-doctor.1", r"\fBsahara operator doctor\fR [OPTIONS]"),
            ("sahara-transcript-verify.1", r"\fBsahara transcript verify\fR [OPTIONS] <FILE> <FILE>..."),
        ] {
            assert!(written.iter().any(|page| page == name), "{name}");
            let page = fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(page.lines().any(|line| line == synopsis), "{name}: {page}");
            assert!(page.contains(concat!("\"sahara ", env!("CARGO_PKG_VERSION"), "\"")), "{name}: {page}");
        }
    }
}
