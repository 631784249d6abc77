//! The door: connections whose key is not known yet, all served by one thread with little memory each.
//!
//! They come over TCP, and over QUIC where that is listened to; all rules are the same, and count both together. Over QUIC nothing
//! is known of a connection here before its address was shown to be its own.
//!
//! From accepting to the end of the greeting a connection has one deadline, which no byte renews, and may send 64 KiB.
//! There is room for a fixed number of them in all and from one address; a newcomer takes the place of the oldest one of
//! the address that has most, so silence keeps nobody out. What leaves the door is a lane with a proved, admitted key, to the
//! seat in the committee that its greeting named. Whoever names another hears the same, whether the node has no seat there or the
//! key is a stranger's there: nobody is told which committees a node serves.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::ServerConfig;

use super::lanes::{Peer, origin};
use super::quota::Bucket;
use super::seat::Seat;
use super::serve;
use super::state::Node;
use crate::channel::quic::Knocking;
use crate::channel::{Channel, ChannelError, Handshaking, Waking};
use crate::config::Config;
use crate::identity::PublicKey;
use crate::lane::Lane;
use crate::meter::Traffic;
use crate::tls::Admission;
use crate::wire::{Caller, Fail, FailCode, HEADER, Hello, Kind, Message, header, parse_header};

/// Connections accepted in one turn, so that those inside are served between two crowds.
const CROWD: usize = 64;
/// New connections from one address: at once, and each second for long. The rest are closed unread.
const ARRIVALS: Bucket = Bucket::new(512.0, 128.0);
/// Addresses whose arrivals are remembered.
const MAX_ADDRESSES: usize = 4096;
/// Rest after the system has refused to accept.
const REFUSED: Duration = Duration::from_millis(100);

/// Serves the door until the other end of `stop` is closed.
pub(super) fn serve(
    node: &Arc<Node>,
    listener: &TcpListener,
    tls: &Arc<ServerConfig>,
    quic: Option<&Knocking>,
    stop: &UnixStream,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut door = Door { node, tls, quic, guests: Vec::new(), arrivals: HashMap::new(), closed_until: None };
    loop {
        let ready = door.wait(listener, stop)?;
        if ready.stop {
            return Ok(());
        }
        door.advance(&ready.guests);
        if ready.listener {
            door.accept(|| listener.accept());
        }
        if ready.bell {
            door.answer();
        }
    }
}

struct Door<'a> {
    node: &'a Arc<Node>,
    tls: &'a Arc<ServerConfig>,
    /// Who comes over QUIC, if that is listened to.
    quic: Option<&'a Knocking>,
    /// Oldest first.
    guests: Vec<Guest>,
    arrivals: HashMap<IpAddr, Bucket>,
    /// The system refused to accept: until when not to try again.
    closed_until: Option<Instant>,
}

struct Guest {
    from: SocketAddr,
    deadline: Instant,
    channel: Channel,
    stage: Stage,
    /// Something is left to be written.
    sending: bool,
}

enum Stage {
    Handshake,
    Greeting(Greeting),
}

/// The other side's greeting, whose frame is read in two steps, first its header; then this side's, of the same committee.
struct Greeting {
    send: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    filled: usize,
    /// For which seat and as whom, once that is known.
    seat: Option<(Arc<Seat>, Caller)>,
}

/// What a greeting comes to that opens no lane.
struct Unwelcome {
    told: String,
    /// What the log says, if that is more.
    log: Option<String>,
}

impl From<String> for Unwelcome {
    fn from(told: String) -> Self {
        Self { told, log: None }
    }
}

/// What became of a guest.
enum Turn {
    Stays,
    Enters(Arc<Seat>, Caller),
    /// Was told why, or is not worth it.
    Leaves(String),
}

struct Ready {
    stop: bool,
    listener: bool,
    bell: bool,
    guests: Vec<bool>,
}

impl Door<'_> {
    fn wait(&mut self, listener: &TcpListener, stop: &UnixStream) -> io::Result<Ready> {
        let now = Instant::now();
        self.closed_until = self.closed_until.filter(|until| *until > now);
        let next = self.guests.iter().map(|guest| guest.deadline).chain(self.closed_until).min();
        let left = next.map(|next| next.saturating_duration_since(now) + Duration::from_millis(1));
        let time = left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) });
        let listening = if self.closed_until.is_some() { PollFlags::empty() } else { PollFlags::IN };
        let mut sockets = vec![PollFd::new(stop, PollFlags::IN), PollFd::new(listener, listening)];
        sockets.extend(self.quic.map(|quic| PollFd::from_borrowed_fd(quic.bell(), PollFlags::IN)));
        let first = sockets.len();
        for guest in &self.guests {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, guest.sending);
            if let Waking::Socket(socket) = guest.channel.waking() {
                sockets.push(PollFd::from_borrowed_fd(socket, flags));
            }
        }
        match poll(&mut sockets, time.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = |at: usize| !sockets[at].revents().is_empty();
        let bell = self.quic.filter(|_| ready(2));
        if let Some(quic) = bell {
            quic.quieten(); // before it is asked for whom it rang
        }
        let mut polled = first..;
        let guests = self.guests.iter().map(|guest| match guest.channel.waking() {
            Waking::Socket(_) => polled.next().is_some_and(ready),
            Waking::Bell(rung) => rung,
        });
        Ok(Ready {
            guests: guests.collect(),
            stop: ready(0),
            listener: sockets[1].revents().contains(PollFlags::IN),
            bell: bell.is_some(),
        })
    }

    /// Lets in who waits, as far as `next` gives them.
    fn accept(&mut self, mut next: impl FnMut() -> io::Result<(TcpStream, SocketAddr)>) {
        for _ in 0..CROWD {
            match next() {
                Ok((tcp, from)) => self.let_in(tcp, from),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of file descriptors, most likely: give lanes a moment to end.
                    tracing::warn!(%error, "cannot accept a connection");
                    self.closed_until = Some(Instant::now() + REFUSED);
                    return;
                }
            }
        }
    }

    /// Lets in who waits over QUIC.
    fn answer(&mut self) {
        let Some(quic) = self.quic else { return };
        for knock in std::iter::from_fn(|| quic.next()).take(CROWD) {
            let from = knock.from();
            match self.has_room(from) {
                true => self.place(from, knock.begin(quic)),
                false => knock.refuse(),
            }
        }
    }

    fn let_in(&mut self, tcp: TcpStream, from: SocketAddr) {
        if self.has_room(from) {
            self.place(from, Channel::begin(tcp, self.tls.clone()));
        }
    }

    /// Whether a newcomer may come in: another one may have to make room.
    fn has_room(&mut self, from: SocketAddr) -> bool {
        if !self.arrives(origin(from.ip())) {
            tracing::debug!(%from, "too many connections from this address, one is dropped");
            return false;
        }
        let limits = &self.node.machine.config.limits;
        let (all, near) = (limits.handshakes as usize, limits.handshakes_per_address as usize);
        let addresses: Vec<IpAddr> = self.guests.iter().map(|guest| origin(guest.from.ip())).collect();
        if let Some(at) = who_leaves(&addresses, origin(from.ip()), all, near) {
            let guest = self.guests.remove(at);
            self.leave(&guest, "made room for a newer connection");
        }
        true
    }

    fn place(&mut self, from: SocketAddr, channel: Result<Channel, ChannelError>) {
        match channel {
            Ok(channel) => self.guests.push(Guest {
                from,
                deadline: Instant::now() + self.node.machine.config.timeouts.connect(),
                channel,
                stage: Stage::Handshake,
                sending: false,
            }),
            Err(error) => tracing::warn!(%from, %error, "cannot serve a connection"),
        }
    }

    /// One more connection from this address; false if there are too many.
    fn arrives(&mut self, address: IpAddr) -> bool {
        let now = self.node.machine.uptime();
        if self.arrivals.len() >= MAX_ADDRESSES && !self.arrivals.contains_key(&address) {
            self.arrivals.retain(|_, bucket| bucket.level(now) < 511.0);
            if self.arrivals.len() >= MAX_ADDRESSES {
                self.arrivals.clear(); // so many addresses are not held back one by one
            }
        }
        self.arrivals.entry(address).or_insert(ARRIVALS).take(1.0, now)
    }

    fn advance(&mut self, ready: &[bool]) {
        let now = Instant::now();
        let mut at = 0;
        for ready in ready {
            let guest = &mut self.guests[at];
            let turn = if *ready { guest.advance(self.node) } else { Turn::Stays };
            match turn {
                Turn::Stays if guest.deadline > now => at += 1,
                Turn::Stays => {
                    let guest = self.guests.remove(at);
                    self.leave(&guest, "did not finish the greeting in time");
                }
                Turn::Leaves(why) => {
                    let guest = self.guests.remove(at);
                    self.leave(&guest, &why);
                }
                Turn::Enters(seat, caller) => {
                    let guest = self.guests.remove(at);
                    self.enter(guest, &seat, caller);
                }
            }
        }
    }

    fn leave(&self, guest: &Guest, why: &str) {
        self.node.machine.refused();
        self.node.machine.meter.add(Traffic::Setup, guest.channel.sent(), guest.channel.received());
        tracing::info!(from = %guest.from, why, "a connection ended at the door");
    }

    /// Gives a guest whose key is known a place among the lanes, and a thread.
    fn enter(&self, mut guest: Guest, seat: &Arc<Seat>, caller: Caller) {
        let peer = Peer { key: guest.channel.peer(), address: guest.from.ip(), caller };
        let config = &self.node.machine.config;
        let place = match self.node.machine.lanes.enter(peer, guest.channel.closing()) {
            Ok(place) => place,
            Err(limit) => {
                let text = format!("this node has as many connections as it may have ({limit}), try again");
                guest.say(FailCode::Busy, &text);
                return self.leave(&guest, &text);
            }
        };
        guest.channel.trust();
        if caller == Caller::Member {
            guest.channel.widen();
        }
        let who = match seat.committee.index_of(&peer.key) {
            Some(index) => seat.committee.label(index),
            None => {
                let role = if caller == Caller::Stranger { "stranger" } else { role(config, &peer.key) };
                format!("{role} {:.8} ({})", peer.key.to_string(), guest.from)
            }
        };
        let lane = Lane::greeted(guest.channel, who, config.timeouts.connect(), seat.meter.clone());
        serve::start(seat, lane, peer, place);
    }
}

impl Guest {
    fn advance(&mut self, node: &Node) -> Turn {
        match self.try_advance(node) {
            Ok(turn) => turn,
            // As it says of this node: the log is its operator's.
            Err(ChannelError::NotAdmitted) => Turn::Leaves(
                "expects another key at this address than this node's: its committee file is another".into(),
            ),
            Err(error) => Turn::Leaves(error.to_string()),
        }
    }

    fn try_advance(&mut self, node: &Node) -> Result<Turn, ChannelError> {
        if let Stage::Handshake = self.stage {
            match self.channel.advance_handshake()? {
                Handshaking::Waits { send } => {
                    self.sending = send;
                    return Ok(Turn::Stays);
                }
                Handshaking::Done => self.stage = Stage::Greeting(Greeting::new()),
            }
        }
        let Stage::Greeting(greeting) = &mut self.stage else { return Ok(Turn::Stays) };
        let key = self.channel.peer();
        loop {
            let Greeting { send, sent, received, filled, seat } = greeting;
            let done = self.channel.advance(send, sent, received, filled)?;
            self.sending = *sent < send.len();
            if !done {
                return Ok(Turn::Stays);
            }
            if let Some((seat, caller)) = seat.take() {
                return Ok(Turn::Enters(seat, caller));
            }
            if let Err(Unwelcome { told, log }) = greeting.look(node, &key) {
                self.say(FailCode::Refused, &told);
                return Ok(Turn::Leaves(log.unwrap_or(told)));
            }
        }
    }

    /// Says why, as far as the socket takes it at once.
    fn say(&mut self, code: FailCode, text: &str) {
        let payload = Fail { code, text: text.into() }.encode();
        let frame = [&header(Kind::Fail, payload.len())[..], &payload].concat();
        let _ = self.channel.advance(&frame, &mut 0, &mut [], &mut 0); // it may be gone already
    }
}

impl Greeting {
    fn new() -> Self {
        Self { send: Vec::new(), sent: 0, received: vec![0; HEADER], filled: 0, seat: None }
    }

    /// Looks at what has arrived; either more must come, or the seat is known and this side greets, too.
    ///
    /// # Errors
    /// When it is no greeting, or of no committee in which this key is served here.
    fn look(&mut self, node: &Node, key: &PublicKey) -> Result<(), Unwelcome> {
        let Some((head, body)) = self.received.split_first_chunk::<HEADER>() else { return Ok(()) };
        let (kind, len) = parse_header(*head).map_err(|e| format!("in the greeting the other side {e}"))?;
        if kind != Kind::Hello {
            return Err(format!("a {kind:?} frame came where the greeting belongs").into());
        }
        if body.len() < len {
            self.received.resize(HEADER + len, 0);
            return Ok(());
        }
        let hello = Hello::decode(body).map_err(|e| format!("the greeting is wrong: {e}"))?;
        let other = |log| Unwelcome { told: crate::lane::OTHER_COMMITTEE.into(), log };
        let seat = node.seat(&hello.committee).ok_or_else(|| other(None))?;
        let unknown = || format!("key {key} is neither a member of committee {} nor in a list", seat.committee.short());
        let caller = seat.admits(key).ok_or_else(|| other(Some(unknown())))?;
        let hello = hello.encode();
        self.send = [&header(Kind::Hello, hello.len())[..], &hello].concat();
        self.seat = Some((seat.clone(), caller));
        Ok(())
    }
}

/// What a caller is called by the list that has its key: people share with one key and ask with another.
fn role(config: &Config, key: &PublicKey) -> &'static str {
    let named = matches!(&config.owners, Admission::Only(keys) if keys.contains(key));
    if named || !config.consumers.admits(key) { "owner" } else { "consumer" }
}

/// Who among the guests (by address, oldest first) makes room for a newcomer, if somebody must.
fn who_leaves(guests: &[IpAddr], newcomer: IpAddr, all: usize, per_address: usize) -> Option<usize> {
    let oldest_of = |address: IpAddr| guests.iter().position(|guest| *guest == address);
    if guests.iter().filter(|guest| **guest == newcomer).count() >= per_address {
        return oldest_of(newcomer);
    }
    if guests.len() < all {
        return None;
    }
    let mut count: HashMap<IpAddr, usize> = HashMap::new();
    guests.iter().for_each(|guest| *count.entry(*guest).or_default() += 1);
    let most = count.values().copied().max()?;
    guests.iter().position(|guest| count[guest] == most)
}

#[cfg(test)]
mod tests;
