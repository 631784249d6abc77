//! An input of the graph: the share that the consumer sent.

use crate::eval_context::EvalContext;
use crate::gate::{Evaluates, Form, Gate, GateCost, LOCAL_SCRATCH};

/// One input.
pub(crate) struct Input {
    index: usize,
    len: usize,
}

impl Input {
    pub(crate) fn new(index: u32, len: usize) -> Self {
        Self { index: index as usize, len }
    }
}

impl Gate for Input {
    fn reads(&self) -> Form {
        Form::Deficient
    }

    fn cost(&self) -> GateCost {
        GateCost { scratch: LOCAL_SCRATCH * self.len as u64, ..GateCost::default() }
    }

    fn evaluate<'a>(&'a self, context: &'a mut EvalContext<'_>) -> Evaluates<'a> {
        Box::pin(async move { context.wires.take_input(self.index) })
    }
}
