//! Errors of the SDK and the command line: what was being done, with what, and what to do.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;

/// Result with the SDK's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who can put it right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The input, the settings or the machine: the person can fix it. Exit code 2.
    User,
    /// No connection to the network of the committee file: the person can start it, wait, or settle it with its
    /// operators. Exit code 2.
    Unreachable,
    /// The model that was asked for is not there, or not for whoever asked: the person can name another. Exit code 2.
    Missing,
    /// The model has another version than the one that was asked: the person can ask again. Exit code 2.
    Changed,
    /// The program or the network. Exit code 1.
    Fault,
    /// Nobody: the reader of standard output has gone. Exit code 0.
    Quiet,
    /// Nobody: whoever asked has given it up (Ctrl-C). Exit code 130, as the system's own programs.
    Stopped,
}

/// One clear line, who can fix it, and for a fault the cause.
#[derive(Debug)]
pub struct Error {
    blame: Blame,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error the person can fix; the message is one line and says what to do.
    pub fn user(message: impl Into<String>) -> Self {
        Self { blame: Blame::User, message: message.into(), source: None }
    }

    /// The network cannot be reached; the message is one line and says what to do.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { blame: Blame::Unreachable, message: message.into(), source: None }
    }

    /// There is no such model for whoever asked; the message is one line and says what to do.
    pub fn missing(message: impl Into<String>) -> Self {
        Self { blame: Blame::Missing, message: message.into(), source: None }
    }

    /// The model has another version meanwhile; the message is one line and says what to do.
    pub fn changed(message: impl Into<String>) -> Self {
        Self { blame: Blame::Changed, message: message.into(), source: None }
    }

    /// A fault of the program or the network.
    pub fn fault(message: impl Into<String>) -> Self {
        Self { blame: Blame::Fault, message: message.into(), source: None }
    }

    /// A fault with its cause.
    pub fn fault_from(message: impl Into<String>, source: impl StdError + Send + Sync + 'static) -> Self {
        Self { blame: Blame::Fault, message: message.into(), source: Some(Box::new(source)) }
    }

    /// An input/output error while doing something with a path.
    pub fn io(doing: &str, path: &Path, source: io::Error) -> Self {
        let what = format!("{doing} {}", path.display());
        Self::machine(&what, &source).unwrap_or_else(|| Self::fault_from(format!("{what}: {source}"), source))
    }

    /// Wraps an error of a lower layer: the person's when the cause lies in the machine (full disk, permission,
    /// missing file, port in use), otherwise with the blame given.
    pub fn wrap(doing: &str, blame: Blame, source: impl StdError + Send + Sync + 'static) -> Self {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&source);
        while let Some(inner) = cause {
            if let Some(io) = inner.downcast_ref::<io::Error>() {
                let what =
                    if doing.contains('/') { doing.to_owned() } else { format!("{doing}: {}", one_line(&source)) };
                if let Some(error) = Self::machine(&what, io) {
                    return error;
                }
            }
            cause = inner.source();
        }
        Self { blame, message: format!("{doing}: {}", one_line(&source)), source: Some(Box::new(source)) }
    }

    /// Whoever asked has given it up.
    pub fn stopped() -> Self {
        Self { blame: Blame::Stopped, message: "interrupted".to_owned(), source: None }
    }

    /// The same error with another message.
    pub fn saying(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// Whoever read standard output has gone; nothing is wrong.
    pub fn reader_gone() -> Self {
        Self { blame: Blame::Quiet, message: "the reader has gone".to_owned(), source: None }
    }

    /// Whether this is only a reader that has gone.
    pub fn is_reader_gone(&self) -> bool {
        self.blame == Blame::Quiet
    }

    fn machine(doing: &str, source: &io::Error) -> Option<Self> {
        use io::ErrorKind as Kind;
        let advice = match source.kind() {
            Kind::StorageFull | Kind::QuotaExceeded => {
                "the disk is full: free some space or choose another place with --home"
            }
            Kind::PermissionDenied => "permission denied: choose a place you may use with --home, or fix its owner",
            Kind::ReadOnlyFilesystem => "the file system is read-only: choose another place with --home",
            Kind::NotFound => "not found: check the path",
            Kind::NotADirectory => "a part of the path is not a folder: check the path",
            Kind::IsADirectory => "it is a folder, a file is needed: check the path",
            Kind::AddrInUse => "the address is in use by another program: choose another port",
            Kind::AddrNotAvailable => "this machine has no such address: check it",
            _ => return None,
        };
        Some(Self::user(format!("{doing}: {advice}")))
    }

    /// Who can put it right.
    pub fn blame(&self) -> Blame {
        self.blame
    }

    /// Exit code of the program: 2 for the person's errors, 1 for faults, 130 for what was interrupted.
    pub fn exit_code(&self) -> u8 {
        match self.blame {
            Blame::User | Blame::Unreachable | Blame::Missing | Blame::Changed => 2,
            Blame::Fault => 1,
            Blame::Quiet => 0,
            Blame::Stopped => 130,
        }
    }

    /// What the program prints: one line, and for a fault the causes below it.
    pub fn report(&self) -> String {
        let mut text = one_line(self);
        if self.blame == Blame::Fault {
            let mut cause = self.source();
            while let Some(inner) = cause {
                let line = one_line(inner);
                if !text.contains(&line) {
                    text.push_str("\n  caused by: ");
                    text.push_str(&line);
                }
                cause = inner.source();
            }
        }
        text
    }
}

/// A message on one line, and never a flood.
fn one_line(error: &dyn fmt::Display) -> String {
    let line = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line = shown(&line).into_owned();
    if line.chars().count() > 600 {
        line = line.chars().take(600).collect();
        line.push('…');
    }
    line
}

/// A text as people see it: names and reasons come from elsewhere, and what would steer the terminal or turn the order of
/// the letters around is written out.
pub fn shown(text: &str) -> Cow<'_, str> {
    let steers =
        |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let one = |c: char| if steers(c) { c.escape_unicode().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(one).collect())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_the_users_to_fix() {
        let error = Error::io("writing", Path::new("/x/y"), io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(error.exit_code(), 2);
        assert!(error.report().contains("/x/y") && error.report().contains("disk is full"));
    }

    #[test]
    fn a_fault_reports_its_causes_below() {
        let error = Error::fault_from("running job 7", io::Error::other("strange"));
        assert_eq!(error.exit_code(), 1);
        assert_eq!(error.report(), "running job 7\n  caused by: strange");
    }

    #[test]
    fn a_wrapped_cause_is_recognised_at_depth() {
        let inner = Error::fault_from("deep", io::Error::from(io::ErrorKind::AddrInUse));
        assert_eq!(Error::wrap("listening on 127.0.0.1:1", Blame::Fault, inner).exit_code(), 2);
    }

    #[test]
    fn a_user_error_is_one_line() {
        assert_eq!(Error::user("a\n b\tc").report(), "a b c");
        assert_eq!(Error::user("a\u{1b}[2Kb").report(), "a\\u{1b}[2Kb");
    }
}
