//! The whole way: run, commit, prove, write; read, verify.

use sahara_circuits::graph::Graph;
use sahara_circuits::reference::{ExecOptions, execute};
use sahara_circuits::testgraph::Rng;
use sahara_circuits::weights::Weights;
use sahara_zk::{ProvableGraph, Proved, Salt, testgraph};
use sahara_zk_verify::{Context, NonHidingProof, Statement, VerifyError, verify};

fn context() -> Context {
    Context { chain: 7, market: [1; 20], asset: [2; 32], version: 3, request: [4; 32] }
}

#[expect(clippy::unwrap_used, reason = "a graph that is not proven is the failure")]
fn proved((graph, weights, inputs): &(Graph, Weights, Vec<Vec<i32>>)) -> Proved {
    let provable = ProvableGraph::new(graph, weights).unwrap();
    provable.prove(inputs, [&Salt::new([5; 32]), &Salt::new([6; 32])], context()).unwrap()
}

#[test]
fn a_perceptron() {
    let case = testgraph::perceptron(&[13, 9, 4], 3);
    let proved = proved(&case);
    let run = execute(&case.0, &case.1, &case.2, &ExecOptions::default()).unwrap();
    assert_eq!(proved.outputs, run.outputs);
    let graph = Graph::from_bytes(&case.0.to_bytes()).unwrap();
    let statement = Statement::from_bytes(&proved.statement.to_bytes()).unwrap();
    let proof = NonHidingProof::from_bytes(proved.proof.to_bytes()).unwrap();
    let verified = verify(&graph, &statement, &proof).unwrap();
    assert!(verified.lookups > 13 * 9, "{verified}");
    assert!(verified.to_string().contains("not zero-knowledge"), "{verified}");
}

#[test]
fn random_graphs_over_every_operator() {
    let mut names = std::collections::BTreeSet::new();
    for seed in 0..3 {
        let case = testgraph::random(seed);
        names.extend(case.0.nodes.iter().map(|node| node.op.name()));
        let proved = proved(&case);
        if let Err(error) = verify(&case.0, &proved.statement, &proved.proof) {
            panic!("seed {seed}: {error}");
        }
    }
    assert!(names.len() > 15, "{names:?}");
}

#[test]
fn another_statement_is_not_proven() {
    let case = testgraph::perceptron(&[5, 3], 2);
    let Proved { statement, proof, .. } = proved(&case);
    let rejected = |change: &dyn Fn(&mut Statement)| {
        let mut other = statement.clone();
        change(&mut other);
        verify(&case.0, &other, &proof).unwrap_err()
    };
    assert_eq!(rejected(&|s| s.graph.0[0] ^= 1), VerifyError::Graph);
    let changes: [&dyn Fn(&mut Statement); 9] = [
        &|s| s.context.chain += 1,
        &|s| s.context.market[19] ^= 1,
        &|s| s.context.asset[0] ^= 1,
        &|s| s.context.version += 1,
        &|s| s.context.request[31] ^= 1,
        &|s| s.weights.bits[0] += 1,
        &|s| s.weights.root = s.input,
        &|s| (s.input, s.output) = (s.output, s.input),
        &|s| s.output = s.input,
    ];
    for change in changes {
        rejected(change);
    }
    assert!(verify(&case.0, &statement, &proof).is_ok());
}

#[test]
fn damaged_proofs_are_rejected_and_never_panic() {
    let case = testgraph::perceptron(&[5, 4, 3], 2);
    let Proved { statement, proof, .. } = proved(&case);
    let bytes = proof.to_bytes();
    let mut rng = Rng::new(11);
    let judge = |bytes: &[u8]| match NonHidingProof::from_bytes(bytes) {
        Ok(proof) => verify(&case.0, &statement, &proof).is_ok(),
        Err(_) => false,
    };
    assert!(judge(bytes));
    for i in 0..120 {
        let mut bad = bytes.to_vec();
        // A bit anywhere, what is not less than the prime, or any bytes.
        let at = rng.below(bad.len() as u64) as usize;
        match i % 3 {
            0 => bad[at] ^= 1 << rng.below(8),
            1 => bad[at..].iter_mut().take(4).for_each(|byte| *byte = 255),
            _ => bad[at..].iter_mut().take(64).for_each(|byte| *byte = rng.word() as u8),
        }
        if bad != bytes {
            assert!(!judge(&bad), "changed at {at}");
        }
        assert!(!judge(&bytes[..at]), "cut at {at}");
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(!judge(&longer), "a byte too many");
    assert!(!judge(&[]));
}
