//! A node that is also a consumer: it helps, so it knows every mask, and it asks ordinary questions, so it sees both
//! output shares. The graph ends in a scale by a private vector, whose output shares are linear in what the helper
//! does not know: without the sharing of zero, two questions solve for the vector.
#![allow(clippy::unwrap_used)] // a panic is the failure report

use std::sync::Arc;

use sahara_circuits::graph::{
    BoundOrigin, Graph, InputRange, InputSpec, Node, NodeId, Op, RescaleUse, Shape, WeightId, WeightSpec,
};
use sahara_circuits::weights::Weights;
use sahara_mpc::engine::random_seed;
use sahara_protocol::ring::prg::{Label, Prg};
use sahara_protocol::{
    Assignment, Dealing, Evaluator, EvaluatorRole, JobSecret, MaskDomain, PackContents, Plan, Rounding, Seed, Step,
    Visibility, WeightMaterial, mask_weights, prepare, share_inputs,
};

const WIDTH: usize = 8;
const QUESTIONS: usize = 12;
/// The task that opens `h`, and the task of the scale that reads it.
const H: u32 = 2;
const SCALE: u32 = 3;

fn graph() -> Graph {
    let shape = Shape::new(1, 1, WIDTH as u32);
    let node =
        |name: &str, op| Node { name: name.into(), op, shape, bits: 32, bound: 1 << 29, origin: BoundOrigin::Proven };
    Graph {
        model: "scaled".into(),
        seq_len: 1,
        layers: 1,
        weights_root: [0; 32],
        inputs: vec![InputSpec {
            name: "x".into(),
            shape,
            bits: 32,
            range: InputRange::Symmetric,
            max_abs: 1000,
            max_row_norm: 3000,
        }],
        weights: vec![
            WeightSpec { name: "W".into(), rows: WIDTH as u32, cols: WIDTH as u32 },
            WeightSpec { name: "gamma".into(), rows: 1, cols: WIDTH as u32 },
        ],
        tables: vec![],
        nodes: vec![
            node("x", Op::Input(0)),
            node("acc", Op::MatMulWeight { x: NodeId(0), w: WeightId(0) }),
            node("h", Op::Rescale { x: NodeId(1), shift: 6, usage: RescaleUse::Value }),
            node("y", Op::ScaleWeight { x: NodeId(2), w: WeightId(1) }),
        ],
        outputs: vec![NodeId(3)],
    }
}

/// What the helper and consumer sees of one question.
struct Seen {
    /// The unknown part of the first output share, `h·r_γ2 + γ·r_h2`, as far as shares and masks tell.
    rest: Vec<u32>,
    /// The second evaluator's masks of `h`.
    mask: Vec<u32>,
    /// Both output shares.
    shares: [Vec<u32>; 2],
}

/// For every element and every pair of questions whose masks differ by an odd number: what `γ` would have to be.
fn solve(seen: &[Seen]) -> Vec<Vec<u32>> {
    (0..WIDTH)
        .map(|j| {
            let mut found = Vec::new();
            for a in 0..seen.len() {
                for b in 0..a {
                    let step = seen[a].mask[j].wrapping_sub(seen[b].mask[j]);
                    if step & 1 == 1 {
                        found.push(seen[a].rest[j].wrapping_sub(seen[b].rest[j]).wrapping_mul(inverse(step)));
                    }
                }
            }
            found
        })
        .collect()
}

/// The inverse of an odd number modulo 2^32.
fn inverse(a: u32) -> u32 {
    (0..5).fold(a, |x, _| x.wrapping_mul(2u32.wrapping_sub(a.wrapping_mul(x))))
}

fn words(seed: &Seed, label: Label) -> Vec<u32> {
    first_words(Prg::new(seed, label))
}

fn first_words(mut stream: Prg) -> Vec<u32> {
    let mut out = vec![0; WIDTH];
    stream.fill_words(4, &mut out);
    out
}

#[test]
fn output_shares_do_not_tell_the_helper_a_private_scale() {
    let graph = Arc::new(graph());
    let gamma = vec![91, -77, 123, 45, -6, 250, -199, 13];
    let weights = Weights { tensors: vec![(0..64).map(|i| (i * 37 % 101) - 50).collect(), gamma.clone()] };
    let plan = Arc::new(Plan::new(graph.clone(), Rounding::Exact, Visibility::Private).unwrap());
    let domain = MaskDomain::new([7; 32], [8; 32], 1, Assignment::ALL[0]);
    let (w1, w2) = (random_seed().unwrap(), random_seed().unwrap());
    let masked = mask_weights(&weights, &domain, &w1, &w2);
    let roles = [EvaluatorRole::First, EvaluatorRole::Second];
    let material = [(roles[0], &w1), (roles[1], &w2)]
        .map(|(role, seed)| WeightMaterial::evaluator_private(&graph, &domain, role, &masked, seed).unwrap())
        .map(Arc::new);
    let helper = WeightMaterial::helper_private(&graph, &domain, &w1, &w2);
    let [g1, g2] = [&w1, &w2].map(|seed| first_words(Prg::of_weights(seed, &domain.encode(), 1)));
    let question = vec![vec![5, -3, 8, 100, -20, 7, 1, 0]];

    let ask = || {
        let (s1, s2) = (random_seed().unwrap(), random_seed().unwrap());
        let corrections = Dealing::new(&plan, &helper, [&s1, &s2]).unwrap().collect().unwrap();
        let secret = JobSecret::combine(&[1; 32], random_seed().unwrap().as_bytes(), random_seed().unwrap().as_bytes());
        let mut machines: Vec<Evaluator> = [(s1.clone(), Vec::new()), (s2.clone(), corrections)]
            .into_iter()
            .zip(share_inputs(&question, &random_seed().unwrap()))
            .zip(roles.into_iter().zip(&material))
            .map(|(((seed, corrections), inputs), (role, material))| {
                let prepared = prepare(&plan, material, role, &seed, &corrections).unwrap();
                let pack = PackContents { seed, corrections, prepared };
                let zero = secret.zero_sharing(0);
                Evaluator::new(plan.clone(), material.clone(), role, pack, inputs, zero).unwrap()
            })
            .collect();
        let mut received = [None, None];
        let shares = loop {
            let steps = [0, 1].map(|i| machines[i].step(received[i].take()).unwrap());
            match steps {
                [Step::Exchange { send: a, .. }, Step::Exchange { send: b, .. }] => received = [Some(b), Some(a)],
                [Step::Done { outputs: a, .. }, Step::Done { outputs: b, .. }] => break [a[0].clone(), b[0].clone()],
                _ => panic!("the evaluators disagree on the end"),
            }
        };
        // What only the helper can compute: its masks of h, and what it dealt at the end of the scale.
        let (h1, h2) = (words(&s1, Label::Operand(H)), words(&s2, Label::Operand(H)));
        let dealt = words(&s1, Label::Dealt(SCALE));
        let rest = (0..WIDTH)
            .map(|j| {
                let known = h2[j]
                    .wrapping_mul(g1[j].wrapping_add(g2[j]))
                    .wrapping_sub(h1[j].wrapping_add(h2[j]).wrapping_mul(g1[j]))
                    .wrapping_add(dealt[j]);
                let answer = shares[0][j].wrapping_add(shares[1][j]);
                shares[0][j].wrapping_sub(answer).wrapping_sub(known)
            })
            .collect();
        Seen { rest, mask: h2, shares }
    };
    let seen: Vec<Seen> = (0..QUESTIONS).map(|_| ask()).collect();

    for (j, found) in solve(&seen).iter().enumerate() {
        assert!(found.len() > 5, "enough pairs to solve with");
        let hits = found.iter().filter(|g| **g == gamma[j] as u32).count();
        assert_eq!(hits, 0, "element {j}: the helper has solved for the private scale");
    }
    // The same question has one answer, from shares that never repeat.
    for other in &seen[1..] {
        for j in 0..WIDTH {
            let sum = |s: &Seen| s.shares[0][j].wrapping_add(s.shares[1][j]);
            assert_eq!(sum(other), sum(&seen[0]));
            assert_ne!(other.shares[0][j], seen[0].shares[0][j]);
        }
    }
}
