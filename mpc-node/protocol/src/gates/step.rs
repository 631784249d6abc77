//! `base + Σ weight_k·[x ≥ threshold_k]` of an opened, non-negative `x`: a sum of selected constants.

use crate::compare::{self, Circuit};
use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::gate::{Deals, Evaluates, Form, Gate, GateCost};
use crate::ring::bits::{self, CHUNK, Plane};
use crate::ring::secret::Secret;
use crate::ring::words;

/// Bytes of scratch for each comparison.
const SCRATCH: u64 = 32;

/// One step function.
pub(crate) struct Step {
    bits: u8,
    base: u32,
    /// Thresholds and weights.
    steps: Vec<(u32, u32)>,
    len: usize,
    sign: &'static Circuit,
}

impl Step {
    pub(crate) fn new(bits: u8, base: i32, steps: &[(u32, i32)], len: usize) -> Self {
        let steps = steps.iter().map(|(t, w)| (*t, *w as u32)).collect();
        Self { bits, base: base as u32, steps, len, sign: Circuit::of(bits - 1) }
    }

    fn deal_bits(context: &mut DealContext<'_>, n: usize) {
        let mut gamma = [0; CHUNK];
        let gamma = &mut gamma[..n];
        bits::spread(&context.mask_plane(n.div_ceil(64)), gamma);
        context.additive(4, gamma);
    }

    /// Shares of the result for `len` elements, from the opened comparisons with each threshold.
    fn sum(&self, context: &mut EvalContext<'_>, v: &[Plane]) -> Vec<u32> {
        let all = self.steps.iter().fold(self.base, |sum, (_, w)| sum.wrapping_add(*w));
        let mut out = vec![all & context.public_once(); self.len];
        let (mut gamma, mut bit) = ([0; CHUNK], [0; CHUNK]);
        let comparisons = self.len * self.steps.len();
        for (c, start) in (0..comparisons).step_by(CHUNK).enumerate() {
            let n = CHUNK.min(comparisons - start);
            context.dealt.additive(4, &mut gamma[..n]);
            bits::spread(&v[c], &mut bit[..n]);
            for (i, (v, g)) in bit[..n].iter().zip(&gamma[..n]).enumerate() {
                let (step, element) = ((start + i) / self.len, (start + i) % self.len);
                let known = v & context.public_once();
                let share = known.wrapping_add(1u32.wrapping_sub(2 * v).wrapping_mul(*g));
                out[element] = out[element].wrapping_sub(self.steps[step].1.wrapping_mul(share));
            }
        }
        out
    }
}

impl Gate for Step {
    fn reads(&self) -> Form {
        Form::Masked
    }

    fn cost(&self) -> GateCost {
        let (all, elements, steps) = (self.len * self.steps.len(), self.len as u64, self.steps.len() as u64);
        GateCost {
            corrections: compare::msb_corrections(self.sign, all) + (4 * all) as u64,
            rounds: 1 + self.sign.rounds(),
            products: elements.saturating_mul(steps),
            scratch: elements.saturating_mul(SCRATCH).saturating_mul(1 + steps),
            plan: 8 * steps,
            ..GateCost::default()
        }
    }

    fn deal<'a>(&'a self, context: &'a mut DealContext<'_>) -> Deals<'a> {
        Box::pin(async move {
            let low = words::low_bits(self.bits);
            let rho = context.operand_mask(0);
            let all = self.steps.iter().flat_map(|_| rho.iter().map(|r| r & low));
            let all = Secret::from(all.collect::<Vec<u32>>());
            compare::deal_msb(context, self.sign, self.bits, &all).await;
            for part in all.chunks(CHUNK) {
                Self::deal_bits(context, part.len());
                context.pause().await;
            }
        })
    }

    fn evaluate<'a>(&'a self, context: &'a mut EvalContext<'_>) -> Evaluates<'a> {
        Box::pin(async move {
            let x = context.masked(0).await;
            let low = words::low_bits(self.bits);
            let thresholds = self.steps.iter().map(|(threshold, _)| threshold);
            let shifted: Vec<u32> =
                thresholds.flat_map(|t| x.public.iter().map(move |m| m.wrapping_sub(*t) & low)).collect();
            let below = compare::msb(context, self.sign, self.bits, &shifted).await;
            let v = context.open_bits(&below, shifted.len()).await;
            self.sum(context, &v)
        })
    }
}
