//! What a number of right guesses proves.

/// What was guessed of examples that were put in or left out by one fair coin each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guesses {
    /// Coins.
    pub coins: usize,
    /// How many of them were guessed; the number does not depend on how they fell.
    pub made: usize,
    /// How many were guessed right.
    pub right: usize,
}

/// What is left for the rounding of the sums below, as a factor: a term's logarithm is right to 10⁻⁹ for as many as 10⁷ guesses.
const ROUNDING: f64 = 1.0 + 1e-6;
/// No ε above this is asked about.
const MOST: f64 = 64.0;

impl Guesses {
    /// The probability that a run which is (ε, δ)-private lets that many guesses be right, at most (Steinke, Nasr and Jagielski, 2023,
    /// theorem 5.2): with f(v) = P(Binomial(made, 1/(1+e^{-ε})) ≥ v), f(right) + 2 coins δ maxᵢ (f(right - i) - f(right)) / i.
    pub fn chance(self, epsilon: f64, delta: f64) -> f64 {
        let Self { coins, made, right } = self;
        if right > made || made > coins {
            return 1.0;
        }
        // ln of the chance of a guess to be right, and wrong.
        let (hit, miss) = (-(-epsilon).exp().ln_1p(), -epsilon - (-epsilon).exp().ln_1p());
        let (n, all) = (made as f64, libm::lgamma(made as f64 + 1.0));
        let term = |k: usize| {
            let k = k as f64;
            (all - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0) + k * hit + (n - k) * miss).exp()
        };
        let reached: f64 = (right..=made).rev().map(term).sum();
        let (mut below, mut most) = (0.0, 0.0_f64);
        for i in 1..=right {
            below += term(right - i);
            most = most.max(below / i as f64);
        }
        (ROUNDING * (reached + 2.0 * coins as f64 * delta * most)).min(1.0)
    }

    /// The greatest ε, rounded down, for which that many right guesses are less likely than `doubt`: a run that is (ε, δ)-private for
    /// it or less is contradicted, and that is wrong in at most one of 1/doubt audits. 0 if nothing is proven.
    pub fn lower_bound(self, delta: f64, doubt: f64) -> f64 {
        let proven = |epsilon: f64| self.chance(epsilon, delta) <= doubt;
        let (mut low, mut high) = (0.0, MOST);
        if !proven(low) {
            return 0.0;
        }
        while high - low > 1e-6 {
            let middle = 0.5 * (low + high);
            if proven(middle) { low = middle } else { high = middle }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigUint;

    /// The same in whole numbers, for e^ε = odds / 1: everything times (odds + 1)^made.
    fn exact(guesses: Guesses, odds: u32, delta: f64) -> f64 {
        let Guesses { coins, made, right } = guesses;
        let mut terms = vec![BigUint::from(1_u32)];
        for k in 1..=made as u32 {
            let last = &terms[k as usize - 1] * (made as u32 - k + 1) / k;
            terms.push(last);
        }
        let terms: Vec<BigUint> =
            terms.iter().zip(0..).map(|(choose, k)| choose * BigUint::from(odds).pow(k)).collect();
        let whole = BigUint::from(odds + 1).pow(made as u32);
        let part = |sum: BigUint| {
            let scaled: BigUint = (sum << 300_u32) / &whole;
            // Of 300 bits, the first 60 in a double.
            let bits = scaled.bits().saturating_sub(60);
            let head = u64::try_from(&scaled >> bits).unwrap_or(u64::MAX);
            head as f64 * 2_f64.powi(bits as i32 - 300)
        };
        let reached = part(terms[right..].iter().sum());
        let most = (1..=right).map(|i| part(terms[right - i..right].iter().sum()) / i as f64).fold(0.0, f64::max);
        (reached + 2.0 * coins as f64 * delta * most).min(1.0)
    }

    #[test]
    fn chances_are_those_of_whole_numbers_rounded_up() {
        for (coins, made, right) in
            [(1000, 1000, 1000), (1000, 400, 300), (2000, 64, 64), (50, 10, 3), (5000, 5000, 3600)]
        {
            let guesses = Guesses { coins, made, right };
            for odds in [1, 2, 3, 20] {
                for delta in [0.0, 1e-9, 1e-5] {
                    let (found, exact) = (guesses.chance(f64::from(odds).ln(), delta), exact(guesses, odds, delta));
                    assert!(found >= exact.min(1.0) && found <= exact * 1.000_01 + 1e-80, "{guesses:?} {odds} {delta}");
                }
            }
        }
    }

    #[test]
    fn all_right_proves_much_and_half_of_them_nothing() {
        let bound = |made, right, delta| Guesses { coins: 1000, made, right }.lower_bound(delta, 1e-4);
        // (e^ε / (1+e^ε))¹⁰⁰⁰ = 10⁻⁴.
        let all = bound(1000, 1000, 0.0);
        assert!((all - 4.68).abs() < 0.01, "{all}");
        assert!(bound(1000, 500, 0.0) == 0.0 && bound(1000, 400, 0.0) == 0.0 && bound(0, 0, 0.0) == 0.0);
        assert!(bound(1000, 1000, 1e-6) < all && bound(1000, 1000, 1e-6) > 3.0);
        assert_eq!(bound(1000, 1000, 1e-3), 0.0, "where δ lets many be guessed, guesses prove nothing");
        assert!(bound(100, 100, 0.0) < all && bound(1000, 900, 0.0) < all);
        assert_eq!(Guesses { coins: 10, made: 11, right: 11 }.lower_bound(0.0, 0.5), 0.0);
    }

    /// Of randomised response with ε = 1, which a thousand guesses cannot beat.
    #[test]
    fn a_private_answer_is_not_contradicted() {
        let mut generator = crate::noise::Generator::from_seed([1; 32]);
        let chance = 1.0 / (1.0 + (-1.0_f64).exp());
        let mut bounds: Vec<f64> = (0..200)
            .map(|_| {
                let right = (0..1000).filter(|_| generator.unit() < chance).count();
                Guesses { coins: 1000, made: 1000, right }.lower_bound(0.0, 1e-2)
            })
            .collect();
        bounds.sort_by(f64::total_cmp);
        assert!(bounds[194] <= 1.0 && bounds[100] > 0.6, "{} {}", bounds[194], bounds[100]);
    }
}
