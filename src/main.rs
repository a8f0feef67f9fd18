//! Arguments in, exit code out.

fn main() -> std::process::ExitCode {
    okaeri::cli::start()
}
