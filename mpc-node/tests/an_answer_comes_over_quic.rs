//! A committee that is reached over QUIC answers as over TCP, with one kind of lane for some and another for others; and a
//! consumer whose address changes in the middle still gets its answer.
#![cfg(feature = "quic")]
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use common::{Network, case, deep_case};
use sahara_mpc::client::{Client, ClientOptions, Committee, Member, Rounding, Visibility};
use sahara_mpc::identity;

/// Every node listens over QUIC, too: the same port of UDP.
fn quic(toml: String) -> String {
    toml.replacen("# listen_quic", "listen_quic", 1)
}

fn client_of(committee: Committee) -> Client {
    Client::shared(Arc::new(identity::generate().unwrap()), committee, ClientOptions::default())
}

fn with_addresses(network: &Network, address: impl Fn(&Member) -> String) -> Committee {
    let members = network.committee.members().iter().map(|m| Member { address: address(m), ..m.clone() });
    let members: Vec<_> = members.collect();
    Committee::new(members.try_into().unwrap()).unwrap()
}

#[test]
fn a_private_answer_equals_the_plain_one_whatever_carries_it() {
    let network = Network::start(quic);
    let owner = network.client();
    assert!(network.committee.members().iter().all(|member| member.address.starts_with("quic://")));
    for seed in 1..5 {
        let case = case(seed);
        case.register(&owner, Visibility::Private);
        for helper in 0..3 {
            let task = case.task(helper, Rounding::Exact, Visibility::Private);
            assert_eq!(case.run(&owner, task, true).unwrap().outputs, case.expected, "{seed}, helper {helper}");
        }
    }
    // The same nodes over TCP, for whoever says so.
    let case = deep_case();
    case.register(&owner, Visibility::Private);
    let task = case.task(0, Rounding::Exact, Visibility::Private);
    for scheme in ["", "tls://"] {
        let over_tcp = with_addresses(&network, |member| member.address.replace("quic://", scheme));
        assert_eq!(over_tcp.digest(), network.committee.digest());
        assert_eq!(case.run(&client_of(over_tcp), task, true).unwrap().outputs, case.expected);
    }
}

/// Passes datagrams on to a node. The way there leads through another port after every few datagrams, once that is
/// under way, as for a consumer that moves from network to network.
fn roaming(node: SocketAddr, moves: Arc<AtomicU32>, under_way: Arc<AtomicBool>) -> SocketAddr {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let at = front.local_addr().unwrap();
    std::thread::spawn(move || {
        // Where each client is, and its way on.
        let mut ways: Vec<(SocketAddr, Arc<UdpSocket>, u32)> = Vec::new();
        let way = |front: &Arc<UdpSocket>, client: SocketAddr| {
            let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
            socket.connect(node).unwrap();
            let (back, front) = (socket.clone(), front.clone());
            std::thread::spawn(move || {
                let mut datagram = [0; 65_536];
                while let Ok(read) = back.recv(&mut datagram) {
                    let _ = front.send_to(&datagram[..read], client);
                }
            });
            socket
        };
        let mut datagram = [0; 65_536];
        while let Ok((read, from)) = front.recv_from(&mut datagram) {
            let found = ways.iter().position(|(client, ..)| *client == from);
            let at = found.unwrap_or_else(|| {
                ways.push((from, way(&front, from), 0));
                ways.len() - 1
            });
            let (_, socket, count) = &mut ways[at];
            *count += 1;
            if (*count).is_multiple_of(15) && under_way.load(Ordering::Relaxed) {
                *socket = way(&front, from);
                moves.fetch_add(1, Ordering::Relaxed);
            }
            let _ = socket.send(&datagram[..read]);
        }
    });
    at
}

#[test]
fn a_consumer_that_moves_in_the_middle_still_gets_its_answers() {
    let network = Network::start(quic);
    let owner = network.client();
    let case = case(3);
    case.register(&owner, Visibility::Private);
    let task = case.task(1, Rounding::Exact, Visibility::Private);
    let (moves, under_way): (Arc<AtomicU32>, Arc<AtomicBool>) = Default::default();
    let moving = with_addresses(&network, |member| {
        let node = member.address.strip_prefix("quic://").unwrap().parse().unwrap();
        format!("quic://{}", roaming(node, moves.clone(), under_way.clone()))
    });
    let consumer = client_of(moving);
    // A handshake has to end where it began; from then on a lane goes where its consumer goes.
    consumer.prepare(&task, 60, &mut |_| ()).unwrap();
    let answered = || assert_eq!(case.run(&consumer, task, false).unwrap().outputs, case.expected);
    answered();
    under_way.store(true, Ordering::Relaxed);
    let mut answers = 0;
    while moves.load(Ordering::Relaxed) < 10 {
        answered();
        answers += 1;
        assert!(answers < 59, "it hardly ever moves");
    }
}
