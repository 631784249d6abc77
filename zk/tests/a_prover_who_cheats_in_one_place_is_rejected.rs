//! One committed value, one message or one constant of the graph is changed, and the prover goes on as well as it can.
//! Whatever is accepted all the same has to be true: the reference executor gives those outputs.

use sahara_circuits::graph::{Graph, Op};
use sahara_circuits::reference::{ExecOptions, execute};
use sahara_circuits::testgraph::Rng;
use sahara_circuits::weights::Weights;
use sahara_zk::attack::{Alteration, Outcome, attack, columns_of};
use sahara_zk::testgraph;

/// The prime.
const P: i64 = 2_130_706_433;

type Case = (Graph, Weights, Vec<Vec<i32>>);

#[derive(Default, Debug)]
struct Count {
    rejected: usize,
    true_all_the_same: usize,
}

impl Count {
    /// Whether what was accepted is true.
    fn add(&mut self, claimed: &Graph, outcome: &Outcome, what: &dyn std::fmt::Debug) {
        if outcome.verdict.is_err() {
            self.rejected += 1;
            return;
        }
        let narrow = |&x: &i64| i32::try_from(x).unwrap_or_else(|_| panic!("{what:?}: {x} was accepted"));
        let said = |tensors: &[Vec<i64>]| tensors.iter().map(|t| t.iter().map(narrow).collect()).collect();
        let (tensors, inputs, outputs): (_, Vec<Vec<i32>>, Vec<Vec<i32>>) =
            (said(&outcome.weights), said(&outcome.inputs), said(&outcome.outputs));
        let run = execute(claimed, &Weights { tensors }, &inputs, &ExecOptions::default());
        assert!(run.is_ok_and(|run| run.outputs == outputs), "{what:?} was accepted: {}", claimed.model);
        self.true_all_the_same += 1;
    }
}

fn honest((graph, weights, inputs): &Case) -> usize {
    match attack((graph, graph), weights, inputs, Alteration::Nothing) {
        Ok(Outcome { verdict: Ok(()), messages, .. }) => messages,
        Ok(Outcome { verdict: Err(error), .. }) => panic!("{}: {error}", graph.model),
        Err(error) => panic!("{}: {error}", graph.model),
    }
}

fn columns(case: &Case, rng: &mut Rng, tries: usize, count: &mut Count) {
    let (graph, weights, inputs) = case;
    let columns = columns_of(graph, weights).expect("a graph that was proven");
    for i in 0..tries {
        // Every column in turn, anywhere in it.
        let (id, len) = columns[i % columns.len()];
        let by = [1, -1, 2, 1 << 12, -(1 << 20), P, 1 - P][rng.below(7) as usize];
        let alteration = Alteration::Column(id, rng.below(len as u64) as usize, by);
        let outcome = attack((graph, graph), weights, inputs, alteration).expect("a graph that was proven");
        count.add(graph, &outcome, &alteration);
    }
}

fn messages(case: &Case, rng: &mut Rng, tries: usize, count: &mut Count) {
    let (graph, weights, inputs) = case;
    let all = honest(case) as u64;
    for i in 0..tries as u64 {
        // Spread over the proof, so that every kind is met.
        let which = (i * all / tries as u64 + rng.below(1 + all / tries as u64)).min(all - 1);
        let alteration = Alteration::Message(which as usize);
        let outcome = attack((graph, graph), weights, inputs, alteration).expect("a graph that was proven");
        assert!(outcome.verdict.is_err(), "{alteration:?} of {all} was accepted: {}", graph.model);
        count.rejected += 1;
    }
}

/// The prover runs another graph than the one that it names.
fn graphs(case: &Case, rng: &mut Rng, tries: usize, count: &mut Count) {
    let (graph, weights, inputs) = case;
    for _ in 0..tries {
        let mut other = graph.clone();
        let what = alter(&mut other, rng);
        if other == *graph || other.check().is_err() {
            continue;
        }
        if let Ok(outcome) = attack((&other, graph), weights, inputs, Alteration::Nothing) {
            count.add(graph, &outcome, &what);
        }
    }
}

fn alter(graph: &mut Graph, rng: &mut Rng) -> String {
    if rng.below(3) == 0 && !graph.tables.is_empty() {
        let table = rng.below(graph.tables.len() as u64) as usize;
        let entries = &mut graph.tables[table].entries;
        let at = rng.below(entries.len() as u64) as usize;
        entries[at] += 1;
        return format!("entry {at} of table {table}");
    }
    let at = rng.below(graph.nodes.len() as u64) as usize;
    match &mut graph.nodes[at].op {
        Op::MulPublic { k, .. } => *k += 1,
        Op::Rescale { shift, .. } => *shift += 1,
        Op::Step { base, steps, .. } => match rng.below(3) {
            0 => *base += 1,
            1 => steps[0].0 += 1,
            _ => steps[0].1 += 1,
        },
        Op::SliceCols { from, .. } if *from > 0 => *from -= 1,
        Op::Add { a, b } | Op::Sub { a, b } | Op::Mul { a, b } => std::mem::swap(a, b),
        Op::MatMul { a, b, .. } => std::mem::swap(a, b),
        Op::ConcatCols { parts } => parts.reverse(),
        _ => graph.nodes[at].bits = graph.nodes[at].bits.saturating_sub(1).max(1),
    }
    format!("node {at}")
}

fn mutants(seeds: std::ops::Range<u64>, tries: usize) -> Count {
    let mut count = Count::default();
    for seed in seeds {
        let case = testgraph::random(seed);
        let mut rng = Rng::new(seed + 99);
        honest(&case);
        columns(&case, &mut rng, tries, &mut count);
        messages(&case, &mut rng, tries, &mut count);
        graphs(&case, &mut rng, tries / 2, &mut count);
    }
    count
}

#[test]
fn some_hundreds_of_mutants() {
    let count = mutants(0..6, 40);
    assert!(count.rejected > 400, "{count:?}");
    assert!(count.true_all_the_same * 10 < count.rejected, "{count:?}");
}

#[test]
#[ignore = "minutes"]
fn thousands_of_mutants() {
    let count = mutants(100..130, 200);
    println!("{count:?}");
    assert!(count.rejected > 10_000, "{count:?}");
}
