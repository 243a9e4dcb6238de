//! `weir-load`: publishers, viewers and the bare loop, for measuring live-streaming servers.

mod cli;
mod clip;
mod console;
mod cpu;
mod floor;
mod play;
mod publish;
mod report;
mod request;
mod socket;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Publish(publish) => publish::run(&publish),
        Command::Play(play) => play::run(&play),
        Command::Request(request) => request::run(&request),
        Command::Floor(floor) => floor::run(&floor),
        Command::Console(console) => console::run(&console),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
