//! Multilinear extensions. The first variable is the most significant bit of an index.

use p3_field::PrimeCharacteristicRing;

use crate::field::E;

/// `eq(point, x)` for every `x` of the hypercube, in the order of indices.
pub fn eq_table(point: &[E]) -> Vec<E> {
    scaled_eq_table(E::ONE, point)
}

/// [`eq_table`] times a factor.
pub fn scaled_eq_table(factor: E, point: &[E]) -> Vec<E> {
    let mut table = Vec::with_capacity(1 << point.len());
    table.push(factor);
    for &x in point {
        // Backwards, so that no entry is overwritten before it is read.
        let len = table.len();
        table.resize(2 * len, E::ZERO);
        for i in (0..len).rev() {
            let high = table[i] * x;
            table[2 * i + 1] = high;
            table[2 * i] = table[i] - high;
        }
    }
    table
}

/// `eq(a, b)`; points of one length.
pub fn eq(a: &[E], b: &[E]) -> E {
    a.iter().zip(b).map(|(&a, &b)| eq_one(a, b)).product()
}

/// `Σ_{x < len} eq(a, x)·eq(b, x)`: [`eq`] of the first `len` places.
pub fn eq_below(len: usize, a: &[E], b: &[E]) -> E {
    if len >= 1 << a.len() {
        return eq(a, b);
    }
    // Walks down the bits of `len`: where one is set, the half below it counts whole.
    let (mut sum, mut along) = (E::ZERO, E::ONE);
    for (i, (&x, &y)) in a.iter().zip(b).enumerate() {
        let zero = (E::ONE - x) * (E::ONE - y);
        if len >> (a.len() - 1 - i) & 1 == 1 {
            sum += along * zero * eq(&a[i + 1..], &b[i + 1..]);
            along *= x * y;
        } else {
            along *= zero;
        }
    }
    sum
}

/// `Σ_{x < len} eq(point, x)`: the extension of "one in the first `len` places".
pub fn below(len: usize, point: &[E]) -> E {
    if len >= 1 << point.len() {
        return E::ONE;
    }
    let (mut sum, mut along) = (E::ZERO, E::ONE);
    for (i, &x) in point.iter().enumerate() {
        if len >> (point.len() - 1 - i) & 1 == 1 {
            sum += along * (E::ONE - x);
            along *= x;
        } else {
            along *= E::ONE - x;
        }
    }
    sum
}

/// `eq(bits, point)`, where the bits are those of `index`.
pub fn eq_index(index: usize, point: &[E]) -> E {
    let bit = |i: usize| index >> (point.len() - 1 - i) & 1 == 1;
    point.iter().enumerate().map(|(i, &x)| if bit(i) { x } else { E::ONE - x }).product()
}

/// The index as a function of its bits: `Σ 2^i·x_i`.
pub fn index(point: &[E]) -> E {
    point.iter().fold(E::ZERO, |sum, &x| sum.double() + x)
}

/// The point of the hypercube with this index.
pub fn vertex(index: usize, variables: usize) -> Vec<E> {
    (0..variables).map(|i| if index >> (variables - 1 - i) & 1 == 1 { E::ONE } else { E::ZERO }).collect()
}

fn eq_one(a: E, b: E) -> E {
    let both = a * b;
    both.double() - a - b + E::ONE
}

/// The value at `r` of the polynomial with these values at 0, 1, 2, …
pub fn interpolate(values: &[E], r: E) -> E {
    use p3_field::Field;
    let small = |i: usize| E::from_u32(i as u32);
    let term = |(i, &value): (usize, &E)| {
        let (mut top, mut bottom) = (value, E::ONE);
        for j in (0..values.len()).filter(|&j| j != i) {
            top *= r - small(j);
            bottom *= small(i) - small(j);
        }
        // Differences of small numbers are not zero.
        bottom.try_inverse().map_or(E::ZERO, |inverse| top * inverse)
    };
    values.iter().enumerate().map(term).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(seed: u32, len: usize) -> Vec<E> {
        (0..len as u32).map(|i| E::from_u32(seed * 1_000_003 + i * 77_777 + 5) * E::from_u32(i + 91)).collect()
    }

    #[test]
    fn closed_forms_are_what_the_tables_add_up_to() {
        for variables in 0..5 {
            let (a, b) = (point(1, variables), point(2, variables));
            let (ta, tb) = (eq_table(&a), eq_table(&b));
            for len in 0..=1 << variables {
                let sum: E = ta.iter().zip(&tb).take(len).map(|(&x, &y)| x * y).sum();
                assert_eq!(eq_below(len, &a, &b), sum);
                assert_eq!(below(len, &a), ta.iter().take(len).copied().sum());
            }
            assert_eq!(eq(&a, &b), eq_below(1 << variables, &a, &b));
            for (i, &entry) in ta.iter().enumerate() {
                assert_eq!(eq_index(i, &a), entry);
                assert_eq!(eq(&vertex(i, variables), &a), entry);
                assert_eq!(index(&vertex(i, variables)), E::from_u32(i as u32));
            }
        }
    }

    #[test]
    fn a_cubic_is_met_between_its_values() {
        let cubic = |x: E| x * x * x * E::from_u32(7) - x * x + E::from_u32(3);
        let values: Vec<E> = (0..4).map(|i| cubic(E::from_u32(i))).collect();
        let r = point(9, 1)[0];
        assert_eq!(interpolate(&values, r), cubic(r));
    }
}
