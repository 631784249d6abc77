//! What a graph becomes to be proven: tensors that follow from others by a few kinds of definition, tensors that are
//! zero everywhere, and elements that stand in tables.
//!
//! A tensor of shape `[b, r, c]` is a multilinear polynomial in `⌈log b⌉ + ⌈log r⌉ + ⌈log c⌉` variables. Beyond its
//! shape it is zero: for committed columns that is proven, for all others it follows.

use sahara_circuits::graph::Shape;

use crate::interval::Interval;

/// Index of a tensor in [`System::tensors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TensorId(pub usize);

/// Whose commitment a column is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oracle {
    /// The registered weights.
    Weights,
    /// The consumer's inputs, with a salt.
    Input,
    /// The outputs, with a salt.
    Output,
    /// Everything else that the prover says.
    Witness,
}

impl Oracle {
    /// All, in the order in which they are opened.
    pub const ALL: [Self; 4] = [Self::Weights, Self::Input, Self::Output, Self::Witness];
}

/// A tensor, what it is of others, and which integers it holds.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Its shape.
    pub shape: Shape,
    /// What it is.
    pub definition: Definition,
    /// Every element as an integer, if what is proven of it holds.
    pub interval: Interval,
}

/// What a tensor is.
#[derive(Clone, Debug)]
pub enum Definition {
    /// Committed; the place in its oracle, and how a prover finds its values.
    Column {
        /// The commitment that it is under.
        oracle: Oracle,
        /// Where in the committed polynomial it begins: a multiple of its padded size.
        offset: usize,
        /// How a prover finds the values.
        hint: Hint,
    },
    /// The sum of multiples, and of a constant; each dimension of a term is that of the sum or 1 (repeated).
    Linear {
        /// Factors and tensors.
        terms: Vec<(i64, TensorId)>,
        /// What is added to each element of the shape.
        constant: i64,
    },
    /// The product, element by element; each dimension of `b` is that of `a` or 1 (repeated).
    Product {
        /// The tensor that has the shape.
        a: TensorId,
        /// The other one.
        b: TensorId,
    },
    /// `[b,r,k] × [b,k,n]`, or `[b,n,k]ᵀ`; `b` may have one batch for all.
    MatMul {
        /// The rows.
        a: TensorId,
        /// The columns.
        b: TensorId,
        /// Whether the second one is stored by columns.
        transposed: bool,
    },
    /// The sum of each row: `[b,r,c] → [b,r,1]`.
    RowSum {
        /// The rows.
        x: TensorId,
    },
    /// The elements of others at other places; rows stay where they are.
    Moved {
        /// Where they come from.
        parts: Vec<TensorId>,
        /// Where they go.
        to: Move,
    },
}

/// Where the columns and batches of a tensor go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The columns from this one on become the first.
    Slice(u32),
    /// The columns of all parts side by side.
    Concat,
    /// Columns become batches of as many columns as the result has.
    Split,
    /// Batches become columns.
    Merge,
}

/// How a prover finds the values of a column.
#[derive(Clone, Debug)]
pub enum Hint {
    /// An input of the graph.
    Input(u32),
    /// A weight of the graph.
    Weight(u32),
    /// The output in this place.
    Output(TensorId),
    /// `bits` bits, from `shift` on, of a number less its least.
    Limb {
        /// The number.
        of: Quantity,
        /// What it is at least.
        least: i64,
        /// The first bit.
        shift: u32,
        /// How many bits.
        bits: u32,
    },
    /// One in the first place of each row that has its maximum, zero elsewhere.
    OneHot(TensorId),
    /// How many of these ascending numbers each element reaches.
    Reached(TensorId, Vec<i64>),
    /// The value beside this index in a table of pairs.
    Entry(usize, TensorId),
    /// How often each row of a table is looked up.
    Multiplicity(usize),
}

/// A number for each element, which a prover computes.
#[derive(Clone, Copy, Debug)]
pub enum Quantity {
    /// The element itself.
    Itself(TensorId),
    /// `⌊(x + add) / 2^shift⌋`.
    Quotient(TensorId, i64, u32),
    /// `min(x, limit)`.
    AtMost(TensorId, i64),
}

impl Hint {
    /// The tensor that the values are found from.
    pub fn source(&self) -> Option<TensorId> {
        match self {
            Self::Output(id) | Self::OneHot(id) | Self::Reached(id, _) | Self::Entry(_, id) => Some(*id),
            Self::Limb { of, .. } => match of {
                Quantity::Itself(id) | Quantity::Quotient(id, ..) | Quantity::AtMost(id, _) => Some(*id),
            },
            Self::Input(_) | Self::Weight(_) | Self::Multiplicity(_) => None,
        }
    }
}

/// The rows of a table: pairs of an index and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// `(i, 0)` for `0 ≤ i < 2^bits`.
    Range(u32),
    /// These, as many as a power of two.
    Pairs(Vec<(i64, i64)>),
}

impl Rows {
    /// Variables of the index of a row.
    pub fn variables(&self) -> usize {
        match self {
            Self::Range(bits) => *bits as usize,
            Self::Pairs(pairs) => pairs.len().trailing_zeros() as usize,
        }
    }

    /// The row that has this index, if any has: indices count from zero, or those of the second half are negative.
    pub fn row(&self, index: i64) -> usize {
        index.rem_euclid(1 << self.variables()) as usize
    }

    /// The pair in the row that has this index, if any has.
    pub fn pair(&self, index: i64) -> (i64, i64) {
        self.pair_of(self.row(index))
    }

    /// The pair in a row.
    pub fn pair_of(&self, row: usize) -> (i64, i64) {
        match self {
            Self::Range(_) => (row as i64, 0),
            Self::Pairs(pairs) => pairs[row],
        }
    }
}

/// A table, and the column that says how often each row is looked up.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its rows.
    pub rows: Rows,
    /// How often each is looked up.
    pub multiplicity: TensorId,
}

/// Every element of a tensor (and of another one beside it) is a row of a table.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    /// Index of the table in [`System::tables`].
    pub table: usize,
    /// The indices.
    pub index: TensorId,
    /// The values, or zero.
    pub value: Option<TensorId>,
}

/// All that is to be proven of a graph.
#[derive(Clone, Debug, Default)]
pub struct System {
    /// In an order in which each follows from earlier ones.
    pub tensors: Vec<Tensor>,
    /// Those that are zero everywhere.
    pub zeros: Vec<TensorId>,
    /// The tables.
    pub tables: Vec<Table>,
    /// What is looked up.
    pub lookups: Vec<Lookup>,
    /// Variables of each committed polynomial, in the order of [`Oracle::ALL`].
    pub variables: [usize; 4],
    /// Where the salt begins, of the commitments that have one.
    pub salts: [Option<usize>; 4],
    /// The tensor of each node of the graph.
    pub nodes: Vec<TensorId>,
    /// The column of each output; of one that can leave `±p/2`, those of its high and its low limb (16 bits).
    pub outputs: Vec<Vec<TensorId>>,
}

impl System {
    /// A tensor.
    pub fn tensor(&self, TensorId(id): TensorId) -> &Tensor {
        &self.tensors[id]
    }

    /// Whether each tensor has a part in what is proven: those that were only steps on the way to others have none.
    pub fn used(&self) -> Vec<bool> {
        let mut used = vec![false; self.tensors.len()];
        let looked_up = self.lookups.iter().flat_map(|lookup| [Some(lookup.index), lookup.value]).flatten();
        self.zeros.iter().copied().chain(looked_up).for_each(|id| used[id.0] = true);
        for (id, tensor) in self.tensors.iter().enumerate().rev() {
            let here = used[id];
            let mut mark = |id: TensorId| used[id.0] = true;
            match &tensor.definition {
                Definition::Column { hint, .. } => {
                    hint.source().into_iter().for_each(&mut mark);
                    mark(TensorId(id));
                }
                _ if !here => {}
                Definition::Linear { terms, .. } => terms.iter().for_each(|(_, term)| mark(*term)),
                Definition::Product { a, b } | Definition::MatMul { a, b, .. } => [*a, *b].into_iter().for_each(mark),
                Definition::RowSum { x } => mark(*x),
                Definition::Moved { parts, .. } => parts.iter().copied().for_each(mark),
            }
        }
        used
    }

    /// Elements that are looked up, those beyond shapes too.
    pub fn looked_up(&self) -> u64 {
        self.lookups.iter().map(|lookup| 1u64 << variables(self.tensor(lookup.index).shape)).sum()
    }
}

/// Variables of a dimension of this size.
pub fn log(len: u32) -> usize {
    (u32::BITS - len.saturating_sub(1).leading_zeros()) as usize
}

/// Variables of the three dimensions.
pub fn logs(shape: Shape) -> [usize; 3] {
    [log(shape.batch), log(shape.rows), log(shape.cols)]
}

/// Variables of a tensor of this shape.
pub fn variables(shape: Shape) -> usize {
    logs(shape).iter().sum()
}

/// The three dimensions.
pub fn dimensions(shape: Shape) -> [u32; 3] {
    [shape.batch, shape.rows, shape.cols]
}
