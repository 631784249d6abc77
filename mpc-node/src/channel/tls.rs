//! TLS over TCP, on the thread that uses it: records between the socket's bytes and the plaintext, without waiting; and the wait
//! for the socket.
//!
//! `rustls` is driven through its unbuffered interface: records are encrypted straight into one output buffer and decrypted in the
//! input buffer, a quarter of a megabyte a system call.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{IpAddr, Ipv4Addr, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{ClientConfig, ServerConfig};

use super::transport::{Closing, Handshaking, Transport, Waking};
use super::window::Window;
use super::{ChannelError, IN_CAPACITY, MAX_RECORD, OUT_CAPACITY, SEND_CHUNK, SMALL, STRANGER_BYTES};
use crate::identity::PublicKey;
use crate::tls::public_key_of;

enum Connection {
    Client(Box<UnbufferedClientConnection>),
    Server(Box<UnbufferedServerConnection>),
}

/// A TLS connection over a TCP socket.
pub(super) struct Tls {
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
}

impl Tls {
    /// The client's side, before the handshake.
    pub(super) fn client(tcp: TcpStream, config: Arc<ClientConfig>) -> Result<Self, ChannelError> {
        // The name is never checked nor sent: the key is pinned.
        let name = ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([127, 0, 0, 1])));
        let connection = UnbufferedClientConnection::new(config, name)?;
        Self::new(tcp, Connection::Client(Box::new(connection)))
    }

    /// The server's side, before the handshake.
    pub(super) fn server(tcp: TcpStream, config: Arc<ServerConfig>) -> Result<Self, ChannelError> {
        let connection = UnbufferedServerConnection::new(config)?;
        Self::new(tcp, Connection::Server(Box::new(connection)))
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
        })
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
        if piece.len() > MAX_RECORD {
            self.outgoing.reserve(OUT_CAPACITY);
        }
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
        let allowed = usize::try_from(self.allowance.saturating_sub(self.received)).unwrap_or(usize::MAX);
        if allowed == 0 {
            return Err(ChannelError::TooMuch);
        }
        loop {
            let room = self.incoming.room();
            let room = room.len().min(allowed);
            match recv(&self.tcp, &mut self.incoming.room()[..room], RecvFlags::DONTWAIT) {
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

    /// Waits until the socket can go on, but not after `until`, and says whether it can; looks at least once.
    fn poll(&self, send: bool, receive: bool, until: Instant) -> Result<bool, ChannelError> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::OUT, send);
        flags.set(PollFlags::IN, receive);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let time = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            match poll(&mut [PollFd::new(&self.tcp, flags)], Some(&time)) {
                Ok(told) => return Ok(told > 0),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(io::Error::from(errno).into()),
            }
        }
    }
}

impl Transport for Tls {
    fn advance_handshake(&mut self) -> Result<Handshaking, ChannelError> {
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

    fn peer(&self) -> PublicKey {
        self.peer
    }

    fn trust(&mut self) {
        self.allowance = u64::MAX;
    }

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

    fn has_unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    fn wait(&mut self, send: bool, receive: bool, until: Instant) -> Result<(), ChannelError> {
        self.poll(send, receive, until).map(|_| ())
    }

    fn readable(&mut self, until: Instant) -> Result<bool, ChannelError> {
        Ok(!self.plain.is_empty() || !self.incoming.is_empty() || self.poll(false, true, until)?)
    }

    fn is_idle(&mut self) -> bool {
        let mut byte = [0; 1];
        self.plain.is_empty()
            && self.incoming.is_empty()
            && matches!(recv(&self.tcp, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT), Err(Errno::AGAIN))
    }

    /// Where a system tells only of resets, only whether it was reset.
    fn has_hung_up(&self) -> bool {
        #[cfg(target_os = "linux")]
        let flags = PollFlags::RDHUP;
        #[cfg(not(target_os = "linux"))]
        let flags = PollFlags::empty();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.tcp, flags)], Some(&now)).is_ok_and(|told| told > 0)
    }

    fn sent(&self) -> u64 {
        self.sent
    }

    fn received(&self) -> u64 {
        self.received
    }

    fn closing(&self) -> Arc<dyn Closing> {
        self.tcp.clone()
    }

    fn waking(&self) -> Waking<'_> {
        Waking::Socket(self.tcp.as_fd())
    }
}

impl Closing for TcpStream {
    fn close(&self) {
        let _ = self.shutdown(Shutdown::Both); // it may be gone already
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
