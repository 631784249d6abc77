//! A sharing whose answers leave with noise: each is another one, each is counted, and beyond the budget there is none.
#![allow(clippy::unwrap_used)] // a panic is the failure report

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Case, Network, files};
use sahara_circuits::graph::{
    BoundOrigin, Graph, InputRange, InputSpec, Node, NodeId, Op, Shape, WeightId, WeightSpec,
};
use sahara_circuits::reference::{ExecOptions, execute};
use sahara_circuits::votes;
use sahara_circuits::weights::Weights;
use sahara_mpc::client::{Assignment, Client, ClientError, Inference, Offer, Rounding, Sharing, Task, Visibility};
use sahara_mpc::engine::NodeNoise;
use sahara_mpc::manifest::{AnswerCost, Budget, NoiseTerms, Sensitivity};
use sahara_mpc::wire::FailCode;

const WIDTH: u32 = 200;
/// Variance of each node's numbers.
const VARIANCE: u64 = 450;
const DELTA: f64 = 1e-5;

/// `x · W + noise`; with `clear`, `x · W` leaves beside it.
fn noisy(clear: bool) -> Case {
    let shape = |cols| Shape::new(1, 1, cols);
    let node = |name: &str, op, cols, bound| Node {
        name: name.into(),
        op,
        shape: shape(cols),
        bits: 32,
        bound,
        origin: BoundOrigin::Proven,
    };
    let input = |name: &str, cols, max_abs| {
        let (shape, range) = (shape(cols), InputRange::Symmetric);
        InputSpec { name: name.into(), shape, bits: 32, range, max_abs, max_row_norm: u32::MAX }
    };
    let sum = NodeId(3);
    let mut graph = Graph {
        model: "noisy".into(),
        seq_len: 1,
        layers: 1,
        weights_root: [0; 32],
        inputs: vec![input("x", 3, 10), input("noise", WIDTH, 1 << 20)],
        weights: vec![WeightSpec { name: "w".into(), rows: 3, cols: WIDTH }],
        tables: vec![],
        nodes: vec![
            node("x", Op::Input(0), 3, 10),
            node("value", Op::MatMulWeight { x: NodeId(0), w: WeightId(0) }, WIDTH, 1 << 20),
            node("noise", Op::Input(1), WIDTH, 1 << 20),
            node("sum", Op::Add { a: NodeId(1), b: NodeId(2) }, WIDTH, 1 << 21),
        ],
        outputs: if clear { vec![sum, NodeId(1)] } else { vec![sum] },
    };
    let weights = Weights { tensors: vec![(0..3 * WIDTH as i32).map(|i| i * i % 1009 - 500).collect()] };
    graph.weights_root = weights.root(&graph.weights);
    let x = vec![7, -5, 3];
    let still = [x.clone(), vec![0; WIDTH as usize]];
    let expected = execute(&graph, &weights, &still, &ExecOptions::default()).unwrap().outputs;
    Case { graph: Arc::new(graph), weights, inputs: vec![x, Vec::new()], expected, shared: Default::default() }
}

fn terms(epsilon: f64) -> NoiseTerms {
    NoiseTerms {
        noise: NodeNoise::new(vec![1], VARIANCE).unwrap(),
        assignment: Assignment::ALL[1],
        dataset: "numbers".parse().unwrap(),
        sensitivity: Sensitivity { l1: 8, l2_squared: 16 },
        budget: Budget::new(epsilon, DELTA).unwrap(),
    }
}

/// What so many answers cost, by this test's own account: RDP of Skellam noise of variance 900, converted at whole orders.
fn cost(answers: u64) -> f64 {
    let (v, l1, l2_squared) = (2.0 * VARIANCE as f64, 8.0, 16.0);
    let at = |order: u32| {
        let a = f64::from(order);
        let excess = ((2.0 * a - 1.0) * l2_squared + 6.0 * l1) / (4.0 * v * v);
        let one = a * l2_squared / (2.0 * v) + excess.min(3.0 * l1 / (2.0 * v));
        answers as f64 * one + ((a - 1.0) / a).ln() - (DELTA.ln() + a.ln()) / (a - 1.0)
    };
    (2..4000).map(at).fold(f64::INFINITY, f64::min)
}

/// Runs the job, and again while others, or an attempt of its own that found no pack, hold what is left of the budget.
fn ask(case: &Case, client: &Client, task: Task) -> Result<Inference, ClientError> {
    loop {
        match case.run(client, task, true) {
            Err(error) if error.code() == Some(FailCode::Busy) => std::thread::sleep(Duration::from_millis(20)),
            answered => return answered,
        }
    }
}

fn share(case: &Case, client: &Client, terms: NoiseTerms) -> Result<Sharing, ClientError> {
    let assignments = [terms.assignment];
    let offer = Offer { assignments: &assignments, noise: Some(terms), ..case.offer(Visibility::Private) };
    let sharing = loop {
        match client.share(&offer, &|_, _| ()) {
            // A node may still be at what it has refused.
            Err(error) if error.to_string().contains("another upload of this owner") => {}
            shared => break shared?,
        }
    };
    *case.shared[Visibility::Private as usize].lock().unwrap() = Some(sharing.clone());
    Ok(sharing)
}

#[test]
fn answers_are_the_plain_ones_with_noise_until_the_budget_is_used_up_and_no_restart_forgets() {
    let mut network = Network::start(|toml| toml);
    let (owner, consumer) = (network.client(), network.client());
    let case = noisy(false);
    let most = (1..).find(|n| cost(*n) > 2.0).unwrap() - 1;
    assert!((5..15).contains(&most), "{most}");
    let sharing = share(&case, &owner, terms(2.0)).unwrap();
    let task = case.task(1, Rounding::Exact, Visibility::Private);
    let mut seen = Vec::new();
    for n in 0..most {
        // Whoever asks, it is the one account; and whichever evaluator is new, it knows.
        let answer = ask(&case, if n % 2 == 0 { &consumer } else { &owner }, task).unwrap();
        let noise: Vec<f64> =
            answer.outputs[0].iter().zip(&case.expected[0]).map(|(y, plain)| f64::from(y - plain)).collect();
        let variance = noise.iter().map(|x| x * x).sum::<f64>() / noise.len() as f64;
        let want = 3.0 * VARIANCE as f64;
        assert!((variance / want - 1.0).abs() < 0.6, "answer {n}: {variance} for {want}");
        assert!(!seen.contains(&noise));
        seen.push(noise);
        let told = consumer.spent(&sharing).unwrap().unwrap();
        let cost_of_one = terms(2.0).cost(u64::from(WIDTH));
        assert_eq!(told.0, [(cost_of_one, n + 1)]);
        let epsilon = told.epsilon(&terms(2.0).budget).unwrap();
        assert!((epsilon / cost(n + 1) - 1.0).abs() < 0.02, "{epsilon} {}", cost(n + 1));
        if n == 2 {
            network.stop_node(0);
            network.start_node(0);
        }
    }
    for node in [0, 2] {
        network.stop_node(node);
        network.start_node(node);
    }
    consumer.prepare(&task, 1, &mut |_| ()).unwrap();
    let packs = || network.status(&owner).map(|status| status.packs.iter().map(|(_, count)| *count).sum::<u32>());
    let ready = packs();
    assert!(ready[0] > 0 && ready[2] > 0, "{ready:?}");
    for client in [&consumer, &owner] {
        let error = ask(&case, client, task).unwrap_err();
        assert_eq!(error.code(), Some(FailCode::UsedUp), "{error}");
        assert!(error.to_string().contains("the budget of `numbers` is used up"), "{error}");
    }
    assert_eq!(packs(), ready, "no pack is taken for what is refused");
    // More is the owner's to sign, and goes on from there.
    let again = share(&case, &owner, terms(2.0)).unwrap_or_else(|e| panic!("{e}"));
    let same = case.task(1, Rounding::Exact, Visibility::Private);
    assert_eq!(ask(&case, &owner, same).unwrap_err().code(), Some(FailCode::UsedUp), "{:?}", again.id());
    share(&case, &owner, terms(2.2)).unwrap();
    let more = case.task(1, Rounding::Exact, Visibility::Private);
    let next = (1..).find(|n| cost(*n) > 2.2).unwrap() - 1 - most;
    for _ in 0..next {
        ask(&case, &owner, more).unwrap();
    }
    assert_eq!(ask(&case, &owner, more).unwrap_err().code(), Some(FailCode::UsedUp));
}

#[test]
fn what_would_leave_clear_or_be_counted_elsewhere_is_not_taken() {
    let network = Network::start(|toml| toml);
    let client = network.client();
    let refused = |case: &Case, terms: NoiseTerms, why: &str| {
        let error = share(case, &client, terms).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(&noisy(true), terms(1.0), "output `value` would leave without");
    let wide = NodeNoise::new(vec![1], 1 << 26).unwrap();
    refused(&noisy(false), NoiseTerms { noise: wide, ..terms(1.0) }, "is for numbers up to");
    let wire = NodeNoise::new(vec![0], VARIANCE).unwrap();
    refused(&noisy(false), NoiseTerms { noise: wire, ..terms(1.0) }, "noise of the nodes");
    let case = noisy(false);
    let sharing = share(&case, &client, terms(1.0)).unwrap();
    assert!(
        files(&network.home(1))
            .iter()
            .any(|file| file.ends_with("accounts") || file.extension().is_some_and(|e| e == "account"))
    );
    refused(&noisy(false), NoiseTerms { assignment: Assignment::ALL[0], ..terms(1.0) }, "counted by other nodes");
    // Only in the assignment that counts.
    assert!(sharing.task(&case.graph, Assignment::ALL[0], Rounding::Exact).is_err());
    let task = case.task(1, Rounding::Exact, Visibility::Private);
    let elsewhere = Task { assignment: Assignment::ALL[2], ..task };
    assert_eq!(ask(&case, &client, elsewhere).unwrap_err().code(), Some(FailCode::Refused));
    // A consumer that sends a share of the noise itself.
    let mut own = noisy(false);
    own.inputs[1] = vec![0; WIDTH as usize];
    assert_eq!(own.run(&client, task, true).unwrap_err().code(), Some(FailCode::Refused));
    assert!(client.spent(&sharing).unwrap().unwrap().0.is_empty(), "nothing was answered");
}

/// Classifiers that vote on an input of four numbers.
fn vote(voters: u32) -> Case {
    const LABELS: u32 = 3;
    let members: Vec<Case> = (0..voters)
        .map(|number| {
            let mut case = common::product([1, 4, LABELS]);
            // Most of them point the same way, each a little differently.
            let own = |i: i32| {
                let base = [9, -8, 1, 0, 7, -6, -3, 2, 5, 4, -9, 6][i as usize] * 100;
                base + (number as i32 * 37 + i * i * 11) % 50 - 25
            };
            case.weights.tensors[0] = (0..12).map(own).collect();
            let mut graph = (*case.graph).clone();
            graph.weights_root = case.weights.root(&graph.weights);
            case.graph = Arc::new(graph);
            case
        })
        .collect();
    let pairs: Vec<(&Graph, &Weights)> = members.iter().map(|case| (case.graph.as_ref(), &case.weights)).collect();
    let (graph, weights) = votes::side_by_side(&pairs).unwrap();
    let weights = votes::vote_weights(&weights, voters, LABELS);
    let graph = votes::vote(&graph, &weights, voters, 60_000).unwrap();
    let x = vec![11, -3, 5, 7];
    let still = [x.clone(), vec![0; LABELS as usize]];
    let expected = execute(&graph, &weights, &still, &ExecOptions::default()).unwrap().outputs;
    Case { graph: Arc::new(graph), weights, inputs: vec![x, Vec::new()], expected, shared: Default::default() }
}

#[test]
fn a_vote_opens_the_winner_and_costs_what_two_counts_by_one_do() {
    let network = Network::start(|toml| toml);
    let (owner, consumer) = (network.client(), network.client());
    let case = vote(25);
    let sensitivity = Sensitivity { l1: votes::L1, l2_squared: votes::L2_SQUARED };
    let noise = NodeNoise::new(vec![votes::noise_input(&case.graph).unwrap()], 8).unwrap();
    let budget = Budget::new(8.0, DELTA).unwrap();
    let terms = NoiseTerms { noise, sensitivity, budget, dataset: "clinics".parse().unwrap(), ..terms(1.0) };
    let sharing = share(&case, &owner, terms.clone()).unwrap();
    let task = case.task(1, Rounding::Exact, Visibility::Private);
    assert_eq!(case.expected[0].iter().sum::<i32>(), 1, "one wins without noise");
    let mut right = 0;
    for n in 1..=6 {
        let answer = ask(&case, &consumer, task).unwrap();
        let [winners] = &answer.outputs[..] else { panic!("one output") };
        assert!(winners.iter().all(|x| [0, 1].contains(x)) && winners.contains(&1), "{winners:?}");
        right += usize::from(*winners == case.expected[0]);
        let told = consumer.spent(&sharing).unwrap().unwrap();
        assert_eq!(told.0, [(terms.cost(3), n)]);
    }
    // Nearly all vote alike, and the noise has a deviation of five.
    assert!(right >= 5, "{right} of 6");
}

#[test]
fn open_weights_are_counted_as_private_ones_are() {
    let network = Network::start(|toml| toml);
    let client = network.client();
    let case = noisy(false);
    let offer = Offer { noise: Some(terms(2.0)), ..case.offer(Visibility::Open) };
    let sharing = client.share(&offer, &|_, _| ()).unwrap();
    let task = sharing.task(&case.graph, Assignment::ALL[1], Rounding::Exact).unwrap();
    assert!(sharing.task(&case.graph, Assignment::ALL[2], Rounding::Exact).is_err());
    let [one, other] = [(); 2].map(|()| ask(&case, &client, task).unwrap().outputs);
    assert!(one != other && one != case.expected && other != case.expected);
    let told = client.spent(&sharing).unwrap().unwrap();
    assert_eq!(told.0, [(AnswerCost { variance: 900, sensitivity: terms(1.0).sensitivity, numbers: 200 }, 2)]);
}
