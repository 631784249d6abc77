//! One client that is greedy, slow or silent, and what the others still get: bytes, connections, turns.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use alloy_primitives::{Address, Bytes, U256};
use sahara_chain::{
    error::StoreError,
    genesis::GenesisAccount,
    ledger::AdmitError,
    rpc::{self, Asked, Backend, Limits, Neighbours, Session, Submit, Submitted},
    store::{Batch, Entry, MemoryStore, Reader, Store, Table},
    tx::Tx,
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::watch};

use crate::{
    common::{Chain, START, genesis},
    rpc::Rpc,
    socket::{Ws, post},
};

const ASK: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;

/// A connection that became a WebSocket, for bytes that no client library sends.
fn upgraded(at: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let wanted = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13";
    write!(stream, "GET / HTTP/1.1\r\nHost: {at}\r\n{wanted}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .unwrap();
    let mut said = vec![];
    while !said.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        said.extend(byte);
    }
    assert!(said.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&said));
    stream
}

/// Whether the server ends the connection; what it says before does not count.
fn is_left(mut stream: TcpStream) -> bool {
    let mut said = [0; 1024];
    loop {
        match stream.read(&mut said) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => return !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

/// Waits until `wanted` bytes are under way.
fn until_under_way(rpc: &Rpc, wanted: usize) {
    for _ in 0..600 {
        if rpc.backend.under_way() == wanted {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{} bytes are under way, not {wanted}", rpc.backend.under_way());
}

/// The head of a text of `length` bytes in one frame.
fn announcement(length: u64) -> Vec<u8> {
    [&[0x81, 0xff], length.to_be_bytes().as_slice(), &[0; 4]].concat()
}

#[test]
fn pongs_that_nobody_asked_for_take_nothing_from_others() {
    let rpc = Rpc::with(Chain::new(), Limits { total: 256 << 10, ..Limits::default() });
    let (at, _server) = rpc.serve();
    let pong = [&[0x8a, 0xfd, 0, 0, 0, 0][..], &[0; 125]].concat();
    let mut quiet = upgraded(at);
    quiet.write_all(&pong.repeat(90)).unwrap();
    let mut loud = upgraded(at);
    let _ = loud.write_all(&pong.repeat(1_000));
    assert!(is_left(loud), "a thousand are too many");
    let said = post(at, &format!("{ASK}{}", " ".repeat(40 << 10)));
    assert_eq!((said.status, said.json()["result"].clone()), (200, json!("0x539")));
    until_under_way(&rpc, 0);
    quiet.write_all(&[&[0x81, 0x80 | ASK.len() as u8, 0, 0, 0, 0], ASK.as_bytes()].concat()).unwrap();
    let mut told = [0x89, 0];
    // The server asks whether the client is there, too.
    while told == [0x89, 0] {
        quiet.read_exact(&mut told).unwrap();
    }
    assert_eq!(told[0], 0x81, "ninety are not");
}

#[test]
fn what_a_frame_announces_counts_before_it_comes() {
    let rpc = Rpc::with(Chain::new(), Limits { total: 12 << 20, ..Limits::default() });
    let (at, _server) = rpc.serve();
    let mut open = vec![];
    for count in 1..=2 {
        let mut stream = upgraded(at);
        stream.write_all(&announcement(5 << 20)).unwrap();
        until_under_way(&rpc, count * (5 << 20));
        open.push(stream);
    }
    let mut third = upgraded(at);
    third.write_all(&announcement(5 << 20)).unwrap();
    assert!(is_left(third), "there is no room for what it announces");
    drop(open);
    until_under_way(&rpc, 0);
    // What ordinary clients send comes in one frame.
    let mut ws = Ws::connect(&rpc, at);
    for length in [200 << 10, 4 << 20] {
        assert_eq!(ws.raw(&rpc, &format!("{ASK}{}", " ".repeat(length)), json!(1))["result"], "0x539");
    }
    assert!(ws.sends_and_is_left(&rpc, &format!("{ASK}{}", " ".repeat(5 << 20))));
    until_under_way(&rpc, 0);
}

#[test]
fn what_has_begun_to_come_has_its_time() {
    let rpc = Rpc::with(Chain::new(), Limits { patience: Duration::from_secs(1), ..Limits::default() });
    let (at, _server) = rpc.serve();
    let mut message = upgraded(at);
    message.write_all(&announcement(1 << 20)).unwrap();
    until_under_way(&rpc, 1 << 20);
    assert!(is_left(message), "a message that does not come");
    until_under_way(&rpc, 0);
    let mut body = TcpStream::connect(at).unwrap();
    body.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head =
        format!("POST / HTTP/1.1\r\nHost: {at}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[");
    body.write_all(head.as_bytes()).unwrap();
    assert!(is_left(body), "a body that does not come");
    until_under_way(&rpc, 0);
    assert_eq!(post(at, ASK).json()["result"], "0x539");
}

#[test]
fn one_address_has_so_many_connections_and_bytes() {
    let limits = Limits { connections_of_one: 2, total_of_one: 100 << 10, loopback_counts: true, ..Limits::default() };
    let rpc = Rpc::with(Chain::new(), limits);
    let (at, _server) = rpc.serve();
    let said = post(at, &format!("{ASK}{}", " ".repeat(200 << 10)));
    assert_eq!(said.status, 503, "{said:?}");
    assert!(said.body.contains("102400 bytes that one address may have"), "{said:?}");
    let (at, _server) = rpc.serve();
    let mut first = upgraded(at);
    let second = upgraded(at);
    assert!(is_left(TcpStream::connect(at).unwrap()), "a third connection");
    first.write_all(&announcement(60 << 10)).unwrap();
    until_under_way(&rpc, 60 << 10);
    let mut other = second.try_clone().unwrap();
    other.write_all(&announcement(60 << 10)).unwrap();
    assert!(is_left(second), "connections of one address have its bytes together");
    drop((first, other));
    until_under_way(&rpc, 0);
    // A proxy on this machine speaks for many.
    let rpc = Rpc::with(Chain::new(), Limits { loopback_counts: false, ..limits });
    let (at, _server) = rpc.serve();
    let _open = [upgraded(at), upgraded(at)];
    assert_eq!(post(at, &format!("{ASK}{}", " ".repeat(200 << 10))).status, 200);
}

/// A way into the pool that counts how often it is asked for its neighbours.
#[derive(Default)]
struct Peers(AtomicUsize);

impl Submit for Peers {
    fn submit(&self, _: Arc<Tx>) -> Submitted<'_> {
        Box::pin(async { Err(AdmitError::NotBegun) })
    }

    fn neighbours(&self) -> Asked<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(Neighbours { peers: 3, syncing: None }) })
    }
}

#[test]
fn consensus_is_not_asked_for_each_who_wants_to_know_its_peers() {
    let mut chain = Chain::new();
    chain.block(&[]);
    let asked = Arc::new(Peers::default());
    let (_heights, seen) = watch::channel(1);
    let backend = Arc::new(Backend::new(chain.ledger.clone(), asked.clone(), seen));
    let ask = |id: usize| {
        let method = if id.is_multiple_of(2) { "net_peerCount" } else { "eth_syncing" };
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": [] })
    };
    let batch = json!((0..500).map(ask).collect::<Vec<_>>()).to_string();
    let told = Runtime::new().unwrap().block_on(rpc::answer(&backend, &Session::local(), batch.as_bytes())).unwrap();
    let told: Value = serde_json::from_slice(&told.text).unwrap();
    for pair in told.as_array().unwrap().chunks(2) {
        assert_eq!((&pair[0]["result"], &pair[1]["result"]), (&json!("0x3"), &json!(false)));
    }
    let asked = asked.0.load(Ordering::Relaxed);
    assert!((1..100).contains(&asked), "once a second, not {asked} times");
}

/// A store that counts how often a part of the contracts' storage is read as a whole.
#[derive(Default)]
struct Counted(MemoryStore, Arc<AtomicUsize>);

struct CountedReader(Arc<dyn Reader>, Arc<AtomicUsize>);

impl Store for Counted {
    fn reader(&self) -> Result<Arc<dyn Reader>, StoreError> {
        Ok(Arc::new(CountedReader(self.0.reader()?, self.1.clone())))
    }

    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        self.0.write(batch)
    }
}

impl Reader for CountedReader {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        if matches!(table, Table::Storage | Table::TrieNodes) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
        self.0.scan(table, prefix)
    }

    fn page(&self, table: Table, after: Option<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.0.page(table, after, limit)
    }
}

#[test]
fn a_large_contract_whose_storage_is_supposed_away_is_not_read() {
    let mut genesis = genesis();
    let large = Address::repeat_byte(0x77);
    let words = |from: u64| (from..from + 50).map(|i| (U256::from(i), U256::from(i))).collect();
    let account = GenesisAccount { nonce: 1, code: Bytes::from_static(&[0]), storage: words(1), ..Default::default() };
    genesis.accounts.insert(large, account.clone());
    let store = Counted::default();
    let scans = store.1.clone();
    let rpc = Rpc::with(Chain::open(Arc::new(store), &genesis, START), Limits::default());
    let before = scans.load(Ordering::Relaxed);
    let wiped = json!([{ "blockStateCalls": [{ "stateOverrides": { large.to_string(): { "state": {} } } }, {}] }]);
    let told = rpc.ask("eth_simulateV1", wiped);
    assert_eq!(scans.load(Ordering::Relaxed), before, "nothing is read to be forgotten");
    // The root is that of the state in which each word was set to zero.
    let zeros: serde_json::Map<String, Value> =
        (1..=50).map(|i| (format!("{:#066x}", i), json!(format!("{:#066x}", 0)))).collect();
    let cleared = json!([{ "blockStateCalls": [{ "stateOverrides": { large.to_string(): { "stateDiff": zeros } } }] }]);
    assert_eq!(told[0]["stateRoot"], rpc.ask("eth_simulateV1", cleared)[0]["stateRoot"]);
    assert_ne!(told[0]["stateRoot"], rpc.ask("eth_getBlockByNumber", json!(["latest", false]))["stateRoot"]);
}
