//! What the owner declares of a table: nothing of it is learned from rows.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::QueryError;

/// Most steps between the bounds of a number.
pub(super) const MOST_STEPS: f64 = 2_147_483_648.0;
/// Most values of a column.
const MOST_VALUES: usize = 1 << 14;
/// Most rows of a person that can count.
pub(super) const MOST_ROWS: u32 = 1 << 16;

/// What a column is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A number between two bounds, in whole steps; what lies outside is taken to the nearer bound, what is no number is missing.
    Number {
        /// The least.
        low: f64,
        /// The greatest.
        high: f64,
        /// Distance of two that are told apart, at most 2³¹ from bound to bound; sums are whole numbers of it.
        step: f64,
    },
    /// One of these words; another one is missing.
    Values(Vec<String>),
    /// Words that nobody can list; which there are is told only of those that are frequent enough.
    Words,
    /// Not asked about.
    Ignored,
}

impl Kind {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Number { .. } => "has numbers",
            Self::Values(_) => "has declared values",
            Self::Words => "has words that are not declared",
            Self::Ignored => "is ignored",
        }
    }
}

/// What neighbours differ by, and so what ε speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// One row more or less.
    Row,
    /// One person more or less, with all their rows. Rows without a person are nobody's, and do not count.
    Person {
        /// The column that says whose a row is.
        column: String,
        /// How many rows of a person count in an answer: the first ones in the table that the condition lets pass.
        rows: u32,
    },
}

impl Unit {
    /// How many rows neighbours differ by, of those that count.
    pub fn rows(&self) -> u32 {
        match self {
            Self::Row => 1,
            Self::Person { rows, .. } => *rows,
        }
    }
}

/// The values that are declared of a column, with their places: one for all that a question does with them.
#[derive(Debug, PartialEq)]
pub(super) struct Declared {
    values: Vec<String>,
    places: HashMap<String, usize>,
}

impl Declared {
    fn new(values: &[String]) -> Self {
        let places = values.iter().enumerate().map(|(place, value)| (value.clone(), place)).collect();
        Self { values: values.to_vec(), places }
    }

    /// In the order of their declaration.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// The place of a value; none if it is not declared.
    pub fn place(&self, value: &str) -> Option<usize> {
        self.places.get(value).copied()
    }
}

/// The columns of a table by name, and what neighbours are.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    columns: Vec<(String, Kind)>,
    declared: HashMap<String, Arc<Declared>>,
    unit: Unit,
}

impl Schema {
    /// With these columns. The table may have more; those cannot be asked about.
    ///
    /// # Errors
    /// [`QueryError::Schema`] when a declaration makes no sense.
    pub fn new(columns: Vec<(String, Kind)>, unit: Unit) -> Result<Self, QueryError> {
        let wrong = |column: &str, reason| QueryError::Schema { column: column.to_owned(), reason };
        let mut declared = HashMap::new();
        for (at, (name, kind)) in columns.iter().enumerate() {
            if columns[..at].iter().any(|(other, _)| other == name) {
                return Err(wrong(name, "it is declared twice"));
            }
            match kind {
                Kind::Number { low, high, step } => {
                    let finite = low.is_finite() && high.is_finite() && low < high;
                    let (least, most) = ((low / step).round(), (high / step).round());
                    let fits = |units: f64| units.abs() <= MOST_STEPS;
                    if !finite {
                        return Err(wrong(name, "its range does not go from low to high"));
                    }
                    if !(step.is_finite() && *step > 0.0 && fits(least) && fits(most) && fits(most - least)) {
                        return Err(wrong(
                            name,
                            "its step is above 0, and its bounds are at most 2^31 steps from 0 and each other",
                        ));
                    }
                    if most - least < 1.0 {
                        return Err(wrong(name, "its step is wider than its range"));
                    }
                }
                Kind::Values(values) => {
                    if values.is_empty() || values.len() > MOST_VALUES {
                        return Err(wrong(name, "it has between 1 and 16,384 values"));
                    }
                    let known = Declared::new(values);
                    if known.places.len() < values.len()
                        || values.iter().any(|value| value.trim() != value || value.is_empty())
                    {
                        return Err(wrong(name, "a value is empty, has spaces around it, or is there twice"));
                    }
                    declared.insert(name.clone(), Arc::new(known));
                }
                Kind::Words | Kind::Ignored => {}
            }
        }
        if let Unit::Person { column, rows } = &unit
            && !(1..=MOST_ROWS).contains(rows)
        {
            return Err(wrong(column, "between 1 and 65,536 rows of a person count"));
        }
        Ok(Self { columns, declared, unit })
    }

    /// What neighbours differ by.
    pub fn unit(&self) -> &Unit {
        &self.unit
    }

    /// The columns, by name.
    pub fn columns(&self) -> &[(String, Kind)] {
        &self.columns
    }

    /// The values of a column, where they are declared.
    pub(super) fn declared(&self, name: &str) -> Option<Arc<Declared>> {
        self.declared.get(name).cloned()
    }

    /// The column of this name.
    ///
    /// # Errors
    /// [`QueryError::NoColumn`] when it is not declared, or ignored.
    pub fn column(&self, name: &str) -> Result<&Kind, QueryError> {
        let usable = || self.columns.iter().filter(|(_, kind)| *kind != Kind::Ignored);
        usable().find(|(known, _)| known == name).map(|(_, kind)| kind).ok_or_else(|| QueryError::NoColumn {
            name: name.to_owned(),
            there: usable().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }
}

/// The whole numbers of steps that stand for a column's numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    /// The least.
    pub low: i64,
    /// The greatest.
    pub high: i64,
    step: f64,
}

impl Scale {
    pub fn of(low: f64, high: f64, step: f64) -> Self {
        Self { low: (low / step).round() as i64, high: (high / step).round() as i64, step }
    }

    /// The number that stands for a cell; none if it has no number. It depends on the cell alone.
    pub fn units(&self, cell: &str) -> Option<i64> {
        let value = number(cell)?;
        Some(((value / self.step).round() as i64).clamp(self.low, self.high))
    }

    /// What so many steps are; halves for instance are fine.
    pub fn value(&self, units: f64) -> f64 {
        let inverse = (1.0 / self.step).round();
        // A step of 0.01 is no double; hundredths are.
        if (inverse * self.step - 1.0).abs() < 1e-12 { units / inverse } else { units * self.step }
    }

    /// How many steps the range has.
    pub fn width(&self) -> i64 {
        self.high - self.low
    }
}

/// The number in a cell.
pub(super) fn number(cell: &str) -> Option<f64> {
    cell.trim().parse::<f64>().ok().filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_that_make_no_sense_are_refused() {
        let number = |low, high, step| Kind::Number { low, high, step };
        let words = |all: &[&str]| Kind::Values(all.iter().map(|word| (*word).to_owned()).collect());
        let one = |kind| Schema::new(vec![("x".to_owned(), kind)], Unit::Row);
        for kind in [number(0.0, 120.0, 1.0), number(-1.0, 1.0, 1e-9), words(&["a", "b"]), Kind::Words] {
            assert!(one(kind).is_ok());
        }
        for kind in [
            number(1.0, 1.0, 1.0),
            number(0.0, f64::INFINITY, 1.0),
            number(0.0, 1.0, 0.0),
            number(0.0, 1.0, f64::NAN),
            number(0.0, 1.0, 1e-10),
            number(1e12, 1e12 + 2.0, 1.0),
            number(0.0, 1.0, 3.0),
            words(&[]),
            words(&["a", "a"]),
            words(&[" a"]),
        ] {
            assert!(matches!(one(kind.clone()), Err(QueryError::Schema { .. })), "{kind:?}");
        }
        assert!(Schema::new(vec![("x".to_owned(), Kind::Words); 2], Unit::Row).is_err());
        for rows in [0, MOST_ROWS + 1] {
            assert!(Schema::new(vec![], Unit::Person { column: "x".to_owned(), rows }).is_err());
        }
    }

    #[test]
    fn cells_are_whole_numbers_of_steps_within_their_bounds() {
        let cents = Scale::of(-1.0, 10.0, 0.01);
        let found = ["0.07", " 3 ", "1e9", "-7", "", "x", "NaN", "inf"].map(|cell| cents.units(cell));
        assert_eq!(found, [Some(7), Some(300), Some(1000), Some(-100), None, None, None, None]);
        assert_eq!((cents.value(7.0), cents.width()), (0.07, 1100));
        assert_eq!(Scale::of(0.0, 100.0, 5.0).value(3.0), 15.0);
    }
}
