//! Structural validation: what every executor relies on, checked before anything is run.
//!
//! A graph that passes has consistent shapes, widths and references within stated limits, so an executor needs no
//! further checks and cannot be made to panic or to allocate without bound by a graph from outside. Bounds are what its
//! compiler says: they are held against each other and against what operators need, as far as that goes without the
//! weights. Whoever writes false ones, or takes the maximum of values that are too far apart, gets answers that share
//! nodes and the plain executor may give differently.

mod facts;

use crate::graph::{Graph, InputRange, Node, NodeId, Op, Shape, TableId, WeightId, rescale_limit};
use facts::Fact;
pub(crate) use facts::facts;

/// Most nodes of a graph.
pub const MAX_NODES: usize = 1 << 16;
/// Most inputs, and most outputs, of a graph.
pub const MAX_INPUTS: usize = 64;
/// Most lookup tables of a graph.
pub const MAX_TABLES: usize = 1 << 10;
/// Most elements of one tensor.
pub const MAX_TENSOR: u64 = 1 << 26;
/// Most elements of all tensors of a graph together.
pub const MAX_TOTAL: u64 = 1 << 32;
/// Longest name in bytes.
pub const MAX_NAME: usize = 200;
/// Most thresholds of one `Step`.
pub const MAX_STEPS: usize = 64;
/// Most parts of one `ConcatCols`.
pub const MAX_PARTS: usize = 64;

/// What is wrong with a graph, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A node breaks a rule of its operator.
    #[error("graph node {index} ({name}): {problem}")]
    Node {
        /// Position of the node.
        index: usize,
        /// Its name.
        name: String,
        /// The rule.
        problem: String,
    },
    /// Something outside the nodes.
    #[error("graph: {0}")]
    Graph(String),
}

impl Graph {
    /// Checks every reference, shape, width and limit.
    ///
    /// # Errors
    /// The first rule that it breaks, with the node.
    pub fn check(&self) -> Result<(), CheckError> {
        self.check_lists().map_err(CheckError::Graph)?;
        let mut total = 0u64;
        let mut read = vec![false; self.inputs.len()];
        let facts = &facts(self);
        for (index, node) in self.nodes.iter().enumerate() {
            let fail = |problem| CheckError::Node { index, name: node.name.clone(), problem };
            Checker { graph: self, facts, index, node }.check().map_err(fail)?;
            // An executor hands each input over once.
            if let Op::Input(i) = node.op
                && std::mem::replace(&mut read[i as usize], true)
            {
                return Err(fail(format!("input {i} is read by an earlier node already")));
            }
            total += node.shape.len() as u64;
        }
        if total > MAX_TOTAL {
            return Err(CheckError::Graph(format!("{total} elements in all, more than the limit of {MAX_TOTAL}")));
        }
        for &NodeId(id) in &self.outputs {
            match self.nodes.get(id as usize) {
                None => return Err(CheckError::Graph(format!("output {id} is not a node"))),
                Some(node) if node.bits != 32 => {
                    return Err(CheckError::Graph(format!("output {id} has {} bits, not 32", node.bits)));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn check_lists(&self) -> Result<(), String> {
        let limit = |what: &str, len: usize, max: usize| match len {
            0 => Err(format!("no {what}")),
            len if len > max => Err(format!("{len} {what}, more than the limit of {max}")),
            _ => Ok(()),
        };
        limit("nodes", self.nodes.len(), MAX_NODES)?;
        limit("inputs", self.inputs.len(), MAX_INPUTS)?;
        limit("outputs", self.outputs.len(), MAX_INPUTS)?;
        limit("tables", self.tables.len().max(1), MAX_TABLES)?;
        limit("weights", self.weights.len().max(1), crate::weights::MAX_TENSORS)?;
        let names = std::iter::once(&self.model)
            .chain(self.inputs.iter().map(|i| &i.name))
            .chain(self.weights.iter().map(|w| &w.name))
            .chain(self.tables.iter().map(|t| &t.name))
            .chain(self.nodes.iter().map(|n| &n.name));
        for name in names {
            if name.len() > MAX_NAME || name.chars().any(char::is_control) {
                return Err(format!("a name of {} bytes: limit {MAX_NAME}, no control characters", name.len()));
            }
        }
        if self.seq_len == 0 || self.seq_len > 1 << 16 || self.layers > 1 << 10 {
            return Err(format!("sequence length {} or layer count {} out of range", self.seq_len, self.layers));
        }
        for input in &self.inputs {
            check_shape(input.shape).map_err(|e| format!("input {}: {e}", input.name))?;
            if !(1..=32).contains(&input.bits) || u64::from(input.max_abs) >= 1 << (input.bits - 1) {
                return Err(format!("input {}: largest value does not fit {} bits", input.name, input.bits));
            }
        }
        let mut elements = 0u64;
        for weight in &self.weights {
            if weight.rows == 0 || weight.cols == 0 {
                return Err(format!("weight {}: empty", weight.name));
            }
            let len = u64::from(weight.rows) * u64::from(weight.cols);
            elements = elements.saturating_add(len);
            if elements > crate::weights::MAX_ELEMENTS as u64 {
                return Err(format!("weight {}: too many elements in all", weight.name));
            }
        }
        for table in &self.tables {
            let len = table.entries.len();
            if !len.is_power_of_two() || !(4..=10).contains(&len.trailing_zeros()) {
                return Err(format!("table {}: {len} entries, not 2^4 to 2^10", table.name));
            }
        }
        Ok(())
    }
}

fn check_shape(shape: Shape) -> Result<(), String> {
    let len = u64::from(shape.batch).checked_mul(u64::from(shape.rows) * u64::from(shape.cols));
    match len {
        None | Some(0) => Err(format!("shape {shape} is empty or too large")),
        Some(len) if len > MAX_TENSOR => Err(format!("{len} elements, more than the limit of {MAX_TENSOR}")),
        Some(_) => Ok(()),
    }
}

struct Checker<'a> {
    graph: &'a Graph,
    facts: &'a [Fact],
    index: usize,
    node: &'a Node,
}

impl<'a> Checker<'a> {
    fn check(&self) -> Result<(), String> {
        let (shape, bits) = (self.node.shape, self.node.bits);
        check_shape(shape)?;
        if !(1..=32).contains(&bits) {
            return Err(format!("{bits} bits, not 1 to 32"));
        }
        match &self.node.op {
            Op::Input(i) => {
                let spec = self.graph.inputs.get(*i as usize).ok_or_else(|| format!("no input {i}"))?;
                ensure(spec.shape == shape && spec.bits == bits, || "differs from its input's shape or width".into())?;
                let most = u64::from(spec.max_abs);
                ensure(self.node.bound >= most, || format!("its bound {} is below its input's {most}", self.node.bound))
            }
            Op::MatMulWeight { x, w } => {
                let x = self.full(*x)?;
                let w = self.weight(*w)?;
                ensure(x.shape.cols == w.0, || format!("{} columns times {} weight rows", x.shape.cols, w.0))?;
                self.result(Shape { cols: w.1, ..x.shape }, 32)
            }
            Op::ScaleWeight { x, w } => {
                let x = self.full(*x)?;
                self.vector(*w, x)?;
                self.result(x.shape, 32)
            }
            Op::AddWeight { x, w } => {
                let x = self.operand(*x)?;
                self.vector(*w, x)?;
                self.result(x.shape, bits)
            }
            Op::MatMul { a, b, transpose_b } => {
                let (a, b) = (self.full(*a)?.shape, self.full(*b)?.shape);
                let (inner, cols) = if *transpose_b { (b.cols, b.rows) } else { (b.rows, b.cols) };
                ensure(a.batch == b.batch && a.cols == inner, || format!("cannot multiply {a} by {b}"))?;
                self.result(Shape::new(a.batch, a.rows, cols), 32)
            }
            Op::Add { a, b } => {
                let (a, b) = (self.operand(*a)?.shape, self.operand(*b)?.shape);
                ensure(broadcasts(b, a), || format!("cannot add {b} to {a}"))?;
                self.result(a, bits)
            }
            Op::Sub { a, b } => {
                let (a, b) = (self.operand(*a)?.shape, self.operand(*b)?.shape);
                let column = a.cols == 1 && b.cols > 1 && (a.batch, a.rows) == (b.batch, b.rows);
                ensure(column || broadcasts(b, a), || format!("cannot subtract {b} from {a}"))?;
                self.result(if column { b } else { a }, bits)
            }
            Op::MulPublic { x, .. } => self.result(self.operand(*x)?.shape, bits),
            Op::Mul { a, b } => {
                let (a, b) = (self.full(*a)?.shape, self.full(*b)?.shape);
                let fits = (a.batch, a.rows) == (b.batch, b.rows) && (b.cols == a.cols || b.cols == 1);
                ensure(fits, || format!("cannot multiply {a} by {b} elementwise"))?;
                self.result(a, 32)
            }
            Op::SquareSum { x } => self.result(Shape { cols: 1, ..self.full(*x)?.shape }, 32),
            Op::RowSum { x } => self.result(Shape { cols: 1, ..self.operand(*x)?.shape }, bits),
            Op::RowMax { x: id } => {
                let x = self.operand(*id)?;
                ensure(bits >= 2, || "a maximum needs at least 2 bits".into())?;
                if let Some(i) = self.facts[id.0 as usize].input {
                    // Of other operands only the compiler knows how far apart they are.
                    let input = &self.graph.inputs[i as usize];
                    let sides = if input.range == InputRange::Mask { 1 } else { 2 };
                    let apart = sides * u64::from(input.max_abs);
                    ensure(apart < 1 << (x.bits - 1), || format!("its operand's values can be {apart} apart"))?;
                }
                self.result(Shape { cols: 1, ..x.shape }, x.bits)
            }
            Op::Rescale { x, shift, .. } => {
                let x = self.full(*x)?;
                ensure((1..=20).contains(shift), || format!("shift {shift}, not 1 to 20"))?;
                ensure(bits == 32 || bits <= 32 - shift, || format!("{bits} bits after a shift of {shift}"))?;
                let most = rescale_limit(*shift);
                let fits = bits < 32 || x.bound <= most;
                ensure(fits, || format!("its operand can reach {}, over {most} at a shift of {shift}", x.bound))?;
                self.result(x.shape, bits)
            }
            Op::ClampIndex { x: id, index_bits } => {
                let x = self.any(*id)?;
                let below = *index_bits >= 1 && *index_bits < x.bits;
                ensure(below, || format!("cannot clamp {} bits to {index_bits}", x.bits))?;
                self.not_negative(*id)?;
                self.result(x.shape, *index_bits)
            }
            Op::Lookup { x, table } => {
                let x = self.any(*x)?;
                let TableId(t) = *table;
                let table = self.graph.tables.get(t as usize).ok_or_else(|| format!("no table {t}"))?;
                ensure(x.bits >= table.bits(), || format!("{} bits index {}", x.bits, table.name))?;
                self.result(x.shape, 32)
            }
            Op::Step { x: id, steps, .. } => {
                let x = self.any(*id)?;
                ensure((1..=MAX_STEPS).contains(&steps.len()), || format!("{} thresholds", steps.len()))?;
                self.not_negative(*id)?;
                let half = 1u64 << (x.bits - 1);
                let fits = steps.iter().all(|&(t, _)| t > 0 && u64::from(t) < half);
                ensure(fits, || format!("a threshold is not between 0 and 2^{}", x.bits - 1))?;
                self.result(x.shape, 32)
            }
            Op::SliceCols { x, from } => {
                let x = self.operand(*x)?;
                if matches!(x.op, Op::Input(_)) {
                    // Of other operands each column may have a bound of its own, which only the compiler knows.
                    self.at_least(x)?;
                }
                let x = x.shape;
                let end = u64::from(*from) + u64::from(shape.cols);
                ensure(end <= u64::from(x.cols), || format!("columns {from}..{end} of {}", x.cols))?;
                self.result(Shape { cols: shape.cols, ..x }, bits)
            }
            Op::ConcatCols { parts } => {
                ensure((1..=MAX_PARTS).contains(&parts.len()), || format!("{} parts", parts.len()))?;
                let first = self.operand(parts[0])?.shape;
                let mut cols = 0u64;
                for part in parts {
                    let part = self.operand(*part)?;
                    self.at_least(part)?;
                    let part = part.shape;
                    ensure((part.batch, part.rows) == (first.batch, first.rows), || format!("{part} beside {first}"))?;
                    cols += u64::from(part.cols);
                }
                ensure(cols == u64::from(shape.cols), || format!("parts have {cols} columns in all"))?;
                self.result(Shape { cols: shape.cols, ..first }, bits)
            }
            Op::SplitHeads { x } => {
                let x = self.operand(*x)?;
                self.at_least(x)?;
                let x = x.shape;
                let fits = x.batch == 1 && u64::from(shape.batch) * u64::from(shape.cols) == u64::from(x.cols);
                ensure(fits && shape.rows == x.rows, || format!("cannot split {x} into {shape}"))
            }
            Op::MergeHeads { x } => {
                let x = self.operand(*x)?;
                self.at_least(x)?;
                let x = x.shape;
                let fits = shape.batch == 1 && u64::from(x.batch) * u64::from(x.cols) == u64::from(shape.cols);
                ensure(fits && shape.rows == x.rows, || format!("cannot merge {x} into {shape}"))
            }
        }
    }

    /// An earlier node.
    fn any(&self, NodeId(id): NodeId) -> Result<&'a Node, String> {
        match self.graph.nodes.get(id as usize) {
            Some(node) if (id as usize) < self.index => Ok(node),
            _ => Err(format!("operand {id} is not an earlier node")),
        }
    }

    /// An earlier node at least as wide as this one: reducing is free, widening is not defined.
    fn operand(&self, id: NodeId) -> Result<&'a Node, String> {
        let node = self.any(id)?;
        ensure(node.bits >= self.node.bits, || format!("operand {} has only {} bits", id.0, node.bits))?;
        Ok(node)
    }

    /// An earlier node of 32 bits.
    fn full(&self, id: NodeId) -> Result<&'a Node, String> {
        let node = self.any(id)?;
        ensure(node.bits == 32, || format!("operand {} has {} bits, not 32", id.0, node.bits))?;
        Ok(node)
    }

    fn weight(&self, WeightId(id): WeightId) -> Result<(u32, u32), String> {
        let spec = self.graph.weights.get(id as usize).ok_or_else(|| format!("no weight {id}"))?;
        Ok((spec.rows, spec.cols))
    }

    fn vector(&self, w: WeightId, x: &Node) -> Result<(), String> {
        let (rows, cols) = self.weight(w)?;
        ensure(rows == 1 && cols == x.shape.cols, || format!("weight [{rows}, {cols}] along {} columns", x.shape.cols))
    }

    /// What an operator needs that takes its operand as not negative.
    fn not_negative(&self, id: NodeId) -> Result<(), String> {
        let fact = self.facts.get(id.0 as usize).copied().unwrap_or_default();
        ensure(fact.never_negative, || "its operand may be negative, or too large for its width".into())
    }

    /// The bound of a node whose elements are those of `x`.
    fn at_least(&self, x: &Node) -> Result<(), String> {
        let least = x.bound.min(1 << (self.node.bits - 1));
        ensure(self.node.bound >= least, || format!("its bound {} is below its operand's {least}", self.node.bound))
    }

    fn result(&self, shape: Shape, bits: u8) -> Result<(), String> {
        ensure(self.node.shape == shape, || format!("shape {} should be {shape}", self.node.shape))?;
        ensure(self.node.bits == bits, || format!("{} bits should be {bits}", self.node.bits))
    }
}

/// Whether each dimension of `small` is that of `large` or 1.
fn broadcasts(small: Shape, large: Shape) -> bool {
    let fits = |s: u32, l: u32| s == l || s == 1;
    fits(small.batch, large.batch) && fits(small.rows, large.rows) && fits(small.cols, large.cols)
}

fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem()) }
}

#[cfg(test)]
mod tests;
