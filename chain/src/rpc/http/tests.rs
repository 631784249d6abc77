//! What of HTTP is understood, without a connection.

use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    super::guest::{SLOWEST, one_holder},
    *,
};
use crate::{
    ledger::{Ledger, trial::Chain},
    rpc::{Limits, Submit, Submitted},
    tx::Tx,
};

fn told(kind: Option<&'static str>, packed: Option<&'static str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [(header::CONTENT_TYPE, kind), (header::CONTENT_ENCODING, packed)] {
        if let Some(value) = value {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    headers
}

#[test]
fn a_request_says_that_it_is_json_and_is_not_packed() {
    for kind in
        ["application/json", "Application/JSON; charset=utf-8", "application/json-rpc", "application/jsonrequest"]
    {
        for packed in [None, Some("identity"), Some("Identity")] {
            assert_eq!(is_json(&told(Some(kind), packed)), Ok(()), "{kind} {packed:?}");
        }
        assert!(is_json(&told(Some(kind), Some("gzip"))).unwrap_err().contains("packed"));
    }
    // What a page may send without asking first.
    for kind in
        [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("multipart/form-data"), Some("")]
    {
        assert!(is_json(&told(kind, None)).unwrap_err().contains("application/json, not"), "{kind:?}");
    }
}

#[test]
fn time_is_by_the_length_of_what_must_be_taken() {
    let patience = Duration::from_secs(3);
    assert_eq!(time_for(0, patience), patience);
    assert_eq!(time_for(4 * SLOWEST, patience), Duration::from_secs(7));
    let deadline = Deadline(Arc::new(Mutex::new(now())));
    assert_eq!(deadline.left(), Duration::ZERO);
    deadline.within(Duration::from_secs(100));
    assert!(deadline.left() > Duration::from_secs(50) && deadline.left() <= Duration::from_secs(100));
}

#[test]
fn a_page_is_told_that_it_may_ask() {
    let mut headers = HeaderMap::new();
    allow(&mut headers, HeaderValue::from_static("https://a.example"), false);
    assert_eq!(headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(), "https://a.example");
    assert_eq!(headers.get(header::VARY).unwrap(), "Origin");
    assert!(!headers.contains_key("access-control-allow-private-network"));
    allow(&mut headers, HeaderValue::from_static("*"), true);
    assert_eq!(headers.get("access-control-allow-private-network").unwrap(), "true");
}

struct Straight(Arc<Ledger>);

impl Submit for Straight {
    fn submit(&self, tx: Arc<Tx>) -> Submitted<'_> {
        let admitted = self.0.admit(tx);
        Box::pin(async move { admitted })
    }
}

fn backend(limits: Limits) -> Arc<Backend> {
    let mut chain = Chain::new();
    chain.block(&[]);
    let backend = Backend::new(chain.ledger.clone(), Arc::new(Straight(chain.ledger)), watch::channel(1).1);
    Arc::new(backend.with_limits(limits))
}

#[test]
fn so_many_come_in_together_and_from_one_address() {
    let limits = Limits { connections: 5, connections_of_one: 2, ..Limits::default() };
    for loopback_counts in [false, true] {
        let backend = backend(Limits { loopback_counts, ..limits });
        let stop = watch::channel(false).1;
        let here = Arc::new(Here { backend, door: Door::open(), guests: Mutex::default(), stop });
        let enter = |last| Guest::enter(&here, IpAddr::from([10, 0, 0, last]));
        let mut guests: Vec<Guest> = [1, 1, 2, 2].into_iter().map(|last| enter(last).unwrap()).collect();
        assert!(enter(1).is_none() && guests[0].account.is_some(), "one address has its part");
        guests.push(enter(3).unwrap());
        assert!(enter(4).is_none() && enter(3).is_none(), "all are there");
        guests.truncate(3);
        // A proxy on this machine speaks for many, unless it counts.
        let own: Vec<Option<Guest>> = (0..3).map(|_| Guest::enter(&here, IpAddr::from([127, 0, 0, 1]))).collect();
        let entered = own.iter().flatten().count();
        assert_eq!(entered, 2, "two places are left, and one address has two");
        assert_eq!(own.iter().flatten().all(|guest| guest.account.is_none()), !loopback_counts);
        drop(own);
        drop(guests);
        assert!(here.guests.lock().unwrap().is_empty(), "whoever leaves is forgotten");
        let own: Vec<Option<Guest>> = (0..4).map(|_| Guest::enter(&here, IpAddr::from([127, 0, 0, 1]))).collect();
        assert_eq!(own.iter().flatten().count(), if loopback_counts { 2 } else { 4 });
    }
}

/// What the server says to `head` and `body`.
async fn said(address: SocketAddr, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let host = if head.contains("Host: ") { "" } else { "Host: localhost\r\n" };
    let head = format!("{head}\r\n{host}Connection: close\r\n\r\n");
    let mut told = Vec::new();
    // Who is refused early is not listened to to the end.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body).await;
    let _ = stream.read_to_end(&mut told).await;
    String::from_utf8_lossy(&told).into_owned()
}

const JSON: &str = "POST / HTTP/1.1\r\nContent-Type: application/json";

#[tokio::test]
async fn a_request_has_so_many_bytes_however_it_comes() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (address, _server) = serve(backend(Limits::default()), Door::open(), any).await.unwrap();
    for (length, status) in [(MAX_REQUEST, "200 OK"), (MAX_REQUEST + 1, "413 Payload Too Large")] {
        let mut body = br#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#.to_vec();
        body.resize(length, b' ');
        let told = said(address, &format!("{JSON}\r\nContent-Length: {length}"), &body).await;
        // Whoever still sends may miss what it is told.
        assert!(told.starts_with(&format!("HTTP/1.1 {status}")) || (status.starts_with("413") && told.is_empty()));
        let pieces: Vec<u8> = body
            .chunks(1 << 20)
            .flat_map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
            .chain(*b"0\r\n\r\n")
            .collect();
        let told = said(address, &format!("{JSON}\r\nTransfer-Encoding: chunked"), &pieces).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status}")) || (status.starts_with("413") && told.is_empty()));
    }
}

#[tokio::test]
async fn each_method_has_its_answer_until_the_server_stops() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (address, server) = serve(backend(Limits::default()), Door::default(), any).await.unwrap();
    for (head, parts) in [
        ("GET / HTTP/1.1", ["200 OK", "content-security-policy: default-src 'none'", "nosniff"].as_slice()),
        ("OPTIONS / HTTP/1.1", &["204 No Content"]),
        ("PUT / HTTP/1.1", &["405 Method Not Allowed", "allow: GET, HEAD, OPTIONS, POST"]),
        ("GET /x HTTP/1.1", &["404 Not Found"]),
        ("POST / HTTP/1.1\r\nContent-Type: text/plain", &["415 Unsupported Media Type"]),
        ("GET / HTTP/1.1\r\nOrigin: https://evil.example", &["403 Forbidden", "may not ask this node"]),
        ("GET / HTTP/1.1\r\nHost: evil.example", &["403 Forbidden", "no name of this node"]),
    ] {
        let told = said(address, head, b"").await;
        assert!(parts.iter().all(|part| told.contains(part)), "{head}: {told}");
    }
    let mut open = TcpStream::connect(address).await.unwrap();
    open.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    open.read_exact(&mut first).await.unwrap();
    server.stop();
    let mut rest = Vec::new();
    let ended = async {
        let _ = open.read_to_end(&mut rest).await;
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
    assert!(ended.is_ok(), "who is there is left, and nobody comes in");
}

#[tokio::test]
async fn a_client_may_take_a_while_before_it_asks_and_while_it_does() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (address, _server) = serve(backend(Limits::default()), Door::open(), any).await.unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;
    let head = format!("{JSON}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    for part in [head.as_bytes(), &body.as_bytes()[..9], &body.as_bytes()[9..]] {
        tokio::time::sleep(Duration::from_millis(250)).await;
        stream.write_all(part).await.unwrap();
    }
    let mut told = String::new();
    stream.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 200 OK") && told.contains("result"), "{told}");
}

#[test]
fn whoever_has_a_network_of_ipv6_is_one_and_others_are_others() {
    let holder = |address: &str| one_holder(address.parse().unwrap()).to_string();
    assert_eq!(holder("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    assert_eq!(holder("2001:db8:1:2:ffff::1"), holder("2001:db8:1:2::9"));
    assert_ne!(holder("2001:db8:1:3::9"), holder("2001:db8:1:2::9"));
    assert_eq!(
        (holder("192.0.2.7"), holder("::ffff:192.0.2.7"), holder("::1")),
        ("192.0.2.7".into(), "192.0.2.7".into(), "::1".into())
    );
}

#[test]
fn a_deadline_that_comes_nearer_is_seen_within_a_second() {
    let deadline = Deadline(Arc::new(Mutex::new(now() + IDLE)));
    assert_eq!(deadline.look(), Duration::from_secs(1));
    deadline.within(Duration::ZERO);
    assert_eq!(deadline.look(), Duration::from_millis(100));
}
