//! Whole evaluations in one process: every gate, both roundings, both visibilities, against the reference executor.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use sahara_circuits::bytes::{Reader, Writer};
use sahara_circuits::graph::{
    BoundOrigin, Graph, InputRange, InputSpec, Node, NodeId, Op, RescaleUse, Shape, rescale_limit,
};
use sahara_circuits::reference;
use sahara_circuits::testgraph;
use sahara_circuits::weights::Weights;

use super::*;

fn seed(number: u8) -> Seed {
    round_seed(0, number)
}

/// The seed of this number in a round: every round has masks of its own.
fn round_seed(round: u64, number: u8) -> Seed {
    Seed::from_bytes(*blake3::hash(&(round << 8 | u64::from(number)).to_le_bytes()).as_bytes())
}

pub(super) struct Run {
    pub(super) outputs: Vec<Vec<i32>>,
    /// Length of each round's frame.
    frames: Vec<usize>,
    /// Everything that the second evaluator received: corrections, then frames.
    seen_by_second: Vec<u8>,
    /// Everything that the first evaluator received.
    seen_by_first: Vec<u8>,
}

/// Runs the three parties of one job to the end.
pub(super) fn run(
    graph: &Arc<Graph>,
    weights: &Weights,
    inputs: &[Vec<i32>],
    rounding: Rounding,
    visibility: Visibility,
    assignment: Assignment,
) -> Run {
    run_round(0, graph, weights, inputs, rounding, visibility, assignment)
}

/// The same with the masks of a round.
fn run_round(
    round: u64,
    graph: &Arc<Graph>,
    weights: &Weights,
    inputs: &[Vec<i32>],
    rounding: Rounding,
    visibility: Visibility,
    assignment: Assignment,
) -> Run {
    let seed = |number| round_seed(round, number);
    let plan = Arc::new(Plan::new(graph.clone(), rounding, visibility).unwrap());
    let (w1, w2) = (seed(1), seed(2));
    let roles = [EvaluatorRole::First, EvaluatorRole::Second];
    let (helper, evaluators) = match visibility {
        Visibility::Private => {
            let domain = domain(assignment, 1);
            let masked = mask_weights(weights, &domain, &w1, &w2);
            let evaluators = [(roles[0], &w1), (roles[1], &w2)]
                .map(|(r, s)| WeightMaterial::evaluator_private(graph, &domain, r, &masked, s).unwrap());
            (WeightMaterial::helper_private(graph, &domain, &w1, &w2), evaluators)
        }
        Visibility::Open => {
            let plain: Vec<u32> = weights.tensors.iter().flatten().map(|w| *w as u32).collect();
            let evaluators = roles.map(|_| WeightMaterial::evaluator_open(graph, &plain).unwrap());
            (WeightMaterial::helper_open(), evaluators)
        }
    };
    let (s1, s2) = (seed(3), seed(4));
    let corrections = Dealing::new(&plan, &helper, [&s1, &s2]).unwrap().collect().unwrap();
    assert_eq!(corrections.len() as u64, plan.correction_len());
    let shares = share_inputs(inputs, &seed(5));
    let (mut frames, mut seen_by_first, mut seen_by_second) = (Vec::new(), Vec::new(), corrections.clone());
    let dealt = [(s1, Vec::new()), (s2, corrections)];
    let mut machines: Vec<Evaluator> = dealt
        .into_iter()
        .zip(evaluators)
        .zip(shares)
        .zip(roles)
        .map(|((((seed, corrections), weights), inputs), role)| {
            let prepared = prepare(&plan, &weights, role, &seed, &corrections).unwrap();
            let pack = PackContents { seed, corrections, prepared };
            let zero = JobSecret::from_bytes([6; 32]).zero_sharing(0);
            Evaluator::new(plan.clone(), Arc::new(weights), role, pack, inputs, zero).unwrap()
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
                seen_by_second.extend_from_slice(&a);
                seen_by_first.extend_from_slice(&b);
                received = [Some(b), Some(a)];
            }
            (Step::Done { outputs: a, rounds }, Step::Done { outputs: b, .. }) => {
                assert_eq!(rounds as usize, frames.len());
                let outputs = combine_outputs(&a, &b).unwrap();
                return Run { outputs, frames, seen_by_second, seen_by_first };
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
    for number in 0..200 {
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

/// What an exact evaluation answers is the reference's whatever the masks are: no mask is an unlucky one.
#[test]
fn exact_answers_do_not_depend_on_the_masks() {
    let first = std::env::var("SAHARA_TEST_SEED").map_or(1, |seed| seed.parse().expect("SAHARA_TEST_SEED is a number"));
    let rounds = std::env::var("SAHARA_TEST_STEPS").map_or(300, |n| n.parse().expect("SAHARA_TEST_STEPS is a number"));
    println!("SAHARA_TEST_SEED={first} SAHARA_TEST_STEPS={rounds}");
    for number in 100..106 {
        let (graph, weights, inputs) = testgraph::random(number);
        let want = reference::execute(&graph, &weights, &inputs, &Default::default()).unwrap().outputs;
        let graph = Arc::new(graph);
        for round in first..first + rounds {
            let (exact, private, assignment) =
                (Rounding::Exact, Visibility::Private, Assignment::ALL[round as usize % 3]);
            let mut got = run_round(round, &graph, &weights, &inputs, exact, private, assignment).outputs;
            reduce(&graph, &mut got);
            assert_eq!(got, want, "graph of seed {number}, masks of round {round}");
        }
    }
}

#[test]
fn message_lengths_do_not_depend_on_the_input() {
    for number in 0..20 {
        let (graph, weights, inputs) = testgraph::random(number);
        let zeros: Vec<Vec<i32>> = inputs.iter().map(|x| vec![0; x.len()]).collect();
        let graph = Arc::new(graph);
        let frames =
            |x: &[Vec<i32>]| run(&graph, &weights, x, Rounding::Exact, Visibility::Private, Assignment::ALL[0]).frames;
        assert_eq!(frames(&inputs), frames(&zeros), "graph of seed {number}");
    }
}

/// One input, rescaled.
fn rescale_graph(n: u32, shift: u8, bits: u8, usage: RescaleUse) -> Graph {
    let shape = Shape::new(1, 1, n);
    let node = |name: &str, op, bits| Node {
        name: name.to_owned(),
        op,
        shape,
        bits,
        bound: rescale_limit(shift),
        origin: BoundOrigin::Proven,
    };
    Graph {
        model: "rescale".to_owned(),
        seq_len: 1,
        layers: 1,
        weights_root: [0; 32],
        inputs: vec![InputSpec {
            name: "x".to_owned(),
            shape,
            bits: 32,
            range: InputRange::Symmetric,
            max_abs: rescale_limit(shift) as u32,
            max_row_norm: u32::MAX,
        }],
        weights: vec![],
        tables: vec![],
        nodes: vec![node("x", Op::Input(0), 32), node("y", Op::Rescale { x: NodeId(0), shift, usage }, bits)],
        outputs: vec![NodeId(1)],
    }
}

#[test]
fn rescale_is_exact_at_the_edges_of_its_range_and_faithful_is_at_most_one_off_without_bias() {
    for shift in 1..=20u8 {
        let edge = rescale_limit(shift) as i32;
        let half = 1i64 << (shift - 1);
        let mut x: Vec<i32> = vec![0, 1, -1, edge, -edge, half as i32, -half as i32, half as i32 - 1, -half as i32 - 1];
        let mut rng = testgraph::Rng::new(u64::from(shift));
        x.extend((0..5000).map(|_| rng.below(2 * edge as u64) as i32 - edge));
        let want: Vec<i32> = x.iter().map(|x| ((i64::from(*x) + half) >> shift) as i32).collect();
        let weights = Weights::default();
        for (usage, rounding) in [
            (RescaleUse::Value, Rounding::Exact),
            (RescaleUse::Index, Rounding::Faithful),
            (RescaleUse::Value, Rounding::Faithful),
        ] {
            let graph = Arc::new(rescale_graph(x.len() as u32, shift, 32, usage));
            let got = run(&graph, &weights, &[x.clone()], rounding, Visibility::Open, Assignment::ALL[1]).outputs;
            let off: Vec<i32> = got[0].iter().zip(&want).map(|(g, w)| g - w).collect();
            if (usage, rounding) == (RescaleUse::Value, Rounding::Faithful) {
                assert!(off.iter().all(|o| o.abs() <= 1), "faithful shift {shift}");
                assert!(shift < 4 || off.iter().any(|o| *o != 0), "faithful must differ somewhere");
                let errors = x.iter().zip(&got[0]).map(|(x, g)| f64::from(*g) - f64::from(*x) / (2.0 * half as f64));
                let bias = errors.sum::<f64>() / x.len() as f64;
                assert!(bias.abs() < 0.05, "faithful shift {shift} is {bias} off on average");
            } else {
                assert!(off.iter().all(|o| *o == 0), "exact shift {shift}");
            }
        }
    }
}

/// Graphs that were made once, with weights and inputs for them: they stay as they are, whatever becomes of the generator.
fn stored_graphs() -> Vec<(Arc<Graph>, Weights, Vec<Vec<i32>>)> {
    macro_rules! stored {
        ($($number:literal),*) => {
            [$((
                &include_bytes!(concat!("tests/", $number, ".graph"))[..],
                &include_bytes!(concat!("tests/", $number, ".weights"))[..],
                &include_bytes!(concat!("tests/", $number, ".inputs"))[..],
            )),*]
        };
    }
    let read = |(graph, weights, inputs): (&[u8], &[u8], &[u8])| {
        let inputs = Reader::new("inputs", inputs).tensors(16).unwrap();
        let inputs = inputs.into_iter().map(|words| words.into_iter().map(|word| word as i32).collect()).collect();
        (Arc::new(Graph::from_bytes(graph).unwrap()), Weights::from_bytes(weights).unwrap(), inputs)
    };
    stored!(0, 1, 2, 3).into_iter().map(read).collect()
}

/// Writes a random graph as the next one, to be named in [`stored_graphs`].
#[test]
#[ignore = "writes files"]
fn store_a_graph() {
    let number = stored_graphs().len();
    let (graph, weights, inputs) = testgraph::random(number as u64);
    let words: Vec<Vec<u32>> = inputs.iter().map(|input| input.iter().map(|x| *x as u32).collect()).collect();
    let mut writer = Writer::default();
    writer.tensors(&words);
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests").join(number.to_string());
    for (extension, bytes) in [("graph", graph.to_bytes()), ("weights", weights.to_bytes()), ("inputs", writer.0)] {
        std::fs::write(place.with_extension(extension), bytes).unwrap();
    }
}

/// What is dealt and opened is the same in every version of this crate: packs are kept on disk, nodes are upgraded one
/// after the other, and an audit runs a job again.
#[test]
fn what_parties_send_stays_the_same() {
    let mut hash = blake3::Hasher::new();
    let graphs = stored_graphs();
    let operators = graphs.iter().flat_map(|(graph, ..)| graph.nodes.iter().map(|node| node.op.name()));
    assert_eq!(operators.collect::<BTreeSet<_>>().len(), 20, "a new operator needs a stored graph that has it");
    for (number, (graph, weights, inputs)) in graphs.iter().enumerate() {
        for rounding in [Rounding::Exact, Rounding::Faithful] {
            for visibility in [Visibility::Private, Visibility::Open] {
                let assignment = Assignment::ALL[number % 3];
                let seen = run(graph, weights, inputs, rounding, visibility, assignment);
                for bytes in [&seen.seen_by_first, &seen.seen_by_second] {
                    hash.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
                }
                for len in &seen.frames {
                    hash.update(&(*len as u64).to_le_bytes());
                }
            }
        }
    }
    let hash = hash.finalize().to_hex();
    assert_eq!(
        &hash[..32],
        "f72ef169105d72b8332da928e1b742ca",
        "packs and frames have changed: old packs and other nodes no longer fit"
    );
}

/// Chi-square of the bytes against the uniform distribution, in standard deviations from its mean.
fn deviation_from_uniform(bytes: &[u8]) -> f64 {
    let mut counts = [0f64; 256];
    bytes.iter().for_each(|b| counts[usize::from(*b)] += 1.0);
    let expected = bytes.len() as f64 / 256.0;
    let chi: f64 = counts.iter().map(|c| (c - expected) * (c - expected) / expected).sum();
    (chi - 255.0) / (2.0f64 * 255.0).sqrt()
}

#[test]
fn what_an_evaluator_receives_is_uniform() {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for number in 0..60 {
        let (graph, mut weights, inputs) = testgraph::random(number);
        weights.tensors.iter_mut().for_each(|t| t.fill(0));
        let zeros: Vec<Vec<i32>> = inputs.iter().map(|x| vec![0; x.len()]).collect();
        let visibility = Visibility::Private;
        let seen = run(&Arc::new(graph), &weights, &zeros, Rounding::Exact, visibility, Assignment::ALL[0]);
        first.push(seen.seen_by_first);
        second.push(seen.seen_by_second);
    }
    for seen in first.iter().chain(&second) {
        let sigma = deviation_from_uniform(seen);
        assert!(sigma.abs() < 6.0, "{} bytes are {sigma} standard deviations from uniform", seen.len());
    }
}

#[test]
fn wrong_material_and_frames_are_refused() {
    let (graph, weights, inputs) = testgraph::random(1);
    let graph = Arc::new(graph);
    let plan = Arc::new(Plan::new(graph.clone(), Rounding::Exact, Visibility::Private).unwrap());
    let domain = domain(Assignment::ALL[0], 1);
    let masked = mask_weights(&weights, &domain, &seed(1), &seed(2));
    let material = |role| WeightMaterial::evaluator_private(&graph, &domain, role, &masked, &seed(1)).unwrap();
    let first = EvaluatorRole::First;
    assert!(WeightMaterial::evaluator_private(&graph, &domain, first, &masked[1..], &seed(1)).is_err());
    let prepared = prepare(&plan, &material(first), first, &seed(3), &[]).unwrap();
    let pack = |cut: usize| PackContents { seed: seed(3), corrections: Vec::new(), prepared: prepared[cut..].to_vec() };
    let shares = || share_inputs(&inputs, &seed(5))[0].clone();
    let make = |role, cut, inputs| {
        let zero = JobSecret::from_bytes([6; 32]).zero_sharing(0);
        Evaluator::new(plan.clone(), Arc::new(material(role)), first, pack(cut), inputs, zero)
    };
    assert!(matches!(make(EvaluatorRole::Second, 0, shares()), Err(ProtocolError::WeightKind)));
    assert!(matches!(make(first, 1, shares()), Err(ProtocolError::PackLength)));
    assert!(matches!(make(first, 0, vec![]), Err(ProtocolError::Inputs)));
    let mut machine = make(first, 0, shares()).unwrap();
    let Step::Exchange { send, .. } = machine.step(None).unwrap() else { panic!("nothing to open") };
    let short = vec![0; send.len() - 1];
    assert!(matches!(machine.step(Some(short.into())), Err(ProtocolError::FrameLength { .. })));
}

/// A version of a sharing.
fn domain(assignment: Assignment, version: u64) -> MaskDomain {
    MaskDomain::new([7; 32], [9; 32], version, assignment)
}

#[test]
fn each_assignment_version_committee_and_sharing_has_its_own_weight_masks() {
    let (_, weights, _) = testgraph::random(2);
    let [a, b, c] = Assignment::ALL;
    let domains = [
        domain(a, 1),
        domain(b, 1),
        domain(c, 1),
        domain(a, 2),
        MaskDomain::new([8; 32], [9; 32], 1, a),
        MaskDomain::new([7; 32], [8; 32], 1, a),
        MaskDomain::new([9; 32], [7; 32], 1, a),
        MaskDomain::old([7; 32], 1, a),
        MaskDomain::old([9; 32], 1, a),
    ];
    // The same seeds everywhere, which never happens, so that only the derivation keeps the masks apart.
    let masked = domains.map(|domain| mask_weights(&weights, &domain, &seed(1), &seed(2)));
    for (i, one) in masked.iter().enumerate() {
        for two in &masked[..i] {
            assert_eq!(one.iter().zip(two).filter(|(x, y)| x == y).count(), 0, "two domains share masks");
        }
    }
}

/// Golden words of `tests/python/weight_masks.py`: what is on nodes' disks was masked like this.
#[test]
fn weight_masks_are_those_of_an_independent_program() {
    let weights = Weights { tensors: vec![vec![5, -6, 7, -8, 9], vec![1_000_000]] };
    let assignment = Assignment::ALL[2];
    let seeds = [1, 2].map(|n| Seed::from_bytes([n; 32]));
    let bound = MaskDomain::new([7; 32], [9; 32], 3, assignment);
    let old = MaskDomain::old([7; 32], 3, assignment);
    let words = [
        (bound, [0x8233_c1b7, 0x679c_84d4, 0x87f0_ccbd, 0x509f_423b, 0x80e9_54c8, 0x0213_2ed2]),
        (old, [0xf7d9_7831, 0x114a_dc02, 0x0cfa_b322, 0x615c_2724, 0xe496_3594, 0x8200_a57c]),
    ];
    for (domain, masked) in words {
        assert_eq!(mask_weights(&weights, &domain, &seeds[0], &seeds[1]), masked, "{domain:?}");
    }
}
