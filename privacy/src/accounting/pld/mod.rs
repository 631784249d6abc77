//! The accountant of privacy-loss distributions.
//!
//! The loss of one step is moved to a grid (`losses`, rounded so that it spends no less), and that of many steps is the sum of
//! independent ones, by the Fourier transform (Koskela, Jälkö and Honkela, 2020; Gopi, Lee and Wutschitz, 2021). Before it is
//! transformed, the distribution is tilted by e^{θ loss} such that what is rare enough to matter for δ becomes likely: errors of
//! floating point and of the window are then small parts of δ, however small δ is. Both errors are bounded and added to δ:
//!
//! * with s the sum of losses, S its tilted distribution and M the moment, δ(ε) = M e^{-θε} E[g(S)] for
//!   g(s) = e^{-θ(s-ε)} (1 - e^{ε-s}) where s > ε, which is at most θ^θ / (1+θ)^{1+θ};
//! * what lies outside the window is bounded by Chernoff on both sides, and counts with the most that g can be; what the cyclic
//!   transform brings into the window from outside only adds;
//! * each coefficient of the transform is right to `fourier::error`; what a power and the way back make of that is added to
//!   each point;
//! * mass at infinity is added as it is.
//!
//! Both directions, a record added and one removed, are accounted apart; the worse one is the answer.

mod fourier;
mod losses;

pub use losses::skellam_probabilities;

use super::mechanism::{Kind, Mechanism};
use super::{AccountingError, Composition, gaussian};
use fourier::Signal;
use losses::{Direction, Losses, Points};

/// The most points of a transform: 2²² need 64 MiB.
const MOST_POINTS: usize = 1 << 22;
const LEAST_POINTS: usize = 1 << 12;
/// Steps of grids are this times a power of two, so that the coarser contain the finer.
const UNIT: f64 = 1e-4;
/// The part of the answer that the grid may cost, about.
const PRECISION: f64 = 2e-4;
/// ln of what may lie outside the window on each side, as a part of the tilted distribution.
const LOG_OUTSIDE: f64 = -45.0;
/// How often what was found is looked at more closely.
const CLOSER: u32 = 3;
/// Rounding of one step's loss.
const LOSS_ROUNDING: f64 = 1e-15;
/// Below this noise the loss of a sampled step bends faster than it can be integrated.
const LEAST_SAMPLED_NOISE: f64 = 0.02;

/// Upper bound of ε at δ in (0, 1).
///
/// # Errors
/// [`AccountingError::Unsupported`] for Skellam noise in many dimensions or of a great variance, and for sampled steps with almost no noise;
/// [`AccountingError::Grid`].
pub fn epsilon(composition: &Composition, delta: f64) -> Result<f64, AccountingError> {
    answer(composition, Question::Epsilon { delta })
}

/// Upper bound of δ at ε ≥ 0.
///
/// # Errors
/// As [`epsilon`].
pub fn delta(composition: &Composition, epsilon: f64) -> Result<f64, AccountingError> {
    answer(composition, Question::Delta { epsilon }).map(|delta| delta.min(1.0))
}

#[derive(Clone, Copy)]
enum Question {
    Epsilon { delta: f64 },
    Delta { epsilon: f64 },
}

fn answer(composition: &Composition, question: Question) -> Result<f64, AccountingError> {
    let steps = merged(composition);
    match (steps.as_slice(), question) {
        ([], _) => return Ok(0.0),
        ([(Kind::Gaussian { noise, rate: 1.0 }, 1)], Question::Epsilon { delta }) => {
            return Ok(gaussian::epsilon(*noise, delta));
        }
        ([(Kind::Gaussian { noise, rate: 1.0 }, 1)], Question::Delta { epsilon }) => {
            return Ok(gaussian::delta(*noise, epsilon));
        }
        _ => {}
    }
    steps.iter().try_for_each(supported)?;
    let one_way = steps.iter().all(|(kind, _)| !matches!(kind, Kind::Gaussian { rate, .. } if *rate < 1.0));
    let removed = directed(&steps, Direction::Removed, question)?;
    if one_way { Ok(removed) } else { Ok(removed.max(directed(&steps, Direction::Added, question)?)) }
}

/// All that spends, with all unsampled Gaussians as one: their noises' inverse squares add up.
fn merged(composition: &Composition) -> Vec<(Kind, u64)> {
    let mut precision = 0.0;
    let mut steps = Vec::new();
    for (Mechanism(kind), times) in composition.spending() {
        match kind {
            Kind::Gaussian { noise, rate: 1.0 } => precision += times as f64 / (noise * noise),
            kind => steps.push((kind, times)),
        }
    }
    if precision > 0.0 {
        steps.push((Kind::Gaussian { noise: precision.sqrt().recip() * (1.0 - 1e-15), rate: 1.0 }, 1));
    }
    steps
}

fn supported((kind, _): &(Kind, u64)) -> Result<(), AccountingError> {
    let refused = |mechanism, reason| Err(AccountingError::Unsupported { accountant: "pld", mechanism, reason });
    match kind {
        Kind::Gaussian { noise, .. } if *noise < LEAST_SAMPLED_NOISE => refused(
            "sampled Gaussian noise",
            "with a noise below 0.02 there is next to no privacy; ask the accountant rdp",
        ),
        Kind::Skellam { l1, l2, .. } if l1 != l2 || l1.fract() != 0.0 => refused(
            "Skellam noise",
            "only in one dimension, with a whole sensitivity, is its privacy loss known; ask the accountant rdp",
        ),
        Kind::Skellam { variance, l1, .. } if *variance > 1e9 || *l1 > 1e5 => {
            refused("Skellam noise", "its table would be too long; ask the accountant rdp")
        }
        _ => Ok(()),
    }
}

fn losses_of(kind: Kind, direction: Direction, points: Points, tail: f64) -> Losses {
    match kind {
        Kind::Gaussian { noise, rate } => losses::sampled_gaussian(noise, rate, direction, points, tail),
        Kind::Laplace { noise } => losses::laplace(noise, points),
        Kind::Skellam { variance, l1, .. } => losses::skellam(variance, l1 as i64, points, tail),
    }
}

/// A size that losses of a step typically have, for a first grid.
fn typical(kind: Kind) -> f64 {
    match kind {
        Kind::Gaussian { noise, rate } => (rate / noise).min(1.0),
        Kind::Laplace { noise } => noise.recip().min(1.0),
        Kind::Skellam { variance, l1, .. } => (l1 / variance.sqrt()).min(1.0),
    }
}

/// All steps' losses, and how often each happens.
struct Total(Vec<(Losses, f64)>);

impl Total {
    /// ln of the moment E[e^{θ loss}] of the sum, and of each step.
    fn log_moment(&self, tilt: f64) -> f64 {
        self.0.iter().map(|(losses, times)| times * log_moment(losses, tilt)).sum()
    }

    /// Where all but e^{[`LOG_OUTSIDE`]} of the tilted distribution ends, on the side of the sign of the λ; and the best λ.
    fn end(&self, tilt: f64, right: bool) -> (f64, f64) {
        let base = self.log_moment(tilt);
        let at = |size: f64| {
            let lambda = if right { size } else { -size };
            (self.log_moment(tilt + lambda) - base - LOG_OUTSIDE) / lambda
        };
        let better = |a: f64, b: f64| if right { a < b } else { a > b };
        let mut best = (if right { f64::INFINITY } else { f64::NEG_INFINITY }, 1.0);
        let consider = |size: f64, best: &mut (f64, f64)| {
            let end = at(size);
            if end.is_finite() && better(end, best.0) {
                *best = (end, size);
            }
        };
        for exponent in -30..60 {
            consider(2_f64.powi(exponent), &mut best);
        }
        let centre = best.1;
        for step in [0.6, 0.75, 0.87, 1.15, 1.35, 1.65] {
            consider(centre * step, &mut best);
        }
        (best.0, if right { best.1 } else { -best.1 })
    }
}

fn log_moment(losses: &Losses, tilt: f64) -> f64 {
    let exponent = |point: i64| tilt * (point as f64 * losses.step);
    let ends = [losses.masses.first(), losses.masses.last()];
    let most = ends.into_iter().flatten().map(|(point, _)| exponent(*point)).fold(f64::NEG_INFINITY, f64::max);
    if most < 600.0 {
        // Near one nothing may be lost: mass - 1 and e^x - 1 are added apart.
        let mass: f64 = losses.masses.iter().map(|(_, mass)| mass).sum();
        let excess: f64 = losses.masses.iter().map(|(point, mass)| mass * exponent(*point).exp_m1()).sum();
        let excess = excess + (mass - 1.0);
        if excess > -0.999 {
            return excess.ln_1p();
        }
    }
    let peak = losses.masses.iter().map(|(p, m)| exponent(*p) + m.ln()).fold(f64::NEG_INFINITY, f64::max);
    peak + losses.masses.iter().map(|(p, m)| (exponent(*p) + m.ln() - peak).exp()).sum::<f64>().ln()
}

/// ln of the most that g can be.
fn log_most(tilt: f64) -> f64 {
    if tilt == 0.0 { 0.0 } else { -tilt * tilt.recip().ln_1p() - tilt.ln_1p() }
}

fn directed(steps: &[(Kind, u64)], direction: Direction, question: Question) -> Result<f64, AccountingError> {
    let count: f64 = steps.iter().map(|(_, times)| *times as f64).sum();
    let tail = match question {
        Question::Epsilon { delta } => (delta * 1e-8 / count).min(1e-30),
        Question::Delta { .. } => 1e-60 / count,
    };
    let at = |points: &dyn Fn(Kind) -> Points| {
        Total(steps.iter().map(|(k, times)| (losses_of(*k, direction, points(*k), tail), *times as f64)).collect())
    };
    // A first look at moments, by few points: it chooses tilt, window and step, and nothing is claimed of it.
    let rough = at(&|kind| Points { step: typical(kind) * 2_f64.powi(-22), octave: 6 });
    let (mut tilt, mut aim) = tilt_for(&rough, question);
    let Question::Epsilon { delta } = question else {
        return summed(&rough, &at, question, tilt, aim);
    };
    // Where a few great losses carry the moments, their bound is far above: what was found is looked at more closely.
    let mut found = summed(&rough, &at, question, tilt, aim)?;
    for _ in 0..CLOSER {
        if found == 0.0 || found > 0.7 * aim {
            break;
        }
        aim = found;
        tilt = best_tilt(|tilt| rough.log_moment(tilt) - tilt * aim + log_most(tilt));
        found = found.min(summed(&rough, &at, Question::Epsilon { delta }, tilt, aim)?);
    }
    Ok(found)
}

/// The composition on the grid that each mechanism's points are made with.
type Discretised<'a> = &'a dyn Fn(&dyn Fn(Kind) -> Points) -> Total;

/// The answer by a grid that is right for an ε of about `aim`.
fn summed(rough: &Total, at: Discretised<'_>, question: Question, tilt: f64, aim: f64) -> Result<f64, AccountingError> {
    let count: f64 = rough.0.iter().map(|(_, times)| times).sum();
    let ((left, left_lambda), (right, right_lambda)) = (rough.end(tilt, false), rough.end(tilt, true));
    let width = (right - left).max(1e-12) * 1.05;
    let wanted = (12.0 * PRECISION * aim.max(width * 1e-4) / (count * (1.0 + tilt))).sqrt();
    let fine = wanted.min(width / LEAST_POINTS as f64);
    let fine = if width < UNIT * MOST_POINTS as f64 / 8.0 { fine.min(UNIT) } else { fine };
    let step = fine.max(width / MOST_POINTS as f64 * 2.0);
    let step = UNIT * 2_f64.powi((step / UNIT).log2().floor() as i32);
    let length = ((width / step).ceil() as usize).next_power_of_two();
    if !step.is_normal() || length > MOST_POINTS {
        return Err(AccountingError::Grid { width, step, most: MOST_POINTS });
    }
    let losses = at(&|_| Points { step, octave: 12 });
    let slack = (length as f64 * step - (right - left)) / 2.0;
    let first = ((left - slack) / step).floor() as i64;
    let composed = compose(&losses, tilt, aim, Window { first, step, length, lambdas: (left_lambda, right_lambda) });
    let rounding = count * LOSS_ROUNDING * (1.0 + aim / count);
    match question {
        Question::Epsilon { delta } => composed
            .epsilon(delta)
            .map(|epsilon| if epsilon > 0.0 { epsilon + rounding } else { 0.0 })
            .ok_or(AccountingError::Grid { width, step, most: MOST_POINTS }),
        Question::Delta { epsilon } => Ok(composed.delta((epsilon - rounding).max(0.0))),
    }
}

/// The tilt whose bound by moments alone is the best, and about the ε where it will be read.
fn tilt_for(rough: &Total, question: Question) -> (f64, f64) {
    let epsilon_of = |tilt: f64, delta: f64| (rough.log_moment(tilt) + log_most(tilt) - delta.ln()) / tilt;
    let log_delta_of = |tilt: f64, epsilon: f64| rough.log_moment(tilt) - tilt * epsilon + log_most(tilt);
    match question {
        Question::Epsilon { delta } => {
            let tilt = best_tilt(|tilt| epsilon_of(tilt, delta));
            let epsilon = epsilon_of(tilt, delta);
            if epsilon > 0.0 { (tilt, epsilon) } else { (best_tilt(|tilt| log_delta_of(tilt, 0.0)), 0.0) }
        }
        Question::Delta { epsilon } => (best_tilt(|tilt| log_delta_of(tilt, epsilon)), epsilon),
    }
}

/// The least of a function with one valley, over tilts from 10⁻³ to 10⁷.
fn best_tilt(of: impl Fn(f64) -> f64) -> f64 {
    let of = |log: f64| {
        let value = of(log.exp());
        if value.is_nan() { f64::INFINITY } else { value }
    };
    let grid: Vec<f64> = (0..47).map(|k| 1e-3_f64.ln() + 0.5 * f64::from(k)).collect();
    let values: Vec<f64> = grid.iter().map(|log| of(*log)).collect();
    let best = (0..grid.len()).min_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap_or(0);
    let (mut low, mut high) = (grid[best] - 0.5, grid[best] + 0.5);
    for _ in 0..12 {
        let (a, b) = (high - 0.618 * (high - low), low + 0.618 * (high - low));
        if of(a) < of(b) { high = b } else { low = a }
    }
    (0.5 * (low + high)).exp()
}

/// Where sums are looked at: `length` multiples of `step` from `first` on.
#[derive(Clone, Copy)]
struct Window {
    first: i64,
    step: f64,
    length: usize,
    /// With which Chernoff bounds what lies below and above.
    lambdas: (f64, f64),
}

/// The tilted distribution of the sum, with all that it may be wrong by.
struct Composed {
    window: Window,
    tilt: f64,
    /// Where weights are one.
    reference: f64,
    /// Upper bounds of the tilted masses.
    masses: Vec<f64>,
    /// ln of M e^{-θ reference}.
    log_scale: f64,
    /// Of the tilted distribution, what may lie outside.
    outside: f64,
    infinite: f64,
}

fn compose(total: &Total, tilt: f64, reference: f64, window: Window) -> Composed {
    let Window { first, step, length, lambdas } = window;
    let error = fourier::error(length);
    // Modulus and angle of the product, its error, from the first step's on.
    let mut log_modulus = vec![0.0; length];
    let mut angle = vec![0.0; length];
    let mut relative = vec![0.0; length];
    for (losses, times) in &total.0 {
        let moment = log_moment(losses, tilt);
        let mut signal = Signal::zeros(length);
        for (point, mass) in &losses.masses {
            let place = point.rem_euclid(length as i64) as usize;
            signal.real[place] += mass * (tilt * (*point as f64 * step) - moment).exp();
        }
        signal.transform();
        for k in 0..length {
            let (real, imaginary) = (signal.real[k], signal.imaginary[k]);
            let modulus = real.hypot(imaginary);
            log_modulus[k] += times * (modulus + error).ln();
            angle[k] += times * imaginary.atan2(real);
            // The transform's error, and four roundings of logarithm and angle.
            relative[k] += times * (error / (modulus + error) + 4.0 * f64::EPSILON);
        }
    }
    let mut signal = Signal::zeros(length);
    let mut wrong = 0.0;
    for k in 0..length {
        let modulus = log_modulus[k].exp();
        wrong += modulus * (relative[k].min(2.0) + error);
        let (sine, cosine) = angle[k].sin_cos();
        // The way back is the transform of the conjugate.
        (signal.real[k], signal.imaginary[k]) = (modulus * cosine, -modulus * sine);
    }
    drop((log_modulus, angle, relative));
    signal.transform();
    let wrong = wrong / length as f64;
    let masses: Vec<f64> = (0..length)
        .map(|place| {
            let cyclic = (first + place as i64).rem_euclid(length as i64) as usize;
            (signal.real[cyclic] / length as f64).max(0.0) + wrong
        })
        .collect();
    let base = total.log_moment(tilt);
    let beyond = |edge: f64, lambda: f64| (total.log_moment(tilt + lambda) - base - lambda * edge).min(0.0).exp();
    let outside = beyond(first as f64 * step, lambdas.0) + beyond((first as f64 + length as f64) * step, lambdas.1);
    let missing: f64 = total.0.iter().map(|(losses, times)| times * losses.infinite).sum();
    Composed {
        window,
        tilt,
        reference,
        masses,
        log_scale: base - tilt * reference,
        outside,
        infinite: missing.min(1.0),
    }
}

impl Composed {
    fn loss(&self, place: usize) -> f64 {
        (self.window.first + place as i64) as f64 * self.window.step
    }

    /// What is added at ε whatever the masses are.
    fn constant(&self, epsilon: f64) -> f64 {
        let log = self.log_scale - self.tilt * (epsilon - self.reference) + log_most(self.tilt);
        self.infinite + self.outside * log.exp()
    }

    fn delta(&self, epsilon: f64) -> f64 {
        let sum: f64 = (0..self.masses.len())
            .rev()
            .map(|place| (self.loss(place) - epsilon, self.masses[place]))
            .take_while(|(above, _)| *above > 0.0)
            .map(|(above, mass)| {
                let weight = (self.log_scale - self.tilt * (epsilon - self.reference) - self.tilt * above).exp();
                mass * weight * -(-above).exp_m1()
            })
            .sum();
        sum + self.constant(epsilon)
    }

    /// From the greatest loss down, as long as δ is not reached; nothing if it never was below.
    fn epsilon(&self, target: f64) -> Option<f64> {
        // Sums over all losses above, of mass and of mass × e^{-loss}, in units where the reference is one.
        let (mut above, mut other) = (0.0_f64, 0.0_f64);
        let mut reached = None;
        for place in (0..self.masses.len()).rev() {
            let epsilon = self.loss(place);
            let left = target - self.constant(epsilon.max(0.0));
            let at = |epsilon: f64| above - (epsilon - self.reference).exp() * other;
            if epsilon <= 0.0 && at(0.0) <= left {
                return Some(0.0);
            }
            let here = at(epsilon);
            if here > left || here.is_nan() {
                let solved = self.reference + ((above - left) / other).ln();
                let highest = self.loss(place + 1);
                return reached.map(|_| if solved > epsilon && solved < highest { solved } else { highest });
            }
            reached = Some(epsilon);
            let weight = self.masses[place] * (self.log_scale - self.tilt * (epsilon - self.reference)).exp();
            above += weight;
            other += weight * (self.reference - epsilon).exp();
        }
        reached.map(|epsilon| epsilon.max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::Accountant;

    fn gaussian_steps(noise: f64, rate: f64, steps: u64) -> Composition {
        Composition::new().and(Mechanism::sampled_gaussian(noise, rate).unwrap(), steps)
    }

    /// The transform, made to compose what has a closed form: a rate that is almost one.
    #[test]
    fn many_gaussians_are_one() {
        for (noise, steps) in [(1.0, 3), (10.0, 100), (300.0, 100_000)] {
            for delta in [1e-3, 1e-9, 1e-15] {
                let kinds = [(Kind::Gaussian { noise, rate: 1.0 }, steps)];
                let found = directed(&kinds, Direction::Removed, Question::Epsilon { delta }).unwrap();
                let exact = gaussian::epsilon(noise / (steps as f64).sqrt(), delta);
                assert!(
                    found >= exact * (1.0 - 1e-12) && found < exact * 1.001,
                    "{noise} {steps} {delta}: {found} {exact}"
                );
                let spent = directed(&kinds, Direction::Removed, Question::Delta { epsilon: exact }).unwrap();
                assert!(spent >= delta * (1.0 - 1e-9) && spent < delta * 1.01, "{noise} {steps} {delta}: {spent}");
            }
        }
    }

    #[test]
    fn both_accountants_bound_and_the_losses_are_tighter() {
        for (noise, rate, steps, delta) in [(1.0, 0.01, 1000, 1e-5), (0.6, 1e-3, 50, 1e-8), (5.0, 0.2, 100_000, 1e-6)] {
            let all = gaussian_steps(noise, rate, steps);
            let (rdp, pld) =
                (all.epsilon(delta, Accountant::Rdp).unwrap(), all.epsilon(delta, Accountant::Pld).unwrap());
            assert!(pld < rdp && pld > 0.5 * rdp, "{rdp} {pld}");
        }
    }

    /// One Laplace release is 1/b-private with δ = 0, and δ(ε) = 1 - e^{(ε - 1/b)/2}.
    #[test]
    fn a_laplace_release_spends_what_is_known() {
        for noise in [0.5, 1.0, 10.0] {
            let one = Composition::new().and(Mechanism::laplace(noise).unwrap(), 1);
            let epsilon = epsilon(&one, 1e-12).unwrap();
            assert!(epsilon * noise < 1.001 && epsilon * noise > 0.999, "{noise} {epsilon}");
            let half = 0.5 / noise;
            let want = -(-0.5 * half).exp_m1();
            let found = delta(&one, half).unwrap();
            assert!(found >= want * (1.0 - 1e-9) && found < want * 1.001, "{noise}: {found} {want}");
        }
    }
}
