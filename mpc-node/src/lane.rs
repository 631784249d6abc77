//! A lane: one persistent connection, over TCP or QUIC, that carries one request at a time, as frames.
//!
//! Every error says who failed and in which step, because that line travels to the consumer ([`LaneError::told`]).

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use sahara_circuits::bytes::DecodeError;
use sahara_protocol::ring::secret::Secret;
use thiserror::Error;

use crate::address::{Address, Carrier};
use crate::channel::{Channel, ChannelError, Patience, Until};
use crate::committee::Committee;
use crate::identity::{Identity, PublicKey};
use crate::meter::{Meter, Traffic};
use crate::wire::{
    CHUNK, Caller, Fail, FailCode, FrameError, HEADER, Hello, Kind, MAX_REQUEST, Message, header, parse_header,
};

/// What both sides say when their committees differ.
pub(crate) const OTHER_COMMITTEE: &str =
    "the committee files of both sides differ (compare the three keys and their order)";

/// Bulk data that is only passed on is in memory by so many bytes at a time, whatever its chunks.
pub const PORTION: usize = 64 << 10;

/// Why a lane failed.
#[derive(Debug, Error)]
pub enum LaneError {
    /// No connection at all.
    #[error("cannot connect to {who}: {source}")]
    Connect {
        /// The other side.
        who: String,
        /// Why.
        source: std::io::Error,
    },
    /// The connection failed.
    #[error("{who} {source}, {step}")]
    Channel {
        /// The other side.
        who: String,
        /// What was being done.
        step: String,
        /// Why.
        source: ChannelError,
    },
    /// A frame outside the language.
    #[error("{who} {source}, {step}")]
    Frame {
        /// The other side.
        who: String,
        /// What was being done.
        step: String,
        /// Why.
        source: FrameError,
    },
    /// A payload that does not have its form.
    #[error("{who} sent a wrong message, {step}: {source}")]
    Decode {
        /// The other side.
        who: String,
        /// What was being done.
        step: String,
        /// Why.
        source: DecodeError,
    },
    /// Another frame than the step asks for.
    #[error("{who} sent a {got:?} frame of {len} bytes, {step}, which does not belong there")]
    Unexpected {
        /// The other side.
        who: String,
        /// What was being done.
        step: String,
        /// What came.
        got: Kind,
        /// How long it was.
        len: usize,
    },
    /// The other side reports a failure.
    #[error("{who} says: {}", fail.text)]
    Failed {
        /// The other side.
        who: String,
        /// What it reports.
        fail: Fail,
    },
}

impl LaneError {
    /// The failure that the other side reported, if that is what happened.
    pub fn fail(&self) -> Option<&Fail> {
        match self {
            Self::Failed { fail, .. } => Some(fail),
            _ => None,
        }
    }

    /// What others are told: the error without what this machine's operating system says.
    pub fn told(&self) -> String {
        match self {
            Self::Connect { who, .. } => format!("cannot connect to {who}"),
            Self::Channel { who, step, source: ChannelError::Io(_) } => {
                format!("{who} cannot be reached any more, {step}")
            }
            other => other.to_string(),
        }
    }

    /// Whether the connection was already gone, so that a fresh one may be tried.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Channel { source: ChannelError::Closed, .. })
    }
}

/// One end of a lane.
pub struct Lane {
    channel: Channel,
    who: String,
    step: String,
    timeout: Duration,
    meter: Arc<Meter>,
    traffic: Traffic,
    counted: (u64, u64),
}

impl Lane {
    /// Connects to member `index` of the committee; all that together may take `timeout`.
    ///
    /// # Errors
    /// When nobody answers at the address in that time, another key than the committee's does, this key is not let
    /// in, or the other side has another committee or version.
    pub fn connect(
        identity: &Identity,
        committee: &Committee,
        index: u8,
        timeout: Duration,
        meter: Arc<Meter>,
    ) -> Result<Self, LaneError> {
        let end = Instant::now() + timeout;
        let left = || end.saturating_duration_since(Instant::now());
        let who = committee.label(index);
        let cannot = |source| LaneError::Connect { who: who.clone(), source };
        let nobody = || cannot(std::io::Error::new(std::io::ErrorKind::NotFound, "the committee has no such node"));
        let member = committee.member(index).ok_or_else(nobody)?;
        let unreadable = |why| cannot(std::io::Error::new(std::io::ErrorKind::InvalidInput, why));
        let address = Address::parse(&member.address).map_err(unreadable)?;
        let shaken = match address.carrier {
            Carrier::Tls => {
                let tcp = crate::dial::dial(address.place, timeout).map_err(cannot)?;
                crate::tls::client_config(identity, member.key)
                    .map_err(ChannelError::from)
                    .and_then(|config| Channel::connect(tcp, config, left()))
            }
            Carrier::Quic => {
                let addresses = crate::dial::resolve(address.place).map_err(cannot)?;
                match Channel::connect_quic(identity, member.key, addresses, left()) {
                    Err(ChannelError::TimedOut(_)) => {
                        let text = "nothing answers over QUIC (UDP)";
                        return Err(cannot(std::io::Error::new(std::io::ErrorKind::TimedOut, text)));
                    }
                    shaken => shaken,
                }
            }
        };
        let mut channel = shaken.map_err(|source| LaneError::Channel {
            who: who.clone(),
            step: "in the handshake".into(),
            source,
        })?;
        channel.widen();
        let mut lane = Self::greet(channel, who, committee, left(), meter)?;
        lane.limit(Some(left()));
        lane.receive_hello(committee)?;
        lane.limit(None);
        Ok(lane)
    }

    /// Greets a side that has connected to this one.
    ///
    /// # Errors
    /// When the other side does not greet in that time, or has another committee or version.
    pub fn accept(
        channel: Channel,
        who: String,
        committee: &Committee,
        timeout: Duration,
        meter: Arc<Meter>,
    ) -> Result<Self, LaneError> {
        let mut lane = Self::greet(channel, who, committee, timeout, meter)?;
        lane.receive_hello(committee)?;
        Ok(lane)
    }

    /// A lane on which both sides have greeted.
    pub(crate) fn greeted(channel: Channel, who: String, timeout: Duration, meter: Arc<Meter>) -> Self {
        let step = "between requests".into();
        Self { channel, who, step, timeout, meter, traffic: Traffic::Setup, counted: (0, 0) }
    }

    fn greet(
        channel: Channel,
        who: String,
        committee: &Committee,
        timeout: Duration,
        meter: Arc<Meter>,
    ) -> Result<Self, LaneError> {
        let step = "in the greeting".into();
        let mut lane = Self { channel, who, step, timeout, meter, traffic: Traffic::Setup, counted: (0, 0) };
        lane.send(&Hello { committee: committee.digest() })?;
        Ok(lane)
    }

    fn receive_hello(&mut self, committee: &Committee) -> Result<(), LaneError> {
        let hello: Hello = self.receive()?;
        if hello.committee == committee.digest() {
            return Ok(());
        }
        let text = OTHER_COMMITTEE;
        self.refuse(FailCode::Refused, text);
        Err(LaneError::Failed { who: self.who.clone(), fail: Fail { code: FailCode::Refused, text: text.into() } })
    }

    /// The key of the other side.
    pub fn peer(&self) -> PublicKey {
        self.channel.peer()
    }

    /// How errors call the other side.
    pub fn who(&self) -> &str {
        &self.who
    }

    /// Begins a step: what errors say from now on, for which purpose bytes count, how long each frame (or stream of chunks)
    /// may take besides what its bytes take at [`crate::channel::SLOWEST`].
    pub fn begin(&mut self, step: impl Into<String>, traffic: Traffic, timeout: Duration) {
        self.count();
        self.step = step.into();
        self.traffic = traffic;
        self.timeout = timeout;
    }

    /// Begins a step whose bytes began with the request just received.
    pub fn enter(&mut self, step: impl Into<String>, traffic: Traffic, timeout: Duration) {
        self.step = step.into();
        self.traffic = traffic;
        self.timeout = timeout;
    }

    /// Bounds everything until the next call by one deadline from now, which no arriving byte renews; `None` lifts it.
    pub fn limit(&mut self, time: Option<Duration>) {
        self.channel.set_limit(time.map(|time| Instant::now() + time));
    }

    /// From now on sending and receiving may take `grace` in all, and what so many bytes a second take for what has crossed.
    /// `None` lifts it.
    pub fn pace(&mut self, pace: Option<(Duration, u64)>) {
        self.channel.set_pace(pace);
    }

    /// What is left of the time that [`Lane::pace`] gave.
    pub fn pace_left(&self) -> Option<Duration> {
        self.channel.pace_left()
    }

    /// From now on whatever is sent and received ends soon after the flag is set; `None` lifts it.
    pub fn stop_with(&mut self, stop: Option<Arc<AtomicBool>>) {
        self.channel.set_stop(stop);
    }

    /// Renames the step.
    pub fn set_step(&mut self, step: impl FnOnce(&mut String)) {
        self.step.clear();
        step(&mut self.step);
    }

    /// Adds the bytes since the last call to the meter.
    pub fn count(&mut self) {
        let now = (self.channel.sent(), self.channel.received());
        self.meter.add(self.traffic, now.0 - self.counted.0, now.1 - self.counted.1);
        self.counted = now;
    }

    /// Bytes sent and received on the wire so far.
    pub fn bytes(&self) -> (u64, u64) {
        (self.channel.sent(), self.channel.received())
    }

    /// Whether the idle lane can carry another request.
    pub fn is_idle(&mut self) -> bool {
        self.channel.is_idle()
    }

    /// Waits at most `time` for the other side to say something (or to hang up).
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn readable(&mut self, time: Duration) -> Result<bool, LaneError> {
        self.channel.readable(time).map_err(|source| self.channel_error(source))
    }

    /// Whether the other side has closed the connection, whatever it has sent before.
    pub fn has_hung_up(&self) -> bool {
        self.channel.has_hung_up()
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the other side does not take it in time, or has gone.
    pub fn send<M: Message>(&mut self, message: &M) -> Result<(), LaneError> {
        let payload = Secret::from(message.encode());
        self.send_frame(M::KIND, &payload)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// When the other side does not take it in time, or has gone.
    pub fn send_frame(&mut self, kind: Kind, payload: &[u8]) -> Result<(), LaneError> {
        self.channel
            .send_all([&header(kind, payload.len()), payload], self.timeout)
            .map_err(|source| self.channel_error(source))
    }

    /// Receives a message.
    ///
    /// # Errors
    /// When nothing comes in time, the frame is of another kind or too long, or it reports a failure.
    pub fn receive<M: Message>(&mut self) -> Result<M, LaneError> {
        let payload = self.receive_frame(M::KIND)?;
        self.decode(&payload)
    }

    /// Decodes a payload that came over this lane.
    ///
    /// # Errors
    /// When the payload is not such a message.
    pub fn decode<M: Message>(&self, payload: &[u8]) -> Result<M, LaneError> {
        M::decode(payload).map_err(|source| LaneError::Decode {
            who: self.who.clone(),
            step: self.step.clone(),
            source,
        })
    }

    /// Receives a frame of one kind; a failure report becomes an error.
    ///
    /// # Errors
    /// When nothing comes in time, the frame is of another kind or too long, or it reports a failure.
    pub fn receive_frame(&mut self, kind: Kind) -> Result<Secret<u8>, LaneError> {
        Ok(self.receive_one_of(&[kind])?.1)
    }

    /// Receives a frame of one of these kinds; a failure report becomes an error. Any other frame is refused before
    /// anything is allocated for it.
    ///
    /// # Errors
    /// When nothing comes in time, the frame is of another kind or too long, or it reports a failure.
    pub fn receive_one_of(&mut self, kinds: &[Kind]) -> Result<(Kind, Secret<u8>), LaneError> {
        self.receive_if(|kind, _| kinds.contains(&kind))
    }

    /// Receives the frame that begins a request of this caller.
    ///
    /// # Errors
    /// When nothing comes in time, or it is no request that this caller may make.
    pub fn receive_request(&mut self, caller: Caller) -> Result<(Kind, Secret<u8>), LaneError> {
        self.receive_if(|kind, len| kind.may_ask(caller) && len <= MAX_REQUEST)
    }

    fn receive_if(&mut self, accept: impl Fn(Kind, usize) -> bool) -> Result<(Kind, Secret<u8>), LaneError> {
        let mut patience = Patience::new(self.timeout);
        let (kind, len) = self.receive_header(&mut patience)?;
        if !accept(kind, len) {
            return Err(self.unexpected(kind, len));
        }
        let mut payload = Secret::from(vec![0; len]);
        self.fill(&mut payload, &mut patience)?;
        Ok((kind, payload))
    }

    /// Receives the header of a frame of one kind and of exactly this length; [`Lane::receive_payload`] goes on.
    ///
    /// # Errors
    /// When nothing comes in time, the kind or the length is another, or it reports a failure.
    pub fn receive_header_of(&mut self, kind: Kind, expected: usize) -> Result<(), LaneError> {
        let (got, len) = self.receive_header(&mut Patience::new(self.timeout))?;
        if got != kind || len != expected {
            return Err(self.unexpected(got, len));
        }
        Ok(())
    }

    /// Receives the payload of a frame whose header has come.
    ///
    /// # Errors
    /// When it does not come in time, or the other side has gone.
    pub fn receive_payload(&mut self, len: usize) -> Result<Secret<u8>, LaneError> {
        let mut payload = Secret::from(vec![0; len]);
        self.fill(&mut payload, &mut Patience::new(self.timeout))?;
        Ok(payload)
    }

    /// Sends bulk data in chunks.
    ///
    /// # Errors
    /// When the other side does not take it in time, or has gone.
    pub fn send_stream(&mut self, bytes: &[u8]) -> Result<(), LaneError> {
        bytes.chunks(CHUNK).try_for_each(|chunk| self.send_frame(Kind::Chunk, chunk))
    }

    /// Receives exactly `len` bytes of bulk data. `len` has been checked against a limit by the caller.
    ///
    /// # Errors
    /// When it does not come in time, or the other side has gone.
    pub fn receive_stream(&mut self, len: usize) -> Result<Vec<u8>, LaneError> {
        // Memory of this size is claimed by the system only as it is written.
        let mut bytes = vec![0; len];
        self.receive_stream_into(&mut bytes, &mut |_| ())?;
        Ok(bytes)
    }

    /// Fills `bytes` with bulk data, each chunk shown to `each` as it comes: a hash reads it while it is still in the
    /// cache.
    ///
    /// # Errors
    /// When it does not come in time, or the other side has gone.
    pub fn receive_stream_into(&mut self, bytes: &mut [u8], each: &mut dyn FnMut(&[u8])) -> Result<(), LaneError> {
        let mut rest = bytes;
        let mut patience = Patience::new(self.timeout);
        while !rest.is_empty() {
            let (kind, n) = self.receive_header(&mut patience)?;
            if kind != Kind::Chunk || n == 0 || n > rest.len() {
                return Err(self.unexpected(kind, n));
            }
            let (chunk, after) = rest.split_at_mut(n);
            self.fill(chunk, &mut patience)?;
            each(chunk);
            rest = after;
        }
        Ok(())
    }

    /// Receives exactly `len` bytes of bulk data, a portion at a time; ends early when `take` has had enough.
    ///
    /// # Errors
    /// When it does not come in time, or the other side has gone.
    pub fn receive_chunks(&mut self, len: u64, take: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), LaneError> {
        let mut left = len;
        let mut portion = zeroize::Zeroizing::new(vec![0; PORTION.min(len as usize)]);
        let mut patience = Patience::new(self.timeout);
        while left > 0 {
            let (kind, n) = self.receive_header(&mut patience)?;
            if kind != Kind::Chunk || n == 0 || n as u64 > left {
                return Err(self.unexpected(kind, n));
            }
            for start in (0..n).step_by(PORTION) {
                let part = &mut portion[..PORTION.min(n - start)];
                self.fill(part, &mut patience)?;
                if !take(part) {
                    return Ok(());
                }
            }
            left -= n as u64;
        }
        Ok(())
    }

    /// One round: sends a frame and receives one of exactly the same length, both at the same time. With a `front`,
    /// both frames begin with as many bytes more, and the other side's are given, too.
    ///
    /// # Errors
    /// When the other side does not take or send its frame in time, or sends one of another length or kind.
    pub fn exchange(&mut self, front: Option<&[u8; 64]>, send: &[u8]) -> Result<([u8; 64], Secret<u8>), LaneError> {
        let front_len = front.map_or(0, |front| front.len());
        let mut head = [0; HEADER + 64];
        head[..HEADER].copy_from_slice(&header(Kind::Round, front_len + send.len()));
        if let Some(front) = front {
            head[HEADER..].copy_from_slice(front);
        }
        let head = &head[..HEADER + front_len];
        let (mut position, mut got, mut theirs) = (0, [0; HEADER], [0; 64]);
        let mut patience = Patience::new(self.timeout);
        self.pump([head, send], &mut position, &mut got, Until::Received, &mut patience)?;
        let (kind, len) = self.check_header(got, &mut patience)?;
        if kind != Kind::Round || len != front_len + send.len() {
            return Err(self.unexpected(kind, len));
        }
        if front.is_some() {
            self.pump([head, send], &mut position, &mut theirs, Until::Received, &mut patience)?;
        }
        let mut receive = Secret::from(vec![0; send.len()]);
        self.pump([head, send], &mut position, &mut receive, Until::Both, &mut patience)?;
        Ok((theirs, receive))
    }

    /// Reports a failure to the other side before giving up the lane. Best effort.
    pub fn refuse(&mut self, code: FailCode, text: &str) {
        self.timeout = Duration::from_millis(500);
        self.limit(Some(self.timeout));
        self.pace(None);
        let _ = self.send(&Fail { code, text: text.into() });
        // Unread data would make the system reset the connection and throw the report away.
        let end = Instant::now() + Duration::from_millis(200);
        let mut sink = vec![0; 64 << 10];
        while Instant::now() < end && self.channel.receive_exact(&mut sink, Duration::from_millis(50)).is_ok() {}
        self.count();
    }

    fn receive_header(&mut self, patience: &mut Patience) -> Result<(Kind, usize), LaneError> {
        let mut head = [0; HEADER];
        self.fill(&mut head, patience)?;
        self.check_header(head, patience)
    }

    fn check_header(&mut self, head: [u8; HEADER], patience: &mut Patience) -> Result<(Kind, usize), LaneError> {
        let (kind, len) = parse_header(head).map_err(|source| LaneError::Frame {
            who: self.who.clone(),
            step: self.step.clone(),
            source,
        })?;
        if kind == Kind::Fail {
            let mut payload = vec![0; len];
            self.fill(&mut payload, patience)?;
            return Err(LaneError::Failed { who: self.who.clone(), fail: self.decode(&payload)? });
        }
        Ok((kind, len))
    }

    fn fill(&mut self, bytes: &mut [u8], patience: &mut Patience) -> Result<(), LaneError> {
        self.pump([&[], &[]], &mut 0, bytes, Until::Received, patience)
    }

    fn pump(
        &mut self,
        parts: [&[u8]; 2],
        position: &mut usize,
        receive: &mut [u8],
        until: Until,
        patience: &mut Patience,
    ) -> Result<(), LaneError> {
        self.channel
            .pump(parts, position, receive, &mut 0, until, patience)
            .map_err(|source| self.channel_error(source))
    }

    fn channel_error(&self, source: ChannelError) -> LaneError {
        LaneError::Channel { who: self.who.clone(), step: self.step.clone(), source }
    }

    /// The error for a frame that does not belong to the step.
    pub fn unexpected(&self, got: Kind, len: usize) -> LaneError {
        LaneError::Unexpected { who: self.who.clone(), step: self.step.clone(), got, len }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.count();
    }
}
