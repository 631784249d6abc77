//! The integer graph: what a model computes, exactly.
//!
//! A [`Graph`] is a list of nodes in single-assignment, topological order. Every node is a tensor of signed
//! integers with a static [`Shape`] and a declared width. All arithmetic wraps modulo `2^bits`, so every executor
//! (plain, on shares, prover, dispute game) gives the same integers whatever its threads and vector width.
//!
//! A value of width `b` is the representative in `[-2^(b-1), 2^(b-1))`. Reducing to a narrower width is free and
//! implicit: an operand wider than its node is taken modulo the node's width.

/// Index of a node in [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// Index of a weight tensor in [`Graph::weights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WeightId(pub u32);

/// Index of a lookup table in [`Graph::tables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u32);

/// Batch (attention heads or 1), rows (tokens) and columns (channels); row-major, `batch` outermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Outermost dimension.
    pub batch: u32,
    /// Middle dimension.
    pub rows: u32,
    /// Innermost, contiguous dimension.
    pub cols: u32,
}

impl Shape {
    /// A shape from its three dimensions.
    pub const fn new(batch: u32, rows: u32, cols: u32) -> Self {
        Self { batch, rows, cols }
    }

    /// Number of elements.
    pub const fn len(&self) -> usize {
        self.batch as usize * self.rows as usize * self.cols as usize
    }

    /// Whether the shape has no element (never true for a checked graph).
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {}, {}]", self.batch, self.rows, self.cols)
    }
}

/// Which values an input may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputRange {
    /// `[-max_abs, max_abs]`, rows within `max_row_norm` (L2).
    Symmetric,
    /// `[-max_abs, 0]` with a 0 in each row: what is added to hide places of a row, never all of them. The length of
    /// a row follows from its values and is not looked at.
    Mask,
}

/// A private input of the consumer. Values must lie in `range`, or the proven bounds of the graph do not hold;
/// `Client::infer` of the share nodes' crate checks this before anything is shared.
#[derive(Clone, Debug, PartialEq)]
pub struct InputSpec {
    /// What the input is, e.g. `embedding`.
    pub name: String,
    /// Static shape.
    pub shape: Shape,
    /// Width in bits.
    pub bits: u8,
    /// Which values it may have.
    pub range: InputRange,
    /// Largest absolute value.
    pub max_abs: u32,
    /// Largest L2 norm of a row, rounded up.
    pub max_row_norm: u32,
}

impl InputSpec {
    /// Checks everything that the bounds of the graph rely on: length, largest value, longest row.
    ///
    /// # Errors
    /// What is out of range, in one line that names the input and no value.
    pub fn check(&self, values: &[i32]) -> Result<(), InputError> {
        let name = || self.name.clone();
        if values.len() != self.shape.len() {
            return Err(InputError::Length { name: name(), expected: self.shape.len(), found: values.len() });
        }
        if values.iter().any(|v| v.unsigned_abs() > self.max_abs) {
            return Err(InputError::Value { name: name(), max_abs: self.max_abs });
        }
        if self.range == InputRange::Mask {
            let rows = values.chunks(self.shape.cols.max(1) as usize);
            let hides = |row: &[i32]| row.iter().max() == Some(&0);
            return match rows.enumerate().find(|(_, row)| !hides(row)) {
                Some((row, _)) => Err(InputError::Mask { name: name(), row }),
                None => Ok(()),
            };
        }
        let longest = u128::from(self.max_row_norm) * u128::from(self.max_row_norm);
        let square = |v: &i32| u128::from(v.unsigned_abs()) * u128::from(v.unsigned_abs());
        let rows = values.chunks(self.shape.cols.max(1) as usize);
        match rows.enumerate().find(|(_, row)| row.iter().map(square).sum::<u128>() > longest) {
            Some((row, _)) => Err(InputError::RowNorm { name: name(), row, max_row_norm: self.max_row_norm }),
            None => Ok(()),
        }
    }
}

/// An input for which the bounds of the graph do not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// Another number of values.
    #[error("input `{name}` takes {expected} values, {found} were given")]
    Length {
        /// The input.
        name: String,
        /// Values of its shape.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// A value too large.
    #[error("input `{name}` has a value outside ±{max_abs}")]
    Value {
        /// The input.
        name: String,
        /// The largest absolute value allowed.
        max_abs: u32,
    },
    /// A mask that hides all, or adds something.
    #[error("row {row} of the mask `{name}` needs a 0 and has to be negative elsewhere")]
    Mask {
        /// The input.
        name: String,
        /// The row.
        row: usize,
    },
    /// A row too long.
    #[error("row {row} of input `{name}` is longer (L2 norm) than {max_row_norm}")]
    RowNorm {
        /// The input.
        name: String,
        /// Which row, from 0, over all batches.
        row: usize,
        /// The largest norm allowed.
        max_row_norm: u32,
    },
}

/// A weight tensor; its values live in [`crate::weights::Weights`], not in the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightSpec {
    /// Canonical name, e.g. `layer.0.attention.query.weight`.
    pub name: String,
    /// `[rows, cols]`, stored row-major as `input channel × output channel`; a vector has `rows = 1`.
    pub rows: u32,
    /// Output channels.
    pub cols: u32,
}

/// A lookup table over `2^bits` entries; the index is the operand modulo `2^bits`.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What it tabulates, e.g. `gelu/8`.
    pub name: String,
    /// `2^bits` entries, `bits` in 4..=10; entry `i` is the value for an operand congruent to `i`.
    pub entries: Vec<i32>,
}

impl Table {
    /// Index width in bits.
    pub fn bits(&self) -> u8 {
        self.entries.len().trailing_zeros() as u8
    }
}

/// What a rescaled tensor is used for; decides whether faithful execution may be one off in the last place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RescaleUse {
    /// A value: faithful mode may give ±1 in the last place.
    Value,
    /// An index of a table or an operand of a comparison: exact in every mode.
    Index,
}

/// One operator. Semantics are over the integers modulo `2^bits` of the node.
#[allow(missing_docs)] // the fields are the letters of each operator's formula
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The private input with this position in [`Graph::inputs`].
    Input(u32),
    /// `x · W`: `[b,r,k] × [k,n] → [b,r,n]`. Width 32.
    MatMulWeight { x: NodeId, w: WeightId },
    /// `x ∘ w` with a weight vector along the columns. Width 32.
    ScaleWeight { x: NodeId, w: WeightId },
    /// `x + w` with a weight vector along the columns.
    AddWeight { x: NodeId, w: WeightId },
    /// Batched product of two secret tensors: `[b,r,k] × [b,k,n] → [b,r,n]`, or `[b,n,k]ᵀ` with `transpose_b`. Width 32.
    MatMul { a: NodeId, b: NodeId, transpose_b: bool },
    /// `a + b`; each dimension of `b` equals that of `a` or is 1 (broadcast).
    Add { a: NodeId, b: NodeId },
    /// `a - b`; each dimension of `b` equals that of `a` or is 1 (broadcast); or `a` is broadcast against `b`
    /// when `a` has one column and `b` more (row maximum minus scores).
    Sub { a: NodeId, b: NodeId },
    /// `k · x` with a public constant.
    MulPublic { x: NodeId, k: i32 },
    /// Elementwise product of secrets; `b` has the shape of `a`, or one column (broadcast along the columns). Width 32.
    Mul { a: NodeId, b: NodeId },
    /// Sum of squares of each row: `[b,r,c] → [b,r,1]`. Width 32.
    SquareSum { x: NodeId },
    /// Sum of each row: `[b,r,c] → [b,r,1]`.
    RowSum { x: NodeId },
    /// Maximum of each row: `[b,r,c] → [b,r,1]`, same width. Values of one row differ by less than `2^(bits-1)`.
    RowMax { x: NodeId },
    /// `⌊(x + 2^(shift-1)) / 2^shift⌋` (round half up). The operand has width 32. With node width 32 the operand's bound
    /// is at most [`rescale_limit`]; a narrower result (`bits ≤ 32 - shift`) is taken modulo its width. `1 ≤ shift ≤ 20`.
    Rescale { x: NodeId, shift: u8, usage: RescaleUse },
    /// `min(x, 2^index_bits - 1)` for `0 ≤ x < 2^(w-1)`, `w` the operand's width; node width is `index_bits`.
    ClampIndex { x: NodeId, index_bits: u8 },
    /// `table[x mod 2^table.bits]`. Width 32.
    Lookup { x: NodeId, table: TableId },
    /// `base + Σ_k weight_k · [x ≥ threshold_k]` for `0 ≤ x < 2^(w-1)` and `0 < threshold_k < 2^(w-1)`. Width 32.
    Step { x: NodeId, base: i32, steps: Vec<(u32, i32)> },
    /// Columns `from .. from + cols` of the operand.
    SliceCols { x: NodeId, from: u32 },
    /// The operands side by side.
    ConcatCols { parts: Vec<NodeId> },
    /// `[1, r, heads·d] → [heads, r, d]`.
    SplitHeads { x: NodeId },
    /// `[heads, r, d] → [1, r, heads·d]`.
    MergeHeads { x: NodeId },
}

/// The largest absolute value that can be rescaled by `shift` to 32 bits: `2^30 - 2^(shift-1) - 1`, so that a value
/// with the half that rounds it stays below `2^30`. Share nodes recognise a wrap by the top bit, which needs that.
pub const fn rescale_limit(shift: u8) -> u64 {
    (1 << 30) - (1 << (shift - 1)) - 1
}

impl Op {
    /// Calls `f` with every operand.
    pub fn operands(&self, mut f: impl FnMut(NodeId)) {
        match self {
            Op::Input(_) => {}
            Op::MatMulWeight { x, .. }
            | Op::ScaleWeight { x, .. }
            | Op::AddWeight { x, .. }
            | Op::MulPublic { x, .. }
            | Op::SquareSum { x }
            | Op::RowSum { x }
            | Op::RowMax { x }
            | Op::Rescale { x, .. }
            | Op::ClampIndex { x, .. }
            | Op::Lookup { x, .. }
            | Op::Step { x, .. }
            | Op::SliceCols { x, .. }
            | Op::SplitHeads { x }
            | Op::MergeHeads { x } => f(*x),
            Op::MatMul { a, b, .. } | Op::Add { a, b } | Op::Sub { a, b } | Op::Mul { a, b } => {
                f(*a);
                f(*b);
            }
            Op::ConcatCols { parts } => parts.iter().copied().for_each(f),
        }
    }

    /// The operator's name, for profiles and tests.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input(_) => "input",
            Op::MatMulWeight { .. } => "matmul_weight",
            Op::ScaleWeight { .. } => "scale_weight",
            Op::AddWeight { .. } => "add_weight",
            Op::MatMul { .. } => "matmul",
            Op::Add { .. } => "add",
            Op::Sub { .. } => "sub",
            Op::MulPublic { .. } => "mul_public",
            Op::Mul { .. } => "mul",
            Op::SquareSum { .. } => "square_sum",
            Op::RowSum { .. } => "row_sum",
            Op::RowMax { .. } => "row_max",
            Op::Rescale { .. } => "rescale",
            Op::ClampIndex { .. } => "clamp_index",
            Op::Lookup { .. } => "lookup",
            Op::Step { .. } => "step",
            Op::SliceCols { .. } => "slice_cols",
            Op::ConcatCols { .. } => "concat_cols",
            Op::SplitHeads { .. } => "split_heads",
            Op::MergeHeads { .. } => "merge_heads",
        }
    }
}

/// `x` modulo `2^bits`, as the representative in `[-2^(bits-1), 2^(bits-1))`; `1 ≤ bits ≤ 32`.
pub fn wrap(x: i64, bits: u8) -> i32 {
    let unused = 32 - u32::from(bits);
    ((x as i32) << unused) >> unused
}

/// Where a bound on the absolute value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BoundOrigin {
    /// Follows from the weights for every input in range.
    Proven,
    /// Seen on calibration text, with headroom.
    Calibrated,
}

/// One tensor and the operator that makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is, e.g. `layer.0.attention.scores`; `layer.N.` groups nodes for profiles.
    pub name: String,
    /// The operator.
    pub op: Op,
    /// Static shape of the result.
    pub shape: Shape,
    /// Width of the result in bits, 1..=32.
    pub bits: u8,
    /// No element exceeds this in absolute value (as an integer, before any wrap).
    pub bound: u64,
    /// Whether `bound` is proven or only calibrated.
    pub origin: BoundOrigin,
}

/// A model compiled for one sequence length.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Model name, e.g. `all-MiniLM-L6-v2`.
    pub model: String,
    /// Bucketed sequence length this graph is for.
    pub seq_len: u32,
    /// Number of encoder layers (for figures "per layer").
    pub layers: u32,
    /// Commitment to the weight tensors the graph is compiled for.
    pub weights_root: [u8; 32],
    /// Private inputs, in order.
    pub inputs: Vec<InputSpec>,
    /// Weight tensors, in order.
    pub weights: Vec<WeightSpec>,
    /// Lookup tables.
    pub tables: Vec<Table>,
    /// Nodes in topological order.
    pub nodes: Vec<Node>,
    /// Result tensors, revealed to the consumer only.
    pub outputs: Vec<NodeId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of three, values to 100, rows to a norm of 120.
    fn spec() -> InputSpec {
        let (shape, range) = (Shape::new(1, 2, 3), InputRange::Symmetric);
        InputSpec { name: "x".into(), shape, bits: 16, range, max_abs: 100, max_row_norm: 120 }
    }

    #[test]
    fn an_input_has_the_length_the_values_and_the_row_norms_that_the_bounds_rely_on() {
        for right in [[0; 6], [100, 66, 0, -100, 0, -66], [-69, 69, 69, 0, 0, 0], [0, 0, 100, 100, 0, 0]] {
            assert_eq!(spec().check(&right), Ok(()), "{right:?}");
        }
        for found in [0, 3, 5, 7] {
            let length = InputError::Length { name: "x".into(), expected: 6, found };
            assert_eq!(spec().check(&vec![0; found]), Err(length));
        }
        for wrong in [101, -101, i32::MAX, i32::MIN] {
            let value = InputError::Value { name: "x".into(), max_abs: 100 };
            assert_eq!(spec().check(&[0, 0, 0, 0, 0, wrong]), Err(value), "{wrong}");
        }
        for (wrong, row) in [([100, 67, 0, 0, 0, 0], 0), ([0, 0, 0, -100, 0, -67], 1), ([70, 70, 70, 0, 0, 0], 0)] {
            let norm = InputError::RowNorm { name: "x".into(), row, max_row_norm: 120 };
            assert_eq!(spec().check(&wrong), Err(norm), "{wrong:?}");
        }
        // No sum of squares is too large to be compared.
        let wide = InputSpec { max_abs: u32::MAX, max_row_norm: u32::MAX, ..spec() };
        assert_eq!(wide.check(&[i32::MIN, 0, 0, 0, 0, i32::MIN]), Ok(()));
        assert!(wide.check(&[i32::MIN, i32::MIN, i32::MIN, i32::MIN, i32::MIN, i32::MIN]).is_ok());
        let tight = InputSpec { max_row_norm: i32::MAX as u32, ..wide };
        assert!(matches!(tight.check(&[i32::MIN, 0, 0, 0, 0, 0]), Err(InputError::RowNorm { row: 0, .. })));
    }

    #[test]
    fn a_mask_hides_some_of_a_row_and_adds_nothing() {
        let mask = InputSpec { range: InputRange::Mask, max_row_norm: 0, ..spec() };
        for fine in [[0, 0, 0, 0, 0, 0], [-100, 0, -100, -1, -100, 0]] {
            assert_eq!(mask.check(&fine), Ok(()));
        }
        for (wrong, row) in [([0, 1, 0, 0, 0, 0], 0), ([0, 0, 0, -1, -1, -1], 1), ([100, -100, 0, 0, 0, 0], 0)] {
            assert_eq!(mask.check(&wrong), Err(InputError::Mask { name: "x".into(), row }));
        }
        let value = InputError::Value { name: "x".into(), max_abs: 100 };
        assert_eq!(mask.check(&[0, -101, 0, 0, 0, 0]), Err(value));
    }
}
