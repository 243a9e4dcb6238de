//! The Weir process: listeners, publishing, playing, HLS, HTTP.
//!
//! [`Server::start`] is all of it as a value; [`app`] is the process around it, with its command line and signals.
//!
//! In reading order: `server` puts everything together; `listen` accepts; `rtmp` and `http` find out what a
//! connection wants; `publish` takes streams in, `play` lets viewers have them. `node` is what they share.

pub mod app;
pub mod command;
pub mod log;

mod api;
mod auth;
mod http;
mod memory;
mod metrics;
mod node;
mod operate;
mod phase;
mod play;
mod publish;
mod rtmp;
mod server;
mod terms;
#[cfg(test)]
mod testing;
mod tls;
mod zero_copy;

pub use operate::{handover::Error as HandoverError, reload::ReloadError};
pub use server::{Addresses, Running, Server, Start, StartError};
