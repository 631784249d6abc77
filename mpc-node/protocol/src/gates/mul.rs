//! Elementwise product of two secrets, the second broadcast along the columns if it has only one.

use sahara_circuits::graph::Shape;

use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::gate::{Evaluates, Form, Gate, GateCost};
use crate::masked::bilinear;
use crate::tensor::broadcast;

/// One elementwise product.
pub(crate) struct Mul {
    a: Shape,
    b: Shape,
}

impl Mul {
    pub(crate) fn new(a: Shape, b: Shape) -> Self {
        Self { a, b }
    }

    fn product(&self, a: &[u32], b: &[u32]) -> Vec<u32> {
        broadcast(self.a, (self.a, a), (self.b, b), u32::wrapping_mul)
    }
}

impl Gate for Mul {
    fn reads(&self) -> Form {
        Form::Masked
    }

    fn cost(&self) -> GateCost {
        let (a, b) = (self.a.len() as u64, self.b.len() as u64);
        GateCost { products: a.saturating_mul(2), scratch: 8 * (2 * a + b), ..GateCost::default() }
    }

    fn lacks(&self, _operand_lacks: bool) -> bool {
        true
    }

    fn deficit(&self, context: &DealContext<'_>) -> Vec<u32> {
        self.product(context.operand_mask(0), context.operand_mask(1))
    }

    fn evaluate<'a>(&'a self, context: &'a mut EvalContext<'_>) -> Evaluates<'a> {
        Box::pin(async move {
            let (a, b) = (context.masked(0).await, context.masked(1).await);
            bilinear(context.first, &a, &b, |a, b| self.product(a, b))
        })
    }
}
