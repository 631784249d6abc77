//! Decoders of bytes from outside: whatever the bytes, an error or a sound value, never a panic or a huge allocation.
//! Digests are made to fit, so that the damage reaches the parser behind them.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sahara_circuits::graph::Graph;
use sahara_circuits::reference::{ExecOptions, execute};
use sahara_circuits::testgraph;
use sahara_circuits::weights::Weights;

/// `body`, some of its bytes replaced, perhaps cut.
fn damaged(body: &[u8], edits: &[(usize, u8)], cut: Option<usize>) -> Vec<u8> {
    let mut bytes = body.to_vec();
    for &(at, value) in edits {
        let len = bytes.len();
        bytes[at % len] = value;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut % (bytes.len() + 1));
    }
    bytes
}

fn edits() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((any::<usize>(), any::<u8>()), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn graphs(seed in 0u64..50, edits in edits(), cut in prop::option::weighted(0.2, any::<usize>())) {
        let (graph, weights, inputs) = testgraph::random(seed);
        let bytes = damaged(&graph.to_bytes(), &edits, cut);
        if let Ok(graph) = Graph::from_bytes(&bytes) {
            prop_assert_eq!(graph.to_bytes(), bytes, "one graph has one encoding");
            let elements: usize = graph.nodes.iter().map(|n| n.shape.len()).sum();
            if elements < 1 << 20 {
                let _ = execute(&graph, &weights, &inputs, &ExecOptions::default());
            }
        }
    }

    #[test]
    fn weights(seed in 0u64..50, edits in edits(), cut in prop::option::weighted(0.2, any::<usize>())) {
        let whole = testgraph::random(seed).1.to_bytes();
        let mut bytes = damaged(&whole[..whole.len() - 32], &edits, cut);
        let digest = *blake3::hash(&bytes).as_bytes();
        bytes.extend_from_slice(&digest);
        if let Ok(weights) = Weights::from_bytes(&bytes) {
            prop_assert_eq!(weights.to_bytes(), bytes);
        }
    }

    #[test]
    fn noise(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let after = |magic: &[u8]| [magic, &[1, 0], &bytes].concat();
        prop_assert!(Graph::from_bytes(&bytes).is_err() && Weights::from_bytes(&bytes).is_err());
        prop_assert!(Graph::from_bytes(&after(b"SHGRAPH")).is_err());
        let _ = Weights::from_bytes(&after(b"SHWEIGHT"));
    }
}
