//! The integers of every tensor: what the graph gives, and what the relations need beside it.

use sahara_circuits::graph::{Graph, Shape};
use sahara_circuits::reference::Execution;
use sahara_circuits::weights::Weights;
use sahara_zk_verify::protocol::place;
use sahara_zk_verify::system::{Definition, Hint, Quantity, System, TensorId, dimensions};

use crate::ProveError;

/// The elements of each tensor, in the order of its shape.
pub(crate) struct Values(Vec<Vec<i64>>);

impl Values {
    /// All values of a system, from what the reference executor gave.
    pub(crate) fn new(
        system: &System,
        graph: &Graph,
        weights: &Weights,
        inputs: &[Vec<i32>],
        run: &Execution,
    ) -> Result<Self, ProveError> {
        let mut known = vec![None; system.tensors.len()];
        if let Some(trace) = &run.trace {
            system.nodes.iter().zip(trace).for_each(|(id, values)| known[id.0] = Some(values));
        }
        let (all, missing) = Maker { system, weights, inputs, known, altered: None, values: Vec::new() }.all();
        let range = "leaves the range that its graph declares";
        if missing > 0 {
            return Err(ProveError::Witness(format!("a value {range}")));
        }
        if let Some(id) = system.zeros.iter().find(|id| all.of(**id).iter().any(|&x| x != 0)) {
            let node = system.nodes.iter().position(|tensor| tensor.0 >= id.0).unwrap_or(0);
            let name = graph.nodes.get(node).map_or("the outputs", |node| &node.name);
            return Err(ProveError::Witness(format!("a value at or before {name} {range}")));
        }
        Ok(all)
    }

    /// The values of a prover who adds something to one element of a column, and goes on from there.
    pub(crate) fn altered(
        system: &System,
        weights: &Weights,
        inputs: &[Vec<i32>],
        altered: Option<(TensorId, usize, i64)>,
    ) -> Self {
        let known = vec![None; system.tensors.len()];
        Maker { system, weights, inputs, known, altered, values: Vec::new() }.all().0
    }

    pub(crate) fn of(&self, id: TensorId) -> &[i64] {
        &self.0[id.0]
    }
}

struct Maker<'a> {
    system: &'a System,
    weights: &'a Weights,
    inputs: &'a [Vec<i32>],
    /// Of tensors that are a node of the graph.
    known: Vec<Option<&'a Vec<i32>>>,
    /// What is added to which element.
    altered: Option<(TensorId, usize, i64)>,
    values: Vec<Vec<i64>>,
}

impl Maker<'_> {
    /// The values, and how many elements are in no row of their table.
    fn all(mut self) -> (Values, usize) {
        for (id, used) in self.system.used().into_iter().enumerate() {
            let mut made = if used { self.tensor(TensorId(id)) } else { Vec::new() };
            self.alter(TensorId(id), &mut made);
            self.values.push(made);
        }
        let missing = self.count();
        for table in &self.system.tables {
            let id = table.multiplicity;
            let mut counts = std::mem::take(&mut self.values[id.0]);
            self.alter(id, &mut counts);
            self.values[id.0] = counts;
        }
        (Values(self.values), missing)
    }

    fn alter(&self, id: TensorId, values: &mut [i64]) {
        if let Some((altered, at, by)) = self.altered
            && altered == id
            && let Some(value) = values.get_mut(at)
        {
            *value += by;
        }
    }

    fn tensor(&self, id: TensorId) -> Vec<i64> {
        let tensor = self.system.tensor(id);
        match &tensor.definition {
            Definition::Column { hint, .. } => self.column(tensor.shape, hint),
            Definition::Linear { terms, constant } => self.linear(tensor.shape, terms, *constant),
            Definition::Product { a, b } => {
                let (a, at_b) = (self.of(*a), Repeated::new(self.shape(*b), tensor.shape));
                let b = self.of(*b);
                a.iter().enumerate().map(|(i, &x)| x * b[at_b.index(i)]).collect()
            }
            Definition::MatMul { a, b, transposed } => match self.known[id.0] {
                Some(known) => known.iter().map(|&x| x.into()).collect(),
                None => self.matmul(*a, *b, *transposed, tensor.shape),
            },
            Definition::RowSum { x } => {
                let cols = self.shape(*x).cols as usize;
                self.of(*x).chunks(cols).map(|row| row.iter().sum()).collect()
            }
            Definition::Moved { parts, to } => {
                let mut out = vec![0; tensor.shape.len()];
                let (rows, cols) = (tensor.shape.rows as usize, tensor.shape.cols as usize);
                let mut first = 0;
                for &part in parts {
                    let (from, values) = (self.shape(part), self.of(part));
                    for (i, &x) in values.iter().enumerate() {
                        let (b, r, c) = position(from, i);
                        if let Some((to_b, to_c)) = place(*to, tensor.shape, from, first, (b, c)) {
                            out[(to_b * rows + r) * cols + to_c] = x;
                        }
                    }
                    first += from.cols as usize;
                }
                out
            }
        }
    }

    fn matmul(&self, a: TensorId, b: TensorId, transposed: bool, shape: Shape) -> Vec<i64> {
        let (of_a, of_b) = (self.shape(a), self.shape(b));
        let (a, b) = (self.of(a), self.of(b));
        let inner = of_a.cols as usize;
        let (rows, cols) = (of_b.rows as usize, of_b.cols as usize);
        let element = |i: usize| {
            let (batch, row, col) = position(shape, i);
            let b = &b[if of_b.batch == 1 { 0 } else { batch * rows * cols }..];
            let a = &a[(batch * of_a.rows as usize + row) * inner..][..inner];
            let of_b = |k: usize| if transposed { b[col * cols + k] } else { b[k * cols + col] };
            a.iter().enumerate().map(|(k, &x)| x * of_b(k)).sum()
        };
        (0..shape.len()).map(element).collect()
    }

    fn linear(&self, shape: Shape, terms: &[(i64, TensorId)], constant: i64) -> Vec<i64> {
        let mut out = vec![constant; shape.len()];
        for &(k, id) in terms {
            let (values, own) = (self.of(id), self.shape(id));
            if own == shape {
                out.iter_mut().zip(values).for_each(|(o, &x)| *o += k * x);
            } else {
                let at = Repeated::new(own, shape);
                out.iter_mut().enumerate().for_each(|(i, o)| *o += k * values[at.index(i)]);
            }
        }
        out
    }

    fn column(&self, shape: Shape, hint: &Hint) -> Vec<i64> {
        let wide = |values: &[i32]| values.iter().map(|&x| x.into()).collect();
        match hint {
            Hint::Input(i) => wide(&self.inputs[*i as usize]),
            Hint::Weight(i) => wide(&self.weights.tensors[*i as usize]),
            Hint::Output(id) => self.of(*id).to_vec(),
            Hint::Limb { of, least, shift, bits } => {
                let limb = |x: i64| (x - least) >> shift & ((1 << bits) - 1);
                self.quantity(*of).map(limb).collect()
            }
            Hint::OneHot(x) => {
                let mut out = vec![0; shape.len()];
                let cols = shape.cols as usize;
                for (row, out) in self.of(*x).chunks(cols).zip(out.chunks_mut(cols)) {
                    let largest = row.iter().max().copied().unwrap_or(0);
                    if let Some(at) = row.iter().position(|&v| v == largest) {
                        out[at] = 1;
                    }
                }
                out
            }
            Hint::Reached(x, starts) => {
                self.of(*x).iter().map(|v| starts.partition_point(|start| start <= v) as i64).collect()
            }
            Hint::Entry(table, index) => {
                let rows = &self.system.tables[*table].rows;
                self.of(*index).iter().map(|&index| rows.pair(index).1).collect()
            }
            // Counted when everything else is known.
            Hint::Multiplicity(_) => vec![0; shape.len()],
        }
    }

    /// How often each row of each table is looked up; how many elements are in no row.
    fn count(&mut self) -> usize {
        let mut missing = 0;
        for lookup in &self.system.lookups {
            let table = &self.system.tables[lookup.table];
            let mut counts = std::mem::take(&mut self.values[table.multiplicity.0]);
            for &index in self.of(lookup.index) {
                let row = table.rows.row(index);
                match counts.get_mut(row) {
                    Some(count) if table.rows.pair(index).0 == index => *count += 1,
                    _ => missing += 1,
                }
            }
            self.values[table.multiplicity.0] = counts;
        }
        missing
    }

    fn quantity(&self, of: Quantity) -> Box<dyn Iterator<Item = i64> + '_> {
        match of {
            Quantity::Itself(id) => Box::new(self.of(id).iter().copied()),
            Quantity::Quotient(id, add, shift) => Box::new(self.of(id).iter().map(move |x| (x + add) >> shift)),
            Quantity::AtMost(id, most) => Box::new(self.of(id).iter().map(move |&x| x.min(most))),
        }
    }

    fn of(&self, id: TensorId) -> &[i64] {
        &self.values[id.0]
    }

    fn shape(&self, id: TensorId) -> Shape {
        self.system.tensor(id).shape
    }
}

/// Batch, row and column of an element.
pub(crate) fn position(shape: Shape, i: usize) -> (usize, usize, usize) {
    let (rows, cols) = (shape.rows as usize, shape.cols as usize);
    (i / cols / rows, i / cols % rows, i % cols)
}

/// Where an element of a larger shape is in a tensor that is repeated to it.
struct Repeated {
    large: Shape,
    strides: [usize; 3],
}

impl Repeated {
    fn new(small: Shape, large: Shape) -> Self {
        let [b, r, c] = dimensions(small).map(|len| len as usize);
        let stride = |len: usize, stride: usize| if len == 1 { 0 } else { stride };
        Self { large, strides: [stride(b, r * c), stride(r, c), stride(c, 1)] }
    }

    fn index(&self, i: usize) -> usize {
        let (b, r, c) = position(self.large, i);
        b * self.strides[0] + r * self.strides[1] + c * self.strides[2]
    }
}
