//! `min(x, 2^k - 1)` for a non-negative `x`, as the index of a table: `min(x, t) = t + [x ≤ t]·(x - t)`.

use crate::compare::{self, Circuit};
use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::gate::{Deals, Evaluates, Form, Gate, GateCost, MASKED_SCRATCH};
use crate::ring::words;
use crate::select;

/// One clamp.
pub(crate) struct Clamp {
    bits: u8,
    index_bits: u8,
    len: usize,
    sign: &'static Circuit,
}

impl Clamp {
    pub(crate) fn new(bits: u8, index_bits: u8, len: usize) -> Self {
        Self { bits, index_bits, len, sign: Circuit::of(bits - 1) }
    }
}

impl Gate for Clamp {
    fn reads(&self) -> Form {
        Form::Shares
    }

    fn cost(&self) -> GateCost {
        let selection = select::corrections(words::width(self.index_bits), self.len);
        GateCost {
            corrections: compare::msb_corrections(self.sign, self.len) + selection,
            rounds: 2 + self.sign.rounds(),
            scratch: MASKED_SCRATCH * self.len as u64,
            ..GateCost::default()
        }
    }

    fn deal<'a>(&'a self, context: &'a mut DealContext<'_>) -> Deals<'a> {
        Box::pin(async move {
            let mut rho = context.mask_words(words::width(self.bits), self.len);
            let low = words::low_bits(self.bits);
            rho.iter_mut().for_each(|r| *r &= low);
            compare::deal_msb(context, self.sign, self.bits, &rho).await;
            select::deal(context, words::width(self.index_bits), &rho).await;
        })
    }

    fn evaluate<'a>(&'a self, context: &'a mut EvalContext<'_>) -> Evaluates<'a> {
        Box::pin(async move {
            let shares = context.shares(0).await;
            let low = words::low_bits(self.bits);
            let top = words::low_bits(self.index_bits);
            let mut x = context.open_masked(words::width(self.bits), &shares).await;
            x.public.iter_mut().for_each(|u| *u = u.wrapping_sub(top + 1) & low);
            let small = compare::msb(context, self.sign, self.bits, &x.public).await;
            let v = context.open_bits(&small, x.public.len()).await;
            // x - top = (u - top - 1) + 1 - ρ
            x.public.iter_mut().for_each(|u| *u = u.wrapping_add(1));
            let mut out = select::evaluate(context, words::width(self.index_bits), &v, &x);
            if context.first {
                out.iter_mut().for_each(|y| *y = y.wrapping_add(top));
            }
            out
        })
    }
}
