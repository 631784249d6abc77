//! Inputs beyond ±p/2, bounds that do not hold, graphs of unbounded numbers; and what is not refused: sums beyond ±p/2.

use sahara_circuits::graph::{Graph, Op, RescaleUse};
use sahara_circuits::reference::{ExecOptions, execute};
use sahara_circuits::testgraph;
use sahara_circuits::weights::Weights;
use sahara_zk::attack::{Alteration, attack};
use sahara_zk::{ProvableGraph, ProveError, Salt};
use sahara_zk_verify::{Context, Unprovable};

fn error((graph, weights, _): &(Graph, Weights, Vec<Vec<i32>>)) -> ProveError {
    match ProvableGraph::new(graph, weights) {
        Ok(_) => panic!("{} can be proven", graph.model),
        Err(error) => error,
    }
}

#[test]
fn an_input_beyond_half_the_prime() {
    let mut case = sahara_zk::testgraph::perceptron(&[6, 3], 1);
    case.0.inputs[0].max_abs = (1 << 30) - 1;
    case.0.nodes[0].bound = 1 << 30;
    let error = error(&case);
    let ProveError::Unprovable(Unprovable::Node { index, operator, .. }) = &error else { panic!("{error}") };
    assert_eq!((*index, *operator), (0, "input"));
    assert!(error.to_string().contains("cannot be held against 31 bits"), "{error}");
}

/// A sum beyond `±p/2`, and one beyond 32 bits, go by limbs.
#[test]
fn sums_that_leave_half_the_prime_are_proven_by_limbs() {
    for max_abs in [1 << 14, 1 << 20] {
        let (mut graph, weights, mut inputs) = sahara_zk::testgraph::perceptron(&[600, 5, 3], 2);
        graph.inputs[0].max_abs = max_abs;
        graph.nodes[0].bound = max_abs.into();
        graph.nodes.iter_mut().skip(1).for_each(|node| node.bound = 1 << 40);
        if let Some(Op::Rescale { usage, .. }) = graph.nodes.get_mut(3).map(|node| &mut node.op) {
            *usage = RescaleUse::Index;
        }
        // Narrower than 32 bits, so that no bound is asked of what is rescaled.
        graph.nodes[3].bits = 11;
        inputs[0].iter_mut().for_each(|x| *x *= max_abs as i32 / 127);
        let outcome =
            attack((&graph, &graph), &weights, &inputs, Alteration::Nothing).expect("a graph that can be proven");
        assert_eq!(outcome.verdict, Ok(()));
        let run = execute(&graph, &weights, &inputs, &ExecOptions::default()).expect("a graph that runs");
        let outputs: Vec<Vec<i64>> = run.outputs.iter().map(|t| t.iter().map(|&x| x.into()).collect()).collect();
        assert_eq!(outcome.outputs, outputs);
    }
}

#[test]
fn weights_that_are_not_the_graphs() {
    let (graph, mut weights, _) = sahara_zk::testgraph::perceptron(&[4, 3], 1);
    weights.tensors[0].pop();
    assert!(matches!(ProvableGraph::new(&graph, &weights), Err(ProveError::Run(_))));
}

#[test]
fn random_graphs_of_all_sizes_of_numbers_are_proven_or_refused_by_the_name_of_a_node() {
    for seed in 0..30 {
        let (graph, weights, inputs) = testgraph::random(seed);
        match attack((&graph, &graph), &weights, &inputs, Alteration::Nothing) {
            Ok(outcome) => assert_eq!(outcome.verdict, Ok(()), "seed {seed}"),
            Err(ProveError::Unprovable(Unprovable::Node { index, name, operator, .. })) => {
                assert_eq!((&*name, operator), (&*graph.nodes[index].name, graph.nodes[index].op.name()));
            }
            Err(ProveError::Unprovable(Unprovable::Graph(reason))) => {
                assert!(reason.starts_with("weight "), "seed {seed}: {reason}");
            }
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
}

/// A bound that is too small makes no proof: the numbers are held to it.
#[test]
fn a_bound_that_does_not_hold() {
    let (mut graph, weights, inputs) = sahara_zk::testgraph::perceptron(&[16, 8, 4], 4);
    let rescale = graph.nodes.iter().position(|node| matches!(node.op, Op::Rescale { .. })).expect("a rescale");
    graph.nodes[rescale].bound = 1;
    let provable = ProvableGraph::new(&graph, &weights).expect("a graph that can be proven");
    let salts = [&Salt::new([0; 32]), &Salt::new([0; 32])];
    let error = provable.prove(&inputs, salts, Context::default()).expect_err("numbers beyond one");
    assert!(error.to_string().contains("leaves the range"), "{error}");
}
