//! What is wrong with a setting that is right by itself: with what it names, on this machine.

/// What is wrong with what a setting names, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct Fault {
    /// The setting: `hls.dir`, `auth.play[0].jwt.public_key`.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub fix: String,
}

impl Fault {
    /// One of the setting at `path`.
    pub fn new(path: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { path: path.into(), what: what.into(), fix: fix.into() }
    }
}
