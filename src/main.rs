//! The `sahara` program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sahara::cli::main()
}
