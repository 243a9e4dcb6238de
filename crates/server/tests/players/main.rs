//! What players in browsers show.

mod hls;
mod mpegts_js;
mod mse;

use std::time::Duration;

/// For a browser to start and to play, on the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(45);

/// A blank picture has one colour, a test picture many.
const COLOURS_MIN: u64 = 20;
