//! The share node: accepts lanes, keeps models and packs, deals as helper, evaluates as one of two.
//!
//! One thread serves all connections whose key is not known yet (the door); then each lane has a thread, and a job runs
//! from its first to its last round in one thread: a round trip wakes nobody else. Tokio only serves metrics and waits for
//! the end.
//!
//! A node may serve several committees. What it has once and what protects it is its `machine`; what belongs to a committee is a
//! `seat`, which each lane's greeting chooses.

mod ahead;
mod catching;
mod dealing;
mod door;
mod error;
mod jobs;
mod kept;
mod lanes;
mod machine;
mod making;
mod meeting;
mod metrics;
mod open_rounds;
mod patience;
mod paying;
mod presenting;
mod quota;
mod refilling;
mod refusal;
mod rounds;
mod seat;
mod serve;
mod sharings;
mod slots;
mod state;
mod stock;
#[cfg(test)]
mod trial;
mod waiting;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use crate::channel::quic::{ListenError, Listening};
use crate::config::Config;
use crate::market::Market;
pub use error::NodeError;
use seat::Seat;
use state::Node;
pub use state::Node as NodeState;

/// Runs a node until `shutdown` resolves; running jobs then get `timeouts.shutdown` to end.
///
/// # Errors
/// When the node cannot begin: its configuration, key, committee or files cannot be used, or its address cannot be
/// had.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), NodeError> {
    run_with(config, None, shutdown).await
}

/// As [`run`]; sharings whose access rule is a chain's are served to whom `market` calls licensed.
///
/// # Errors
/// As there, and when the configuration names a market and there is none.
pub async fn run_with(
    config: Config,
    market: Option<Arc<dyn Market>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), NodeError> {
    let (node, found) = Node::open(config, market)?;
    let node = Arc::new(node);
    let machine = &node.machine;
    let listener = listen(machine.config.listen, "listen").await?;
    let metrics = match machine.config.metrics {
        Some(address) => Some(listen(address, "metrics").await?),
        None => None,
    };
    let server = crate::tls::server_config(&machine.identity, node.admission())?;
    let (quic, knocking) = match machine.config.listen_quic {
        Some(address) => {
            let bound =
                Listening::bind(address, &machine.identity, node.admission(), machine.config.most_connections());
            let (quic, knocking) = bound.map_err(|error| match error {
                ListenError::Socket(source) => NodeError::Listen { address, what: "listen_quic", source },
                ListenError::Tls(error) => NodeError::Tls(error),
            })?;
            (Some(quic), Some(knocking))
        }
        None => (None, None),
    };
    for seat in &node.seats {
        tracing::info!(
            node = seat.index + 1,
            committee = %seat.committee.short(),
            key = %machine.identity.public(),
            listen = %machine.config.listen,
            listen_quic = machine.config.listen_quic.map(tracing::field::display),
            metrics = machine.config.metrics.map(tracing::field::display),
            "ready"
        );
    }
    let metrics = metrics.map(|listener| tokio::spawn(metrics::serve(listener, node.clone())));
    let (stop, stopped) = UnixStream::pair().map_err(NodeError::Door)?;
    let listener = listener.into_std().map_err(NodeError::Door)?;
    let door_node = node.clone();
    let mut door =
        tokio::task::spawn_blocking(move || door::serve(&door_node, &listener, &server, knocking.as_ref(), &stopped));
    for (seat, found) in found {
        tokio::task::spawn_blocking(move || {
            let _span = seat.span().entered();
            stock::reclaim(&seat, &found);
            seat.stocked();
        });
    }
    let mut chores = tokio::time::interval(machine.config.timeouts.pack().clamp(Duration::from_secs(1), CHORES));
    tokio::pin!(shutdown);
    let failed = loop {
        tokio::select! {
            () = &mut shutdown => break None,
            ended = &mut door => break Some(ended),
            _ = chores.tick() => node.seats.iter().for_each(|seat| expire(seat)),
        }
    };
    machine.stopping.store(true, Ordering::Relaxed);
    drop(stop);
    let ended = match failed {
        Some(ended) => ended,
        None => door.await,
    };
    ended.map_err(io::Error::other).flatten().map_err(NodeError::Door)?;
    machine.lanes.close_idle();
    let running = |seat: &Arc<Seat>| seat.stats.running.load(Ordering::Relaxed);
    tracing::info!(running = node.seats.iter().map(running).sum::<u32>(), "stopping");
    let end = Instant::now() + machine.config.timeouts.shutdown();
    while machine.busy.load(Ordering::Relaxed) > 0 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Idle lanes end by themselves within a moment; then the home is free for the next start.
    let end = Instant::now() + Duration::from_millis(500);
    while machine.lanes.len() > 0 && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stopping = node.clone();
    let hand_back = move || stock::hand_back_all(&stopping.seats);
    let spilled = tokio::task::spawn_blocking(hand_back).await.map_err(io::Error::other);
    let spilled = spilled.map_err(NodeError::Door)??;
    if let Some(quic) = quic {
        quic.end().await;
    }
    if let Some(task) = metrics {
        task.abort();
        let _ = task.await; // frees the port
    }
    // A process with much memory takes a while to vanish: whoever waits for it may start the next one meanwhile.
    machine.unlock();
    tracing::info!(packs_written = spilled, "stopped");
    Ok(())
}

/// How seldom old packs are looked for at most.
const CHORES: Duration = Duration::from_secs(10);

/// Destroys packs that no job has taken for long, and what was sent for rounds that nobody closes.
fn expire(seat: &Seat) {
    let _span = seat.span().entered();
    seat.rounds.expire(seat.machine.uptime());
    match seat.packs.expire(seat.machine.config.timeouts.pack(), Instant::now()) {
        Ok(0) => {}
        Ok(packs) => tracing::info!(packs, "packs that nobody asked for are destroyed"),
        Err(error) => tracing::warn!(%error, "old packs could not be destroyed"),
    }
}

async fn listen(address: SocketAddr, what: &'static str) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).await.map_err(|source| NodeError::Listen { address, what, source })
}
