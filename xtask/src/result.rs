//! What a task ends with.

/// The error is a sentence for the person who ran it.
pub type Result<T = ()> = std::result::Result<T, String>;
