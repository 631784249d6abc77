//! Connections that never say who they are, say it slowly, or ask what they may not: the node spends little on them, ends
//! them in time, and the committee and honest consumers get in.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;
#[path = "common/stranger.rs"]
mod stranger;

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::Network;
use sahara_mpc::channel::Channel;
use sahara_mpc::identity::{self, Identity};
use sahara_mpc::lane::{Lane, LaneError};
use sahara_mpc::meter::{Meter, Traffic};
use sahara_mpc::wire::{Caller, Kind, header};
use stranger::{TIME, drip, hello, until_closed};

fn lane(id: &Identity, network: &Network, node: u8) -> Result<Lane, LaneError> {
    let mut lane = Lane::connect(id, &network.committee, node, TIME, Arc::new(Meter::default()))?;
    lane.begin("in the test", Traffic::Setup, TIME);
    Ok(lane)
}

/// A channel whose TLS handshake is done, without a greeting.
fn channel(id: &Identity, network: &Network, node: usize) -> Channel {
    let member = &network.committee.members()[node];
    let tcp = TcpStream::connect(&member.address).unwrap();
    Channel::connect(tcp, sahara_mpc::tls::client_config(id, member.key).unwrap(), TIME).unwrap()
}

#[test]
fn silent_and_dripping_connections_keep_no_member_out() {
    let network = Network::start(|toml| toml.replacen("connect = 5", "connect = 2", 1));
    let member = identity::load(&network.home(1).join("key")).unwrap();
    let address = network.committee.members()[0].address.clone();
    let silent: Vec<_> = (0..192).map(|_| TcpStream::connect(&address).unwrap()).collect();
    lane(&member, &network, 0).unwrap();

    let stranger = identity::generate().unwrap();
    let mut slow: Vec<_> = (0..48).map(|_| channel(&stranger, &network, 0)).collect();
    let began = Instant::now();
    for byte in hello(&network) {
        for channel in &mut slow {
            let _ = channel.send_all([&[byte], &[]], TIME); // the node may be tired of it
        }
        lane(&member, &network, 0).unwrap();
        if began.elapsed() > Duration::from_secs(3) {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    // Two seconds for the whole greeting have passed, though a byte came every fifth of one.
    for channel in &mut slow {
        until_closed(channel);
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    drop(silent);
}

#[test]
fn only_requests_begin_requests_and_are_refused_by_their_header() {
    let network = Network::start(|toml| toml);
    let consumer = identity::generate().unwrap();
    let member = identity::load(&network.home(1).join("key")).unwrap();
    let all = (0..=u8::MAX).filter_map(Kind::from_code);
    for kind in all.filter(|kind| !kind.may_ask(Caller::Consumer)) {
        for (id, caller) in [(&consumer, Caller::Consumer), (&member, Caller::Member)] {
            if kind.may_ask(caller) || kind == Kind::Fail {
                continue;
            }
            let mut channel = channel(id, &network, 0);
            channel.send_all([&hello(&network), &header(kind, kind.limit())], TIME).unwrap();
            // Not one byte of what it announces is sent: the node does not wait for it.
            let said = String::from_utf8_lossy(&until_closed(&mut channel)).into_owned();
            assert!(said.contains(&format!("sent a {kind:?} frame")), "{kind:?}: {said}");
        }
    }
}

#[test]
fn a_request_that_drips_ends_in_time() {
    let network = Network::start(|toml| toml.replacen("connect = 5", "connect = 1", 1));
    let consumer = identity::generate().unwrap();
    assert!(drip(channel(&consumer, &network, 0), &network) > Duration::from_millis(500));
}

#[test]
fn a_key_keeps_as_many_lanes_as_it_may_and_the_oldest_idle_one_goes() {
    let network = Network::start(|toml| toml.replacen("lanes_per_key = 64", "lanes_per_key = 2", 1));
    let id = identity::generate().unwrap();
    let mut lanes: Vec<_> = (0..3)
        .map(|_| {
            let mut lane = lane(&id, &network, 0).unwrap();
            lane.send_frame(Kind::Status, &[]).unwrap();
            lane.receive_frame(Kind::StatusReply).unwrap();
            std::thread::sleep(Duration::from_millis(30)); // it falls idle
            lane
        })
        .collect();
    assert_eq!(lanes.iter_mut().map(|lane| lane.is_idle()).collect::<Vec<_>>(), [false, true, true]);
    let other = identity::generate().unwrap();
    lane(&other, &network, 0).unwrap();
    assert!(lanes[1].is_idle() && lanes[2].is_idle(), "another key does not take them");
}
