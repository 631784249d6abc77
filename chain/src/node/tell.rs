//! Words for people on standard error: standard output is for results.

use std::{fmt, io::Write};

/// Says a line on standard error. Whoever read it may have gone: that is no reason to end.
pub fn tell(line: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
