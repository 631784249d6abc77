//! What happens to numbers between products of matrices, in loops that are compiled for the widest vectors.

use pulp::{Arch, Simd, WithSimd};

use super::super::matmul::wide;

/// Sums, in sixteen strands, of what two rows give.
#[inline(always)]
fn strands(a: &[f32], b: &[f32], each: impl Fn(f32, f32) -> f32) -> f32 {
    let mut strands = [0.0_f32; 16];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for ((strand, &a), &b) in strands.iter_mut().zip(a).zip(b) {
            *strand += each(a, b);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(&a, &b)| each(a, b)).sum();
    strands.iter().sum::<f32>() + rest
}

/// `exp(x)` to 2 units in the last place, for `x` up to 88; 0 below -87.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// Adding and taking away this rounds to an integer, and leaves it in the low bits.
    const ROUNDING: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDING;
    let whole = shifted - ROUNDING;
    // ln 2 in two parts, of which the first has 9 bits.
    let rest = (x - whole * 0.693_359_375) - whole * -2.121_944_4e-4;
    let mut sum = 1.987_569_1e-4;
    for term in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        sum = sum * rest + term;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    let value = (sum * rest * rest + rest + 1.0) * power;
    if x <= -87.0 { 0.0 } else { value }
}

/// The part of a normal distribution below `x`, to 3·10⁻⁷ (Abramowitz and Stegun, 7.1.26), and its density there.
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let bell = exp(-0.5 * x * x);
    let mut sum = 1.061_405_4;
    for term in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
        sum = sum * t + term;
    }
    let tail = 0.5 * sum * t * bell;
    (if x < 0.0 { tail } else { 1.0 - tail }, bell * 0.398_942_3)
}

/// `to = GELU(x)`, and `x` becomes the slope there.
pub fn gelu(x: &mut [f32], to: &mut [f32]) {
    struct Gelu<'a>(&'a mut [f32], &'a mut [f32]);
    impl WithSimd for Gelu<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            for (x, to) in self.0.iter_mut().zip(self.1) {
                let (below, density) = normal(*x);
                *to = *x * below;
                *x = below + *x * density;
            }
        }
    }
    Arch::new().dispatch(Gelu(x, to));
}

/// Each row of scores, times `scale`, becomes a softmax.
pub fn softmax(scores: &mut [f32], width: usize, scale: f32) {
    struct Softmax<'a>(&'a mut [f32], usize, f32);
    impl WithSimd for Softmax<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let Self(scores, width, scale) = self;
            for row in scores.chunks_exact_mut(width) {
                let mut greatest = [f32::NEG_INFINITY; 16];
                let (whole, rest) = row.as_chunks::<16>();
                for values in whole {
                    for (greatest, &value) in greatest.iter_mut().zip(values) {
                        *greatest = if value > *greatest { value } else { *greatest };
                    }
                }
                let greatest = greatest.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
                row.iter_mut().for_each(|value| *value = exp((*value - greatest) * scale));
                let inverse = 1.0 / strands(row, row, |value, _| value);
                row.iter_mut().for_each(|value| *value *= inverse);
            }
        }
    }
    Arch::new().dispatch(Softmax(scores, width.max(1), scale));
}

/// From the gradient by a softmax to that by its scores, which were times `scale`; in the place of the former.
pub fn softmax_back(softmax: &[f32], gradient: &mut [f32], width: usize, scale: f32) {
    wide(|| {
        let rows = softmax.chunks_exact(width.max(1)).zip(gradient.chunks_exact_mut(width.max(1)));
        for (softmax, gradient) in rows {
            let mean = strands(softmax, gradient, |a, b| a * b);
            for (gradient, &softmax) in gradient.iter_mut().zip(softmax) {
                *gradient = softmax * (*gradient - mean) * scale;
            }
        }
    });
}

/// Each row of `x`, `gamma` wide, becomes one of mean 0 and variance 1, and `to` that times gamma plus beta; `inverses` gets
/// what a row was multiplied by.
pub fn normalize(
    x: &mut [f32],
    (gamma, beta): (&[f32], &[f32]),
    epsilon: f32,
    inverses: &mut Vec<f32>,
    to: &mut [f32],
) {
    let width = gamma.len();
    inverses.clear();
    wide(|| {
        for (x, to) in x.chunks_exact_mut(width).zip(to.chunks_exact_mut(width)) {
            let mean = strands(x, x, |value, _| value) / width as f32;
            let variance = strands(x, x, |value, _| (value - mean) * (value - mean)) / width as f32;
            let inverse = 1.0 / (variance + epsilon).sqrt();
            for (((x, to), gamma), beta) in x.iter_mut().zip(to).zip(gamma).zip(beta) {
                *x = (*x - mean) * inverse;
                *to = *x * gamma + beta;
            }
            inverses.push(inverse);
        }
    });
}

/// From the gradient by what [`normalize`] gave to that by what it was given, in the place of the normalized rows.
pub fn normalize_back(normal: &mut [f32], gamma: &[f32], inverses: &[f32], gradient: &[f32]) {
    let width = gamma.len();
    wide(|| {
        let rows = normal.chunks_exact_mut(width).zip(gradient.chunks_exact(width));
        for ((normal, gradient), &inverse) in rows.zip(inverses) {
            let mean = strands(gradient, gamma, |a, b| a * b) / width as f32;
            let mut along = [0.0_f32; 16];
            let wholes =
                normal.as_chunks::<16>().0.iter().zip(gradient.as_chunks::<16>().0).zip(gamma.as_chunks::<16>().0);
            for ((normal, gradient), gamma) in wholes {
                for i in 0..16 {
                    along[i] += normal[i] * gradient[i] * gamma[i];
                }
            }
            let whole = width / 16 * 16;
            let rest: f32 = (whole..width).map(|i| normal[i] * gradient[i] * gamma[i]).sum();
            let along = (along.iter().sum::<f32>() + rest) / width as f32;
            for ((normal, gradient), gamma) in normal.iter_mut().zip(gradient).zip(gamma) {
                *normal = inverse * (gradient * gamma - mean - *normal * along);
            }
        }
    });
}

/// Each row of `to` becomes `row`.
pub fn repeat(row: &[f32], to: &mut [f32]) {
    wide(|| to.chunks_exact_mut(row.len().max(1)).for_each(|to| to.copy_from_slice(row)));
}

/// Each row of `to` becomes that of `x` plus `row`.
pub fn shifted(x: &[f32], row: &[f32], to: &mut [f32]) {
    let width = row.len().max(1);
    wide(|| {
        for (x, to) in x.chunks_exact(width).zip(to.chunks_exact_mut(width)) {
            x.iter().zip(row).zip(to).for_each(|((x, row), to)| *to = x + row);
        }
    });
}

/// `to += factor · x`.
pub fn add(factor: f32, x: &[f32], to: &mut [f32]) {
    wide(|| x.iter().zip(to).for_each(|(x, to)| *to += factor * x));
}

/// `to *= x`.
pub fn times(x: &[f32], to: &mut [f32]) {
    wide(|| x.iter().zip(to).for_each(|(x, to)| *to *= x));
}

/// `sum` gets the rows of `x` added up.
pub fn add_rows(x: &[f32], sum: &mut [f32]) {
    let width = sum.len().max(1);
    wide(|| x.chunks_exact(width).for_each(|x| x.iter().zip(&mut *sum).for_each(|(x, sum)| *sum += x)));
}

/// `sum` gets the rows of `x` times those of `y` added up.
pub fn add_products(x: &[f32], y: &[f32], sum: &mut [f32]) {
    let width = sum.len().max(1);
    wide(|| {
        for (x, y) in x.chunks_exact(width).zip(y.chunks_exact(width)) {
            x.iter().zip(y).zip(&mut *sum).for_each(|((x, y), sum)| *sum += x * y);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_and_the_normal_distribution_are_those_of_the_books() {
        for step in -8800..=8800_i16 {
            let x = f32::from(step) / 100.0;
            let (own, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((own - exact).abs() < 3e-7 * exact || x <= -87.0 && own == 0.0, "{x} {own} {exact}");
        }
        for step in -1000..=1000_i16 {
            let x = f32::from(step) / 100.0;
            let (below, density) = normal(x);
            let exact = 0.5 * libm::erfc(-f64::from(x) / 2.0_f64.sqrt());
            assert!((f64::from(below) - exact).abs() < 3e-7, "{x} {below} {exact}");
            let exact = (-f64::from(x).powi(2) / 2.0).exp() / std::f64::consts::TAU.sqrt();
            assert!((f64::from(density) - exact).abs() < 3e-7, "{x} {density} {exact}");
        }
        assert!(normal(f32::NAN).0.is_nan() && exp(f32::NAN).is_nan(), "what is no number stays none");
    }

    #[test]
    fn slopes_are_those_of_small_differences() {
        let row: Vec<f32> = (0..37_i16).map(|i| f32::from(i * 31 % 17) / 8.0 - 1.0).collect();
        let weights: Vec<f32> = (0..37_i16).map(|i| f32::from(i * 13 % 23) / 11.0 - 0.9).collect();
        let (gamma, beta): (Vec<f32>, Vec<f32>) = (0..37_i16).map(|i| (1.0 + f32::from(i % 5) / 9.0, 0.1)).unzip();
        type Function<'a> = &'a dyn Fn(&[f32]) -> Vec<f32>;
        type Slope<'a> = &'a dyn Fn(&[f32], &[f32]) -> Vec<f32>;
        let normal: Function<'_> = &|x| {
            let (mut x, mut to) = (x.to_vec(), vec![0.0; 37]);
            normalize(&mut x, (&gamma, &beta), 1e-12, &mut Vec::new(), &mut to);
            to
        };
        let normal_slope: Slope<'_> = &|x, g| {
            let (mut x, mut to, mut inverses) = (x.to_vec(), vec![0.0; 37], Vec::new());
            normalize(&mut x, (&gamma, &beta), 1e-12, &mut inverses, &mut to);
            normalize_back(&mut x, &gamma, &inverses, g);
            x
        };
        let soft: Function<'_> = &|x| {
            let mut x = x.to_vec();
            softmax(&mut x, 37, 0.7);
            x
        };
        let soft_slope: Slope<'_> = &|x, g| {
            let mut g = g.to_vec();
            softmax_back(&soft(x), &mut g, 37, 0.7);
            g
        };
        let bent: Function<'_> = &|x| {
            let mut to = vec![0.0; 37];
            gelu(&mut x.to_vec(), &mut to);
            to
        };
        let bent_slope: Slope<'_> = &|x, g| {
            let mut x = x.to_vec();
            gelu(&mut x, &mut [0.0; 37]);
            x.iter().zip(g).map(|(x, g)| x * g).collect()
        };
        for (function, slope) in [(normal, normal_slope), (soft, soft_slope), (bent, bent_slope)] {
            let along = slope(&row, &weights);
            for i in [0, 15, 16, 36] {
                let at = |h: f32| -> f64 {
                    let mut row = row.clone();
                    row[i] += h;
                    function(&row).iter().zip(&weights).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
                };
                let expected = (at(1e-2) - at(-1e-2)) / 2e-2;
                assert!((f64::from(along[i]) - expected).abs() < 2e-3, "{i}: {} {expected}", along[i]);
            }
        }
    }
}
