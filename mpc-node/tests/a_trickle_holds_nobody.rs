//! A node that is heard of byte by byte, each well within its time-out, holds nobody longer than the time-out: not an owner
//! who takes a model back, not a consumer, not the other evaluator. The other nodes are told meanwhile.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;
#[path = "common/trickle.rs"]
mod trickle;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::rogue::Rogue;
use common::{Case, Network, case, product};
use sahara_mpc::channel::Channel;
use sahara_mpc::client::{
    Assignment, Client, ClientError, ClientOptions, Committee, Consumers, Member, Offer, Rounding, SharingRef, Stop,
    Visibility,
};
use sahara_mpc::identity::{Identity, generate};
use sahara_mpc::lane::{Lane, LaneError};
use sahara_mpc::meter::Traffic;
use sahara_mpc::tls::{Admission, server_config};
use sahara_mpc::wire::{Caller, FailCode, FindSharing, Kind, Progress, SharingReply};
use trickle::Trickle;

const SECOND: Duration = Duration::from_secs(1);
const TIME: Duration = Duration::from_secs(20);

/// A client that reaches one node only through somebody else's hands; it has a lane to each already.
fn through(network: &Network, node: usize, identity: &Arc<Identity>, options: ClientOptions) -> (Client, Trickle) {
    let trickle = Trickle::start(&network.committee.members()[node].address);
    let mut members: [Member; 3] = network.committee.members().to_vec().try_into().unwrap();
    members[node].address = trickle.address.clone();
    let client = Client::shared(identity.clone(), Committee::new(members).unwrap(), options);
    for status in client.status() {
        status.unwrap();
    }
    (client, trickle)
}

fn within<T>(most: Duration, what: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    assert!(began.elapsed() < most, "{what}: {:?}", began.elapsed());
    result
}

#[test]
fn an_owner_tells_the_other_nodes_whatever_one_does() {
    let network = Network::start(|toml| toml);
    let owner = Arc::new(generate().unwrap());
    let case = case(61);
    let sharing = case.register_for(&network.client_of(&owner), Visibility::Open, &[]);
    let name = &sharing.manifest().name;
    let options = ClientOptions { connect_timeout: SECOND, ..ClientOptions::default() };
    let (client, trickle) = through(&network, 0, &owner, options);
    trickle.slow_down(1);
    let too_slow = |error: ClientError| {
        let text = error.to_string();
        assert!(text.contains("node 1") && text.contains("too slow"), "{text}");
    };
    too_slow(within(2 * SECOND, "find", || client.find(&SharingRef::Manifest(sharing.id())).unwrap_err()));
    let (client, trickle) = through(&network, 0, &owner, options);
    trickle.slow_down(1);
    let error =
        within(3 * SECOND, "set_consumers", || client.set_consumers(name, Consumers::Only(vec![])).unwrap_err());
    assert!(error.to_string().contains("node 1"), "{error}");
    let shown = [0, 1, 2].map(|node| {
        let mut lane = Lane::connect(&owner, &network.committee, node, TIME, Arc::default()).unwrap();
        lane.begin("asking", Traffic::Setup, TIME);
        lane.send(&FindSharing::Current(sharing.manifest().sharing())).unwrap();
        lane.receive::<SharingReply>().unwrap().access.map(|access| access.list().consumers.clone())
    });
    assert_eq!(shown[1..], [Some(Consumers::Only(vec![])), Some(Consumers::Only(vec![]))]);
    let (client, trickle) = through(&network, 0, &owner, options);
    trickle.slow_down(1);
    too_slow(within(2 * SECOND, "unshare", || client.unshare(name).unwrap_err()));
    assert_eq!(network.status(&network.client()).map(|status| status.sharings)[1..], [0, 0]);
}

#[test]
fn a_consumer_waits_for_an_answer_no_longer_than_it_said_and_ends_when_it_is_told_to() {
    let network = Network::start(|toml| toml);
    let owner = network.client();
    let case = product([64, 1, 64]);
    let offer = Offer { client_part: Some(&[7; 10_000]), ..case.offer(Visibility::Open) };
    let sharing = owner.share(&offer, &|_, _| ()).unwrap();
    let task = sharing.task(&case.graph, Assignment::new(2).unwrap(), Rounding::Exact).unwrap();
    owner.prepare(&task, 2, &mut |_| ()).unwrap();
    let options = ClientOptions { job_timeout: SECOND, ..ClientOptions::default() };
    let (client, trickle) = through(&network, 0, &Arc::new(generate().unwrap()), options);
    trickle.slow_down(1);
    let error = within(4 * SECOND, "a job's time", || case.run(&client, task, false).unwrap_err());
    assert!(error.to_string().contains("node 1"), "{error}");

    let (client, trickle) = through(&network, 0, &Arc::new(generate().unwrap()), ClientOptions::default());
    trickle.slow_down(1);
    let stop = Stop::default();
    let stopped = std::thread::scope(|scope| {
        let client = client.until(stop.clone());
        let case = &case;
        let job = scope.spawn(move || case.run(&client, task, false));
        // Its answer has come meanwhile, but for its bytes.
        std::thread::sleep(SECOND);
        stop.set();
        within(SECOND, "a job that is given up", || job.join().unwrap())
    });
    assert!(matches!(stopped, Err(ClientError::Stopped)), "{stopped:?}");

    // The client part comes from the node that gives it.
    let options = ClientOptions { prepare_timeout: SECOND, ..ClientOptions::default() };
    let (client, trickle) = through(&network, 0, &Arc::new(generate().unwrap()), options);
    trickle.slow_down(1);
    let part = within(4 * SECOND, "a client part", || client.client_part(&sharing, &mut |_, _| ()));
    assert_eq!(part.unwrap(), [7; 10_000]);
}

#[test]
fn a_helper_that_tells_of_nothing_new_is_not_heard_for_ever() {
    let mut network = Network::start(|toml| toml);
    let case = case(62);
    case.register(&network.client(), Visibility::Open);
    let task = case.task(2, Rounding::Exact, Visibility::Open);
    network.stop_node(2);
    let rogue = Rogue::start(&network, 2, |mut lane| {
        let _ = lane.receive_request(Caller::Consumer);
        while lane.send(&Progress { done: 1, total: 5 }).is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let error = within(2 * SECOND, "progress", || network.client().prepare(&task, 5, &mut |_| ()).unwrap_err());
    assert!(error.to_string().contains("1 of 5 packs are done, after 1"), "{error}");
    rogue.stop();
}

#[test]
fn a_round_that_comes_byte_by_byte_ends_the_job_in_its_time() {
    let mut network = Network::start(|toml| toml.replacen("round = 10", "round = 2", 1));
    // The first evaluator hears the second one through somebody else's hands.
    network.stop_node(1);
    let trickle = Trickle::start(&network.committee.members()[2].address);
    let mut members: [Member; 3] = network.committee.members().to_vec().try_into().unwrap();
    members[2].address = trickle.address.clone();
    Committee::new(members).unwrap().save(&network.home(1).join("committee.toml")).unwrap();
    network.start_node(1);
    let client = network.client();
    let case: Case = product([64, 64, 4]);
    case.register(&client, Visibility::Private);
    let task = case.task(0, Rounding::Exact, Visibility::Private);
    client.prepare(&task, 2, &mut |_| ()).unwrap();
    assert_eq!(case.run(&client, task, false).unwrap().outputs, case.expected);
    // No opening is so large.
    trickle.slow_down(1000);
    let error = within(8 * SECOND, "a round", || case.run(&client, task, false).unwrap_err());
    let text = error.to_string();
    assert!(text.contains("node 3") && text.contains(", in round 1") && error.code() == Some(FailCode::Peer), "{text}");
}

/// Two ends of a lane.
fn lanes() -> (Lane, Lane) {
    let keys = [(); 3].map(|()| generate().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut members = keys.each_ref().map(|key| {
        let name = key.public().to_string();
        Member { address: format!("{}:1", &name[..8]), name, key: key.public() }
    });
    members[0].address = address;
    let committee = Committee::new(members).unwrap();
    std::thread::scope(|scope| {
        let accepted = scope.spawn(|| {
            let tcp: TcpStream = listener.accept().unwrap().0;
            let channel = Channel::accept(tcp, server_config(&keys[0], Admission::Any).unwrap(), TIME).unwrap();
            Lane::accept(channel, "asker".into(), &committee, TIME, Arc::default()).unwrap()
        });
        let lane = Lane::connect(&keys[1], &committee, 0, TIME, Arc::default()).unwrap();
        (lane, accepted.join().unwrap())
    })
}

#[test]
fn a_stream_in_small_chunks_has_the_time_of_one_frame() {
    type Receive = fn(&mut Lane) -> Result<(), LaneError>;
    let receivers: [Receive; 2] =
        [|lane| lane.receive_stream(1000).map(drop), |lane| lane.receive_chunks(1000, &mut |_| true)];
    for receive in receivers {
        let (mut lane, mut other) = lanes();
        let sending = std::thread::spawn(move || {
            other.begin("sending", Traffic::Setup, TIME);
            while !other.has_hung_up() {
                let _ = other.send_frame(Kind::Chunk, &[1]);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        lane.begin("receiving", Traffic::Setup, SECOND / 2);
        let error = within(2 * SECOND, "a stream", || receive(&mut lane).unwrap_err());
        assert!(error.to_string().contains("was too slow, receiving"), "{error}");
        drop(lane);
        sending.join().unwrap();
    }
}

#[test]
fn whoever_takes_bulk_data_slowly_has_a_time_in_all() {
    let (mut lane, mut other) = lanes();
    let reading = std::thread::spawn(move || {
        other.begin("reading", Traffic::Setup, TIME);
        // A megabyte each half second would do for each frame, but not for the pace.
        while other.receive_frame(Kind::Chunk).is_ok() {
            std::thread::sleep(SECOND / 2);
        }
    });
    lane.begin("sending", Traffic::Setup, TIME);
    lane.pace(Some((SECOND, 100 << 20)));
    let error = within(TIME / 2, "sending", || {
        loop {
            if let Err(error) = lane.send_frame(Kind::Chunk, &vec![0; 1 << 20]) {
                break error;
            }
        }
    });
    assert!(error.to_string().contains("was too slow, sending"), "{error}");
    drop(lane);
    reading.join().unwrap();
}
