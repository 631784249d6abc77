//! What a node hears from the network before it trusts anybody, and from somebody who holds a good key but talks nonsense.
//! Whatever happens, the three processes live, keep their memory, and answer the next question.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use common::{Devnet, is_alive, one_at_a_time};
use sahara_mpc::channel::Channel;
use sahara_mpc::committee::{Committee, Member};
use sahara_mpc::identity::{self, Identity};
use sahara_mpc::tls;
use sahara_mpc::wire::{HEADER, Hello, Kind, Message, header};

const WAIT: Duration = Duration::from_secs(20);
const QUESTION: [&str; 1] = ["Is anyone home?"];

#[test]
fn bytes_that_are_no_tls() {
    let _turn = one_at_a_time();
    let network = Network::up();
    for member in network.committee.members() {
        for bytes in [
            random(64 << 10, 1),
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            Vec::new(),
            // A TLS record that announces 512 bytes and brings ten; then the connection ends.
            [&[22, 3, 1, 2, 0][..], &random(10, 2)].concat(),
            // A TLS record of the largest length there is.
            [&[22, 3, 3, 0xff, 0xff][..], &random(70_000, 3)].concat(),
        ] {
            let mut stream = TcpStream::connect(&member.address).expect("the node listens");
            stream.set_read_timeout(Some(WAIT)).expect("a socket");
            // The node may hang up while we still talk.
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(Shutdown::Write);
            let mut answer = Vec::new();
            let _ = stream.take(1 << 20).read_to_end(&mut answer);
            assert!(answer.len() < 1024, "{} bytes of answer to nonsense", answer.len());
        }
    }
    network.still_serves();
}

#[test]
fn a_node_that_does_not_hold_its_pinned_key() {
    let _turn = one_at_a_time();
    let network = Network::up();
    let mut members: [Member; 3] = network.committee.members().to_vec().try_into().expect("three nodes");
    let [one, two, _] = &mut members;
    std::mem::swap(&mut one.key, &mut two.key);
    let wrong = Committee::new(members).expect("three keys");
    let file = network.devnet.home.path().join("wrong.toml");
    wrong.save(&file).expect("a writable home");
    let file = file.to_str().expect("a plain path");
    let finished = network.devnet.home.run(&["embed", "-q", "--committee", file, QUESTION[0]]);
    assert!(matches!(finished.code, Some(1 | 2)), "{finished}");
    assert!(finished.stderr.contains("node ") && finished.stderr.contains("key"), "who and why: {finished}");
    assert_eq!(finished.stdout, "");
    network.still_serves();
}

#[test]
fn frames_outside_the_language() {
    let _turn = one_at_a_time();
    let network = Network::up();
    let hello = |committee: [u8; 32]| frame(Kind::Hello, &Hello { committee }.encode());
    let good = hello(network.committee.digest());
    let mut old = Hello { committee: network.committee.digest() }.encode();
    old[8] = 99; // the version of the language
    let requests = [
        Kind::Status,
        Kind::FindSharing,
        Kind::ListSharings,
        Kind::Begin,
        Kind::Piece,
        Kind::Commit,
        Kind::PutAccess,
        Kind::DeleteSharing,
        Kind::ClientPart,
        Kind::Prepare,
        Kind::Deal,
        Kind::Run,
        Kind::OpenJob,
        Kind::Round,
        Kind::Chunk,
        Kind::Transcript,
    ];

    let before = network.resident_megabytes();
    for node in 0..3 {
        network.says(node, &random(4096, 10));
        network.says(node, &frame(Kind::Hello, &old));
        network.says(node, &hello([7; 32]));
        network.says(node, &good[..good.len() - 5]); // truncated, then the connection ends
        network.says(node, &[&good[..], &[200, 0, 0, 0, 0, 0, 0, 0]].concat()); // no such kind
        for (number, kind) in requests.into_iter().enumerate() {
            // Announced at the greatest length of all, with hardly a byte of it.
            let mut oversized = header(kind, 0).to_vec();
            oversized[HEADER - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
            network.says(node, &[&good[..], &oversized, &[0; 64]].concat());
            // Within the limit, cut off in the middle.
            network
                .says(node, &[&good[..], &header(kind, kind.limit()), &[0; 16][..kind.limit().min(16) / 2]].concat());
            // Random content of a random length.
            let content = random(kind.limit().min(200), 20 + number as u32);
            network.says(node, &[&good[..], &frame(kind, &content)].concat());
        }
    }
    let after = network.resident_megabytes();
    for (before, after) in before.iter().zip(&after) {
        assert!(after - before < 100, "a node grew from {before} to {after} MB on frames that carried nothing");
    }
    network.still_serves();
}

#[test]
fn a_stranger_cannot_speak_for_a_node() {
    let _turn = one_at_a_time();
    let network = Network::up();
    let stranger = identity::generate().expect("randomness");
    let good = frame(Kind::Hello, &Hello { committee: network.committee.digest() }.encode());
    for node in 0..3 {
        // Requests that only another node of the committee may make.
        for kind in [Kind::Deal, Kind::OpenJob] {
            let request = frame(kind, &random(100, 5));
            network.says_as(&stranger, node, &[&good[..], &request].concat());
        }
    }
    network.still_serves();
}

struct Network {
    devnet: Devnet,
    committee: Committee,
    identity: Identity,
    pids: Vec<u32>,
    expected: String,
}

impl Network {
    fn up() -> Self {
        let devnet = Devnet::up();
        let committee = Committee::load(&devnet.committee_file()).expect("the devnet's committee");
        let expected = devnet.embed_output(&QUESTION, &["--plain"]);
        assert_eq!(devnet.embed_output(&QUESTION, &[]), expected);
        let identity = identity::load(&devnet.home.path().join("consumer.key")).expect("the consumer's key");
        let pids = devnet.pids();
        Self { devnet, committee, identity, pids, expected }
    }

    /// Says something to a node as the devnet's own client, and listens until the node hangs up.
    fn says(&self, node: usize, bytes: &[u8]) {
        self.says_as(&self.identity, node, bytes);
    }

    fn says_as(&self, who: &Identity, node: usize, bytes: &[u8]) {
        let member = &self.committee.members()[node];
        let tcp = TcpStream::connect(&member.address).expect("the node listens");
        let config = tls::client_config(who, member.key).expect("a TLS configuration");
        let Ok(mut channel) = Channel::connect(tcp, config, WAIT) else { return };
        let _ = channel.send_all([bytes, &[]], WAIT);
        // The node greets; then it refuses, hangs up, or waits for the rest, which never comes.
        let mut answer = [0; 512];
        let _ = channel.receive_exact(&mut answer, Duration::from_millis(200));
    }

    fn still_serves(&self) {
        assert!(self.pids.iter().all(|pid| is_alive(*pid)), "a node died");
        assert_eq!(self.devnet.pids(), self.pids, "a node was started anew");
        assert_eq!(self.devnet.embed_output(&QUESTION, &[]), self.expected);
    }

    fn resident_megabytes(&self) -> Vec<i64> {
        let of = |pid: &u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the node lives");
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS").to_owned();
            line.split_whitespace().nth(1).and_then(|number| number.parse::<i64>().ok()).expect("a number") / 1024
        };
        self.pids.iter().map(of).collect()
    }
}

fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
    [&header(kind, payload.len())[..], payload].concat()
}

/// Bytes that look random, the same in every run.
fn random(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        })
        .collect()
}
