//! Writes graphs: shapes and widths follow from the operator, names and bounds from the caller.

use crate::graph::{BoundOrigin, Graph, InputSpec, Node, NodeId, Op, RescaleUse, Shape, Table, TableId, WeightId};
use std::collections::BTreeMap;

/// A graph under construction. Bounds are proven by whoever calls.
pub(crate) struct Builder {
    graph: Graph,
    prefix: String,
    tables: BTreeMap<String, TableId>,
}

impl Builder {
    pub(crate) fn new(graph: Graph) -> Self {
        Self { graph, prefix: String::new(), tables: BTreeMap::new() }
    }

    pub(crate) fn finish(self) -> Graph {
        self.graph
    }

    /// Put in front of the names of the nodes that follow.
    pub(crate) fn prefix(&mut self, prefix: String) {
        self.prefix = prefix;
    }

    pub(crate) fn input(&mut self, spec: InputSpec) -> NodeId {
        let index = self.graph.inputs.len() as u32;
        let (name, shape, bits, bound) = (spec.name.clone(), spec.shape, spec.bits, spec.max_abs);
        self.graph.inputs.push(spec);
        self.push(&name, Op::Input(index), shape, bits, f64::from(bound))
    }

    /// An input whose node has the input's own name, whatever the prefix.
    pub(crate) fn unprefixed_input(&mut self, spec: InputSpec) -> NodeId {
        let prefix = std::mem::take(&mut self.prefix);
        let id = self.input(spec);
        self.prefix = prefix;
        id
    }

    pub(crate) fn output(&mut self, id: NodeId) {
        self.graph.outputs.push(id);
    }

    pub(crate) fn matmul_weight(&mut self, name: &str, x: NodeId, w: WeightId, bound: f64) -> NodeId {
        let cols = self.graph.weights[w.0 as usize].cols;
        self.push(name, Op::MatMulWeight { x, w }, Shape { cols, ..self.shape(x) }, 32, bound)
    }

    pub(crate) fn scale_weight(&mut self, name: &str, x: NodeId, w: WeightId, bound: f64) -> NodeId {
        self.push(name, Op::ScaleWeight { x, w }, self.shape(x), 32, bound)
    }

    pub(crate) fn add_weight(&mut self, name: &str, x: NodeId, w: WeightId, bound: f64) -> NodeId {
        self.push(name, Op::AddWeight { x, w }, self.shape(x), self.bits(x), bound)
    }

    pub(crate) fn matmul(&mut self, name: &str, a: NodeId, b: NodeId, transpose_b: bool, bound: f64) -> NodeId {
        let cols = if transpose_b { self.shape(b).rows } else { self.shape(b).cols };
        self.push(name, Op::MatMul { a, b, transpose_b }, Shape { cols, ..self.shape(a) }, 32, bound)
    }

    pub(crate) fn add(&mut self, name: &str, a: NodeId, b: NodeId, bound: f64) -> NodeId {
        let bits = self.bits(a).min(self.bits(b));
        self.push(name, Op::Add { a, b }, self.shape(a), bits, bound)
    }

    /// A sum in fewer bits than its operands may have.
    pub(crate) fn add_narrow(&mut self, name: &str, a: NodeId, b: NodeId, bits: u8, bound: f64) -> NodeId {
        self.push(name, Op::Add { a, b }, self.shape(a), bits, bound)
    }

    /// A multiple, in as many bits as its operand has or fewer.
    pub(crate) fn mul_public(&mut self, name: &str, x: NodeId, k: i32, bits: u8, bound: f64) -> NodeId {
        self.push(name, Op::MulPublic { x, k }, self.shape(x), bits, bound)
    }

    pub(crate) fn sub(&mut self, name: &str, a: NodeId, b: NodeId, bound: f64) -> NodeId {
        let shape = if self.shape(a).cols == 1 { self.shape(b) } else { self.shape(a) };
        self.push(name, Op::Sub { a, b }, shape, self.bits(a).min(self.bits(b)), bound)
    }

    pub(crate) fn mul(&mut self, name: &str, a: NodeId, b: NodeId, bound: f64) -> NodeId {
        self.push(name, Op::Mul { a, b }, self.shape(a), 32, bound)
    }

    pub(crate) fn square_sum(&mut self, name: &str, x: NodeId, bound: f64) -> NodeId {
        self.push(name, Op::SquareSum { x }, Shape { cols: 1, ..self.shape(x) }, 32, bound)
    }

    pub(crate) fn row_sum(&mut self, name: &str, x: NodeId, bound: f64) -> NodeId {
        self.push(name, Op::RowSum { x }, Shape { cols: 1, ..self.shape(x) }, self.bits(x), bound)
    }

    pub(crate) fn row_max(&mut self, name: &str, x: NodeId, bound: f64) -> NodeId {
        self.push(name, Op::RowMax { x }, Shape { cols: 1, ..self.shape(x) }, self.bits(x), bound)
    }

    /// A value of 32 bits, rescaled.
    pub(crate) fn rescale(&mut self, name: &str, x: NodeId, shift: u8, bound: f64) -> NodeId {
        let op = Op::Rescale { x, shift, usage: RescaleUse::Value };
        self.push(name, op, self.shape(x), 32, bound)
    }

    /// A table index or an operand of comparisons: exact in every mode.
    pub(crate) fn index(&mut self, name: &str, x: NodeId, shift: u8, bits: u8, bound: f64) -> NodeId {
        let op = Op::Rescale { x, shift, usage: RescaleUse::Index };
        self.push(name, op, self.shape(x), bits, bound)
    }

    pub(crate) fn clamp_index(&mut self, name: &str, x: NodeId, index_bits: u8) -> NodeId {
        let bound = f64::from((1u32 << index_bits) - 1);
        self.push(name, Op::ClampIndex { x, index_bits }, self.shape(x), index_bits, bound)
    }

    pub(crate) fn lookup(&mut self, name: &str, x: NodeId, table: &Table, bound: f64) -> NodeId {
        let id = *self.tables.entry(table.name.clone()).or_insert_with(|| {
            self.graph.tables.push(table.clone());
            TableId(self.graph.tables.len() as u32 - 1)
        });
        self.push(name, Op::Lookup { x, table: id }, self.shape(x), 32, bound)
    }

    pub(crate) fn step(&mut self, name: &str, x: NodeId, base: i32, steps: Vec<(u32, i32)>, bound: f64) -> NodeId {
        self.push(name, Op::Step { x, base, steps }, self.shape(x), 32, bound)
    }

    pub(crate) fn slice(&mut self, name: &str, x: NodeId, from: u32, cols: u32, bound: f64) -> NodeId {
        self.push(name, Op::SliceCols { x, from }, Shape { cols, ..self.shape(x) }, self.bits(x), bound)
    }

    pub(crate) fn concat(&mut self, name: &str, parts: Vec<NodeId>, bound: f64) -> NodeId {
        let cols = parts.iter().map(|&p| self.shape(p).cols).sum();
        let shape = Shape { cols, ..self.shape(parts[0]) };
        self.push(name, Op::ConcatCols { parts }, shape, 32, bound)
    }

    pub(crate) fn split_heads(&mut self, name: &str, x: NodeId, heads: u32) -> NodeId {
        let Shape { rows, cols, .. } = self.shape(x);
        let bound = self.graph.nodes[x.0 as usize].bound as f64;
        self.push(name, Op::SplitHeads { x }, Shape::new(heads, rows, cols / heads), self.bits(x), bound)
    }

    pub(crate) fn merge_heads(&mut self, name: &str, x: NodeId) -> NodeId {
        let Shape { batch, rows, cols } = self.shape(x);
        let bound = self.graph.nodes[x.0 as usize].bound as f64;
        self.push(name, Op::MergeHeads { x }, Shape::new(1, rows, batch * cols), self.bits(x), bound)
    }

    fn push(&mut self, name: &str, op: Op, shape: Shape, bits: u8, bound: f64) -> NodeId {
        let id = NodeId(self.graph.nodes.len() as u32);
        let name = format!("{}{name}", self.prefix);
        let (bound, origin) = (bound.ceil() as u64, BoundOrigin::Proven);
        self.graph.nodes.push(Node { name, op, shape, bits, bound, origin });
        id
    }

    fn shape(&self, id: NodeId) -> Shape {
        self.graph.nodes[id.0 as usize].shape
    }

    fn bits(&self, id: NodeId) -> u8 {
        self.graph.nodes[id.0 as usize].bits
    }
}
