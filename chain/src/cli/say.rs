//! Results on standard output. A reader that has gone, or a full disk behind it, is no reason to panic.

use std::{
    fmt,
    io::{ErrorKind, Write},
};

use crate::node::NodeError;

/// Writes a line of a result, as `println!` does, and gives an error where that panics.
macro_rules! say {
    ($($words:tt)*) => { $crate::cli::say::line(format_args!($($words)*)) };
}
pub(crate) use say;

/// One line of a result.
pub fn line(words: fmt::Arguments<'_>) -> Result<(), NodeError> {
    told(writeln!(std::io::stdout().lock(), "{words}"))
}

fn told(written: std::io::Result<()>) -> Result<(), NodeError> {
    written.map_err(|cause| match cause.kind() {
        ErrorKind::BrokenPipe => NodeError::ReaderGone,
        _ => NodeError::File { doing: "write to", path: "standard output".into(), cause },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_has_gone_is_told_from_a_full_disk() {
        assert!(matches!(told(Err(ErrorKind::BrokenPipe.into())), Err(NodeError::ReaderGone)));
        let full = told(Err(ErrorKind::StorageFull.into())).unwrap_err();
        assert!(full.to_string().starts_with("write to standard output: "), "{full}");
    }
}
