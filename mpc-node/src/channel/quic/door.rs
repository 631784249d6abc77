//! Whoever comes over QUIC, before anything is kept of it: first it shows that it hears what is sent to its address, for which
//! nothing is kept; then it waits, in a short line, for the node's door to let it in.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use quinn::{Endpoint, Incoming};

use super::super::{Channel, ChannelError};
use super::guard::Guarded;
use super::signal::Bell;
use super::{Quic, engine, error};
use crate::identity::Identity;
use crate::tls::{Admission, Refused, ServerKeys};

/// How long what is under way has to end when the node stops listening.
const FAREWELL: Duration = Duration::from_secs(2);

/// A socket that is listened to.
pub(crate) struct Listening(Endpoint);

/// The line of those who wait to be let in.
pub(crate) struct Knocking {
    line: Receiver<Incoming>,
    bell: Arc<Bell>,
    keys: ServerKeys,
    config: quinn::ServerConfig,
}

/// Somebody who waits to be let in, at an address that was shown to be theirs.
pub(crate) struct Knock(Incoming);

impl Listening {
    /// Listens at an address, for whoever `admission` lets in; while there are `most` connections, in whatever state, nobody is
    /// answered who comes.
    pub(crate) fn bind(
        at: SocketAddr,
        identity: &Identity,
        admission: Admission,
        most: usize,
    ) -> Result<(Self, Knocking), ListenError> {
        let keys = ServerKeys::new(identity, admission)?;
        let mut config = quinn::ServerConfig::with_crypto(crypto(&keys, &Refused::default())?);
        config
            .transport_config(engine::transport(true))
            .migration(true)
            .max_incoming(engine::MOST_WAITING)
            .incoming_buffer_size(engine::WAITING_BYTES)
            .incoming_buffer_size_total(engine::WAITING_BYTES * engine::MOST_WAITING as u64);
        let endpoint = engine::endpoint(at, engine::known_again(identity)?, Some(config.clone()))?;
        let bell = Arc::new(Bell::new()?);
        let (send, line) = sync_channel(engine::MOST_WAITING);
        engine::runtime()?.spawn(answer(endpoint.clone(), send, bell.clone(), most));
        Ok((Self(endpoint), Knocking { line, bell, keys, config }))
    }

    /// Where it listens.
    #[cfg(test)]
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap_or_else(|_| ([0, 0, 0, 0], 0).into())
    }

    /// How many connections there are, in whatever state.
    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.0.open_connections()
    }

    /// Ends all connections, once what was said last over them has arrived or has had its time, and frees the port.
    pub(crate) async fn end(self) {
        let until = Instant::now() + FAREWELL;
        while super::LINGERS.load(Ordering::Relaxed) > 0 && Instant::now() < until {
            tokio::time::sleep(FAREWELL / 100).await;
        }
        self.0.close(super::OVER, &[]);
        let _ = tokio::time::timeout(FAREWELL, self.0.wait_idle()).await;
    }
}

impl Drop for Listening {
    /// Nobody is answered any more.
    fn drop(&mut self) {
        self.0.close(super::OVER, &[]);
    }
}

/// Why nothing can be listened to.
pub(crate) enum ListenError {
    Socket(io::Error),
    Tls(rustls::Error),
}

impl From<io::Error> for ListenError {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl From<rustls::Error> for ListenError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

/// Answers whoever comes: an address that was not shown to hear what is sent to it is asked to, in fewer bytes than it sent and
/// without remembering it. Whoever finds the line full is not answered, and tries again by itself.
async fn answer(endpoint: Endpoint, line: SyncSender<Incoming>, bell: Arc<Bell>, most: usize) {
    while let Some(incoming) = endpoint.accept().await {
        if !incoming.remote_address_validated() {
            let _ = incoming.retry(); // it may be asked, as long as it has not shown it
            continue;
        }
        // Those that are over count, until the library forgets them: nobody else would count them.
        if endpoint.open_connections() >= most {
            incoming.ignore();
            continue;
        }
        match line.try_send(incoming) {
            Ok(()) => bell.ring(),
            Err(TrySendError::Full(incoming)) => incoming.ignore(),
            Err(TrySendError::Disconnected(_)) => return,
        }
    }
}

/// What TLS needs for one connection: the key that it refuses is told apart from those of other connections.
fn crypto(keys: &ServerKeys, refused: &Refused) -> Result<Arc<dyn quinn::crypto::ServerConfig>, rustls::Error> {
    let config = keys.quic_config(refused.clone())?;
    let config = quinn::crypto::rustls::QuicServerConfig::try_from(config);
    let config = config.map_err(|error| rustls::Error::General(error.to_string()))?;
    Ok(Arc::new(Guarded(Arc::new(config))))
}

impl Knocking {
    /// Rings when somebody comes, and when one of those inside can go on.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.socket()
    }

    /// Stops it ringing, before whoever rang is looked for.
    pub(crate) fn quieten(&self) {
        self.bell.quieten();
    }

    /// Whoever waits longest.
    pub(crate) fn next(&self) -> Option<Knock> {
        self.line.try_recv().ok().map(Knock)
    }
}

impl Knock {
    /// Where it comes from.
    pub(crate) fn from(&self) -> SocketAddr {
        let from = self.0.remote_address();
        (from.ip().to_canonical(), from.port()).into()
    }

    /// Begins the handshake, without waiting.
    pub(crate) fn begin(self, door: &Knocking) -> Result<Channel, ChannelError> {
        let refused = Refused::default();
        let mut config = door.config.clone();
        config.crypto = crypto(&door.keys, &refused)?;
        let _inside = engine::runtime()?.enter();
        let connecting = self.0.accept_with(Arc::new(config)).map_err(error::lost)?;
        Ok(Channel::over(Quic::server(connecting, door.bell.clone(), refused)))
    }

    /// Sends it away.
    pub(crate) fn refuse(self) {
        self.0.refuse();
    }
}
