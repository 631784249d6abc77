//! The field of the committed values, KoalaBear (`p = 2^31 - 2^24 + 1`), and its extension of degree 8 from which
//! challenges are drawn; their canonical bytes.

use p3_field::extension::BinomialExtensionField;
use p3_field::{BasedVectorSpace, PrimeCharacteristicRing, PrimeField32};
use p3_koala_bear::KoalaBear;
use sahara_circuits::bytes::{DecodeError, Reader, Writer};

/// The base field.
pub type F = KoalaBear;
/// The extension: challenges and messages.
pub type E = BinomialExtensionField<F, DEGREE>;

/// Coefficients of an element of [`E`].
pub const DEGREE: usize = 8;
/// The order of [`F`].
pub const P: i128 = F::ORDER_U32 as i128;

/// The element of a signed integer.
pub fn signed(x: i64) -> F {
    let p = P as i64;
    let residue = if (0..p).contains(&x) {
        x
    } else if (-p..0).contains(&x) {
        x + p
    } else {
        x.rem_euclid(p)
    };
    F::from_u32(residue as u32)
}

/// Appends an element of [`F`]: four bytes, less than `p`.
pub fn write_base(out: &mut Writer, x: F) {
    out.u32(x.as_canonical_u32());
}

/// Reads an element of [`F`].
///
/// # Errors
/// When the bytes end, or are not less than `p`.
pub fn read_base(input: &mut Reader<'_>) -> Result<F, DecodeError> {
    let word = input.u32()?;
    if word >= F::ORDER_U32 { Err(input.field("field element")) } else { Ok(F::from_u32(word)) }
}

/// Appends an element of [`E`]: its coefficients.
pub fn write_extension(out: &mut Writer, x: E) {
    let coefficients: &[F] = x.as_basis_coefficients_slice();
    coefficients.iter().for_each(|&c| write_base(out, c));
}

/// Reads an element of [`E`].
///
/// # Errors
/// When the bytes end, or a coefficient is not less than `p`.
pub fn read_extension(input: &mut Reader<'_>) -> Result<E, DecodeError> {
    let mut coefficients = [F::ZERO; DEGREE];
    for c in &mut coefficients {
        *c = read_base(input)?;
    }
    Ok(E::from_basis_coefficients_fn(|i| coefficients[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_integers_are_their_residues() {
        let p = P as i64;
        for x in [0, 1, -1, 5, p - 1, p, p + 1, -p, -p - 1, 1 - p, i64::MAX, i64::MIN, 7 * p + 3, -7 * p - 3] {
            assert_eq!(i128::from(signed(x).as_canonical_u32()), i128::from(x).rem_euclid(P), "{x}");
        }
    }

    #[test]
    fn bytes_are_canonical() {
        let x = E::from_basis_coefficients_fn(|i| signed(-1 - i as i64));
        let mut out = Writer::default();
        write_extension(&mut out, x);
        assert_eq!(read_extension(&mut Reader::new("x", &out.0)), Ok(x));
        for at in (0..out.0.len()).step_by(4) {
            let mut bad = out.0.clone();
            bad[at..at + 4].copy_from_slice(&F::ORDER_U32.to_le_bytes());
            assert!(read_extension(&mut Reader::new("x", &bad)).is_err(), "at {at}");
        }
    }
}
