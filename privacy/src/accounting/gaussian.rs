//! The Gaussian mechanism without sampling: any number of them is one, and its δ is known in closed form.

use super::special::{log_density, mills, upper_tail};

/// Relative error of the functions below, generously.
const ROUNDING: f64 = 1e-12;

/// δ at ε ≥ 0 of a noise multiplier, rounded up (Balle and Wang, 2018, theorem 8).
pub fn delta(noise: f64, epsilon: f64) -> f64 {
    let mean = 1.0 / noise;
    // δ = Q(a) - e^ε Q(b), and e^ε φ(b) = φ(a): both tails over one density.
    let (a, b) = (epsilon * noise - mean / 2.0, epsilon * noise + mean / 2.0);
    let exact = if a >= 0.0 {
        let density = log_density(a).exp();
        let (from_a, from_b) = (mills(a), mills(b));
        density * ((from_a - from_b).max(0.0) + ROUNDING * from_a)
    } else {
        let first = upper_tail(a);
        (first - log_density(a).exp() * mills(b)).max(0.0) + ROUNDING * first
    };
    exact.min(1.0)
}

/// The least ε ≥ 0 whose δ is at most `target`, rounded up.
pub fn epsilon(noise: f64, target: f64) -> f64 {
    if delta(noise, 0.0) <= target {
        return 0.0;
    }
    let mut high = 1e-3;
    while delta(noise, high) > target {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if delta(noise, middle) > target { low = middle } else { high = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epsilon_and_delta_are_inverse_from_tiny_to_huge_noise() {
        for noise in [1e-5, 1e-3, 0.1, 1.0, 10.0, 1e4, 1e9] {
            for target in [0.3, 1e-3, 1e-9, 1e-15] {
                let found = epsilon(noise, target);
                assert!(found.is_finite() && delta(noise, found) <= target, "{noise} {target} {found}");
                let less = found * (1.0 - 1e-6);
                assert!(found == 0.0 || delta(noise, less) > target * (1.0 - 1e-9), "{noise} {target} {found}");
            }
        }
    }
}
