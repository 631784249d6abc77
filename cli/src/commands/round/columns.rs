//! What the columns of rows are: a leader says it, and a provider may say it too, and takes part in nothing else then.

use clap::Args;
use sahara_privacy::train::table::{Column, Description};

use super::super::train::columns::{described, range, values};
use crate::error::Result;

#[derive(Args, Debug)]
pub struct ColumnsArgs {
    /// The column that has the label
    #[arg(long, value_name = "COLUMN", requires = "labels")]
    label: Option<String>,
    /// The labels, all of them
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', requires = "label")]
    labels: Vec<String>,
    /// Range of a column of numbers, `*` for every column not named
    #[arg(
        long = "range",
        value_name = "COLUMN=LOW:HIGH",
        value_parser = range,
        allow_hyphen_values = true,
        requires = "label"
    )]
    ranges: Vec<(String, Column)>,
    /// Words of a column of words
    #[arg(long = "values", value_name = "COLUMN=A,B,…", value_parser = values, requires = "label")]
    values: Vec<(String, Column)>,
    /// A column that is not looked at
    #[arg(long, value_name = "COLUMN", requires = "label")]
    ignore: Vec<String>,
}

impl ColumnsArgs {
    /// What was said, if anything was.
    pub fn description(&self) -> Result<Option<Description>> {
        let Some(label) = &self.label else { return Ok(None) };
        described(label, &self.ignore, self.ranges.iter().chain(&self.values), &self.labels).map(Some)
    }
}

/// What a leader says of the columns that a provider does not, by name; nothing if they say the same, in whatever order.
pub fn difference(own: &Description, leaders: &Description) -> Option<String> {
    if own.labels != leaders.labels {
        return Some(format!("its labels are {}, not {}", leaders.labels.join(","), own.labels.join(",")));
    }
    let of = |description: &Description, name: &str| {
        description.columns.iter().find(|(known, _)| known == name).map(|(_, column)| column.clone())
    };
    let names = own.columns.iter().chain(&leaders.columns).map(|(name, _)| name);
    let other = names.into_iter().find(|name| of(own, name) != of(leaders, name))?;
    let told = |column: Option<Column>| match column {
        Some(Column::Range { low, high }) => format!("a number from {low} to {high}"),
        Some(Column::Values(words)) => format!("one of {}", words.join(",")),
        Some(Column::Ignored) => "not looked at".to_owned(),
        Some(Column::Label) => "the label".to_owned(),
        None => "not described".to_owned(),
    };
    Some(format!("column {other:?} is {}, not {}", told(of(leaders, other)), told(of(own, other))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_by_name_whoever_has_it() {
        let description = |columns: &[(&str, Column)], labels: &[&str]| Description {
            columns: columns.iter().map(|(name, column)| ((*name).to_owned(), column.clone())).collect(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        };
        let age = ("age", Column::Range { low: 0.0, high: 120.0 });
        let own = description(&[age.clone(), ("ill", Column::Label)], &["no", "yes"]);
        let turned = description(&[("ill", Column::Label), age.clone()], &["no", "yes"]);
        assert_eq!(difference(&own, &turned), None);
        let told = |leaders: &Description| difference(&own, leaders).unwrap();
        assert!(
            told(&Description { labels: vec!["yes".into(), "no".into()], ..own.clone() })
                .contains("yes,no, not no,yes")
        );
        let name = description(&[age.clone(), ("name", Column::Label)], &["no", "yes"]);
        assert_eq!(told(&name), "column \"ill\" is not described, not the label");
        let wider =
            description(&[("age", Column::Range { low: 0.0, high: 30.0 }), ("ill", Column::Label)], &["no", "yes"]);
        assert_eq!(told(&wider), "column \"age\" is a number from 0 to 30, not a number from 0 to 120");
        let more = description(&[age, ("ill", Column::Label), ("id", Column::Ignored)], &["no", "yes"]);
        assert_eq!(told(&more), "column \"id\" is not looked at, not not described");
    }
}
