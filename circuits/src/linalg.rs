//! Dense matrices in f64, plain loops: deterministic on every machine, so that a compiled graph is.

/// Row-major matrix.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matrix {
    pub rows: usize,
    pub cols: usize,
    pub data: Vec<f64>,
}

impl Matrix {
    pub(crate) fn new(rows: usize, cols: usize, data: Vec<f64>) -> Self {
        debug_assert_eq!(data.len(), rows * cols);
        Self { rows, cols, data }
    }

    pub(crate) fn from_ints(rows: usize, cols: usize, data: &[i32]) -> Self {
        Self::new(rows, cols, data.iter().map(|&x| f64::from(x)).collect())
    }

    pub(crate) fn row(&self, row: usize) -> &[f64] {
        &self.data[row * self.cols..(row + 1) * self.cols]
    }

    pub(crate) fn transpose(&self) -> Self {
        let data =
            (0..self.rows * self.cols).map(|at| self.data[at % self.rows * self.cols + at / self.rows]).collect();
        Self::new(self.cols, self.rows, data)
    }

    pub(crate) fn columns(&self, from: usize, cols: usize) -> Self {
        let data = (0..self.rows).flat_map(|r| self.row(r)[from..from + cols].iter().copied()).collect();
        Self::new(self.rows, cols, data)
    }

    pub(crate) fn rows_from(&self, from: usize, rows: usize) -> Self {
        Self::new(rows, self.cols, self.data[from * self.cols..(from + rows) * self.cols].to_vec())
    }

    /// `self · other`.
    pub(crate) fn times(&self, other: &Self) -> Self {
        let mut out = vec![0.0; self.rows * other.cols];
        for (a, out) in self.data.chunks_exact(self.cols).zip(out.chunks_exact_mut(other.cols)) {
            for (&x, b) in a.iter().zip(other.data.chunks_exact(other.cols)) {
                add_scaled(out, x, b);
            }
        }
        Self::new(self.rows, other.cols, out)
    }

    /// `selfᵀ · v`.
    pub(crate) fn transposed_times(&self, v: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.cols];
        for (row, &x) in self.data.chunks_exact(self.cols).zip(v) {
            add_scaled(&mut out, x, row);
        }
        out
    }

    /// `self · v`.
    pub(crate) fn times_vector(&self, v: &[f64]) -> Vec<f64> {
        self.data.chunks_exact(self.cols).map(|row| dot(row, v)).collect()
    }

    /// `selfᵀ · self`.
    pub(crate) fn gram(&self) -> Self {
        let n = self.cols;
        let mut out = vec![0.0; n * n];
        for row in self.data.chunks_exact(n) {
            for (i, &x) in row.iter().enumerate() {
                add_scaled(&mut out[i * n + i..(i + 1) * n], x, &row[i..]);
            }
        }
        for i in 0..n {
            for j in 0..i {
                out[i * n + j] = out[j * n + i];
            }
        }
        Self::new(n, n, out)
    }

    /// L2 norm of each column.
    pub(crate) fn column_norms(&self) -> Vec<f64> {
        let mut squares = vec![0.0; self.cols];
        for row in self.data.chunks_exact(self.cols) {
            for (s, x) in squares.iter_mut().zip(row) {
                *s += x * x;
            }
        }
        squares.into_iter().map(f64::sqrt).collect()
    }

    /// An upper bound of the spectral norm, usually within a thousandth: an estimate by power iteration, certified by
    /// a Cholesky factorisation of `bound²·I - selfᵀ·self` (whose rounding errors are a millionth of the margin).
    pub(crate) fn spectral_bound(&self) -> f64 {
        let gram = if self.rows < self.cols { self.transpose().gram() } else { self.gram() };
        largest_eigenvalue_bound(&gram).sqrt()
    }

    /// The lower Cholesky factor of a symmetric positive semidefinite matrix plus a tiny multiple of the identity.
    pub(crate) fn cholesky(&self) -> Option<Self> {
        let n = self.rows;
        let mut l = self.data.clone();
        for j in 0..n {
            let (above, below) = l.split_at_mut((j + 1) * n);
            let row_j = &mut above[j * n..];
            let pivot = row_j[j] - dot(&row_j[..j], &row_j[..j]);
            if pivot.is_nan() || pivot <= 0.0 {
                return None;
            }
            let pivot = pivot.sqrt();
            row_j[j] = pivot;
            for row_i in below.chunks_exact_mut(n) {
                row_i[j] = (row_i[j] - dot(&row_i[..j], &row_j[..j])) / pivot;
            }
        }
        for i in 0..n {
            l[i * n + i + 1..(i + 1) * n].fill(0.0);
        }
        Some(Self::new(n, n, l))
    }
}

/// An upper bound of the largest eigenvalue of a symmetric positive semidefinite matrix.
pub(crate) fn largest_eigenvalue_bound(gram: &Matrix) -> f64 {
    let n = gram.rows;
    let trace: f64 = (0..n).map(|i| gram.data[i * n + i]).sum();
    if trace <= 0.0 {
        return 0.0;
    }
    let mut v: Vec<f64> = (0..n).map(|i| 1.0 + (i * 7919 % 31) as f64 / 31.0).collect();
    let mut estimate = 0.0;
    for _ in 0..60 {
        let next = gram.times_vector(&v);
        let length = norm(&next);
        if length == 0.0 {
            break;
        }
        estimate = length / norm(&v);
        v = next.into_iter().map(|x| x / length).collect();
    }
    let mut margin = 1e-3;
    loop {
        let bound = estimate * (1.0 + margin);
        if bound >= trace {
            return trace;
        }
        let mut shifted = gram.clone();
        shifted.data.iter_mut().for_each(|x| *x = -*x);
        (0..n).for_each(|i| shifted.data[i * n + i] += bound);
        if shifted.cholesky().is_some() {
            return bound;
        }
        margin *= 3.0;
    }
}

pub(crate) fn norm(v: &[f64]) -> f64 {
    dot(v, v).sqrt()
}

/// Eight running sums, so that the compiler can use vector registers.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f64 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (a, b) in a8.zip(b8) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f64>() + tail
}

fn add_scaled(out: &mut [f64], x: f64, row: &[f64]) {
    for (o, y) in out.iter_mut().zip(row) {
        *o += x * y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testgraph::Rng;

    #[test]
    fn spectral_bound_is_above_and_close() {
        let mut rng = Rng::new(3);
        for (rows, cols) in [(1, 1), (5, 9), (9, 5), (40, 40), (3, 64)] {
            let data: Vec<f64> = (0..rows * cols).map(|_| rng.between(-1000, 1000) as f64).collect();
            let m = Matrix::new(rows, cols, data);
            let bound = m.spectral_bound();
            let mut v: Vec<f64> = (0..cols).map(|i| 1.0 + i as f64).collect();
            let mut reached = 0.0;
            for _ in 0..2000 {
                let image = m.times_vector(&v);
                reached = norm(&image) / norm(&v);
                let back = m.transposed_times(&image);
                let length = norm(&back);
                v = back.into_iter().map(|x| x / length).collect();
            }
            assert!(reached <= bound && bound <= reached * 1.02, "{rows}x{cols}: {reached} {bound}");
        }
        assert_eq!(Matrix::new(2, 2, vec![0.0; 4]).spectral_bound(), 0.0);
    }

    #[test]
    fn products_agree() {
        let a = Matrix::new(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(a.transpose().times(&a), a.gram());
        assert_eq!(a.columns(1, 2).data, [2.0, 3.0, 5.0, 6.0]);
        assert_eq!(a.rows_from(1, 1).data, [4.0, 5.0, 6.0]);
        let l = a.times(&a.transpose()).cholesky().unwrap();
        let again = l.times(&l.transpose());
        assert!(again.data.iter().zip(&a.times(&a.transpose()).data).all(|(x, y)| (x - y).abs() < 1e-9));
    }
}
