//! The console and the player's pages, in Chromium, and what may be otherwise in Firefox.

mod cluster;
mod firefox;
mod look;
mod pages;
mod rights;
mod screenshots;
mod stream;
mod wall;

use std::time::Duration;

use weir_testkit::{Weir, server::Builder};

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(30);

/// The administrator's token.
const ADMIN: &str = "admin-of-the-tests";

/// The token for reading.
const READ: &str = "reader-of-the-tests";

/// A server with both tokens: nobody reads without one.
fn closed() -> Builder {
    let config = format!("api: {{ admin_tokens: [{ADMIN}], read_tokens: [{READ}] }}\n");
    Weir::builder(env!("CARGO_BIN_EXE_weir")).config(&config)
}

/// A server where everybody here may read.
fn open() -> Builder {
    let config = format!("api: {{ admin_tokens: [{ADMIN}] }}\n");
    Weir::builder(env!("CARGO_BIN_EXE_weir")).config(&config)
}
