//! Tables: rows of text to rows of numbers, by a description that does not look at them.
//!
//! Everything that a model would otherwise learn from all rows at once (the range of a column, its mean, which words occur in
//! it, which labels there are) is given, because it would be a release of its own: the range of a column says what the greatest
//! value of a single row is.

use super::data::{DataError, Examples};
use crate::rows::{RowError, Rows};

pub use crate::rows::{MOST_BYTES, MOST_COLUMNS};

/// What a column is.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// A number between two bounds, which become -1 and 1; what lies outside is taken to the nearer bound, what is missing or
    /// no number to 0.
    Range {
        /// Becomes -1.
        low: f64,
        /// Becomes 1.
        high: f64,
    },
    /// One of these words, each a number of its own: 1 where it stands, else 0. Another word is none of them.
    Values(Vec<String>),
    /// Not looked at.
    Ignored,
    /// The class, one of the labels.
    Label,
}

/// What the columns are; `*` is every column that is not named.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Description {
    /// By name.
    pub columns: Vec<(String, Column)>,
    /// The labels, in the order of their numbers.
    pub labels: Vec<String>,
}

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum TableError {
    /// It is too long, or has too many columns.
    #[error("the table is longer than 1 GiB, or has more than {MOST_COLUMNS} columns")]
    Large,
    /// A row is not well-formed.
    #[error("line {line}: {reason}")]
    Row {
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A column is described that is not there.
    #[error("there is no column {name:?}; there are {there}")]
    NoColumn {
        /// Which.
        name: String,
        /// Those there are.
        there: String,
    },
    /// A column is not described.
    #[error("column {0:?} is not described: give its range or its values, or say that it is ignored")]
    Undescribed(String),
    /// A description makes no sense.
    #[error("{0}")]
    Description(String),
    /// The numbers are no examples.
    #[error(transparent)]
    Data(#[from] DataError),
}

fn malformed(error: RowError) -> TableError {
    TableError::Row { line: error.line, reason: error.reason.to_owned() }
}

impl Description {
    fn of(&self, name: &str) -> Option<&Column> {
        let find = |name: &str| self.columns.iter().find(|(known, _)| known == name).map(|(_, column)| column);
        find(name).or_else(|| find("*"))
    }

    /// Reads a table with a first line of names, separated by commas, in quotes where needed (RFC 4180). Gives the examples, and
    /// a name for each of their numbers.
    ///
    /// # Errors
    /// When it is not well-formed, or a column is not described.
    pub fn read(&self, text: &str) -> Result<(Examples, Vec<String>), TableError> {
        self.read_or(text, usize::MAX, Err)
    }

    /// The same, but a row that cannot be read, or has another label, is left out, and so is all that follows a quote that is not
    /// closed, and what more than `most` numbers would take: for whoever must not tell by an error what is in a row. Gives how
    /// many rows were left out as well.
    ///
    /// # Errors
    /// Of size, description and names of columns alone.
    pub fn read_what_fits(&self, text: &str, most: usize) -> Result<(Examples, Vec<String>, usize), TableError> {
        let mut left_out = 0;
        let read = self.read_or(text, most, |_| {
            left_out += 1;
            Ok(())
        });
        read.map(|(examples, features)| (examples, features, left_out))
    }

    /// A name for each of the numbers of a row, from the line of names alone.
    ///
    /// # Errors
    /// Of size, description and names of columns.
    pub fn features(&self, text: &str) -> Result<Vec<String>, TableError> {
        self.header(text).map(|(_, _, features)| features)
    }

    /// What follows the line of names, the columns, and a name for each number.
    fn header<'a>(&self, text: &'a str) -> Result<(Rows<'a>, Vec<&Column>, Vec<String>), TableError> {
        if text.len() > MOST_BYTES {
            return Err(TableError::Large);
        }
        let mut rows = Rows::of(text);
        let names = rows.next().transpose().map_err(malformed)?.map(|(_, names)| names).unwrap_or_default();
        if names.len() > MOST_COLUMNS {
            return Err(TableError::Large);
        }
        let columns = self.resolve(&names)?;
        let mut features = Vec::new();
        for (name, column) in names.iter().zip(&columns) {
            match column {
                Column::Range { .. } => features.push(name.clone()),
                Column::Values(values) => features.extend(values.iter().map(|value| format!("{name}={value}"))),
                Column::Ignored | Column::Label => {}
            }
        }
        if features.is_empty() {
            return Err(TableError::Description("no column is looked at but the label".to_owned()));
        }
        Ok((rows, columns, features))
    }

    fn read_or(
        &self,
        text: &str,
        most: usize,
        mut unreadable: impl FnMut(TableError) -> Result<(), TableError>,
    ) -> Result<(Examples, Vec<String>), TableError> {
        let (rows, columns, features) = self.header(text)?;
        let (mut values, mut classes) = (Vec::new(), Vec::new());
        for row in rows {
            let full = values.len().saturating_add(features.len()) > most;
            let row = row.map_err(malformed).and_then(|(line, cells)| match full {
                true => Err(TableError::Large),
                false => self.row(&columns, line, &cells, &mut values),
            });
            match row {
                Ok(class) => classes.push(class),
                Err(error) => unreadable(error)?,
            }
        }
        Ok((Examples::new(features.len(), values, classes)?, features))
    }

    /// Adds the numbers of a row, all or none; its class.
    fn row(
        &self,
        columns: &[&Column],
        line: usize,
        cells: &[String],
        values: &mut Vec<f32>,
    ) -> Result<u32, TableError> {
        if cells.len() != columns.len() {
            let reason = format!("{} cells, and {} columns have a name", cells.len(), columns.len());
            return Err(TableError::Row { line, reason });
        }
        let label = cells.iter().zip(columns).find(|(_, column)| matches!(column, Column::Label));
        let class = self.class(label.map_or("", |(cell, _)| cell), line)?;
        for (cell, column) in cells.iter().zip(columns) {
            match column {
                Column::Range { low, high } => values.push(scaled(cell, *low, *high)),
                Column::Values(known) => values.extend(known.iter().map(|value| f32::from(value == cell.trim()))),
                Column::Ignored | Column::Label => {}
            }
        }
        Ok(class)
    }

    /// The number of a label.
    ///
    /// # Errors
    /// When it is none.
    pub fn class(&self, label: &str, line: usize) -> Result<u32, TableError> {
        let found = self.labels.iter().position(|known| known == label.trim());
        found.and_then(|class| u32::try_from(class).ok()).ok_or_else(|| TableError::Row {
            line,
            reason: format!("the label {label:?} is none of those that were given"),
        })
    }

    fn resolve(&self, names: &[String]) -> Result<Vec<&Column>, TableError> {
        for (name, column) in &self.columns {
            if name != "*" && !names.contains(name) {
                return Err(TableError::NoColumn { name: name.clone(), there: names.join(", ") });
            }
            if let Column::Range { low, high } = column
                && (!(high - low).is_finite() || low >= high)
            {
                let text = format!("the range of {name:?} does not go from low to high, or is too wide for a number");
                return Err(TableError::Description(text));
            }
        }
        let columns: Vec<&Column> = names
            .iter()
            .map(|name| self.of(name).ok_or_else(|| TableError::Undescribed(name.clone())))
            .collect::<Result<_, _>>()?;
        if columns.iter().filter(|column| matches!(column, Column::Label)).count() != 1 {
            return Err(TableError::Description("exactly one column has the label".to_owned()));
        }
        if self.labels.len() < 2 {
            return Err(TableError::Description("a classifier has at least two labels".to_owned()));
        }
        Ok(columns)
    }
}

fn scaled(cell: &str, low: f64, high: f64) -> f32 {
    match cell.trim().parse::<f64>() {
        Ok(value) if value.is_finite() => ((value.clamp(low, high) - low) / (high - low) * 2.0 - 1.0) as f32,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description() -> Description {
        let named = |name: &str, column| (name.to_owned(), column);
        Description {
            columns: vec![
                named("age", Column::Range { low: 0.0, high: 100.0 }),
                named("sex", Column::Values(vec!["F".into(), "M".into()])),
                named("id", Column::Ignored),
                named("ill", Column::Label),
            ],
            labels: vec!["no".into(), "yes".into()],
        }
    }

    #[test]
    fn a_table_is_read_by_its_description_alone() {
        let text = "\u{feff}id,age,sex,ill\r\n1,50,F,no\r\n\"2, or\n \"\"3\"\"\",250,M,yes\n\n4,?,X,no";
        let (examples, names) = description().read(text).unwrap();
        assert_eq!(names, ["age", "sex=F", "sex=M"]);
        assert_eq!(examples.classes(), [0, 1, 0]);
        let rows: Vec<&[f32]> = (0..3).map(|row| examples.row(row)).collect();
        assert_eq!(rows, [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]);
        // One row more changes no other.
        let more = description().read(&format!("{text}\n9,-1000,F,yes")).unwrap().0;
        assert!((0..3).all(|row| more.row(row) == examples.row(row)));
    }

    #[test]
    fn what_is_not_described_or_not_well_formed_is_refused_by_name() {
        let said = |text: &str| description().read(text).unwrap_err().to_string();
        assert!(said("id,age,sex,ill,town\n").contains("town"));
        assert!(said("id,age,sex\n").contains("\"ill\""));
        assert!(said("id,age,sex,ill\n1,2,F").contains("line 2"));
        assert!(said("id,age,sex,ill\n1,2,F,perhaps").contains("perhaps"));
        assert!(said("id,age,sex,ill\n\"1,2,F,no").contains("quote"));
        assert!(said("id,age,sex,ill\n\"1\"x,2,F,no").contains("quote"));
        assert!(said("").contains("no column"));
    }

    /// Whoever chooses the description must not learn from an error what is in a row.
    #[test]
    fn what_does_not_fit_is_left_out_and_only_names_and_description_are_refused() {
        let rows = "id,age,sex,ill\n1,50,F,no\n2,60,M,perhaps\n3,70\n4,?,M,yes\n\"5\"x,1,F,no\n6,1,F,no\n";
        let (examples, names, left_out) = description().read_what_fits(rows, 100).unwrap();
        assert_eq!((examples.classes(), names.len(), left_out), (&[0, 1][..], 3, 3));
        assert_eq!([examples.row(0), examples.row(1)], [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
        let none = description().read_what_fits("id,age,sex,ill\n1,2,F,perhaps\n", 9).unwrap();
        assert_eq!((none.0.len(), none.2), (0, 1));
        let (examples, _, left_out) = description().read_what_fits(rows, 5).unwrap();
        assert_eq!((examples.len(), left_out), (1, 4), "no more numbers than that");
        assert_eq!(description().features(rows).unwrap(), names);
        let wrong = |columns: &[(&str, Column)]| {
            let columns = columns.iter().map(|(name, column)| ((*name).to_owned(), column.clone())).collect();
            let text = "a,ill\n1e308,no\n";
            Description { columns, ..description() }.read_what_fits(text, 9).unwrap_err().to_string()
        };
        let wide = Column::Range { low: -1e308, high: 1e308 };
        assert!(wrong(&[("a", wide), ("ill", Column::Label)]).contains("too wide"));
        assert!(wrong(&[("a", Column::Ignored), ("ill", Column::Label)]).contains("no column is looked at"));
        assert!(wrong(&[("ill", Column::Label)]).contains("\"a\""));
    }

    proptest::proptest! {
        #[test]
        fn strange_text_does_no_harm(text in "[\",a1\r\n]{0,80}") {
            let _ = description().read(&text);
            let rows = format!("id,age,sex,ill\n{text}");
            proptest::prop_assert!(description().read_what_fits(&rows, 100).is_ok(), "whatever the rows are");
        }
    }
}
