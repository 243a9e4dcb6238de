//! The programs that take part.

use std::path::PathBuf;

/// The programs that take part.
pub struct Programs {
    /// The server.
    pub weir: PathBuf,
    /// The load generator.
    pub load: PathBuf,
    /// nginx with its RTMP module, if it is installed.
    pub nginx: Option<PathBuf>,
}
