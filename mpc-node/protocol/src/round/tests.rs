//! Three parties in one process.

use super::*;
use crate::ring::prg::Seed;
use crate::ring::secret::Secret;
use crate::roles::EvaluatorRole;

fn seed(n: u64) -> Seed {
    Seed::from_bytes(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

/// A reproducible stream of numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 16
    }
}

struct Ran {
    accepted: Vec<bool>,
    checked: [Checked; 2],
    frames: Vec<([Secret<u8>; 2], Opening)>,
}

/// Checks vectors from any shares.
fn run(vectors: Vectors, shares: [Secret<u32>; 2], number: u64) -> Ran {
    let seeds = [seed(3 * number), seed(3 * number + 1)];
    let count = shares[0].len() / vectors.dimension();
    let mut dealing = CheckDealing::new(&vectors, count, [&seeds[0], &seeds[1]]);
    let mut corrections = Vec::new();
    while let Some(chunk) = dealing.next_chunk() {
        corrections.extend_from_slice(chunk);
    }
    assert_eq!(corrections.len(), vectors.correction_len(count), "dealt as much as said");
    let [a, b] = shares;
    let mut first = Check::new(vectors, EvaluatorRole::First, seeds[0].clone(), Vec::new(), a).unwrap();
    let mut second = Check::new(vectors, EvaluatorRole::Second, seeds[1].clone(), corrections, b).unwrap();
    let (mut to_first, mut to_second, mut frames) = (None, None, Vec::new());
    loop {
        match (first.step(to_first.take()).unwrap(), second.step(to_second.take()).unwrap()) {
            (CheckStep::Exchange { send: a, opens }, CheckStep::Exchange { send: b, opens: same }) => {
                assert_eq!(opens, same);
                frames.push(([a.clone(), b.clone()], opens));
                (to_second, to_first) = (Some(a), Some(b));
            }
            (CheckStep::Done(a), CheckStep::Done(b)) => {
                assert_eq!(a.accepted, b.accepted);
                return Ran { accepted: a.accepted.clone(), checked: [a, b], frames };
            }
            _ => unreachable!("both follow the same steps"),
        }
    }
}

fn shared(vectors: &Vectors, all: &[Vec<i32>], number: u64) -> [Secret<u32>; 2] {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for (i, vector) in all.iter().enumerate() {
        let seed = seed(1 << 32 | number << 12 | i as u64);
        first.extend_from_slice(&share_from_seed(vectors, &seed));
        second.extend_from_slice(&share(vectors, vector, &seed));
    }
    [first.into(), second.into()]
}

fn sum(vectors: &Vectors, checked: &[Checked; 2]) -> Vec<i32> {
    let [mut a, b] = [0, 1].map(|i| {
        let mut sum = Sum::new(vectors);
        sum.add_accepted(&checked[i]);
        sum
    });
    a.add(&vec![0; vectors.dimension()]);
    a.open(&b.frame()).unwrap()
}

fn squares(vector: &[i32]) -> u64 {
    vector.iter().map(|x| u64::from(x.unsigned_abs()).pow(2)).sum()
}

#[test]
fn random_vectors_are_accepted_if_short_and_add_up() {
    let mut numbers = Numbers(1);
    for (number, (dimension, bits, count)) in
        [(1, 2, 1), (3, 16, 65), (70, 8, 130), (2048, 12, 3), (2049, 9, 5), (5000, 16, 2), (1, 5, 2048)]
            .into_iter()
            .enumerate()
    {
        let half = 1_i32 << (bits - 1);
        let vector = |numbers: &mut Numbers| {
            let small = numbers.next() % 3;
            let range = (half >> small).max(1);
            (0..dimension).map(|_| (numbers.next() % (2 * range as u64)) as i32 - range).collect::<Vec<_>>()
        };
        let all: Vec<Vec<i32>> = (0..count).map(|_| vector(&mut numbers)).collect();
        // In the middle of what there is, so that some are accepted and some are not.
        let mut norms: Vec<u64> = all.iter().map(|v| squares(v)).collect();
        norms.sort_unstable();
        let bound = norms[count / 2].max(1);
        let vectors = Vectors::new(dimension, bits as u8, bound).unwrap();
        let ran = run(vectors, shared(&vectors, &all, number as u64), number as u64);
        let want: Vec<bool> = all.iter().map(|v| squares(v) <= bound).collect();
        assert_eq!(ran.accepted, want, "{dimension} {bits}");
        let accepted = all.iter().zip(&want).filter(|(_, want)| **want);
        let total = accepted.fold(vec![0; dimension as usize], |mut total, (v, _)| {
            total.iter_mut().zip(v).for_each(|(t, x)| *t += x);
            total
        });
        assert_eq!(sum(&vectors, &ran.checked), total);
    }
}

#[test]
fn the_bound_itself_is_accepted_and_one_more_is_not() {
    // Sums of squares that are about the bound, or that about wrap in 32, 51 or 64 bits.
    for (dimension, bits, x, last) in
        [(1, 16, 0, 5), (17, 16, 1, -3), (1 << 16, 16, -256, 1), (1 << 17, 16, -(1 << 15), 100), (9, 6, -32, -31)]
    {
        let mut vector = vec![x; dimension];
        vector[dimension - 1] = last;
        let norm = squares(&vector);
        for (bound, want) in [(norm, true), (norm + 1, true), (norm - 1, false), (1, norm <= 1)] {
            let vectors = Vectors::new(dimension as u32, bits, bound.max(1)).unwrap();
            let ran = run(vectors, shared(&vectors, &[vector.clone()], 7), 7);
            assert_eq!(ran.accepted, [want], "{dimension} {bits} {norm} {bound}");
        }
    }
}

/// The greatest sum of squares that there can be, and the least bound: nothing wraps to something small.
#[test]
fn the_longest_vector_of_all_is_refused() {
    let vectors = Vectors::new(1 << 20, 16, 1).unwrap();
    let ran = run(vectors, shared(&vectors, &[vec![-(1 << 15); 1 << 20]], 9), 9);
    assert_eq!(ran.accepted, [false]);
    let vectors = Vectors::new(1 << 20, 16, 1 << 50).unwrap();
    let ran = run(vectors, shared(&vectors, &[vec![-(1 << 15); 1 << 20]], 9), 9);
    assert_eq!(ran.accepted, [true]);
}

/// A coordinate of 2¹⁶, whose square is 0 modulo 2³², and one of 2³², whose square is 0 modulo 2⁶⁴, cannot be said; shares that are
/// no sharing of anything are one of some vector in range, which is checked like any other.
#[test]
fn no_shares_stand_for_a_coordinate_out_of_range() {
    let vectors = Vectors::new(4, 9, 100).unwrap();
    let wide = vec![1 << 16, 1 << 9, 256, 3];
    let ran = run(vectors, shared(&vectors, &[wide], 5), 5);
    // 2¹⁶ and 2⁹ are 0 in nine bits, and 256 is -256.
    assert_eq!(ran.accepted, [false]);
    let vectors = Vectors::new(4, 9, 256 * 256 + 9).unwrap();
    let ran = run(vectors, shared(&vectors, &[vec![1 << 16, 1 << 9, 256, 3]], 5), 5);
    assert_eq!((ran.accepted.as_slice(), sum(&vectors, &ran.checked)), (&[true][..], vec![0, 0, -256, 3]));
    let mut numbers = Numbers(3);
    for number in 0..20 {
        let mut random = || Secret::from((0..64).map(|_| (numbers.next() % 512) as u32).collect::<Vec<_>>());
        let shares = [random(), random()];
        let value = |i: usize| (((shares[0][i] + shares[1][i]) << 23) as i32) >> 23;
        let vector: Vec<i32> = (0..64).map(value).collect();
        assert!(vector.iter().all(|x| (-256..256).contains(x)));
        for bound in [squares(&vector), squares(&vector) - 1] {
            let vectors = Vectors::new(64, 9, bound).unwrap();
            let ran = run(vectors, shares.clone(), number);
            assert_eq!(ran.accepted, [bound == squares(&vector)]);
        }
    }
}

/// All that two evaluators ever send each other, and which of it is under no mask.
#[test]
fn one_bit_a_vector_is_all_that_a_check_opens() {
    let vectors = Vectors::new(50, 10, 900).unwrap();
    let count = 40;
    let mut ones: Vec<Vec<(u32, u32)>> = Vec::new();
    let runs = 300;
    for number in 0..runs {
        // Always the same vectors, so that whatever is opened without a mask is the same each time.
        let all: Vec<Vec<i32>> = (0..count).map(|i| vec![i / 4 - 5; 50]).collect();
        let ran = run(vectors, shared(&vectors, &all, number), number);
        let opens: Vec<Opening> = ran.frames.iter().map(|(_, opens)| *opens).collect();
        let (last, before) = opens.split_last().unwrap();
        assert_eq!(*last, Opening::Accepted);
        assert!(before.iter().all(|opens| *opens == Opening::Masked));
        let ([a, b], _) = ran.frames.last().unwrap();
        let opened: Vec<u8> = a.iter().zip(b.iter()).map(|(a, b)| a ^ b).collect();
        let bits: Vec<bool> = (0..8 * opened.len()).map(|i| opened[i / 8] >> (i % 8) & 1 == 1).collect();
        assert_eq!(bits[..count as usize], ran.accepted, "the last frame opens the bits");
        assert!(bits[count as usize..].iter().all(|bit| !bit), "and no others");
        // Of all other frames each bit that an evaluator sends, and each bit that both open, is as often one as zero.
        for (at, ([a, b], _)) in ran.frames[..before.len()].iter().enumerate() {
            if ones.len() == at {
                ones.push(vec![(0, 0); 8 * a.len()]);
            }
            for (i, (sent, opened)) in ones[at].iter_mut().enumerate() {
                let bit = |x: u8| u32::from(x >> (i % 8) & 1);
                *sent += bit(a[i / 8]);
                *opened += bit(a[i / 8] ^ b[i / 8]);
            }
        }
    }
    // Six and a half deviations of 300 coins.
    let fair = |n: u32| (f64::from(n) - 150.0).abs() < 57.0;
    // Filler at the end of a frame's last words is masked as well; what both know to be no value is not sent at all.
    let uneven = ones.iter().flatten().filter(|(sent, opened)| !fair(*sent) || !fair(*opened)).count();
    assert_eq!(uneven, 0, "bits under masks that are not uniform");
    assert_eq!(ones.len(), 7);
}

#[test]
fn what_is_no_round_is_refused_by_name() {
    let refused = |dimension, bits, bound| Vectors::new(dimension, bits, bound).unwrap_err().to_string();
    assert!(refused(0, 8, 1).contains("dimension") && refused((1 << 20) + 1, 8, 1).contains("dimension"));
    assert!(refused(1, 1, 1).contains("bits") && refused(1, 17, 1).contains("bits"));
    assert!(refused(1, 8, 0).contains("bound") && refused(1, 8, (1 << 50) + 1).contains("bound"));
    assert!(NodeNoise::new(15).is_err() && NodeNoise::new((1 << 52) + 1).is_err());
    let vectors = Vectors::new(3, 16, 1 << 30).unwrap();
    let noise = NodeNoise::new(1 << 20).unwrap();
    // 65,534 times 2¹⁵ and 48 times 2¹⁰ are below 2³¹ - 1; one vector more is not.
    assert!(noise.fits(&vectors, 65_534).is_ok());
    assert_eq!(
        noise.fits(&vectors, 65_535).unwrap_err(),
        RoundError::Wraps { vectors: 65_535, greatest: 1 << 15, variance: f64::from(1 << 20) }
    );
    let short = Vectors::new(3, 16, 100).unwrap();
    assert!(noise.fits(&short, 65_535).is_ok(), "coordinates of short vectors are small");
    let too_many = short.at_a_time() + 1;
    let shares = || Secret::from(vec![0; 3 * too_many]);
    assert!(Check::new(short, EvaluatorRole::First, seed(1), Vec::new(), shares()).is_err());
    let shares = || Secret::from(vec![0; 4]);
    assert!(Check::new(short, EvaluatorRole::First, seed(1), Vec::new(), shares()).is_err());
    let shares = || Secret::from(vec![0; 3]);
    assert!(Check::new(short, EvaluatorRole::Second, seed(1), vec![0; 5], shares()).is_err());
    let mut check = Check::new(short, EvaluatorRole::First, seed(1), Vec::new(), shares()).unwrap();
    assert!(check.step(Some(vec![1].into())).is_err());
    assert!(matches!(check.step(None), Ok(CheckStep::Exchange { .. })));
    assert!(check.step(None).is_err() && check.step(Some(vec![1].into())).is_err());
    assert!(Sum::new(&short).open(&[0; 11]).is_err());
}

#[test]
fn three_nodes_noise_hides_what_it_says() {
    let noise = NodeNoise::new(10_000).unwrap();
    let drawn: Vec<Secret<u32>> = (0..3).map(|i| noise.draw(&seed(i), 40_000)).collect();
    let mean = |values: &dyn Fn(usize) -> f64| (0..40_000).map(values).sum::<f64>() / 40_000.0;
    let value = |i: usize, at: usize| f64::from(drawn[i][at] as i32);
    for i in 0..3 {
        assert!(mean(&|at| value(i, at)).abs() < 3.0);
        let variance = mean(&|at| value(i, at).powi(2));
        assert!((variance / 10_000.0 - 1.0).abs() < 0.05, "{variance}");
    }
    let all = mean(&|at| (0..3).map(|i| value(i, at)).sum::<f64>().powi(2));
    assert!((all / 30_000.0 - 1.0).abs() < 0.05, "independent of one another: {all}");
    assert_eq!(noise.draw(&seed(1), 40_000)[..], drawn[1][..], "and nothing but their seeds");
    let second = share_noise(&drawn[0], &seed(9));
    let first = noise_share_from_seed(&seed(9), 40_000);
    assert!(first.iter().zip(second.iter()).map(|(a, b)| a.wrapping_add(*b)).eq(drawn[0].iter().copied()));
}
