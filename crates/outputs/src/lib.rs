//! What eats streams on an origin: HLS is the first; recording and forwarding are the same thing with other ends.
//!
//! An [`Output`] follows a stream's log in the hub as any reader does. It takes what it holds from the memory budget,
//! counts what it does, and writes files on threads that may hang. It knows neither requests nor viewers: who serves
//! what it makes asks it.

mod finished;
mod output;

pub mod forward;
pub mod hls;
pub mod record;
pub mod template;

pub use finished::{FileKind, Finished, FinishedFile, OnFinished};
pub use output::{Output, Outputs};
