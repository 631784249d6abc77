//! Matrix product of two secrets, batch by batch: attention's scores, and weights by values.

use sahara_circuits::graph::Shape;

use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::gate::{Evaluates, Form, Gate, GateCost};
use crate::masked::bilinear;
use crate::tensor::matmul;

/// Columns to which packed matrices are filled up.
const PANEL: u64 = 16;

/// One product of two secret tensors.
pub(crate) struct MatMul {
    a: Shape,
    b: Shape,
    transpose_b: bool,
    result: Shape,
}

impl MatMul {
    pub(crate) fn new(a: Shape, b: Shape, transpose_b: bool, result: Shape) -> Self {
        Self { a, b, transpose_b, result }
    }

    fn product(&self, a: &[u32], b: &[u32]) -> Vec<u32> {
        matmul(self.a, self.b, self.transpose_b, a, b)
    }
}

impl Gate for MatMul {
    fn reads(&self) -> Form {
        Form::Masked
    }

    fn cost(&self) -> GateCost {
        let elements = self.result.len() as u64;
        let (inner, cols) = (u64::from(self.a.cols), u64::from(self.result.cols));
        // One batch of the right-hand side is packed at a time.
        let packed = 4 * inner.saturating_mul(cols.next_multiple_of(PANEL));
        GateCost {
            // Each secret factor with the public form of the other.
            products: elements.saturating_mul(inner).saturating_mul(2),
            scratch: 8 * (self.a.len() as u64 + self.b.len() as u64 + elements) + packed,
            ..GateCost::default()
        }
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
