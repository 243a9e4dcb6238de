//! Children: programs that a server runs for its streams, watches, and ends.
//!
//! ```text
//! publish ─► Children ─► which lines mean it? ─► a Job each ─► supervise: run ─► ended ─► pause ─► run ...
//! ingest  ─►    │                                                  │
//!               └── the stream has ended, the line is gone,        └── Plan: words of the operator, with names and
//!                   the server stops: the Child is dropped             passes in them ─► a process group of its own
//! ```
//!
//! Dropping a [`Child`] ends its program and all that this has started: SIGTERM, and SIGKILL when it takes too long. A
//! program outlives the server in no case: the system kills it with its parent ([`enter`]).
//!
//! Names of streams are those of strangers. A plan puts them into arguments, and never makes one of them (`plan.rs`).
//! Where the server asks who may publish and play, a program shows a [`Pass`] for its own streams.

mod launch;
mod lines;
mod output;
mod passes;
mod plan;
mod process;
mod supervise;

pub use self::{
    launch::{WORD, enter, launch_through, missing},
    output::{ChildStatus, Children},
    passes::{PARAM, Pass, Passes, Use},
    supervise::{Child, State},
};
