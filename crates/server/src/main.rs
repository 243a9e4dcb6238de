//! The `weir` binary.

use std::{env, process::ExitCode};

use weir_server::{
    app,
    command::{Called, Cli},
};

fn main() -> ExitCode {
    let called = Called::with(env::args_os().collect());
    called.done().unwrap_or_else(|words| app::run(Cli::parse(words)))
}
