//! Each limit is asked for by the request that it is there for: a test for each call, which fails when the call is gone.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;
#[path = "common/raw.rs"]
mod raw;

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::rogue::Rogue;
use common::upload::{ByHand, lane};
use common::{Case, Network, case, product};
use raw::{dial, frame};
use sahara_circuits::graph::{
    BoundOrigin, Graph, InputRange, InputSpec, Node, NodeId, Op, Shape, Table, TableId, WeightId, WeightSpec,
};
use sahara_circuits::weights::Weights;
use sahara_mpc::client::{Assignment, Client, JobId, Offer, Rounding, Task, Visibility};
use sahara_mpc::engine::{Cost, random_seed, share_inputs};
use sahara_mpc::identity::{self, Identity, generate};
use sahara_mpc::lane::{Lane, LaneError};
use sahara_mpc::meter::Traffic;
use sahara_mpc::transcript::sign_requests;
use sahara_mpc::wire::{
    AskJob, Begin, Caller, Deal, FailCode, HandBack, Incarnation, Kind, Message, PackId, PackNames, Piece, Prepare,
    Presence, Reclaim, Run, Share, header,
};
use zeroize::Zeroizing;

const TIME: Duration = Duration::from_secs(20);

fn identity() -> Arc<Identity> {
    Arc::new(generate().unwrap())
}

/// A network with one changed line, and what a model that everybody may use is shared as.
fn setting(case: &Case, from: &str, to: &str) -> (Network, Client, Task) {
    let network = Network::start(|toml| {
        assert!(toml.contains(from), "{from}");
        toml.replacen(from, to, 1)
    });
    let owner = network.client();
    case.register(&owner, Visibility::Private);
    let task = case.task(0, Rounding::Exact, Visibility::Private);
    (network, owner, task)
}

/// Asks the second evaluator for a job and keeps it waiting for the input.
fn ask_without_input(network: &Network, who: &Identity, case: &Case, task: Task) -> Result<Lane, LaneError> {
    ask_for_job(network, who, case, task).map(|(lane, _)| lane)
}

fn ask_for_job(network: &Network, who: &Identity, case: &Case, task: Task) -> Result<(Lane, JobId), LaneError> {
    let [_, second] = task.assignment.evaluators();
    let mut lane = Lane::connect(who, &network.committee, second, TIME, Arc::default())?;
    lane.begin("in the test", Traffic::Client, TIME);
    let (run, _) = run(network, who, case, task);
    lane.send(&run)?;
    Ok((lane, run.job))
}

/// Waits until the second evaluator is in the middle of a job's request: a lane without one makes room for others.
fn wait_until_it_carries(network: &Network, who: &Identity, job: JobId, task: Task) {
    let member = identity::load(&network.home(1).join("key")).unwrap();
    let mut lane = lane(network, &member, 2);
    let end = Instant::now() + TIME;
    loop {
        lane.send(&AskJob { job, task, consumer: who.public().0, paid_with: None }).unwrap();
        if lane.receive::<Presence>().unwrap() != Presence::Unknown {
            return;
        }
        assert!(Instant::now() < end, "the job is not asked for");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The second evaluator's half of a fresh job.
fn run(network: &Network, who: &Identity, case: &Case, task: Task) -> (Run, Share) {
    let [a, b] = share_inputs(&case.inputs, &random_seed().unwrap()).map(Share);
    let shares = [a, b];
    let job = JobId::random().unwrap();
    let [_, run] = sign_requests(who, &network.committee.digest(), job, task, &shares).unwrap();
    let [_, share] = shares;
    (run, share)
}

/// What a lane that carries a request is told before it is asked for more; `None` when it is kept waiting.
fn told(lane: &mut Lane) -> Option<String> {
    let said = lane.readable(Duration::from_millis(500)).unwrap();
    said.then(|| lane.receive_frame(Kind::RunReply).unwrap_err().to_string())
}

#[test]
fn jobs_of_one_key() {
    let case = case(71);
    let (network, _, task) = setting(&case, "jobs_per_key = 32", "jobs_per_key = 2");
    let (one, other) = (identity(), identity());
    let mut lanes: Vec<Lane> = (0..3).map(|_| ask_without_input(&network, &one, &case, task).unwrap()).collect();
    let refused: Vec<String> = lanes.iter_mut().filter_map(told).collect();
    assert!(refused.len() == 1 && refused[0].contains("limits.jobs_per_key"), "{refused:?}");
    assert_eq!(told(&mut ask_without_input(&network, &other, &case, task).unwrap()), None);
}

/// A network whose second evaluator has room for so many inputs, or for a job and its input; a pack is ready for `honest`.
fn room_for_inputs(case: &Case, request: u32) -> (Network, Client, Task, u64) {
    let cost = Cost::of(&case.graph, Rounding::Exact, Visibility::Private);
    // An input is there twice while it is read.
    let megabytes = (2 * (cost.evaluator_memory.max(cost.helper_memory) + 2 * cost.inputs)).div_ceil(1 << 20);
    let network = Network::start(|toml| {
        let toml = toml.replacen("job_megabytes = 8192", &format!("job_megabytes = {megabytes}"), 1);
        toml.replacen("request = 60", &format!("request = {request}"), 1)
    });
    case.register(&network.client(), Visibility::Private);
    let task = case.task(0, Rounding::Exact, Visibility::Private);
    let honest = network.client();
    honest.prepare(&task, 1, &mut |_| ()).unwrap();
    (network, honest, task, (megabytes << 20) / (2 * cost.inputs))
}

fn wide_sum() -> Case {
    graph_of(&[Shape::new(1, 1, 200_000)], vec![], |g| {
        g.nodes.push(node(Op::RowSum { x: NodeId(0) }, Shape::new(1, 1, 1)));
    })
}

#[test]
fn inputs_of_which_nothing_has_come_take_no_memory() {
    let case = wide_sum();
    let (network, honest, task, room) = room_for_inputs(&case, 60);
    let who = identity();
    let mut lanes: Vec<Lane> = (0..room + 2).map(|_| ask_without_input(&network, &who, &case, task).unwrap()).collect();
    case.run(&honest, task, false).unwrap();
    assert!(lanes.iter_mut().all(|lane| !lane.readable(Duration::ZERO).unwrap()), "they are waited for meanwhile");
}

#[test]
fn inputs_that_are_announced_and_do_not_come_lose_their_memory_to_whoever_waits() {
    let case = wide_sum();
    let (network, honest, task, room) = room_for_inputs(&case, 5);
    let who = identity();
    let announced = header(Kind::Input, case.inputs[0].len() * 4 + 8);
    let began = Instant::now();
    let mut held: Vec<TcpStream> = (0..room + 2)
        .map(|_| dial(&network, &who, 2, &[&frame(&run(&network, &who, &case, task).0)[..], &announced].concat()))
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    case.run(&honest, task, false).unwrap();
    assert!(began.elapsed() < TIME, "{:?}", began.elapsed());
    // Whoever announces and sends nothing is told, and loses its place.
    for socket in &mut held {
        socket.set_read_timeout(Some(TIME)).unwrap();
        let ended = socket.read_to_end(&mut Vec::new());
        assert!(ended.is_ok() || ended.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset), "still waited for");
    }
}

#[test]
fn requests_of_one_key() {
    let network = Network::start(|toml| toml);
    let mut lane = lane(&network, &identity(), 0);
    let began = Instant::now();
    for _ in 0..500 {
        lane.send_frame(Kind::Status, &[]).unwrap();
        lane.receive_frame(Kind::StatusReply).unwrap();
    }
    // 400 at once, then a hundred a second.
    assert!(began.elapsed() >= Duration::from_millis(950), "{:?}", began.elapsed());
}

#[test]
fn bytes_that_one_key_uploads() {
    let case = case(72);
    let (network, _, _) = setting(&case, "upload_megabytes = 16384", "upload_megabytes = 1");
    let begin = |who: &Identity, bytes| {
        let signed = ByHand::new(&network, who, "model", 1, &case).manifest.sign(who).unwrap();
        let mut lane = lane(&network, who, 0);
        lane.send(&Begin { manifest: signed, bytes }).unwrap();
        lane.receive_frame(Kind::GoOn).map(|_| ())
    };
    let (one, other) = (identity(), identity());
    begin(&one, 700 << 10).unwrap();
    let error = begin(&one, 700 << 10).unwrap_err();
    assert!(error.to_string().contains("limits.upload_megabytes"), "{error}");
    begin(&other, 700 << 10).unwrap();
}

#[test]
fn an_upload_that_trickles_does_not_keep_its_place() {
    let case = case(73);
    let (network, _, _) = setting(&case, "request = 60", "request = 1");
    let owner = identity();
    let signed = ByHand::new(&network, &owner, "model", 1, &case).manifest.sign(&owner).unwrap();
    let mut slow = lane(&network, &owner, 0);
    // As much as may be announced: however long that would take at the slowest, nothing of it comes.
    slow.send(&Begin { manifest: signed, bytes: 1 << 30 }).unwrap();
    slow.receive_frame(Kind::GoOn).unwrap();
    slow.send(&Piece { len: 1 << 20 }).unwrap();
    let began = Instant::now();
    // A byte now and then: each arrives well within the time for one frame.
    while !slow.readable(Duration::from_millis(100)).unwrap_or(true) {
        assert!(began.elapsed() < TIME, "still waited for");
        if slow.send_frame(Kind::Chunk, &[0]).is_err() {
            break;
        }
    }
    let error = slow.receive_frame(Kind::Done).unwrap_err().to_string();
    assert!(error.contains("was too slow"), "{error}");
    // Its place is free again, and an upload at an honest pace is taken whatever it announces.
    let honest = ByHand::new(&network, &owner, "model", 1, &case);
    let end = Instant::now() + TIME;
    while let Err(error) = honest.upload(&network, &owner, 0) {
        assert!(Instant::now() < end, "{error}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn time_of_dealing_also_for_packs_that_a_node_has_made_ahead() {
    let side = 1024;
    let case = graph_of(&[Shape::new(1, side, side)], vec![], |g| {
        for _ in 0..3 {
            g.nodes
                .push(node(Op::MatMul { a: NodeId(0), b: NodeId(0), transpose_b: false }, Shape::new(1, side, side)));
            let x = NodeId(g.nodes.len() as u32 - 1);
            g.nodes.push(node(Op::RowSum { x }, Shape::new(1, side, 1)));
        }
    });
    let (network, owner, task) = setting(&case, "dealing_seconds = 300", "dealing_seconds = 1");
    let (one, other) = (identity(), identity());
    let member = identity::load(&network.home(1).join("key")).unwrap();
    // As the first evaluator has packs made ahead for a consumer: one after the other.
    let ahead = || {
        let mut lane = lane(&network, &member, 0);
        let (job, shares) = (JobId::random().unwrap(), [Share(Vec::new()), Share(Vec::new())]);
        let [run, _] = sign_requests(&one, &network.committee.digest(), job, task, &shares).unwrap();
        lane.send(&Prepare { task, count: 1, consumer: one.public(), job: None, asked: Some(run.asked()) })?;
        lane.receive_frame(Kind::Progress)?;
        lane.receive_frame(Kind::Done).map(|_| ())
    };
    let refused = (0..400).find_map(|_| ahead().err()).expect("dealing for the consumer has no end").to_string();
    assert!(refused.contains("limits.dealing_seconds"), "{refused}");
    let error = network.client_of(&one).prepare(&task, 1, &mut |_| ()).unwrap_err();
    assert!(error.code() == Some(FailCode::Busy) && error.to_string().contains("limits.dealing_seconds"), "{error}");
    network.client_of(&other).prepare(&task, 1, &mut |_| ()).unwrap();
    // Neither may a consumer have it done in somebody else's name.
    let mut lane = lane(&network, &other, 0);
    lane.send(&Prepare { task, count: 1, consumer: owner.key(), job: None, asked: None }).unwrap();
    let error = lane.receive_frame(Kind::Progress).unwrap_err().to_string();
    assert!(error.contains("for whoever asks for them only"), "{error}");
}

/// Asks the second evaluator for a job, with an input of a wrong length: what it says when it has read the weights.
fn ask_in_vain(network: &Network, who: &Identity, case: &Case, task: Task) -> String {
    let (mut lane, _) = ask_for_job(network, who, case, task).unwrap();
    lane.send_frame(Kind::Input, &[0; 3]).unwrap();
    lane.receive_frame(Kind::RunReply).unwrap_err().to_string()
}

#[test]
fn time_of_reading_weights_that_are_not_in_memory() {
    // Material of 32 MB at each evaluator, and as much again while it is read: of two models one is in memory.
    let case = product([1, 1 << 11, 1 << 11]);
    let network = Network::start(|toml| {
        let toml = toml.replacen("cache_megabytes = 4096", "cache_megabytes = 100", 1);
        toml.replacen("dealing_seconds = 300", "dealing_seconds = 1", 1)
    });
    let tasks = two_models(&network.client(), &case, [0, 0]);
    let (one, other) = (identity(), identity());
    let refused = |why: &String| why.contains("limits.dealing_seconds");
    let mut turns = (0..400).map(|n| (n, ask_in_vain(&network, &one, &case, tasks[n % 2])));
    let (last, _) = turns.find(|(_, why)| refused(why)).expect("reading has no end");
    let there = ask_in_vain(&network, &one, &case, tasks[(last + 1) % 2]);
    assert!(there.contains("does not belong there"), "in memory, it is free: {there}");
    let others = ask_in_vain(&network, &other, &case, tasks[last % 2]);
    assert!(others.contains("does not belong there"), "{others}");
}

/// Two models of one case that are not in memory, each for one assignment.
fn two_models(owner: &Client, case: &Case, helpers: [u8; 2]) -> [Task; 2] {
    [("one", helpers[0]), ("two", helpers[1])].map(|(name, helper)| {
        let offer = Offer { name: name.parse().unwrap(), ..case.offer(Visibility::Private) };
        let sharing = owner.share(&offer, &|_, _| ()).unwrap();
        sharing.task(&case.graph, Assignment::new(helper).unwrap(), Rounding::Exact).unwrap()
    })
}

#[test]
fn whoever_asks_another_node_stands_in_no_line_of_those_that_read() {
    let case = product([1, 1 << 9, 1 << 9]);
    let mut network = Network::start(|toml| toml);
    let [slow, quick] = two_models(&network.client(), &case, [0, 2]);
    assert_eq!((slow.assignment.evaluators(), quick.assignment.evaluators()), ([1, 2], [0, 1]));
    network.stop_node(2);
    // It says at once that it was not asked for the job; and then for a long time nothing.
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let rogue = Rogue::start(&network, 2, move |mut lane| {
        while let Ok((Kind::AskJob, _)) = lane.receive_request(Caller::Member) {
            if count.fetch_add(1, Ordering::SeqCst) > 0 {
                std::thread::sleep(Duration::from_secs(8));
            }
            if lane.send(&Presence::Unknown).is_err() {
                return;
            }
        }
    });
    let shares = share_inputs(&case.inputs, &random_seed().unwrap()).map(Share);
    let who = identity();
    let job = JobId::random().unwrap();
    let [run, _] = sign_requests(&who, &network.committee.digest(), job, slow, &shares).unwrap();
    let mut waits = lane(&network, &who, 1);
    waits.send(&run).unwrap();
    let end = Instant::now() + TIME;
    while asked.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < end, "the second evaluator is not asked again");
        std::thread::sleep(Duration::from_millis(5));
    }
    let began = Instant::now();
    let told = ask_in_vain(&network, &identity(), &case, quick);
    assert!(told.contains("does not belong there"), "{told}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    rogue.stop();
}

#[test]
fn what_a_helper_has_read_is_its_own_use_and_not_that_of_the_consumer_that_it_names() {
    let case = product([1, 1 << 11, 1 << 11]);
    let network = Network::start(|toml| {
        let toml = toml.replacen("cache_megabytes = 4096", "cache_megabytes = 100", 1);
        toml.replacen("dealing_seconds = 300", "dealing_seconds = 1", 1)
    });
    let tasks = two_models(&network.client(), &case, [0, 0]);
    let (victim, other) = (identity(), identity());
    let helper = identity::load(&network.home(0).join("key")).unwrap();
    let deal = |who: &Identity, n: usize| {
        let mut lane = lane(&network, &helper, 1);
        let mut pack = [0; 16];
        pack[..8].copy_from_slice(&n.to_le_bytes());
        let deal = Deal {
            pack: PackId(pack),
            task: tasks[n % 2],
            consumer: who.public(),
            job: None,
            incarnation: Incarnation([1; 16]),
            seed: Zeroizing::new([1; 32]),
            corrections: 0,
        };
        lane.send(&deal)?;
        // Then it breaks off.
        lane.receive_frame(Kind::DealAccept).map(|_| ())
    };
    let (n, error) = (0..400).find_map(|n| deal(&victim, n).err().map(|error| (n, error))).expect("it has no end");
    let error = error.to_string();
    assert!(error.contains("limits.dealing_seconds"), "{error}");
    // Others have weights read there, the same helper for another consumer and that consumer itself.
    deal(&other, n).unwrap();
    let mut own = lane(&network, &victim, 1);
    let shares = share_inputs(&case.inputs, &random_seed().unwrap()).map(Share);
    let job = JobId::random().unwrap();
    let [run, _] = sign_requests(&victim, &network.committee.digest(), job, tasks[(n + 1) % 2], &shares).unwrap();
    own.send(&run).unwrap();
    own.send_frame(Kind::Input, &[0; 3]).unwrap();
    let told = own.receive_frame(Kind::RunReply).unwrap_err().to_string();
    assert!(told.contains("does not belong there"), "{told}");
}

#[test]
fn numbers_and_bytes_of_packs() {
    let wide = Shape::new(1, 1, 1 << 14);
    let case = graph_of(&[wide], vec![Table { name: "t".into(), entries: vec![0; 1024] }], |g| {
        g.nodes.push(node(Op::Lookup { x: NodeId(0), table: TableId(0) }, wide));
        g.nodes.push(node(Op::RowSum { x: NodeId(1) }, Shape::new(1, 1, 1)));
    });
    let (network, client, task) = setting(&case, "\npack_megabytes = 16384", "\npack_megabytes = 1");
    let error = client.prepare(&task, 1, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("limits.pack_megabytes"), "{error}");
    assert_eq!(network.status(&client)[0].packs_dealt, 0);
    let error = client.prepare(&task, 65, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("65 packs were asked for, from 1 to 64 can be"), "{error}");
}

#[test]
fn places_by_key_by_address_and_in_all_and_the_members_own() {
    let case = case(74);
    for (limit, value, one_key) in
        [("lanes_per_key", 64, true), ("lanes_per_address", 192, false), ("lanes", 256, false)]
    {
        let (from, to) = (format!("\n{limit} = {value}"), format!("\n{limit} = 3"));
        let (network, owner, task) = setting(&case, &from, &to);
        drop(owner);
        let mut busy: Vec<(Arc<Identity>, Lane)> = Vec::new();
        for _ in 0..3 {
            let who = busy.first().map(|(who, _)| who.clone()).filter(|_| one_key).unwrap_or_else(identity);
            let (lane, job) = ask_for_job(&network, &who, &case, task).unwrap();
            wait_until_it_carries(&network, &who, job, task);
            busy.push((who, lane));
        }
        assert!(busy.iter_mut().all(|(_, lane)| told(lane).is_none()), "all three are in the middle of a request");
        let next = if one_key { busy[0].0.clone() } else { identity() };
        let error = match ask_without_input(&network, &next, &case, task) {
            Err(error) => error.to_string(),
            Ok(mut lane) => told(&mut lane).expect("a fourth has no place"),
        };
        assert!(error.contains(&format!("(limits.{limit})")), "{limit}: {error}");
        // Members have places of their own, whatever consumers hold.
        let member = identity::load(&network.home(1).join("key")).unwrap();
        let mut lane = lane(&network, &member, 2);
        lane.send_frame(Kind::Status, &[]).unwrap();
        lane.receive_frame(Kind::StatusReply).unwrap();
    }
}

#[test]
fn what_only_members_may_ask() {
    let case = case(75);
    let (network, _, task) = setting(&case, "jobs = 4", "jobs = 4");
    let names = || PackNames { incarnation: Incarnation([0; 16]), packs: vec![] };
    let consumer = identity();
    let refused = |kind: Kind, payload: Vec<u8>| {
        let mut lane = lane(&network, &consumer, 2);
        lane.send_frame(kind, &payload).unwrap();
        let error = lane.receive_frame(Kind::Done).unwrap_err().to_string();
        assert!(error.contains("does not belong there"), "{kind:?}: {error}");
    };
    refused(Kind::HandBack, HandBack(names()).encode().to_vec());
    refused(Kind::Reclaim, Reclaim(names()).encode().to_vec());
    let ask = AskJob { job: JobId([1; 16]), task, consumer: consumer.public().0, paid_with: None };
    refused(Kind::AskJob, ask.encode().to_vec());
    refused(Kind::OpenJob, vec![0; 100]);
    refused(Kind::Deal, vec![0; 100]);
}

fn node(op: Op, shape: Shape) -> Node {
    Node { name: "n".into(), op, shape, bits: 32, bound: 1, origin: BoundOrigin::Calibrated }
}

/// A graph with these inputs, all zero, and something to share at its end.
fn graph_of(shapes: &[Shape], tables: Vec<Table>, build: impl FnOnce(&mut Graph)) -> Case {
    let input = |shape: &Shape| InputSpec {
        name: "i".into(),
        shape: *shape,
        bits: 32,
        range: InputRange::Symmetric,
        max_abs: 1,
        max_row_norm: 1,
    };
    let mut g = Graph {
        model: "limits".into(),
        seq_len: 1,
        layers: 0,
        weights_root: [0; 32],
        inputs: shapes.iter().map(input).collect(),
        weights: vec![],
        tables,
        nodes: shapes.iter().zip(0..).map(|(shape, i)| node(Op::Input(i), *shape)).collect(),
        outputs: vec![],
    };
    build(&mut g);
    let x = NodeId(g.nodes.len() as u32 - 1);
    let shape = g.nodes[x.0 as usize].shape;
    g.weights.push(WeightSpec { name: "w".into(), rows: 1, cols: shape.cols });
    g.nodes.push(node(Op::AddWeight { x, w: WeightId(0) }, shape));
    g.outputs = vec![NodeId(x.0 + 1)];
    let weights = Weights { tensors: vec![vec![1; shape.cols as usize]] };
    g.weights_root = weights.root(&g.weights);
    g.check().unwrap();
    let inputs = shapes.iter().map(|shape| vec![0; shape.len()]).collect();
    Case { graph: Arc::new(g), weights, inputs, expected: vec![], shared: Default::default() }
}
