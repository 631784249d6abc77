//! Whole evaluations in one process: every gate, both roundings, both visibilities, against the reference executor.

use std::sync::Arc;

use sahara_circuits::graph::Graph;
use sahara_circuits::reference;
use sahara_circuits::testgraph;
use sahara_circuits::weights::Weights;

use super::*;

fn seed(byte: u8) -> Seed {
    Seed::from_bytes([byte; 32])
}

struct Run {
    outputs: Vec<Vec<i32>>,
    frames: Vec<usize>,
}

/// Runs the three parties of one job to the end.
fn run(
    graph: &Arc<Graph>,
    weights: &Weights,
    inputs: &[Vec<i32>],
    rounding: Rounding,
    visibility: Visibility,
    assignment: Assignment,
) -> Run {
    let plan = Arc::new(Plan::new(graph.clone(), rounding, visibility).unwrap());
    let (w1, w2) = (seed(1), seed(2));
    let roles = [EvaluatorRole::First, EvaluatorRole::Second];
    let (helper, evaluators) = match visibility {
        Visibility::Private => {
            let masked = mask_weights(weights, assignment, &w1, &w2);
            let evaluators = [(roles[0], &w1), (roles[1], &w2)]
                .map(|(r, s)| WeightMaterial::evaluator_private(graph, assignment, r, &masked, s).unwrap());
            (WeightMaterial::helper_private(graph, assignment, &w1, &w2), evaluators)
        }
        Visibility::Open => {
            let plain: Vec<u32> = weights.tensors.iter().flatten().map(|w| *w as u32).collect();
            let evaluators = roles.map(|_| WeightMaterial::evaluator_open(graph, &plain).unwrap());
            (WeightMaterial::helper_open(), evaluators)
        }
    };
    let (s1, s2) = (seed(3), seed(4));
    let mut corrections = Vec::new();
    deal(&plan, &helper, &s1, &s2, &mut |bytes: &[u8]| {
        corrections.extend_from_slice(bytes);
        Ok(())
    })
    .unwrap();
    assert_eq!(corrections.len() as u64, plan.correction_len());
    let shares = share_inputs(inputs, &seed(5));
    let mut frames = Vec::new();
    let dealt = [(s1, Vec::new()), (s2, corrections)];
    let mut machines: Vec<Evaluator> = dealt
        .into_iter()
        .zip(evaluators)
        .zip(shares)
        .zip(roles)
        .map(|((((seed, corrections), weights), inputs), role)| {
            let prepared = prepare(&plan, &weights, role, &seed, &corrections).unwrap();
            let pack = PackContents { seed, corrections, prepared };
            Evaluator::new(plan.clone(), Arc::new(weights), role, pack, inputs).unwrap()
        })
        .collect();
    let mut received = [None, None];
    loop {
        let a = machines[0].step(received[0].take()).unwrap();
        let b = machines[1].step(received[1].take()).unwrap();
        match (a, b) {
            (Step::Exchange { send: a, name: x }, Step::Exchange { send: b, name: y }) => {
                assert_eq!((a.len(), x), (b.len(), y));
                frames.push(a.len());
                received = [Some(b), Some(a)];
            }
            (Step::Done { outputs: a, rounds }, Step::Done { outputs: b, .. }) => {
                assert_eq!(rounds as usize, frames.len());
                return Run { outputs: combine_outputs(&a, &b).unwrap(), frames };
            }
            _ => panic!("the evaluators disagree on the end"),
        }
    }
}

fn reduce(graph: &Graph, outputs: &mut [Vec<i32>]) {
    for (id, output) in graph.outputs.iter().zip(outputs) {
        let free = 32 - u32::from(graph.nodes[id.0 as usize].bits);
        output.iter_mut().for_each(|v| *v = *v << free >> free);
    }
}

#[test]
fn random_graphs_equal_the_reference() {
    for number in 0..150 {
        let (graph, weights, inputs) = testgraph::random(number);
        let want = reference::execute(&graph, &weights, &inputs, &Default::default()).unwrap().outputs;
        let graph = Arc::new(graph);
        for visibility in [Visibility::Private, Visibility::Open] {
            let assignment = Assignment::ALL[number as usize % 3];
            let mut got = run(&graph, &weights, &inputs, Rounding::Exact, visibility, assignment).outputs;
            reduce(&graph, &mut got);
            assert_eq!(got, want, "graph of seed {number}, {visibility:?} weights");
        }
    }
}

#[test]
fn message_lengths_do_not_depend_on_the_input() {
    for number in 0..20 {
        let (graph, weights, inputs) = testgraph::random(number);
        let zeros: Vec<Vec<i32>> = inputs.iter().map(|x| vec![0; x.len()]).collect();
        let graph = Arc::new(graph);
        let frames = |x: &[Vec<i32>]| {
            run(&graph, &weights, x, Rounding::Exact, Visibility::Private, Assignment::ALL[0]).frames
        };
        assert_eq!(frames(&inputs), frames(&zeros), "graph of seed {number}");
    }
}
