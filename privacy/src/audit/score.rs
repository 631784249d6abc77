//! Which canaries were put in, by what left a run.

use super::bound::Guesses;
use super::canary::Canary;

/// What is guessed from, a number a canary: the greater, the more it looks as if it was put in.
pub struct Scores {
    /// ln of how much likelier what was seen is with the canary, by the noise and the rate that are claimed.
    likely: Vec<f64>,
    /// Squares of what a step changes from the one before: noise that is drawn once is gone from it.
    restless: Vec<f64>,
    last: Vec<f64>,
    steps: u64,
    /// Deviation of the noise, over the bound.
    noise: f64,
    /// ln of the rate, and of its counterpart.
    taken: (f64, f64),
}

/// Parts of all canaries that are guessed; the best of them counts, and its doubt is divided among all.
const PARTS: [usize; 5] = [1, 2, 4, 8, 16];
/// Fewer guesses prove nothing.
const FEWEST: usize = 16;

impl Scores {
    /// Before the first step of a run with noise of a deviation in bounds, and a probability to be in a batch.
    pub fn new(canaries: usize, noise: f64, rate: f64) -> Self {
        let zeros = || vec![0.0; canaries];
        let taken = (rate.ln(), (-rate).ln_1p());
        Self { likely: zeros(), restless: zeros(), last: zeros(), steps: 0, noise, taken }
    }

    /// A step: for each canary what left in its place, but for what other examples gave, in bounds and with its sign.
    pub fn see(&mut self, left: impl Iterator<Item = f64>) {
        let (yes, no) = self.taken;
        let scores = self.likely.iter_mut().zip(&mut self.restless).zip(&mut self.last);
        for (((likely, restless), last), x) in scores.zip(left) {
            // ln (1 - q + q e^{(2x - 1)/2σ²})
            let with = yes + (2.0 * x - 1.0) / (2.0 * self.noise * self.noise);
            let (more, less) = if with > no { (with, no) } else { (no, with) };
            *likely += more + (less - more).exp().ln_1p();
            if self.steps > 0 {
                *restless += (x - *last).powi(2);
            }
            *last = x;
        }
        self.steps += 1;
    }
}

/// Scores of several runs, and how the coins fell.
#[derive(Default)]
pub struct Found {
    likely: Vec<f64>,
    restless: Vec<f64>,
    included: Vec<bool>,
}

impl Found {
    /// Those of one more.
    pub fn add(&mut self, scores: &Scores, canaries: &[Canary]) {
        self.likely.extend(&scores.likely);
        self.restless.extend(&scores.restless);
        self.included.extend(canaries.iter().map(|canary| canary.included));
    }

    /// All guesses that were decided on beforehand.
    pub fn guesses(&self) -> Vec<Guesses> {
        [&self.likely, &self.restless].into_iter().flat_map(|scores| guesses(scores, &self.included)).collect()
    }
}

/// For each part of all: the upper half of the most extreme scores is guessed to be in, the lower to be out.
pub fn guesses(scores: &[f64], included: &[bool]) -> Vec<Guesses> {
    let mut order: Vec<usize> = (0..scores.len().min(included.len())).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let coins = order.len();
    PARTS
        .iter()
        .map(|part| coins / part / 2)
        .filter(|half| 2 * half >= FEWEST)
        .map(|half| {
            let (upper, lower) = (&order[..half], &order[coins - half..]);
            let right =
                upper.iter().filter(|i| included[**i]).count() + lower.iter().filter(|i| !included[**i]).count();
            Guesses { coins, made: 2 * half, right }
        })
        .collect()
}

/// The best bound of several guesses, of which each has its part of the doubt; and the guesses it is from.
pub fn best(all: &[Guesses], delta: f64, doubt: f64) -> Option<(f64, Guesses)> {
    let each = doubt / all.len().max(1) as f64;
    all.iter().map(|guesses| (guesses.lower_bound(delta, each), *guesses)).max_by(|a, b| a.0.total_cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_take_the_most_extreme_and_count_the_right_ones() {
        let scores: Vec<f64> = (0..64).map(f64::from).collect();
        let included: Vec<bool> = (0..64).map(|i| i >= 32 || i == 5).collect();
        let all = guesses(&scores, &included);
        let expected = [(64, 63), (32, 31), (16, 15)];
        assert_eq!(all.iter().map(|g| (g.made, g.right)).collect::<Vec<_>>(), expected);
        assert!(all.iter().all(|g| g.coins == 64) && guesses(&scores[..10], &included).is_empty());
        let (bound, from) = best(&all, 0.0, 1e-2).unwrap();
        assert!(bound > 0.5 && from.made == 64 && best(&[], 0.0, 0.5).is_none());
    }

    #[test]
    fn scores_rise_with_what_is_seen_and_stay_finite() {
        let mut scores = Scores::new(3, 0.01, 0.1);
        scores.see([0.0, 1.0, 1e9].into_iter());
        scores.see([0.0, 0.0, -1e9].into_iter());
        assert!(scores.likely[1] > scores.likely[0] && scores.likely.iter().all(|score| score.is_finite()));
        assert_eq!(scores.restless[..2], [0.0, 1.0]);
        let mut all = Scores::new(1, 1.0, 1.0);
        all.see([0.75].into_iter());
        assert!((all.likely[0] - 0.25).abs() < 1e-12, "{}", all.likely[0]);
    }
}
