//! The random graphs themselves: sound, complete, within their bounds, the same for every executor setting.

use super::*;
use crate::kernels::Simd;
use crate::reference::{ExecOptions, execute};
use std::collections::BTreeMap;

#[test]
fn every_graph_is_sound_uses_every_operator_and_keeps_its_bounds() {
    let mut shifts = BTreeMap::new();
    for seed in 0..300 {
        let (graph, weights, inputs) = random(seed);
        graph.check().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let mut seen = BTreeMap::new();
        for node in &graph.nodes {
            *seen.entry(node.op.name()).or_insert(0) += 1;
            if let Op::Rescale { shift, usage, .. } = node.op {
                shifts.entry(shift).or_insert_with(Vec::new).push(usage);
            }
        }
        assert_eq!(seen.len(), 20, "seed {seed}: {seen:?}");
        for inputs in [inputs, random_inputs(&graph, seed)] {
            let run = execute(&graph, &weights, &inputs, &ExecOptions::default()).unwrap();
            assert_eq!(run.out_of_range, [], "seed {seed}");
        }
    }
    for shift in 1..=20 {
        let uses = &shifts[&shift];
        assert!(uses.contains(&RescaleUse::Value) && uses.contains(&RescaleUse::Index), "shift {shift}");
    }
}

#[test]
fn threads_and_kernels_give_the_same_trace() {
    for seed in 0..60 {
        let (graph, weights, inputs) = random(seed);
        let run = |threads, simd| {
            let opts = ExecOptions { threads, record_trace: true, simd };
            execute(&graph, &weights, &inputs, &opts).unwrap()
        };
        let expected = run(1, Simd::Auto);
        for (threads, simd) in [(2, Simd::Auto), (7, Simd::Auto), (1, Simd::Scalar), (7, Simd::Scalar)] {
            assert_eq!(run(threads, simd), expected, "seed {seed}");
        }
        let lean = execute(&graph, &weights, &inputs, &ExecOptions::default()).unwrap();
        assert_eq!(lean.outputs, expected.outputs);
    }
}
