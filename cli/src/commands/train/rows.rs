//! A trained classifier of table rows as a model: what its columns are, for `sahara model pull` and `sahara classify`.

use sahara_privacy::train::Examples;
use sahara_privacy::train::table::{Column, Description};
use serde::Serialize;

/// A column as the model reads it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Read {
    /// A number from its range.
    Number { name: String, low: f64, high: f64 },
    /// One of these words.
    Word { name: String, words: Vec<String> },
}

/// The columns that these features were made of, in order; none if they are of another description.
pub fn columns(description: &Description, features: &[String]) -> Option<Vec<Read>> {
    let (mut read, mut rest) = (Vec::new(), features);
    while let Some(first) = rest.first() {
        // A column that is named is what its own description says, wherever `*` stands.
        let (named, others): (Vec<_>, Vec<_>) = description.columns.iter().partition(|(name, _)| name != "*");
        let is_word = named.iter().any(|(name, column)| {
            matches!(column, Column::Values(words) if words.iter().any(|word| *first == format!("{name}={word}")))
        });
        let others = others.into_iter().filter(|_| !is_word);
        let (column, taken) = named.into_iter().chain(others).find_map(|column| of(column, first, rest))?;
        read.push(column);
        rest = rest.get(taken..)?;
    }
    Some(read)
}

/// What a described column is, if the next features are its own, and how many those are.
fn of((name, column): &(String, Column), first: &str, rest: &[String]) -> Option<(Read, usize)> {
    match column {
        Column::Range { low, high } => {
            let own = name == first || name == "*";
            own.then(|| (Read::Number { name: first.to_owned(), low: *low, high: *high }, 1))
        }
        Column::Values(words) => {
            let found = first.strip_suffix(&format!("={}", words.first()?))?;
            let expected = words.iter().map(|word| format!("{found}={word}"));
            let own = (name == found || name == "*") && rest.iter().take(words.len()).cloned().eq(expected);
            own.then(|| (Read::Word { name: found.to_owned(), words: words.clone() }, words.len()))
        }
        Column::Ignored | Column::Label => None,
    }
}

/// A row as somebody would write it, from its features.
pub fn written(columns: &[Read], row: &[f32]) -> String {
    let mut rest = row;
    let cells = columns.iter().map(|column| match column {
        Read::Number { low, high, .. } => {
            let value = rest.first().copied().unwrap_or(0.0);
            rest = rest.get(1..).unwrap_or_default();
            (low + (f64::from(value) + 1.0) / 2.0 * (high - low)).to_string()
        }
        Read::Word { words, .. } => {
            let (own, after) = rest.split_at(words.len().min(rest.len()));
            rest = after;
            own.iter().position(|&value| value == 1.0).map_or(String::new(), |at| words[at].clone())
        }
    });
    cells.collect::<Vec<_>>().join(",")
}

/// The first rows of examples, as somebody would write them.
pub fn some(columns: &[Read], examples: &Examples, count: usize) -> Vec<String> {
    (0..examples.len().min(count)).map(|row| written(columns, examples.row(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_again_and_rows_written() {
        let range = |low, high| Column::Range { low, high };
        let named = |name: &str, column| (name.to_owned(), column);
        let words = vec!["F".to_owned(), "M".to_owned()];
        let description = Description {
            columns: vec![
                named("ill", Column::Label),
                named("id", Column::Ignored),
                named("age", range(0.0, 100.0)),
                named("sex", Column::Values(words.clone())),
                named("*", range(-1.0, 1.0)),
            ],
            labels: vec!["no".into(), "yes".into()],
        };
        let (examples, features) = description.read("id,rate,sex,age,ill\n1,0.5,M,25,no\n2,?,x,200,yes").unwrap();
        let columns = columns(&description, &features).unwrap();
        let number = |name: &str, low, high| Read::Number { name: name.into(), low, high };
        let expected = [number("rate", -1.0, 1.0), Read::Word { name: "sex".into(), words }, number("age", 0.0, 100.0)];
        assert_eq!(columns, expected);
        let turned =
            Description { columns: description.columns.iter().rev().cloned().collect(), ..description.clone() };
        assert_eq!(super::columns(&turned, &features).unwrap(), expected, "wherever `*` stands");
        assert_eq!(some(&columns, &examples, 9), ["0.5,M,25", "0,,100"]);
        assert_eq!(super::columns(&description, &["sex=F".to_owned()]), None, "a word is missing");
    }
}
