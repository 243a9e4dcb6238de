//! The programs that take part.

use std::path::PathBuf;

/// The programs that take part.
#[derive(Clone)]
pub struct Programs {
    /// The server.
    pub weir: PathBuf,
    /// Another build of it, say of an older commit, that is measured in turn with it.
    pub beside: Option<PathBuf>,
    /// The load generator.
    pub load: PathBuf,
    /// nginx with its RTMP module, if it is installed.
    pub nginx: Option<PathBuf>,
}

impl Programs {
    /// The same with the other build in the place of the server.
    pub fn other(&self) -> Self {
        let weir = self.beside.clone().unwrap_or_else(|| self.weir.clone());
        Self { weir, ..self.clone() }
    }
}
