//! The lookup tables of a graph. Nobody calls `exp` or `erf` at run time: the entries are part of the graph, and are made
//! with the functions of `libm`, which are the same on every machine.

use crate::frontend::settings::Activation;
use crate::graph::Table;

/// A normalised sum of squares lies in `[2^28, 2^30)` and is indexed in steps of `2^20`: 256 to 1024.
pub(crate) const NORM_SHIFT: u8 = 20;

/// Scale of a row's inverse length: its mantissa has 11 bits, and the rescale after it drops 12.
pub(crate) const INVERSE: i32 = 25;

/// Fractional bits of an activation's result.
pub(crate) const GELU_FRACTION: u8 = 8;

/// One, with these.
pub(crate) const GELU_ONE: f64 = (1u32 << GELU_FRACTION) as f64;

/// An activation over `bits`-bit signed indices of so wide a step. An entry is the mean over its cell, so that rounding
/// to the index adds no bias.
pub(crate) fn activation(function: Activation, name: &str, step: f64, bits: u8) -> Table {
    let entries = (0..1i64 << bits).map(|i| {
        let signed = if i >> (bits - 1) == 1 { i - (1 << bits) } else { i };
        let centre = signed as f64 * step;
        let at = |x| function.at(x);
        let mean = (at(centre - step / 2.0) + 4.0 * at(centre) + at(centre + step / 2.0)) / 6.0;
        (mean * GELU_ONE).round() as i32
    });
    Table { name: name.to_owned(), entries: entries.collect() }
}

/// `exp(-i / 2^fraction)` with `scale` fractional bits; the last entry stands for everything beyond and is 0.
pub(crate) fn exp(fraction: u8, bits: u8, scale: u8) -> Table {
    let last = (1usize << bits) - 1;
    let entries = (0..=last).map(|i| match i {
        i if i == last => 0,
        i => (libm::exp(-(i as f64) / f64::from(1u32 << fraction)) * f64::from(1u32 << scale)).round() as i32,
    });
    Table { name: format!("exp/{bits}/{scale}"), entries: entries.collect() }
}

/// `2^16 / i` for a mantissa `i` in 256..=512; 512 is entry 0. Entries that no mantissa reaches hold the value of 256.
pub(crate) fn reciprocal() -> Table {
    let entries = (0..512).map(|i| match i {
        0 => 128,
        i => (65536.0 / f64::from(i.max(256))).round() as i32,
    });
    Table { name: "reciprocal/9".into(), entries: entries.collect() }
}

/// `2^INVERSE / sqrt(i·2^20)` for a mantissa `i` in 256..=1024; 1024 is entry 0.
pub(crate) fn rsqrt() -> Table {
    let entries = (0..1024).map(|i| rsqrt_at(if i == 0 { 1024 } else { i.max(256) }).round() as i32);
    Table { name: "rsqrt/10".into(), entries: entries.collect() }
}

fn rsqrt_at(mantissa: u32) -> f64 {
    2f64.powi(INVERSE) / (f64::from(mantissa) * 2f64.powi(NORM_SHIFT.into())).sqrt()
}

/// How much longer than exact a row divided by its norm through [`rsqrt`] can be, as a factor.
pub(crate) fn rsqrt_excess() -> f64 {
    let worst = (256..=1024u32).map(|i| {
        let longest = (f64::from(i) + 0.5) * 2f64.powi(NORM_SHIFT.into());
        rsqrt_at(i).round() * longest.sqrt() / 2f64.powi(INVERSE)
    });
    worst.fold(1.0, f64::max)
}

/// How much larger than exact a quotient through [`reciprocal`] can be, as a factor.
pub(crate) fn reciprocal_excess() -> f64 {
    let worst = (256..=512u32).map(|i| (65536.0 / f64::from(i)).round() * (f64::from(i) + 0.5) / 65536.0);
    worst.fold(1.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_values_at_their_edges() {
        let exp = exp(3, 6, 10);
        assert_eq!((exp.entries[0], exp.entries[8], exp.entries[63]), (1024, 377, 0));
        let gelu = activation(Activation::Gelu, "gelu", 0.125, 8);
        assert_eq!((gelu.entries[127], gelu.entries[128]), (127 * 32, 0));
        assert_eq!(reciprocal().entries[256], 256);
        assert_eq!((rsqrt().entries[0], rsqrt().entries[256]), (1024, 2048));
        assert!(rsqrt_excess() < 1.0016 && reciprocal_excess() < 1.007);
    }
}
