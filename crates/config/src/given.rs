//! What a process is given a configuration in.

use std::path::{Path, PathBuf};

/// What a process is given a configuration in. Variables that begin with `WEIR_` come over all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Given {
    /// Nothing: all keys have their defaults.
    #[default]
    Nothing,
    /// A file, in any format that is known.
    File(PathBuf),
    /// Variables of SRS, which begin with `SRS_`, and no file: `srs -e`.
    SrsEnvironment,
}

impl Given {
    /// The file that it is, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Nothing | Self::SrsEnvironment => None,
        }
    }
}

impl From<Option<PathBuf>> for Given {
    fn from(path: Option<PathBuf>) -> Self {
        path.map_or(Self::Nothing, Self::File)
    }
}
