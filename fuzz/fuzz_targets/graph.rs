//! Graph bytes: what is read is checked and written back to the same bytes, and has a plan or an error.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use sahara_circuits::graph::Graph;
use sahara_mpc::protocol::{Plan, Rounding, Visibility};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(graph) = Graph::from_bytes(bytes) {
        assert_eq!(graph.to_bytes(), bytes);
        let _ = Plan::new(Arc::new(graph), Rounding::Exact, Visibility::Private);
    }
});
