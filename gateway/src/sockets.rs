//! The gateway's connections: how many there may be, in all and from one machine, and how long a request's head may take.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::load::{Places, Taken};

/// What connections may take.
#[derive(Clone, Copy)]
pub struct Limits {
    /// At once; more wait until one ends.
    pub connections: u32,
    /// Of these, from one other machine; more are closed. All programs of this machine are one address.
    pub of_one: usize,
    /// How long a head may take to arrive, and how long a connection may be without a request.
    pub head: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 512, of_one: 64, head: Duration::from_secs(30) }
    }
}

/// Serves until `stop` resolves; then connections end after the request that they have.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> Connections {
    let open = Arc::new(Semaphore::new(limits.connections as usize));
    let guests = Places::new(limits.connections as usize, limits.of_one);
    let (going_on, told) = watch::channel(());
    tokio::pin!(stop);
    loop {
        let (permit, stream, peer) = tokio::select! {
            () = &mut stop => break,
            next = next(&listener, &open) => next,
        };
        let Some(guest) = enter(&guests, peer.ip()) else { continue };
        let connection = connection(stream, peer, router.clone(), limits.head, told.clone());
        tokio::spawn(async move {
            let _place = (permit, guest);
            connection.await;
        });
    }
    drop(going_on);
    Connections { open, most: limits.connections }
}

/// Connections that end after their requests.
pub struct Connections {
    open: Arc<Semaphore>,
    most: u32,
}

impl Connections {
    /// Waits until the last one has ended.
    pub async fn ended(self) {
        // It is never closed.
        let _ = self.open.acquire_many(self.most).await;
    }
}

async fn next(listener: &TcpListener, open: &Arc<Semaphore>) -> (Option<OwnedSemaphorePermit>, TcpStream, SocketAddr) {
    // It is never closed.
    let permit = open.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (permit, stream, peer),
            // A peer that has gone again, or no file descriptor: some will be given back.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The place of a connection; none if the machine has as many as it may.
fn enter(guests: &Arc<Places>, peer: IpAddr) -> Option<Option<Taken>> {
    if peer.to_canonical().is_loopback() {
        return Some(None);
    }
    guests.take(peer).ok().map(Some)
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    head: Duration,
    mut told: watch::Receiver<()>,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    tokio::select! {
        // A connection that breaks has nobody to be told.
        _ = served.as_mut() => return,
        _ = told.changed() => served.as_mut().graceful_shutdown(),
    }
    let _ = served.await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    const LONG: Duration = Duration::from_secs(60);

    /// A server of these limits; dropping the sender stops it.
    async fn start(limits: Limits) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<Connections>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() }));
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move {
            serve(listener, router, limits, async {
                let _ = stopped.await;
            })
            .await
        });
        (address, stop, running)
    }

    /// Sends this and reads until the other side closes.
    async fn ask(address: SocketAddr, bytes: &[u8]) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(LONG, socket.read_to_end(&mut answer));
        let _ = read.await.expect("the connection is still open");
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn a_connection_without_a_whole_head_is_closed() {
        let limits = Limits { head: Duration::from_millis(200), ..Limits::default() };
        let (address, _stop, _) = start(limits).await;
        let answer = ask(address, ASK).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");
        let half = ask(address, b"GET / HTTP/1.1\r\nHost: local").await;
        assert!(!half.contains("200 OK"), "{half}");
        ask(address, b"").await;
        let idle = ask(address, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(idle.starts_with("HTTP/1.1 200"), "answered, and then closed: {idle}");
    }

    #[tokio::test]
    async fn connections_beyond_the_most_wait_until_one_ends() {
        let (address, _stop, _) = start(Limits { connections: 2, of_one: 1, head: LONG }).await;
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            assert!(socket.read(&mut [0; 512]).await.unwrap() > 0, "this machine may have all of them");
            held.push(socket);
        }
        let mut third = tokio::spawn(ask(address, ASK));
        assert!(tokio::time::timeout(Duration::from_millis(300), &mut third).await.is_err(), "a third was served");
        drop(held.pop());
        assert!(third.await.unwrap().starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn one_other_machine_has_a_part_of_the_connections_and_this_one_all() {
        let guests = Places::new(9, 1);
        let other: IpAddr = [10, 0, 0, 1].into();
        let first = enter(&guests, other);
        assert!(first.is_some() && enter(&guests, other).is_none() && enter(&guests, [10, 0, 0, 2].into()).is_some());
        drop(first);
        assert!(enter(&guests, other).is_some());
        let own: IpAddr = [127, 0, 0, 1].into();
        let places: Vec<_> = (0..20).map(|_| enter(&guests, own)).collect();
        assert!(places.iter().all(Option::is_some));
    }

    #[tokio::test]
    async fn a_stopped_server_lets_idle_connections_go() {
        let (address, stop, running) = start(Limits { head: LONG * 10, ..Limits::default() }).await;
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert!(socket.read(&mut [0; 512]).await.unwrap() > 0);
        drop(stop);
        let connections = running.await.unwrap();
        tokio::time::timeout(LONG, connections.ended()).await.expect("a connection without a request goes on");
    }
}
