//! The kinds of work of this process that block a thread, beside those of each folder of HLS and of an edge.

use std::{sync::LazyLock, time::Duration};

use weir_blocking::Pool;

/// The configuration, and what it names. One reload is at work at a time, beside two who look for changes; what is
/// over that waits for a file that hangs.
pub static CONFIGURATION: LazyLock<Pool> =
    LazyLock::new(|| Pool::new("reading the configuration", 4));

/// Pages of `/metrics`: one at a time, for all who ask.
pub static PAGES: LazyLock<Pool> = LazyLock::new(|| Pool::new("writing /metrics", 1));

/// How long the configuration, and what it names, may take to be read: a network file system that answers at all does
/// so within some seconds.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);
