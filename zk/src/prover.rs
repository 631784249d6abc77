//! The prover's side of the script.

use std::borrow::Cow;

use p3_field::PrimeCharacteristicRing;
use sahara_circuits::bytes::Writer;
use sahara_circuits::graph::Shape;
use sahara_zk_verify::field::{E, F, signed, write_extension};
use sahara_zk_verify::mle::{eq_table, scaled_eq_table};
use sahara_zk_verify::party::{Axis, ColumnClaim, Fraction, Party, Places, Public, Reduced, Secret, Sum, View};
use sahara_zk_verify::system::{Definition, Hint, Oracle, System, TensorId, logs, variables};
use sahara_zk_verify::transcript::Transcript;

use crate::ProveError;
use crate::commitment::Committed;
use crate::fractions::{Halves, Layer};
use crate::sumcheck;
use crate::values::{Values, position};

pub(crate) struct Prover<'a> {
    pub(crate) system: &'a System,
    pub(crate) values: &'a Values,
    /// In the order of [`Oracle::ALL`].
    pub(crate) committed: [&'a Committed; 4],
    pub(crate) transcript: Transcript,
    pub(crate) out: Writer,
    /// Weights of points that several tensors are evaluated at, one after the other.
    pub(crate) weights: Vec<(Vec<E>, Vec<E>)>,
    /// A message that one is added to, for tests.
    pub(crate) altered: Option<usize>,
    pub(crate) sent: usize,
}

impl Prover<'_> {
    fn message(&mut self, message: E) {
        let message = if self.altered == Some(self.sent) { message + E::ONE } else { message };
        self.sent += 1;
        write_extension(&mut self.out, message);
        self.transcript.observe(message);
    }

    fn messages(&mut self, messages: &[E]) -> E {
        messages.iter().for_each(|&message| self.message(message));
        self.transcript.challenge()
    }

    /// A tensor as a function of the dimensions that are not fixed, those repeated as often as they are.
    fn view(&self, view: &View) -> Vec<E> {
        let shape = self.system.tensor(view.tensor).shape;
        let fixed = view.axes.each_ref().map(|axis| match axis {
            Axis::Fixed(point) => Some(eq_table(point)),
            _ => None,
        });
        let lengths = logs(shape);
        let free = |axis: usize| if fixed[axis].is_some() { 0 } else { lengths[axis] };
        let mut table = vec![E::ZERO; 1 << (free(0) + free(1) + free(2))];
        for (i, &x) in self.values.of(view.tensor).iter().enumerate().filter(|(_, x)| **x != 0) {
            let (b, r, c) = position(shape, i);
            let (mut weight, mut at) = (E::ONE, 0);
            for (axis, index) in [b, r, c].into_iter().enumerate() {
                match &fixed[axis] {
                    Some(weights) => weight *= weights[index],
                    None => at = (at << lengths[axis]) + index,
                }
            }
            table[at] += weight * signed(x);
        }
        self.repeat(view, lengths, table)
    }

    fn repeat(&self, view: &View, lengths: [usize; 3], mut table: Vec<E>) -> Vec<E> {
        // From the last dimension on: what is behind it is repeated as a whole.
        let mut behind = 0;
        for (axis, length) in view.axes.iter().zip(lengths).rev() {
            match axis {
                Axis::Free => behind += length,
                Axis::Fixed(_) => {}
                Axis::Repeated(times) => {
                    let copies = |chunk: &[E]| (0..1usize << times).flat_map(|_| chunk.to_vec()).collect::<Vec<E>>();
                    table = table.chunks(1 << behind).flat_map(copies).collect();
                    behind += times;
                }
            }
        }
        table
    }

    fn tables(&self, sum: &Sum) -> Vec<Vec<E>> {
        let public = sum.public.iter().map(|factor| public_table(factor, sum.variables));
        let secret = sum.secret.iter().map(|factor| match factor {
            Secret::Tensor(view) => self.view(view),
            Secret::Oracle(oracle) => self.committed[*oracle as usize].values().iter().map(|&x| E::from(x)).collect(),
        });
        public.chain(secret).collect()
    }

    /// Every fraction of every place.
    fn leaves(&self, places: &Places<'_>) -> Layer {
        let len = 1 << places.variables;
        let (mut numerators, mut denominators) = (vec![E::ZERO; len], vec![E::ONE; len]);
        let (alpha, beta) = (places.alpha, places.beta);
        let square = beta * beta;
        for block in places.blocks {
            let free = alpha - E::from_usize(block.table + 1);
            let numerators = &mut numerators[block.offset..][..1 << block.variables];
            let denominators = &mut denominators[block.offset..][..1 << block.variables];
            denominators.fill(free);
            match block.lookup {
                Some(lookup) => {
                    let lookup = self.system.lookups[lookup];
                    let shape = self.system.tensor(lookup.index).shape;
                    let values = lookup.value.map(|id| self.values.of(id));
                    for (i, &index) in self.values.of(lookup.index).iter().enumerate() {
                        let at = padded(shape, i);
                        numerators[at] = E::ONE;
                        denominators[at] -= beta * signed(index);
                        if let Some(values) = values {
                            denominators[at] -= square * signed(values[i]);
                        }
                    }
                }
                None => {
                    let table = &self.system.tables[block.table];
                    let counts = self.values.of(table.multiplicity);
                    for (i, (numerator, denominator)) in numerators.iter_mut().zip(denominators).enumerate() {
                        *numerator = -E::from(signed(counts[i]));
                        let (index, value) = table.rows.pair_of(i);
                        *denominator -= beta * signed(index) + square * signed(value);
                    }
                }
            }
        }
        Layer { numerators, denominators }
    }
}

impl Party for Prover<'_> {
    type Error = ProveError;

    fn challenge(&mut self) -> E {
        self.transcript.challenge()
    }

    fn evaluation(&mut self, tensor: TensorId, point: &[E]) -> Result<E, ProveError> {
        if !self.weights.iter().any(|(known, _)| known == point) {
            if self.weights.len() >= 4 {
                self.weights.remove(0);
            }
            self.weights.push((point.to_vec(), eq_table(point)));
        }
        let weights = self.weights.iter().find(|(known, _)| known == point).map_or(&[][..], |(_, weights)| weights);
        let shape = self.system.tensor(tensor).shape;
        let (cols, padded_cols) = (shape.cols as usize, 1 << logs(shape)[2]);
        let mut value = E::ZERO;
        for (row, values) in self.values.of(tensor).chunks(cols).enumerate() {
            let at = padded(shape, row * cols);
            let weights = &weights[at..][..padded_cols];
            value += values.iter().zip(weights).map(|(&x, &weight)| weight * signed(x)).sum::<E>();
        }
        self.message(value);
        Ok(value)
    }

    fn equal(&mut self, _: &'static str, _: E, _: E) -> Result<(), ProveError> {
        Ok(())
    }

    fn total(&mut self, sum: &Sum) -> Result<E, ProveError> {
        let total = sumcheck::total(&self.tables(sum));
        self.message(total);
        Ok(total)
    }

    fn sum(&mut self, sum: &Sum, _: E) -> Result<Reduced, ProveError> {
        let mut tables = self.tables(sum);
        let mut point = Vec::with_capacity(sum.variables);
        for _ in 0..sum.variables {
            let r = self.messages(&sumcheck::round(&tables));
            tables.iter_mut().for_each(|table| sumcheck::fold(table, r));
            point.push(r);
        }
        let ends = tables[sum.public.len()..].iter().map(|table| table[0]);
        let values: Vec<E> = ends.collect();
        values.iter().for_each(|&value| self.message(value));
        Ok(Reduced { point, values })
    }

    fn fractions(&mut self, places: &Places<'_>) -> Result<Fraction, ProveError> {
        let mut layers = vec![self.leaves(places)];
        while let Some(above) = layers.last().filter(|layer| layer.numerators.len() > 1).map(Layer::above) {
            layers.push(above);
        }
        let root = layers.pop().map_or(E::ONE, |root| root.denominators[0]);
        self.message(root);
        let (mut numerator, mut denominator, mut point) = (E::ZERO, root, Vec::new());
        while let Some(layer) = layers.pop() {
            let lambda = self.transcript.challenge();
            let mut halves = Halves::new(layer, &point, lambda);
            let mut here = Vec::with_capacity(point.len() + 1);
            for _ in 0..point.len() {
                let r = self.messages(&halves.round());
                halves.fold(r);
                here.push(r);
            }
            let [p0, p1, q0, q1] = halves.ends();
            let half = self.messages(&[p0, p1, q0, q1]);
            numerator = p0 + half * (p1 - p0);
            denominator = q0 + half * (q1 - q0);
            here.insert(0, half);
            point = here;
        }
        Ok(Fraction { point, numerator, denominator })
    }

    fn open(&mut self, oracle: Oracle, point: &[E], _: E) -> Result<(), ProveError> {
        self.committed[oracle as usize]
            .open(point, &mut self.transcript, &mut self.out)
            .map_err(|error| ProveError::Commitment(oracle, error))
    }
}

fn public_table(factor: &Public, of: usize) -> Vec<E> {
    match factor {
        Public::Eq(terms) => {
            let mut table = vec![E::ZERO; 1 << of];
            for (factor, point) in terms {
                let weights = scaled_eq_table(*factor, point);
                let times = table.len() / weights.len();
                for (chunk, weight) in table.chunks_mut(times).zip(weights) {
                    chunk.iter_mut().for_each(|x| *x += weight);
                }
            }
            table
        }
        Public::Values(values) => values.clone(),
        Public::Columns(claims) => {
            let mut table = vec![E::ZERO; 1 << of];
            claims.iter().for_each(|claim| add_column(&mut table, claim));
            table
        }
    }
}

fn add_column(table: &mut [E], claim: &ColumnClaim) {
    let weights = scaled_eq_table(claim.factor, &claim.point());
    let [_, (rows, r), (cols, c)] = &claim.axes;
    let batches = claim.axes[0].0;
    let beyond = |i: usize| {
        let (row, col) = (i >> c.len() & ((1 << r.len()) - 1), i & ((1 << c.len()) - 1));
        i >> (c.len() + r.len()) >= batches || row >= *rows || col >= *cols
    };
    let places = table[claim.offset..].iter_mut().zip(weights).enumerate();
    places.filter(|(i, _)| !claim.beyond || beyond(*i)).for_each(|(_, (x, weight))| *x += weight);
}

/// Where an element of a shape lies when every dimension is padded to a power of two.
pub(crate) fn padded(shape: Shape, i: usize) -> usize {
    let (b, r, c) = position(shape, i);
    let [_, rows, cols] = logs(shape);
    (((b << rows) + r) << cols) + c
}

/// The committed values of an oracle, without a salt; `of` gives those of a column.
pub(crate) fn polynomial<'v>(
    system: &System,
    oracle: Oracle,
    of: impl Fn(TensorId, &Hint) -> Cow<'v, [i64]>,
) -> Vec<F> {
    let mut out = vec![F::ZERO; 1 << system.variables[oracle as usize]];
    for (id, tensor) in system.tensors.iter().enumerate() {
        let Definition::Column { oracle: under, offset, hint } = &tensor.definition else { continue };
        if *under == oracle {
            let place = &mut out[*offset..][..1 << variables(tensor.shape)];
            for (i, &x) in of(TensorId(id), hint).iter().enumerate() {
                place[padded(tensor.shape, i)] = signed(x);
            }
        }
    }
    out
}
