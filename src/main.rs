//! Arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = okaeri::cli::Cli::parse();
    rustls::crypto::ring::default_provider().install_default().expect("no other provider was installed before");
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the system gives threads")
        .block_on(okaeri::cli::run(cli))
}
