//! The rules of the repository that no compiler checks.

mod arrows;
mod modules;
mod paths;
mod source;
mod tidy;
