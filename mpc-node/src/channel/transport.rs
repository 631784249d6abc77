//! What a channel needs of whatever carries its bytes: to move some without waiting, and to wait until more can move.
//!
//! A transport authenticates both sides and encrypts. It knows no frames, and of time only until when to wait: how long anybody
//! is waited for is the channel's affair, and so the same over every transport.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use super::ChannelError;
use crate::identity::PublicKey;

/// What a handshake under way waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshaking {
    /// Nothing: the peer's key is known.
    Done,
    /// The other side: to read, and to write if `send`.
    Waits {
        /// Something is left to be written.
        send: bool,
    },
}

/// How whoever serves many channels in one thread learns that one of them can go on.
pub(crate) enum Waking<'a> {
    /// By polling this socket.
    Socket(BorrowedFd<'a>),
    /// By the bell of the door; whether it has something to do since it was last advanced.
    #[cfg_attr(not(feature = "quic"), allow(dead_code))] // over TCP nobody rings
    Bell(bool),
}

/// Ends a channel from another thread: the one that uses it finds it closed, as if the other side had gone.
pub(crate) trait Closing: Send + Sync {
    /// Ends it.
    fn close(&self);
}

/// An authenticated, encrypted stream of bytes each way, used by one thread at a time.
pub(crate) trait Transport: Send {
    /// Goes on with the handshake as far as that goes without waiting.
    fn advance_handshake(&mut self) -> Result<Handshaking, ChannelError>;

    /// The key that the other side has proved to hold, once the handshake is done.
    fn peer(&self) -> PublicKey;

    /// The other side is known: it may send more than a stranger.
    fn trust(&mut self);

    /// Bulk will cross it: more may be under way, if there is memory for that.
    fn widen(&mut self) {}

    /// One attempt at both directions, without waiting: sends `parts[0] ++ parts[1]` from `*position` on, and fills `receive` from
    /// `*filled` on. Says whether anything moved.
    fn move_some(
        &mut self,
        parts: [&[u8]; 2],
        position: &mut usize,
        receive: &mut [u8],
        filled: &mut usize,
    ) -> Result<bool, ChannelError>;

    /// Whether something was taken to be sent and could not be handed on yet.
    fn has_unsent(&self) -> bool;

    /// Waits until it can go on, to send or to receive as said, but not after `until`. It may return early.
    fn wait(&mut self, send: bool, receive: bool, until: Instant) -> Result<(), ChannelError>;

    /// Waits until there is something to read, or nothing will ever come again, but not after `until`; says whether it is so.
    fn readable(&mut self, until: Instant) -> Result<bool, ChannelError>;

    /// Whether nothing is unread, and the other side has not gone.
    fn is_idle(&mut self) -> bool;

    /// Whether the other side has closed the connection, also when there is something to read before its end.
    fn has_hung_up(&self) -> bool;

    /// Bytes sent on the wire so far.
    fn sent(&self) -> u64;

    /// Bytes received from the wire so far.
    fn received(&self) -> u64;

    /// What ends it from another thread.
    fn closing(&self) -> Arc<dyn Closing>;

    /// How it is waited for together with others.
    fn waking(&self) -> Waking<'_>;
}
