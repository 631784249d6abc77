//! Why something could not be done: what was being done, with what, and by whom it can be put right.
//!
//! Nothing here knows a command line: whoever shows an error to a person adds what to type.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sahara_circuits::frontend::EncodeError;
use sahara_mpc::identity::IdentityError;

use crate::embedding::MAX_TEXT_BYTES;
pub use crate::models::{DownloadError, StoreError};
pub use crate::network::NetworkError;

/// Most characters of a line for people.
const LONGEST_LINE: usize = 600;

/// Result with the SDK's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of any cause.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Whoever asked has given it up.
    #[error("interrupted")]
    Stopped,
    /// No place for Sahara's files is known.
    #[error("no place for Sahara's files: neither SAHARA_HOME nor HOME is set")]
    NoHome,
    /// A file or folder cannot be used.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done, such as `reading`.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A key cannot be used.
    #[error("reading the key {}: {source}", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// The cause.
        source: IdentityError,
    },
    /// The texts that were given.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The models of this machine.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Downloading a model.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// The share nodes.
    #[error(transparent)]
    Network(Box<NetworkError>),
    /// An engine of this machine fails.
    #[error("{doing}")]
    Engine {
        /// What was being done.
        doing: String,
        /// The cause.
        source: Cause,
    },
    /// Whoever takes the answers refuses one, for a reason of its own.
    #[error(transparent)]
    Sink(Cause),
}

/// Why a text is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// There is none.
    #[error("no text: give at least one")]
    None,
    /// One is longer than any engine takes.
    #[error("{} has {bytes} bytes, more than {MAX_TEXT_BYTES}: split it into passages", which(*.index))]
    TooLong {
        /// Its place among the texts given; none if it is the only one.
        index: Option<usize>,
        /// Its length.
        bytes: usize,
    },
    /// The model cannot read one.
    #[error("text {index}: {source}")]
    Unreadable {
        /// Its place among the texts given.
        index: usize,
        /// The cause.
        source: EncodeError,
    },
}

/// Who can put an error right, for programs that have to decide what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Whoever asked, by asking for something else.
    Input,
    /// Whoever has this machine: a full disk, a missing permission.
    Machine,
    /// Nobody here: the network or a server is not reached, or has no time. Asking again later may do.
    Unreachable,
    /// Whoever asked, by naming another model: this one is not there, or not for this key.
    Missing,
    /// Whoever asked, by asking again: the model has another version meanwhile.
    Changed,
    /// Whoever asked, by paying: the model is asked for money, and nothing that counts was paid.
    Unpaid,
    /// The program, or the network.
    Fault,
    /// Nobody: whoever asked has given it up.
    Stopped,
}

impl Error {
    /// Who can put it right.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Stopped => ErrorKind::Stopped,
            _ if self.machine().is_some() => ErrorKind::Machine,
            Self::Io { .. } | Self::Engine { .. } | Self::Sink(_) => ErrorKind::Fault,
            Self::NoHome | Self::Key { .. } | Self::Text(_) => ErrorKind::Input,
            Self::Store(error) => error.kind(),
            Self::Download(error) => error.kind(),
            Self::Network(error) => error.kind(),
        }
    }

    /// What this machine refuses, if that is the cause, however deep it lies: a full disk, a missing permission or file,
    /// an address in use.
    pub fn machine(&self) -> Option<io::ErrorKind> {
        // What the network refuses has its own words.
        if matches!(self, Self::Network(error) if !matches!(**error, NetworkError::Committee(_))) {
            return None;
        }
        let mut cause: Option<&(dyn StdError + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(kind) = error.downcast_ref::<io::Error>().map(io::Error::kind).filter(|kind| is_machine(*kind))
            {
                return Some(kind);
            }
            cause = error.source();
        }
        None
    }

    /// An error of whoever takes the answers, to end an engine's work with.
    pub fn sink(cause: impl Into<Cause>) -> Self {
        Self::Sink(cause.into())
    }

    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    pub(crate) fn engine(doing: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self::Engine { doing: doing.into(), source: source.into() }
    }
}

impl From<NetworkError> for Error {
    fn from(error: NetworkError) -> Self {
        Self::Network(Box::new(error))
    }
}

/// A text of whatever source as one line for people, and never a flood: see [`shown`].
pub fn one_line(text: &dyn fmt::Display) -> String {
    let line = text.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut line = shown(&line).into_owned();
    if line.chars().count() > LONGEST_LINE {
        line = line.chars().take(LONGEST_LINE).collect();
        line.push('…');
    }
    line
}

/// A text as people see it: names and reasons come from elsewhere, and what would steer the terminal or turn the order of
/// the letters around is written out.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let one = |c: char| if steers(c) { c.escape_unicode().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(one).collect())
}

/// Whether a character would steer a terminal, or turn the order of letters around.
pub fn steers(c: char) -> bool {
    (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A line about a fault, and below it the causes that it does not name itself.
pub fn with_causes(mut text: String, error: &dyn StdError) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let line = one_line(&inner);
        if !text.contains(&line) {
            text.push_str("\n  caused by: ");
            text.push_str(&line);
        }
        cause = inner.source();
    }
    text
}

fn is_machine(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::StorageFull
            | Kind::QuotaExceeded
            | Kind::PermissionDenied
            | Kind::ReadOnlyFilesystem
            | Kind::NotFound
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::AddrInUse
            | Kind::AddrNotAvailable
    )
}

fn which(index: Option<usize>) -> String {
    index.map_or_else(|| "the text".to_owned(), |index| format!("text {index}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_the_machines_however_deep_it_lies_and_a_strange_cause_a_fault() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let error = Error::io("writing", Path::new("/x/y"), full());
        assert_eq!((error.kind(), error.machine()), (ErrorKind::Machine, Some(io::ErrorKind::StorageFull)));
        assert!(error.to_string().starts_with("writing /x/y: "));
        let deep = Error::engine("running", Error::io("writing", Path::new("/x/y"), full()));
        assert_eq!(deep.kind(), ErrorKind::Machine);
        assert_eq!(Error::io("writing", Path::new("/x"), io::Error::other("strange")).kind(), ErrorKind::Fault);
    }

    #[test]
    fn what_people_see_is_one_line_that_steers_nothing_and_a_fault_has_its_causes_below() {
        assert_eq!(one_line(&"a\n b\tc"), "a b c");
        assert_eq!(one_line(&"a\u{1b}[2Kb"), "a\\u{1b}[2Kb");
        assert_eq!(one_line(&"x".repeat(1000)).chars().count(), LONGEST_LINE + 1);
        let fault = Error::engine("running job 7", io::Error::other("strange"));
        assert_eq!(with_causes(fault.to_string(), &fault), "running job 7\n  caused by: strange");
        let named = Error::io("writing", Path::new("/x"), io::Error::other("strange"));
        assert_eq!(with_causes(named.to_string(), &named), "writing /x: strange");
    }

    #[test]
    fn a_sinks_own_error_comes_back_as_it_was() {
        let Error::Sink(cause) = Error::sink(io::Error::from(io::ErrorKind::BrokenPipe)) else { panic!() };
        assert_eq!(cause.downcast::<io::Error>().unwrap().kind(), io::ErrorKind::BrokenPipe);
    }
}
