//! The Weir process: listeners, publishing, playing, HLS, HTTP.
//!
//! [`Server::start`] is all of it as a value; [`app`] is the process around it, with its command line and signals.
//!
//! In reading order: `server` puts everything together; `listen` accepts; `rtmp` and `http` find out what a
//! connection wants; `ingest` takes streams in; `play` sends them out. `node` is what they
//! share; `quota` counts what they take.

pub mod app;
pub mod command;
pub mod log;

mod api;
mod auth;
mod connection;
mod http;
mod ingest;
mod memory;
mod metrics;
mod node;
mod operate;
mod phase;
mod play;
mod route;
mod rtmp;
mod server;
mod terms;
mod tls;

pub use operate::{handover::Error as HandoverError, reload::ReloadError};
pub use server::{Addresses, Running, Server, Start, StartError};
