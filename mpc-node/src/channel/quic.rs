//! QUIC: a connection of its own for each lane, with one stream.
//!
//! The handshake is that of TLS 1.3 with the same keys and the same checks as over TCP. Threads of the engine receive, decrypt and
//! send; the thread that uses the channel takes bytes from the stream and gives bytes to it without waiting, and is woken by a
//! signal. A connection for each lane means that whatever counts connections counts the same as over TCP, that a lost datagram
//! delays one lane only, and that a lane moves from network to network by itself.

mod congestion;
mod door;
mod engine;
mod error;
mod guard;
mod names;
mod signal;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use quinn::{Connection, ConnectionError, RecvStream, SendStream, VarInt};
use rustls::pki_types::CertificateDer;

use super::transport::{Closing, Handshaking, Transport, Waking};
use super::window::Window;
use super::{ChannelError, MAX_RECORD, SEND_CHUNK, STRANGER_BYTES};
use crate::identity::{Identity, PublicKey};
use crate::tls::{Refused, public_key_of};
pub(crate) use door::{Knocking, ListenError, Listening};
use engine::Wide;
pub(crate) use engine::{CLOSED, memory};
use error::Failure;
use signal::{Bell, Signal};

/// After so long without an answer the next address of a name is tried, too.
const NEXT: Duration = crate::dial::NEXT;
/// How long what was sent last has to arrive, after a channel of the server's side was dropped.
const LINGER: Duration = Duration::from_secs(2);
/// How long the last word of a client's side, that it goes, has to reach the system: the process may end next.
const LAST_WORD: Duration = Duration::from_millis(20);
/// Bytes that are read ahead to see whether something comes.
const AHEAD: usize = 4 << 10;
/// The code with which connections end: there is nothing more to say.
const OVER: VarInt = VarInt::from_u32(0);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// A connection whose handshake is done, and its stream.
struct Open {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
}

type Opening = Pin<Box<dyn Future<Output = Result<Open, Failure>> + Send>>;

enum State {
    Opening(Opening),
    Open(Open),
    Over,
}

/// A connection over QUIC.
pub(super) struct Quic {
    state: State,
    side: Side,
    signal: Arc<Signal>,
    waker: Waker,
    peer: PublicKey,
    /// Read ahead, to see whether something had come.
    ahead: Window,
    scratch: Vec<u8>,
    trusted: bool,
    /// Bytes of the stream that are still taken from a stranger.
    allowance: usize,
    /// The key that the server's side has refused.
    refused: Refused,
    wide: Option<Wide>,
}

impl Quic {
    /// The client's side, before the handshake: to the holder of `peer` at one of these addresses.
    pub(super) fn client(
        identity: &Identity,
        peer: PublicKey,
        addresses: Vec<SocketAddr>,
    ) -> Result<Self, ChannelError> {
        let tls = crate::tls::quic_client_config(identity, peer)?;
        let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).map_err(error::unsuited)?;
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        config.transport_config(engine::transport(false));
        let dialling = Dialling(engine::runtime()?.spawn(first_of(addresses, config)));
        let mut channel = Self::new(Box::pin(dialling), Side::Client, None, Refused::default());
        channel.trusted = true;
        Ok(channel)
    }

    /// The server's side, before the handshake; it rings `bell` until it is trusted.
    fn server(connecting: quinn::Connecting, bell: Arc<Bell>, refused: Refused) -> Self {
        let opening = async move {
            let connection = connecting.await?;
            let (send, receive) = connection.accept_bi().await?;
            Ok(Open { connection, send, receive })
        };
        Self::new(Box::pin(opening), Side::Server, Some(bell), refused)
    }

    fn new(opening: Opening, side: Side, bell: Option<Arc<Bell>>, refused: Refused) -> Self {
        let signal = Signal::at(bell);
        Self {
            state: State::Opening(opening),
            side,
            waker: signal.clone().into(),
            signal,
            peer: PublicKey([0; 32]),
            ahead: Window::default(),
            scratch: Vec::new(),
            trusted: false,
            allowance: STRANGER_BYTES as usize,
            refused,
            wide: None,
        }
    }

    /// The open connection, unless another thread has ended it or a stranger has sent too much.
    fn open(&mut self) -> Result<(&mut Open, Context<'_>), ChannelError> {
        if self.signal.is_closed() {
            return Err(ChannelError::Closed);
        }
        let State::Open(open) = &mut self.state else { return Err(ChannelError::Closed) };
        if !self.trusted && open.connection.stats().udp_rx.bytes > STRANGER_BYTES {
            return Err(ChannelError::TooMuch);
        }
        Ok((open, Context::from_waker(&self.waker)))
    }

    fn receive(&mut self, into: &mut [u8], filled: &mut usize) -> Result<bool, ChannelError> {
        let mut moved = false;
        if *filled < into.len() && !self.ahead.is_empty() {
            *filled += self.ahead.take(&mut into[*filled..]);
            moved = true;
        }
        let allowed = if self.trusted { usize::MAX } else { self.allowance };
        let (begin, end) = (*filled, into.len().min(filled.saturating_add(allowed)));
        let (open, mut context) = self.open()?;
        if allowed == 0 && begin < into.len() {
            return Err(ChannelError::TooMuch);
        }
        while *filled < end {
            match open.receive.poll_read(&mut context, &mut into[*filled..end]) {
                Poll::Ready(Ok(0)) if !moved => return Err(ChannelError::Closed),
                Poll::Ready(Err(error)) if !moved => return Err(error::read(error)),
                Poll::Ready(Ok(0) | Err(_)) | Poll::Pending => break,
                Poll::Ready(Ok(read)) => *filled += read,
            }
            moved = true;
        }
        self.allowance = self.allowance.saturating_sub(*filled - begin);
        Ok(moved)
    }

    fn send(&mut self, parts: [&[u8]; 2], position: &mut usize) -> Result<bool, ChannelError> {
        let [head, body] = parts;
        let total = head.len() + body.len();
        let mut moved = false;
        let mut scratch = std::mem::take(&mut self.scratch);
        let (open, mut context) = self.open()?;
        while *position < total {
            let piece = if *position < head.len() {
                // One piece for the header and the beginning of the payload.
                scratch.clear();
                scratch.extend_from_slice(&head[*position..]);
                scratch.extend_from_slice(&body[..body.len().min(MAX_RECORD.saturating_sub(scratch.len()))]);
                &scratch[..]
            } else {
                let rest = &body[*position - head.len()..];
                &rest[..rest.len().min(SEND_CHUNK)]
            };
            match Pin::new(&mut open.send).poll_write(&mut context, piece) {
                Poll::Ready(Ok(written)) => *position += written,
                // What the other side said before it went may still be waiting to be read.
                Poll::Ready(Err(_)) => *position = total,
                Poll::Pending => break,
            }
            moved = true;
        }
        self.scratch = scratch;
        Ok(moved)
    }

    /// Whether something is there to be read, or nothing will ever come again.
    fn look(&mut self) -> bool {
        if !self.ahead.is_empty() {
            return true;
        }
        self.signal.clear();
        let mut read = [0; AHEAD];
        let Ok((open, mut context)) = self.open() else { return true };
        match open.receive.poll_read(&mut context, &mut read) {
            Poll::Ready(Ok(read_bytes)) => {
                self.ahead.append(&read[..read_bytes]);
                true
            }
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }

    fn connection(&self) -> Option<&Connection> {
        match &self.state {
            State::Open(open) => Some(&open.connection),
            State::Opening(_) | State::Over => None,
        }
    }
}

impl Transport for Quic {
    fn advance_handshake(&mut self) -> Result<Handshaking, ChannelError> {
        let State::Opening(opening) = &mut self.state else { return Ok(Handshaking::Done) };
        self.signal.clear();
        match opening.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => Ok(Handshaking::Waits { send: false }),
            Poll::Ready(Err(error)) => {
                self.state = State::Over;
                Err(error::handshake(error, self.side == Side::Client, self.refused.take()))
            }
            Poll::Ready(Ok(open)) => {
                let identity = open.connection.peer_identity();
                let certificates = identity.and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
                self.peer = certificates
                    .and_then(|certificates| public_key_of(certificates.first()?))
                    .ok_or(rustls::Error::NoCertificatesPresented)?;
                self.state = State::Open(open);
                Ok(Handshaking::Done)
            }
        }
    }

    fn peer(&self) -> PublicKey {
        self.peer
    }

    fn trust(&mut self) {
        self.trusted = true;
        self.signal.leave_door();
        if let Some(connection) = self.connection() {
            connection.set_receive_window(VarInt::from_u32(engine::WINDOW));
        }
    }

    fn widen(&mut self) {
        if self.wide.is_none() {
            self.wide = Wide::take();
        }
        if let (Some(connection), Some(_)) = (self.connection(), &self.wide) {
            connection.set_receive_window(VarInt::from_u32(engine::WIDE_WINDOW));
            connection.set_send_window(u64::from(engine::WIDE_WINDOW));
        }
    }

    fn move_some(
        &mut self,
        parts: [&[u8]; 2],
        position: &mut usize,
        receive: &mut [u8],
        filled: &mut usize,
    ) -> Result<bool, ChannelError> {
        self.signal.clear();
        let received = self.receive(receive, filled)?;
        Ok(self.send(parts, position)? || received)
    }

    fn has_unsent(&self) -> bool {
        false
    }

    fn wait(&mut self, _send: bool, _receive: bool, until: Instant) -> Result<(), ChannelError> {
        self.signal.wait(until);
        Ok(())
    }

    fn readable(&mut self, until: Instant) -> Result<bool, ChannelError> {
        loop {
            if self.look() {
                return Ok(true);
            }
            if !self.signal.wait(until) {
                return Ok(false);
            }
        }
    }

    fn is_idle(&mut self) -> bool {
        self.connection().is_some_and(|connection| connection.close_reason().is_none()) && !self.look()
    }

    fn has_hung_up(&self) -> bool {
        self.connection().is_none_or(|connection| connection.close_reason().is_some())
    }

    fn sent(&self) -> u64 {
        self.connection().map_or(0, |connection| connection.stats().udp_tx.bytes)
    }

    fn received(&self) -> u64 {
        self.connection().map_or(0, |connection| connection.stats().udp_rx.bytes)
    }

    fn closing(&self) -> Arc<dyn Closing> {
        self.signal.clone()
    }

    fn waking(&self) -> Waking<'_> {
        Waking::Bell(self.signal.has_rung())
    }
}

impl Drop for Quic {
    /// Whoever connected goes at once, which tells the other side that nobody waits any more. Whoever answered goes when its last
    /// words have arrived, as a closed socket of TCP does.
    fn drop(&mut self) {
        let State::Open(open) = std::mem::replace(&mut self.state, State::Over) else { return };
        if open.connection.close_reason().is_some() {
            return;
        }
        match (self.side, engine::runtime()) {
            (Side::Server, Ok(runtime)) if LINGERS.load(Ordering::Relaxed) < engine::LINGERING => {
                LINGERS.fetch_add(1, Ordering::Relaxed);
                runtime.spawn(linger(open, self.wide.take()));
            }
            (Side::Server, _) => open.connection.close(OVER, &[]),
            (Side::Client, _) => {
                open.connection.close(OVER, &[]);
                let end = Instant::now() + LAST_WORD;
                while open.connection.stats().frame_tx.connection_close == 0 && Instant::now() < end {
                    std::thread::sleep(LAST_WORD / 100);
                }
            }
        }
    }
}

/// Connections that end once their last words have arrived.
static LINGERS: AtomicUsize = AtomicUsize::new(0);

async fn linger(open: Open, wide: Option<Wide>) {
    let Open { connection, mut send, receive } = open;
    drop(receive);
    if send.finish().is_ok() {
        let _ = tokio::time::timeout(LINGER, send.stopped()).await;
    }
    connection.close(OVER, &[]);
    drop(wide);
    LINGERS.fetch_sub(1, Ordering::Relaxed);
}

/// The task that connects; it ends with whoever waits for it.
struct Dialling(tokio::task::JoinHandle<Result<Open, Failure>>);

impl Future for Dialling {
    type Output = Result<Open, Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|done| done.unwrap_or(Err(Failure::Connection(ConnectionError::LocallyClosed))))
    }
}

impl Drop for Dialling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The first connection that any of these addresses gives; each is tried a little after the one before.
async fn first_of(addresses: Vec<SocketAddr>, config: quinn::ClientConfig) -> Result<Open, Failure> {
    let mut trying = tokio::task::JoinSet::new();
    for (pause, address) in (0..).map(|n| n * NEXT).zip(addresses) {
        let config = config.clone();
        trying.spawn(async move {
            tokio::time::sleep(pause).await;
            connect(address, config).await
        });
    }
    let mut last = Failure::Connection(ConnectionError::TimedOut);
    while let Some(done) = trying.join_next().await {
        match done {
            Ok(Ok(open)) => return Ok(open),
            Ok(Err(error)) => last = error,
            Err(_) => {}
        }
    }
    Err(last)
}

async fn connect(address: SocketAddr, config: quinn::ClientConfig) -> Result<Open, Failure> {
    // The name is never checked nor sent: the key is pinned.
    let connecting = engine::client(&address).map_err(Failure::Local)?.connect_with(config, address, "node");
    let connecting = connecting.map_err(|error| Failure::Local(io::Error::other(error)))?;
    let connection = connecting.await?;
    let (send, receive) = connection.open_bi().await?;
    Ok(Open { connection, send, receive })
}
