//! Functions near the limits of a double: logarithms of sums, tails of the normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// ln(eᵃ + eᵇ).
pub fn log_add(a: f64, b: f64) -> f64 {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    if small == f64::NEG_INFINITY { large } else { large + (small - large).exp().ln_1p() }
}

/// e^{x²} erfc(x) of x ≥ 0, to a relative 2⁻⁴⁰.
pub fn erfcx(x: f64) -> f64 {
    if x < 5.0 {
        return libm::erfc(x) * (x * x).exp();
    }
    // Laplace's continued fraction, from the inside: sixty levels are exact to a double from 5 on.
    let mut inner = 0.0;
    for level in (1..=60).rev() {
        inner = 0.5 * f64::from(level) / (x + inner);
    }
    1.0 / ((x + inner) * PI.sqrt())
}

/// ln of the standard normal's density.
pub fn log_density(x: f64) -> f64 {
    -0.5 * x * x - 0.5 * (2.0 * PI).ln()
}

/// Q(x) / φ(x): the upper tail over the density (Mills' ratio) of x ≥ 0.
pub fn mills(x: f64) -> f64 {
    erfcx(x * FRAC_1_SQRT_2) * (PI / 2.0).sqrt()
}

/// The standard normal's upper tail.
pub fn upper_tail(x: f64) -> f64 {
    0.5 * libm::erfc(x * FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_agree_where_two_formulas_meet_and_with_known_values() {
        let (below, above) = (libm::erfc(4.999_999_999) * 4.999_999_999_f64.powi(2).exp(), erfcx(5.0));
        assert!((below / above - 1.0).abs() < 1e-8, "{below} {above}");
        // Twelve terms of the asymptotic series at 30.
        assert!((erfcx(30.0) - 0.018_795_888_861_416_75).abs() < 1e-15, "{}", erfcx(30.0));
        assert!((mills(0.0) - 1.253_314_137_315_500_3).abs() < 1e-14);
        assert!((log_add(1.0, 2.0) - 2.313_261_687_518_222_6).abs() < 1e-14);
        assert_eq!(log_add(1.0, f64::NEG_INFINITY), 1.0);
    }
}
