//! The accountant of Rényi divergences.
//!
//! Every mechanism has a bound of its divergence at each order α; bounds of steps add up; the sum becomes (ε, δ) by the
//! conversion of Canonne, Kamath and Steinke (2020, proposition 12), or by the total variation (Bretagnolle and Huber, 1979) where
//! little is spent, at the best of many orders. Each order gives an upper bound,
//! so that the search for the best one may be coarse.

use super::mechanism::{Kind, Mechanism};
use super::special::{log_add, log_density};
use super::{AccountingError, Composition};
use std::f64::consts::PI;

/// The greatest order that is tried.
const GREATEST: f64 = 65_536.0;
/// Above this order only whole ones are tried: their sum is exact.
const WHOLE: f64 = 40.0;
/// Relative error of a sum of logarithms, generously.
const ROUNDING: f64 = 1e-11;

/// Upper bound of ε at δ in (0, 1).
///
/// # Errors
/// None today: what can be composed can be accounted.
pub fn epsilon(composition: &Composition, delta: f64) -> Result<f64, AccountingError> {
    if composition.is_free() {
        return Ok(0.0);
    }
    let at = |order: f64| {
        let spent = divergence(composition, order);
        // The divergence of order one is no greater, and bounds the total variation: that may be all of δ already.
        if (-(-spent).exp_m1()).sqrt() <= delta {
            return 0.0;
        }
        spent + ((order - 1.0) / order).ln() - (delta.ln() + order.ln()) / (order - 1.0)
    };
    Ok(least(composition, at).max(0.0))
}

/// Upper bound of δ at ε ≥ 0.
///
/// # Errors
/// As [`epsilon`].
pub fn delta(composition: &Composition, epsilon: f64) -> Result<f64, AccountingError> {
    if composition.is_free() {
        return Ok(0.0);
    }
    let at = |order: f64| {
        let spent = divergence(composition, order);
        (order - 1.0) * (spent - epsilon + ((order - 1.0) / order).ln()) - order.ln()
    };
    // The total variation, from an order near one; Skellam's bound is for whole orders.
    let variation = (-(-divergence(composition, 2.0)).exp_m1()).sqrt();
    Ok(least(composition, at).exp().min(variation))
}

/// Upper bound of the Rényi divergence of order `order` > 1 between neighbours, in both directions.
pub fn divergence(composition: &Composition, order: f64) -> f64 {
    composition.steps().map(|(mechanism, times)| times as f64 * of_one(mechanism, order)).sum::<f64>()
        * (1.0 + ROUNDING)
}

/// The least value over orders: on a coarse grid first, then between the neighbours of its best.
fn least(composition: &Composition, at: impl Fn(f64) -> f64) -> f64 {
    let whole_only = composition.steps().any(|(mechanism, _)| matches!(mechanism.0, Kind::Skellam { .. }));
    let allowed = |order: f64| if whole_only || order > WHOLE { order.round().max(2.0) } else { order };
    let finite = |value: f64| if value.is_nan() { f64::INFINITY } else { value };
    let mut grid: Vec<f64> = std::iter::successors(Some(0.01), |excess| Some(excess * 1.25))
        .map(|excess| allowed(1.0 + excess))
        .take_while(|order| *order <= GREATEST)
        .collect();
    // The same order again and again is no valley.
    grid.dedup();
    let (mut best, mut least) = (0, f64::INFINITY);
    for (index, order) in grid.iter().enumerate() {
        let value = finite(at(*order));
        if value < least {
            (best, least) = (index, value);
        } else if index > best + 4 {
            break;
        }
    }
    // Golden section on the excess over one, where the function has one valley.
    let (mut low, mut high) = (grid[best.saturating_sub(1)] - 1.0, grid[(best + 1).min(grid.len() - 1)] - 1.0);
    let golden = 0.618_033_988_749_895;
    for _ in 0..14 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        let (at_a, at_b) = (finite(at(allowed(1.0 + a))), finite(at(allowed(1.0 + b))));
        least = least.min(at_a).min(at_b);
        if at_a < at_b { high = b } else { low = a }
    }
    least
}

fn of_one(mechanism: Mechanism, order: f64) -> f64 {
    match mechanism.0 {
        Kind::Gaussian { rate: 0.0, .. } => 0.0,
        Kind::Gaussian { noise, rate: 1.0 } => order / (2.0 * noise * noise),
        Kind::Gaussian { noise, rate } => sampled_gaussian(noise, rate, order),
        Kind::Laplace { noise } => laplace(noise, order),
        Kind::Skellam { variance, l1, l2 } => skellam(variance, l1, l2, order),
    }
}

/// Mironov, Talwar and Zhang (2019): the direction in which a record is removed is the worse one (theorem 5), and its moment is a
/// finite sum for whole orders (equation 6), an integral for others.
fn sampled_gaussian(noise: f64, rate: f64, order: f64) -> f64 {
    let moment =
        if order.fract() == 0.0 { whole_moment(noise, rate, order) } else { fractional_moment(noise, rate, order) };
    // Never more than without sampling.
    (moment / (order - 1.0)).clamp(0.0, order / (2.0 * noise * noise))
}

/// ln E[(1 - q + q eᶻ)^α]. The terms of eᶻ alone are split off, so that a moment near one keeps its digits: the moment is
/// 1 + Σ_{k ≥ 2} C(α, k) (1-q)^{α-k} q^k (e^{k(k-1)/2σ²} - 1).
fn whole_moment(noise: f64, rate: f64, order: f64) -> f64 {
    let half = 0.5 / (noise * noise);
    let (log_rate, log_rest) = (rate.ln(), (-rate).ln_1p());
    let mut log_choose = order.ln();
    let mut excess = f64::NEG_INFINITY;
    let mut k = 2.0;
    while k <= order {
        log_choose += ((order - k + 1.0) / k).ln();
        let exponent = k * (k - 1.0) * half;
        let log_grown = if exponent > 30.0 { exponent } else { exponent.exp_m1().ln() };
        excess = log_add(excess, log_choose + k * log_rate + (order - k) * log_rest + log_grown);
        k += 1.0;
    }
    log_add(0.0, excess)
}

/// The integral itself, by the trapezoid rule: the integrand is analytic in a strip around the real axis, on whose border its
/// modulus is at most e^{3.2} times that on the axis, and the step makes e^{-48} of the rule's error. With almost no noise, where
/// the strip is too narrow, convexity bounds it: (a + b)^α ≤ 2^{α-1} (a^α + b^α).
fn fractional_moment(noise: f64, rate: f64, order: f64) -> f64 {
    let variance = noise * noise;
    let (log_rate, log_rest) = (rate.ln(), (-rate).ln_1p());
    if noise < 0.1 {
        let alone = order * log_rate + order * (order - 1.0) / (2.0 * variance);
        return (order - 1.0) * std::f64::consts::LN_2 + log_add(order * log_rest, alone);
    }
    let strip = (2.0 * variance).min(2.5 * noise);
    let step = 2.0 * PI * strip / 48.0;
    let reach = 13.0 * noise;
    let points = ((order + 2.0 * reach) / step).ceil();
    // ∫ φ ((1 - q + q eᶻ)^α - 1): near one nothing is lost.
    let (mut scale, mut sum) = (0.0_f64, 0.0_f64);
    for k in 0..points as u64 + 1 {
        let x = k as f64 * step - reach;
        let exponent = (x - 0.5) / variance;
        let log_ratio = if exponent < 600.0 { (rate * exponent.exp_m1()).ln_1p() } else { exponent + log_rate };
        let (power, density) = (order * log_ratio, log_density(x / noise));
        if power < 1.0 {
            sum += power.exp_m1() * (density - scale).exp();
        } else {
            let term = power + density;
            if term > scale {
                sum *= (scale - term).exp();
                scale = term;
            }
            sum += (term - scale).exp() - (density - scale).exp();
        }
    }
    let sum = sum * step / noise;
    // The error of each of the terms, of both signs.
    if scale == 0.0 { (sum + 1e-14).max(0.0).ln_1p() } else { log_add(0.0, scale + sum.ln()) + 1e-13 }
}

/// Mironov (2017), table II.
fn laplace(noise: f64, order: f64) -> f64 {
    let (rate, twice) = (1.0 / noise, 2.0 * order - 1.0);
    let moment = log_add((order / twice).ln() + (order - 1.0) * rate, ((order - 1.0) / twice).ln() - order * rate);
    (moment / (order - 1.0) + 1e-15).clamp(0.0, rate)
}

/// Agarwal, Kairouz and Liu (2021), theorem 3.5; whole orders only.
fn skellam(variance: f64, l1: f64, l2: f64, order: f64) -> f64 {
    let excess = ((2.0 * order - 1.0) * l2 * l2 + 6.0 * l1) / (4.0 * variance * variance);
    order * l2 * l2 / (2.0 * variance) + excess.min(3.0 * l1 / (2.0 * variance))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_and_fractional_orders_meet() {
        for (noise, rate) in [(0.5, 0.001), (1.0, 0.01), (4.0, 0.5), (20.0, 0.9), (0.3, 1e-5)] {
            for order in [2.0, 3.0, 7.0, 30.0] {
                let whole = sampled_gaussian(noise, rate, order);
                let beside = sampled_gaussian(noise, rate, order + 1e-9);
                assert!((whole - beside).abs() < 1e-5 * whole + 1e-11, "{noise} {rate} {order}: {whole} {beside}");
            }
        }
    }

    /// Wide Skellam noise spends what Gaussian noise of its variance does, of whole orders.
    #[test]
    fn wide_skellam_noise_is_nearly_gaussian() {
        for (variance, times, delta) in [(1600.0, 1, 1e-5), (1600.0, 300, 1e-6), (1e8, 1, 1e-5), (1e8, 1_000_000, 1e-9)]
        {
            let skellam = Composition::new().and(Mechanism::skellam(variance, 2.0, 2_f64.sqrt()).unwrap(), times);
            let gaussian = Composition::new().and(Mechanism::gaussian((variance / 2.0).sqrt()).unwrap(), times);
            let [spent, like] = [skellam, gaussian].map(|all| epsilon(&all, delta).unwrap());
            assert!(spent >= like * 0.999_999 && spent < 1.02 * like, "{variance} {times}: {spent} {like}");
        }
    }

    #[test]
    fn sampling_everything_is_the_gaussian() {
        let near = sampled_gaussian(2.0, 1.0 - 1e-9, 5.5);
        assert!((near - 5.5 / 8.0).abs() < 1e-6, "{near}");
    }

    /// The moment by the trapezoid rule, which is exact for such functions.
    #[test]
    fn another_rule_gives_the_same_integral() {
        for (noise, rate, order) in [(1.0, 0.01, 2.5), (0.7, 0.1, 4.25), (3.0, 0.3, 1.1), (1.5, 0.001, 12.75)] {
            let step = 1e-3;
            let span = 14.0 * noise + order;
            let points = (2.0 * span / step) as i64;
            let moment: f64 = (0..=points)
                .map(|i| {
                    let x = -span + i as f64 * step;
                    let ratio = 1.0 - rate + rate * ((2.0 * x - 1.0) / (2.0 * noise * noise)).exp();
                    (-0.5 * (x / noise).powi(2)).exp() * ratio.powf(order)
                })
                .sum::<f64>()
                * step
                / (noise * (2.0 * std::f64::consts::PI).sqrt());
            let (want, found) = (moment.ln() / (order - 1.0), sampled_gaussian(noise, rate, order));
            assert!((want - found).abs() < 1e-9, "{noise} {rate} {order}: {want} {found}");
        }
    }

    /// The theorem's bound stands above the divergence itself, in one dimension.
    #[test]
    fn the_bound_of_skellam_noise_is_one() {
        for (variance, shift) in [(16.0, 1_i64), (100.0, 2), (400.0, 5)] {
            let probability = crate::accounting::pld::skellam_probabilities(variance, 400);
            let at = |k: i64| probability.get(k.unsigned_abs() as usize).copied().unwrap_or(0.0);
            for order in [2.0, 3.0, 8.0] {
                let moment: f64 = (-300..300)
                    .filter(|k| at(k - shift) > 1e-280)
                    .map(|k| at(k) * (at(k) / at(k - shift)).powf(order - 1.0))
                    .sum();
                let exact = moment.ln() / (order - 1.0);
                let bound = skellam(variance, shift as f64, shift as f64, order);
                assert!(bound >= exact && bound < 1.5 * exact, "{variance} {shift} {order}: {bound} {exact}");
            }
        }
    }
}
