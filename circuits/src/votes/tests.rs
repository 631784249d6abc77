//! Votes against counts by hand, and what one classifier can change.

use super::*;
use crate::graph::{BoundOrigin, Node};
use crate::reference::execute;
use crate::testgraph::Rng;

/// A graph whose outputs are its input.
fn outputs(count: u32, bound: u64) -> (Graph, Weights) {
    let shape = Shape::new(1, 1, count);
    let spec = InputSpec {
        name: "x".into(),
        shape,
        bits: 32,
        range: InputRange::Symmetric,
        max_abs: bound as u32,
        max_row_norm: u32::MAX,
    };
    let node = |op| Node { name: "y".into(), op, shape, bits: 32, bound, origin: BoundOrigin::Proven };
    let graph = Graph {
        model: "classifiers".into(),
        seq_len: 1,
        layers: 1,
        weights_root: [0; 32],
        inputs: vec![spec],
        weights: vec![],
        tables: vec![],
        nodes: vec![node(Op::Input(0)), node(Op::MulPublic { x: NodeId(0), k: 1 })],
        outputs: vec![NodeId(1)],
    };
    (graph, Weights::default())
}

fn counts(outputs: &[i32], labels: usize, shift: u32) -> Vec<i32> {
    let mut counts = vec![0; labels];
    for own in outputs.chunks(labels) {
        let coarse: Vec<i64> = own
            .iter()
            .map(|x| if shift == 0 { i64::from(*x) } else { (i64::from(*x) + (1 << (shift - 1))) >> shift })
            .collect();
        let most = coarse.iter().max().unwrap();
        counts[coarse.iter().position(|x| x == most).unwrap()] += 1;
    }
    counts
}

#[test]
fn each_classifier_votes_once_and_the_noisy_counts_decide() {
    let mut rng = Rng::new(7);
    for (voters, labels, bound, shift) in [(2, 2, 20_u64, 0), (50, 3, 5, 0), (10, 6, 1 << 29, 16), (33, 2, 40_000, 2)] {
        let (graph, weights) = outputs(voters * labels, bound);
        let weights = vote_weights(&weights, voters, labels);
        let voting = vote(&graph, &weights, voters, 1000).unwrap();
        voting.check().unwrap();
        for _ in 0..30 {
            let own: Vec<i32> =
                (0..voters * labels).map(|_| (rng.below(2 * bound + 1) as i64 - bound as i64) as i32).collect();
            let noise: Vec<i32> = (0..labels).map(|_| rng.below(41) as i32 - 20).collect();
            let answer = execute(&voting, &weights, &[own.clone(), noise.clone()], &Default::default()).unwrap();
            let noisy: Vec<i32> =
                counts(&own, labels as usize, shift).iter().zip(&noise).map(|(count, noise)| count + noise).collect();
            let most = noisy.iter().max().unwrap();
            let want: Vec<i32> = noisy.iter().map(|x| i32::from(x == most)).collect();
            assert_eq!(answer.outputs, [want], "{voters} {labels} {own:?} {noise:?}");
        }
    }
}

/// The counts themselves, for all outputs of one of the classifiers: two change by one, also where outputs are equal.
#[test]
fn one_classifier_changes_two_counts_by_one_at_most() {
    let (voters, labels) = (3, 3);
    let (graph, weights) = outputs(voters * labels, 2);
    let weights = vote_weights(&weights, voters, labels);
    let mut voting = vote(&graph, &weights, voters, 1000).unwrap();
    let counts = voting.nodes.iter().position(|node| node.name == "vote.counts").unwrap();
    voting.outputs = vec![NodeId(counts as u32)];
    let at = |number: i32| {
        let mut own = vec![0, 0, 0, 1, 1, 2, 2, -2, 2];
        (0..3).for_each(|i| own[i] = number / 5_i32.pow(i as u32) % 5 - 2);
        execute(&voting, &weights, &[own, vec![0; 3]], &Default::default()).unwrap().outputs.remove(0)
    };
    let all: Vec<Vec<i32>> = (0..125).map(at).collect();
    for one in &all {
        assert_eq!(one.iter().sum::<i32>(), voters as i32, "each votes once");
        for other in &all {
            let apart: Vec<u64> = one.iter().zip(other).map(|(a, b)| u64::from(a.abs_diff(*b))).collect();
            assert!(apart.iter().sum::<u64>() <= L1 && apart.iter().map(|x| x * x).sum::<u64>() <= L2_SQUARED);
        }
    }
    assert!(all.iter().any(|one| *one != all[0]));
}

/// Whoever asks may send any words, and graphs on shares do not look: each classifier votes once all the same.
#[test]
fn outputs_beyond_every_bound_are_one_vote() {
    let mut rng = Rng::new(11);
    for (voters, labels, bound) in [(4, 10, 20_u64), (2, 64, 1 << 29), (3, 256, 40_000)] {
        let (graph, weights) = outputs(voters * labels, bound);
        let weights = vote_weights(&weights, voters, labels);
        let mut voting = vote(&graph, &weights, voters, 1000).unwrap();
        let counts = voting.nodes.iter().position(|node| node.name == "vote.counts").unwrap();
        voting.outputs = vec![NodeId(counts as u32)];
        for _ in 0..20 {
            let words = (0..voters * labels).map(|_| rng.below(1 << 32) as u32 as i32).collect();
            let inputs = [words, vec![0; labels as usize]];
            let counts = execute(&voting, &weights, &inputs, &Default::default()).unwrap().outputs.remove(0);
            assert!(
                counts.iter().all(|count| *count >= 0) && counts.iter().sum::<i32>() == voters as i32,
                "{counts:?}"
            );
        }
    }
}

/// `x · W + b`, with bounds of its own.
fn classifier(seed: u64) -> (Graph, Weights) {
    let mut rng = Rng::new(seed);
    let mut numbers = |count: usize| (0..count).map(|_| rng.below(41) as i32 - 20).collect::<Vec<i32>>();
    let mut weights = Weights { tensors: vec![vec![3; 4], numbers(12), numbers(3)] };
    weights.tensors[0][0] = 2;
    let (mut graph, _) = outputs(4, 50);
    graph.nodes.truncate(1);
    let mut push = |op, cols, bound| {
        let (shape, origin) = (Shape::new(1, 1, cols), BoundOrigin::Proven);
        graph.nodes.push(Node { name: "n".into(), op, shape, bits: 32, bound, origin });
    };
    push(Op::ScaleWeight { x: NodeId(0), w: WeightId(0) }, 4, 150);
    push(Op::MatMulWeight { x: NodeId(1), w: WeightId(1) }, 3, 12_000 + seed);
    push(Op::AddWeight { x: NodeId(2), w: WeightId(2) }, 3, 12_100 + seed);
    let spec = |name: &str, rows, cols| WeightSpec { name: name.into(), rows, cols };
    graph.weights = vec![spec("scale", 1, 4), spec("head", 4, 3), spec("bias", 1, 3)];
    graph.weights_root = weights.root(&graph.weights);
    graph.outputs = vec![NodeId(3)];
    (graph, weights)
}

#[test]
fn classifiers_of_one_encoder_stand_side_by_side() {
    let all: Vec<(Graph, Weights)> = (1..6).map(classifier).collect();
    let members: Vec<(&Graph, &Weights)> = all.iter().map(|(graph, weights)| (graph, weights)).collect();
    let (graph, weights) = side_by_side(&members).unwrap();
    graph.check().unwrap();
    // Their own bounds are of private weights: the public graph is the same whatever they are.
    let mut others = all.clone();
    others.iter_mut().for_each(|(graph, _)| graph.nodes[2..].iter_mut().for_each(|node| node.bound += 77));
    let others: Vec<(&Graph, &Weights)> = others.iter().map(|(graph, weights)| (graph, weights)).collect();
    assert_eq!(side_by_side(&others).unwrap().0, graph);
    let mut wide = classifier(9);
    wide.0.nodes[3].bound = WIDEST + 1;
    assert!(side_by_side(&[members[0], (&wide.0, &wide.1)]).is_err());
    let x = vec![vec![17, -50, 3, 41]];
    let run = |graph: &Graph, weights: &Weights| execute(graph, weights, &x, &Default::default()).unwrap().outputs;
    let each: Vec<i32> = members.iter().flat_map(|(graph, weights)| run(graph, weights).remove(0)).collect();
    assert_eq!(run(&graph, &weights), [each]);
    let voting = vote(&graph, &vote_weights(&weights, 5, 3), 5, 100).unwrap();
    voting.check().unwrap();
    assert_eq!((noise_input(&voting), noise_input(&graph)), (Some(1), None));
    let mut other = classifier(9);
    other.1.tensors[0][1] += 1;
    let wrong = [members[0], (&other.0, &other.1)];
    assert!(matches!(side_by_side(&wrong), Err(VoteError::Misfit(_))));
    let mut other = classifier(9);
    other.0.nodes[1].bound += 1;
    let wrong = [members[0], (&other.0, &other.1)];
    assert!(matches!(side_by_side(&wrong), Err(VoteError::Misfit(_))));
    let twice = [members[0], members[1], members[0]];
    assert!(matches!(side_by_side(&twice), Err(VoteError::Misfit(why)) if why.contains("the same")));
    assert_eq!(side_by_side(&members[..1]).unwrap_err(), VoteError::Voters(1));
}

#[test]
fn what_is_no_vote_is_refused() {
    let (graph, weights) = outputs(12, 100);
    let of = |voters, labels| vote(&graph, &vote_weights(&weights, voters, labels), voters, 1000).map(drop);
    assert_eq!(of(1, 12), Err(VoteError::Voters(1)));
    assert_eq!(of(5, 2), Err(VoteError::Outputs { outputs: 12, voters: 5 }));
    assert_eq!(of(12, 1), Err(VoteError::Outputs { outputs: 12, voters: 12 }));
    assert!(matches!(of(4, 2), Err(VoteError::Misfit(_))));
    assert_eq!(of(4, 3), Ok(()));
    let wide = vote(&graph, &vote_weights(&weights, 4, 3), 4, u32::MAX);
    assert!(matches!(wide, Err(VoteError::Misfit(_))));
}
