//! The form of questions: a part of SQL.
//!
//! ```text
//! SELECT item, … FROM table [WHERE condition] [GROUP BY column, …]
//! item       column of GROUP BY | COUNT(*) | COUNT(c) | SUM(c) | AVG(c) | MEDIAN(c) | QUANTILE(c, 0.9)
//!            | HISTOGRAM(c, bins) | TOP(c, k), each [AS name]
//! condition  c = v, <>, <, <=, >, >= | c [NOT] IN (v, …) | c [NOT] BETWEEN v AND v | c IS [NOT] NULL, with AND, OR, NOT, ( )
//! ```
//! What is not in it is refused: a word that was passed over could be the one that bounds an answer.

use super::condition::{self, Condition};
use super::error::QueryError;
use super::tokens::{Lexeme, Token, tokens};

/// Most items of a question.
const MOST_ITEMS: usize = 64;

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What is asked, in order.
    pub items: Vec<Item>,
    /// Of which table.
    pub table: String,
    /// Which rows count.
    pub condition: Option<Condition>,
    /// Columns that make groups.
    pub keys: Vec<String>,
}

/// One thing that is asked, and what it is called.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What.
    pub what: What,
    /// As it was written, or its name after `AS`.
    pub name: String,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The group.
    Key(String),
    /// How many rows there are, or how many in which a column is not missing.
    Count(Option<String>),
    /// The sum of a column.
    Sum(String),
    /// The mean of a column.
    Mean(String),
    /// The value below which so much of a column lies.
    Quantile(String, Fraction),
    /// How many rows are in each of so many equal parts of a column's range.
    Histogram(String, u32),
    /// The so many most frequent values of a column.
    Top(String, u32),
}

/// A part of one, in lowest terms; the denominator is at most 10⁴.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    /// Above the line.
    pub above: u32,
    /// Below it.
    pub below: u32,
}

impl Query {
    /// Reads a question.
    ///
    /// # Errors
    /// [`QueryError::Syntax`] or [`QueryError::Unsupported`], which say where and what instead.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, next: 0, length: text.chars().count() };
        parser.query()
    }
}

pub(super) struct Parser<'a> {
    tokens: &'a [Token],
    next: usize,
    length: usize,
}

impl Parser<'_> {
    fn query(&mut self) -> Result<Query, QueryError> {
        self.expect("SELECT")?;
        let mut items = vec![self.item()?];
        while self.sign(",") {
            items.push(self.item()?);
            if items.len() > MOST_ITEMS {
                return Err(self.wrong("more than 64 things are asked at once"));
            }
        }
        self.expect("FROM")?;
        let table = self.name("the name of the table")?;
        let condition = if self.keyword("WHERE") { Some(condition::parse(self, 0)?) } else { None };
        let mut keys = Vec::new();
        if self.keyword("GROUP") {
            self.expect("BY")?;
            keys.push(self.name("a column")?);
            while self.sign(",") {
                keys.push(self.name("a column")?);
            }
        }
        let _ = self.sign(";");
        if let Some(token) = self.tokens.get(self.next) {
            return Err(refused(token));
        }
        Ok(Query { items, table, condition, keys })
    }

    fn item(&mut self) -> Result<Item, QueryError> {
        if self.sign("*") {
            return Err(QueryError::unsupported(
                "SELECT *",
                "no row leaves: ask for COUNT(*), SUM(c), AVG(c) and the like",
            ));
        }
        let begin = self.next;
        let name = self.name("what is asked")?;
        let is_call = self.sign("(");
        let what = if is_call { self.call(&name, begin)? } else { What::Key(name.clone()) };
        let said = if self.keyword("AS") { self.name("a name")? } else { what.to_string() };
        Ok(Item { what, name: said })
    }

    /// What stands after a name and its parenthesis.
    fn call(&mut self, name: &str, begin: usize) -> Result<What, QueryError> {
        let name = name.to_ascii_uppercase();
        if self.keyword("DISTINCT") {
            return Err(QueryError::unsupported("DISTINCT", "count groups of a column instead: GROUP BY"));
        }
        let what = match name.as_str() {
            "COUNT" if self.sign("*") => What::Count(None),
            "COUNT" => What::Count(Some(self.name("a column")?)),
            "SUM" => What::Sum(self.name("a column")?),
            "AVG" | "MEAN" => What::Mean(self.name("a column")?),
            "MEDIAN" => What::Quantile(self.name("a column")?, Fraction { above: 1, below: 2 }),
            "QUANTILE" => {
                let column = self.name("a column")?;
                What::Quantile(column, self.fraction()?)
            }
            "HISTOGRAM" => What::Histogram(self.name("a column")?, self.whole("a number of parts", 2, 4096)?),
            "TOP" => What::Top(self.name("a column")?, self.whole("how many", 1, 1024)?),
            "MIN" | "MAX" => {
                return Err(QueryError::unsupported(
                    name,
                    "one row decides it: ask for QUANTILE(c, 0.01) or QUANTILE(c, 0.99)",
                ));
            }
            "STDDEV" | "VARIANCE" | "VAR" | "STDDEV_POP" | "VAR_POP" => {
                return Err(QueryError::unsupported(name, "ask for quantiles, or for a HISTOGRAM"));
            }
            _ => {
                let at = self.tokens.get(begin).map_or(1, |token| token.at);
                let reason = format!("{name:?} is none of COUNT, SUM, AVG, MEDIAN, QUANTILE, HISTOGRAM and TOP");
                return Err(QueryError::Syntax { at, reason });
            }
        };
        if !self.sign(")") {
            return Err(self.wrong("a closing parenthesis is missing; arithmetic is not understood"));
        }
        Ok(what)
    }

    fn fraction(&mut self) -> Result<Fraction, QueryError> {
        const BELOW: u32 = 10_000;
        let said = "after a comma, a number between 0 and 1 with at most four digits after the point";
        let value = if self.sign(",") { self.number() } else { None };
        let value = value.ok_or_else(|| self.wrong(said))? * f64::from(BELOW);
        let above = value.round();
        if (value - above).abs() > 1e-6 || !(1.0..f64::from(BELOW)).contains(&above) {
            return Err(self.wrong(said));
        }
        let above = above as u32;
        let divisor = common(above, BELOW);
        Ok(Fraction { above: above / divisor, below: BELOW / divisor })
    }

    fn whole(&mut self, what: &str, least: u32, most: u32) -> Result<u32, QueryError> {
        let value = if self.sign(",") { self.number() } else { None };
        let fits = value.filter(|value| value.fract() == 0.0 && (f64::from(least)..=f64::from(most)).contains(value));
        fits.map(|value| value as u32)
            .ok_or_else(|| self.wrong(&format!("after a comma, {what} from {least} to {most}")))
    }

    /// Whether the next word is this one; it is taken.
    pub fn keyword(&mut self, word: &str) -> bool {
        self.take(|what| matches!(what, Lexeme::Word(found) if found.eq_ignore_ascii_case(word)))
    }

    /// Whether the next sign is this one; it is taken.
    pub fn sign(&mut self, sign: &str) -> bool {
        self.take(|what| matches!(what, Lexeme::Sign(found) if *found == sign))
    }

    fn take(&mut self, is: impl Fn(&Lexeme) -> bool) -> bool {
        let found = self.tokens.get(self.next).is_some_and(|token| is(&token.what));
        self.next += usize::from(found);
        found
    }

    pub fn expect(&mut self, word: &str) -> Result<(), QueryError> {
        if self.keyword(word) { Ok(()) } else { Err(self.wrong(&format!("{word} is missing"))) }
    }

    /// A name that is no word of the language.
    pub fn name(&mut self, what: &str) -> Result<String, QueryError> {
        match self.tokens.get(self.next).map(|token| &token.what) {
            Some(Lexeme::Quoted(name)) => {
                self.next += 1;
                Ok(name.clone())
            }
            Some(Lexeme::Word(name)) if !RESERVED.iter().any(|word| name.eq_ignore_ascii_case(word)) => {
                self.next += 1;
                Ok(name.clone())
            }
            Some(Lexeme::Word(_)) if OUTSIDE.iter().any(|(word, _)| self.is(word)) => {
                Err(refused(&self.tokens[self.next]))
            }
            _ => Err(self.wrong(&format!("{what} is missing (a name with other signs is written in double quotes)"))),
        }
    }

    fn is(&self, word: &str) -> bool {
        matches!(self.tokens.get(self.next).map(|token| &token.what), Some(Lexeme::Word(found)) if found.eq_ignore_ascii_case(word))
    }

    /// A number, with its sign.
    pub fn number(&mut self) -> Option<f64> {
        let begin = self.next;
        let negative = self.sign("-");
        match self.tokens.get(self.next).map(|token| &token.what) {
            Some(Lexeme::Number(value)) => {
                self.next += 1;
                Some(if negative { -value } else { *value })
            }
            _ => {
                self.next = begin;
                None
            }
        }
    }

    /// A text in single quotes.
    pub fn text(&mut self) -> Option<String> {
        match self.tokens.get(self.next).map(|token| &token.what) {
            Some(Lexeme::Text(text)) => {
                self.next += 1;
                Some(text.clone())
            }
            _ => None,
        }
    }

    /// An error at the next word.
    pub fn wrong(&self, reason: &str) -> QueryError {
        let at = self.tokens.get(self.next).map_or(self.length + 1, |token| token.at);
        QueryError::Syntax { at, reason: reason.to_owned() }
    }
}

const RESERVED: [&str; 24] = [
    "SELECT", "FROM", "WHERE", "GROUP", "BY", "AS", "AND", "OR", "NOT", "IN", "IS", "NULL", "BETWEEN", "DISTINCT",
    "JOIN", "HAVING", "ORDER", "LIMIT", "UNION", "WITH", "ON", "CASE", "LIKE", "OVER",
];

/// Words of SQL that people may try, with what to do.
const OUTSIDE: [(&str, &str); 13] = [
    ("JOIN", "join the tables first, and declare whose each row is"),
    ("INNER", "join the tables first, and declare whose each row is"),
    ("LEFT", "join the tables first, and declare whose each row is"),
    ("HAVING", "look at the answer instead: what is done to it costs nothing"),
    ("ORDER", "sort the answer instead: what is done to it costs nothing"),
    ("LIMIT", "TOP(c, k) has the most frequent values"),
    ("OFFSET", "TOP(c, k) has the most frequent values"),
    ("UNION", "ask one question after the other"),
    ("WITH", "a question has no parts with names"),
    ("SELECT", "a question has no other one in it"),
    ("CASE", "ask with WHERE for each case"),
    ("LIKE", "compare with = or IN"),
    ("OVER", "ask with GROUP BY"),
];

fn refused(token: &Token) -> QueryError {
    if let Lexeme::Word(word) = &token.what
        && let Some((name, instead)) = OUTSIDE.iter().find(|(name, _)| word.eq_ignore_ascii_case(name))
    {
        return QueryError::unsupported(*name, instead);
    }
    let reason = "nothing more is expected here: after the table come WHERE, then GROUP BY".to_owned();
    QueryError::Syntax { at: token.at, reason }
}

fn common(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common(b, a % b) }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(column) => f.write_str(column),
            Self::Count(None) => f.write_str("COUNT(*)"),
            Self::Count(Some(column)) => write!(f, "COUNT({column})"),
            Self::Sum(column) => write!(f, "SUM({column})"),
            Self::Mean(column) => write!(f, "AVG({column})"),
            Self::Quantile(column, Fraction { above: 1, below: 2 }) => write!(f, "MEDIAN({column})"),
            Self::Quantile(column, part) => {
                write!(f, "QUANTILE({column}, {})", f64::from(part.above) / f64::from(part.below))
            }
            Self::Histogram(column, bins) => write!(f, "HISTOGRAM({column}, {bins})"),
            Self::Top(column, k) => write!(f, "TOP({column}, {k})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::condition::{Comparison, Literal};
    use super::*;

    #[test]
    fn a_question_is_read_as_it_is_written() {
        let query = Query::parse(
            "select city, avg(age) as mean, COUNT(*), quantile(age, 0.25), TOP(\"the \"\"x\"\"\", 3), HISTOGRAM(age, 12) \
             FROM visits WHERE age >= -1.5e0 AND NOT city IN ('a', 'it''s') GROUP BY city;",
        )
        .unwrap();
        assert_eq!(query.table, "visits");
        assert_eq!(query.keys, ["city"]);
        let names: Vec<&str> = query.items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(
            names,
            ["city", "mean", "COUNT(*)", "QUANTILE(age, 0.25)", "TOP(the \"x\", 3)", "HISTOGRAM(age, 12)"]
        );
        assert_eq!(query.items[3].what, What::Quantile("age".into(), Fraction { above: 1, below: 4 }));
        let compare = Condition::Compare("age".into(), Comparison::NotBelow, Literal::Number(-1.5));
        let inside = Condition::In("city".into(), vec![Literal::Text("a".into()), Literal::Text("it's".into())]);
        assert_eq!(query.condition, Some(Condition::And(compare.into(), Condition::Not(inside.into()).into())));
    }

    #[test]
    fn what_is_outside_is_refused_by_name() {
        for (text, word) in [
            ("SELECT * FROM t", "SELECT *"),
            ("SELECT MAX(x) FROM t", "MAX"),
            ("SELECT STDDEV(x) FROM t", "STDDEV"),
            ("SELECT COUNT(DISTINCT x) FROM t", "DISTINCT"),
            ("SELECT COUNT(*) FROM t JOIN u", "JOIN"),
            ("SELECT COUNT(*) FROM t GROUP BY x HAVING y", "HAVING"),
            ("SELECT COUNT(*) FROM t ORDER BY x", "ORDER"),
            ("SELECT COUNT(*) FROM t LIMIT 3", "LIMIT"),
            ("SELECT COUNT(*) FROM t UNION SELECT COUNT(*) FROM t", "UNION"),
            ("SELECT COUNT(*) FROM (SELECT x FROM t)", "parenthes"),
            ("SELECT SUM(x * 2) FROM t", "arithmetic"),
            ("SELECT COUNT(*) FROM t WHERE x LIKE 'a'", "LIKE"),
            ("SELECT COUNT(*) FROM t -- all", "comment"),
            ("SELECT COUNT(*) FROM t, u", "nothing more"),
            ("SELECT QUANTILE(x, 1) FROM t", "between 0 and 1"),
            ("SELECT QUANTILE(x, 0.12345) FROM t", "between 0 and 1"),
            ("SELECT HISTOGRAM(x, 1) FROM t", "from 2 to 4096"),
            ("SELECT FIRST(x) FROM t", "FIRST"),
            ("SELECT COUNT(*)", "FROM"),
            ("SELECT COUNT(*) FROM t WHERE x = 'a", "quote"),
            ("SELECT COUNT(*) FROM t WHERE x = 1e999", "number"),
            ("", "SELECT"),
        ] {
            let said = Query::parse(text).map(|_| String::new()).unwrap_or_else(|error| error.to_string());
            let said = if word == "parenthes" { said.replace("the name of the table", "parenthes") } else { said };
            assert!(said.contains(word), "{text}: {said}");
        }
        let deep = format!("SELECT COUNT(*) FROM t WHERE {}x = 1{}", "(".repeat(1000), ")".repeat(1000));
        assert!(Query::parse(&deep).unwrap_err().to_string().contains("deep"));
        let not = format!("SELECT COUNT(*) FROM t WHERE {} x = 1", "NOT ".repeat(1000));
        assert!(Query::parse(&not).unwrap_err().to_string().contains("deep"));
    }

    proptest::proptest! {
        #[test]
        fn strange_questions_do_no_harm(text in "(SELECT |COUNT|\\(|\\*|\\)|FROM|WHERE| x |NOT |IN|,|'|\"|1e|=|<|é|-|BETWEEN | AND ){0,40}") {
            let _ = Query::parse(&text);
        }
    }
}
