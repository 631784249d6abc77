//! Why a node cannot run.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use crate::committee::NoProtocol;
use crate::config::ConfigError;
use crate::identity::PublicKey;
use crate::models::ModelError;
use crate::packs::PackError;

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
        /// `listen`, `listen_quic` or `metrics` in the configuration.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The configuration names a market, and whoever runs the node has none.
    #[error(
        "market = \"{}\" is in the node's configuration, and this program serves no market: remove the line, or run the node with a \
         program that does",
        .0.display()
    )]
    NoMarket(PathBuf),
    /// Another process uses the home.
    #[error("another node runs with the home {}: stop it first", .0.display())]
    Locked(PathBuf),
    /// The home directory.
    #[error("cannot use the home {}: {source}", path.display())]
    Home {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
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

fn port_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; stop what uses the port (see `ss -ltunp`) or choose another",
        io::ErrorKind::AddrNotAvailable => "; the address does not belong to this machine",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges, choose another",
        _ => "",
    }
}
