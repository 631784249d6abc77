//! Products of matrices in single precision, on whatever vectors this machine has.
//!
//! Each number of a product is summed in the order of the inner index, whatever stands beside it: a row of a product depends
//! on its own row of the left factor alone, to the last bit. What an example contributes therefore does not depend on which
//! others are in its batch.

use pulp::{Arch, Simd, WithSimd};

/// The inner index is taken in blocks of this many, so that a panel of the right factor stays in the nearest cache.
const DEPTH: usize = 256;

/// Of a transposed left factor, so many numbers are summed before they are added to the product: what an example adds is rounded
/// that often, and once for each block that comes later.
pub const SUMMED: usize = 64;

/// The left factor, row-major.
#[derive(Clone, Copy, Debug)]
pub enum Left<'a> {
    /// As it is: `rows × depth`.
    Rows(&'a [f32]),
    /// Transposed: `depth × rows`, of which the columns are the rows of the product.
    Columns(&'a [f32]),
}

/// A right factor, `depth × columns`, laid out for products.
#[derive(Clone, Debug, Default)]
pub struct Right {
    depth: usize,
    columns: usize,
    /// Panels of as many columns as two vectors have, or one; each `depth × width`, filled up with zeros.
    panels: Vec<f32>,
}

impl Right {
    /// Lays out a row-major matrix.
    pub fn lay(&mut self, matrix: &[f32], depth: usize, columns: usize) {
        assert_eq!(matrix.len(), depth * columns, "a factor has its shape");
        let width = self.shape(depth, columns);
        for (panel, first) in self.panels.chunks_exact_mut((depth * width).max(1)).zip((0..columns).step_by(width)) {
            let some = width.min(columns - first);
            for (to, from) in panel.chunks_exact_mut(width).zip(matrix.chunks_exact(columns)) {
                to[..some].copy_from_slice(&from[first..first + some]);
                to[some..].fill(0.0);
            }
        }
    }

    /// Lays out the transpose of a row-major matrix of `columns × depth`.
    pub fn lay_transposed(&mut self, matrix: &[f32], depth: usize, columns: usize) {
        assert_eq!(matrix.len(), depth * columns, "a factor has its shape");
        let width = self.shape(depth, columns);
        for (panel, first) in self.panels.chunks_exact_mut((depth * width).max(1)).zip((0..columns).step_by(width)) {
            let some = width.min(columns - first);
            if some < width {
                panel.fill(0.0);
            }
            for column in 0..some {
                let from = &matrix[(first + column) * depth..][..depth];
                for (to, &value) in panel.chunks_exact_mut(width).zip(from) {
                    to[column] = value;
                }
            }
        }
    }

    fn shape(&mut self, depth: usize, columns: usize) -> usize {
        (self.depth, self.columns) = (depth, columns);
        let width = width(columns);
        self.panels.resize(columns.div_ceil(width) * depth * width, 0.0);
        width
    }
}

/// Columns of a panel: those of one vector of sixteen numbers, or two.
fn width(columns: usize) -> usize {
    if columns <= 16 { 16 } else { 32 }
}

/// `product = left · right`, or `product += left · right`; `rows × columns`, row-major.
///
/// # Panics
/// If a factor is not of its shape: that is a mistake of this crate.
pub fn multiply(left: Left<'_>, right: &Right, product: &mut [f32], add: bool) {
    let (depth, columns) = (right.depth, right.columns);
    if columns == 0 || product.is_empty() {
        return;
    }
    let rows = product.len() / columns;
    let (Left::Rows(values) | Left::Columns(values)) = left;
    assert!(product.len() == rows * columns && values.len() == rows * depth, "factors have their shapes");
    if !add {
        product.fill(0.0);
    }
    Arch::new().dispatch(Multiply { left, right, product, rows });
}

struct Multiply<'a> {
    left: Left<'a>,
    right: &'a Right,
    product: &'a mut [f32],
    rows: usize,
}

impl WithSimd for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (S::F32_LANES, width(self.right.columns)) {
            (16, 32) => self.tiles::<S, 12, 2>(simd),
            (16, _) => self.tiles::<S, 12, 1>(simd),
            (8, 32) => self.tiles::<S, 3, 4>(simd),
            (8, _) => self.tiles::<S, 6, 2>(simd),
            (4, 32) => self.tiles::<S, 3, 8>(simd),
            (4, _) => self.tiles::<S, 6, 4>(simd),
            (_, 32) => self.tiles::<S, 1, 32>(simd),
            (..) => self.tiles::<S, 1, 16>(simd),
        }
    }
}

impl Multiply<'_> {
    /// In tiles of `R` rows and `V` vectors.
    #[inline(always)]
    fn tiles<S: Simd, const R: usize, const V: usize>(self, simd: S) {
        let Self { left, right: &Right { depth, columns, ref panels }, product, rows } = self;
        let width = V * S::F32_LANES;
        // A transposed factor has few rows, which stay near while a tile of the product is finished; one that is not may have many,
        // of which a block stays near for all tiles.
        let (outer, inner) = match left {
            Left::Rows(_) => (DEPTH, DEPTH),
            Left::Columns(_) => (depth.max(1), SUMMED),
        };
        for from in (0..depth).step_by(outer) {
            let to = depth.min(from + outer);
            for (panel, first) in panels.chunks_exact(depth * width).zip((0..columns).step_by(width)) {
                let panel = S::as_simd_f32s(panel).0.as_chunks::<V>().0;
                let mut place = Place { product, columns, first, some: width.min(columns - first) };
                let mut row = 0;
                while row < rows {
                    for begin in (from..to).step_by(inner) {
                        let panel = &panel[begin..to.min(begin + inner)];
                        if row + R <= rows {
                            place.add(simd, row, tile::<S, R, V>(simd, left, rows, depth, row, begin, panel));
                        } else {
                            for row in row..rows {
                                place.add(simd, row, tile::<S, 1, V>(simd, left, rows, depth, row, begin, panel));
                            }
                        }
                    }
                    row += R;
                }
            }
        }
    }
}

/// A loop written out: with indices that are known, sums stay in registers.
macro_rules! unrolled {
    ($i:ident < $count:ident $body:block) => {
        unrolled!($i < $count $body 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    ($i:ident < $count:ident $body:block $($at:literal)*) => {
        $(if $count > $at {
            #[allow(non_upper_case_globals)]
            const $i: usize = $at;
            $body
        })*
    };
}

/// `sums += value · vectors`.
#[inline(always)]
fn multiply_add<S: Simd, const V: usize>(simd: S, value: f32, vectors: &[S::f32s; V], sums: &mut [S::f32s; V]) {
    let value = simd.splat_f32s(value);
    if V > 8 {
        // There are no vectors: nothing is lost by a loop.
        sums.iter_mut().zip(vectors).for_each(|(sum, &vector)| *sum = simd.mul_add_e_f32s(value, vector, *sum));
    } else {
        unrolled!(i < V { sums[i] = simd.mul_add_e_f32s(value, vectors[i], sums[i]); });
    }
}

/// `R` rows of the left factor times a panel.
#[inline(always)]
fn tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    left: Left<'_>,
    rows: usize,
    depth: usize,
    row: usize,
    begin: usize,
    panel: &[[S::f32s; V]],
) -> [[S::f32s; V]; R] {
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    match left {
        Left::Rows(values) => {
            let mut lines: [&[f32]; R] = [&[]; R];
            unrolled!(i < R { lines[i] = &values[(row + i) * depth + begin..][..panel.len()]; });
            for (step, vectors) in panel.iter().enumerate() {
                unrolled!(i < R { multiply_add(simd, lines[i][step], vectors, &mut sums[i]); });
            }
        }
        Left::Columns(values) => {
            for (line, vectors) in values[begin * rows..].chunks_exact(rows).zip(panel) {
                let Some(line) = line.get(row..).and_then(|line| line.first_chunk::<R>()) else { break };
                unrolled!(i < R { multiply_add(simd, line[i], vectors, &mut sums[i]); });
            }
        }
    }
    sums
}

/// Where a column of tiles belongs.
struct Place<'a> {
    product: &'a mut [f32],
    columns: usize,
    first: usize,
    some: usize,
}

impl Place<'_> {
    #[inline(always)]
    fn add<S: Simd, const R: usize, const V: usize>(&mut self, simd: S, row: usize, sums: [[S::f32s; V]; R]) {
        for (index, sums) in sums.iter().enumerate() {
            let to = &mut self.product[(row + index) * self.columns + self.first..][..self.some];
            if self.some == V * S::F32_LANES {
                for (to, &sum) in S::as_mut_simd_f32s(to).0.iter_mut().zip(sums) {
                    *to = simd.add_f32s(*to, sum);
                }
            } else {
                for (to, &sum) in to.chunks_mut(S::F32_LANES).zip(sums) {
                    let mut whole = simd.partial_load_f32s(to);
                    whole = simd.add_f32s(whole, sum);
                    simd.partial_store_f32s(to, whole);
                }
            }
        }
    }
}

/// Runs with the widest vectors that there are: loops in it are compiled for them.
#[inline(always)]
pub fn wide<T>(work: impl FnOnce() -> T) -> T {
    struct Work<F>(F);
    impl<T, F: FnOnce() -> T> WithSimd for Work<F> {
        type Output = T;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> T {
            (self.0)()
        }
    }
    Arch::new().dispatch(Work(work))
}

/// The sum of squares, in sixteen strands.
#[inline(always)]
pub fn square(values: &[f32]) -> f32 {
    let mut strands = [0.0_f32; 16];
    let (whole, rest) = values.as_chunks::<16>();
    for values in whole {
        for (strand, value) in strands.iter_mut().zip(values) {
            *strand += value * value;
        }
    }
    let rest: f32 = rest.iter().map(|value| value * value).sum();
    strands.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        })
        .take(count)
        .collect()
    }

    fn slow(left: Left<'_>, right: &[f32], rows: usize, depth: usize, columns: usize) -> Vec<f64> {
        let at = |row: usize, step: usize| match left {
            Left::Rows(values) => values[row * depth + step],
            Left::Columns(values) => values[step * rows + row],
        };
        let cell = |row: usize, column: usize| {
            (0..depth).map(|step| f64::from(at(row, step)) * f64::from(right[step * columns + column])).sum()
        };
        (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).map(|(r, c)| cell(r, c)).collect()
    }

    #[test]
    fn products_are_those_of_the_definition_for_every_shape() {
        for (rows, depth, columns) in
            [(1, 1, 1), (3, 5, 2), (12, 300, 32), (13, 257, 33), (25, 64, 16), (7, 31, 17), (26, 784, 10), (2, 0, 3)]
        {
            let (left, right) = (numbers(rows * depth, 1), numbers(depth * columns, 2));
            let transposed: Vec<f32> = (0..columns)
                .flat_map(|c| (0..depth).map(move |d| (d, c)))
                .map(|(d, c)| right[d * columns + c])
                .collect();
            for left in [Left::Rows(&left), Left::Columns(&left)] {
                let expected = slow(left, &right, rows, depth, columns);
                let mut packed = Right::default();
                packed.lay(&right, depth, columns);
                let mut product = vec![7.0; rows * columns];
                multiply(left, &packed, &mut product, false);
                packed.lay_transposed(&transposed, depth, columns);
                let mut again = vec![0.0; rows * columns];
                multiply(left, &packed, &mut again, true);
                assert_eq!(product, again, "{rows} {depth} {columns}");
                for (value, expected) in product.iter().zip(&expected) {
                    assert!((f64::from(*value) - expected).abs() < 1e-4, "{rows} {depth} {columns}");
                }
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_what_stands_beside_it() {
        let (depth, columns) = (300, 40);
        let left = numbers(29 * depth, 3);
        let mut right = Right::default();
        right.lay(&numbers(depth * columns, 4), depth, columns);
        let mut all = vec![0.0; 29 * columns];
        multiply(Left::Rows(&left), &right, &mut all, false);
        for row in 0..29 {
            let mut one = vec![0.0; columns];
            multiply(Left::Rows(&left[row * depth..][..depth]), &right, &mut one, false);
            assert!(one.iter().zip(&all[row * columns..]).all(|(a, b)| a.to_bits() == b.to_bits()), "row {row}");
        }
    }
}
