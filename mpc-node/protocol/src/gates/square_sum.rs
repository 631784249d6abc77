//! The sum of squares of each row: a product with a = b, `m·m - 2·m·r`, short of the sum of squares of the mask.

use sahara_circuits::graph::Shape;

use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::gate::{Evaluates, Form, Gate, GateCost, LOCAL_SCRATCH};
use crate::ring::secret::Secret;
use crate::tensor::row_dot;

/// One sum of squares.
pub(crate) struct SquareSum {
    operand: Shape,
    result: Shape,
}

impl SquareSum {
    pub(crate) fn new(operand: Shape, result: Shape) -> Self {
        Self { operand, result }
    }

    fn cols(&self) -> usize {
        self.operand.cols as usize
    }
}

impl Gate for SquareSum {
    fn reads(&self) -> Form {
        Form::Masked
    }

    fn cost(&self) -> GateCost {
        GateCost {
            products: 2 * self.operand.len() as u64,
            scratch: LOCAL_SCRATCH * self.result.len() as u64,
            ..GateCost::default()
        }
    }

    fn lacks(&self, _operand_lacks: bool) -> bool {
        true
    }

    fn deficit(&self, context: &DealContext<'_>) -> Vec<u32> {
        let mask = context.operand_mask(0);
        row_dot(mask, mask, self.cols())
    }

    fn evaluate<'a>(&'a self, context: &'a mut EvalContext<'_>) -> Evaluates<'a> {
        Box::pin(async move {
            let x = context.masked(0).await;
            let square = |x: &[u32]| row_dot(x, x, self.cols());
            let mut out = if context.first { square(&x.public) } else { vec![0; x.public.len() / self.cols()] };
            let cross = Secret::from(row_dot(&x.public, &x.mask, self.cols()));
            out.iter_mut().zip(cross.iter()).for_each(|(o, c)| *o = o.wrapping_sub(c.wrapping_mul(2)));
            out
        })
    }
}
