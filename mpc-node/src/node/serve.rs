//! One lane from its handshake to its end: reads requests and answers them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::lanes::{Peer, Place};
use super::state::Node;
use crate::lane::{Lane, LaneError};
use crate::meter::Traffic;
use crate::models::ModelError;
use crate::packs::PackError;
use crate::protocol::ProtocolError;
use crate::wire::{Caller, FailCode, Kind, Message};

/// Why a request failed: what the other side is told.
#[derive(Debug)]
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
            ModelError::Refused(_) | ModelError::TooCostly(_) | ModelError::Graph(_) | ModelError::Protocol(_) => {
                FailCode::Refused
            }
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

/// Serves a lane in a thread of its own.
pub(super) fn start(node: &Arc<Node>, lane: Lane, peer: Peer, place: Place) {
    let node = node.clone();
    let name = format!("lane {}", peer.address);
    let serving = move || {
        let who = lane.who().to_owned();
        if let Err(error) = serve(&node, lane, &peer, &place) {
            node.stats.refused.fetch_add(1, Ordering::Relaxed);
            tracing::info!(who, %error, "a connection ended");
        }
    };
    if let Err(error) = std::thread::Builder::new().name(name).spawn(serving) {
        tracing::error!(%error, "cannot start a thread");
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

fn serve(node: &Arc<Node>, mut lane: Lane, peer: &Peer, place: &Place) -> Result<(), LaneError> {
    let timeouts = &node.config.timeouts;
    let caller = node.committee.index_of(&peer.key);
    loop {
        lane.limit(None);
        lane.begin("between requests", Traffic::Setup, timeouts.connect());
        if node.is_stopping() || !place.rest() || !matches!(lane.readable(timeouts.idle()), Ok(true)) || !place.begin()
        {
            return Ok(());
        }
        lane.limit(Some(timeouts.connect()));
        let (kind, payload) = match lane.receive_request(peer.caller) {
            Ok(request) => request,
            Err(error) if error.is_stale() => return Ok(()),
            Err(error) => {
                lane.refuse(FailCode::Refused, &error.to_string());
                return Err(error);
            }
        };
        lane.limit(None);
        if peer.caller == Caller::Consumer {
            std::thread::sleep(node.quotas.request(peer.key, node.uptime()));
        }
        if matches!(kind, Kind::Run | Kind::AskJob | Kind::OpenJob) {
            node.wait_until_stocked();
        }
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
        return super::meeting::lend(node, lane, caller, payload);
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
        Kind::HandBack => super::stock::take_back(node, lane, caller, lane_message(lane, payload)?),
        Kind::Reclaim => super::stock::give_out(node, lane, caller, lane_message(lane, payload)?),
        Kind::AskJob => super::meeting::answer(node, lane, caller, lane_message(lane, payload)?),
        Kind::Run => super::jobs::run(node, lane, lane_message(lane, payload)?),
        other => super::sharings::answer(node, lane, caller, other, payload)
            .unwrap_or_else(|| Err(own(lane.unexpected(other, payload.len())))),
    }
}

fn lane_message<M: Message>(lane: &Lane, payload: &[u8]) -> Result<M, Trouble> {
    lane.decode(payload).map_err(own)
}
