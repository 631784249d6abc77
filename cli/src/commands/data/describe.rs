//! `sahara data describe`: what the columns of a table are, in a file beside it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use sahara::home::write_atomic;
use sahara_privacy::query::{Kind, Schema, Unit, columns};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::Context;
use crate::error::{Error, Result};

/// Longest description.
const MOST_BYTES: u64 = 1 << 20;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sahara data describe visits.csv --range age=0:120 --range price=0.00:99.99 \\
      --values city=Oasis,Dune --words diagnosis --ignore id
  sahara data describe visits.csv --range age=0:120 --person patient \\
      --rows-per-person 5

What is described comes from you, not from the rows: the true range of a column
would tell what single rows have. Of the table only the names of the columns are
read. Values outside a range count as its bound; sums are whole numbers of a
step, which is as fine as the bounds are written, or given: age=0:120:0.5.
Other columns than those described cannot be asked about. The description is
FILE.toml beside the table, and may be edited. With --person, rows in which that
column is empty are nobody's, and are left out.")]
pub struct DescribeArgs {
    /// The table: comma-separated values with a line of names
    #[arg(value_name = "FILE")]
    table: PathBuf,
    /// Range of a column of numbers
    #[arg(long = "range", value_name = "COLUMN=LOW:HIGH[:STEP]", value_parser = range, allow_hyphen_values = true)]
    ranges: Vec<(String, Column)>,
    /// Words of a column of words, all of them
    #[arg(long = "values", value_name = "COLUMN=A,B,…", value_parser = values)]
    values: Vec<(String, Column)>,
    /// A column whose words nobody can list
    #[arg(long, value_name = "COLUMN")]
    words: Vec<String>,
    /// A column that is not asked about
    #[arg(long, value_name = "COLUMN")]
    ignore: Vec<String>,
    /// The column that says whose a row is: ε then speaks of persons, not of rows
    #[arg(long, value_name = "COLUMN", requires = "rows_per_person")]
    person: Option<String>,
    /// How many rows of a person count in an answer; noise grows with it
    #[arg(long, value_name = "N", requires = "person")]
    rows_per_person: Option<u32>,
    /// Replace the description that is there
    #[arg(long)]
    replace: bool,
}

/// A description as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<Person>,
    columns: BTreeMap<String, Column>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    column: String,
    rows: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Column {
    Number { low: f64, high: f64, step: f64 },
    Values { values: Vec<String> },
    Words { words: Yes },
    Ignored { ignored: Yes },
}

/// `true`, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "bool", into = "bool")]
struct Yes;

impl TryFrom<bool> for Yes {
    type Error = &'static str;

    fn try_from(yes: bool) -> std::result::Result<Self, &'static str> {
        if yes { Ok(Self) } else { Err("it is true, or not there") }
    }
}

impl From<Yes> for bool {
    fn from(_: Yes) -> Self {
        true
    }
}

/// The description of a table, and its bytes.
pub fn read(table: &Path) -> Result<(Schema, Vec<u8>)> {
    let path = beside(table);
    let mut bytes = Vec::new();
    let file = match std::fs::File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::user(format!(
                "{} is not described: say what its columns are with `sahara data describe {}`",
                table.display(),
                table.display()
            )));
        }
        opened => opened.map_err(|error| Error::io("reading", &path, error))?,
    };
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(|error| Error::io("reading", &path, error))?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(Error::user(format!("{} is larger than 1 MiB", path.display())));
    }
    let said = |why: String| Error::user(format!("{}: {}", path.display(), why.trim_end().replace('\n', " ")));
    let text = std::str::from_utf8(&bytes).map_err(|error| said(error.to_string()))?;
    let file: File = toml::from_str(text).map_err(|error| said(error.to_string()))?;
    Ok((file.schema().map_err(|error| said(error.to_string()))?, bytes))
}

/// What neighbours are, in the words of budgets.
pub fn unit(schema: &Schema) -> String {
    match schema.unit() {
        Unit::Row => super::dataset::ROW.to_owned(),
        Unit::Person { column, .. } => super::dataset::person(column),
    }
}

fn beside(table: &Path) -> PathBuf {
    let mut name = table.as_os_str().to_owned();
    name.push(".toml");
    name.into()
}

impl File {
    fn schema(&self) -> std::result::Result<Schema, sahara_privacy::query::QueryError> {
        let kind = |column: &Column| match column {
            Column::Number { low, high, step } => Kind::Number { low: *low, high: *high, step: *step },
            Column::Values { values } => Kind::Values(values.clone()),
            Column::Words { .. } => Kind::Words,
            Column::Ignored { .. } => Kind::Ignored,
        };
        let columns = self.columns.iter().map(|(name, column)| (name.clone(), kind(column))).collect();
        let unit = self
            .person
            .as_ref()
            .map_or(Unit::Row, |person| Unit::Person { column: person.column.clone(), rows: person.rows });
        Schema::new(columns, unit)
    }
}

pub fn run(args: &DescribeArgs, context: &mut Context) -> Result<()> {
    let path = beside(&args.table);
    if !args.replace && path.exists() {
        return Err(Error::user(format!("{} is there already: edit it, or give --replace", path.display())));
    }
    let mut file = File {
        person: args.person.clone().zip(args.rows_per_person).map(|(column, rows)| Person { column, rows }),
        columns: BTreeMap::new(),
    };
    let words = args.words.iter().map(|name| (name.clone(), Column::Words { words: Yes }));
    let ignored = args.ignore.iter().map(|name| (name.clone(), Column::Ignored { ignored: Yes }));
    for (name, column) in args.ranges.iter().chain(&args.values).cloned().chain(words).chain(ignored) {
        if file.columns.insert(name.clone(), column).is_some() {
            return Err(Error::user(format!("column {name:?} is described twice")));
        }
    }
    let there = names(&args.table)?;
    if let Some((_, twice)) = there.iter().enumerate().find(|(at, name)| there[..*at].contains(name)) {
        let table = args.table.display();
        return Err(Error::user(format!("{table} has two columns {twice:?}: give one of them another name")));
    }
    if file.columns.is_empty() {
        return Err(Error::user(format!(
            "say what a column is, with --range, --values, --words or --ignore; {} has {}",
            args.table.display(),
            there.join(", ")
        )));
    }
    for name in file.columns.keys().chain(file.person.iter().map(|person| &person.column)) {
        if !there.contains(name) {
            return Err(Error::user(format!(
                "{} has no column {name:?}; it has {}",
                args.table.display(),
                there.join(", ")
            )));
        }
    }
    let schema = file.schema().map_err(|error| Error::user(error.to_string()))?;
    let body = toml::to_string(&file).map_err(|error| Error::fault_from("writing the description", error))?;
    let head = "# What the columns of this table are, as its owner says: nothing here was read from its rows.\n";
    write_atomic(&path, format!("{head}{body}").as_bytes())?;
    let others: Vec<&String> = there.iter().filter(|name| !file.columns.contains_key(*name)).collect();
    if context.out.json() {
        let unit = unit(&schema);
        return context.out.value(&json!({"description": path, "neighbours": unit, "not_described": others}));
    }
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(|name| name.as_str()).collect();
        context.out.folded("", &format!("not described, and so not asked about: {}", names.join(", ")))?;
    }
    context.out.line(&format!("described in {}; neighbours differ by {}", path.display(), unit(&schema)))
}

/// The names of a table's columns, and nothing else of it.
fn names(table: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::io("reading", table, error);
    let mut bytes = Vec::new();
    std::fs::File::open(table).map_err(failed)?.take(MOST_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        // Cut within a character.
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
    };
    let names = columns(text).map_err(|error| Error::user(format!("{}: {error}", table.display())))?;
    if names.is_empty() {
        return Err(Error::user(format!("{} has no line of names that is UTF-8 text", table.display())));
    }
    Ok(names)
}

fn range(text: &str) -> std::result::Result<(String, Column), String> {
    let (name, bounds) = text.rsplit_once('=').ok_or("a range is COLUMN=LOW:HIGH or COLUMN=LOW:HIGH:STEP")?;
    let parts: Vec<&str> = bounds.split(':').collect();
    let number =
        |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite()).ok_or_else(|| format!("{text:?} is no number"));
    let (low, high, step) = match parts[..] {
        [low, high] => {
            let decimals = |text: &str| text.split_once('.').map_or(0, |(_, after)| after.len());
            let fine = decimals(low).max(decimals(high));
            (number(low)?, number(high)?, number(&format!("1e-{fine}"))?)
        }
        [low, high, step] => (number(low)?, number(high)?, number(step)?),
        _ => return Err("a range is COLUMN=LOW:HIGH or COLUMN=LOW:HIGH:STEP".to_owned()),
    };
    Ok((name.to_owned(), Column::Number { low, high, step }))
}

fn values(text: &str) -> std::result::Result<(String, Column), String> {
    let (name, values) = text.split_once('=').ok_or("values are COLUMN=A,B,…")?;
    Ok((name.to_owned(), Column::Values { values: values.split(',').map(|value| value.trim().to_owned()).collect() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_as_it_is_written_and_nothing_is_passed_over() {
        let number = |low, high, step| Column::Number { low, high, step };
        assert_eq!(range("a=b=-1:2.50").unwrap(), ("a=b".to_owned(), number(-1.0, 2.5, 0.01)));
        assert_eq!(range("a=0:120").unwrap().1, number(0.0, 120.0, 1.0));
        assert_eq!(range("a=0:1:0.5").unwrap().1, number(0.0, 1.0, 0.5));
        assert!(range("a=0").is_err() && range("a").is_err() && range("a=0:x").is_err() && range("a=0:1:2:3").is_err());
        let columns = [
            range("age=0:120").unwrap(),
            values("city=a, b").unwrap(),
            ("note".to_owned(), Column::Words { words: Yes }),
            ("id".to_owned(), Column::Ignored { ignored: Yes }),
        ];
        let file = File { person: Some(Person { column: "id".into(), rows: 3 }), columns: columns.into() };
        let text = toml::to_string(&file).unwrap();
        assert_eq!(toml::from_str::<File>(&text).unwrap(), file, "{text}");
        assert!(file.schema().is_ok());
        for wrong in [
            "[columns.a]\nlow = 0\nhigh = 1",
            "[columns.a]\nwords = false",
            "[columns.a]\nvalues = [\"b\"]\nwords = true",
            "[columns.a]\nvalue = \"b\"",
            "[columns]\n[person]\ncolumn = \"a\"",
            "neighbours = \"x\"\n[columns]",
        ] {
            assert!(toml::from_str::<File>(wrong).is_err(), "{wrong}");
        }
    }
}
