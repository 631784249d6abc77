//! Standard output: results only, as text or as JSON. A reader that goes away ends the program quietly.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::{Error, Result};

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
        let done = writeln!(self.to, "{line}");
        check(done)
    }

    /// One JSON value on one line.
    pub fn value(&mut self, value: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(value).map_err(|e| Error::fault_from("encoding the result", e))?;
        self.line(&line)
    }

    /// Pushes what was written so far to the reader.
    pub fn flush(&mut self) -> Result<()> {
        let done = self.to.flush();
        check(done)
    }
}

fn check(done: io::Result<()>) -> Result<()> {
    done.map_err(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Error::reader_gone(),
        _ => Error::wrap("writing to standard output", crate::error::Blame::User, e),
    })
}
