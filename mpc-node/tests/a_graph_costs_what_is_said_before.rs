//! The cost that is computed from a graph's shapes is the cost of running it: bytes and rounds exactly, memory as a bound.
#![allow(clippy::unwrap_used)] // a panic is the failure report

#[path = "common/counting.rs"]
mod counting;

use std::sync::Arc;

use counting::peak;
use sahara_circuits::graph::Graph;
use sahara_circuits::testgraph;
use sahara_circuits::weights::Weights;
use sahara_protocol::{
    Assignment, Cost, Dealing, Evaluator, EvaluatorRole, JobSecret, MaskDomain, PackContents, Plan, Rounding, Seed,
    Step, Visibility, WeightMaterial, mask_weights, prepare, share_inputs,
};

/// Pads rows, so that tensors and not bookkeeping decide.
fn costs(seed: u64, rounding: Rounding, visibility: Visibility) {
    let (graph, weights, inputs) = testgraph::random(seed);
    let graph = Arc::new(graph);
    let cost = Cost::of(&graph, rounding, visibility);
    let (plan, plan_memory) = peak(|| Arc::new(Plan::new(graph.clone(), rounding, visibility).unwrap()));
    assert_eq!((cost.dealt, cost.prepared), (plan.correction_len(), plan.prepared_len()), "seed {seed}");
    let scratch = 4096 + graph.nodes.len() as u64 * 128;
    assert!(plan_memory <= cost.plan_memory + scratch, "seed {seed}: plan of {plan_memory}, {cost:?}");

    let seeds = [3, 4].map(|n| Seed::from_bytes([n; 32]));
    let (helper, evaluators) = material(&graph, &weights, visibility);
    let mut corrections = Vec::with_capacity(cost.dealt as usize);
    let (_, helper_memory) = peak(|| {
        let mut dealing = Dealing::new(&plan, &helper, seeds.each_ref()).unwrap();
        while let Some(chunk) = dealing.next_chunk().unwrap() {
            corrections.extend_from_slice(chunk);
        }
    });
    assert!(helper_memory <= cost.helper_memory, "seed {seed}: dealing took {helper_memory}, {cost:?}");

    let shares = share_inputs(&inputs, &Seed::from_bytes([5; 32]));
    let packs = [EvaluatorRole::First, EvaluatorRole::Second].map(|role| {
        let corrections = if role == EvaluatorRole::First { Vec::new() } else { corrections.clone() };
        let seed = seeds[role as usize].clone();
        let prepared = prepare(&plan, &evaluators[role as usize], role, &seed, &corrections).unwrap();
        PackContents { seed, corrections, prepared }
    });
    let held: u64 = packs.iter().map(|p| (p.corrections.len() + p.prepared.len()) as u64).sum();
    let (rounds, both) = peak(|| run(&plan, &evaluators, packs, shares));
    assert_eq!(rounds, cost.rounds, "seed {seed} {rounding:?} {visibility:?}");
    assert!(both + held <= 2 * cost.evaluator_memory, "seed {seed}: two evaluators took {both} + {held}, {cost:?}");
}

fn material(graph: &Graph, weights: &Weights, visibility: Visibility) -> (WeightMaterial, [Arc<WeightMaterial>; 2]) {
    let domain = MaskDomain::new([7; 32], [8; 32], 1, Assignment::ALL[0]);
    let seeds = [1, 2].map(|n| Seed::from_bytes([n; 32]));
    let roles = [EvaluatorRole::First, EvaluatorRole::Second];
    match visibility {
        Visibility::Private => {
            let masked = mask_weights(weights, &domain, &seeds[0], &seeds[1]);
            let evaluator = |role: EvaluatorRole| {
                WeightMaterial::evaluator_private(graph, &domain, role, &masked, &seeds[role as usize]).unwrap()
            };
            let helper = WeightMaterial::helper_private(graph, &domain, &seeds[0], &seeds[1]);
            (helper, roles.map(|role| Arc::new(evaluator(role))))
        }
        Visibility::Open => {
            let plain: Vec<u32> = weights.tensors.iter().flatten().map(|w| *w as u32).collect();
            let evaluator = || Arc::new(WeightMaterial::evaluator_open(graph, &plain).unwrap());
            (WeightMaterial::helper_open(), [evaluator(), evaluator()])
        }
    }
}

fn run(
    plan: &Arc<Plan>,
    weights: &[Arc<WeightMaterial>; 2],
    packs: [PackContents; 2],
    shares: [Vec<Vec<u32>>; 2],
) -> u64 {
    let roles = [EvaluatorRole::First, EvaluatorRole::Second];
    let secret = JobSecret::from_bytes([6; 32]);
    let mut machines: Vec<Evaluator> = packs
        .into_iter()
        .zip(shares)
        .zip(roles)
        .map(|((pack, share), role)| {
            let weights = weights[role as usize].clone();
            Evaluator::new(plan.clone(), weights, role, pack, share, secret.zero_sharing(0)).unwrap()
        })
        .collect();
    let mut received = [None, None];
    loop {
        let [mine, theirs] = [0, 1].map(|i| machines[i].step(received[i].take()).unwrap());
        match (mine, theirs) {
            (Step::Exchange { send: a, .. }, Step::Exchange { send: b, .. }) => received = [Some(b), Some(a)],
            (Step::Done { rounds, .. }, Step::Done { .. }) => return u64::from(rounds),
            _ => panic!("the evaluators disagree about the end"),
        }
    }
}

#[test]
fn bytes_and_rounds_exactly_and_memory_at_most() {
    for seed in 0..60 {
        for rounding in [Rounding::Exact, Rounding::Faithful] {
            for visibility in [Visibility::Private, Visibility::Open] {
                costs(seed, rounding, visibility);
            }
        }
    }
}
