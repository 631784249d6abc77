//! The `sahara` command line.
fn main() {}
