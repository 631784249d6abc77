//! Elementwise product with a weight vector, the same for each row.
//!
//! Private weights: `[z]_i = m_x·(δ_i·m_w - r_w,i) - r_x,i·m_w`, short of `r_x·r_w`. Open weights: a product of the share.

use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::gate::{Evaluates, Form, Gate, GateCost, LOCAL_SCRATCH};
use crate::masked::subtract;
use crate::ring::secret::Secret;
use crate::tensor::scale;

/// One product with a weight vector.
pub(crate) struct ScaleWeight {
    weight: usize,
    private: bool,
    len: usize,
}

impl ScaleWeight {
    pub(crate) fn new(weight: u32, private: bool, len: usize) -> Self {
        Self { weight: weight as usize, private, len }
    }
}

impl Gate for ScaleWeight {
    fn reads(&self) -> Form {
        if self.private { Form::Masked } else { Form::Shares }
    }

    fn cost(&self) -> GateCost {
        let elements = self.len as u64;
        GateCost { products: 2 * elements, scratch: LOCAL_SCRATCH * elements, ..GateCost::default() }
    }

    fn lacks(&self, _operand_lacks: bool) -> bool {
        self.private
    }

    fn deficit(&self, context: &DealContext<'_>) -> Vec<u32> {
        let mask = context.weight_mask(self.weight);
        mask.map_or_else(Vec::new, |w| scale(context.operand_mask(0), w.vector()))
    }

    fn evaluate<'a>(&'a self, context: &'a mut EvalContext<'_>) -> Evaluates<'a> {
        Box::pin(async move {
            let Some(factor) = context.weights.factor(self.weight) else { return Vec::new() };
            match context.weights.masked(self.weight) {
                Some(masked) => {
                    let x = context.masked(0).await;
                    let mut out = scale(&x.public, factor.vector());
                    let cross = Secret::from(scale(&x.mask, masked.vector()));
                    subtract(&mut out, &cross);
                    out
                }
                None => scale(&context.shares(0).await, factor.vector()),
            }
        })
    }
}
