//! Which noise reaches a goal.

use super::{Accountant, AccountingError, Composition, Mechanism};

/// What is to hold in the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// No more than this is spent (above 0).
    pub epsilon: f64,
    /// At this δ.
    pub delta: f64,
    /// Probability that a record takes part in a step (0 to 1).
    pub rate: f64,
    /// How many steps.
    pub steps: u64,
}

/// The greatest multiplier that is tried.
const MOST: f64 = 1e8;
/// The least.
const LEAST: f64 = 1e-4;
/// How near the answer is to the least noise that would do.
const NEAR: f64 = 1e-4;

/// The least noise multiplier, to a ten-thousandth, whose composition spends no more than the goal: rounded up, and what is
/// returned was accounted itself.
///
/// # Errors
/// [`AccountingError::Range`] for a goal that is none, [`AccountingError::Unreachable`].
pub fn noise(goal: &Goal, accountant: Accountant) -> Result<f64, AccountingError> {
    super::mechanism::in_range("ε", goal.epsilon, (1e-6, 1e9), "from 1e-6 to 1e9")?;
    let by = |accountant: Accountant| {
        move |noise: f64| {
            let composition = Composition::new().and(Mechanism::sampled_gaussian(noise, goal.rate)?, goal.steps);
            composition.epsilon(goal.delta, accountant)
        }
    };
    if by(accountant)(LEAST)? <= goal.epsilon {
        return Ok(LEAST);
    }
    // Rényi's bound is quick, and what reaches the goal by it does so by what is tighter.
    let quick = between(&by(Accountant::Rdp), goal, LEAST)?;
    match accountant {
        Accountant::Rdp => Ok(quick),
        _ if by(accountant)(quick)? > goal.epsilon => between(&by(accountant), goal, quick),
        _ => narrowed(&by(accountant), goal, quick),
    }
}

type Spends<'a> = &'a dyn Fn(f64) -> Result<f64, AccountingError>;

/// From a noise that spends too much to one that does not, and between them.
fn between(spends: Spends<'_>, goal: &Goal, from: f64) -> Result<f64, AccountingError> {
    let (mut low, mut high) = (from, from.max(0.25) * 4.0);
    while spends(high)? > goal.epsilon {
        low = high;
        high *= 4.0;
        if high > MOST {
            let Goal { epsilon, delta, .. } = *goal;
            return Err(AccountingError::Unreachable { epsilon, delta, most: MOST });
        }
    }
    while high > low * (1.0 + NEAR) {
        let middle = (low * high).sqrt();
        if spends(middle)? > goal.epsilon { low = middle } else { high = middle }
    }
    Ok(high)
}

/// From a noise that spends too little, down. Each question takes long: the next one is asked where a power of the noise leads, a little
/// to either side, so that few are.
fn narrowed(spends: Spends<'_>, goal: &Goal, from: f64) -> Result<f64, AccountingError> {
    let (mut high, mut at_high) = (from, spends(from)?);
    let (mut low, mut at_low) = (from * 0.9, spends((from * 0.9).max(LEAST))?);
    while at_low <= goal.epsilon && low > LEAST {
        (high, at_high) = (low, at_low);
        low *= 0.7;
        at_low = spends(low.max(LEAST))?;
    }
    let mut above = true;
    while high > low * (1.0 + NEAR) {
        let slope = (at_high / at_low).ln() / (high / low).ln();
        let led = low * ((goal.epsilon / at_low).ln() / slope).exp();
        let aside = led * (1.0 + if above { 0.4 * NEAR } else { -0.4 * NEAR });
        let inside = aside.is_finite() && aside > low * (1.0 + 0.1 * NEAR) && aside < high * (1.0 - 0.1 * NEAR);
        let next = if inside { aside } else { (low * high).sqrt() };
        let spent = spends(next)?;
        if spent > goal.epsilon {
            (low, at_low, above) = (next, spent, true);
        } else {
            (high, at_high, above) = (next, spent, false);
        }
    }
    Ok(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noise_reaches_the_goal_and_a_little_less_does_not() {
        for (epsilon, delta, rate, steps) in [(3.0, 1e-5, 0.01, 1000), (0.5, 1e-6, 0.1, 100), (8.0, 1e-5, 1.0, 10)] {
            let goal = Goal { epsilon, delta, rate, steps };
            let found = noise(&goal, Accountant::Tightest).unwrap();
            let spent = |noise: f64| {
                Composition::new()
                    .and(Mechanism::sampled_gaussian(noise, rate).unwrap(), steps)
                    .epsilon(delta, Accountant::Tightest)
                    .unwrap()
            };
            assert!(spent(found) <= epsilon && spent(found * 0.999) > epsilon, "{goal:?}: {found}");
        }
    }

    #[test]
    fn a_goal_without_steps_needs_no_noise_and_an_impossible_one_is_refused() {
        let goal = Goal { epsilon: 1.0, delta: 1e-5, rate: 0.0, steps: 1 };
        assert_eq!(noise(&goal, Accountant::Rdp).unwrap(), LEAST);
        let goal = Goal { epsilon: 1e-6, delta: 1e-90, rate: 1.0, steps: 1 << 39 };
        assert!(matches!(noise(&goal, Accountant::Rdp), Err(AccountingError::Unreachable { .. })));
        let goal = Goal { epsilon: f64::NAN, delta: 1e-5, rate: 1.0, steps: 1 };
        assert!(matches!(noise(&goal, Accountant::Rdp), Err(AccountingError::Range { .. })));
    }
}
