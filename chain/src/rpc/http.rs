//! The server: connections, what of HTTP is understood, and how long anybody may take.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Frame, Incoming},
    header::{self, HeaderMap, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::{
    Answer, Backend, Door,
    budget::{MAX_REQUEST, Reserved, now},
    dispatch::answer,
    guest::{Guest, Here, time_for},
    page::page,
    reply::{Reply, plain, put, whole},
    session::Session,
    ws,
};

/// A connection that says nothing is closed after this time.
const IDLE: Duration = Duration::from_secs(120);
/// How long a request may be worked on: every limit inside is shorter.
const WORK: Duration = Duration::from_secs(300);
/// Bytes of an answer that are handed over at once.
const PIECE: usize = 64 << 10;

/// A running server. It stops when this is dropped.
pub struct Server {
    stop: watch::Sender<bool>,
}

impl Server {
    /// Stops it: no new connections, those that are there end.
    pub fn stop(&self) {
        let _ = self.stop.send(true);
    }
}

/// Serves `backend` at `address` to whom `door` lets in; gives the address that was bound.
///
/// # Errors
/// When the address cannot be had.
pub async fn serve(backend: Arc<Backend>, door: Door, address: SocketAddr) -> std::io::Result<(SocketAddr, Server)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let (stop, mut stopped) = watch::channel(false);
    let here = Arc::new(Here { backend, door, guests: Mutex::default(), stop: stop.subscribe() });
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopped.changed() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    // Whoever is too many is not answered: an answer would cost more than the connection did.
                    if let Some(guest) = Guest::enter(&here, peer.ip()) {
                        tokio::spawn(connection(here.clone(), guest, stream));
                    }
                }
                // Out of file descriptors, most likely: some will be given back.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    });
    Ok((bound, Server { stop }))
}

/// When a connection is left, unless it gets further.
#[derive(Clone)]
struct Deadline(Arc<Mutex<Instant>>);

impl Deadline {
    fn within(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now() + time;
    }

    /// In what time to look again: a deadline may be set to an earlier time meanwhile.
    fn look(&self) -> Duration {
        self.left().clamp(Duration::from_millis(100), Duration::from_secs(1))
    }

    fn left(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).saturating_duration_since(now())
    }
}

async fn connection(here: Arc<Here>, guest: Guest, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let inside = stream.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let deadline = Deadline(Arc::new(Mutex::new(now() + IDLE)));
    let client = Arc::new(Client {
        session: Session::new(guest.address, false, here.backend.following.clone(), guest.account.clone()),
        guest: Arc::new(guest),
        inside,
        deadline: deadline.clone(),
        here: here.clone(),
    });
    let service = service_fn(move |request| {
        let client = client.clone();
        async move { Ok::<_, Infallible>(client.reply(request).await) }
    });
    let mut stop = here.stop.clone();
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(here.backend.limits.patience)
        .max_buf_size(128 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(served);
    loop {
        tokio::select! {
            _ = &mut served => return,
            _ = stop.changed() => return,
            () = tokio::time::sleep(deadline.look()) => {
                if deadline.left().is_zero() {
                    return;
                }
            }
        }
    }
}

/// One connection.
struct Client {
    session: Session,
    guest: Arc<Guest>,
    /// It came through loopback.
    inside: bool,
    deadline: Deadline,
    here: Arc<Here>,
}

impl Client {
    fn patience(&self) -> Duration {
        self.here.backend.limits.patience
    }

    async fn reply(&self, request: Request<Incoming>) -> Reply {
        self.deadline.within(self.patience() * 2);
        let headers = request.headers();
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}").to_owned());
        let host = text(header::HOST).unwrap_or_default();
        if self.inside && !self.here.door.answers_to(&host) {
            let why = format!("{host:?} is no name of this node: add it to web.hosts in chain.toml");
            return plain(StatusCode::FORBIDDEN, why);
        }
        let origin = text(header::ORIGIN);
        let told = origin.as_deref().map(|origin| (origin, self.here.door.allows(origin).map(str::to_owned)));
        let told = match told {
            None => None,
            Some((_, Some(told))) => Some(told),
            Some((origin, None)) => {
                let why = format!("pages of {origin:?} may not ask this node: add it to web.origins in chain.toml");
                return plain(StatusCode::FORBIDDEN, why);
            }
        };
        let private = headers.contains_key("access-control-request-private-network");
        let mut reply = self.of_method(request, &host).await;
        if let Some(told) = told.and_then(|told| HeaderValue::from_str(&told).ok()) {
            allow(reply.headers_mut(), told, private);
        }
        if reply.status().is_client_error() {
            self.deadline.within(self.patience());
        }
        reply
    }

    async fn of_method(&self, request: Request<Incoming>, host: &str) -> Reply {
        if !matches!(request.uri().path(), "/" | "/ws") {
            return plain(StatusCode::NOT_FOUND, "JSON-RPC is at /".into());
        }
        match *request.method() {
            Method::GET if ws::wanted(&request) => {
                let following = self.here.backend.following.clone();
                let session = Session::new(self.session.address, true, following, self.session.account.clone());
                // What follows has no end of its own: the WebSocket keeps its own time.
                self.deadline.within(Duration::from_secs(u64::from(u32::MAX)));
                ws::upgrade(self.here.clone(), self.guest.clone(), session, request)
            }
            Method::GET | Method::HEAD => {
                let mut reply = whole(StatusCode::OK, page(&self.here.backend, host).into());
                put(&mut reply, header::CONTENT_TYPE, "text/html; charset=utf-8");
                put(&mut reply, header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'");
                put(&mut reply, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
                reply
            }
            Method::OPTIONS => whole(StatusCode::NO_CONTENT, Bytes::new()),
            Method::POST => self.post(request).await,
            _ => {
                let mut reply = plain(StatusCode::METHOD_NOT_ALLOWED, "ask with POST".into());
                put(&mut reply, header::ALLOW, "GET, HEAD, OPTIONS, POST");
                reply
            }
        }
    }

    async fn post(&self, request: Request<Incoming>) -> Reply {
        if let Err(why) = is_json(request.headers()) {
            return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
        }
        let mut reserved = Reserved::from(self.here.backend.accounts(self.session.account.clone()));
        let body = match self.read(request.into_body(), &mut reserved).await {
            Ok(body) => body,
            Err((status, why)) => return plain(status, why),
        };
        self.deadline.within(WORK);
        let answer = answer(&self.here.backend, &self.session, &body).await;
        drop((body, reserved));
        match answer {
            Some(answer) => {
                let length = answer.text.len();
                self.deadline.within(time_for(length, self.patience() * 2));
                let pieces = Pieces::new(answer, self.deadline.clone());
                let mut reply = Response::new(pieces.boxed_unsync());
                put(&mut reply, header::CONTENT_TYPE, "application/json");
                reply.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
                reply
            }
            None => {
                self.deadline.within(IDLE);
                whole(StatusCode::NO_CONTENT, Bytes::new())
            }
        }
    }

    async fn read(&self, mut body: Incoming, reserved: &mut Reserved) -> Result<Vec<u8>, (StatusCode, String)> {
        let too_long = || (StatusCode::PAYLOAD_TOO_LARGE, format!("a request has at most {MAX_REQUEST} bytes"));
        if body.size_hint().lower() > MAX_REQUEST as u64 {
            return Err(too_long());
        }
        let until = now() + self.patience() * 2;
        let mut whole = Vec::new();
        loop {
            let left = until.saturating_duration_since(now());
            let frame = tokio::time::timeout(left, body.frame());
            let frame = frame.await.map_err(|_| {
                let why = format!("the request did not come within {} s", (self.patience() * 2).as_secs());
                (StatusCode::REQUEST_TIMEOUT, why)
            })?;
            match frame {
                None => return Ok(whole),
                Some(Err(e)) => return Err((StatusCode::BAD_REQUEST, format!("reading the request: {e}"))),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if whole.len() + data.len() > MAX_REQUEST {
                        return Err(too_long());
                    }
                    reserved.grow(data.len()).map_err(|e| (StatusCode::SERVICE_UNAVAILABLE, e.message))?;
                    whole.extend_from_slice(&data);
                }
            }
        }
    }
}

/// Whether a request says that it is JSON, and not packed.
fn is_json(headers: &HeaderMap) -> Result<(), String> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    // What a page may send without asking first is not among these.
    let known = ["application/json", "application/json-rpc", "application/jsonrequest"];
    if !known.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
        return Err(format!("a request is application/json, not {kind:?}"));
    }
    match headers.get(header::CONTENT_ENCODING) {
        Some(packed) if !packed.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(format!("packed requests are not taken ({packed:?})"))
        }
        _ => Ok(()),
    }
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue, private: bool) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if private {
        let name = HeaderName::from_static("access-control-allow-private-network");
        headers.insert(name, HeaderValue::from_static("true"));
    }
}

/// An answer, piece by piece: it counts as under way until the last one is taken.
struct Pieces {
    text: Bytes,
    deadline: Deadline,
    _reserved: Reserved,
}

impl Pieces {
    fn new(answer: Answer, deadline: Deadline) -> Self {
        Self { text: answer.text.into(), deadline, _reserved: answer.reserved }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.text.is_empty() {
            self.deadline.within(IDLE);
            return Poll::Ready(None);
        }
        let length = self.text.len().min(PIECE);
        let piece = self.text.split_to(length);
        if self.text.is_empty() {
            self.deadline.within(IDLE);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_empty()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.text.len() as u64)
    }
}

#[cfg(test)]
mod tests;
