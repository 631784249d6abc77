//! A TLS byte stream for one thread: writes and reads at the same time, on one non-blocking socket.
//!
//! Both evaluators send frames of several megabytes in the same round, so writing first and reading afterwards
//! would stop as soon as both socket buffers are full; and a round trip must not wake another thread. `rustls` is
//! driven through its unbuffered interface: records are encrypted straight into one output buffer and decrypted in
//! the input buffer, a quarter of a megabyte a system call.

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

/// Bytes `start..end` of a buffer; grows only through [`Window::append`].
#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Window {
    fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity], start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.end..]
    }

    fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Moves what is filled to the front.
    fn make_room(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
    }

    /// Moves bytes from the front into `to`; says how many.
    fn take(&mut self, to: &mut [u8]) -> usize {
        let n = to.len().min(self.end - self.start);
        to[..n].copy_from_slice(&self.bytes[self.start..self.start + n]);
        self.start += n;
        if self.is_empty() {
            self.clear();
        }
        n
    }

    fn append(&mut self, more: &[u8]) {
        if more.is_empty() {
            return;
        }
        self.make_room();
        self.bytes.truncate(self.end);
        self.bytes.extend_from_slice(more);
        self.end = self.bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpListener;

    use super::*;
    use crate::identity::{Identity, generate};
    use crate::tls::{Admission, client_config, server_config};

    const TIME: Duration = Duration::from_secs(5);

    fn pair(
        admission: impl FnOnce(&Identity) -> Admission,
        pinned: impl FnOnce(&Identity) -> PublicKey,
    ) -> (Result<Channel, ChannelError>, Result<Channel, ChannelError>) {
        let (a, b) = (generate().unwrap(), generate().unwrap());
        let client = client_config(&a, pinned(&b)).unwrap();
        let server = server_config(&b, admission(&a)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = std::thread::spawn(move || Channel::accept(listener.accept().unwrap().0, server, TIME));
        let mut client = Channel::connect(TcpStream::connect(address).unwrap(), client, TIME);
        if let Ok(channel) = &mut client {
            // A client learns only from the first answer that the server has refused its key.
            if let Err(error) = channel.receive_exact(&mut [0; 1], Duration::from_millis(300)) {
                if !matches!(error, ChannelError::TimedOut(_)) {
                    client = Err(error);
                }
            }
        }
        (client, accepting.join().unwrap())
    }

    fn good_pair() -> (Channel, Channel) {
        let (a, b) = pair(|a| Admission::Only(BTreeSet::from([a.public()])), Identity::public);
        (a.unwrap(), b.unwrap())
    }

    #[test]
    fn large_frames_cross_without_deadlock() {
        let (mut a, mut b) = good_pair();
        let size = 20_000_000;
        let run = |channel: &mut Channel, mine: u8| {
            let send = vec![mine; size];
            let mut receive = vec![0; size + 8];
            channel.pump([&[mine; 8], &send], &mut 0, &mut receive, &mut 0, Until::Both, TIME).unwrap();
            receive
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| run(&mut b, 2));
            assert!(run(&mut a, 1).iter().all(|&byte| byte == 2));
            assert!(other.join().unwrap().iter().all(|&byte| byte == 1));
        });
        assert!(a.is_idle() && b.is_idle());
        assert!(a.sent() > size as u64 && a.sent() < size as u64 * 101 / 100);
        drop(b);
        assert!(matches!(a.receive_exact(&mut [0; 1], TIME), Err(ChannelError::Closed)));
    }

    #[test]
    fn a_silent_peer_times_out() {
        let (mut a, _b) = good_pair();
        let error = a.receive_exact(&mut [0; 1], Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.to_string(), "did not answer within 50 ms");
    }

    #[test]
    fn another_key_is_refused_on_either_side() {
        let (client, server) = pair(|_| Admission::Only(BTreeSet::new()), Identity::public);
        assert!(matches!(server, Err(ChannelError::WrongKey)));
        assert!(matches!(client, Err(ChannelError::NotAdmitted)), "{:?}", client.err());

        let (client, server) = pair(|_| Admission::Any, |_| generate().unwrap().public());
        assert!(matches!(client, Err(ChannelError::WrongKey)));
        assert!(server.is_err());
    }

    #[test]
    fn random_bytes_are_refused() {
        let identity = generate().unwrap();
        let server = server_config(&identity, Admission::Any).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        io::Write::write_all(&mut tcp, &[0x55; 4000]).unwrap();
        assert!(Channel::accept(listener.accept().unwrap().0, server, TIME).is_err());
    }
}
