//! One lane from its handshake to its end: reads requests and answers them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::net::TcpStream;

use super::state::{Node, Stats};
use crate::channel::Channel;
use crate::lane::{Lane, LaneError};
use crate::meter::Traffic;
use crate::models::ModelError;
use crate::packs::PackError;
use crate::protocol::ProtocolError;
use crate::wire::{FailCode, Kind, Message};

/// How often an idle lane looks whether the node is stopping.
pub(super) const LOOK: Duration = Duration::from_millis(250);

/// Lanes kept free for the other nodes of the committee.
const MEMBER_LANES: u32 = 64;

/// Why a request failed: what the other side is told.
pub(super) struct Refusal {
    pub(super) code: FailCode,
    pub(super) text: String,
}

impl Refusal {
    pub(super) fn new(code: FailCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// What ends a request early.
pub(super) enum Trouble {
    /// The other side is told why.
    Refusal(Refusal),
    /// The lane itself is gone or unusable.
    Lane(LaneError),
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

impl From<ModelError> for Trouble {
    fn from(error: ModelError) -> Self {
        let code = match &error {
            ModelError::Missing(_) => FailCode::NoModel,
            ModelError::Refused(_) | ModelError::Graph(_) | ModelError::Protocol(_) => FailCode::Refused,
            ModelError::Io { .. } | ModelError::Damaged { .. } => FailCode::Internal,
        };
        Refusal::new(code, error.to_string()).into()
    }
}

impl From<PackError> for Trouble {
    fn from(error: PackError) -> Self {
        let code = if matches!(error, PackError::Full(_)) { FailCode::Refused } else { FailCode::Internal };
        Refusal::new(code, error.to_string()).into()
    }
}

impl From<ProtocolError> for Trouble {
    fn from(error: ProtocolError) -> Self {
        Refusal::new(FailCode::Internal, error.to_string()).into()
    }
}

/// Trouble with the lane that carries the request itself.
pub(super) fn own(error: LaneError) -> Trouble {
    Trouble::Lane(error)
}

/// Trouble with another node, reported to whoever asked.
pub(super) fn peer(error: LaneError) -> Trouble {
    Refusal::new(FailCode::Peer, error.to_string()).into()
}

/// Serves a new connection in a thread of its own.
pub(super) fn start(node: &Arc<Node>, tcp: TcpStream, from: SocketAddr, config: Arc<ServerConfig>) {
    // Who connects is known only after the handshake: the other nodes must get in when consumers fill all lanes.
    let limit = node.config.limits.lanes.saturating_add(MEMBER_LANES);
    let Some(count) = Count::new(node, |stats| &stats.lanes, limit) else {
        tracing::warn!(%from, "too many connections, one is dropped");
        return;
    };
    let serving = move || {
        let node = &count.node;
        if let Err(error) = serve(node, tcp, from, config) {
            node.stats.refused.fetch_add(1, Ordering::Relaxed);
            tracing::info!(%from, %error, "a connection ended");
        }
    };
    if let Err(error) = std::thread::Builder::new().name(format!("lane {from}")).spawn(serving) {
        tracing::error!(%error, "cannot start a thread");
    }
}

/// Counts a connection until it is dropped, also when its thread panics.
struct Count {
    node: Arc<Node>,
    counter: fn(&Stats) -> &AtomicU32,
}

impl Count {
    /// One more, unless there are `limit` already.
    fn new(node: &Arc<Node>, counter: fn(&Stats) -> &AtomicU32, limit: u32) -> Option<Self> {
        let one_more = |n| (n < limit).then_some(n + 1);
        counter(&node.stats).fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self { node: node.clone(), counter })
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        (self.counter)(&self.node.stats).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a request being worked on.
struct Busy<'a>(&'a Node);

impl<'a> Busy<'a> {
    fn new(node: &'a Node) -> Self {
        node.stats.busy.fetch_add(1, Ordering::Relaxed);
        Self(node)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.stats.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve(node: &Arc<Node>, tcp: TcpStream, from: SocketAddr, config: Arc<ServerConfig>) -> Result<(), LaneError> {
    let timeouts = &node.config.timeouts;
    let step = || "in the handshake".to_owned();
    let tls = |source| LaneError::Channel { who: from.to_string(), step: step(), source };
    let tcp = tcp.into_std().map_err(|e| tls(e.into()))?;
    let channel = Channel::accept(tcp, config, timeouts.connect()).map_err(tls)?;
    let caller = node.committee.index_of(&channel.peer());
    let who = match caller {
        Some(index) => node.committee.label(index),
        None => format!("consumer {:.8} ({from})", channel.peer().to_string()),
    };
    let mut lane = Lane::accept(channel, who, &node.committee, timeouts.connect(), node.meter.clone())?;
    let _consumer = match caller {
        Some(_) => None,
        None => match Count::new(node, |stats| &stats.consumers, node.config.limits.lanes) {
            Some(count) => Some(count),
            None => {
                lane.refuse(FailCode::Busy, "this node has as many connections as it may have, try again");
                return Ok(());
            }
        },
    };
    let mut idle_since = Instant::now();
    loop {
        lane.begin("between requests", Traffic::Setup, timeouts.request());
        match lane.readable(LOOK) {
            Ok(true) => {}
            Ok(false) if node.is_stopping() || idle_since.elapsed() > timeouts.idle() => return Ok(()),
            Ok(false) => continue,
            Err(_) => return Ok(()),
        }
        let (kind, payload) = match lane.receive_any() {
            Ok(request) => request,
            Err(error) if error.is_stale() => return Ok(()),
            Err(error) => {
                lane.refuse(FailCode::Refused, &error.to_string());
                return Err(error);
            }
        };
        let busy = Busy::new(node);
        let result = if node.is_stopping() {
            Err(Ended::new(Some(lane), Refusal::new(FailCode::Stopping, "this node is shutting down")))
        } else {
            request(node, lane, caller, kind, &payload)
        };
        drop(busy);
        lane = match result {
            Ok(lane) => lane,
            Err(ended) => return end(node, ended.lane, ended.trouble),
        };
        idle_since = Instant::now();
    }
}

/// A request that failed, with the lane it came on (if that still exists).
pub(super) struct Ended {
    lane: Option<Lane>,
    trouble: Trouble,
}

impl Ended {
    pub(super) fn new(lane: Option<Lane>, trouble: impl Into<Trouble>) -> Box<Self> {
        Box::new(Self { lane, trouble: trouble.into() })
    }
}

fn end(node: &Node, lane: Option<Lane>, trouble: Trouble) -> Result<(), LaneError> {
    match (lane, trouble) {
        (Some(mut lane), Trouble::Refusal(Refusal { code, text })) => {
            node.stats.refused.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(to = lane.who(), ?code, %text, "a request failed");
            lane.refuse(code, &text);
            Ok(())
        }
        (None, Trouble::Refusal(Refusal { code, text })) => {
            tracing::warn!(?code, %text, "a request failed");
            Ok(())
        }
        (Some(mut lane), Trouble::Lane(error)) => {
            lane.refuse(FailCode::Refused, &error.to_string());
            Err(error)
        }
        (None, Trouble::Lane(error)) => Err(error),
    }
}

/// Answers one request; gives the lane back for the next.
fn request(
    node: &Arc<Node>,
    mut lane: Lane,
    caller: Option<u8>,
    kind: Kind,
    payload: &[u8],
) -> Result<Lane, Box<Ended>> {
    if kind == Kind::OpenJob {
        // The job's own thread borrows the lane.
        return super::jobs::lend(node, lane, caller, payload);
    }
    match answer(node, &mut lane, caller, kind, payload) {
        Ok(()) => Ok(lane),
        Err(trouble) => Err(Ended::new(Some(lane), trouble)),
    }
}

fn answer(node: &Arc<Node>, lane: &mut Lane, caller: Option<u8>, kind: Kind, payload: &[u8]) -> Result<(), Trouble> {
    match kind {
        Kind::Status => lane.send(&node.status_for(caller.is_none().then(|| lane.peer()))).map_err(own),
        Kind::Prepare => super::dealing::prepare(node, lane, caller, lane_message(lane, payload)?),
        Kind::Deal => super::dealing::receive(node, lane, caller, lane_message(lane, payload)?),
        Kind::Run => super::jobs::run(node, lane, lane_message(lane, payload)?),
        other => super::sharings::answer(node, lane, caller, other, payload)
            .unwrap_or_else(|| Err(own(lane.unexpected(other, payload.len())))),
    }
}

fn lane_message<M: Message>(lane: &Lane, payload: &[u8]) -> Result<M, Trouble> {
    lane.decode(payload).map_err(own)
}
