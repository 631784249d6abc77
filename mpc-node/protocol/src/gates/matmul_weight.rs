//! Product with a weight matrix: the bulk of a model's work.
//!
//! Open weights: each evaluator multiplies its share. Private weights: `[z]_i = m_x·(δ_i·m_w - r_w,i) - r_x,i·m_w`, short
//! of `r_x·r_w`. The second term depends on no input and is prepared, so the online work is one plain product.

use sahara_circuits::graph::Shape;

use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::gate::{Evaluates, Form, Gate, GateCost, LOCAL_SCRATCH};
use crate::prepare_context::PrepareContext;
use crate::ring::secret::Secret;
use crate::tensor::matmul_packed;

/// One product with a weight.
pub(crate) struct MatMulWeight {
    weight: usize,
    private: bool,
    operand: Shape,
    result: Shape,
}

impl MatMulWeight {
    pub(crate) fn new(weight: u32, private: bool, operand: Shape, result: Shape) -> Self {
        Self { weight: weight as usize, private, operand, result }
    }
}

impl Gate for MatMulWeight {
    fn reads(&self) -> Form {
        if self.private { Form::Masked } else { Form::Shares }
    }

    fn cost(&self) -> GateCost {
        let elements = self.result.len() as u64;
        GateCost {
            prepared: if self.private { 4 * elements } else { 0 },
            products: elements.saturating_mul(u64::from(self.operand.cols)),
            scratch: LOCAL_SCRATCH * elements,
            ..GateCost::default()
        }
    }

    fn lacks(&self, _operand_lacks: bool) -> bool {
        self.private
    }

    fn deficit(&self, context: &DealContext<'_>) -> Vec<u32> {
        let product = |w| matmul_packed(context.operand_mask(0), w);
        context.weight_mask(self.weight).map_or_else(Vec::new, |w| product(w.matrix()))
    }

    fn prepare(&self, context: &PrepareContext<'_>) -> Secret<u32> {
        match context.weights.masked(self.weight) {
            Some(weight) => matmul_packed(&context.mask(0, self.operand.len()), weight.matrix()).into(),
            None => Secret::default(),
        }
    }

    fn evaluate<'a>(&'a self, context: &'a mut EvalContext<'_>) -> Evaluates<'a> {
        Box::pin(async move {
            let share = context.weights.factor(self.weight);
            if !self.private {
                let x = context.shares(0).await;
                return share.map_or_else(Vec::new, |w| matmul_packed(&x, w.matrix()));
            }
            let x = context.masked(0).await;
            let mut out = share.map_or_else(Vec::new, |w| matmul_packed(&x.public, w.matrix()));
            for (o, p) in out.iter_mut().zip(context.prepared.as_chunks::<4>().0) {
                *o = o.wrapping_sub(u32::from_le_bytes(*p));
            }
            out
        })
    }
}
