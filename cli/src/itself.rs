//! Commands of this program that it runs by itself, as a person would type them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::error::{Error, Result};

/// This program, for one home and one password.
#[derive(Clone, Debug)]
pub struct Itself {
    program: PathBuf,
    home: PathBuf,
    password: String,
}

impl Itself {
    /// The program at this path, with this home; the password is of its wallets.
    pub fn new(program: &Path, home: &Path, password: &str) -> Self {
        Self { program: program.to_owned(), home: home.to_owned(), password: password.to_owned() }
    }

    /// What a process of it is given to know home and password.
    pub fn variables(&self) -> [(&'static str, &OsStr); 2] {
        [("SAHARA_HOME", self.home.as_os_str()), ("SAHARA_WALLET_PASSWORD", self.password.as_ref())]
    }

    /// Runs `sahara WORDS --json --quiet`; its answer.
    ///
    /// # Errors
    /// With what it said, when it fails.
    pub fn run(&self, words: &[&str]) -> Result<Value> {
        let text = self.output(&[words, &["--json", "--quiet"]].concat())?;
        serde_json::from_str(&text)
            .map_err(|e| Error::fault_from(format!("reading what `sahara {}` says", words[0]), e))
    }

    /// Runs `sahara WORDS`; what it printed.
    ///
    /// # Errors
    /// With what it said, when it fails.
    pub fn output(&self, words: &[&str]) -> Result<String> {
        let doing = format!("`sahara {}`", words.join(" "));
        let mut command = Command::new(&self.program);
        let output = command.envs(self.variables()).stdin(Stdio::null()).args(words).output();
        let output = output.map_err(|e| Error::io("starting", &self.program, e))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or("it said nothing").to_owned();
            return Err(Error::fault(format!("{doing} failed: {last}")));
        }
        String::from_utf8(output.stdout).map_err(|e| Error::fault_from(format!("reading what {doing} says"), e))
    }
}

/// A word that an answer has under a name.
///
/// # Errors
/// When it does not have it.
pub fn word(value: &Value, name: &str) -> Result<String> {
    let said = || Error::fault(format!("a command of this program did not say its {name}"));
    value[name].as_str().map(str::to_owned).ok_or_else(said)
}

/// A path as a word of a command.
///
/// # Errors
/// When it is not text.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::user(format!("{} is not text: choose another --home", path.display())))
}
