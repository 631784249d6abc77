//! Every kernel against its scalar twin, at all lengths that make a difference.

use super::*;
use crate::ring::planes::{CHUNK, WORDS};

fn noise(n: usize, seed: u32) -> Vec<u32> {
    let mut x = seed;
    (0..n)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x
        })
        .collect()
}

#[test]
fn planes_equal_their_scalar_twin() {
    for n in [0, 1, 7, 8, 63, 64, 65, 1000, CHUNK - 1, CHUNK] {
        let values = noise(n, 1 + n as u32);
        for bit in 0..32 {
            let (mut fast, mut slow) = ([7; WORDS], [9; WORDS]);
            plane(&values, bit, &mut fast);
            scalar::plane(&values, bit, &mut slow);
            assert_eq!(fast, slow, "{n} values, bit {bit}");
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                // SAFETY: AVX2 was detected.
                unsafe { avx2::plane(&values, bit, &mut fast) };
                assert_eq!(fast, slow, "{n} values, bit {bit}, AVX2");
            }
        }
    }
}

#[test]
fn selected_sums_equal_their_scalar_twin() {
    for bytes in [2, 16, 32, 64, 128] {
        let table = noise(16 * bytes, 99);
        for start in [0, 1, 5, 8 * bytes - 1] {
            let bits: Vec<u8> = noise(bytes, start as u32 + 3).iter().map(|v| *v as u8).collect();
            let want = scalar::selected_sum(&bits, &table[start..start + 8 * bytes]);
            assert_eq!(selected_sum(&bits, &table, start), want);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                // SAFETY: AVX2 was detected.
                assert_eq!(unsafe { avx2::selected_sum(&bits, &table[start..start + 8 * bytes]) }, want);
            }
        }
    }
}

/// What each function that is compiled for several widths of vectors gives, and what its plain form gives.
#[test]
fn widened_functions_equal_their_plain_form() {
    let lengths = [0, 1, 2, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 1000, CHUNK];
    for (round, n) in lengths.into_iter().enumerate() {
        let [a, b, c, d, e] = [1, 2, 3, 4, 5].map(|i| noise(n, 10 * i + round as u32));
        let bits: Vec<u32> = noise(n, 77).iter().map(|v| v & 1).collect();
        let shift = 1 + (round as u8 * 7) % 31;
        let equal = |name: &str, fast: &dyn Fn(&mut [u32]), plain: &dyn Fn(&mut [u32])| {
            let (mut x, mut y) = (a.clone(), a.clone());
            fast(&mut x);
            plain(&mut y);
            assert_eq!(x, y, "{name}, {n} values");
        };
        let words: Vec<u64> =
            noise(2 * n.div_ceil(64), 5).chunks_exact(2).map(|w| u64::from(w[0]) << 32 | u64::from(w[1])).collect();
        equal("spread", &|x| spread(&words, x), &|x| {
            x.iter_mut().enumerate().for_each(|(i, x)| *x = (words[i / 64] >> (i % 64)) as u32 & 1);
        });
        for low in [u32::MAX, 0xff_ffff, 0xff] {
            equal("add_masked", &|x| add_masked(x, &b, low), &|x| add_masked::plain(x, &b, low));
        }
        equal("subtract_from", &|x| subtract_from(x, &b), &|x| subtract_from::plain(x, &b));
        equal("add_where", &|x| add_where(x, &b, &bits), &|x| {
            x.iter_mut().zip(&b).zip(&bits).for_each(|((x, b), v)| *x = x.wrapping_add(b.wrapping_mul(*v)));
        });
        equal("add_where_low", &|x| add_where_low(x, &b, shift, &c), &|x| {
            for ((x, b), m) in x.iter_mut().zip(&b).zip(&c) {
                *x = x.wrapping_add((1 - (m >> 31)).wrapping_mul(b << shift));
            }
        });
        for known in [0, u32::MAX] {
            equal("rescaled", &|x| rescaled(x, &b, &bits, shift, 9, known), &|x| {
                rescaled::plain(x, &b, &bits, shift, 9, known);
            });
            equal("chosen", &|x| chosen(x, &b, &c, &bits, &d, &e, known), &|x| {
                for (i, x) in x.iter_mut().enumerate() {
                    let (u, v) = (b[i], bits[i]);
                    let own = v.wrapping_mul((if known == 0 { 0 } else { u }).wrapping_sub(c[i]));
                    let shared = u.wrapping_mul(d[i]).wrapping_sub(e[i]);
                    *x = own.wrapping_add(1u32.wrapping_sub(2 * v).wrapping_mul(shared));
                }
            });
        }
        equal("looked_up", &|x| looked_up(x, &b, &c, &d), &|x| {
            for (((u, s), m), w) in x.iter_mut().zip(&b).zip(&c).zip(&d) {
                let lifted = (1 - (*u >> 15 & 1)).wrapping_mul(w << 16);
                *u = u.wrapping_mul(*s).wrapping_sub(*m).wrapping_add(lifted);
            }
        });
    }
}

#[test]
fn joining_ranges_of_a_one_hot_vector_equals_looking() {
    // Bit by bit: the vector with a one at `hot`, public index `at`.
    for size in [2usize, 4, 8, 16, 32] {
        for hot in 0..size {
            let vector: Vec<Plane> = (0..size).map(|i| [if i == hot { u64::MAX } else { 0 }; WORDS]).collect();
            for at in 0..size {
                let on = |bit: u32| [if at >> bit & 1 == 1 { u64::MAX } else { 0 }; WORDS];
                let mut entries = vec![[[7; WORDS]; 3]; size / 2];
                join_leaves(&mut entries, &on(0), &vector);
                for bit in 1..size.ilog2() {
                    let mut fewer = vec![[[9; WORDS]; 3]; entries.len() / 2];
                    join(&mut fewer, &on(bit), &entries);
                    entries = fewer;
                }
                let want = [true, hot == at, hot > at].map(|b| [if b { u64::MAX } else { 0 }; WORDS]);
                assert_eq!(entries, [want], "size {size}, hot {hot}, at {at}");
            }
            let mut sum = [0; WORDS];
            xor_all(&mut sum, &vector[1..]);
            assert_eq!(sum, [if hot == 0 { 0 } else { u64::MAX }; WORDS]);
        }
    }
    let planes: Vec<u64> =
        noise(2 * 32 * WORDS, 3).chunks_exact(2).map(|w| u64::from(w[0]) << 32 | u64::from(w[1])).collect();
    let (planes, _) = planes.as_chunks::<WORDS>();
    let on = planes[31];
    let (mut fast, mut plain) = (vec![[[0; WORDS]; 3]; 8], vec![[[0; WORDS]; 3]; 8]);
    join_leaves(&mut fast, &on, &planes[..16]);
    join_leaves::plain(&mut plain, &on, &planes[..16]);
    assert_eq!(fast, plain);
    let (mut fewer, mut plainer) = (vec![[[0; WORDS]; 3]; 4], vec![[[0; WORDS]; 3]; 4]);
    join(&mut fewer, &on, &fast);
    join::plain(&mut plainer, &on, &plain);
    assert_eq!(fewer, plainer);
}

#[test]
fn words_of_every_width_are_coded_as_by_hand() {
    type Encode = fn(&[u32], &mut [u8]);
    type Decode = fn(&[u8], &mut [u32]);
    let all: [(usize, Encode, Decode); 3] = [(1, encode1, decode1), (2, encode2, decode2), (3, encode3, decode3)];
    for (width, encode, decode) in all {
        for n in [0, 1, 7, 8, 9, 10, 11, 15, 16, 17, 18, 19, 31, 32, 33, 64, 100, 1001] {
            let values = noise(n, 1 + n as u32);
            let want: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()[..width].to_vec()).collect();
            let mut bytes = vec![0; width * n];
            encode(&values, &mut bytes);
            assert_eq!(bytes, want, "{n} values of {width} bytes");
            let mut back = vec![7; n];
            decode(&bytes, &mut back);
            let low = if width == 3 { 0xff_ffff } else { (1 << (8 * width)) - 1 };
            assert!(back.iter().zip(&values).all(|(b, v)| *b == v & low), "{n} values of {width} bytes");
        }
    }
}
