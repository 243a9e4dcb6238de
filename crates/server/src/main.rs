//! The `weir` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_server::app::run(weir_server::command::Cli::parse())
}
