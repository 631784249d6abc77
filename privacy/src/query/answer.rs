//! What comes out.

/// An answer: nothing in it but what came out with noise, and what was public before.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Columns that make groups.
    pub keys: Vec<String>,
    /// What was asked, in order.
    pub names: Vec<String>,
    /// One row a group; one in all where there are no groups.
    pub rows: Vec<AnswerRow>,
}

/// What is said of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerRow {
    /// Which.
    pub keys: Vec<String>,
    /// For each of the names.
    pub cells: Vec<Cell>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A number; the true one is between two with 95 % confidence over the noise (what sampling of people would add is not in it).
    Number {
        /// The answer.
        value: f64,
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
    },
    /// A quantile.
    Quantile {
        /// The answer.
        value: f64,
        /// So many rows lie between it and the best candidate, at most, with 95 % confidence.
        rank_error: f64,
    },
    /// Numbers of rows in parts of a range.
    Bins {
        /// The parts.
        bins: Vec<Bin>,
        /// Each true number is so near, with 95 % confidence of each.
        error: f64,
    },
    /// Frequent values, the most frequent first.
    Top {
        /// The values.
        values: Vec<String>,
        /// None of the others has so many rows more than one of these, with 95 % confidence.
        count_error: f64,
    },
}

/// A part of a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Bin {
    /// Its least number.
    pub from: f64,
    /// Its greatest number.
    pub to: f64,
    /// Rows, with noise.
    pub count: i64,
}
