//! What a task ends with.

use std::time::Duration;

/// The error is a sentence for the person who ran it.
pub type Result<T = ()> = std::result::Result<T, String>;

/// What became of a step.
pub struct Outcome {
    /// The step's name.
    pub name: &'static str,
    /// How long it ran.
    pub took: Duration,
    /// Whether it passed.
    pub result: Result,
}
