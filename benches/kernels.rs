//! The arithmetic limit: how many 32-bit ring products a second one core makes on the shapes of the model, and so the
//! least time that an answer can take if everything else were free.
//!
//! Run: `cargo bench --bench kernels`. Prints the best and the median of the repetitions; single-threaded.

use std::time::Instant;

use sahara_circuits::kernels::{gemm, gemm_scalar, pack_b};

/// Rows, inner, columns, and how often the shape occurs in one layer of all-MiniLM-L6-v2 at 128 tokens.
const SHAPES: [(usize, usize, usize, usize); 4] =
    [(128, 384, 384, 4), (128, 384, 1536, 1), (128, 1536, 384, 1), (128, 32, 128, 12)];
const LAYERS: usize = 6;
const REPETITIONS: usize = 31;

fn main() {
    println!("| shape | 10^9 products/s, best | median | scalar, median |");
    println!("|---|---|---|---|");
    let mut seconds_of_a_layer = 0.0;
    let mut products_of_a_layer = 0.0;
    for (rows, inner, columns, times) in SHAPES {
        let a = words(rows * inner, 1);
        let b = words(inner * columns, 2);
        let packed = pack_b(inner, columns, &b);
        let products = (rows * inner * columns) as f64;
        let [best, median] = measure(REPETITIONS, || {
            let mut c = vec![0; rows * columns];
            gemm(rows, &a, &packed, &mut c);
            c
        });
        let [_, scalar] = measure(REPETITIONS / 4, || {
            let mut c = vec![0; rows * columns];
            gemm_scalar(rows, &a, &packed, &mut c);
            c
        });
        let rate = |seconds: f64| products / seconds / 1e9;
        println!("| {rows}×{inner}×{columns} | {:.1} | {:.1} | {:.1} |", rate(best), rate(median), rate(scalar));
        seconds_of_a_layer += median * times as f64;
        products_of_a_layer += products * times as f64;
    }
    // The second product of attention, weights by values, has as many products as the first.
    let attention = 12.0 * 128.0 * 128.0 * 32.0;
    let products = (products_of_a_layer + attention) * LAYERS as f64;
    println!(
        "\nMatrix products of one answer at 128 tokens in the clear: {:.2} × 10^9, about {:.3} s on one core.",
        products / 1e9,
        seconds_of_a_layer * LAYERS as f64 * products / (products_of_a_layer * LAYERS as f64)
    );
}

/// Best and median seconds of a computation.
fn measure<T>(repetitions: usize, mut work: impl FnMut() -> T) -> [f64; 2] {
    let mut seconds: Vec<f64> = (0..repetitions)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(work());
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    [seconds[0], seconds[seconds.len() / 2]]
}

/// Numbers that look random, by a linear congruence.
fn words(count: usize, seed: u32) -> Vec<u32> {
    let mut state = seed;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state ^ (state >> 15)
        })
        .collect()
}
