//! Table lookup at a shared index: the masked index is opened, the mask is dealt as an XOR-shared one-hot vector.
//!
//! Each evaluator sums the table entries that its half selects. The halves differ in one place only, so the sums
//! differ by plus or minus the entry; the helper knows the sign `s` and deals it. `T[x] = s·(Ũ - μ)` with `Ũ` opened.
//! Entries of at most 15 bits are opened modulo 2^16 and lifted: the wrap is `msb(μ)·(1 - msb(Ũ))`, as in a rescale.

use std::sync::Arc;

use sahara_circuits::graph::Table;

use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::gate::{Deals, Evaluates, Form, Gate, GateCost, MASKED_SCRATCH};
use crate::outgoing::CHUNK_BYTES;
use crate::ring::bits::CHUNK;
use crate::ring::kernels;
use crate::ring::secret::Secret;
use crate::ring::words;

/// Brings a narrow entry of either sign into `[0, 2^15)`.
const OFFSET: u32 = 1 << 14;

/// A table as lookups read it. Cheap to clone: all lookups of a table share its entries.
#[derive(Clone)]
pub(crate) struct LookupTable {
    bits: u8,
    /// All entries lie in `(-2^14, 2^14)`.
    narrow: bool,
    /// `entries[(-j) mod N]` for `j` in `0..2N`: the window from `-u` on holds `T[u], T[u-1], …`.
    reversed: Arc<[u32]>,
}

impl LookupTable {
    pub(crate) fn new(table: &Table) -> Self {
        let n = table.entries.len();
        let reversed = (0..2 * n).map(|j| table.entries[(2 * n - j) % n] as u32).collect();
        Self { reversed, ..Self::sized(table) }
    }

    /// The table without its entries: enough for what a lookup costs.
    pub(crate) fn sized(table: &Table) -> Self {
        let narrow = table.entries.iter().all(|e| e.unsigned_abs() < OFFSET);
        Self { bits: table.bits(), narrow, reversed: Arc::default() }
    }

    /// Bytes of a one-hot vector.
    fn vector(&self) -> usize {
        1 << (self.bits - 3)
    }

    /// Width in which an entry is opened, and what is added to make it non-negative.
    fn entry_form(&self) -> (usize, u32) {
        if self.narrow { (2, OFFSET) } else { (4, 0) }
    }

    /// The own half of each selected entry, from the opened indices.
    fn select(&self, context: &mut EvalContext<'_>, index: &[u32]) -> Secret<u32> {
        let entries = self.reversed.len() / 2;
        let mut sums = Vec::with_capacity(index.len());
        let (bytes, first) = (self.vector(), context.first);
        let mut buffer = Secret::default();
        for part in index.chunks(CHUNK) {
            context.dealt.one_hot(part.len() * bytes, &mut buffer, |vectors| {
                for (vector, u) in vectors.chunks_exact(bytes).zip(part) {
                    let start = (entries - (*u as usize & (entries - 1))) & (entries - 1);
                    let sum = kernels::selected_sum(vector, &self.reversed, start);
                    sums.push(if first { sum } else { 0u32.wrapping_sub(sum) });
                }
            });
        }
        if first {
            let (_, offset) = self.entry_form();
            sums.iter_mut().for_each(|u| *u = u.wrapping_add(offset));
        }
        sums.into()
    }

    /// Shares of the entries, from the opened sums.
    fn unmask(&self, context: &mut EvalContext<'_>, mut sums: Secret<u32>) -> Vec<u32> {
        let (mut sign, mut mu, mut wrap) = ([0; CHUNK], [0; CHUNK], [0; CHUNK]);
        for part in sums.chunks_mut(CHUNK) {
            let n = part.len();
            let (sign, mu, wrap) = (&mut sign[..n], &mut mu[..n], &mut wrap[..n]);
            context.dealt.additive(4, sign);
            context.dealt.additive(4, mu);
            if self.narrow {
                context.dealt.additive(2, wrap);
            }
            kernels::looked_up(part, sign, mu, wrap);
        }
        sums.into_vec()
    }

    /// Of at most a chunk: the signs, and the masks of the sums multiplied by them.
    fn deal_signs(&self, context: &mut DealContext<'_>, flipped: &[bool]) {
        let (width, offset) = self.entry_form();
        let signs = Secret::from(flipped.iter().map(|f| if *f { u32::MAX } else { 1 }).collect::<Vec<u32>>());
        let mu = context.mask_words(width, flipped.len());
        let product = |f: fn(u32) -> u32, offset: u32| {
            let all = mu.iter().zip(signs.iter()).map(|(m, s)| f(*m).wrapping_add(offset).wrapping_mul(*s));
            Secret::from(all.collect::<Vec<u32>>())
        };
        context.additive(4, &signs);
        context.additive(4, &product(|m| m, offset));
        if self.narrow {
            context.additive(2, &product(|m| m >> 15, 0));
        }
    }
}

/// One lookup.
pub(crate) struct Lookup {
    table: LookupTable,
    len: usize,
}

impl Lookup {
    pub(crate) fn new(table: LookupTable, len: usize) -> Self {
        Self { table, len }
    }
}

impl Gate for Lookup {
    fn reads(&self) -> Form {
        Form::Shares
    }

    fn cost(&self) -> GateCost {
        let table = &self.table;
        let elements = self.len as u64;
        GateCost {
            corrections: ((table.vector() + if table.narrow { 10 } else { 8 }) * self.len) as u64,
            rounds: 2,
            // A selected sum over all entries.
            products: elements.saturating_mul((8 * table.vector() as u64).div_ceil(16)),
            scratch: MASKED_SCRATCH * elements,
            ..GateCost::default()
        }
    }

    fn deal<'a>(&'a self, context: &'a mut DealContext<'_>) -> Deals<'a> {
        Box::pin(async move {
            let table = &self.table;
            let mut hot = context.mask_words(words::width(table.bits), self.len);
            let low = words::low_bits(table.bits);
            hot.iter_mut().for_each(|h| *h &= low);
            let mut flipped = Secret::from(vec![false; self.len]);
            let part = (CHUNK_BYTES / table.vector()).max(1);
            for (hot, flipped) in hot.chunks(part).zip(flipped.chunks_mut(part)) {
                context.one_hot(table.vector(), hot, flipped);
                context.pause().await;
            }
            for part in flipped.chunks(CHUNK) {
                table.deal_signs(context, part);
                context.pause().await;
            }
        })
    }

    fn evaluate<'a>(&'a self, context: &'a mut EvalContext<'_>) -> Evaluates<'a> {
        Box::pin(async move {
            let shares = context.shares(0).await;
            let index = context.open(words::width(self.table.bits), &shares).await;
            let sums = self.table.select(context, &index);
            let (width, _) = self.table.entry_form();
            let sums = context.open(width, &sums).await;
            self.table.unmask(context, sums)
        })
    }
}
