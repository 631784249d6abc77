//! Operations on bit planes.

use super::kernels;
pub use super::planes::{CHUNK, Plane, WORDS, ZERO};

/// Bit `bit` of each of `values` (at most a chunk) as a plane.
pub fn plane(values: &[u32], bit: u8) -> Plane {
    let mut out = ZERO;
    kernels::plane(values, bit, &mut out);
    out
}

/// The bits of a plane as integers 0 or 1, for at most a chunk of elements.
pub fn spread(plane: &Plane, out: &mut [u32]) {
    kernels::spread(plane, out);
}

/// `a ^= b`.
pub fn xor(a: &mut Plane, b: &Plane) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
}

/// `a & b`.
pub fn and(a: &Plane, b: &Plane) -> Plane {
    std::array::from_fn(|i| a[i] & b[i])
}

/// `!a`.
pub fn not(a: &Plane) -> Plane {
    std::array::from_fn(|i| !a[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_and_spread_are_inverse() {
        let values: Vec<u32> = (0..CHUNK as u32 - 37).map(|i| i.wrapping_mul(0x85eb_ca6b)).collect();
        let mut back = vec![0; values.len()];
        for bit in 0..32 {
            let mut ones = vec![0; values.len()];
            spread(&plane(&values, bit), &mut ones);
            back.iter_mut().zip(&ones).for_each(|(b, o)| *b |= o << bit);
        }
        assert_eq!(values, back);
    }
}
