//! The rules of the repository that no compiler checks.

mod arrows;
mod source;
mod tidy;
