//! What the columns of a table are, as they are said on the command line.

use std::path::Path;

use clap::Args;
use sahara_privacy::train::Examples;
use sahara_privacy::train::table::{Column, Description, TableError};

use super::texts;
use crate::error::{Error, Result};

/// What the columns of a table are.
#[derive(Args, Debug)]
pub struct ColumnsArgs {
    /// The column that has the label
    #[arg(long, value_name = "COLUMN")]
    label: String,
    /// Range of a column of numbers, `*` for every column not named
    #[arg(long = "range", value_name = "COLUMN=LOW:HIGH", value_parser = range, allow_hyphen_values = true)]
    ranges: Vec<(String, Column)>,
    /// Words of a column of words
    #[arg(long = "values", value_name = "COLUMN=A,B,…", value_parser = values)]
    values: Vec<(String, Column)>,
    /// A column that is not looked at
    #[arg(long, value_name = "COLUMN")]
    ignore: Vec<String>,
}

impl ColumnsArgs {
    pub fn description(&self, labels: &[String]) -> Result<Description> {
        described(&self.label, &self.ignore, self.ranges.iter().chain(&self.values), labels)
    }
}

/// What was said of columns, if nothing was said twice.
pub fn described<'a>(
    label: &str,
    ignored: &[String],
    read: impl Iterator<Item = &'a (String, Column)>,
    labels: &[String],
) -> Result<Description> {
    let mut columns = vec![(label.to_owned(), Column::Label)];
    columns.extend(ignored.iter().map(|name| (name.clone(), Column::Ignored)));
    columns.extend(read.cloned());
    if let Some(twice) = (1..columns.len()).find(|&i| columns[..i].iter().any(|(name, _)| *name == columns[i].0)) {
        return Err(Error::user(format!("column {:?} is described twice", columns[twice].0)));
    }
    if labels.len() < 2 {
        return Err(Error::user("a classifier has two labels at least"));
    }
    Ok(Description { columns, labels: labels.to_vec() })
}

/// The rows of a table, and a name for each of their numbers.
pub fn rows(path: &Path, description: &Description) -> Result<(Examples, Vec<String>)> {
    let text = texts::file(path)?;
    description.read(&text).map_err(|error| table_error(path, &error))
}

fn table_error(path: &Path, error: &TableError) -> Error {
    let todo = match error {
        TableError::Undescribed(name) => format!(" (--range '{name}=LOW:HIGH', --values, or --ignore '{name}')"),
        _ => String::new(),
    };
    Error::user(format!("{}: {error}{todo}", path.display()))
}

pub fn range(text: &str) -> Result<(String, Column), String> {
    let split = text.rsplit_once('=').and_then(|(name, bounds)| Some((name, bounds.split_once(':')?)));
    let (name, (low, high)) = split.ok_or("a range is COLUMN=LOW:HIGH")?;
    let number =
        |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or(format!("{text:?} is no number"));
    let (low, high) = (number(low)?, number(high)?);
    if low >= high {
        return Err(format!("{low} is not below {high}"));
    }
    Ok((name.to_owned(), Column::Range { low, high }))
}

pub fn values(text: &str) -> Result<(String, Column), String> {
    let (name, values) = text.split_once('=').ok_or("values are COLUMN=A,B,…")?;
    let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
    match values.iter().any(String::is_empty) {
        true => Err("a value is empty".to_owned()),
        false => Ok((name.to_owned(), Column::Values(values))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_described_in_words() {
        assert_eq!(range("a=b=-1:2.5").unwrap(), ("a=b".to_owned(), Column::Range { low: -1.0, high: 2.5 }));
        assert!(range("a=2:1").is_err() && range("a").is_err() && range("a=x:1").is_err() && range("a=0:inf").is_err());
        assert_eq!(values("a=b, c").unwrap(), ("a".to_owned(), Column::Values(vec!["b".into(), "c".into()])));
        assert!(values("a=b,,c").is_err() && values("a").is_err());
    }
}
