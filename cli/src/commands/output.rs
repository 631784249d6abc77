//! Standard output: results only, as text or as JSON. A reader that goes away ends the program quietly.

pub use crate::moment::moment;
use std::borrow::Cow;
use std::io::{self, Write};

use sahara::error::{shown, steers};
use serde::Serialize;

use crate::error::{Error, Result};

/// Columns of a terminal that everything fits.
pub const WIDTH: usize = 80;

/// Writes results to standard output.
pub struct Output {
    json: bool,
    to: io::BufWriter<io::Stdout>,
}

impl Output {
    /// Text or JSON.
    pub fn new(json: bool) -> Self {
        Self { json, to: io::BufWriter::new(io::stdout()) }
    }

    /// Whether JSON was asked for.
    pub fn json(&self) -> bool {
        self.json
    }

    /// One line of text.
    pub fn line(&mut self, line: &str) -> Result<()> {
        // One write, so that a program that is killed leaves whole lines.
        let done = self.to.write_all(format!("{}\n", shown(line)).as_bytes());
        check(done)
    }

    /// Text after the beginning of a line, folded between words so that no line is wider than a terminal; what follows
    /// stands below where the text began.
    pub fn folded(&mut self, start: &str, text: &str) -> Result<()> {
        fold(start, text).iter().try_for_each(|line| self.line(line))
    }

    /// One JSON value on one line.
    pub fn value(&mut self, value: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(value).map_err(|e| Error::fault_from("encoding the result", e))?;
        check(self.to.write_all(format!("{}\n", escaped(&line)).as_bytes()))
    }

    /// Pushes what was written so far to the reader.
    pub fn flush(&mut self) -> Result<()> {
        let done = self.to.flush();
        check(done)
    }
}

pub fn fold(start: &str, text: &str) -> Vec<String> {
    let indent = start.chars().count();
    let mut lines = vec![start.to_owned()];
    let mut column = indent;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        let fresh = column == indent;
        if !fresh && column + 1 + length > WIDTH {
            lines.push(" ".repeat(indent));
            column = indent;
        } else if !fresh {
            push(&mut lines, " ");
            column += 1;
        }
        push(&mut lines, word);
        column += length;
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

fn push(lines: &mut [String], text: &str) {
    if let Some(last) = lines.last_mut() {
        last.push_str(text);
    }
}

/// A number for people: its digits in groups of three.
pub fn grouped(number: impl Into<u128>) -> String {
    let digits = number.into().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// JSON in which what would steer a terminal is escaped as JSON escapes it: it stays the same value, whoever wrote the text.
fn escaped(json: &str) -> Cow<'_, str> {
    if !json.contains(steers) {
        return Cow::Borrowed(json);
    }
    // Such characters stand in strings only, and each is one UTF-16 unit.
    let one = |c: char| if steers(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(json.chars().map(one).collect())
}

fn check(done: io::Result<()>) -> Result<()> {
    done.map_err(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Error::reader_gone(),
        _ => Error::wrap("writing to standard output", crate::error::Blame::User, e),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_escaped_and_stays_what_it_is() {
        let text: String = (0..0x3000).filter_map(char::from_u32).chain(['😀', '\u{e0001}']).collect();
        let json = serde_json::to_string(&serde_json::json!({ "card": text })).unwrap();
        let line = escaped(&json);
        assert!(!line.contains(steers) && line != json);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["card"], text);
    }

    #[test]
    fn a_long_text_is_folded_below_where_it_began() {
        let lines = fold("good     port   ", &"word ".repeat(30));
        assert!(lines.len() == 3 && lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:#?}");
        assert!(lines[1].starts_with(&format!("{}word", " ".repeat(16))));
        let long = "x".repeat(100);
        assert_eq!(fold("a ", &format!("b {long}")), ["a b".to_owned(), format!("  {long}")], "a word is never cut");
        assert_eq!(fold("a ", ""), ["a"]);
    }

    #[test]
    fn numbers_are_for_people() {
        for (number, text) in [(0_u64, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
