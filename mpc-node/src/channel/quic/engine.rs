//! What all connections over QUIC of this process share: the threads that drive them, the sockets of those that it makes itself,
//! how they are set up, and how much memory their windows take.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, IdleTimeout, TokioRuntime, TransportConfig, VarInt};
use rustix::net::sockopt;
use tokio::runtime::{Builder, Runtime};

use super::super::STRANGER_BYTES;
use super::congestion::Tolerant;
use super::names::Names;
use crate::identity::Identity;

/// Threads that drive connections: they encrypt and decrypt for all of them.
const MOST_THREADS: usize = 4;
/// Kilobytes of datagrams that the system keeps for a socket until they are read, if it allows so many.
const SOCKET_BUFFER: usize = 4 << 20;
/// A connection over which nothing comes for so long is gone.
const SILENCE: Duration = Duration::from_secs(30);
/// What a round trip is taken for until it was measured: three times this, and a first packet is sent again.
const FIRST_GUESS: Duration = Duration::from_millis(100);
/// How often whoever connected shows that it is still there, which also keeps a router's mapping alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Bytes under way on a lane, each way.
pub(super) const WINDOW: u32 = 256 << 10;
/// Bytes under way on a wide lane, each way: what a long line needs for frames of several megabytes.
pub(super) const WIDE_WINDOW: u32 = 4 << 20;
/// Wide lanes at a time; further ones stay as they are.
const WIDE_LANES: usize = 16;
/// Memory for each byte that may be received: fragments are kept with what surrounds them, up to half as much again as what they
/// hold beyond it.
const FRAGMENTS: (u64, u64) = (5, 2);
/// Bytes of a connection's own state, of its handshake and of its tasks.
const STATE: u64 = 96 << 10;
/// Bytes into which datagrams are read, and those of connections that wait to be let in.
const READING: u64 = 8 << 20;
/// Most connections of which the last words have not arrived yet; they hold what a window holds.
pub(super) const LINGERING: usize = 64;
/// Connections that are over and not forgotten yet, beside those that count at the door and inside; and bytes of each. The library
/// keeps them for three times what a packet may be late.
pub(crate) const CLOSED: usize = 512;
const CLOSED_STATE: u64 = 40 << 10;
/// Connections that wait to be let in, at most, and bytes that are kept of what they send meanwhile.
pub(super) const MOST_WAITING: usize = 64;
pub(super) const WAITING_BYTES: u64 = 8 << 10;

/// The most memory that so many lanes and strangers at the door take beyond what they would over TCP.
pub(crate) fn memory(lanes: u64, strangers: u64) -> u64 {
    let (per, of) = FRAGMENTS;
    let both = |window: u64| window * per / of + window;
    let lane = (both(u64::from(WINDOW)) + STATE).saturating_sub(super::super::CHANNEL_MEMORY);
    let stranger = STRANGER_BYTES * per / of + STATE - STRANGER_BYTES;
    let lingering = LINGERING as u64 * (u64::from(WINDOW) + STATE);
    let closed = CLOSED as u64 * CLOSED_STATE;
    closed
        + lingering
        + lanes * lane
        + strangers * stranger
        + WIDE_LANES as u64 * both(u64::from(WIDE_WINDOW))
        + READING
}

/// The runtime of all connections; started when it is first needed.
pub(super) fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    let _one = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if RUNTIME.get().is_none() {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST_THREADS));
        let runtime = Builder::new_multi_thread().worker_threads(threads).thread_name("quic").enable_all().build()?;
        let _ = RUNTIME.set(runtime); // nobody else starts one meanwhile
    }
    RUNTIME.get().ok_or_else(|| io::Error::other("the runtime of QUIC did not start"))
}

/// The socket of the connections that this process makes to addresses of a family: one for all, bound to no address, so that it
/// goes with the machine from network to network.
pub(super) fn client(to: &SocketAddr) -> io::Result<Endpoint> {
    static CLIENTS: Mutex<[Option<Endpoint>; 2]> = Mutex::new([None, None]);
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let client = &mut clients[usize::from(to.is_ipv6())];
    if let Some(endpoint) = client {
        return Ok(endpoint.clone());
    }
    let any: IpAddr = if to.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let endpoint = endpoint((any, 0).into(), EndpointConfig::default(), None)?;
    *client = Some(endpoint.clone());
    Ok(endpoint)
}

/// A socket at an address, and what drives it.
pub(super) fn endpoint(
    at: SocketAddr,
    config: EndpointConfig,
    server: Option<quinn::ServerConfig>,
) -> io::Result<Endpoint> {
    let socket = UdpSocket::bind(at)?;
    // The system may give less than is asked for.
    let _ = sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER);
    let _ = sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER);
    let _inside = runtime()?.enter();
    Endpoint::new(config, server, socket, Arc::new(TokioRuntime))
}

/// The endpoint of a node. Whoever was connected before it was killed and started again learns from its answer that the connection
/// is gone: connections are named, and the proof that it is the node which says so is made, with keys that only its own gives.
///
/// # Errors
/// When the operating system gives no random bytes.
pub(super) fn known_again(identity: &Identity) -> io::Result<EndpointConfig> {
    let key = |what: &str| {
        *blake3::Hasher::new_derive_key(what).update(&identity.sign(what.as_bytes())).finalize().as_bytes()
    };
    let names = Names::new(key("sahara quic connections v1")).map_err(io::Error::other)?;
    let mut config = EndpointConfig::new(Arc::new(ResetKey(key("sahara quic resets v1"))));
    config.cid_generator(move || Box::new(names.clone()));
    Ok(config)
}

/// Proves that a node has forgotten a connection.
struct ResetKey([u8; 32]);

impl quinn::crypto::HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        blake3::Hasher::new_keyed(&self.0).update(data).finalize_xof().fill(signature_out);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        let mut signed = [0; 32];
        self.sign(data, &mut signed);
        // Nobody is asked to: what is signed here, others compare.
        (signed[..] == *signature).then_some(()).ok_or(quinn::crypto::CryptoError)
    }
}

/// How a connection is driven: one stream, opened by whoever connects, and nothing else.
pub(super) fn transport(server: bool) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(u32::from(server)))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(SILENCE.as_millis() as u32))))
        .initial_rtt(FIRST_GUESS)
        .keep_alive_interval((!server).then_some(KEEP_ALIVE))
        .congestion_controller_factory(Arc::new(Tolerant))
        // Of the stream; that of the connection is what counts, and grows with what is known of the other side.
        .stream_receive_window(VarInt::from_u32(WIDE_WINDOW))
        .receive_window(VarInt::from_u32(if server { STRANGER_BYTES as u32 } else { WINDOW }))
        .send_window(u64::from(WINDOW));
    Arc::new(config)
}

/// How many lanes are wide.
#[derive(Default)]
struct WideLanes(AtomicUsize);

impl WideLanes {
    fn take(&'static self) -> Option<Wide> {
        let more = |taken| (taken < WIDE_LANES).then_some(taken + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Wide(self))
    }
}

/// A place among the wide lanes; free again when dropped.
pub(super) struct Wide(&'static WideLanes);

impl Wide {
    /// A place among those of this process, if there is one left.
    pub(super) fn take() -> Option<Self> {
        static LANES: WideLanes = WideLanes(AtomicUsize::new(0));
        LANES.take()
    }
}

impl Drop for Wide {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_lanes_are_counted_and_places_come_back() {
        let lanes: &'static WideLanes = Box::leak(Box::default());
        let places: Vec<_> = std::iter::from_fn(|| lanes.take()).take(2 * WIDE_LANES).collect();
        assert_eq!(places.len(), WIDE_LANES);
        assert!(lanes.take().is_none());
        drop(places);
        assert!(lanes.take().is_some());
    }

    #[test]
    fn memory_grows_with_lanes_and_strangers() {
        let none = memory(0, 0);
        assert!(none >= (WIDE_LANES as u64) * 2 * u64::from(WIDE_WINDOW));
        assert!(memory(1, 0) > none && memory(0, 1) >= none + 2 * STRANGER_BYTES);
    }
}
