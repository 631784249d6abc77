//! Sums and products: add, subtract, scale, the sum of a row, and matrices.

use super::*;

impl Planner<'_> {
    pub(super) fn linear(&mut self, shape: Shape, terms: Vec<(i64, TensorId)>, constant: i64) -> TensorId {
        let start = Interval::new(constant.into(), constant.into());
        let add = |sum: Interval, &(k, id): &(i64, TensorId)| sum.plus(self.interval(id).times(k));
        let interval = terms.iter().fold(start, add);
        self.push(shape, interval, Definition::Linear { terms, constant })
    }

    /// `a - b`. A row's maximum less the row is not negative: that is proven with the maximum.
    pub(super) fn difference(&mut self, a: NodeId, b: NodeId, shape: Shape) -> TensorId {
        let id = self.linear(shape, vec![(1, self.of(a)), (-1, self.of(b))], 0);
        if matches!(self.graph.nodes[a.0 as usize].op, Op::RowMax { x } if x == b) {
            let interval = &mut self.system.tensors[id.0].interval;
            *interval = interval.within(Interval::new(0, i128::MAX));
        }
        id
    }

    pub(super) fn product(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let interval = match a == b {
            true => Interval::new(0, self.interval(a).magnitude().pow(2)),
            false => self.interval(a).product(self.interval(b)),
        };
        self.push(self.shape(a), interval, Definition::Product { a, b })
    }

    pub(super) fn row_sum(&mut self, x: TensorId) -> TensorId {
        let shape = self.shape(x);
        let interval = self.interval(x).repeated(shape.cols);
        self.push(Shape { cols: 1, ..shape }, interval, Definition::RowSum { x })
    }

    pub(super) fn matmul(&mut self, a: TensorId, b: TensorId, transposed: bool, shape: Shape) -> TensorId {
        let inner = self.shape(a).cols;
        let interval = self.interval(a).product(self.interval(b)).repeated(inner);
        self.push(shape, interval, Definition::MatMul { a, b, transposed })
    }
}
