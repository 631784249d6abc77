//! The prover's side of the sum of all fractions: layers of a tree in which each fraction is the sum of two.

use p3_field::PrimeCharacteristicRing;
use sahara_zk_verify::field::E;
use sahara_zk_verify::mle::eq_table;

use crate::sumcheck::fold;

/// Numerators and denominators of one layer.
pub(crate) struct Layer {
    pub(crate) numerators: Vec<E>,
    pub(crate) denominators: Vec<E>,
}

impl Layer {
    /// Half as many fractions: the sums of the first half and the second.
    pub(crate) fn above(&self) -> Self {
        let half = self.numerators.len() / 2;
        let (p0, p1) = self.numerators.split_at(half);
        let (q0, q1) = self.denominators.split_at(half);
        let numerators = (0..half).map(|i| p0[i] * q1[i] + p1[i] * q0[i]).collect();
        let denominators = q0.iter().zip(q1).map(|(&a, &b)| a * b).collect();
        Self { numerators, denominators }
    }
}

/// The tables of `eq·(p0·q1 + p1·q0 + λ·q0·q1)`.
pub(crate) struct Halves {
    eq: Vec<E>,
    parts: [Vec<E>; 4],
    lambda: E,
}

impl Halves {
    pub(crate) fn new(layer: Layer, point: &[E], lambda: E) -> Self {
        let half = layer.numerators.len() / 2;
        let (mut p0, mut q0) = (layer.numerators, layer.denominators);
        let (p1, q1) = (p0.split_off(half), q0.split_off(half));
        Self { eq: eq_table(point), parts: [p0, p1, q0, q1], lambda }
    }

    /// The polynomial of a round at 0, 2 and 3.
    pub(crate) fn round(&self) -> [E; 3] {
        let half = self.eq.len() / 2;
        let mut sums = [E::ZERO; 3];
        for i in 0..half {
            let line = |table: &[E]| (table[i], table[half + i] - table[i]);
            let mut lines = [&self.eq, &self.parts[0], &self.parts[1], &self.parts[2], &self.parts[3]].map(|t| line(t));
            for (at, sum) in sums.iter_mut().enumerate() {
                for (value, step) in &mut lines {
                    match at {
                        0 => {}
                        1 => *value += step.double(),
                        _ => *value += *step,
                    }
                }
                let [e, p0, p1, q0, q1] = lines.map(|(value, _)| value);
                *sum += e * (p0 * q1 + q0 * (p1 + self.lambda * q1));
            }
        }
        sums
    }

    pub(crate) fn fold(&mut self, r: E) {
        fold(&mut self.eq, r);
        self.parts.iter_mut().for_each(|part| fold(part, r));
    }

    /// `p0`, `p1`, `q0`, `q1` where all variables are set.
    pub(crate) fn ends(&self) -> [E; 4] {
        [0, 1, 2, 3].map(|i| self.parts[i].first().copied().unwrap_or(E::ZERO))
    }
}
