//! Why a channel stopped working.

use std::io;
use std::time::Duration;

use thiserror::Error;

use super::STRANGER_BYTES;
use crate::identity::PublicKey;
use crate::tls::take_refused;

/// Why a channel stopped working.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The other side closed the connection or died.
    #[error("closed the connection")]
    Closed,
    /// Nothing happened within the time given.
    #[error("did not answer within {}", seconds(*.0))]
    TimedOut(Duration),
    /// The time for the whole of a step is over, however much has arrived.
    #[error("was too slow")]
    TooSlow,
    /// Whoever asked does not want it any more.
    #[error("was given up")]
    GivenUp,
    /// More came than an unknown peer may send.
    #[error("sent more than {} KiB before its key was known", STRANGER_BYTES >> 10)]
    TooMuch,
    /// The other side knows this side's key, and does not let it in.
    #[error("does not admit this key (neither its lists nor its committee file have it)")]
    NotAdmitted,
    /// The other side holds another key than the one it is pinned by.
    #[error("does not hold the key in the committee file")]
    WrongKey,
    /// The other side shows a key (it has not proved that it holds it) that this side does not let in.
    #[error("shows a key that is in neither of the lists `owners` and `consumers`, nor in the committee file: {0}")]
    Stranger(PublicKey),
    /// The socket failed.
    #[error("connection failed: {0}")]
    Io(io::Error),
    /// TLS failed: wrong key, wrong version, damaged record.
    #[error("TLS failed: {0}")]
    Tls(rustls::Error),
}

impl From<io::Error> for ChannelError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl From<rustls::Error> for ChannelError {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::AlertReceived(rustls::AlertDescription::AccessDenied) => Self::NotAdmitted,
            rustls::Error::InvalidCertificate(_) => take_refused().map_or(Self::WrongKey, Self::Stranger),
            other => Self::Tls(other),
        }
    }
}

fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) { format!("{} ms", time.as_millis()) } else { format!("{} s", time.as_secs_f64()) }
}
