//! Rescale by a power of two: round half up exactly, or faithfully (at most one off in the last place, without bias).
//!
//! With `m = x + ρ` public and `x' = x + 2^(f-1)` brought into `[0, 2^31)`, `⌊x'/2^f⌋` is
//! `m_hi - ρ_hi - [m_lo < ρ_lo] + 2^(32-f)·[wrap]`, where `wrap = msb(ρ)·(1 - msb(m))`. The carry is one comparison;
//! leaving it out is the faithful form. A result of at most `32 - f` bits needs no wrap.

use sahara_circuits::graph::RescaleUse;

use crate::compare::{self, Circuit};
use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::gate::{Deals, Evaluates, Form, Gate, GateCost, MASKED_SCRATCH};
use crate::ring::bits::{self, CHUNK};
use crate::ring::kernels;
use crate::ring::secret::Secret;
use crate::ring::words;
use crate::roles::Rounding;

const HALF_RANGE: u32 = 1 << 30;

/// One rescale.
pub(crate) struct Rescale {
    shift: u8,
    bits: u8,
    /// The carry's circuit; absent in faithful execution.
    carry: Option<&'static Circuit>,
    len: usize,
}

impl Rescale {
    pub(crate) fn new(shift: u8, bits: u8, usage: RescaleUse, rounding: Rounding, len: usize) -> Self {
        let exact = rounding == Rounding::Exact || usage == RescaleUse::Index;
        Self { shift, bits, carry: exact.then(|| Circuit::of(shift)), len }
    }

    fn wide(&self) -> bool {
        self.bits + self.shift > 32
    }

    /// Bytes in which the operand is opened.
    fn operand_width(&self) -> usize {
        if self.wide() { 4 } else { words::width(self.bits + self.shift) }
    }

    fn result_width(&self) -> usize {
        words::width(self.bits)
    }

    fn wrap_width(&self) -> usize {
        words::width(self.shift)
    }

    /// Of at most a chunk: `-ρ_hi - β`, `2β`, and the wrap bit.
    fn deal_chunk(&self, context: &mut DealContext<'_>, rho: &[u32]) {
        let (mut base, mut beta) = ([0; CHUNK], [0; CHUNK]);
        let (base, beta) = (&mut base[..rho.len()], &mut beta[..rho.len()]);
        if self.carry.is_some() {
            bits::spread(&context.mask_plane(rho.len().div_ceil(64)), beta);
        }
        for ((x, b), r) in base.iter_mut().zip(beta.iter()).zip(rho) {
            *x = 0u32.wrapping_sub((r >> self.shift) + b);
        }
        context.additive(self.result_width(), base);
        if self.carry.is_some() {
            beta.iter_mut().for_each(|b| *b *= 2);
            context.additive(self.result_width(), beta);
        }
        if self.wide() {
            base.iter_mut().zip(rho).for_each(|(x, r)| *x = r >> 31);
            context.additive(self.wrap_width(), base);
        }
    }

    /// Shares of the result, from the opened `m` and the opened carries.
    fn combine(&self, context: &mut EvalContext<'_>, mut m: Secret<u32>, carry: &[bits::Plane]) -> Vec<u32> {
        let unit = if self.wide() { HALF_RANGE >> self.shift } else { 0 };
        let known = context.public_once();
        let (mut base, mut twice, mut v) = ([0; CHUNK], [0; CHUNK], [0; CHUNK]);
        for (c, part) in m.chunks_mut(CHUNK).enumerate() {
            let n = part.len();
            let (base, twice, v) = (&mut base[..n], &mut twice[..n], &mut v[..n]);
            context.dealt.additive(self.result_width(), base);
            if self.carry.is_some() {
                context.dealt.additive(self.result_width(), twice);
                bits::spread(&carry[c], v);
                kernels::add_where(base, twice, v);
            }
            if self.wide() {
                context.dealt.additive(self.wrap_width(), twice);
                kernels::add_where_low(base, twice, 32 - self.shift, part);
            }
            // Without a carry `v` is zero.
            kernels::rescaled(part, base, v, self.shift, unit, known);
        }
        m.into_vec()
    }
}

impl Gate for Rescale {
    fn reads(&self) -> Form {
        Form::Deficient
    }

    fn cost(&self) -> GateCost {
        let results = self.result_width() * if self.carry.is_some() { 2 } else { 1 };
        let words = results + if self.wide() { self.wrap_width() } else { 0 };
        GateCost {
            corrections: self.carry.map_or(0, |c| c.corrections(self.len)) + (words * self.len) as u64,
            rounds: self.carry.map_or(1, |circuit| 2 + circuit.rounds()),
            scratch: MASKED_SCRATCH * self.len as u64,
            ..GateCost::default()
        }
    }

    fn deal<'a>(&'a self, context: &'a mut DealContext<'_>) -> Deals<'a> {
        Box::pin(async move {
            let mut rho = context.mask_words(self.operand_width(), self.len);
            // What the evaluators' shares lack, the opened value lacks too: as if the mask were that much less.
            if let Some(deficit) = context.operand_deficit(0) {
                let low = words::low_bits(8 * self.operand_width() as u8);
                rho.iter_mut().zip(deficit).for_each(|(r, g)| *r = r.wrapping_sub(*g) & low);
            }
            if let Some(circuit) = self.carry {
                compare::deal(context, circuit, &rho).await;
            }
            for part in rho.chunks(CHUNK) {
                self.deal_chunk(context, part);
                context.pause().await;
            }
        })
    }

    fn evaluate<'a>(&'a self, context: &'a mut EvalContext<'_>) -> Evaluates<'a> {
        Box::pin(async move {
            let shares = context.shares(0).await;
            // Without the carry the result is rounded up as often as the dropped bits ask: half a unit more would be a bias.
            let half = if self.carry.is_some() { 1u32 << (self.shift - 1) } else { 0 };
            let offset = if self.wide() { HALF_RANGE + half } else { half };
            let mut m = context.open(self.operand_width(), &shares).await;
            let low = words::low_bits(8 * self.operand_width() as u8);
            m.iter_mut().for_each(|m| *m = m.wrapping_add(offset) & low);
            let carry = match self.carry {
                Some(circuit) => {
                    let planes = compare::less_than(context, circuit, &m).await;
                    context.open_bits(&planes, m.len()).await
                }
                None => Secret::default(),
            };
            self.combine(context, m, &carry)
        })
    }
}
