//! What proofs cost: `cargo run --release -p sahara-zk --example prove [ROWS WIDTH WIDTH …]`, or of a compiled model on
//! random inputs, `… --example prove GRAPH WEIGHTS` (`compiled/graph-16.bin` and `compiled/weights.bin` of its folder).
//!
//! Without arguments, perceptrons of growing shape; each line is one proof, verified from its bytes. CPU-seconds are of
//! this process, all threads; the peak of memory is that of the process so far.

use std::error::Error;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use sahara_circuits::graph::{Graph, InputRange, InputSpec};
use sahara_circuits::testgraph::Rng;
use sahara_circuits::weights::Weights;
use sahara_zk::{ProvableGraph, Salt, testgraph};
use sahara_zk_verify::{Context, NonHidingProof, verify};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    println!("{}", sahara_zk_verify::NOTICE);
    println!("graph                           nodes  lookups   commit s   prove s   verify ms   proof B   peak MB");
    if let [graph, weights] = &words[..]
        && graph.parse::<u32>().is_err()
    {
        let graph = Graph::from_bytes(&std::fs::read(graph)?)?;
        let weights = Weights::from_bytes(&std::fs::read(weights)?)?;
        let inputs = graph.inputs.iter().map(values).collect();
        return measure(&graph.model.clone(), (graph, weights, inputs));
    }
    let arguments = words.iter().map(|word| word.parse()).collect::<Result<Vec<u32>, _>>()?;
    if let [rows, widths @ ..] = &arguments[..]
        && widths.len() > 1
    {
        return perceptron(*rows, widths);
    }
    for (rows, widths) in [(1, [64, 32, 10]), (1, [784, 128, 10]), (16, [256, 256, 64]), (64, [384, 384, 384])] {
        perceptron(rows, &widths)?;
    }
    Ok(())
}

fn perceptron(rows: u32, widths: &[u32]) -> Result<(), Box<dyn Error>> {
    measure(&format!("{rows} rows of {widths:?}"), testgraph::perceptron(widths, rows))
}

/// Numbers well within the length that a row may have; a mask that hides nothing.
fn values(spec: &InputSpec) -> Vec<i32> {
    let most = f64::from(spec.max_row_norm) / f64::from(spec.shape.cols).sqrt() / 2.0;
    let most = if spec.range == InputRange::Mask { 0 } else { (most as i64).min(spec.max_abs.into()) };
    let mut rng = Rng::new(3);
    (0..spec.shape.len()).map(|_| rng.between(-most, most) as i32).collect()
}

fn measure(name: &str, (graph, weights, inputs): (Graph, Weights, Vec<Vec<i32>>)) -> Result<(), Box<dyn Error>> {
    let start = cpu_seconds();
    let provable = ProvableGraph::new(&graph, &weights)?;
    let committed = cpu_seconds();
    let salts = [&Salt::new([1; 32]), &Salt::new([2; 32])];
    let proved = provable.prove(&inputs, salts, Context::default())?;
    let done = cpu_seconds();
    let bytes = proved.proof.to_bytes();
    let mut fastest = f64::MAX;
    let mut lookups = 0;
    for _ in 0..3 {
        let begin = Instant::now();
        lookups = verify(&graph, &proved.statement, &NonHidingProof::from_bytes(bytes)?)?.lookups;
        fastest = fastest.min(begin.elapsed().as_secs_f64());
    }
    println!(
        "{name:30} {:6} {lookups:8} {:10.3} {:9.3} {:11.1} {:9} {:9}",
        graph.nodes.len(),
        committed - start,
        done - committed,
        fastest * 1e3,
        bytes.len(),
        peak_megabytes()
    );
    Ok(())
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Zero where the system does not say.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
