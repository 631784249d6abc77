//! A TLS byte stream for one thread: writes and reads at the same time, on one non-blocking socket.
//!
//! Both evaluators send frames of several megabytes in the same round, so writing first and reading afterwards
//! would stop as soon as both socket buffers are full; and a round trip must not wake another thread. `rustls` is
//! driven through its unbuffered interface: records are encrypted straight into one output buffer and decrypted in
//! the input buffer, a quarter of a megabyte a system call.

mod error;
mod patience;
mod records;
#[cfg(test)]
mod tests;
mod window;

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{IpAddr, Ipv4Addr, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ServerConfig};

use crate::identity::PublicKey;
use crate::tls::public_key_of;
pub use error::ChannelError;
pub use patience::{Patience, SLOWEST, time_for};
use records::Turn;
use window::Window;

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

enum Connection {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// A TLS connection owned by one thread.
pub struct Channel {
    tcp: Arc<TcpStream>,
    connection: Connection,
    peer: PublicKey,
    incoming: Window,
    outgoing: Window,
    plain: Window,
    scratch: Vec<u8>,
    broken_pipe: bool,
    sent: u64,
    received: u64,
    /// Most bytes that are taken from the wire.
    allowance: u64,
    /// When the whole of the present step must be over.
    limit: Option<Instant>,
    pace: Option<Patience>,
    /// Set by whoever does not want the present step any more.
    stop: Option<Arc<AtomicBool>>,
}

/// What a handshake under way waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshaking {
    /// Nothing: the peer's key is known.
    Done,
    /// The socket: to read, and to write if `send`.
    Waits {
        /// Something is left to be written.
        send: bool,
    },
}

impl Channel {
    /// Connects as the TLS client.
    ///
    /// # Errors
    /// When the other side does not end the handshake in time, has another key, does not let this one in, or hangs
    /// up.
    pub fn connect(tcp: TcpStream, config: Arc<ClientConfig>, timeout: Duration) -> Result<Self, ChannelError> {
        // The name is never checked nor sent: the key is pinned.
        let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([127, 0, 0, 1])));
        let connection = UnbufferedClientConnection::new(config, name)?;
        Self::new(tcp, Connection::Client(Box::new(connection)))?.shake_hands(timeout)
    }

    /// Accepts as the TLS server.
    ///
    /// # Errors
    /// When the other side does not end the handshake in time, is not let in, or hangs up.
    pub fn accept(tcp: TcpStream, config: Arc<ServerConfig>, timeout: Duration) -> Result<Self, ChannelError> {
        Self::begin(tcp, config)?.shake_hands(timeout)
    }

    /// Begins to accept as the TLS server, without waiting: [`Channel::advance_handshake`] goes on.
    pub(crate) fn begin(tcp: TcpStream, config: Arc<ServerConfig>) -> Result<Self, ChannelError> {
        let connection = UnbufferedServerConnection::new(config)?;
        Self::new(tcp, Connection::Server(Box::new(connection)))
    }

    /// The key the other side proved to hold.
    pub fn peer(&self) -> PublicKey {
        self.peer
    }

    /// Bytes sent on the wire so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Bytes received from the wire so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether an idle channel is still good: nothing unread, not closed by the other side.
    pub fn is_idle(&self) -> bool {
        let mut byte = [0; 1];
        self.plain.is_empty()
            && self.incoming.is_empty()
            && matches!(recv(&self.tcp, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT), Err(Errno::AGAIN))
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
            let moved = self.move_some(parts, position, receive, filled)?;
            let (sent, received) = ((*position - before.0) as u64, (*filled - before.1) as u64);
            let now = Instant::now();
            let passed = now - last;
            last = now;
            patience.pass(passed, sent, received);
            if let Some(pace) = &mut self.pace {
                pace.pass(passed, sent, received);
            }
            let sending = *position < parts[0].len() + parts[1].len() || !self.outgoing.is_empty();
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
                self.wait(sending, receiving, until.fold(now + patience.left(), Instant::min))?;
            }
        }
    }

    /// Sends and receives what the socket allows, without waiting; says whether all is done.
    pub(crate) fn advance(
        &mut self,
        send: &[u8],
        position: &mut usize,
        receive: &mut [u8],
        filled: &mut usize,
    ) -> Result<bool, ChannelError> {
        while self.move_some([send, &[]], position, receive, filled)? {}
        Ok(*position == send.len() && self.outgoing.is_empty() && *filled == receive.len())
    }

    /// One attempt at both directions; says whether anything moved.
    fn move_some(
        &mut self,
        parts: [&[u8]; 2],
        position: &mut usize,
        receive: &mut [u8],
        filled: &mut usize,
    ) -> Result<bool, ChannelError> {
        if receive.len() > MAX_RECORD {
            self.incoming.reserve(IN_CAPACITY);
        }
        let mut moved = self.take_plain(receive, filled)?;
        moved |= self.push(parts, position, receive, filled)?;
        if *filled < receive.len() && self.plain.is_empty() {
            moved |= self.pull()?;
        }
        Ok(moved)
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
        if !self.plain.is_empty() || !self.incoming.is_empty() {
            return Ok(true);
        }
        self.wait(false, true, Instant::now() + timeout)
    }

    fn new(tcp: TcpStream, connection: Connection) -> Result<Self, ChannelError> {
        tcp.set_nodelay(true)?;
        tcp.set_nonblocking(true)?;
        Ok(Self {
            tcp: Arc::new(tcp),
            connection,
            peer: PublicKey([0; 32]),
            incoming: Window::new(SMALL),
            outgoing: Window::new(SMALL),
            plain: Window::default(),
            scratch: Vec::new(),
            broken_pipe: false,
            sent: 0,
            received: 0,
            allowance: STRANGER_BYTES,
            limit: None,
            pace: None,
            stop: None,
        })
    }

    fn shake_hands(mut self, timeout: Duration) -> Result<Self, ChannelError> {
        let deadline = Instant::now() + timeout;
        while let Handshaking::Waits { send } = self.advance_handshake()? {
            if Instant::now() >= deadline {
                return Err(ChannelError::TimedOut(timeout));
            }
            self.wait(send, true, deadline)?;
        }
        self.trust();
        Ok(self)
    }

    /// Goes on with the handshake as far as the socket allows, without waiting.
    pub(crate) fn advance_handshake(&mut self) -> Result<Handshaking, ChannelError> {
        loop {
            match self.turn(None, &mut [], &mut 0) {
                Ok(Turn::Progress) => continue,
                Ok(Turn::Ready) if self.flush()? => break,
                Ok(Turn::Ready) => return Ok(Handshaking::Waits { send: true }),
                Ok(Turn::Blocked) => {}
                Err(error) => {
                    self.send_alert();
                    return Err(error);
                }
            }
            let flushed = self.flush()?;
            if !self.pull()? {
                return Ok(Handshaking::Waits { send: !flushed });
            }
        }
        let certificates = match &self.connection {
            Connection::Client(c) => c.peer_certificates(),
            Connection::Server(c) => c.peer_certificates(),
        };
        self.peer = certificates
            .and_then(|certificates| certificates.first())
            .and_then(public_key_of)
            .ok_or(rustls::Error::NoCertificatesPresented)?;
        Ok(Handshaking::Done)
    }

    /// Lifts the bound on what an unknown peer may send.
    pub(crate) fn trust(&mut self) {
        self.allowance = u64::MAX;
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

    /// The socket, to wait for many at once.
    pub(crate) fn socket(&self) -> &Arc<TcpStream> {
        &self.tcp
    }
}
