//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A bug has said what it is on stderr; its exit code is one of the documented ones.
    std::panic::catch_unwind(okaeri::cli::start).unwrap_or(ExitCode::from(1))
}
