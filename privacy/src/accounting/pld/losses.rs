//! The privacy loss of one step, moved to points of a grid such that it spends no less (Doroshenko, Ghazi, Kamath, Kumar and
//! Manurangsi, 2022): what lies between two points is divided among them so that its mass under both neighbours' distributions
//! stays. The curve of δ over e^ε then connects the points of the true one by straight lines, and lies above, since it is convex.

use super::super::special::{log_density, upper_tail};

/// Which of two neighbours has the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The first: what is seen has the record, and the loss compares with its absence.
    Removed,
    /// The second.
    Added,
}

/// Points where losses may lie: multiples of `step`, all near zero, farther apart where the loss is large.
#[derive(Clone, Copy, Debug)]
pub struct Points {
    /// Distance of neighbours near zero.
    pub step: f64,
    /// The logarithm of two of the number of points in an octave of large losses.
    pub octave: u32,
}

impl Points {
    /// The point at or below a loss, and the one above: as multiples of the step.
    fn around(self, loss: f64) -> (i64, i64) {
        self.from((loss / self.step).floor() as i64)
    }

    /// The interval that has a multiple of the step in it or begins there.
    fn from(self, multiple: i64) -> (i64, i64) {
        if multiple >= 0 {
            let gap = self.gap(multiple);
            let below = multiple / gap * gap;
            (below, below + gap)
        } else {
            // Mirrored: the interval that ends there in the magnitudes.
            let gap = self.gap(-multiple - 1);
            let near = (-multiple - 1) / gap * gap;
            (-near - gap, -near)
        }
    }

    /// A power of two.
    fn gap(self, magnitude: i64) -> i64 {
        let bits = i64::BITS - magnitude.leading_zeros();
        1 << bits.saturating_sub(self.octave + 1)
    }

    fn loss(self, point: i64) -> f64 {
        point as f64 * self.step
    }
}

/// Masses at points.
pub struct Losses {
    pub step: f64,
    /// Multiples of the step, ascending, with their mass.
    pub masses: Vec<(i64, f64)>,
    /// Mass at infinity: what is seen that the other neighbour cannot give, or what lies beyond the points.
    pub infinite: f64,
}

/// What is added to each mass for the error of integration and rounding.
const SAFETY: f64 = 1e-10;
/// Nodes (in 0..1) and weights of Gauss and Legendre, three and eight of them.
const THREE: [(f64, f64); 3] = [
    (0.112_701_665_379_258_31, 0.277_777_777_777_777_8),
    (0.5, 0.444_444_444_444_444_4),
    (0.887_298_334_620_741_7, 0.277_777_777_777_777_8),
];
const EIGHT: [(f64, f64); 8] = [
    (0.019_855_071_751_231_884, 0.050_614_268_145_188_13),
    (0.101_666_761_293_186_63, 0.111_190_517_226_687_24),
    (0.237_233_795_041_835_5, 0.156_853_322_938_943_64),
    (0.408_282_678_752_175, 0.181_341_891_689_181),
    (0.591_717_321_247_825, 0.181_341_891_689_181),
    (0.762_766_204_958_164_5, 0.156_853_322_938_943_64),
    (0.898_333_238_706_813_4, 0.111_190_517_226_687_24),
    (0.980_144_928_248_768_1, 0.050_614_268_145_188_13),
];

/// Collects masses; those of one point come one after the other or are merged at the end.
struct Collector {
    points: Points,
    masses: Vec<(i64, f64)>,
}

impl Collector {
    fn new(points: Points) -> Self {
        Self { points, masses: Vec::new() }
    }

    fn put(&mut self, point: i64, mass: f64) {
        match self.masses.last_mut() {
            Some((last, so_far)) if *last == point => *so_far += mass,
            _ => self.masses.push((point, mass)),
        }
    }

    /// A mass at one loss, divided among the two points around it.
    fn atom(&mut self, loss: f64, mass: f64) {
        let (below, above) = self.points.around(loss);
        let (low, high) = (self.points.loss(below), self.points.loss(above));
        let part = ((low - loss).exp_m1() / (low - high).exp_m1()).clamp(0.0, 1.0);
        self.put(below, mass * (1.0 - part));
        self.put(above, mass * part);
    }

    /// A continuous part, from `from` to `to`: the loss grows with x; nothing in it bends within less than `scale`.
    fn segment(
        &mut self,
        (from, to): (f64, f64),
        scale: f64,
        density: impl Fn(f64) -> f64,
        loss: impl Fn(f64) -> f64,
        inverse: impl Fn(f64) -> f64,
    ) {
        let mut x = from;
        let (mut below, mut above) = self.points.around(loss(from));
        while x < to {
            let (low, high) = (self.points.loss(below), self.points.loss(above));
            let end = inverse(high);
            // Where the loss has its greatest value below the point, the inverse is no number.
            let end = if end.is_nan() { to } else { end.clamp(x, to) };
            let whole = (low - high).exp_m1();
            let (mut mass, mut upper) = (0.0, 0.0);
            let pieces = ((end - x) / (0.5 * scale)).ceil().max(1.0);
            let width = (end - x) / pieces;
            let nodes: &[(f64, f64)] = if width < scale / 64.0 { &THREE } else { &EIGHT };
            for piece in 0..pieces as u64 {
                let start = x + piece as f64 * width;
                for (node, weight) in nodes {
                    let at = start + node * width;
                    let here = weight * width * density(at);
                    mass += here;
                    upper += here * ((low - loss(at)).exp_m1() / whole).clamp(0.0, 1.0);
                }
            }
            self.put(below, mass - upper);
            self.put(above, upper);
            x = end;
            (below, above) = self.points.from(above);
        }
    }

    fn finish(mut self, infinite: f64) -> Losses {
        self.masses.sort_by_key(|(point, _)| *point);
        let mut merged: Vec<(i64, f64)> = Vec::with_capacity(self.masses.len());
        for (point, mass) in self.masses {
            match merged.last_mut() {
                Some((last, so_far)) if *last == point => *so_far += mass,
                _ => merged.push((point, mass)),
            }
        }
        merged.retain(|(_, mass)| *mass > 0.0);
        merged.iter_mut().for_each(|(_, mass)| *mass *= 1.0 + SAFETY);
        Losses { step: self.points.step, masses: merged, infinite: infinite * (1.0 + SAFETY) }
    }
}

/// The greatest of |x| / σ that is looked at such that no more than `tail` lies beyond.
fn reach(tail: f64) -> f64 {
    (-2.0 * tail.ln()).sqrt()
}

/// Gaussian noise and Poisson sampling of rate 0 < `rate` ≤ 1; no more than `tail` is moved to infinity.
pub fn sampled_gaussian(noise: f64, rate: f64, direction: Direction, points: Points, tail: f64) -> Losses {
    let variance = noise * noise;
    let reach = reach(tail) * noise;
    let log_rate = rate.ln();
    let scale = noise.min(variance);
    // ln of the mixture's density over that of the noise around zero, which grows with x.
    let ratio = |x: f64| {
        let exponent = (x - 0.5) / variance;
        if exponent < 600.0 {
            (rate * exponent.exp_m1()).ln_1p()
        } else {
            exponent + log_rate + ((1.0 - rate) / rate * (-exponent).exp()).ln_1p()
        }
    };
    let at_ratio = |loss: f64| {
        let inner = if loss < 600.0 { (loss.exp_m1() + rate).ln() } else { loss };
        0.5 + variance * (inner - log_rate)
    };
    let normal = |x: f64| log_density(x / noise).exp() / noise;
    let mut collector = Collector::new(points);
    match direction {
        Direction::Removed => {
            let mixed = |x: f64| (1.0 - rate) * normal(x) + rate * normal(x - 1.0);
            let (from, to) = (-reach, 1.0 + reach);
            collector.atom(ratio(from), upper_tail(reach / noise));
            collector.segment((from, to), scale, mixed, ratio, at_ratio);
            let beyond = (1.0 - rate) * upper_tail(to / noise) + rate * upper_tail((to - 1.0) / noise);
            collector.finish(beyond)
        }
        Direction::Added => {
            // The loss is minus the ratio: it grows with -x.
            collector.atom(-ratio(reach), upper_tail(reach / noise));
            let segment = (-reach, reach);
            collector.segment(segment, scale, normal, |y| -ratio(-y), |loss| -at_ratio(-loss));
            collector.finish(upper_tail(reach / noise))
        }
    }
}

/// Laplace noise of this scale; both directions are alike.
pub fn laplace(noise: f64, points: Points) -> Losses {
    let most = 1.0 / noise;
    let mut collector = Collector::new(points);
    collector.atom(-most, 0.5 * (-most).exp());
    // y = 1 - x of noise x in 0..1.
    let density = |y: f64| 0.5 / noise * ((y - 1.0) / noise).exp();
    collector.segment(
        (0.0, 1.0),
        noise.min(1.0),
        density,
        |y| (2.0 * y - 1.0) / noise,
        |loss| 0.5 * (loss * noise + 1.0),
    );
    collector.atom(most, 0.5);
    collector.finish(0.0)
}

/// Skellam noise on an integer that changes by `shift`; both directions are alike. No more than about `tail` is moved to infinity.
pub fn skellam(variance: f64, shift: i64, points: Points, tail: f64) -> Losses {
    let deviation = variance.sqrt();
    let reach = ((reach(tail) + 2.0) * deviation + reach(tail).powi(2)).ceil() as i64;
    let probability = skellam_probabilities(variance, (reach + shift) as usize);
    let at = |k: i64| probability.get(k.unsigned_abs() as usize).copied().unwrap_or(0.0);
    let mut collector = Collector::new(points);
    let mut infinite = 0.0;
    for k in -reach..=reach {
        let (here, there) = (at(k), at(k - shift));
        if there > 0.0 && here > 0.0 {
            collector.atom((here / there).ln(), here);
        } else {
            infinite += here;
        }
    }
    // What lies beyond is less than twice a geometric series from the last probability on.
    infinite += 4.0 * at(reach).max(f64::MIN_POSITIVE);
    collector.finish(infinite)
}

/// The probabilities of 0, 1, … `most` of symmetric Skellam noise of this variance, by Miller's backward recurrence of the modified
/// Bessel functions, whose sum is known. What is less than 1e-290 is zero.
pub fn skellam_probabilities(variance: f64, most: usize) -> Vec<f64> {
    let start = most + 32 + (20.0 * variance.sqrt()) as usize;
    // (mantissa, times that it was divided by 1e250): the values grow by more than a double holds.
    const LARGE: f64 = 1e250;
    let mut values = vec![(0.0_f64, 0_u32); start + 2];
    let (mut above, mut here, mut divided) = (0.0_f64, 1e-250_f64, 0);
    values[start] = (here, divided);
    for k in (1..=start).rev() {
        let below = above + 2.0 * k as f64 / variance * here;
        (above, here) = (here, below);
        if here > LARGE {
            (above, here, divided) = (above / LARGE, here / LARGE, divided + 1);
        }
        values[k - 1] = (here, divided);
    }
    let scaled = |(value, when): (f64, u32)| value * LARGE.powi(-((divided - when).min(8) as i32));
    let total = scaled(values[0]) + 2.0 * values[1..].iter().map(|value| scaled(*value)).sum::<f64>();
    values[..=most.min(start)]
        .iter()
        .map(|value| scaled(*value) / total)
        .map(|p| if p < 1e-290 { 0.0 } else { p })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_around_what_they_should() {
        let points = Points { step: 0.5, octave: 3 };
        let mut loss = -40.0;
        while loss < 40.0 {
            let (below, above) = points.around(loss);
            assert!(points.loss(below) <= loss && loss < points.loss(above), "{loss} {below} {above}");
            assert!((above - below) as f64 <= (below.abs().max(above.abs()) as f64 / 8.0).max(1.0), "{below} {above}");
            // The intervals are those of a grid: the next one begins where this one ends.
            assert_eq!(points.around(points.loss(above)).0, above);
            loss += 0.13;
        }
    }

    #[test]
    fn masses_add_up_under_both_distributions() {
        let points = Points { step: 1e-4, octave: 10 };
        for (noise, rate) in [(0.3, 1e-4), (1.0, 0.01), (0.7, 1.0), (20.0, 0.5)] {
            for direction in [Direction::Removed, Direction::Added] {
                let losses = sampled_gaussian(noise, rate, direction, points, 1e-40);
                let mass: f64 = losses.masses.iter().map(|(_, mass)| mass).sum();
                let other: f64 = losses.masses.iter().map(|(p, m)| m * (-*p as f64 * losses.step).exp()).sum();
                assert!((mass - 1.0).abs() < 1e-9 && (other - 1.0).abs() < 1e-9, "{noise} {rate}: {mass} {other}");
            }
        }
        for noise in [0.2, 1.0, 30.0] {
            let losses = laplace(noise, points);
            let mass: f64 = losses.masses.iter().map(|(_, mass)| mass).sum();
            let other: f64 = losses.masses.iter().map(|(p, m)| m * (-*p as f64 * losses.step).exp()).sum();
            assert!((mass - 1.0).abs() < 1e-9 && (other - 1.0).abs() < 1e-9, "{noise}: {mass} {other}");
        }
        for variance in [0.5, 9.0, 1e4] {
            let losses = skellam(variance, 3, points, 1e-40);
            let mass: f64 = losses.masses.iter().map(|(_, mass)| mass).sum();
            assert!((mass + losses.infinite - 1.0).abs() < 1e-9, "{variance}: {mass}");
        }
    }

    #[test]
    fn skellam_probabilities_are_bessel_functions() {
        // e⁻¹ I₀(1), e⁻¹ I₁(1), e⁻¹ I₅(1) (Abramowitz and Stegun, tables 9.8 and 9.9).
        let found = skellam_probabilities(1.0, 6);
        for (k, want) in [(0, 0.465_759_607_593_640_4), (1, 0.207_910_415_349_708_46), (5, 9.988_e-5)] {
            assert!((found[k] / want - 1.0).abs() < 1e-3, "{k}: {} {want}", found[k]);
        }
        assert!((found[0] - 0.465_759_607_593_640_4).abs() < 1e-14);
    }
}
