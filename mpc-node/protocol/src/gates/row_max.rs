//! Row maximum by a tournament, `max(a, b) = a - [a < b]·(a - b)`: each level halves the row.

use crate::compare::{self, Circuit};
use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::gate::{Deals, Evaluates, Form, Gate, GateCost, MASKED_SCRATCH};
use crate::ring::secret::Secret;
use crate::ring::words;
use crate::select;

/// One row maximum.
pub(crate) struct RowMax {
    bits: u8,
    rows: usize,
    cols: usize,
    sign: &'static Circuit,
}

impl RowMax {
    pub(crate) fn new(bits: u8, rows: usize, cols: usize) -> Self {
        Self { bits, rows, cols, sign: Circuit::of(bits - 1) }
    }

    fn width(&self) -> usize {
        words::width(self.bits)
    }

    /// Row lengths at the start of each level.
    fn levels(&self) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(self.cols), |n| Some(n.div_ceil(2))).take_while(|n| *n > 1)
    }

    /// Half the elements of a level, less the other half.
    fn differences(rows: &[u32], cols: usize) -> Secret<u32> {
        let half = cols / 2;
        rows.chunks_exact(cols)
            .flat_map(|row| row[..half].iter().zip(&row[cols - half..]))
            .map(|(a, b)| a.wrapping_sub(*b))
            .collect::<Vec<u32>>()
            .into()
    }

    /// The rows of the next level: half the elements, less the differences where those are negative.
    fn winners(rows: &[u32], cols: usize, drop: &[u32]) -> Secret<u32> {
        let half = cols / 2;
        let keep = cols - half;
        let mut next = Vec::with_capacity(rows.len() / cols * keep);
        for (row, drop) in rows.chunks_exact(cols).zip(drop.chunks_exact(half)) {
            next.extend(row[..half].iter().zip(drop).map(|(a, d)| a.wrapping_sub(*d)));
            next.extend_from_slice(&row[half..keep]);
        }
        next.into()
    }
}

impl Gate for RowMax {
    fn reads(&self) -> Form {
        Form::Shares
    }

    fn cost(&self) -> GateCost {
        let level = |cols: usize| {
            let n = self.rows * (cols / 2);
            compare::msb_corrections(self.sign, n) + select::corrections(self.width(), n)
        };
        GateCost {
            corrections: self.levels().map(level).sum(),
            rounds: self.levels().count() as u64 * (2 + self.sign.rounds()),
            scratch: MASKED_SCRATCH * (self.rows * self.cols) as u64,
            ..GateCost::default()
        }
    }

    fn deal<'a>(&'a self, context: &'a mut DealContext<'_>) -> Deals<'a> {
        Box::pin(async move {
            let low = words::low_bits(self.bits);
            for cols in self.levels() {
                let mut rho = context.mask_words(self.width(), self.rows * (cols / 2));
                rho.iter_mut().for_each(|r| *r &= low);
                compare::deal_msb(context, self.sign, self.bits, &rho).await;
                select::deal(context, self.width(), &rho).await;
            }
        })
    }

    fn evaluate<'a>(&'a self, context: &'a mut EvalContext<'_>) -> Evaluates<'a> {
        Box::pin(async move {
            let low = words::low_bits(self.bits);
            let mut rows = Secret::from(context.shares(0).await.to_vec());
            for cols in self.levels() {
                let differences = Self::differences(&rows, cols);
                let mut x = context.open_masked(self.width(), &differences).await;
                x.public.iter_mut().for_each(|u| *u &= low);
                let negative = compare::msb(context, self.sign, self.bits, &x.public).await;
                let v = context.open_bits(&negative, x.public.len()).await;
                let drop = Secret::from(select::evaluate(context, self.width(), &v, &x));
                rows = Self::winners(&rows, cols, &drop);
            }
            rows.into_vec()
        })
    }
}
