//! A weight vector added to each row.

use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::gate::{Evaluates, Form, Gate, GateCost, LOCAL_SCRATCH};

/// One addition of a weight, private or open.
pub(crate) struct AddWeight {
    weight: usize,
    len: usize,
}

impl AddWeight {
    pub(crate) fn new(weight: u32, len: usize) -> Self {
        Self { weight: weight as usize, len }
    }
}

impl Gate for AddWeight {
    fn reads(&self) -> Form {
        Form::Deficient
    }

    fn cost(&self) -> GateCost {
        GateCost { scratch: LOCAL_SCRATCH * self.len as u64, ..GateCost::default() }
    }

    fn lacks(&self, operand_lacks: bool) -> bool {
        operand_lacks
    }

    fn deficit(&self, context: &DealContext<'_>) -> Vec<u32> {
        context.operand_deficit(0).map_or_else(Vec::new, <[u32]>::to_vec)
    }

    fn evaluate<'a>(&'a self, context: &'a mut EvalContext<'_>) -> Evaluates<'a> {
        Box::pin(async move {
            let mut out = context.shares(0).await.to_vec();
            let Some(vector) = context.weights.addend(self.weight, context.first) else { return out };
            let vector = vector.vector();
            for row in out.chunks_exact_mut(vector.len()) {
                row.iter_mut().zip(vector).for_each(|(o, b)| *o = o.wrapping_add(*b));
            }
            out
        })
    }
}
