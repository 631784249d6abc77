//! Why a gateway does not start, and what the program that runs it tells people who can change its settings.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// An origin of web pages that no browser would send.
    #[error("'{}' is no origin of a web page: give scheme, host and port alone, as in http://localhost:3000", .0.escape_debug())]
    Origin(String),
    /// A name that no client would use.
    #[error("'{}' is no name of a host: give it without a port, as in gateway.lan", .0.escape_debug())]
    Host(String),
    /// An address that other machines reach, which was not asked for.
    #[error("{0} can be reached from other machines, and a gateway sees the text it is sent")]
    Reachable(SocketAddr),
    /// The address cannot be had.
    #[error("listening on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// What is added to answers that a person can do something about: how the settings of this gateway are changed.
#[derive(Clone)]
pub struct Advice {
    /// A web page may not use the gateway *unless* this.
    pub origins: String,
    /// A host is not answered to *unless* this.
    pub hosts: String,
    /// Send texts, *or* do this if token numbers are those of the model's own tokenizer.
    pub token_arrays: String,
    /// An error of an engine in one line, and what to do.
    pub explain: Arc<dyn Fn(&sahara::Error) -> String + Send + Sync>,
}

impl Default for Advice {
    fn default() -> Self {
        Self {
            origins: "its origin is allowed".to_owned(),
            hosts: "it is told more names".to_owned(),
            token_arrays: "set the gateway to them".to_owned(),
            explain: Arc::new(|error| sahara::error::one_line(error)),
        }
    }
}

impl fmt::Debug for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origins, hosts, token_arrays, .. } = self;
        f.debug_struct("Advice")
            .field("origins", origins)
            .field("hosts", hosts)
            .field("token_arrays", token_arrays)
            .finish_non_exhaustive()
    }
}
