//! Where a recording goes below `record.dir`.

use std::{
    fmt,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

/// A template for paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

/// What a path is made for.
#[derive(Clone, Copy, Debug)]
pub struct PathOf<'a> {
    /// The vhost of the stream.
    pub vhost: &'a str,
    /// Its app, possibly of several levels.
    pub app: &'a str,
    /// Its name.
    pub stream: &'a str,
    /// When the recording begins.
    pub at: SystemTime,
    /// Which of several files.
    pub number: u64,
}

/// Why a text is no [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(Self(text.to_owned()))
    }

    pub fn expand(&self, of: &PathOf<'_>) -> PathBuf {
        let secs = of.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let number = of.number.to_string();
        let text = self.0.replace("{vhost}", of.vhost).replace("{app}", of.app);
        let text = text.replace("{stream}", of.stream).replace("{date}", &(secs / 86400).to_string());
        let text = text.replace("{time}", &(secs % 86400).to_string()).replace("{number}", &number);
        text.into()
    }
}
