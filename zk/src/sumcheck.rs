//! The prover's side of a sumcheck: tables of all factors, folded a variable at a time, the first one first.

use p3_field::PrimeCharacteristicRing;
use sahara_zk_verify::field::E;

/// The polynomial of a round, at 0, 2, 3, … up to the number of factors.
pub(crate) fn round(tables: &[Vec<E>]) -> Vec<E> {
    let half = tables.first().map_or(0, |table| table.len() / 2);
    let degree = tables.len();
    let mut sums = vec![E::ZERO; degree.max(1)];
    let mut lines = vec![(E::ZERO, E::ZERO); degree];
    for i in 0..half {
        for (line, table) in lines.iter_mut().zip(tables) {
            *line = (table[i], table[half + i] - table[i]);
        }
        for (at, sum) in sums.iter_mut().enumerate() {
            // The value at 1 follows from the claim: it is passed by.
            let steps = match at {
                0 => 0,
                1 => 2,
                _ => 1,
            };
            let mut product = E::ONE;
            for (value, step) in &mut lines {
                for _ in 0..steps {
                    *value += *step;
                }
                product *= *value;
            }
            *sum += product;
        }
    }
    sums
}

/// Sets the first variable.
pub(crate) fn fold(table: &mut Vec<E>, r: E) {
    let half = table.len() / 2;
    let (low, high) = table.split_at_mut(half);
    low.iter_mut().zip(high).for_each(|(low, high)| *low += r * (*high - *low));
    table.truncate(half);
}

/// The sum of the products.
pub(crate) fn total(tables: &[Vec<E>]) -> E {
    let len = tables.first().map_or(0, Vec::len);
    (0..len).map(|i| tables.iter().map(|table| table[i]).product::<E>()).sum()
}
