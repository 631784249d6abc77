//! Which operators read a weight, and in what form.

use sahara_circuits::graph::{Op, WeightId};

/// The form in which an operator reads its weight.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeightForm {
    /// Right-hand side of a product.
    Matrix,
    /// Vector along the columns.
    Vector,
}

/// The weight that an operator reads, if it reads one, and its form.
pub(crate) fn weight_form(op: &Op) -> Option<(WeightId, WeightForm)> {
    match op {
        Op::MatMulWeight { w, .. } => Some((*w, WeightForm::Matrix)),
        Op::ScaleWeight { w, .. } | Op::AddWeight { w, .. } => Some((*w, WeightForm::Vector)),
        _ => None,
    }
}
