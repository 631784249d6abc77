//! Table lookup at a shared index: the masked index is opened, the mask is dealt as an XOR-shared one-hot vector.
//!
//! Each evaluator sums the table entries that its half selects. The halves differ in one place only, so the sums
//! differ by plus or minus the entry; the helper knows the sign `s` and deals it. `T[x] = s·(Ũ - μ)` with `Ũ` opened.
//! Entries of at most 15 bits are opened modulo 2^16 and lifted: the wrap is `msb(μ)·(1 - msb(Ũ))`, as in a rescale.

use std::sync::Arc;

use sahara_circuits::graph::Table;

use super::compare::Gate;
use super::section::Dealer;
use crate::ring::bits::CHUNK;
use crate::ring::kernels;
use crate::ring::prg::Prg;
use crate::ring::secret::Secret;
use crate::ring::words;

/// Brings a narrow entry of either sign into `[0, 2^15)`.
const OFFSET: u32 = 1 << 14;

/// One lookup, as the plan fixes it. Cheap to clone: all lookups of a table share its entries.
#[derive(Clone)]
pub(super) struct Lookup {
    bits: u8,
    /// All entries lie in `(-2^14, 2^14)`.
    narrow: bool,
    /// `entries[(-j) mod N]` for `j` in `0..2N`: the window from `-u` on holds `T[u], T[u-1], …`.
    reversed: Arc<[u32]>,
}

impl Lookup {
    /// Rounds of a lookup.
    pub(super) const ROUNDS: u64 = 2;

    pub(super) fn new(table: &Table) -> Self {
        let n = table.entries.len();
        let reversed = (0..2 * n).map(|j| table.entries[(2 * n - j) % n] as u32).collect();
        Self { reversed, ..Self::sized(table) }
    }

    /// The lookup without its entries: enough for what it costs.
    pub(super) fn sized(table: &Table) -> Self {
        let narrow = table.entries.iter().all(|e| e.unsigned_abs() < OFFSET);
        Self { bits: table.bits(), narrow, reversed: Arc::default() }
    }

    fn vector(&self) -> usize {
        1 << (self.bits - 3)
    }

    /// Width of an opened entry, and what is added to make it non-negative.
    fn opened(&self) -> (usize, u32) {
        if self.narrow { (2, OFFSET) } else { (4, 0) }
    }

    pub(super) fn corrections(&self, n: usize) -> u64 {
        ((self.vector() + if self.narrow { 10 } else { 8 }) * n) as u64
    }

    /// The helper's part.
    pub(super) fn deal(&self, dealer: &mut Dealer<'_, '_>, masks: &mut [Prg; 2], n: usize) -> std::io::Result<()> {
        let low = words::mask(self.bits);
        let mut hot = super::helper::mask_words(masks, words::width(self.bits), n);
        hot.iter_mut().for_each(|h| *h &= low);
        let mut flipped = Vec::with_capacity(n);
        let dealt = dealer.one_hot(self.vector(), &hot, &mut flipped);
        let flipped = Secret::from(flipped);
        dealt?;
        let (width, offset) = self.opened();
        for part in flipped.chunks(CHUNK) {
            let signs = part.iter().map(|f| if *f { u32::MAX } else { 1 });
            let signs = Secret::from(signs.collect::<Vec<u32>>());
            let mu = super::helper::mask_words(masks, width, part.len());
            let product = |f: fn(u32) -> u32, offset: u32| {
                let all = mu.iter().zip(signs.iter()).map(|(m, s)| f(*m).wrapping_add(offset).wrapping_mul(*s));
                Secret::from(all.collect::<Vec<u32>>())
            };
            dealer.additive(4, &signs)?;
            dealer.additive(4, &product(|m| m, offset))?;
            if self.narrow {
                dealer.additive(2, &product(|m| m >> 15, 0))?;
            }
        }
        Ok(())
    }

    /// The evaluators' part: shares of the index in, shares of the entry out.
    pub(super) async fn evaluate(&self, gate: &mut Gate, shares: &[u32]) -> Vec<u32> {
        let entries = self.reversed.len() / 2;
        let index = gate.open(words::width(self.bits), shares).await;
        let mut sums = Vec::with_capacity(index.len());
        let (bytes, first) = (self.vector(), gate.first);
        let mut buffer = Secret::default();
        for part in index.chunks(CHUNK) {
            gate.dealt.one_hot(part.len() * bytes, &mut buffer, |vectors| {
                for (vector, u) in vectors.chunks_exact(bytes).zip(part) {
                    let start = (entries - (*u as usize & (entries - 1))) & (entries - 1);
                    let sum = kernels::selected_sum(vector, &self.reversed, start);
                    sums.push(if first { sum } else { 0u32.wrapping_sub(sum) });
                }
            });
        }
        drop(buffer);
        let (width, offset) = self.opened();
        if first {
            sums.iter_mut().for_each(|u| *u = u.wrapping_add(offset));
        }
        let sums = Secret::from(sums);
        let mut opened = gate.open(width, &sums).await;
        let (mut sign, mut mu, mut wrap) = ([0; CHUNK], [0; CHUNK], [0; CHUNK]);
        for part in opened.chunks_mut(CHUNK) {
            let n = part.len();
            let (sign, mu, wrap) = (&mut sign[..n], &mut mu[..n], &mut wrap[..n]);
            gate.dealt.additive(4, sign);
            gate.dealt.additive(4, mu);
            if self.narrow {
                gate.dealt.additive(2, wrap);
            }
            kernels::looked_up(part, sign, mu, wrap);
        }
        opened.into_vec()
    }
}
