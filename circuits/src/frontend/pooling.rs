//! The inputs that choose how token rows are pooled: whole numbers, so that no executor rounds them.

use std::ops::Range;

/// How the tokens of one pooling weigh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weighting {
    /// 1 for the first token.
    First,
    /// 1 for the last token.
    Last,
    /// 1 for each token: a sum.
    Ones,
    /// Equal parts of 2^bits.
    Mean(u8),
    /// Parts of 2^bits by the place, from 1.
    Places(u8),
    /// 2^bits divided by the root of the number of tokens, each.
    RootMean(u8),
}

/// The inputs of one pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolInput {
    /// One row of weights.
    Weights(Weighting),
    /// What masks padding, in the units of the values, and a row of ones.
    Max(u32),
}

impl PoolInput {
    /// The tensors, in the order of the graph, for these tokens among `padded` places.
    pub(crate) fn inputs(&self, padded: usize, tokens: Range<usize>, hidden: usize) -> Vec<Vec<i32>> {
        match *self {
            Self::Weights(weighting) => {
                let mut row = vec![0; padded];
                weighting.fill(&mut row[tokens.clone()], tokens.start);
                vec![row]
            }
            Self::Max(mask) => {
                let mut row = vec![-(mask as i32); padded];
                row[tokens].fill(0);
                vec![row, vec![1; hidden]]
            }
        }
    }
}

impl Weighting {
    /// Weights of a row of tokens, the first of which has `before` others before it.
    fn fill(self, row: &mut [i32], before: usize) {
        let n = row.len();
        match self {
            Self::First => row[0] = 1,
            Self::Last => row[n - 1] = 1,
            Self::Ones => row.fill(1),
            Self::Mean(bits) => parts(row, 1 << bits, &vec![1; n]),
            Self::Places(bits) => {
                parts(row, 1 << bits, &(before..before + n).map(|i| i as u64 + 1).collect::<Vec<_>>())
            }
            // The root of 4^bits / n, rounded.
            Self::RootMean(bits) => {
                let root = ((4 << (2 * u32::from(bits))) / n as u64).isqrt();
                row.fill(root.div_ceil(2) as i32);
            }
        }
    }

    /// The largest sum of absolute values, and the largest L2 norm, of a row of `padded` weights.
    #[cfg(feature = "compile")]
    pub(crate) fn limits(self, padded: u32) -> Limits {
        let root = f64::from(padded).sqrt();
        match self {
            Self::First | Self::Last => Limits { max: 1, norm: 1, sum: 1.0 },
            Self::Ones => Limits { max: 1, norm: root.ceil() as u32, sum: f64::from(padded) },
            Self::Mean(bits) | Self::Places(bits) | Self::RootMean(bits) => {
                let norm = (1u32 << bits) + root.ceil() as u32;
                Limits { max: (1 << bits) + 1, norm, sum: f64::from(norm) * root }
            }
        }
    }
}

/// What a row of weights keeps to.
#[cfg(feature = "compile")]
pub(crate) struct Limits {
    /// Largest weight.
    pub max: u32,
    /// Largest L2 norm.
    pub norm: u32,
    /// What follows for the sum of absolute values.
    pub sum: f64,
}

/// Cuts `whole` into parts as large as the shares ask, rounded so that they add up.
fn parts(row: &mut [i32], whole: u64, shares: &[u64]) {
    let total: u64 = shares.iter().sum();
    let (mut passed, mut given) = (0, 0);
    for (out, share) in row.iter_mut().zip(shares) {
        passed += share;
        let upto = (2 * passed * whole + total) / (2 * total);
        *out = (upto - given) as i32;
        given = upto;
    }
}

#[cfg(all(test, feature = "compile"))]
mod tests {
    use super::*;

    #[test]
    fn weights_add_up_and_keep_their_limits() {
        for n in [1usize, 2, 3, 7, 100, 500, 512] {
            for weighting in [
                Weighting::First,
                Weighting::Last,
                Weighting::Ones,
                Weighting::Mean(12),
                Weighting::Places(12),
                Weighting::RootMean(12),
            ] {
                let tensors = PoolInput::Weights(weighting).inputs(512, 0..n, 4);
                let (row, limits) = (&tensors[0], weighting.limits(512));
                let sum: i64 = row.iter().map(|&x| i64::from(x)).sum();
                let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
                assert!(row.iter().all(|&x| x >= 0 && x as u32 <= limits.max), "{weighting:?} {n}");
                assert!(norm <= f64::from(limits.norm) && sum as f64 <= limits.sum, "{weighting:?} {n}: {norm} {sum}");
                match weighting {
                    Weighting::Mean(_) | Weighting::Places(_) => assert_eq!(sum, 4096),
                    Weighting::RootMean(_) => {
                        let exact = 4096.0 / (n as f64).sqrt();
                        assert!((f64::from(row[0]) - exact).abs() <= 0.51, "{n}: {} {exact}", row[0]);
                    }
                    Weighting::Ones => assert_eq!(sum, n as i64),
                    _ => assert_eq!(sum, 1),
                }
            }
        }
        let skipped = PoolInput::Weights(Weighting::Ones).inputs(8, 2..5, 4);
        assert_eq!(skipped[0], [0, 0, 1, 1, 1, 0, 0, 0]);
        assert_eq!(PoolInput::Max(9).inputs(4, 0..2, 3), [vec![0, 0, -9, -9], vec![1, 1, 1]]);
    }
}
