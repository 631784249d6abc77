//! ε and δ in an owner's words, and as the contract counts.

use sahara_market::budget::{ALL_ORDERS, Grant, LEAST_LOG, MOST_FAILURE, MOST_LOG};

/// What an owner grants: for neighbours, everything that is learned in all is (ε, δ)-private.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Words {
    /// From 0.001 to 20: beyond, it protects nobody, and nothing of δ is left for failures.
    pub epsilon: f64,
    /// From 10⁻²⁰ to 10⁻³.
    pub delta: f64,
}

impl Words {
    /// As the contract counts: half of δ is what the divergences are converted at; the other half bounds the chances of failure, each
    /// of which costs at most 1 + e^ε times as much of δ.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn grant(self) -> Result<Grant, String> {
        let Self { epsilon, delta } = self;
        if !(0.001..=20.0).contains(&epsilon) {
            return Err(format!("ε is {epsilon}, and must be from 0.001 to 20: beyond, it protects nobody"));
        }
        if !(1e-20..=1e-3).contains(&delta) {
            return Err(format!("δ is {delta:e}, and must be from 1e-20 to 1e-3"));
        }
        // In nano; ln(2/δ) is rounded up, so that δ is not more.
        let log = ((2.0 / delta).ln() * 1e9).ceil() as u64 + 1;
        let failure = (delta / 2.0 / (1.0 + epsilon.exp()) * 1e18).floor() as u64;
        if failure == 0 {
            return Err(format!(
                "δ = {delta:e} leaves nothing for failures at ε = {epsilon}: take a greater δ or a smaller ε"
            ));
        }
        Ok(Grant {
            epsilon: (epsilon * 1e9).floor() as u64,
            log_inverse_delta: log.clamp(LEAST_LOG, MOST_LOG),
            failure: failure.min(MOST_FAILURE),
            orders: ALL_ORDERS,
        })
    }

    /// What a grant says in words; of a contract's, that may have been made otherwise, an upper bound of both.
    pub fn of(grant: &Grant) -> Self {
        let epsilon = grant.epsilon as f64 / 1e9;
        let delta = (-(grant.log_inverse_delta as f64) / 1e9).exp();
        Self { epsilon, delta: delta + (1.0 + epsilon.exp()) * grant.failure as f64 / 1e18 }
    }

    /// What was said when a grant was made by [`Words::grant`], with whatever ε it has since: δ to eight digits, rounded up.
    pub fn said(grant: &Grant) -> Self {
        let delta = 2.0 * (-(grant.log_inverse_delta as f64) / 1e9).exp();
        let power = delta.log10().floor() as i32 - 7;
        let digits = (delta / 10_f64.powi(power) * (1.0 - 1e-12)).ceil();
        Self { epsilon: grant.epsilon as f64 / 1e9, delta: format!("{digits}e{power}").parse().unwrap_or(delta) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_no_more_than_its_words() {
        for (epsilon, delta) in [(0.001, 1e-20), (0.5, 1e-9), (3.0, 1e-5), (20.0, 1e-3), (20.0, 1e-6)] {
            let words = Words { epsilon, delta };
            let Ok(grant) = words.grant() else {
                assert_eq!((epsilon, delta), (0.001, 1e-20), "nothing is left for failures");
                continue;
            };
            let lower = Grant { epsilon: grant.epsilon / 2, ..grant };
            assert!(Words::said(&grant).delta == delta && Words::said(&lower).delta == delta, "{words:?}");
            assert!(Words::said(&grant).delta >= Words::of(&grant).delta * (1.0 - 1e-12));
            let said = Words::of(&grant);
            assert!(said.epsilon <= epsilon && said.epsilon > epsilon - 2e-9);
            assert!(said.delta <= delta * (1.0 + 1e-12) && said.delta > delta * 0.9, "{words:?} {said:?}");
        }
        for (epsilon, delta) in [(0.0, 1e-5), (21.0, 1e-5), (f64::NAN, 1e-5), (1.0, 0.0), (1.0, 0.1), (1.0, f64::NAN)] {
            assert!(Words { epsilon, delta }.grant().is_err(), "{epsilon} {delta}");
        }
    }
}
