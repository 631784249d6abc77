//! The two sides of the argument. [`crate::protocol`] is one script that both follow; a prover computes each message,
//! a verifier reads and judges it, and both get the same challenges.

use p3_field::PrimeCharacteristicRing;

use crate::field::E;
use crate::mle;
use crate::system::{Oracle, TensorId};

/// Who follows the script.
pub trait Party {
    /// Why it cannot go on: a proof that is wrong, or a witness that is none.
    type Error;

    /// The next challenge.
    fn challenge(&mut self) -> E;

    /// The prover says what a tensor's extension is at a point.
    ///
    /// # Errors
    /// When the verifier finds no such message.
    fn evaluation(&mut self, tensor: TensorId, point: &[E]) -> Result<E, Self::Error>;

    /// Both agree that a value is another one, which the verifier checks.
    ///
    /// # Errors
    /// When it is not, for the verifier; `what` is in the message.
    fn equal(&mut self, what: &'static str, a: E, b: E) -> Result<(), Self::Error>;

    /// Reduces "the sum of the product of all factors over the hypercube is `claim`" to a point and the values there of
    /// the factors that the prover knows.
    ///
    /// # Errors
    /// When the verifier does not accept the reduction.
    fn sum(&mut self, sum: &Sum, claim: E) -> Result<Reduced, Self::Error>;

    /// The prover says what a sum is.
    ///
    /// # Errors
    /// When the verifier finds no such message.
    fn total(&mut self, sum: &Sum) -> Result<E, Self::Error>;

    /// Reduces "the fractions over all places add up to zero" to the numerator and the denominator at a point.
    ///
    /// # Errors
    /// When the verifier does not accept the reduction.
    fn fractions(&mut self, places: &Places<'_>) -> Result<Fraction, Self::Error>;

    /// Opens a committed polynomial.
    ///
    /// # Errors
    /// When the verifier does not accept the opening.
    fn open(&mut self, oracle: Oracle, point: &[E], value: E) -> Result<(), Self::Error>;
}

/// A sum of products over a hypercube.
pub struct Sum {
    /// What it is of, for messages.
    pub what: &'static str,
    /// Variables.
    pub variables: usize,
    /// Factors that both sides know.
    pub public: Vec<Public>,
    /// Factors that only the prover knows.
    pub secret: Vec<Secret>,
}

/// Where a sum was reduced to.
pub struct Reduced {
    /// The point.
    pub point: Vec<E>,
    /// The secret factors there.
    pub values: Vec<E>,
}

/// A factor that both sides know.
pub enum Public {
    /// The sum of multiples of `eq(point, ·)`; a shorter point is of the first variables.
    Eq(Vec<(E, Vec<E>)>),
    /// Every value.
    Values(Vec<E>),
    /// Claims about columns of one committed polynomial.
    Columns(Vec<ColumnClaim>),
}

/// What is asked of one column: its sum with these weights.
pub struct ColumnClaim {
    /// Where the column begins.
    pub offset: usize,
    /// The lengths of its dimensions, and the point in the variables of each.
    pub axes: [(usize, Vec<E>); 3],
    /// Its factor in the sum of all claims.
    pub factor: E,
    /// Whether it is about the places beyond the shape only.
    pub beyond: bool,
}

impl ColumnClaim {
    /// The point as one.
    pub fn point(&self) -> Vec<E> {
        self.axes.iter().flat_map(|(_, point)| point).copied().collect()
    }

    fn at(&self, r: &[E]) -> E {
        let variables: usize = self.axes.iter().map(|(_, point)| point.len()).sum();
        let (selector, mut r) = r.split_at(r.len() - variables);
        let (mut all, mut within) = (E::ONE, E::ONE);
        for (len, point) in &self.axes {
            let (here, rest) = r.split_at(point.len());
            let whole = mle::eq(point, here);
            all *= whole;
            within *= if *len == 1 << point.len() || !self.beyond { whole } else { mle::eq_below(*len, point, here) };
            r = rest;
        }
        let weight = if self.beyond { all - within } else { all };
        self.factor * mle::eq_index(self.offset >> variables, selector) * weight
    }
}

impl Public {
    /// The factor's extension at a point.
    pub fn at(&self, r: &[E]) -> E {
        match self {
            Self::Eq(terms) => terms.iter().map(|(factor, point)| *factor * mle::eq(point, &r[..point.len()])).sum(),
            Self::Values(values) => values.iter().zip(mle::eq_table(r)).map(|(&value, weight)| value * weight).sum(),
            Self::Columns(claims) => claims.iter().map(|claim| claim.at(r)).sum(),
        }
    }
}

/// A factor that only the prover knows.
pub enum Secret {
    /// A tensor.
    Tensor(View),
    /// All of a committed polynomial.
    Oracle(Oracle),
}

/// A tensor as a function of the variables of some of its dimensions.
pub struct View {
    /// The tensor.
    pub tensor: TensorId,
    /// What becomes of each dimension.
    pub axes: [Axis; 3],
}

/// What becomes of a dimension.
pub enum Axis {
    /// The sum goes over its variables.
    Free,
    /// It is at a point.
    Fixed(Vec<E>),
    /// It has one place, which is repeated over so many variables of the sum.
    Repeated(usize),
}

impl View {
    /// A tensor as a function of all its variables.
    pub fn whole(tensor: TensorId) -> Self {
        Self { tensor, axes: [Axis::Free, Axis::Free, Axis::Free] }
    }

    /// The point of the tensor at which its value is known, for a point of the sum.
    pub fn point(&self, logs: [usize; 3], mut r: &[E]) -> Vec<E> {
        let mut point = Vec::new();
        for (axis, log) in self.axes.iter().zip(logs) {
            let taken = match axis {
                Axis::Free => log,
                Axis::Fixed(at) => {
                    point.extend_from_slice(at);
                    0
                }
                Axis::Repeated(variables) => *variables,
            };
            let (here, rest) = r.split_at(taken.min(r.len()));
            if matches!(axis, Axis::Free) {
                point.extend_from_slice(here);
            }
            r = rest;
        }
        point
    }
}

/// The fractions of all lookups: blocks of places, each as long as a power of two, the longest first.
pub struct Places<'a> {
    /// Variables of all places.
    pub variables: usize,
    /// The blocks, in order.
    pub blocks: &'a [Block],
    /// What is subtracted from.
    pub alpha: E,
    /// What values are multiplied with.
    pub beta: E,
}

/// Places of one lookup, or of one table.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// The first place: a multiple of its length.
    pub offset: usize,
    /// Its length is two to this.
    pub variables: usize,
    /// The table.
    pub table: usize,
    /// The lookup; of the table's own rows, none.
    pub lookup: Option<usize>,
}

/// A fraction at a point of all places.
pub struct Fraction {
    /// The point.
    pub point: Vec<E>,
    /// The numerator there.
    pub numerator: E,
    /// The denominator there.
    pub denominator: E,
}
