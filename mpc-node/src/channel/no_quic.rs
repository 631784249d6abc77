//! What stands for connections over QUIC in a program that is built without them: nothing, of which nobody has one.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use super::tls::Tls;
use super::{Channel, ChannelError};
use crate::identity::{Identity, PublicKey};
use crate::tls::Admission;

/// Of none at all.
pub(crate) const CLOSED: usize = 0;

/// Connections over QUIC.
pub(super) struct Quic;

impl Quic {
    pub(super) fn client(_: &Identity, _: PublicKey, _: Vec<SocketAddr>) -> Result<Tls, ChannelError> {
        Err(ChannelError::Io(without()))
    }
}

/// A socket that is listened to.
pub(crate) struct Listening(Infallible);

/// The line of those who wait to be let in.
pub(crate) struct Knocking(Infallible);

/// Somebody who waits to be let in.
pub(crate) struct Knock(Infallible);

/// Why nothing can be listened to.
pub(crate) enum ListenError {
    Socket(io::Error),
    #[allow(dead_code)] // of a program that is built with QUIC
    Tls(rustls::Error),
}

impl Listening {
    pub(crate) fn bind(_: SocketAddr, _: &Identity, _: Admission, _: usize) -> Result<(Self, Knocking), ListenError> {
        Err(ListenError::Socket(without()))
    }

    pub(crate) async fn end(self) {
        match self.0 {}
    }
}

impl Knocking {
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }

    pub(crate) fn quieten(&self) {
        match self.0 {}
    }

    pub(crate) fn next(&self) -> Option<Knock> {
        match self.0 {}
    }
}

impl Knock {
    pub(crate) fn from(&self) -> SocketAddr {
        match self.0 {}
    }

    pub(crate) fn begin(self, _: &Knocking) -> Result<Channel, ChannelError> {
        match self.0 {}
    }

    pub(crate) fn refuse(self) {
        match self.0 {}
    }
}

/// The memory that connections over QUIC take.
pub(crate) fn memory(_lanes: u64, _strangers: u64) -> u64 {
    0
}

fn without() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this program is built without QUIC (feature `quic` of sahara-mpc)")
}
