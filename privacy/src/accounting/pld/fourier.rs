//! The discrete Fourier transform of a power of two, with a bound of its error.

use std::f64::consts::PI;

/// Error of each coefficient, as a part of the sum of the moduli of what is transformed: in each of log₂ n levels a term is
/// multiplied by a root and added: √5 roundings of the product (Brent, Percival and Zimmermann, 2007), one and a half of the root, one of the sum.
pub fn error(length: usize) -> f64 {
    f64::from(length.max(2).ilog2()) * 2.5 * f64::EPSILON
}

/// Complex numbers, real and imaginary parts apart.
pub struct Signal {
    pub real: Vec<f64>,
    pub imaginary: Vec<f64>,
}

impl Signal {
    /// Zeros; `length` is a power of two.
    pub fn zeros(length: usize) -> Self {
        Self { real: vec![0.0; length], imaginary: vec![0.0; length] }
    }

    /// Σⱼ xⱼ e^{-2πijk/n} in place of xₖ. Not divided by anything.
    pub fn transform(&mut self) {
        let length = self.real.len();
        debug_assert!(length.is_power_of_two());
        if length < 2 {
            return;
        }
        // Decimation in frequency: natural order in, reversed bits out, which are put right at the end.
        let roots: Vec<(f64, f64)> = (0..length / 2)
            .map(|k| {
                let (sine, cosine) = (-2.0 * PI * k as f64 / length as f64).sin_cos();
                (cosine, sine)
            })
            .collect();
        let (mut half, mut stride) = (length / 2, 1);
        // The roots of a level lie one after the other.
        let mut level = roots.clone();
        while half >= 1 {
            for (real, imaginary) in self.real.chunks_exact_mut(2 * half).zip(self.imaginary.chunks_exact_mut(2 * half))
            {
                let (real_a, real_b) = real.split_at_mut(half);
                let (imaginary_a, imaginary_b) = imaginary.split_at_mut(half);
                for ((((ra, rb), ia), ib), (c, s)) in
                    real_a.iter_mut().zip(real_b).zip(imaginary_a).zip(imaginary_b).zip(&level)
                {
                    let (dr, di) = (*ra - *rb, *ia - *ib);
                    *ra += *rb;
                    *ia += *ib;
                    *rb = dr * c - di * s;
                    *ib = dr * s + di * c;
                }
            }
            half /= 2;
            stride *= 2;
            level.clear();
            level.extend(roots.iter().step_by(stride).copied());
        }
        let shift = usize::BITS - length.ilog2();
        for k in 0..length {
            let mirrored = k.reverse_bits() >> shift;
            if k < mirrored {
                self.real.swap(k, mirrored);
                self.imaginary.swap(k, mirrored);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_that_it_says() {
        for length in [1, 2, 8, 64] {
            let mut signal = Signal::zeros(length);
            for k in 0..length {
                (signal.real[k], signal.imaginary[k]) = ((k as f64).sin(), (3.0 * k as f64).cos());
            }
            let (real, imaginary) = (signal.real.clone(), signal.imaginary.clone());
            let most: f64 = real.iter().zip(&imaginary).map(|(r, i)| r.hypot(*i)).sum();
            signal.transform();
            for k in 0..length {
                let (mut r, mut i) = (0.0, 0.0);
                for j in 0..length {
                    let (s, c) = (-2.0 * PI * ((j * k) % length) as f64 / length as f64).sin_cos();
                    r += real[j] * c - imaginary[j] * s;
                    i += real[j] * s + imaginary[j] * c;
                }
                let off = (r - signal.real[k]).hypot(i - signal.imaginary[k]);
                assert!(off <= 2.0 * error(length.max(64)) * most, "{length} {k}: {off:e}");
            }
        }
    }
}
