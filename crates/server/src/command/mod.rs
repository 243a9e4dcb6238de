//! The commands of `weir`, but for the server itself: what can be said, and what is done in a moment or asked of a
//! running node.

mod cli;
pub mod demo;
pub mod publish;
pub mod remote;
mod trust;

pub use cli::{Cli, Command, check, completions, convert, given, man, schema, version};
