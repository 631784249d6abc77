//! A byte stream for one thread: writes and reads at the same time, over a transport that authenticates both sides.
//!
//! Both evaluators send frames of several megabytes in the same round, so writing first and reading afterwards
//! would stop as soon as both sides' buffers are full. How long the other side is waited for, and what a stranger may send, is
//! decided here, whatever the transport: TLS over TCP, where a round trip wakes no other thread, or QUIC.

mod error;
mod patience;
#[cfg(feature = "quic")]
pub(crate) mod quic;
#[cfg(not(feature = "quic"))]
#[path = "channel/no_quic.rs"]
pub(crate) mod quic;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod window;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ServerConfig};

use crate::identity::{Identity, PublicKey};
pub use error::ChannelError;
pub use patience::{Patience, SLOWEST, time_for};
use tls::Tls;
use transport::Transport;
pub(crate) use transport::{Closing, Handshaking, Waking};

/// Plaintext encrypted at a time, and so about the size of a write.
const SEND_CHUNK: usize = 256 << 10;
/// Plaintext of a full TLS record.
const MAX_RECORD: usize = 16 << 10;
/// Bytes a TLS 1.3 record adds, at most, to its (at most 16 KiB of) plaintext.
const RECORD_OVERHEAD: usize = 22;
/// Ciphertext buffers once bulk data has crossed, each way.
const OUT_CAPACITY: usize = SEND_CHUNK + (SEND_CHUNK / MAX_RECORD + 2) * RECORD_OVERHEAD;
const IN_CAPACITY: usize = 256 << 10;
/// Ciphertext buffers before that: one record and what surrounds it.
const SMALL: usize = MAX_RECORD + (4 << 10);
/// How often a wait looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes taken from a peer whose key is not known yet.
pub const STRANGER_BYTES: u64 = 64 << 10;
/// Most memory that the buffers of one channel take.
pub const CHANNEL_MEMORY: u64 = (OUT_CAPACITY + 2 * IN_CAPACITY) as u64;

/// What [`Channel::pump`] waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// All of `receive` is filled (what remains to be sent waits).
    Received,
    /// All is sent and all of `receive` is filled.
    Both,
}

/// A connection owned by one thread.
pub struct Channel {
    transport: Box<dyn Transport>,
    /// When the whole of the present step must be over.
    limit: Option<Instant>,
    pace: Option<Patience>,
    /// Set by whoever does not want the present step any more.
    stop: Option<Arc<AtomicBool>>,
}

impl Channel {
    /// Connects as the client of TLS over TCP.
    ///
    /// # Errors
    /// When the other side does not end the handshake in time, has another key, does not let this one in, or hangs
    /// up.
    pub fn connect(tcp: TcpStream, config: Arc<ClientConfig>, timeout: Duration) -> Result<Self, ChannelError> {
        Self::over(Tls::client(tcp, config)?).shake_hands(timeout)
    }

    /// Accepts as the server of TLS over TCP.
    ///
    /// # Errors
    /// When the other side does not end the handshake in time, is not let in, or hangs up.
    pub fn accept(tcp: TcpStream, config: Arc<ServerConfig>, timeout: Duration) -> Result<Self, ChannelError> {
        Self::begin(tcp, config)?.shake_hands(timeout)
    }

    /// Begins to accept as the server of TLS over TCP, without waiting: [`Channel::advance_handshake`] goes on.
    pub(crate) fn begin(tcp: TcpStream, config: Arc<ServerConfig>) -> Result<Self, ChannelError> {
        Ok(Self::over(Tls::server(tcp, config)?))
    }

    /// Connects over QUIC to the holder of `peer`, which is at one of these addresses. The other side knows nothing of the
    /// channel until something is sent on it.
    ///
    /// # Errors
    /// When the other side does not end the handshake in time, has another key, does not let this one in, or hangs up; in a
    /// program that is built without QUIC always.
    pub fn connect_quic(
        identity: &Identity,
        peer: PublicKey,
        addresses: Vec<SocketAddr>,
        timeout: Duration,
    ) -> Result<Self, ChannelError> {
        Self::over(quic::Quic::client(identity, peer, addresses)?).shake_hands(timeout)
    }

    fn over(transport: impl Transport + 'static) -> Self {
        Self { transport: Box::new(transport), limit: None, pace: None, stop: None }
    }

    /// The key the other side proved to hold.
    pub fn peer(&self) -> PublicKey {
        self.transport.peer()
    }

    /// Bytes sent on the wire so far.
    pub fn sent(&self) -> u64 {
        self.transport.sent()
    }

    /// Bytes received from the wire so far.
    pub fn received(&self) -> u64 {
        self.transport.received()
    }

    /// Whether an idle channel is still good: nothing unread, not closed by the other side.
    pub fn is_idle(&mut self) -> bool {
        self.transport.is_idle()
    }

    /// Whether the other side has closed the connection, also when there is something to read before its end.
    pub fn has_hung_up(&self) -> bool {
        self.transport.has_hung_up()
    }

    /// Sends `parts[0] ++ parts[1]` from position `*position` on while filling `receive` from `*filled` on, until
    /// the goal is met. Both positions are advanced, so a second call goes on where the first stopped; with the same
    /// `patience`, which is used up by the time that passes here and grows by what crosses, not by each byte anew.
    ///
    /// # Errors
    /// When the patience is used up, or the other side has gone.
    pub fn pump(
        &mut self,
        parts: [&[u8]; 2],
        position: &mut usize,
        receive: &mut [u8],
        filled: &mut usize,
        until: Until,
        patience: &mut Patience,
    ) -> Result<(), ChannelError> {
        let mut last = Instant::now();
        loop {
            let before = (*position, *filled);
            let moved = self.transport.move_some(parts, position, receive, filled)?;
            let (sent, received) = ((*position - before.0) as u64, (*filled - before.1) as u64);
            let now = Instant::now();
            let passed = now - last;
            last = now;
            patience.pass(passed, sent, received);
            if let Some(pace) = &mut self.pace {
                pace.pass(passed, sent, received);
            }
            let sending = *position < parts[0].len() + parts[1].len() || self.transport.has_unsent();
            let receiving = *filled < receive.len();
            if !receiving && (until == Until::Received || !sending) {
                return Ok(());
            }
            if self.limit.is_some_and(|limit| now >= limit) || self.pace.is_some_and(|pace| pace.is_over()) {
                return Err(ChannelError::TooSlow);
            }
            if patience.is_over() {
                return Err(patience.error());
            }
            if self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                return Err(ChannelError::GivenUp);
            }
            if !moved {
                let pace = self.pace.map(|pace| now + pace.left());
                let look = self.stop.as_ref().map(|_| now + LOOK);
                let until = [self.limit, pace, look].into_iter().flatten();
                let until = until.fold(now + patience.left(), Instant::min);
                self.transport.wait(sending, receiving, until)?;
            }
        }
    }

    /// Sends and receives what goes without waiting; says whether all is done.
    pub(crate) fn advance(
        &mut self,
        send: &[u8],
        position: &mut usize,
        receive: &mut [u8],
        filled: &mut usize,
    ) -> Result<bool, ChannelError> {
        while self.transport.move_some([send, &[]], position, receive, filled)? {}
        Ok(*position == send.len() && !self.transport.has_unsent() && *filled == receive.len())
    }

    /// Sends all of `parts`.
    ///
    /// # Errors
    /// When the other side does not take it in time, or has gone.
    pub fn send_all(&mut self, parts: [&[u8]; 2], timeout: Duration) -> Result<(), ChannelError> {
        self.pump(parts, &mut 0, &mut [], &mut 0, Until::Both, &mut Patience::new(timeout))
    }

    /// Fills `receive`.
    ///
    /// # Errors
    /// When it does not come in time, or the other side has gone.
    pub fn receive_exact(&mut self, receive: &mut [u8], timeout: Duration) -> Result<(), ChannelError> {
        self.pump([&[], &[]], &mut 0, receive, &mut 0, Until::Received, &mut Patience::new(timeout))
    }

    /// Waits at most `timeout` for something to read; says whether there is.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn readable(&mut self, timeout: Duration) -> Result<bool, ChannelError> {
        self.transport.readable(Instant::now() + timeout)
    }

    fn shake_hands(mut self, timeout: Duration) -> Result<Self, ChannelError> {
        let deadline = Instant::now() + timeout;
        while let Handshaking::Waits { send } = self.advance_handshake()? {
            if Instant::now() >= deadline {
                return Err(ChannelError::TimedOut(timeout));
            }
            self.transport.wait(send, true, deadline)?;
        }
        self.trust();
        Ok(self)
    }

    /// Goes on with the handshake as far as it goes, without waiting.
    pub(crate) fn advance_handshake(&mut self) -> Result<Handshaking, ChannelError> {
        self.transport.advance_handshake()
    }

    /// Lifts the bound on what an unknown peer may send.
    pub(crate) fn trust(&mut self) {
        self.transport.trust();
    }

    /// Bulk will cross it.
    pub(crate) fn widen(&mut self) {
        self.transport.widen();
    }

    /// Bounds everything from now on by one deadline, which no arriving byte renews; `None` lifts it.
    pub fn set_limit(&mut self, limit: Option<Instant>) {
        self.limit = limit;
    }

    /// Bounds the time that sending and receiving take from now on, all together: `grace`, and a second more for each `rate`
    /// bytes that cross (of those that go out never more than `grace` at a time).
    pub fn set_pace(&mut self, pace: Option<(Duration, u64)>) {
        self.pace = pace.map(|(grace, rate)| Patience::at(grace, rate));
    }

    /// What is left of the time that [`Channel::set_pace`] gave.
    pub fn pace_left(&self) -> Option<Duration> {
        self.pace.map(|pace| pace.left())
    }

    /// From now on sending and receiving end with [`ChannelError::GivenUp`] soon after the flag is set.
    pub fn set_stop(&mut self, stop: Option<Arc<AtomicBool>>) {
        self.stop = stop;
    }

    /// How it is waited for together with others.
    pub(crate) fn waking(&self) -> Waking<'_> {
        self.transport.waking()
    }

    /// What ends it from another thread.
    pub(crate) fn closing(&self) -> Arc<dyn Closing> {
        self.transport.closing()
    }
}
