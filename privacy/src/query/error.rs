//! Why a question is not answered.

/// Why a question is not answered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// It is not of the form that is understood.
    #[error("the question, at character {at}: {reason}")]
    Syntax {
        /// From 1.
        at: usize,
        /// What is wrong.
        reason: String,
    },
    /// It asks for what is not answered.
    #[error("{what} is not answered: {instead}")]
    Unsupported {
        /// The word or form.
        what: String,
        /// Why, or what to ask instead.
        instead: &'static str,
    },
    /// A column is not declared.
    #[error("no column {name:?} is described; {}", if there.is_empty() { "none is".to_owned() } else { format!("there are {there}") })]
    NoColumn {
        /// Which.
        name: String,
        /// Those there are.
        there: String,
    },
    /// A column is not of the kind that is needed.
    #[error("{doing} {column:?}: the column {is}, and {needs}")]
    Kind {
        /// What was asked.
        doing: &'static str,
        /// Of which column.
        column: String,
        /// What it is.
        is: &'static str,
        /// What it would have to be.
        needs: &'static str,
    },
    /// What was declared makes no sense.
    #[error("what is declared of {column:?}: {reason}")]
    Schema {
        /// Of which column.
        column: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A number is not in its range.
    #[error("{what} is {value}, and must be {range}")]
    Range {
        /// Which.
        what: &'static str,
        /// What it is.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// A row of the table cannot be read.
    #[error("the table, line {line}: {reason}")]
    Row {
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The table has not the columns that were declared.
    #[error("the table has no column {0:?}, which is declared")]
    Missing(String),
}

impl QueryError {
    pub(super) fn unsupported(what: impl Into<String>, instead: &'static str) -> Self {
        Self::Unsupported { what: what.into(), instead }
    }
}

/// A number between two others, and a number at all.
pub(super) fn in_range(
    what: &'static str,
    value: f64,
    (least, most): (f64, f64),
    range: &'static str,
) -> Result<(), QueryError> {
    if value >= least && value <= most { Ok(()) } else { Err(QueryError::Range { what, value, range }) }
}
