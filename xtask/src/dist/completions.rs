//! Do the shells take the completions, and does `man` show the pages? Whatever is not on this machine is skipped by name.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{files, parts};
use crate::Failure;
use crate::process::{output, run, succeeds};

/// Completes the beginning of a command in bash as the Tab key would; the other shells read theirs.
pub fn check(prefix: &Path) -> Result<(), Failure> {
    for (shell, file) in parts::COMPLETIONS {
        let file = prefix.join(file);
        if !succeeds(shell, &["--version"]) {
            eprintln!("xtask: SKIPPED: {shell} is not here: its completions are not read");
            continue;
        }
        let mut command = Command::new(shell);
        match shell {
            "bash" => {
                let script = "source \"$1\" && complete -p sahara > /dev/null \
                              && COMP_WORDS=(sahara oper) COMP_CWORD=1 && _sahara sahara oper sahara && echo \"${COMPREPLY[*]}\"";
                command.args(["--noprofile", "--norc", "-c", script, "bash"]).arg(&file);
                let said = output(&mut command)?;
                if said.trim() != "operator" {
                    return Err(Failure::fault(format!("bash completes `sahara oper` to {said:?}")));
                }
            }
            _ => run(command.arg("-n").arg(&file))?,
        }
    }
    Ok(())
}

/// Renders every page.
pub fn manual(prefix: &Path) -> Result<(), Failure> {
    let folder = prefix.join(parts::MANUAL);
    let pages = files(&folder)?;
    if pages.len() < 40 {
        return Err(Failure::fault(format!("there are only {} manual pages", pages.len())));
    }
    let render: fn(&Path) -> Command = if succeeds("mandoc", &["/dev/null"]) {
        |page| {
            let mut mandoc = Command::new("mandoc");
            mandoc.args(["-T", "utf8", "-W", "error"]).arg(page);
            mandoc
        }
    } else if succeeds("man", &["--version"]) {
        |page| {
            let mut man = Command::new("man");
            man.arg("--local-file").arg(page);
            man
        }
    } else {
        eprintln!("xtask: SKIPPED: neither mandoc nor man is here: manual pages are not rendered");
        return Ok(());
    };
    for page in pages {
        let mut command = render(&folder.join(&page));
        let text = output(command.env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80").stdin(Stdio::null()))?;
        if !plain(&text).contains("SYNOPSIS") {
            return Err(Failure::fault(format!("{} is rendered without a synopsis", page.display())));
        }
    }
    Ok(())
}

/// Text without what prints a letter twice over itself, as bold type is made on paper.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for letter in text.chars() {
        if letter == '\u{8}' {
            plain.pop();
        } else {
            plain.push(letter);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn bold_and_underlined_letters_are_letters() {
        assert_eq!(plain("S\u{8}SY\u{8}Y _\u{8}a"), "SY a");
    }
}
