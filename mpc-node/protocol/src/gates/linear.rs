//! Operators that are linear over the ring: every party applies them to what it holds, without a message.

use sahara_circuits::graph::Shape;

use crate::deal_context::DealContext;
use crate::eval_context::EvalContext;
use crate::gate::{Evaluates, Form, Gate, GateCost, LOCAL_SCRATCH};
use crate::tensor::{broadcast, swap_outer};

/// Which linear operator.
pub(crate) enum LinearOp {
    Add,
    Sub,
    /// Product with a public constant.
    Scale(u32),
    RowSum,
    /// A range of columns, from this one on.
    SliceCols(usize),
    ConcatCols,
    SplitHeads,
    MergeHeads,
}

/// One linear operator.
pub(crate) struct Linear {
    op: LinearOp,
    operands: Vec<Shape>,
    result: Shape,
}

impl Linear {
    pub(crate) fn new(op: LinearOp, operands: Vec<Shape>, result: Shape) -> Self {
        Self { op, operands, result }
    }

    /// Compiled for each `f`, so that it becomes vector instructions.
    fn elementwise(&self, values: &[&[u32]], f: impl Fn(u32, u32) -> u32) -> Vec<u32> {
        broadcast(self.result, (self.operands[0], values[0]), (self.operands[1], values[1]), f)
    }

    /// Applies the operator; `values` has one for each operand.
    fn apply(&self, values: &[&[u32]]) -> Vec<u32> {
        let (x, shape) = (values[0], self.operands[0]);
        let rows = || x.chunks_exact(shape.cols as usize);
        match self.op {
            LinearOp::Add => self.elementwise(values, u32::wrapping_add),
            LinearOp::Sub => self.elementwise(values, u32::wrapping_sub),
            LinearOp::Scale(k) => x.iter().map(|v| v.wrapping_mul(k)).collect(),
            LinearOp::RowSum => rows().map(|row| row.iter().fold(0, |sum: u32, v| sum.wrapping_add(*v))).collect(),
            LinearOp::SliceCols(from) => {
                rows().flat_map(|row| &row[from..from + self.result.cols as usize]).copied().collect()
            }
            LinearOp::ConcatCols => {
                let mut out = Vec::with_capacity(self.result.len());
                for row in 0..(self.result.batch * self.result.rows) as usize {
                    for (value, width) in values.iter().zip(self.operands.iter().map(|part| part.cols as usize)) {
                        out.extend_from_slice(&value[row * width..(row + 1) * width]);
                    }
                }
                out
            }
            LinearOp::SplitHeads => swap_outer(x, self.result.rows, self.result.batch, self.result.cols),
            LinearOp::MergeHeads => swap_outer(x, shape.batch, shape.rows, shape.cols),
        }
    }
}

impl Gate for Linear {
    fn reads(&self) -> Form {
        Form::Deficient
    }

    fn cost(&self) -> GateCost {
        let elements = self.result.len() as u64;
        GateCost {
            products: if matches!(self.op, LinearOp::Scale(_)) { elements } else { 0 },
            scratch: LOCAL_SCRATCH * elements,
            plan: size_of_val(&self.operands[..]) as u64,
            ..GateCost::default()
        }
    }

    fn lacks(&self, operand_lacks: bool) -> bool {
        operand_lacks
    }

    fn deficit(&self, context: &DealContext<'_>) -> Vec<u32> {
        let zeros: Vec<Vec<u32>> = (self.operands.iter().enumerate())
            .map(|(i, shape)| if context.operand_deficit(i).is_some() { Vec::new() } else { vec![0; shape.len()] })
            .collect();
        let values: Vec<&[u32]> =
            zeros.iter().enumerate().map(|(i, zero)| context.operand_deficit(i).unwrap_or(zero)).collect();
        self.apply(&values)
    }

    fn evaluate<'a>(&'a self, context: &'a mut EvalContext<'_>) -> Evaluates<'a> {
        Box::pin(async move {
            let mut values = Vec::with_capacity(self.operands.len());
            for operand in 0..self.operands.len() {
                values.push(context.shares(operand).await);
            }
            let values: Vec<&[u32]> = values.iter().map(|v| &v[..]).collect();
            self.apply(&values)
        })
    }
}
