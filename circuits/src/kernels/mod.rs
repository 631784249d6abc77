//! Matrix products modulo 2^32: the one hot loop of every executor.
//!
//! `C += A·B`, row-major, wrapping. `B` is packed once into panels of 16 columns and depth blocks of 256 rows
//! ([`PackedB`]); `A` is read in place. On x86 an AVX-512 or AVX2 kernel is chosen at run time, on 64-bit ARM there is
//! one for NEON; [`gemm_scalar`] is their twin and gives the same bytes. This is the only module of the crate with `unsafe` code.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

/// Columns of a packed panel.
const NR: usize = 16;
/// Depth of a packed block: a panel of `KC × NR` words is 16 KiB and stays in the first-level cache.
const KC: usize = 256;
/// Rows taken per pass over the panels, so that this part of `A` stays in the second-level cache: whole tiles of each
/// kernel.
const MC: usize = 240;

/// A right-hand side `k × n` in the order the kernels read it: depth blocks, in each the column panels, padded with zeros.
#[derive(Clone)]
pub struct PackedB {
    k: usize,
    n: usize,
    words: Vec<u32>,
}

impl PackedB {
    /// Inner dimension.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Columns.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.words.len() * 4
    }

    fn panels(&self) -> usize {
        self.n.div_ceil(NR)
    }

    /// `take` panels, of columns `panel·NR..`, in the depth block starting at `k0`.
    fn panel(&self, k0: usize, kc: usize, panel: usize, take: usize) -> &[u32] {
        let start = (k0 * self.panels() + panel * kc) * NR;
        &self.words[start..start + take * kc * NR]
    }
}

/// Which kernel to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Simd {
    /// The best kernel this machine has.
    #[default]
    Auto,
    /// The portable twin.
    Scalar,
}

/// Packs row-major `b` (`k × n`).
///
/// # Panics
/// If `b.len() != k * n`.
pub fn pack_b(k: usize, n: usize, b: &[u32]) -> PackedB {
    assert_eq!(b.len(), k * n, "right-hand side is not k × n");
    pack_with(k, n, |row, col, out| {
        let from = row * n + col;
        out.copy_from_slice(&b[from..from + out.len()]);
    })
}

/// Packs the transpose of row-major `bt` (`n × k`), as a `k × n` right-hand side.
///
/// # Panics
/// If `bt.len() != n * k`.
pub fn pack_b_transposed(k: usize, n: usize, bt: &[u32]) -> PackedB {
    assert_eq!(bt.len(), k * n, "right-hand side is not (k × n)ᵀ");
    pack_with(k, n, |row, col, out| {
        for (i, o) in out.iter_mut().enumerate() {
            *o = bt[(col + i) * k + row];
        }
    })
}

fn pack_with(k: usize, n: usize, fill: impl Fn(usize, usize, &mut [u32])) -> PackedB {
    let panels = n.div_ceil(NR);
    let mut words = vec![0u32; k * panels * NR];
    let mut at = 0;
    for k0 in (0..k).step_by(KC) {
        let kc = KC.min(k - k0);
        for panel in 0..panels {
            let col = panel * NR;
            let width = NR.min(n - col);
            for row in k0..k0 + kc {
                fill(row, col, &mut words[at..at + width]);
                at += NR;
            }
        }
    }
    PackedB { k, n, words }
}

/// `C += A·B` with the best kernel of this machine; `a` is `m × k`, `c` is `m × n`.
///
/// # Panics
/// If a slice has not the length its shape asks for.
pub fn gemm(m: usize, a: &[u32], b: &PackedB, c: &mut [u32]) {
    gemm_threads(1, Simd::Auto, m, a, b, c);
}

/// The portable twin of [`gemm`]; the same bytes.
///
/// # Panics
/// As [`gemm`].
pub fn gemm_scalar(m: usize, a: &[u32], b: &PackedB, c: &mut [u32]) {
    gemm_threads(1, Simd::Scalar, m, a, b, c);
}

/// [`gemm`] with the rows split over `threads` threads (0 and 1 mean the calling one); the same bytes for any number.
///
/// # Panics
/// As [`gemm`].
pub fn gemm_threads(threads: usize, simd: Simd, m: usize, a: &[u32], b: &PackedB, c: &mut [u32]) {
    assert_eq!(a.len(), m * b.k, "left-hand side is not m × k");
    assert_eq!(c.len(), m * b.n, "result is not m × n");
    if m == 0 || b.k == 0 || b.n == 0 {
        return;
    }
    let kernel = match simd {
        Simd::Auto => Kernel::best(),
        Simd::Scalar => Kernel::Scalar,
    };
    split_rows(threads, kernel, m, a, b, c);
}

fn split_rows(threads: usize, kernel: Kernel, m: usize, a: &[u32], b: &PackedB, c: &mut [u32]) {
    let rows = m.div_ceil(threads.max(1)).next_multiple_of(kernel.rows());
    if rows >= m {
        return rows_into(kernel, a, b, c);
    }
    std::thread::scope(|scope| {
        for (a, c) in a.chunks(rows * b.k).zip(c.chunks_mut(rows * b.n)) {
            scope.spawn(move || rows_into(kernel, a, b, c));
        }
    });
}

fn rows_into(kernel: Kernel, a: &[u32], b: &PackedB, c: &mut [u32]) {
    let parts = a.chunks(MC * b.k).zip(c.chunks_mut(MC * b.n));
    for (a, c) in parts {
        for k0 in (0..b.k).step_by(KC) {
            let kc = KC.min(b.k - k0);
            let mut panel = 0;
            while panel < b.panels() {
                let take = kernel.panels().min(b.panels() - panel);
                let block = Block { a, k: b.k, k0, kc, n: b.n, col: panel * NR };
                kernel.multiply(&block, b.panel(k0, kc, panel, take), c);
                panel += take;
            }
        }
    }
}

/// How a block is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Scalar,
}

impl Kernel {
    /// What this machine has, the best first.
    fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vector = [
            std::arch::is_x86_feature_detected!("avx512f").then_some(Self::Avx512),
            std::arch::is_x86_feature_detected!("avx2").then_some(Self::Avx2),
        ];
        #[cfg(target_arch = "aarch64")]
        let vector = [Some(Self::Neon)];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let vector: [Option<Self>; 0] = [];
        vector.into_iter().flatten().chain([Self::Scalar])
    }

    fn best() -> Self {
        Self::available().next().unwrap_or(Self::Scalar)
    }

    /// Rows of a register tile.
    const fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::ROWS,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::ROWS,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => neon::ROWS,
            Self::Scalar => 1,
        }
    }

    /// Panels taken at a time.
    const fn panels(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 2,
            _ => 1,
        }
    }

    fn multiply(self, block: &Block<'_>, packed: &[u32], c: &mut [u32]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the kernel is offered only where AVX-512F was detected.
            Self::Avx512 => unsafe { avx512::panels(block, packed, c) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the kernel is offered only where AVX2 was detected.
            Self::Avx2 => unsafe { avx2::panel(block, packed, c) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: every 64-bit ARM processor has NEON.
            Self::Neon => unsafe { neon::panel(block, packed, c) },
            Self::Scalar => scalar::panel(block, packed, c),
        }
    }
}

/// Column panels of one depth block: where to read `A` and write `C`.
struct Block<'a> {
    /// Rows of `A`, `k` words each.
    a: &'a [u32],
    k: usize,
    k0: usize,
    kc: usize,
    n: usize,
    col: usize,
}
