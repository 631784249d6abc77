//! Which rows count: a condition on one row, which looks at no other.

use std::collections::HashSet;
use std::sync::Arc;

use super::error::QueryError;
use super::schema::{Declared, Kind, Schema, number};
use super::sql::Parser;

/// How deep conditions may stand in each other.
const DEEPEST: usize = 64;
/// Most values of `IN`.
const MOST_VALUES: usize = 1024;

/// A value that is written in a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// A number.
    Number(f64),
    /// A word.
    Text(String),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    Different,
    /// `<`
    Below,
    /// `<=`
    NotAbove,
    /// `>`
    Above,
    /// `>=`
    NotBelow,
}

/// A condition, by names of columns.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Either.
    Or(Box<Self>, Box<Self>),
    /// Both.
    And(Box<Self>, Box<Self>),
    /// Not so.
    Not(Box<Self>),
    /// A column compared with a value.
    Compare(String, Comparison, Literal),
    /// A column is one of these.
    In(String, Vec<Literal>),
    /// A column is missing.
    Missing(String),
}

/// Reads a condition at a depth.
pub(super) fn parse(parser: &mut Parser<'_>, depth: usize) -> Result<Condition, QueryError> {
    let mut left = both(parser, depth)?;
    let mut more = 0;
    while parser.keyword("OR") {
        more += 1;
        left = Condition::Or(left.into(), both(parser, depth + more)?.into());
    }
    Ok(left)
}

fn both(parser: &mut Parser<'_>, depth: usize) -> Result<Condition, QueryError> {
    let mut left = one(parser, depth)?;
    let mut more = 0;
    while parser.keyword("AND") {
        more += 1;
        left = Condition::And(left.into(), one(parser, depth + more)?.into());
    }
    Ok(left)
}

fn one(parser: &mut Parser<'_>, depth: usize) -> Result<Condition, QueryError> {
    if depth > DEEPEST {
        return Err(parser.wrong("conditions stand too deep in each other, or are too many: at most 64"));
    }
    if parser.keyword("NOT") {
        return Ok(Condition::Not(one(parser, depth + 1)?.into()));
    }
    if parser.sign("(") {
        let inside = parse(parser, depth + 1)?;
        return if parser.sign(")") { Ok(inside) } else { Err(parser.wrong("a closing parenthesis is missing")) };
    }
    let column = parser.name("a column")?;
    if parser.keyword("IS") {
        let not = parser.keyword("NOT");
        parser.expect("NULL")?;
        return Ok(turned(Condition::Missing(column), not));
    }
    let not = parser.keyword("NOT");
    if parser.keyword("IN") {
        if !parser.sign("(") {
            return Err(parser.wrong("values in parentheses are missing"));
        }
        let mut values = vec![literal(parser)?];
        while parser.sign(",") {
            values.push(literal(parser)?);
            if values.len() > MOST_VALUES {
                return Err(parser.wrong("IN has more than 1,024 values"));
            }
        }
        if !parser.sign(")") {
            return Err(parser.wrong("a closing parenthesis is missing"));
        }
        return Ok(turned(Condition::In(column, values), not));
    }
    if parser.keyword("BETWEEN") {
        let low = literal(parser)?;
        parser.expect("AND")?;
        let high = literal(parser)?;
        let from = Condition::Compare(column.clone(), Comparison::NotBelow, low);
        let to = Condition::Compare(column, Comparison::NotAbove, high);
        return Ok(turned(Condition::And(from.into(), to.into()), not));
    }
    if parser.keyword("LIKE") {
        return Err(QueryError::unsupported("LIKE", "compare with = or IN"));
    }
    let comparison = [
        ("=", Comparison::Equal),
        ("<>", Comparison::Different),
        ("<", Comparison::Below),
        ("<=", Comparison::NotAbove),
        (">", Comparison::Above),
        (">=", Comparison::NotBelow),
    ]
    .into_iter()
    .find(|(sign, _)| parser.sign(sign));
    match comparison {
        Some((_, comparison)) if !not => Ok(Condition::Compare(column, comparison, literal(parser)?)),
        _ => Err(parser.wrong("a comparison is missing: =, <>, <, <=, >, >=, IN, BETWEEN or IS NULL")),
    }
}

fn turned(condition: Condition, not: bool) -> Condition {
    if not { Condition::Not(condition.into()) } else { condition }
}

fn literal(parser: &mut Parser<'_>) -> Result<Literal, QueryError> {
    let value = parser.number().map(Literal::Number);
    value
        .or_else(|| parser.text().map(Literal::Text))
        .ok_or_else(|| parser.wrong("a value is missing: a number, or a word in single quotes"))
}

/// A condition whose columns are places in a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    Or(Box<Self>, Box<Self>),
    And(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Number(usize, Comparison, f64),
    /// Whether it is one of these.
    Numbers(usize, Vec<f64>),
    /// Whether it is one of these, or none; of a column with these values, if they are declared.
    Words(usize, bool, HashSet<String>, Option<Arc<Declared>>),
    NoNumber(usize),
    NoWord(usize, Option<Arc<Declared>>),
}

impl Test {
    /// With the columns in the places that `place` gives them.
    pub fn of(
        condition: &Condition,
        schema: &Schema,
        place: &mut impl FnMut(&str) -> usize,
    ) -> Result<Self, QueryError> {
        Ok(match condition {
            Condition::Or(a, b) => Self::Or(Self::of(a, schema, place)?.into(), Self::of(b, schema, place)?.into()),
            Condition::And(a, b) => Self::And(Self::of(a, schema, place)?.into(), Self::of(b, schema, place)?.into()),
            Condition::Not(a) => Self::Not(Self::of(a, schema, place)?.into()),
            Condition::Compare(column, comparison, value) => Self::compare(column, *comparison, value, schema, place)?,
            Condition::In(column, values) => {
                let mut all = Self::Numbers(place(column), Vec::new());
                for value in values {
                    match (Self::compare(column, Comparison::Equal, value, schema, place)?, &mut all) {
                        (Self::Number(.., value), Self::Numbers(_, values)) => values.push(value),
                        (Self::Words(_, _, more, _), Self::Words(_, _, words, _)) => words.extend(more),
                        (words, all) => *all = words,
                    }
                }
                all
            }
            Condition::Missing(column) => match schema.column(column)? {
                Kind::Number { .. } => Self::NoNumber(place(column)),
                _ => Self::NoWord(place(column), schema.declared(column)),
            },
        })
    }

    fn compare(
        column: &str,
        comparison: Comparison,
        value: &Literal,
        schema: &Schema,
        place: &mut impl FnMut(&str) -> usize,
    ) -> Result<Self, QueryError> {
        let kind = schema.column(column)?;
        let wrong = |needs| QueryError::Kind { doing: "comparing", column: column.to_owned(), is: kind.name(), needs };
        let is_order = !matches!(comparison, Comparison::Equal | Comparison::Different);
        match (kind, value) {
            (Kind::Number { .. }, Literal::Number(value)) => Ok(Self::Number(place(column), comparison, *value)),
            (Kind::Number { .. }, Literal::Text(_)) => Err(wrong("is compared with a number")),
            (_, Literal::Number(_)) => Err(wrong("is compared with a word in single quotes")),
            (_, Literal::Text(_)) if is_order => Err(wrong("is compared with =, <> or IN")),
            (_, Literal::Text(value)) => {
                let declared = schema.declared(column);
                if declared.as_ref().is_some_and(|declared| declared.place(value).is_none()) {
                    let what = format!("{column} {value:?}");
                    return Err(QueryError::unsupported(what, "it is none of the values that are declared"));
                }
                let words = HashSet::from([value.clone()]);
                Ok(Self::Words(place(column), comparison == Comparison::Equal, words, declared))
            }
        }
    }

    /// Whether it holds for a row; nothing if a value that decides is missing.
    pub fn holds(&self, cells: &[String]) -> Option<bool> {
        let cell = |at: &usize| cells.get(*at).map_or("", |cell| cell.trim());
        match self {
            Self::Or(a, b) => match (a.holds(cells), b.holds(cells)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Self::And(a, b) => match (a.holds(cells), b.holds(cells)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Not(a) => a.holds(cells).map(|holds| !holds),
            Self::Number(at, comparison, value) => number(cell(at)).map(|found| match comparison {
                Comparison::Equal => found == *value,
                Comparison::Different => found != *value,
                Comparison::Below => found < *value,
                Comparison::NotAbove => found <= *value,
                Comparison::Above => found > *value,
                Comparison::NotBelow => found >= *value,
            }),
            Self::Numbers(at, values) => number(cell(at)).map(|found| values.contains(&found)),
            Self::Words(at, is, words, declared) => {
                let found = cell(at);
                is_known(found, declared.as_deref()).then(|| words.contains(found) == *is)
            }
            Self::NoNumber(at) => Some(number(cell(at)).is_none()),
            Self::NoWord(at, declared) => Some(!is_known(cell(at), declared.as_deref())),
        }
    }
}

/// Whether a column is not missing in a row: it has one of its values, or any where none are declared.
pub(super) fn is_known(cell: &str, declared: Option<&Declared>) -> bool {
    declared.map_or(!cell.is_empty(), |declared| declared.place(cell).is_some())
}

#[cfg(test)]
mod tests {
    use super::super::{Plan, Query, Unit, Wish};
    use super::*;

    #[test]
    fn a_long_question_about_many_values_is_planned_and_answered_at_once() {
        // Each of 4,000 literals is of a column with as many values as there may be: nothing is copied or looked through for each.
        let values: Vec<String> = (0..1 << 14).map(|value| format!("{value:x}")).collect();
        let schema = Schema::new(vec![("c".to_owned(), Kind::Values(values))], Unit::Row).unwrap();
        let declared = schema.declared("c").unwrap();
        let list = format!("c IN ({}'0')", "'1',".repeat(999));
        let question = format!("SELECT COUNT(*) FROM t WHERE {}", [list.as_str(); 4].join(" OR "));
        let begun = std::time::Instant::now();
        let plan = Plan::new(&Query::parse(&question).unwrap(), &schema, Wish { epsilon: 1.0, delta: None }).unwrap();
        assert!(Arc::strong_count(&declared) <= 2 + 4, "{}", Arc::strong_count(&declared));
        let rows = format!("c\n{}", "3fff\n1\n".repeat(2000));
        plan.sums(&rows).unwrap();
        assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_row_counts_by_itself_and_what_is_missing_decides_nothing() {
        let number = Kind::Number { low: 0.0, high: 10.0, step: 1.0 };
        let values = Kind::Values(vec!["a".into(), "b".into()]);
        let columns = vec![("n".to_owned(), number), ("v".to_owned(), values), ("w".to_owned(), Kind::Words)];
        let schema = Schema::new(columns, Unit::Row).unwrap();
        let holds = |text: &str, cells: [&str; 3]| {
            let query = Query::parse(&format!("SELECT COUNT(*) FROM t WHERE {text}")).unwrap();
            let place = &mut |name: &str| ["n", "v", "w"].iter().position(|known| *known == name).unwrap();
            Test::of(&query.condition.unwrap(), &schema, place).map(|test| test.holds(&cells.map(str::to_owned)))
        };
        for (text, cells, want) in [
            ("n BETWEEN 2 AND 3", ["2.5", "", ""], Some(true)),
            ("n NOT BETWEEN 2 AND 3", ["2.5", "", ""], Some(false)),
            ("n > 3", ["x", "", ""], None),
            ("n > 3 OR v = 'a'", ["", " a ", ""], Some(true)),
            ("n > 3 AND v = 'a'", ["", "b", ""], Some(false)),
            ("NOT n <= 3", ["4", "", ""], Some(true)),
            ("n <> 3", ["3", "", ""], Some(false)),
            ("v IN ('a', 'b')", ["", "b", ""], Some(true)),
            ("v IN ('a')", ["", "z", ""], None),
            ("n IN (1, 2.50, -0)", ["2.5", "", ""], Some(true)),
            ("n IN (1, 2.50, -0)", ["0", "", ""], Some(true)),
            ("n NOT IN (1, 2.50)", ["3", "", ""], Some(true)),
            ("n IN (1, 2)", ["x", "", ""], None),
            ("v NOT IN ('a', 'b')", ["", "b", ""], Some(false)),
            ("w NOT IN ('a', 'b')", ["", "", "c"], Some(true)),
            ("v <> 'a'", ["", "z", ""], None),
            ("v IS NULL", ["", "z", ""], Some(true)),
            ("n IS NOT NULL", ["1e3", "", ""], Some(true)),
            ("w IS NULL", ["", "", " "], Some(true)),
            ("w = 'z' OR w IS NULL", ["", "", "z"], Some(true)),
        ] {
            assert_eq!(holds(text, cells).unwrap(), want, "{text} {cells:?}");
        }
        for text in ["n = 'a'", "v = 3", "v = 'z'", "v < 'b'", "x = 1"] {
            assert!(holds(text, ["", "", ""]).is_err(), "{text}");
        }
    }
}
