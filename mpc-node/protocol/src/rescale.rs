//! Rescale by a power of two: round half up exactly, or faithfully (at most one off in the last place, without bias).
//!
//! With `m = x + ρ` public and `x' = x + 2^(f-1)` brought into `[0, 2^31)`, `⌊x'/2^f⌋` is
//! `m_hi - ρ_hi - [m_lo < ρ_lo] + 2^(32-f)·[wrap]`, where `wrap = msb(ρ)·(1 - msb(m))`. The carry is one comparison;
//! leaving it out is the faithful form. A result of at most `32 - f` bits needs no wrap.

use sahara_circuits::graph::RescaleUse;

use super::Rounding;
use super::compare::{self, Circuit, Gate};
use super::section::Dealer;
use crate::ring::bits::{self, CHUNK};
use crate::ring::kernels;
use crate::ring::prg::Prg;
use crate::ring::secret::Secret;
use crate::ring::words;

const HALF_RANGE: u32 = 1 << 30;

/// One rescale, as the plan fixes it.
pub(super) struct Rescale {
    shift: u8,
    bits: u8,
    /// The carry's circuit; absent in faithful execution.
    carry: Option<&'static Circuit>,
}

impl Rescale {
    pub(super) fn new(shift: u8, bits: u8, usage: RescaleUse, rounding: Rounding) -> Self {
        let exact = rounding == Rounding::Exact || usage == RescaleUse::Index;
        Self { shift, bits, carry: exact.then(|| Circuit::of(shift)) }
    }

    fn wide(&self) -> bool {
        self.bits + self.shift > 32
    }

    /// Bytes of an opened operand.
    fn opened(&self) -> usize {
        if self.wide() { 4 } else { words::width(self.bits + self.shift) }
    }

    fn result(&self) -> usize {
        words::width(self.bits)
    }

    fn wrap(&self) -> usize {
        words::width(self.shift)
    }

    pub(super) fn rounds(&self) -> u64 {
        self.carry.map_or(1, |circuit| 2 + circuit.rounds())
    }

    pub(super) fn corrections(&self, n: usize) -> u64 {
        let words =
            self.result() * if self.carry.is_some() { 2 } else { 1 } + if self.wide() { self.wrap() } else { 0 };
        self.carry.map_or(0, |c| c.corrections(n)) + (words * n) as u64
    }

    /// The helper's part; `deficit` is what the evaluators' shares of the operand lack.
    pub(super) fn deal(
        &self,
        dealer: &mut Dealer<'_, '_>,
        masks: &mut [Prg; 2],
        n: usize,
        deficit: Option<&[u32]>,
    ) -> std::io::Result<()> {
        let low = words::mask(8 * self.opened() as u8);
        let mut rho = super::helper::mask_words(masks, self.opened(), n);
        if let Some(deficit) = deficit {
            rho.iter_mut().zip(deficit).for_each(|(r, g)| *r = r.wrapping_sub(*g) & low);
        }
        if let Some(circuit) = self.carry {
            compare::deal(dealer, masks, circuit, &rho)?;
        }
        let (mut base, mut beta) = ([0; CHUNK], [0; CHUNK]);
        for part in rho.chunks(CHUNK) {
            let (base, beta) = (&mut base[..part.len()], &mut beta[..part.len()]);
            if self.carry.is_some() {
                bits::spread(&compare::mask_plane(masks, part.len().div_ceil(64)), beta);
            } else {
                beta.fill(0);
            }
            for ((x, b), r) in base.iter_mut().zip(beta.iter()).zip(part) {
                *x = 0u32.wrapping_sub((r >> self.shift) + b);
            }
            dealer.additive(self.result(), base)?;
            if self.carry.is_some() {
                beta.iter_mut().for_each(|b| *b *= 2);
                dealer.additive(self.result(), beta)?;
            }
            if self.wide() {
                base.iter_mut().zip(part).for_each(|(x, r)| *x = r >> 31);
                dealer.additive(self.wrap(), base)?;
            }
        }
        Ok(())
    }

    /// The evaluators' part: shares of the operand in, shares of the result out.
    pub(super) async fn evaluate(&self, gate: &mut Gate, shares: &[u32]) -> Vec<u32> {
        // Without the carry the result is rounded up as often as the dropped bits ask: half a unit more would be a bias.
        let half = if self.carry.is_some() { 1u32 << (self.shift - 1) } else { 0 };
        let offset = if self.wide() { HALF_RANGE + half } else { half };
        let mut m = gate.open(self.opened(), shares).await;
        let low = words::mask(8 * self.opened() as u8);
        m.iter_mut().for_each(|m| *m = m.wrapping_add(offset) & low);
        let carry = match self.carry {
            Some(circuit) => {
                let planes = gate.less_than(circuit, &m).await;
                gate.open_bits(&planes, m.len()).await
            }
            None => Secret::default(),
        };
        let unit = if self.wide() { HALF_RANGE >> self.shift } else { 0 };
        let known = if gate.first { u32::MAX } else { 0 };
        let (mut base, mut twice, mut v) = ([0; CHUNK], [0; CHUNK], [0; CHUNK]);
        for (c, part) in m.chunks_mut(CHUNK).enumerate() {
            let n = part.len();
            let (base, twice, v) = (&mut base[..n], &mut twice[..n], &mut v[..n]);
            gate.dealt.additive(self.result(), base);
            if self.carry.is_some() {
                gate.dealt.additive(self.result(), twice);
                bits::spread(&carry[c], v);
                kernels::add_where(base, twice, v);
            }
            if self.wide() {
                gate.dealt.additive(self.wrap(), twice);
                kernels::add_where_low(base, twice, 32 - self.shift, part);
            }
            // Without a carry `v` is zero.
            kernels::rescaled(part, base, v, self.shift, unit, known);
        }
        m.into_vec()
    }
}
