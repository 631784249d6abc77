//! Canonical graph bytes and the graph's identity.
//!
//! One graph has one encoding, so [`GraphId`], the BLAKE3 hash of the bytes, names what is computed. Decoding checks
//! limits before it allocates and ends with [`Graph::check`]; a graph that decodes is safe to execute.

use crate::bytes::{DecodeError, Reader, Writer};
use crate::check::{CheckError, MAX_INPUTS, MAX_NAME, MAX_NODES, MAX_PARTS, MAX_STEPS, MAX_TABLES};
use crate::graph::{
    BoundOrigin, Graph, InputRange, InputSpec, Node, NodeId, Op, RescaleUse, Shape, Table, TableId, WeightId,
    WeightSpec,
};
use crate::weights::MAX_TENSORS;

/// First bytes of a graph file.
const MAGIC: &[u8; 7] = b"SHGRAPH";
/// The version of a graph with nothing but symmetric inputs, so that those of older programs keep their ids.
const VERSION: u16 = 1;
/// The version in which each input has a range.
const WITH_RANGES: u16 = 2;
/// Longest encoding that is read.
pub const MAX_GRAPH_BYTES: usize = 16 << 20;

/// The identity of a graph: BLAKE3 of its canonical bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GraphId(pub [u8; 32]);

impl std::fmt::Display for GraphId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for GraphId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GraphId({self})")
    }
}

impl std::str::FromStr for GraphId {
    type Err = GraphIdError;

    fn from_str(text: &str) -> Result<Self, GraphIdError> {
        let bytes = text.as_bytes();
        if bytes.len() != 64 {
            return Err(GraphIdError);
        }
        let mut id = [0; 32];
        for (byte, pair) in id.iter_mut().zip(bytes.chunks_exact(2)) {
            let digit = |c: u8| (c as char).to_digit(16).ok_or(GraphIdError);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self(id))
    }
}

/// Not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a graph id is 64 hexadecimal digits")]
pub struct GraphIdError;

/// Why graph bytes were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphDecodeError {
    /// The bytes.
    #[error(transparent)]
    Bytes(#[from] DecodeError),
    /// What they describe.
    #[error(transparent)]
    Check(#[from] CheckError),
}

impl Graph {
    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let ranges = self.inputs.iter().any(|input| input.range != InputRange::Symmetric);
        let mut out = Writer::with_header(MAGIC, if ranges { WITH_RANGES } else { VERSION });
        out.text(&self.model).u32(self.seq_len).u32(self.layers).bytes(&self.weights_root);
        out.u32(self.inputs.len() as u32);
        for input in &self.inputs {
            out.text(&input.name);
            write_shape(&mut out, input.shape);
            out.u8(input.bits).u32(input.max_abs).u32(input.max_row_norm);
            if ranges {
                out.u8(u8::from(input.range == InputRange::Mask));
            }
        }
        out.u32(self.weights.len() as u32);
        for weight in &self.weights {
            out.text(&weight.name).u32(weight.rows).u32(weight.cols);
        }
        out.u32(self.tables.len() as u32);
        for table in &self.tables {
            out.text(&table.name).u32(table.entries.len() as u32).words(&table.entries);
        }
        out.u32(self.nodes.len() as u32);
        for node in &self.nodes {
            out.text(&node.name);
            write_op(&mut out, &node.op);
            write_shape(&mut out, node.shape);
            out.u8(node.bits).u64(node.bound).u8(match node.origin {
                BoundOrigin::Proven => 0,
                BoundOrigin::Calibrated => 1,
            });
        }
        write_nodes(&mut out, &self.outputs);
        out.0
    }

    /// Reads the bytes of [`Graph::to_bytes`] and checks the graph.
    ///
    /// # Errors
    /// When the bytes are not of this format and version, are cut short or go on after the end, or the graph breaks a
    /// rule.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GraphDecodeError> {
        let graph = decode(bytes)?;
        graph.check()?;
        Ok(graph)
    }

    /// The identity: BLAKE3 of the canonical bytes.
    pub fn id(&self) -> GraphId {
        GraphId(*blake3::hash(&self.to_bytes()).as_bytes())
    }
}

fn decode(bytes: &[u8]) -> Result<Graph, DecodeError> {
    if bytes.len() > MAX_GRAPH_BYTES {
        let (found, limit) = (bytes.len() as u64, MAX_GRAPH_BYTES as u64);
        return Err(DecodeError::Limit { what: "graph", items: "bytes", found, limit });
    }
    let mut input = Reader::new("graph", bytes);
    let version = input.header_of(MAGIC, VERSION..=WITH_RANGES)?;
    let graph = Graph {
        model: input.text("model name", MAX_NAME)?,
        seq_len: input.u32()?,
        layers: input.u32()?,
        weights_root: input.array()?,
        inputs: list(&mut input, "inputs", MAX_INPUTS, |input| {
            Ok(InputSpec {
                name: input.text("input name", MAX_NAME)?,
                shape: read_shape(input)?,
                bits: input.u8()?,
                max_abs: input.u32()?,
                max_row_norm: input.u32()?,
                range: match version {
                    VERSION => InputRange::Symmetric,
                    _ => read_range(input)?,
                },
            })
        })?,
        weights: list(&mut input, "weights", MAX_TENSORS, |input| {
            Ok(WeightSpec { name: input.text("weight name", MAX_NAME)?, rows: input.u32()?, cols: input.u32()? })
        })?,
        tables: list(&mut input, "tables", MAX_TABLES, |input| {
            let name = input.text("table name", MAX_NAME)?;
            let len = input.count("table entries", 1 << 10)?;
            Ok(Table { name, entries: input.words(len)? })
        })?,
        nodes: list(&mut input, "nodes", MAX_NODES, |input| {
            Ok(Node {
                name: input.text("node name", MAX_NAME)?,
                op: read_op(input)?,
                shape: read_shape(input)?,
                bits: input.u8()?,
                bound: input.u64()?,
                origin: match input.u8()? {
                    0 => BoundOrigin::Proven,
                    1 => BoundOrigin::Calibrated,
                    _ => return Err(input.field("bound origin")),
                },
            })
        })?,
        outputs: list(&mut input, "outputs", MAX_INPUTS, node)?,
    };
    input.finish()?;
    if version == WITH_RANGES && graph.inputs.iter().all(|input| input.range == InputRange::Symmetric) {
        // One graph has one encoding.
        return Err(DecodeError::Field { what: "graph", field: "version without a mask" });
    }
    Ok(graph)
}

fn read_range(input: &mut Reader<'_>) -> Result<InputRange, DecodeError> {
    match input.u8()? {
        0 => Ok(InputRange::Symmetric),
        1 => Ok(InputRange::Mask),
        _ => Err(input.field("input range")),
    }
}

fn list<T>(
    input: &mut Reader<'_>,
    items: &'static str,
    limit: usize,
    item: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let len = input.count(items, limit)?;
    (0..len).map(|_| item(input)).collect()
}

fn write_shape(out: &mut Writer, shape: Shape) {
    out.u32(shape.batch).u32(shape.rows).u32(shape.cols);
}

/// Their number, then the nodes.
fn write_nodes(out: &mut Writer, nodes: &[NodeId]) {
    out.u32(nodes.len() as u32);
    for id in nodes {
        out.u32(id.0);
    }
}

fn read_shape(input: &mut Reader<'_>) -> Result<Shape, DecodeError> {
    Ok(Shape::new(input.u32()?, input.u32()?, input.u32()?))
}

fn node(input: &mut Reader<'_>) -> Result<NodeId, DecodeError> {
    input.u32().map(NodeId)
}

/// The operator's number, its operands, its constants.
fn write_op(out: &mut Writer, op: &Op) {
    let code = |out: &mut Writer, code, operands: &[NodeId]| {
        out.u8(code);
        for id in operands {
            out.u32(id.0);
        }
    };
    match op {
        Op::Input(i) => code(out, 0, &[NodeId(*i)]),
        Op::MatMulWeight { x, w } => code(out, 1, &[*x, NodeId(w.0)]),
        Op::ScaleWeight { x, w } => code(out, 2, &[*x, NodeId(w.0)]),
        Op::AddWeight { x, w } => code(out, 3, &[*x, NodeId(w.0)]),
        Op::MatMul { a, b, transpose_b: false } => code(out, 4, &[*a, *b]),
        Op::MatMul { a, b, transpose_b: true } => code(out, 5, &[*a, *b]),
        Op::Add { a, b } => code(out, 6, &[*a, *b]),
        Op::Sub { a, b } => code(out, 7, &[*a, *b]),
        Op::MulPublic { x, k } => {
            code(out, 8, &[*x]);
            out.i32(*k);
        }
        Op::Mul { a, b } => code(out, 9, &[*a, *b]),
        Op::SquareSum { x } => code(out, 10, &[*x]),
        Op::RowSum { x } => code(out, 11, &[*x]),
        Op::RowMax { x } => code(out, 12, &[*x]),
        Op::Rescale { x, shift, usage } => {
            code(out, if *usage == RescaleUse::Value { 13 } else { 14 }, &[*x]);
            out.u8(*shift);
        }
        Op::ClampIndex { x, index_bits } => {
            code(out, 15, &[*x]);
            out.u8(*index_bits);
        }
        Op::Lookup { x, table } => code(out, 16, &[*x, NodeId(table.0)]),
        Op::Step { x, base, steps } => {
            code(out, 17, &[*x]);
            out.i32(*base).u32(steps.len() as u32);
            for (threshold, weight) in steps {
                out.u32(*threshold).i32(*weight);
            }
        }
        Op::SliceCols { x, from } => code(out, 18, &[*x, NodeId(*from)]),
        Op::ConcatCols { parts } => {
            code(out, 19, &[]);
            write_nodes(out, parts);
        }
        Op::SplitHeads { x } => code(out, 20, &[*x]),
        Op::MergeHeads { x } => code(out, 21, &[*x]),
    }
}

fn read_op(input: &mut Reader<'_>) -> Result<Op, DecodeError> {
    Ok(match input.u8()? {
        0 => Op::Input(input.u32()?),
        1 => Op::MatMulWeight { x: node(input)?, w: WeightId(input.u32()?) },
        2 => Op::ScaleWeight { x: node(input)?, w: WeightId(input.u32()?) },
        3 => Op::AddWeight { x: node(input)?, w: WeightId(input.u32()?) },
        4 => Op::MatMul { a: node(input)?, b: node(input)?, transpose_b: false },
        5 => Op::MatMul { a: node(input)?, b: node(input)?, transpose_b: true },
        6 => Op::Add { a: node(input)?, b: node(input)? },
        7 => Op::Sub { a: node(input)?, b: node(input)? },
        8 => Op::MulPublic { x: node(input)?, k: input.i32()? },
        9 => Op::Mul { a: node(input)?, b: node(input)? },
        10 => Op::SquareSum { x: node(input)? },
        11 => Op::RowSum { x: node(input)? },
        12 => Op::RowMax { x: node(input)? },
        13 => Op::Rescale { x: node(input)?, shift: input.u8()?, usage: RescaleUse::Value },
        14 => Op::Rescale { x: node(input)?, shift: input.u8()?, usage: RescaleUse::Index },
        15 => Op::ClampIndex { x: node(input)?, index_bits: input.u8()? },
        16 => Op::Lookup { x: node(input)?, table: TableId(input.u32()?) },
        17 => Op::Step {
            x: node(input)?,
            base: input.i32()?,
            steps: list(input, "thresholds", MAX_STEPS, |input| Ok((input.u32()?, input.i32()?)))?,
        },
        18 => Op::SliceCols { x: node(input)?, from: input.u32()? },
        19 => Op::ConcatCols { parts: list(input, "parts", MAX_PARTS, node)? },
        20 => Op::SplitHeads { x: node(input)? },
        21 => Op::MergeHeads { x: node(input)? },
        _ => return Err(input.field("operator")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testgraph::{Rng, random};

    #[test]
    fn bytes_round_trip_and_name_the_graph() {
        for seed in 0..100 {
            let (graph, _, _) = random(seed);
            let bytes = graph.to_bytes();
            let again = Graph::from_bytes(&bytes).unwrap();
            assert_eq!(again, graph);
            assert_eq!(again.to_bytes(), bytes);
            assert_eq!(graph.id().to_string().parse::<GraphId>().unwrap(), graph.id());
        }
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let mut bytes = random(1).0.to_bytes();
        bytes[7] = 9;
        let error = Graph::from_bytes(&bytes).unwrap_err().to_string();
        assert_eq!(
            error,
            "graph has version 9, this program knows version 2: upgrade the older side, or make it again"
        );
    }

    #[test]
    fn damaged_and_random_bytes_never_panic_and_never_run_out_of_bounds() {
        let mut rng = Rng::new(7);
        for seed in 0..40 {
            let (graph, weights, inputs) = random(seed);
            let bytes = graph.to_bytes();
            for _ in 0..200 {
                let mut bad = bytes.clone();
                for _ in 0..1 + rng.below(4) {
                    let at = rng.below(bad.len() as u64) as usize;
                    bad[at] = rng.word() as u8;
                }
                if rng.below(3) == 0 {
                    bad.truncate(rng.below(bad.len() as u64) as usize);
                }
                if let Ok(graph) = Graph::from_bytes(&bad) {
                    let small = graph.nodes.iter().map(|n| n.shape.len()).sum::<usize>() < 1 << 20;
                    if small && weights.matches(&graph.weights) {
                        let _ = crate::reference::execute(&graph, &weights, &inputs, &Default::default());
                    }
                }
            }
            let noise: Vec<u8> =
                MAGIC.iter().copied().chain([1, 0]).chain((0..300).map(|_| rng.word() as u8)).collect();
            assert!(Graph::from_bytes(&noise).is_err());
        }
    }

    #[test]
    fn a_bound_that_is_only_calibrated_says_so_in_the_bytes_and_in_the_id() {
        let (mut graph, ..) = random(5);
        let (id, bytes) = (graph.id(), graph.to_bytes());
        graph.nodes[1].origin = BoundOrigin::Calibrated;
        let mut calibrated = graph.to_bytes();
        assert_eq!(Graph::from_bytes(&calibrated).unwrap(), graph);
        assert_ne!(graph.id(), id);
        let differences: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != calibrated[at]).collect();
        let [at] = differences[..] else { panic!("{differences:?}") };
        calibrated[at] = 2;
        let error = Graph::from_bytes(&calibrated).unwrap_err().to_string();
        assert!(error.contains("bound origin"), "{error}");
    }

    #[test]
    fn a_graph_with_a_mask_has_one_encoding_too() {
        let (mut graph, ..) = crate::testgraph::random(3);
        let mask = graph.inputs.iter().position(|input| input.range == InputRange::Mask).unwrap();
        let bytes = graph.to_bytes();
        assert_eq!(Graph::from_bytes(&bytes).unwrap(), graph);
        // Where the mask's range stands: the other difference to a graph whose first input is the mask instead.
        (graph.inputs[0].range, graph.inputs[mask].range) = (InputRange::Mask, InputRange::Symmetric);
        let swapped = graph.to_bytes();
        let differences: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != swapped[at]).collect();
        let [_, at] = differences[..] else { panic!("{differences:?}") };
        for (range, say) in [(0, "version without a mask"), (2, "input range")] {
            let mut wrong = bytes.clone();
            wrong[at] = range;
            let error = Graph::from_bytes(&wrong).unwrap_err().to_string();
            assert!(error.contains(say), "{error}");
        }
    }
}
