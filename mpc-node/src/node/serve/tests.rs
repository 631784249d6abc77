//! Tests of a lane from its first request to its end.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use super::super::trial::{self, Trial};
use super::*;
use crate::channel::Channel;
use crate::identity::{Identity, generate};
use crate::manifest::SharingId;
use crate::wire::{DeleteSharing, HEADER, header, parse_header};

const TIME: Duration = Duration::from_secs(10);

/// A client's end of a lane, and the node's: the lane itself and its place.
fn lane(trial: &Trial, identity: &Identity, caller: Caller) -> (Channel, Lane, Peer, Place) {
    let (client, lane, peer, place, _) = lane_and_socket(trial, identity, caller);
    (client, lane, peer, place)
}

/// The same with the client's socket.
fn lane_and_socket(trial: &Trial, identity: &Identity, caller: Caller) -> (Channel, Lane, Peer, Place, TcpStream) {
    let node = &trial.node;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let socket = tcp.try_clone().unwrap();
    let accepted = listener.accept().unwrap().0;
    // The system keeps little of what is not read.
    sockopt::set_socket_send_buffer_size(&accepted, 4 << 10).unwrap();
    let client = crate::tls::client_config(identity, node.machine.identity.public()).unwrap();
    let server = crate::tls::server_config(&node.machine.identity, node.admission()).unwrap();
    let (client, own) = std::thread::scope(|scope| {
        let client = scope.spawn(|| Channel::connect(tcp, client, TIME).unwrap());
        let own = Channel::accept(accepted, server, TIME).unwrap();
        (client.join().unwrap(), own)
    });
    let peer = Peer { key: own.peer(), address: [127, 0, 0, 1].into(), caller };
    let place = node.machine.lanes.enter(peer, own.closing()).ok().unwrap();
    (client, Lane::greeted(own, "a client".into(), TIME, trial.seat.meter.clone()), peer, place, socket)
}

fn ask(client: &mut Channel, kind: Kind, payload: &[u8]) {
    client.send_all([&header(kind, payload.len()), payload], TIME).unwrap();
}

/// The frame that comes next; nothing when the lane ends before.
fn told(client: &mut Channel) -> Option<(Kind, String)> {
    let mut head = [0; HEADER];
    client.receive_exact(&mut head, TIME).ok()?;
    let (kind, len) = parse_header(head).unwrap();
    let mut payload = vec![0; len];
    client.receive_exact(&mut payload, TIME).ok()?;
    Some((kind, String::from_utf8_lossy(&payload).into_owned()))
}

#[test]
fn requests_are_answered_one_after_the_other_until_one_fails_or_the_client_goes() {
    let trial = trial::node(|_| ());
    let (seat, consumer) = (&trial.seat, generate().unwrap());
    let serving = |work: &dyn Fn(&mut Channel)| {
        let (mut client, lane, peer, place) = lane(&trial, &consumer, Caller::Consumer);
        std::thread::scope(|scope| {
            let served = scope.spawn(move || {
                let place = place; // goes with the lane
                serve(seat, lane, &peer, &place)
            });
            for _ in 0..2 {
                ask(&mut client, Kind::Status, &[]);
                assert_eq!(told(&mut client).unwrap().0, Kind::StatusReply);
            }
            work(&mut client);
            drop(client);
            served.join().unwrap()
        })
    };
    assert!(serving(&|_| ()).is_ok(), "a client that goes is no failure");
    let refused = || seat.machine.refused.load(Ordering::Relaxed);
    let unknown = DeleteSharing(SharingId([1; 32])).encode();
    let failed = serving(&|client| {
        ask(client, Kind::DeleteSharing, &unknown);
        let (kind, text) = told(client).unwrap();
        assert!(kind == Kind::Fail && text.contains("no such sharing of yours is here"), "{text}");
        assert_eq!(told(client), None);
    });
    assert!(failed.is_ok() && refused() == 1, "the request failed, not the lane");
    let strange = serving(&|client| {
        ask(client, Kind::StatusReply, &[]);
        let (kind, text) = told(client).unwrap();
        assert!(kind == Kind::Fail && text.contains("sent a StatusReply frame"), "{text}");
    });
    assert!(strange.unwrap_err().to_string().contains("does not belong there"));
    assert_eq!(seat.machine.busy.load(Ordering::Relaxed), 0);
}

#[test]
fn a_lane_ends_without_an_answer_when_the_node_stops_and_when_nobody_asks_for_long() {
    let ends = |trial: &Trial| {
        let (mut client, lane, peer, place) = lane(trial, &trial.others[0], Caller::Member);
        ask(&mut client, Kind::Status, &[]);
        serve(&trial.seat, lane, &peer, &place).unwrap();
        drop(place); // as its thread does
        assert_eq!(told(&mut client), None);
    };
    let trial = trial::node(|_| ());
    trial.node.machine.stopping.store(true, Ordering::Relaxed);
    ends(&trial);
    let trial = trial::node(|_| ());
    trial.node.machine.lanes.close_idle();
    ends(&trial);
    let trial = trial::node(|config| config.timeouts.idle = 0);
    let (mut client, lane, peer, place) = lane(&trial, &trial.others[0], Caller::Member);
    serve(&trial.seat, lane, &peer, &place).unwrap();
    drop(place); // as its thread does
    assert_eq!(told(&mut client), None);
}

#[test]
fn a_consumer_that_asks_too_often_waits_for_its_answer() {
    let trial = trial::node(|_| ());
    let (seat, consumer) = (&trial.seat, generate().unwrap());
    let (mut client, lane, peer, place) = lane(&trial, &consumer, Caller::Consumer);
    let began = Instant::now();
    for _ in 0..440 {
        seat.machine.quotas.request(peer.key, seat.machine.uptime());
    }
    ask(&mut client, Kind::Status, &[]);
    std::thread::scope(|scope| {
        let served = scope.spawn(|| serve(seat, lane, &peer, &place));
        assert_eq!(told(&mut client).unwrap().0, Kind::StatusReply);
        assert!(began.elapsed() >= Duration::from_millis(350), "{:?}", began.elapsed());
        drop(client);
        served.join().unwrap().unwrap();
    });
}

#[test]
fn answers_that_are_taken_slowly_hold_a_lane_for_the_time_of_a_connection_in_all() {
    let trial = trial::node(|config| config.timeouts.connect = 1);
    let (mut client, lane, peer, place, raw) = lane_and_socket(&trial, &trial.others[0], Caller::Consumer);
    sockopt::set_socket_recv_buffer_size(&raw, 2 << 10).unwrap();
    for _ in 0..300 {
        ask(&mut client, Kind::Status, &[]);
    }
    let seat = &trial.seat;
    std::thread::scope(|scope| {
        let served = scope.spawn(move || {
            let place = place; // goes with the lane
            serve(seat, lane, &peer, &place)
        });
        // Each answer is taken well within a second.
        let began = Instant::now();
        let mut buffer = [0; 400];
        while !served.is_finished() {
            assert!(began.elapsed() < Duration::from_secs(4), "still served");
            let _ = std::io::Read::read(&mut &raw, &mut buffer);
            std::thread::sleep(Duration::from_millis(40));
        }
        assert!(served.join().unwrap().unwrap_err().to_string().contains("was too slow"));
    });
}
