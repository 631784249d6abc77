//! The words of a question.

use super::error::QueryError;

/// Longest question, in bytes.
const MOST_BYTES: usize = 16_384;

/// A word, with where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub what: Lexeme,
    /// In characters, from 1.
    pub at: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Lexeme {
    /// A name or a keyword, as it was written.
    Word(String),
    /// A name in double quotes.
    Quoted(String),
    /// A text in single quotes.
    Text(String),
    Number(f64),
    /// One of `( ) , * = <> < <= > >= - ;`
    Sign(&'static str),
}

const SIGNS: [&str; 13] = ["<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", ",", "*", "-", ";"];

pub fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    if text.len() > MOST_BYTES {
        return Err(QueryError::Syntax { at: 1, reason: "it is longer than 16 KiB".to_owned() });
    }
    let mut all = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text[..text.len() - rest.len()].chars().count() + 1;
        let wrong = |reason: String| QueryError::Syntax { at, reason };
        let Some(first) = rest.chars().next() else { return Ok(all) };
        let what = if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after;
            Lexeme::Word(word.to_owned())
        } else if first.is_ascii_digit() || first == '.' {
            let end = number_end(rest);
            let (number, after) = rest.split_at(end);
            let value = number.parse::<f64>().ok().filter(|value| value.is_finite());
            let value = value.ok_or_else(|| wrong(format!("{number:?} is no number")))?;
            rest = after;
            Lexeme::Number(value)
        } else if first == '\'' || first == '"' {
            let (quoted, after) = quoted(&rest[1..], first).ok_or_else(|| wrong("a quote is not closed".to_owned()))?;
            rest = after;
            if first == '"' { Lexeme::Quoted(quoted) } else { Lexeme::Text(quoted) }
        } else if rest.starts_with("--") || rest.starts_with("/*") {
            return Err(QueryError::unsupported("a comment", "leave it away"));
        } else {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
            let sign = sign.ok_or_else(|| wrong(format!("{first:?} means nothing here")))?;
            rest = &rest[sign.len()..];
            Lexeme::Sign(if sign == "!=" { "<>" } else { sign })
        };
        all.push(Token { what, at });
    }
}

/// Digits, a point, an exponent.
fn number_end(text: &str) -> usize {
    let mut before = ' ';
    text.find(|c: char| {
        let of_it = c.is_ascii_alphanumeric() || c == '.' || (matches!(c, '+' | '-') && matches!(before, 'e' | 'E'));
        before = c;
        !of_it
    })
    .unwrap_or(text.len())
}

/// What stands until the closing quote, of which two are one, and what comes after it.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut rest = text;
    loop {
        let end = rest.find(quote)?;
        inside.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(quote) {
            Some(again) => {
                inside.push(quote);
                rest = again;
            }
            None => return Some((inside, rest)),
        }
    }
}
