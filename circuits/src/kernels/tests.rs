//! The kernels against a plain triple loop, on odd shapes and full-range words.

use super::*;

fn words(seed: u64, len: usize) -> Vec<u32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 16) as u32
        })
        .collect()
}

fn naive(m: usize, k: usize, n: usize, a: &[u32], b: &[u32], c: &mut [u32]) {
    for i in 0..m {
        for p in 0..k {
            for j in 0..n {
                c[i * n + j] = c[i * n + j].wrapping_add(a[i * k + p].wrapping_mul(b[p * n + j]));
            }
        }
    }
}

#[test]
fn every_kernel_and_thread_count_equals_the_triple_loop() {
    let mut shapes = vec![(1, 1, 1), (6, 256, 16), (7, 257, 17), (5, 512, 31), (13, 3, 1), (1, 700, 48), (250, 5, 33)];
    for seed in 0..40u32 {
        let w = words(u64::from(seed) + 1, 3);
        shapes.push((w[0] as usize % 40 + 1, w[1] as usize % 300 + 1, w[2] as usize % 70 + 1));
    }
    for (m, k, n) in shapes {
        let (a, b, start) = (words(1, m * k), words(2, k * n), words(3, m * n));
        let mut expected = start.clone();
        naive(m, k, n, &a, &b, &mut expected);
        let packed = pack_b(k, n, &b);
        let transposed: Vec<u32> = (0..n * k).map(|i| b[(i % k) * n + i / k]).collect();
        assert_eq!(pack_b_transposed(k, n, &transposed).words, packed.words);
        for kernel in Kernel::available() {
            for threads in [0, 1, 2, 7] {
                let mut c = start.clone();
                split_rows(threads, kernel, m, &a, &packed, &mut c);
                assert_eq!(c, expected, "{m}x{k}x{n} {kernel:?} {threads}");
            }
        }
        for simd in [Simd::Auto, Simd::Scalar] {
            let mut c = start.clone();
            gemm_threads(1, simd, m, &a, &packed, &mut c);
            assert_eq!(c, expected, "{m}x{k}x{n} {simd:?}");
        }
    }
}

#[test]
fn empty_dimensions_leave_the_result_alone() {
    let packed = pack_b(0, 3, &[]);
    let mut c = vec![7; 6];
    gemm(2, &[], &packed, &mut c);
    assert_eq!(c, [7; 6]);
}

/// `cargo test --release -p sahara-circuits gemm_speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn gemm_speed() {
    for (m, k, n) in [(128, 384, 384), (128, 384, 1536), (128, 1536, 384), (512, 384, 1536), (1, 384, 384)] {
        let (a, b) = (words(1, m * k), words(2, k * n));
        let packed = pack_b(k, n, &b);
        let mut c = vec![0; m * n];
        for kernel in Kernel::available() {
            let mut best = f64::MAX;
            for _ in 0..20 {
                let start = std::time::Instant::now();
                split_rows(1, kernel, m, &a, &packed, &mut c);
                best = best.min(start.elapsed().as_secs_f64());
            }
            println!("{m}x{k}x{n} {kernel:?}: {:.1} GMAC/s", (m * k * n) as f64 / best / 1e9);
        }
    }
}
