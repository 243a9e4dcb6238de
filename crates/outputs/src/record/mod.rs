//! Recordings.

pub mod path;
