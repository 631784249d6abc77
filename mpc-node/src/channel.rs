//! A TLS byte stream for one thread: writes and reads at the same time, on one non-blocking socket.
//!
//! Both evaluators send frames of several megabytes in the same round, so writing first and reading afterwards
//! would stop as soon as both socket buffers are full; and a round trip must not wake another thread. `rustls` is
//! driven through its unbuffered interface: records are encrypted straight into one output buffer and decrypted in
//! the input buffer, a quarter of a megabyte a system call.

#[cfg(test)]
mod tests;
mod window;

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{IpAddr, Ipv4Addr, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, ServerConfig};
use thiserror::Error;

use crate::identity::PublicKey;
use crate::tls::public_key_of;
use window::Window;

/// Plaintext encrypted at a time, and so about the size of a write.
const SEND_CHUNK: usize = 256 << 10;
/// Plaintext of a full TLS record.
const MAX_RECORD: usize = 16 << 10;
/// Bytes a TLS 1.3 record adds, at most, to its (at most 16 KiB of) plaintext.
const RECORD_OVERHEAD: usize = 22;
const OUT_CAPACITY: usize = SEND_CHUNK + (SEND_CHUNK / MAX_RECORD + 2) * RECORD_OVERHEAD;
const IN_CAPACITY: usize = 256 << 10;

/// Why a channel stopped working.
#[derive(Debug, Error)]
pub enum ChannelError {
    /// The other side closed the connection or died.
    #[error("closed the connection")]
    Closed,
    /// Nothing happened within the time given.
    #[error("did not answer within {}", seconds(*.0))]
    TimedOut(Duration),
    /// The other side knows this side's key, and does not let it in.
    #[error("does not admit this key (its list of consumers or its committee file lacks it)")]
    NotAdmitted,
    /// The other side holds another key than the one it is pinned by.
    #[error("does not hold the key in the committee file")]
    WrongKey,
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
            rustls::Error::InvalidCertificate(_) => Self::WrongKey,
            other => Self::Tls(other),
        }
    }
}

fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) { format!("{} ms", time.as_millis()) } else { format!("{} s", time.as_secs_f64()) }
}

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
    tcp: TcpStream,
    connection: Connection,
    peer: PublicKey,
    incoming: Window,
    outgoing: Window,
    plain: Window,
    scratch: Vec<u8>,
    broken_pipe: bool,
    sent: u64,
    received: u64,
}

impl Channel {
    /// Connects as the TLS client.
    pub fn connect(tcp: TcpStream, config: Arc<ClientConfig>, timeout: Duration) -> Result<Self, ChannelError> {
        // The name is never checked nor sent: the key is pinned.
        let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([127, 0, 0, 1])));
        let connection = UnbufferedClientConnection::new(config, name)?;
        Self::handshake(tcp, Connection::Client(Box::new(connection)), timeout)
    }

    /// Accepts as the TLS server.
    pub fn accept(tcp: TcpStream, config: Arc<ServerConfig>, timeout: Duration) -> Result<Self, ChannelError> {
        let connection = UnbufferedServerConnection::new(config)?;
        Self::handshake(tcp, Connection::Server(Box::new(connection)), timeout)
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
    /// the goal is met. Both positions are advanced, so a second call goes on where the first stopped.
    pub fn pump(
        &mut self,
        parts: [&[u8]; 2],
        position: &mut usize,
        receive: &mut [u8],
        filled: &mut usize,
        until: Until,
        timeout: Duration,
    ) -> Result<(), ChannelError> {
        let mut deadline = None;
        loop {
            let mut moved = self.take_plain(receive, filled)?;
            moved |= self.push(parts, position, receive, filled)?;
            let sending = *position < parts[0].len() + parts[1].len() || !self.outgoing.is_empty();
            let receiving = *filled < receive.len();
            if !receiving && (until == Until::Received || !sending) {
                return Ok(());
            }
            if receiving && self.plain.is_empty() {
                moved |= self.pull()?;
            }
            if moved {
                deadline = None;
                continue;
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + timeout);
            self.wait(sending, receiving, deadline, timeout)?;
        }
    }

    /// Sends all of `parts`.
    pub fn send_all(&mut self, parts: [&[u8]; 2], timeout: Duration) -> Result<(), ChannelError> {
        self.pump(parts, &mut 0, &mut [], &mut 0, Until::Both, timeout)
    }

    /// Fills `receive`.
    pub fn receive_exact(&mut self, receive: &mut [u8], timeout: Duration) -> Result<(), ChannelError> {
        self.pump([&[], &[]], &mut 0, receive, &mut 0, Until::Received, timeout)
    }

    /// Waits at most `timeout` for something to read; says whether there is.
    pub fn readable(&mut self, timeout: Duration) -> Result<bool, ChannelError> {
        if !self.plain.is_empty() || !self.incoming.is_empty() {
            return Ok(true);
        }
        match self.wait(false, true, Instant::now() + timeout, timeout) {
            Ok(()) => Ok(true),
            Err(ChannelError::TimedOut(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn handshake(tcp: TcpStream, connection: Connection, timeout: Duration) -> Result<Self, ChannelError> {
        tcp.set_nodelay(true)?;
        tcp.set_nonblocking(true)?;
        let mut channel = Self {
            tcp,
            connection,
            peer: PublicKey([0; 32]),
            incoming: Window::new(IN_CAPACITY),
            outgoing: Window::new(OUT_CAPACITY),
            plain: Window::default(),
            scratch: Vec::new(),
            broken_pipe: false,
            sent: 0,
            received: 0,
        };
        let deadline = Instant::now() + timeout;
        loop {
            match channel.turn(None, &mut [], &mut 0) {
                Ok(Turn::Progress) => continue,
                Ok(Turn::Ready) => break,
                Ok(Turn::Blocked) => {}
                Err(error) => {
                    channel.send_alert();
                    return Err(error);
                }
            }
            let flushed = channel.flush()?;
            if !channel.pull()? {
                channel.wait(!flushed, true, deadline, timeout)?;
            }
        }
        while !channel.flush()? {
            channel.wait(true, false, deadline, timeout)?;
        }
        let certificates = match &channel.connection {
            Connection::Client(c) => c.peer_certificates(),
            Connection::Server(c) => c.peer_certificates(),
        };
        channel.peer = certificates
            .and_then(|certificates| certificates.first())
            .and_then(public_key_of)
            .ok_or(rustls::Error::NoCertificatesPresented)?;
        Ok(channel)
    }

    /// Lets TLS handle the next record that has arrived; when there is none, seals `piece` if one is given.
    ///
    /// TLS must always be shown what has arrived, also when the aim is to send: it keeps positions in those bytes.
    fn turn(&mut self, piece: Option<&[u8]>, receive: &mut [u8], filled: &mut usize) -> Result<Turn, ChannelError> {
        self.outgoing.make_room();
        let arrived = self.incoming.filled_mut();
        let out = &mut self.outgoing;
        let (result, discard) = match &mut self.connection {
            Connection::Client(c) => turn(c.process_tls_records(arrived), piece, out, &mut self.plain, receive, filled),
            Connection::Server(c) => turn(c.process_tls_records(arrived), piece, out, &mut self.plain, receive, filled),
        };
        self.incoming.start += discard;
        result
    }

    /// Tells the other side why, after TLS has failed. Best effort.
    fn send_alert(&mut self) {
        for _ in 0..4 {
            if !matches!(self.turn(None, &mut [], &mut 0), Ok(Turn::Progress)) {
                break;
            }
        }
        let _ = self.flush();
    }

    /// Fills `receive` from what has arrived; says whether anything was decrypted.
    fn take_plain(&mut self, receive: &mut [u8], filled: &mut usize) -> Result<bool, ChannelError> {
        let mut moved = false;
        while *filled < receive.len() {
            if !self.plain.is_empty() {
                let n = self.plain.take(&mut receive[*filled..]);
                *filled += n;
                moved = true;
            } else if self.incoming.is_empty() || self.turn(None, receive, filled)? != Turn::Progress {
                break;
            } else {
                moved = true;
            }
        }
        Ok(moved)
    }

    /// Encrypts and writes as much of `parts` as the socket takes; says whether anything moved.
    fn push(
        &mut self,
        parts: [&[u8]; 2],
        position: &mut usize,
        receive: &mut [u8],
        filled: &mut usize,
    ) -> Result<bool, ChannelError> {
        let mut moved = false;
        let total = parts[0].len() + parts[1].len();
        loop {
            if self.outgoing.is_empty() {
                if *position == total {
                    return Ok(moved);
                }
                self.encrypt(parts, position, receive, filled)?;
            }
            if self.broken_pipe {
                self.outgoing.clear();
                *position = total;
                return Ok(moved);
            }
            if !self.flush()? {
                return Ok(moved);
            }
            moved = true;
        }
    }

    /// Encrypts the next piece of `parts` into `outgoing`.
    fn encrypt(
        &mut self,
        parts: [&[u8]; 2],
        position: &mut usize,
        receive: &mut [u8],
        filled: &mut usize,
    ) -> Result<(), ChannelError> {
        let [head, body] = parts;
        let mut scratch = std::mem::take(&mut self.scratch);
        let piece = if *position < head.len() {
            // One record for the header and the beginning of the payload.
            scratch.clear();
            scratch.extend_from_slice(&head[*position..]);
            let room = MAX_RECORD.saturating_sub(scratch.len());
            scratch.extend_from_slice(&body[..body.len().min(room)]);
            &scratch[..]
        } else {
            let rest = &body[*position - head.len()..];
            &rest[..rest.len().min(SEND_CHUNK)]
        };
        let result = loop {
            match self.turn(Some(piece), receive, filled) {
                Ok(Turn::Progress) => {}
                Ok(Turn::Ready) => {
                    *position += piece.len();
                    break Ok(());
                }
                Ok(Turn::Blocked) => break Err(unexpected()),
                Err(error) => break Err(error),
            }
        };
        self.scratch = scratch;
        result
    }

    /// Writes `outgoing` to the socket; true once it is empty.
    fn flush(&mut self) -> Result<bool, ChannelError> {
        while !self.outgoing.is_empty() {
            match send(&self.tcp, self.outgoing.filled(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(n) => {
                    self.outgoing.start += n;
                    self.sent += n as u64;
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                // What the other side said before it hung up may still be waiting to be read.
                Err(Errno::PIPE | Errno::CONNRESET) => {
                    self.broken_pipe = true;
                    self.outgoing.clear();
                }
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
        }
        self.outgoing.clear();
        Ok(true)
    }

    /// Reads what the socket has, without waiting; says whether there was anything.
    fn pull(&mut self) -> Result<bool, ChannelError> {
        self.incoming.make_room();
        loop {
            match recv(&self.tcp, self.incoming.room(), RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Err(ChannelError::Closed),
                Ok((_, n)) => {
                    self.incoming.end += n;
                    self.received += n as u64;
                    return Ok(true);
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
        }
    }

    /// Waits until the socket can go on; looks at least once.
    fn wait(&self, send: bool, receive: bool, deadline: Instant, timeout: Duration) -> Result<(), ChannelError> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::OUT, send);
        flags.set(PollFlags::IN, receive);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let time = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            match poll(&mut [PollFd::new(&self.tcp, flags)], Some(&time)) {
                Ok(0) => return Err(ChannelError::TimedOut(timeout)),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
        }
    }
}

/// What handling one record led to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Something was decrypted or queued: call again.
    Progress,
    /// The handshake is over, and what has arrived holds no further whole record.
    Ready,
    /// The handshake needs more from the other side.
    Blocked,
}

fn turn<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    piece: Option<&[u8]>,
    outgoing: &mut Window,
    plain: &mut Window,
    receive: &mut [u8],
    filled: &mut usize,
) -> (Result<Turn, ChannelError>, usize) {
    let mut discard = status.discard;
    let work = || -> Result<Turn, ChannelError> {
        match status.state? {
            ConnectionState::ReadTraffic(mut records) => {
                while let Some(record) = records.next_record() {
                    let record = record?;
                    discard += record.discard;
                    let now = record.payload.len().min(receive.len() - *filled);
                    receive[*filled..*filled + now].copy_from_slice(&record.payload[..now]);
                    *filled += now;
                    plain.append(&record.payload[now..]);
                }
                Ok(Turn::Progress)
            }
            ConnectionState::EncodeTlsData(mut data) => {
                outgoing.end += data.encode(outgoing.room()).map_err(|_| unexpected())?;
                Ok(Turn::Progress)
            }
            // `outgoing` keeps the order, so the data counts as transmitted once it is in there.
            ConnectionState::TransmitTlsData(data) => {
                data.done();
                Ok(Turn::Progress)
            }
            ConnectionState::WriteTraffic(mut writer) => {
                if let Some(piece) = piece {
                    outgoing.end += writer.encrypt(piece, outgoing.room()).map_err(|_| unexpected())?;
                }
                Ok(Turn::Ready)
            }
            ConnectionState::BlockedHandshake => Ok(Turn::Blocked),
            ConnectionState::PeerClosed | ConnectionState::Closed => Err(ChannelError::Closed),
            _ => Err(unexpected()),
        }
    };
    (work(), discard)
}

fn unexpected() -> ChannelError {
    ChannelError::Tls(rustls::Error::General("unexpected state".into()))
}
