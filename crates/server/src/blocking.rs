//! The kinds of work of the process that block a thread, each with threads of its own.

use std::{sync::LazyLock, time::Duration};

use weir_blocking::Pool;

/// The configuration, and what it names. One reload is at work at a time, beside two who look for changes; what is
/// over that waits for a file that hangs.
pub static CONFIGURATION: LazyLock<Pool> =
    LazyLock::new(|| Pool::new("reading the configuration", 4));

/// Pages of `/metrics`: one at a time, for all who ask.
pub static PAGES: LazyLock<Pool> = LazyLock::new(|| Pool::new("writing /metrics", 1));

/// Names that an origin redirects to, looked up by the system.
pub static NAMES: LazyLock<Pool> = LazyLock::new(|| Pool::new("looking up names", 8));

/// How long the configuration, and what it names, may take to be read: a network file system that answers at all does
/// so within some seconds.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);
