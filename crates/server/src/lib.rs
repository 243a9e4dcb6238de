//! The Weir process: listeners, publishing, playing, HLS, HTTP.
//!
//! In reading order: [`app`] puts everything together; `listen` accepts; `rtmp` and `http` find out what a
//! connection wants; `ingest` takes streams in; `play` sends them out. `node` is what they
//! share; `quota` counts what they take.

pub mod app;
pub mod cli;
pub mod log;

mod api;
mod auth;
mod blocking;
mod connection;
mod control;
mod demo;
mod drain;
mod edge;
mod handover;
mod http;
mod ingest;
mod memory;
mod metrics;
mod node;
mod phase;
mod play;
mod preflight;
mod publish;
mod reload;
mod remote;
mod route;
mod rtmp;
mod rtmp_client;
mod terms;
mod tls;
