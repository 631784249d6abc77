//! What each gate costs: CPU nanoseconds an element for the helper and both evaluators, bytes, rounds.
//!
//! `cargo run --release -p sahara-mpc --example gates [PART OF A NAME]`

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use sahara_circuits::graph::{
    BoundOrigin, Graph, InputRange, InputSpec, Node, NodeId, Op, RescaleUse, Shape, Table, TableId, WeightId,
    WeightSpec,
};
use sahara_circuits::weights::Weights;
use sahara_mpc::engine::random_seed;
use sahara_protocol::{
    Assignment, Dealing, Evaluator, EvaluatorRole, JobSecret, MaskDomain, PackContents, Plan, Rounding, Step,
    Visibility, WeightMaterial, mask_weights, prepare, share_inputs,
};

fn node(name: &str, op: Op, shape: Shape, bits: u8) -> Node {
    Node { name: name.to_owned(), op, shape, bits, bound: 1 << 20, origin: BoundOrigin::Calibrated }
}

/// A graph of one input and one operator.
fn graph(name: &str, input: Shape, input_bits: u8, op: Op, output: Shape, bits: u8) -> Graph {
    // A second input is the result, whatever the width of the operator's.
    let one = Shape::new(1, 1, 1);
    let input_spec = |shape, bits| InputSpec {
        name: "x".to_owned(),
        shape,
        bits,
        range: InputRange::Symmetric,
        max_abs: 31,
        max_row_norm: u32::MAX,
    };
    let table = |bits: u8| Table { name: format!("table/{bits}"), entries: (0..1 << bits).collect() };
    Graph {
        model: name.to_owned(),
        seq_len: 1,
        layers: 1,
        weights_root: [0; 32],
        inputs: vec![input_spec(input, input_bits), input_spec(one, 32)],
        weights: vec![WeightSpec { name: "w".to_owned(), rows: 384, cols: 384 }],
        tables: (7..=10).map(table).collect(),
        nodes: vec![
            node("x", Op::Input(0), input, input_bits),
            node(name, op, output, bits),
            node("result", Op::Input(1), one, 32),
        ],
        outputs: vec![NodeId(2)],
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let x = NodeId(0);
    let tokens = Shape::new(1, 128, 384);
    let scores = Shape::new(12, 128, 128);
    let rows = Shape::new(12, 128, 1);
    let rescale = |shift, usage| Op::Rescale { x, shift, usage };
    let lookup = |table| Op::Lookup { x, table: TableId(table) };
    let cases = [
        graph("rescale 12 to 32 bits", tokens, 32, rescale(12, RescaleUse::Value), tokens, 32),
        graph("rescale 16 to 8 bits", tokens, 32, rescale(16, RescaleUse::Index), tokens, 8),
        graph("table of 7 bits", scores, 7, lookup(0), scores, 32),
        graph("table of 8 bits", scores, 8, lookup(1), scores, 32),
        graph("table of 9 bits", scores, 9, lookup(2), scores, 32),
        graph("clamp 16 to 7 bits", scores, 16, Op::ClampIndex { x, index_bits: 7 }, scores, 7),
        graph("row maximum of 128", scores, 16, Op::RowMax { x }, rows, 16),
        graph("weights 384 x 384", tokens, 32, Op::MatMulWeight { x, w: WeightId(0) }, tokens, 32),
        graph("square sum", tokens, 32, Op::SquareSum { x }, Shape::new(1, 128, 1), 32),
    ];
    println!(
        "{:24} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>6}",
        "gate, exact", "helper", "prepare", "first", "second", "B dealt", "B online", "rounds"
    );
    let wanted = std::env::args().nth(1).unwrap_or_default();
    for case in cases.into_iter().filter(|case| case.model.contains(&wanted)) {
        measure(case)?;
    }
    println!("times in nanoseconds of one thread an element of the operand; B dealt once, B online in each direction");
    Ok(())
}

/// CPU time of this thread.
fn cpu() -> Result<Duration, Box<dyn Error>> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Ok(Duration::new(now.tv_sec.try_into()?, now.tv_nsec.try_into()?))
}

fn measure(graph: Graph) -> Result<(), Box<dyn Error>> {
    let n = graph.nodes[0].shape.len() as f64;
    let graph = Arc::new(graph);
    let plan = Arc::new(Plan::new(graph.clone(), Rounding::Exact, Visibility::Private)?);
    let weights = Weights { tensors: vec![vec![3; 384 * 384]] };
    let (w1, w2, assignment) = (random_seed()?, random_seed()?, Assignment::ALL[0]);
    let domain = MaskDomain::new([0; 32], [0; 32], 1, assignment);
    let masked = mask_weights(&weights, &domain, &w1, &w2);
    let helper = WeightMaterial::helper_private(&graph, &domain, &w1, &w2);
    let material = |role, seed| WeightMaterial::evaluator_private(&graph, &domain, role, &masked, seed);
    let material = [Arc::new(material(EvaluatorRole::First, &w1)?), Arc::new(material(EvaluatorRole::Second, &w2)?)];
    let mut times = Vec::new();
    let mut sizes = (0, 0, 0);
    for _ in 0..7 {
        let (s1, s2) = (random_seed()?, random_seed()?);
        let start = cpu()?;
        let corrections = Dealing::new(&plan, &helper, [&s1, &s2])?.collect()?;
        let dealing = cpu()? - start;
        let dealt = corrections.len();
        let start = cpu()?;
        let p1 = prepare(&plan, &material[0], EvaluatorRole::First, &s1, &[])?;
        let preparing = cpu()? - start;
        let p2 = prepare(&plan, &material[1], EvaluatorRole::Second, &s2, &corrections)?;
        let input: Vec<i32> = (0..n as i32).map(|i| i % 31).collect();
        let [i1, i2] = share_inputs(&[input, vec![0]], &random_seed()?);
        let pack = |seed, corrections, prepared| PackContents { seed, corrections, prepared };
        let first = pack(s1, Vec::new(), p1);
        let second = pack(s2, corrections, p2);
        let secret = JobSecret::from_bytes(*random_seed()?.as_bytes());
        let start = cpu()?;
        let mut a =
            Evaluator::new(plan.clone(), material[0].clone(), EvaluatorRole::First, first, i1, secret.zero_sharing(0))?;
        let mut spent = [cpu()? - start; 2];
        let zero = secret.zero_sharing(0);
        let mut b = Evaluator::new(plan.clone(), material[1].clone(), EvaluatorRole::Second, second, i2, zero)?;
        let (mut to_a, mut to_b) = (None, None);
        let (mut online, mut rounds) = (0, 0);
        loop {
            let start = cpu()?;
            let left = a.step(to_a.take())?;
            let middle = cpu()?;
            let right = b.step(to_b.take())?;
            spent[0] += middle - start;
            spent[1] += cpu()? - middle;
            let (Step::Exchange { send: x, .. }, Step::Exchange { send: y, .. }) = (left, right) else { break };
            online += x.len();
            rounds += 1;
            (to_a, to_b) = (Some(y), Some(x));
        }
        times.push([dealing, preparing, spent[0], spent[1]]);
        sizes = (dealt, online, rounds);
    }
    let median = |i: usize| {
        let mut all: Vec<f64> = times.iter().map(|t| t[i].as_secs_f64() * 1e9 / n).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    println!(
        "{:24} {:8.1} {:8.1} {:8.1} {:8.1} {:9.2} {:9.2} {:6}",
        graph.model,
        median(0),
        median(1),
        median(2),
        median(3),
        sizes.0 as f64 / n,
        sizes.1 as f64 / n,
        sizes.2
    );
    Ok(())
}
