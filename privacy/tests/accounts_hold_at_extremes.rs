//! Where a single step's δ is known in closed form, no account is below it, however small the rate or δ; and accounts are ordered as
//! what they account for is.

use proptest::prelude::*;
use sahara_privacy::accounting::{Accountant, Composition, Mechanism};

const ACCOUNTS: [Accountant; 2] = [Accountant::Rdp, Accountant::Pld];

fn above(x: f64) -> f64 {
    0.5 * libm::erfc(x * std::f64::consts::FRAC_1_SQRT_2)
}

/// δ at ε of one step, the greater of both directions: hockey sticks between N(0, σ²) and (1-q) N(0, σ²) + q N(1, σ²).
fn exact(noise: f64, rate: f64, epsilon: f64) -> f64 {
    // The mixture is e^ε times likelier where e^ε - 1 + q < q e^{(2x-1)/2σ²}.
    let excess = epsilon.exp_m1();
    let x = noise * noise * ((excess + rate) / rate).ln() + 0.5;
    let removed = rate * above((x - 1.0) / noise) - (excess + rate) * above(x / noise);
    // The other way: 1 > e^ε (1 - q + q e^{…}).
    let left = (-epsilon).exp_m1() + rate;
    let added = match left > 0.0 {
        true => {
            let x = noise * noise * (left / rate).ln() + 0.5;
            above(-x / noise) * (epsilon.exp() * rate - excess) - epsilon.exp() * rate * above((1.0 - x) / noise)
        }
        false => 0.0,
    };
    removed.max(added).max(0.0)
}

#[test]
fn no_account_of_one_step_is_below_what_it_costs() {
    for noise in [0.3, 0.7, 1.0, 4.0, 50.0] {
        for rate in [1e-12, 1e-6, 1e-3, 0.1, 0.5, 0.999, 1.0 - 1e-12] {
            let all = Composition::new().and(Mechanism::sampled_gaussian(noise, rate).unwrap(), 1);
            for delta in [1e-2, 1e-5, 1e-10, 1e-15, 1e-30] {
                for account in ACCOUNTS {
                    let epsilon = all.epsilon(delta, account).unwrap();
                    let spent = exact(noise, rate, epsilon * (1.0 + 1e-12));
                    assert!(
                        spent <= delta * (1.0 + 1e-6),
                        "{noise} {rate} {delta} {account:?}: {epsilon} costs {spent:e}"
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn more_of_anything_but_noise_costs_more(
        noise in 0.4..20.0_f64, rate in 1e-4..0.9_f64, steps in 1..3000_u64, delta in -12.0..-2.0_f64,
    ) {
        let delta = 10_f64.powf(delta);
        let of = |noise: f64, rate: f64, steps: u64, delta: f64, account: Accountant| {
            Composition::new().and(Mechanism::sampled_gaussian(noise, rate).unwrap(), steps).epsilon(delta, account).unwrap()
        };
        for account in ACCOUNTS {
            let here = of(noise, rate, steps, delta, account);
            // What is rounded upwards may be so by a little more here than there.
            let least = here * 0.998 - 1e-9;
            prop_assert!(here.is_finite() && here >= 0.0);
            prop_assert!(of(noise * 0.9, rate, steps, delta, account) >= least);
            prop_assert!(of(noise, rate * 1.1, steps, delta, account) >= least);
            prop_assert!(of(noise, rate, steps * 2, delta, account) >= least);
            prop_assert!(of(noise, rate, steps, delta * 0.5, account) >= least);
            let half = of(noise, rate, steps.div_ceil(2), delta * 0.5, account);
            prop_assert!(here <= 2.0 * half * 1.002 + 1e-9, "two halves cost no less than the whole: {here} {half}");
        }
    }
}
