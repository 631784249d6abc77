//! What proofs cost: `cargo run --release -p sahara-zk --example prove [ROWS WIDTH WIDTH …]`.
//!
//! Without arguments, perceptrons of growing shape; each line is one proof, verified from its bytes. CPU-seconds are of
//! this process, all threads; the peak of memory is that of the process so far.

use std::error::Error;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use sahara_zk::{ProvableGraph, Salt, testgraph};
use sahara_zk_verify::{Context, NonHidingProof, verify};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = std::env::args().skip(1).map(|word| word.parse()).collect::<Result<Vec<u32>, _>>()?;
    println!("{}", sahara_zk_verify::NOTICE);
    println!("rows widths            products  lookups   commit s   prove s   verify ms   proof B   peak MB");
    if let [rows, widths @ ..] = &arguments[..]
        && widths.len() > 1
    {
        return measure(*rows, widths);
    }
    for (rows, widths) in [(1, [64, 32, 10]), (1, [784, 128, 10]), (16, [256, 256, 64]), (64, [384, 384, 384])] {
        measure(rows, &widths)?;
    }
    Ok(())
}

fn measure(rows: u32, widths: &[u32]) -> Result<(), Box<dyn Error>> {
    let (graph, weights, inputs) = testgraph::perceptron(widths, rows);
    let products: u64 = widths.windows(2).map(|w| u64::from(rows) * u64::from(w[0]) * u64::from(w[1])).sum();
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
        "{rows:4} {:16} {products:10} {lookups:8} {:10.3} {:9.3} {:11.1} {:9} {:9}",
        format!("{widths:?}"),
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
