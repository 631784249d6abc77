//! Noise in a graph: what leaves is the plain executor's answer with the sum of three nodes' numbers.

use std::sync::Arc;

use sahara_circuits::graph::{BoundOrigin, InputRange, InputSpec, Shape, WeightId, WeightSpec};
use sahara_circuits::reference;
use sahara_circuits::weights::Weights;

use super::*;
use crate::*;

const ROWS: u32 = 2;
const COLS: u32 = 6;

fn node(name: &str, op: Op, cols: u32, bound: u64) -> Node {
    Node { name: name.into(), op, shape: Shape::new(1, ROWS, cols), bits: 32, bound, origin: BoundOrigin::Proven }
}

fn input(name: &str, cols: u32, max_abs: u32) -> InputSpec {
    let (shape, range) = (Shape::new(1, ROWS, cols), InputRange::Symmetric);
    InputSpec { name: name.into(), shape, bits: 32, range, max_abs, max_row_norm: u32::MAX }
}

/// `x · W + noise`, and where it is the greatest of its row.
fn graph() -> Graph {
    let id = NodeId;
    Graph {
        model: "noisy".into(),
        seq_len: 1,
        layers: 1,
        weights_root: [0; 32],
        inputs: vec![input("x", 3, 100), input("noise", COLS, 1 << 16)],
        weights: vec![WeightSpec { name: "w".into(), rows: 3, cols: COLS }],
        tables: vec![],
        nodes: vec![
            node("x", Op::Input(0), 3, 100),
            node("value", Op::MatMulWeight { x: id(0), w: WeightId(0) }, COLS, 1 << 16),
            node("noise", Op::Input(1), COLS, 1 << 16),
            node("sum", Op::Add { a: id(1), b: id(2) }, COLS, 1 << 17),
            node("most", Op::RowMax { x: id(3) }, 1, 1 << 17),
            node("below", Op::Sub { a: id(4), b: id(3) }, COLS, 1 << 18),
            node("greatest", Op::Step { x: id(5), base: 1, steps: vec![(1, -1)] }, COLS, 1),
        ],
        outputs: vec![id(3), id(6)],
    }
}

fn weights() -> Weights {
    Weights { tensors: vec![(0..3 * COLS as i32).map(|i| i * i % 37 - 18).collect()] }
}

fn noise() -> NodeNoise {
    NodeNoise::new(vec![1], 5_000).unwrap()
}

fn seed(number: u8) -> Seed {
    Seed::from_bytes([number; 32])
}

/// The evaluators' own seeds here.
const OWN: [u8; 2] = [11, 12];

/// Runs a job with the seeds of a pack that follow from `pack`.
fn run(graph: Graph, x: &[i32], pack: u8) -> Vec<Vec<i32>> {
    let graph = Arc::new(graph);
    let plan = Plan::with_noise(graph.clone(), Rounding::Exact, Visibility::Open, Some(noise())).unwrap();
    let plan = Arc::new(plan);
    let cost = Cost::with_noise(&graph, Rounding::Exact, Visibility::Open, Some(&noise()));
    assert_eq!((cost.dealt, cost.prepared), (plan.correction_len(), plan.prepared_len()));
    let seeds = [seed(pack), seed(pack + 100)];
    let helper = WeightMaterial::helper_open();
    let corrections = Dealing::new(&plan, &helper, [&seeds[0], &seeds[1]]).unwrap();
    let corrections = corrections.collect().unwrap();
    let words: Vec<u32> = weights().tensors.iter().flatten().map(|w| *w as u32).collect();
    let open = Arc::new(WeightMaterial::evaluator_open(&graph, &words).unwrap());
    let [mine, yours] = share_inputs(&[x.to_vec(), Vec::new()], &seed(3));
    let evaluator = |role, which: usize, corrections: Vec<u8>, mut share: Vec<Vec<u32>>| {
        let prepared = prepare(&plan, &open, role, &seeds[which], &corrections).unwrap();
        let zero = JobSecret::from_bytes([4; 32]).zero_sharing(0);
        let pack = PackContents { seed: seeds[which].clone(), corrections, prepared };
        plan.draw_noise(&mut share, &seed(OWN[which])).unwrap();
        Evaluator::new(plan.clone(), open.clone(), role, pack, share, zero).unwrap()
    };
    let mut first = evaluator(EvaluatorRole::First, 0, Vec::new(), mine);
    let mut second = evaluator(EvaluatorRole::Second, 1, corrections, yours);
    let (mut to_first, mut to_second) = (None, None);
    loop {
        match (first.step(to_first.take()).unwrap(), second.step(to_second.take()).unwrap()) {
            (Step::Exchange { send: a, .. }, Step::Exchange { send: b, .. }) => {
                (to_second, to_first) = (Some(a), Some(b))
            }
            (Step::Done { outputs: a, .. }, Step::Done { outputs: b, .. }) => return combine_outputs(&a, &b).unwrap(),
            _ => panic!("the evaluators disagree on the end"),
        }
    }
}

/// The three nodes' numbers of that job.
fn parts(pack: u8) -> [Vec<i32>; 3] {
    let sampler = Sampler::new(noise()).unwrap();
    let len = (ROWS * COLS) as usize;
    let words = [
        sampler.of_helper([&seed(pack), &seed(pack + 100)], 1, len),
        sampler.of_evaluator(&seed(OWN[0]), 1, len),
        sampler.of_evaluator(&seed(OWN[1]), 1, len),
    ];
    words.map(|words| words.into_iter().map(|word| word as i32).collect())
}

#[test]
fn an_answer_is_the_plain_one_with_the_sum_of_three_nodes_numbers() {
    for pack in 20..40 {
        let x: Vec<i32> = (0..6).map(|i| i * 17 % 100 - i32::from(pack)).collect();
        let [helper, first, second] = parts(pack);
        let sum: Vec<i32> = (0..helper.len()).map(|i| helper[i] + first[i] + second[i]).collect();
        let plain = reference::execute(&graph(), &weights(), &[x.clone(), sum], &Default::default()).unwrap().outputs;
        assert_eq!(run(graph(), &x, pack), plain, "pack {pack}");
    }
}

#[test]
fn each_node_adds_its_variance_and_nobody_elses_numbers() {
    let sampler = Sampler::new(noise()).unwrap();
    let len = 40_000;
    let all = [
        sampler.of_helper([&seed(1), &seed(2)], 1, len),
        sampler.of_helper([&seed(1), &seed(3)], 1, len),
        sampler.of_helper([&seed(9), &seed(2)], 1, len),
        sampler.of_evaluator(&seed(1), 1, len),
        sampler.of_evaluator(&seed(2), 1, len),
        sampler.of_evaluator(&seed(1), 2, len),
    ];
    let all = all.map(|words| words.into_iter().map(|word| f64::from(word as i32)).collect::<Vec<_>>());
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / len as f64;
    for (i, a) in all.iter().enumerate() {
        assert!((product(a, a) / 5_000.0 - 1.0).abs() < 0.05);
        assert!(a.iter().all(|x| 3.0 * x.abs() <= noise().greatest() as f64));
        for b in &all[..i] {
            assert!(product(a, b).abs() < 5.0 * 5_000.0 / (len as f64).sqrt());
        }
    }
}

#[test]
fn nothing_can_leave_without_noise_or_wrap() {
    let check = |edit: &dyn Fn(&mut Graph)| {
        let mut graph = graph();
        edit(&mut graph);
        graph.check().unwrap();
        noise().check(&graph).map_err(|e| e.to_string())
    };
    assert_eq!(check(&|_| ()), Ok(()));
    let refused = |edit: &dyn Fn(&mut Graph), why: &str| {
        let error = check(edit).unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    refused(&|g| g.outputs.push(NodeId(1)), "output `value` would leave without");
    refused(&|g| g.outputs.push(NodeId(0)), "output `x` would leave without");
    refused(&|g| g.outputs.push(NodeId(2)), "output `noise` would leave without");
    // The same numbers on two values.
    let twice = |g: &mut Graph| {
        g.nodes.push(node("other", Op::MulPublic { x: NodeId(1), k: 1 }, COLS, 1 << 16));
        g.nodes.push(node("again", Op::Add { a: NodeId(7), b: NodeId(2) }, COLS, 1 << 17));
    };
    refused(&twice, "tells their difference");
    // A weight or an input after the noise.
    let after = |g: &mut Graph| {
        g.weights.push(WeightSpec { name: "v".into(), rows: 1, cols: COLS });
        g.nodes.push(node("biased", Op::AddWeight { x: NodeId(3), w: WeightId(1) }, COLS, 1 << 18));
        g.outputs.push(NodeId(7));
    };
    refused(&after, "output `biased` would leave without");
    let difference = |g: &mut Graph| {
        g.nodes.push(node("clear", Op::Sub { a: NodeId(3), b: NodeId(1) }, COLS, 1 << 18));
        g.outputs.push(NodeId(7));
    };
    refused(&difference, "output `clear` would leave without");
    refused(&|g| g.nodes[3].op = Op::Sub { a: NodeId(1), b: NodeId(2) }, "is no sum `value + noise`");
    refused(&|g| g.nodes[3].bound = (1 << 17) - 1, "over its bound");
    refused(&|g| g.inputs[1].max_abs = noise().greatest() as u32 - 1, "is for numbers up to");
    let narrow = |g: &mut Graph| {
        g.inputs[1].shape.cols = 1;
        g.nodes[2].shape.cols = 1;
    };
    refused(&narrow, "is added to `value`");
    let unused = |g: &mut Graph| {
        g.inputs.push(input("more", COLS, 1 << 16));
        g.nodes.push(node("more", Op::Input(2), COLS, 1 << 16));
    };
    let mut graph = graph();
    unused(&mut graph);
    let two = NodeNoise::new(vec![1, 2], 5_000).unwrap();
    assert!(two.check(&graph).unwrap_err().to_string().contains("added to nothing"));
    assert!(NodeNoise::new(vec![9], 5_000).unwrap().check(&graph).unwrap_err().to_string().contains("no input 9"));
    for (inputs, variance) in [(vec![], 5), (vec![2, 1], 5), (vec![1, 1], 5), (vec![1], 0), (vec![1], MAX_VARIANCE + 1)]
    {
        assert!(NodeNoise::new(inputs, variance).is_err());
    }
    assert!(NodeNoise::new(vec![1], MAX_VARIANCE).is_ok());
}

#[test]
fn a_consumer_puts_nothing_in_the_place_of_noise_and_no_job_begins_without_it() {
    let graph = Arc::new(graph());
    let plan = Plan::with_noise(graph, Rounding::Exact, Visibility::Open, Some(noise())).unwrap();
    assert_eq!(plan.shared_lengths(), [6, 0]);
    let x = vec![0; 6];
    for wrong in [vec![x.clone(), vec![1; 12]], vec![x.clone()], vec![vec![0; 5], vec![]]] {
        assert!(matches!(plan.draw_noise(&mut wrong.clone(), &seed(1)), Err(ProtocolError::Inputs)));
    }
    let plan = Arc::new(plan);
    let words: Vec<u32> = weights().tensors.iter().flatten().map(|w| *w as u32).collect();
    let open = Arc::new(WeightMaterial::evaluator_open(plan.graph(), &words).unwrap());
    let prepared = prepare(&plan, &open, EvaluatorRole::First, &seed(1), &[]).unwrap();
    let pack = PackContents { seed: seed(1), corrections: Vec::new(), prepared };
    let zero = JobSecret::from_bytes([4; 32]).zero_sharing(0);
    let forgotten = Evaluator::new(plan, open, EvaluatorRole::First, pack, vec![x, vec![]], zero);
    assert!(matches!(forgotten, Err(ProtocolError::Inputs)));
}
