//! Graphs to prove, for tests and measurements: a perceptron of any size, and small random graphs.

mod random;

pub use random::random;

use sahara_circuits::graph::{
    BoundOrigin, Graph, InputRange, InputSpec, Node, NodeId, Op, RescaleUse, Shape, Table, TableId, WeightId,
    WeightSpec,
};
use sahara_circuits::testgraph::Rng;
use sahara_circuits::weights::Weights;

/// A perceptron on `rows` inputs of 8 bits: layers of these widths, each with a bias, and between them a rescale and a
/// table (the positive part).
pub fn perceptron(widths: &[u32], rows: u32) -> (Graph, Weights, Vec<Vec<i32>>) {
    let mut rng = Rng::new(7);
    let mut maker = Maker::new("perceptron", rows);
    let mut x = maker.input("x", Shape::new(1, rows, widths[0]), 32, 127);
    let mut most = 127u64;
    for (layer, pair) in widths.windows(2).enumerate() {
        let (from, to) = (pair[0], pair[1]);
        let shape = Shape::new(1, rows, to);
        let w = maker.weight(&mut rng, from, to, 127);
        let bias = maker.weight(&mut rng, 1, to, 2047);
        let sum = u64::from(from) * most * 127;
        let product = maker.node(Op::MatMulWeight { x, w }, shape, 32, sum);
        x = maker.node(Op::AddWeight { x: product, w: bias }, shape, 32, sum + 2047);
        if layer + 2 < widths.len() {
            // To 8 bits and a sign, with room for what the widths of inputs and weights allow beyond their values.
            let shift = (sum + 2047).ilog2().saturating_sub(7).max(1) as u8;
            let op = Op::Rescale { x, shift, usage: RescaleUse::Value };
            let index = maker.node(op, shape, 32, ((sum + 2047) >> shift) + 1);
            let table = maker.table((0..1024).map(|i| if i < 512 { (i / 2).min(127) } else { 0 }).collect());
            x = maker.node(Op::Lookup { x: index, table }, shape, 32, 127);
            most = 127;
        }
    }
    maker.finish(&mut rng, vec![x])
}

/// A graph in the making.
struct Maker {
    graph: Graph,
    weights: Weights,
}

impl Maker {
    fn new(model: &str, seq_len: u32) -> Self {
        let graph = Graph {
            model: model.into(),
            seq_len,
            layers: 1,
            weights_root: [0; 32],
            inputs: Vec::new(),
            weights: Vec::new(),
            tables: Vec::new(),
            nodes: Vec::new(),
            outputs: Vec::new(),
        };
        Self { graph, weights: Weights::default() }
    }

    fn input(&mut self, name: &str, shape: Shape, bits: u8, max_abs: u32) -> NodeId {
        let max_row_norm = (f64::from(max_abs) * f64::from(shape.cols).sqrt()).ceil() as u32;
        let index = self.graph.inputs.len() as u32;
        let range = InputRange::Symmetric;
        self.graph.inputs.push(InputSpec { name: name.into(), shape, bits, range, max_abs, max_row_norm });
        self.node(Op::Input(index), shape, bits, max_abs.into())
    }

    fn weight(&mut self, rng: &mut Rng, rows: u32, cols: u32, most: i64) -> WeightId {
        let id = WeightId(self.graph.weights.len() as u32);
        self.graph.weights.push(WeightSpec { name: format!("weight.{}", id.0), rows, cols });
        let values = (0..u64::from(rows) * u64::from(cols)).map(|_| rng.between(-most, most) as i32);
        self.weights.tensors.push(values.collect());
        id
    }

    fn table(&mut self, entries: Vec<i32>) -> TableId {
        let id = TableId(self.graph.tables.len() as u32);
        self.graph.tables.push(Table { name: format!("table.{}", id.0), entries });
        id
    }

    fn node(&mut self, op: Op, shape: Shape, bits: u8, bound: u64) -> NodeId {
        let id = NodeId(self.graph.nodes.len() as u32);
        let name = format!("{}.{}", op.name(), id.0);
        self.graph.nodes.push(Node { name, op, shape, bits, bound, origin: BoundOrigin::Proven });
        id
    }

    /// Inputs within their ranges, the ends more often.
    fn finish(mut self, rng: &mut Rng, outputs: Vec<NodeId>) -> (Graph, Weights, Vec<Vec<i32>>) {
        self.graph.outputs = outputs;
        self.graph.weights_root = self.weights.root(&self.graph.weights);
        let value = |rng: &mut Rng, most: i64| match rng.below(6) {
            0 => most,
            1 => -most,
            _ => rng.between(-most, most),
        };
        let inputs = self
            .graph
            .inputs
            .iter()
            .map(|spec| (0..spec.shape.len()).map(|_| value(rng, spec.max_abs.into()) as i32).collect());
        let inputs = inputs.collect();
        (self.graph, self.weights, inputs)
    }
}
