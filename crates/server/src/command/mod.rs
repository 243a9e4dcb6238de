//! The commands of `weir`, but for the server itself: what can be said, and what is done in a moment or asked of a
//! running node.

mod called;
mod cli;
mod copy_files;
pub mod demo;
mod init;
pub mod publish;
pub mod remote;
mod srs_options;
mod trust;

pub use called::Called;
pub use cli::{Cli, Command, check, completions, convert, given, man, schema, version};
