//! What QUIC says of a connection that ended, in the channel's words: the same as over TCP.

use std::io;

use quinn::{ConnectionError, ReadError, TransportErrorCode};
use rustls::AlertDescription;

use super::super::ChannelError;
use crate::identity::PublicKey;

/// A configuration of TLS that QUIC cannot use.
pub(super) fn unsuited(error: quinn::crypto::rustls::NoInitialCipherSuite) -> ChannelError {
    ChannelError::Tls(rustls::Error::General(error.to_string()))
}

/// Why a connection could not be opened.
pub(super) enum Failure {
    /// QUIC says so.
    Connection(ConnectionError),
    /// Something of this machine's failed before anything was sent.
    Local(io::Error),
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        Self::Connection(error)
    }
}

/// Why a handshake failed: on the side that refuses, on the one that is refused, or otherwise. `refused` is the key that a server
/// has refused.
pub(super) fn handshake(failure: Failure, client: bool, refused: Option<PublicKey>) -> ChannelError {
    let error = match failure {
        Failure::Connection(error) => error,
        Failure::Local(error) => return ChannelError::Io(error),
    };
    let denied = TransportErrorCode::crypto(AlertDescription::AccessDenied.into());
    match (error, refused) {
        (ConnectionError::TransportError(_), Some(key)) => ChannelError::Stranger(key),
        (ConnectionError::TransportError(error), None) if client && error.code == denied => ChannelError::WrongKey,
        (error, _) => lost(error),
    }
}

/// Why there is nothing more to read.
pub(super) fn read(error: ReadError) -> ChannelError {
    match error {
        ReadError::ConnectionLost(error) => lost(error),
        _ => ChannelError::Closed,
    }
}

/// Why a connection is gone.
pub(super) fn lost(error: ConnectionError) -> ChannelError {
    let denied = TransportErrorCode::crypto(AlertDescription::AccessDenied.into());
    match error {
        ConnectionError::ConnectionClosed(close) if close.error_code == denied => ChannelError::NotAdmitted,
        ConnectionError::ApplicationClosed(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::Reset
        | ConnectionError::LocallyClosed => ChannelError::Closed,
        ConnectionError::TimedOut => ChannelError::Io(io::ErrorKind::TimedOut.into()),
        ConnectionError::TransportError(error) if u64::from(error.code) & !0xff == 0x100 => {
            ChannelError::Tls(rustls::Error::General(error.reason))
        }
        other => ChannelError::Io(io::Error::other(other)),
    }
}
