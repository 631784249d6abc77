//! Over QUIC as over TCP: noise, first packets without an end, handshakes that stop in the middle, keys that are not admitted and
//! requests that drip cost a node little, end in time, and keep nobody out; and connections are counted.
#![cfg(feature = "quic")]
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;
#[path = "common/stranger.rs"]
mod stranger;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Network, case};
use sahara_mpc::channel::{Channel, ChannelError};
use sahara_mpc::client::{Committee, Rounding, Visibility};
use sahara_mpc::identity::{self, Identity};
use sahara_mpc::lane::{Lane, LaneError};
use sahara_mpc::meter::Meter;
use stranger::{TIME, drip, hello, until_closed};

fn quic(toml: String) -> String {
    toml.replacen("# listen_quic", "listen_quic", 1)
}

fn address(network: &Network, node: usize) -> SocketAddr {
    network.committee.members()[node].address.strip_prefix("quic://").unwrap().parse().unwrap()
}

fn lane(id: &Identity, network: &Network, node: u8) -> Result<Lane, LaneError> {
    Lane::connect(id, &network.committee, node, TIME, Arc::new(Meter::default()))
}

/// A channel on which nothing was said yet.
fn channel(id: &Identity, network: &Network, node: usize) -> Channel {
    let key = network.committee.members()[node].key;
    Channel::connect_quic(id, key, vec![address(network, node)], TIME).unwrap()
}

/// Passes so many datagrams of a client on to a node, as from another address of loopback, and no more.
fn broken_off(node: SocketAddr, from: u8, after: u32) -> SocketAddr {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
    let at = front.local_addr().unwrap();
    let socket = Arc::new(UdpSocket::bind(SocketAddr::from(([127, 0, 1, from], 0))).unwrap());
    socket.connect(node).unwrap();
    let (back, way) = (socket.clone(), front.clone());
    std::thread::spawn(move || {
        let mut client = None;
        let mut datagram = [0; 65_536];
        front.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        back.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let (mut count, end) = (0, Instant::now() + TIME);
        while Instant::now() < end {
            if let Ok((read, from)) = front.recv_from(&mut datagram) {
                client = Some(from);
                count += 1;
                if count <= after {
                    let _ = socket.send(&datagram[..read]);
                }
            }
            if let (Ok(read), Some(client)) = (back.recv(&mut datagram), client) {
                let _ = way.send_to(&datagram[..read], client);
            }
        }
    });
    at
}

#[test]
fn noise_and_half_open_handshakes_keep_nobody_out() {
    let listed = Arc::new(identity::generate().unwrap());
    let consumers = format!("consumers = [\"{}\"]", listed.public());
    let network = Network::start_as(&listed, |toml| {
        quic(toml)
            .replacen("connect = 5", "connect = 2", 1)
            .replacen("handshakes = 128", "handshakes = 12", 1)
            .replacen("handshakes_per_address = 64", "handshakes_per_address = 8", 1)
            .replacen("consumers = \"any\"", &consumers, 1)
            .replacen("owners = \"any\"", &consumers.replace("consumers", "owners"), 1)
    });
    let client = network.client_of(&listed);
    let case = case(3);
    case.register(&client, Visibility::Private);
    let task = case.task(1, Rounding::Exact, Visibility::Private);
    let node = address(&network, 0);
    std::thread::scope(|scope| {
        // Handshakes that stop after the address is known, in the middle, and near the end.
        for (from, after) in (0..12).map(|n| (1 + n % 3, 2 + u32::from(n) / 3)) {
            let (listed, key) = (&listed, network.committee.members()[0].key);
            scope.spawn(move || {
                let relay = broken_off(node, from, after);
                let channel = Channel::connect_quic(listed, key, vec![relay], Duration::from_secs(3));
                std::thread::sleep(Duration::from_secs(1));
                drop(channel);
            });
        }
        // Keys that nobody lists.
        for n in 0..20 {
            let network = &network;
            scope.spawn(move || {
                let stranger = identity::generate().unwrap();
                let mut members = network.committee.members().to_vec();
                members[0].address = format!("quic://{}", broken_off(node, 4 + n % 2, u32::MAX));
                let committee = Committee::new(members.try_into().unwrap()).unwrap();
                let error = Lane::connect(&stranger, &committee, 0, TIME, Arc::new(Meter::default())).err().unwrap();
                // Whoever made room for another was closed without a word, or never came in.
                let told = matches!(&error, LaneError::Channel { source: ChannelError::NotAdmitted, .. });
                assert!(told || error.is_stale() || matches!(error, LaneError::Connect { .. }), "{error}");
            });
        }
        // Noise, and what looks like first packets.
        scope.spawn(|| {
            let socket = UdpSocket::bind("127.0.1.6:0").unwrap();
            let mut noise = [0_u8; 1350];
            for n in 0..20_000_u32 {
                noise[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b9).to_le_bytes());
                if n % 2 == 0 {
                    noise[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
                }
                let _ = socket.send_to(&noise[..[40, 1200, 1350][n as usize % 3]], node);
            }
        });
        for _ in 0..30 {
            assert_eq!(case.run(&client, task, true).unwrap().outputs, case.expected);
        }
    });
    let member = identity::load(&network.home(1).join("key")).unwrap();
    lane(&member, &network, 0).unwrap();
}

#[test]
fn a_greeting_and_a_request_that_drip_end_in_time() {
    let network = Network::start(|toml| quic(toml).replacen("connect = 5", "connect = 2", 1));
    let stranger = identity::generate().unwrap();
    let mut slow: Vec<_> = (0..8).map(|_| channel(&stranger, &network, 0)).collect();
    let began = Instant::now();
    for byte in hello(&network) {
        for channel in &mut slow {
            let _ = channel.send_all([&[byte], &[]], TIME); // the node may be tired of it
        }
        if began.elapsed() > Duration::from_secs(3) {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    slow.iter_mut().for_each(|channel| drop(until_closed(channel)));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());

    assert!(drip(channel(&stranger, &network, 0), &network) > Duration::from_secs(1));
}

#[test]
fn connections_are_counted_over_quic_and_tcp_together() {
    for (setting, limit) in
        [("lanes_per_key = 64", "lanes_per_key = 2"), ("lanes_per_address = 192", "lanes_per_address = 2")]
    {
        let network = Network::start(|toml| quic(toml).replacen(setting, limit, 1));
        let id = identity::generate().unwrap();
        // The node was waited for over a lane that has just ended.
        std::thread::sleep(Duration::from_millis(300));
        let mut lanes: Vec<Lane> = (0..3)
            .map(|n| {
                let lane = if n == 1 {
                    let mut members = network.committee.members().to_vec();
                    members[0].address = members[0].address.replace("quic", "tls");
                    let over_tcp = Committee::new(members.try_into().unwrap()).unwrap();
                    Lane::connect(&id, &over_tcp, 0, TIME, Arc::new(Meter::default())).unwrap()
                } else {
                    lane(&id, &network, 0).unwrap()
                };
                std::thread::sleep(Duration::from_millis(100)); // it falls idle
                lane
            })
            .collect();
        let idle: Vec<bool> = lanes.iter_mut().map(Lane::is_idle).collect();
        assert_eq!(idle, [false, true, true], "{limit}: the longest idle one was closed for the newest");
    }
}
