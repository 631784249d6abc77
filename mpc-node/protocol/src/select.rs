//! Gates that multiply a shared number by a compared bit: row maximum, clamp, step function.
//!
//! A bit is opened as `v = b ⊕ γ`; with `γ` and `γ·ρ` dealt, `b·(u - ρ)` is linear in the dealt words.

use super::compare::{self, Circuit, Gate};
use super::section::Dealer;
use crate::ring::bits::{self, CHUNK, Plane};
use crate::ring::kernels;
use crate::ring::prg::Prg;
use crate::ring::secret::Secret;
use crate::ring::words;

/// `b·(u - ρ)` for a compared bit `b`: deals `γ` and `γ·ρ`.
fn deal_product(dealer: &mut Dealer<'_, '_>, masks: &mut [Prg; 2], width: usize, rho: &[u32]) -> std::io::Result<()> {
    let mut gamma = [0; CHUNK];
    for part in rho.chunks(CHUNK) {
        let gamma = &mut gamma[..part.len()];
        bits::spread(&compare::mask_plane(masks, part.len().div_ceil(64)), gamma);
        dealer.additive(width, gamma)?;
        gamma.iter_mut().zip(part).for_each(|(g, r)| *g *= r);
        dealer.additive(width, gamma)?;
    }
    Ok(())
}

/// Shares of `b·(u - ρ)`; `v` is the opened bit, `mask` the own share of `ρ`.
fn product(gate: &mut Gate, width: usize, v: &[Plane], public: &[u32], mask: &[u32]) -> Vec<u32> {
    let mut all = vec![0; public.len()];
    let (mut gamma, mut cross, mut bit) = ([0; CHUNK], [0; CHUNK], [0; CHUNK]);
    let known = if gate.first { u32::MAX } else { 0 };
    let parts = all.chunks_mut(CHUNK).zip(public.chunks(CHUNK)).zip(mask.chunks(CHUNK));
    for (((out, public), mask), v) in parts.zip(v) {
        let n = out.len();
        let (gamma, cross, bit) = (&mut gamma[..n], &mut cross[..n], &mut bit[..n]);
        gate.dealt.additive(width, gamma);
        gate.dealt.additive(width, cross);
        bits::spread(v, bit);
        kernels::chosen(out, public, mask, bit, gamma, cross, known);
    }
    all
}

/// Row maximum by a tournament: each level halves the row.
pub(super) struct RowMax {
    bits: u8,
    cols: usize,
    sign: &'static Circuit,
}

impl RowMax {
    pub(super) fn new(bits: u8, cols: usize) -> Self {
        Self { bits, cols, sign: Circuit::of(bits - 1) }
    }

    fn width(&self) -> usize {
        words::width(self.bits)
    }

    /// Row lengths at the start of each level.
    fn levels(&self) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(self.cols), |n| Some(n.div_ceil(2))).take_while(|n| *n > 1)
    }

    pub(super) fn rounds(&self) -> u64 {
        self.levels().count() as u64 * (2 + self.sign.rounds())
    }

    pub(super) fn corrections(&self, rows: usize) -> u64 {
        self.levels()
            .map(|cols| {
                let n = rows * (cols / 2);
                compare::msb_corrections(self.sign, n) + (2 * self.width() * n) as u64
            })
            .sum()
    }

    pub(super) fn deal(&self, dealer: &mut Dealer<'_, '_>, masks: &mut [Prg; 2], rows: usize) -> std::io::Result<()> {
        for cols in self.levels() {
            let mut rho = super::helper::mask_words(masks, self.width(), rows * (cols / 2));
            let low = words::mask(self.bits);
            rho.iter_mut().for_each(|r| *r &= low);
            compare::deal_msb(dealer, masks, self.sign, self.bits, &rho)?;
            deal_product(dealer, masks, self.width(), &rho)?;
        }
        Ok(())
    }

    pub(super) async fn evaluate(&self, gate: &mut Gate, shares: &[u32]) -> Vec<u32> {
        let low = words::mask(self.bits);
        let mut rows = Secret::from(shares.to_vec());
        for cols in self.levels() {
            let half = cols / 2;
            let differences: Secret<u32> = rows
                .chunks_exact(cols)
                .flat_map(|row| row[..half].iter().zip(&row[cols - half..]))
                .map(|(a, b)| a.wrapping_sub(*b))
                .collect::<Vec<u32>>()
                .into();
            let (mut public, mask) = gate.open_words(self.width(), &differences).await;
            public.iter_mut().for_each(|u| *u &= low);
            let negative = gate.msb(self.sign, self.bits, &public).await;
            let v = gate.open_bits(&negative, public.len()).await;
            let drop = Secret::from(product(gate, self.width(), &v, &public, &mask));
            let keep = cols - half;
            let mut next = Vec::with_capacity(rows.len() / cols * keep);
            for (row, drop) in rows.chunks_exact(cols).zip(drop.chunks_exact(half)) {
                next.extend(row[..half].iter().zip(drop).map(|(a, d)| a.wrapping_sub(*d)));
                next.extend_from_slice(&row[half..keep]);
            }
            rows = next.into();
        }
        rows.into_vec()
    }
}

/// `min(x, 2^index_bits - 1)` for a non-negative `x`.
pub(super) struct Clamp {
    bits: u8,
    index_bits: u8,
    sign: &'static Circuit,
}

impl Clamp {
    pub(super) fn new(bits: u8, index_bits: u8) -> Self {
        Self { bits, index_bits, sign: Circuit::of(bits - 1) }
    }

    pub(super) fn rounds(&self) -> u64 {
        2 + self.sign.rounds()
    }

    pub(super) fn corrections(&self, n: usize) -> u64 {
        compare::msb_corrections(self.sign, n) + (2 * words::width(self.index_bits) * n) as u64
    }

    pub(super) fn deal(&self, dealer: &mut Dealer<'_, '_>, masks: &mut [Prg; 2], n: usize) -> std::io::Result<()> {
        let mut rho = super::helper::mask_words(masks, words::width(self.bits), n);
        let low = words::mask(self.bits);
        rho.iter_mut().for_each(|r| *r &= low);
        compare::deal_msb(dealer, masks, self.sign, self.bits, &rho)?;
        deal_product(dealer, masks, words::width(self.index_bits), &rho)
    }

    pub(super) async fn evaluate(&self, gate: &mut Gate, shares: &[u32]) -> Vec<u32> {
        let low = words::mask(self.bits);
        let top = words::mask(self.index_bits);
        let (mut public, mask) = gate.open_words(words::width(self.bits), shares).await;
        public.iter_mut().for_each(|u| *u = u.wrapping_sub(top + 1) & low);
        let small = gate.msb(self.sign, self.bits, &public).await;
        let v = gate.open_bits(&small, public.len()).await;
        // x - top = (u - top - 1) + 1 - ρ
        public.iter_mut().for_each(|u| *u = u.wrapping_add(1));
        let mut out = product(gate, words::width(self.index_bits), &v, &public, &mask);
        if gate.first {
            out.iter_mut().for_each(|y| *y = y.wrapping_add(top));
        }
        out
    }
}

/// `base + Σ weight_k·[x ≥ threshold_k]` of an opened, non-negative `x`.
pub(super) struct StepFunction {
    bits: u8,
    base: u32,
    steps: Vec<(u32, u32)>,
    sign: &'static Circuit,
}

impl StepFunction {
    pub(super) fn new(bits: u8, base: i32, steps: &[(u32, i32)]) -> Self {
        let steps = steps.iter().map(|(t, w)| (*t, *w as u32)).collect();
        Self { bits, base: base as u32, steps, sign: Circuit::of(bits - 1) }
    }

    pub(super) fn rounds(&self) -> u64 {
        1 + self.sign.rounds()
    }

    pub(super) fn corrections(&self, n: usize) -> u64 {
        let all = n * self.steps.len();
        compare::msb_corrections(self.sign, all) + (4 * all) as u64
    }

    /// `rho` is the mask that the operand was opened with.
    pub(super) fn deal(&self, dealer: &mut Dealer<'_, '_>, masks: &mut [Prg; 2], rho: &[u32]) -> std::io::Result<()> {
        let low = words::mask(self.bits);
        let all = self.steps.iter().flat_map(|_| rho.iter().map(|r| r & low));
        let all = Secret::from(all.collect::<Vec<u32>>());
        compare::deal_msb(dealer, masks, self.sign, self.bits, &all)?;
        let mut gamma = [0; CHUNK];
        for part in all.chunks(CHUNK) {
            let gamma = &mut gamma[..part.len()];
            bits::spread(&compare::mask_plane(masks, part.len().div_ceil(64)), gamma);
            dealer.additive(4, gamma)?;
        }
        Ok(())
    }

    pub(super) async fn evaluate(&self, gate: &mut Gate, public: &[u32]) -> Vec<u32> {
        let low = words::mask(self.bits);
        let shifted: Vec<u32> =
            self.steps.iter().flat_map(|(t, _)| public.iter().map(move |m| m.wrapping_sub(*t) & low)).collect();
        let below = gate.msb(self.sign, self.bits, &shifted).await;
        let v = gate.open_bits(&below, shifted.len()).await;
        let all = self.steps.iter().fold(self.base, |sum, (_, w)| sum.wrapping_add(*w));
        let mut out = vec![if gate.first { all } else { 0 }; public.len()];
        let (mut gamma, mut bit) = ([0; CHUNK], [0; CHUNK]);
        let mut at = 0;
        for (c, part) in shifted.chunks(CHUNK).enumerate() {
            gate.dealt.additive(4, &mut gamma[..part.len()]);
            bits::spread(&v[c], &mut bit[..part.len()]);
            for i in 0..part.len() {
                let (step, element) = (at / public.len(), at % public.len());
                let (v, g) = (bit[i], gamma[i]);
                let known = if gate.first { v } else { 0 };
                let share = known.wrapping_add(1u32.wrapping_sub(2 * v).wrapping_mul(g));
                out[element] = out[element].wrapping_sub(self.steps[step].1.wrapping_mul(share));
                at += 1;
            }
        }
        out
    }
}
