//! The Weir process: listeners, publishing, playing, HLS, HTTP.
//!
//! In reading order: [`app`] puts everything together; `listen` accepts; `rtmp` and `http` find out what a
//! connection wants; `ingest` takes streams in; `play` sends them out. `node` is what they
//! share; `quota` counts what they take.

pub mod app;
pub mod command;
pub mod log;

mod api;
mod auth;
mod blocking;
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
mod terms;
mod tls;
