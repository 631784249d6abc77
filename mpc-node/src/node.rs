//! The share node: accepts lanes, keeps models and packs, deals as helper, evaluates as one of two.
//!
//! One thread serves all connections whose key is not known yet (the door); then each lane has a thread, and a job runs
//! from its first to its last round in one thread: a round trip wakes nobody else. Tokio only serves metrics and waits for
//! the end.
//!
//! A node may serve several committees. What it has once and what protects it is its `machine`; what belongs to a committee is a
//! `seat`, which each lane's greeting chooses.

mod ahead;
mod dealing;
mod door;
mod jobs;
mod lanes;
mod machine;
mod making;
mod meeting;
mod quota;
mod seat;
mod serve;
mod sharings;
mod slots;
mod state;
mod stock;
#[cfg(test)]
mod trial;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::net::TcpListener;

use crate::committee::NoProtocol;
use crate::config::{Config, ConfigError};
use crate::identity::PublicKey;
use crate::models::ModelError;
use crate::packs::PackError;
use seat::Seat;
use state::Node;

/// Why a node cannot run.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The configuration, the key or the committee file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The key is not in the committee file.
    #[error("this node's key {key} is not in {}: add it, or use the key file that belongs to the committee", committee.display())]
    NotAMember {
        /// This node's key.
        key: PublicKey,
        /// The committee file.
        committee: PathBuf,
    },
    /// The committee is of a kind that this version does not compute with.
    #[error("{}: {source}", committee.display())]
    NoProtocol {
        /// The committee file.
        committee: PathBuf,
        /// Which kind.
        source: NoProtocol,
    },
    /// The address is taken or not of this machine.
    #[error("cannot listen on {address} ({what}): {source}{}", port_advice(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// `listen` or `metrics` in the configuration.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Another process uses the home.
    #[error("another node runs with the home {}: stop it first", .0.display())]
    Locked(PathBuf),
    /// The home directory.
    #[error("cannot use the home {}: {source}", path.display())]
    Home {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The packs on disk.
    #[error(transparent)]
    Packs(#[from] PackError),
    /// The models on disk.
    #[error(transparent)]
    Models(#[from] ModelError),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// The thread that accepts connections.
    #[error("cannot accept connections: {0}")]
    Door(io::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

fn port_advice(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "; stop what uses the port (see `ss -ltnp`) or choose another",
        std::io::ErrorKind::AddrNotAvailable => "; the address does not belong to this machine",
        std::io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges, choose another",
        _ => "",
    }
}

/// Runs a node until `shutdown` resolves; running jobs then get `timeouts.shutdown` to end.
///
/// # Errors
/// When the node cannot begin: its configuration, key, committee or files cannot be used, or its address cannot be
/// had.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), NodeError> {
    let (node, found) = Node::open(config)?;
    let node = Arc::new(node);
    let machine = &node.machine;
    let listener = listen(machine.config.listen, "listen").await?;
    let metrics = match machine.config.metrics {
        Some(address) => Some(listen(address, "metrics").await?),
        None => None,
    };
    let server = crate::tls::server_config(&machine.identity, node.admission())?;
    for seat in &node.seats {
        tracing::info!(
            node = seat.index + 1,
            committee = %seat.committee.short(),
            key = %machine.identity.public(),
            listen = %machine.config.listen,
            metrics = machine.config.metrics.map(tracing::field::display),
            "ready"
        );
    }
    let metrics = metrics.map(|listener| tokio::spawn(crate::metrics::serve(listener, node.clone())));
    let (stop, stopped) = UnixStream::pair().map_err(NodeError::Door)?;
    let listener = listener.into_std().map_err(NodeError::Door)?;
    let door_node = node.clone();
    let mut door = tokio::task::spawn_blocking(move || door::serve(&door_node, &listener, &server, &stopped));
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

/// Destroys packs that no job has taken for long.
fn expire(seat: &Seat) {
    let _span = seat.span().entered();
    match seat.packs.expire(seat.machine.config.timeouts.pack(), Instant::now()) {
        Ok(0) => {}
        Ok(packs) => tracing::info!(packs, "packs that nobody asked for are destroyed"),
        Err(error) => tracing::warn!(%error, "old packs could not be destroyed"),
    }
}

async fn listen(address: SocketAddr, what: &'static str) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).await.map_err(|source| NodeError::Listen { address, what, source })
}

pub(crate) use lanes::MEMBER_LANES;
pub(crate) use slots::largest;
pub use state::Node as NodeState;
