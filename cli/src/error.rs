//! Errors of the program: what was being done, with what, and what to do. To those of the SDK it adds what to type (`advice`).

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;

use sahara::error::{ErrorKind, one_line, with_causes};
use sahara_gateway::GatewayError;

use crate::advice;

/// Result with the program's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who can put it right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The input, the settings or the machine: the person can fix it. Exit code 2.
    User,
    /// The program or the network. Exit code 1.
    Fault,
    /// Nobody yet: something was sent to the chain, and whether it came to its place is not known. Exit code 3.
    Unsettled,
    /// Whoever made what was examined: it does not hold what it claims. Exit code 4.
    Contradicted,
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

    /// A fault of the program or the network.
    pub fn fault(message: impl Into<String>) -> Self {
        Self { blame: Blame::Fault, message: message.into(), source: None }
    }

    /// Whoever was asked has given it up.
    pub fn interrupted() -> Self {
        Self { blame: Blame::Stopped, message: "interrupted".to_owned(), source: None }
    }

    /// Something was sent to the chain, and what became of it is not known: whoever tried again could pay twice.
    pub fn unsettled(message: impl Into<String>) -> Self {
        Self { blame: Blame::Unsettled, message: message.into(), source: None }
    }

    /// What was examined does not hold what it claims.
    pub fn contradicted(message: impl Into<String>) -> Self {
        Self { blame: Blame::Contradicted, message: message.into(), source: None }
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
        Some(Self::user(format!("{doing}: {}", advice::machine(source.kind())?)))
    }

    /// Who can put it right.
    pub fn blame(&self) -> Blame {
        self.blame
    }

    /// Exit code of the program: 2 for the person's errors, 1 for faults, 3 for payments of which nobody knows what became of
    /// them, 4 for an audit that contradicts what it examined, 130 for what was interrupted.
    pub fn exit_code(&self) -> u8 {
        match self.blame {
            Blame::User => 2,
            Blame::Fault => 1,
            Blame::Unsettled => 3,
            Blame::Contradicted => 4,
            Blame::Quiet => 0,
            Blame::Stopped => 130,
        }
    }

    /// What the program prints: one line, and for a fault the causes below it.
    pub fn report(&self) -> String {
        let text = one_line(self);
        if self.blame == Blame::Fault { with_causes(text, self) } else { text }
    }
}

impl From<sahara::Error> for Error {
    fn from(error: sahara::Error) -> Self {
        let error = match error {
            // What this program gave to a sink itself.
            sahara::Error::Sink(cause) => match cause.downcast::<Self>() {
                Ok(own) => return *own,
                Err(cause) => sahara::Error::Sink(cause),
            },
            error => error,
        };
        let blame = match error.kind() {
            ErrorKind::Stopped => Blame::Stopped,
            ErrorKind::Fault => Blame::Fault,
            _ => Blame::User,
        };
        Self { blame, message: advice::sentence(&error), source: Some(Box::new(error)) }
    }
}

impl From<Error> for sahara::Error {
    fn from(error: Error) -> Self {
        Self::sink(error)
    }
}

impl From<GatewayError> for Error {
    fn from(error: GatewayError) -> Self {
        match error {
            GatewayError::Listen { listen, source } if source.kind() == io::ErrorKind::AddrInUse => {
                Self::user(format!(
                    "listening on {listen}: the port is in use by another program; choose another with --listen {}:PORT",
                    listen.ip()
                ))
            }
            GatewayError::Listen { listen, source } => {
                Self::wrap(&format!("listening on {listen}"), Blame::User, source)
            }
            GatewayError::Reachable(_) => {
                Self::user(format!("{error}: listen on 127.0.0.1, or say --allow-remote if that is what you want"))
            }
            GatewayError::Origin(origin) => Self::user(format!(
                "'{}' is no origin of a web page: give scheme, host and port alone, e.g. --allow-origin http://localhost:3000",
                origin.escape_debug()
            )),
            error => Self::user(error.to_string()),
        }
    }
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
