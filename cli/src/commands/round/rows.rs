//! A provider's rows, read as the first round of a training says, or as the provider says, and never otherwise: whoever could
//! choose anew what is looked at would ask what is in a row. No row is looked at before that is settled.

use std::path::PathBuf;

use sahara_privacy::train::Examples;
use sahara_privacy::train::table::Description;

use super::columns::difference;
use crate::error::{Error, Result};

/// Most numbers that are made of rows: 1 GiB.
const MOST: usize = 1 << 28;

pub struct Rows {
    path: PathBuf,
    text: String,
    /// What the provider declared, or the first round said, and how many numbers it makes of a row.
    declared: Option<Description>,
    fixed: Option<(Description, usize)>,
    examples: Option<Examples>,
}

impl Rows {
    pub fn new(path: PathBuf, text: String, declared: Option<Description>) -> Self {
        Self { path, text, declared, fixed: None, examples: None }
    }

    /// Whether rows may be read as a leader says: how many numbers that makes of a row, or why a round that says something else
    /// than the first is left out.
    ///
    /// # Errors
    /// When it is not what was declared, or the file has other columns.
    pub fn admit(&mut self, leaders: &Description) -> Result<std::result::Result<usize, String>> {
        if let Some((fixed, numbers)) = &self.fixed {
            return Ok(match difference(fixed, leaders) {
                None => Ok(*numbers),
                Some(other) => Err(format!("{other}, as the first round said; join anew for another training")),
            });
        }
        if let Some(other) = self.declared.as_ref().and_then(|own| difference(own, leaders)) {
            return Err(Error::user(format!(
                "the leader's training is not what you declared: {other}; nothing is sent"
            )));
        }
        let features = leaders.features(&self.text);
        let numbers = features.map_err(|error| Error::user(format!("{}: {error}", self.path.display())))?.len();
        self.fixed = Some((leaders.clone(), numbers));
        Ok(Ok(numbers))
    }

    /// The rows, as admitted. What does not fit is left out, and never an error.
    pub fn examples(&mut self) -> Result<&Examples> {
        let (description, _) = self.fixed.as_ref().ok_or_else(|| Error::fault("rows before their columns"))?;
        if self.examples.is_none() {
            let read = description.read_what_fits(&self.text, MOST);
            let (examples, _, left_out) = read.map_err(|error| Error::fault(error.to_string()))?;
            if left_out > 0 {
                tracing::warn!(left_out, "rows that cannot be read, or have another label, are left out");
            }
            self.examples = Some(examples);
        }
        self.examples.as_ref().ok_or_else(|| Error::fault("the rows are gone"))
    }
}

#[cfg(test)]
mod tests {
    use sahara_privacy::train::table::Column;

    use super::*;

    fn description(label: &str, labels: &[&str]) -> Description {
        let columns =
            vec![(label.to_owned(), Column::Label), ("*".to_owned(), Column::Range { low: 0.0, high: 100.0 })];
        Description { columns, labels: labels.iter().map(|label| (*label).to_owned()).collect() }
    }

    fn rows(text: &str, declared: Option<Description>) -> Rows {
        Rows::new("rows.csv".into(), text.to_owned(), declared)
    }

    #[test]
    fn the_first_round_fixes_the_columns_and_rows_that_do_not_fit_change_no_answer() {
        let first = description("ill", &["no", "yes"]);
        for text in
            ["age,ill\n5,no\n7,yes\n", "age,ill\n5,perhaps\n", "age,ill\n\"5\n", "age,ill\n1,2,3\n", "age,ill\n"]
        {
            let mut rows = rows(text, None);
            assert!(rows.examples().is_err(), "not before the columns are settled");
            assert_eq!(rows.admit(&first).unwrap(), Ok(1), "{text:?}");
            assert!(rows.examples().is_ok());
            for other in [description("age", &["5", "7"]), description("ill", &["no", "perhaps"])] {
                assert!(rows.admit(&other).unwrap().unwrap_err().contains("as the first round said"), "{text:?}");
            }
            assert_eq!(rows.admit(&first).unwrap(), Ok(1));
        }
        let mut two = rows("age,ill\n5,no\n7,yes\n8,x\n", None);
        assert!(two.admit(&first).unwrap().is_ok() && two.examples().unwrap().len() == 2);
    }

    #[test]
    fn what_is_declared_is_all_that_is_taken_part_in() {
        let own = description("ill", &["no", "yes"]);
        let mut rows = rows("age,ill\n5,no\n", Some(own.clone()));
        let said = rows.admit(&description("age", &["5", "7"])).unwrap_err().to_string();
        assert!(said.contains("not what you declared: its labels are 5,7, not no,yes"), "{said}");
        assert_eq!(rows.admit(&own).unwrap(), Ok(1));
        let said = super::Rows::new("a.csv".into(), "ill\nno\n".into(), None).admit(&own).unwrap_err().to_string();
        assert!(said.contains("a.csv: no column is looked at"), "{said}");
    }
}
