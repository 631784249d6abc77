//! Records: between the socket's bytes and the plaintext, without waiting; and the wait for the socket.

use std::io;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};

use super::window::Window;
use super::{Channel, ChannelError, Connection, MAX_RECORD, OUT_CAPACITY, SEND_CHUNK};

impl Channel {
    /// Lets TLS handle the next record that has arrived; when there is none, seals `piece` if one is given.
    ///
    /// TLS must always be shown what has arrived, also when the aim is to send: it keeps positions in those bytes.
    pub(super) fn turn(
        &mut self,
        piece: Option<&[u8]>,
        receive: &mut [u8],
        filled: &mut usize,
    ) -> Result<Turn, ChannelError> {
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
    pub(super) fn send_alert(&mut self) {
        for _ in 0..4 {
            if !matches!(self.turn(None, &mut [], &mut 0), Ok(Turn::Progress)) {
                break;
            }
        }
        let _ = self.flush();
    }

    /// Fills `receive` from what has arrived; says whether anything was decrypted.
    pub(super) fn take_plain(&mut self, receive: &mut [u8], filled: &mut usize) -> Result<bool, ChannelError> {
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
    pub(super) fn push(
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
    pub(super) fn encrypt(
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
    pub(super) fn flush(&mut self) -> Result<bool, ChannelError> {
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
    pub(super) fn pull(&mut self) -> Result<bool, ChannelError> {
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

    /// Whether the other side has closed the connection, also when there is something to read before its end. Where a system
    /// tells only of resets, only whether it was reset.
    pub fn has_hung_up(&self) -> bool {
        #[cfg(target_os = "linux")]
        let flags = PollFlags::RDHUP;
        #[cfg(not(target_os = "linux"))]
        let flags = PollFlags::empty();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.tcp, flags)], Some(&now)).is_ok_and(|told| told > 0)
    }

    /// Waits until the socket can go on, but not after `until`, and says whether it can; looks at least once.
    pub(super) fn wait(&self, send: bool, receive: bool, until: Instant) -> Result<bool, ChannelError> {
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

/// What handling one record led to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
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
