//! Forwarding: streams go on to other servers over RTMP.
//!
//! ```text
//! publish ─► ForwardOutput ─► which targets? ─┬─ the configuration
//!                  │                          └─ Targets (asked at each publish)
//!                  └─ one task for each stream and target: connect ─► Feed ─► Fit ─► Sink
//!                                                             ▲  lost, refused  │
//!                                                             └────── pause ◄───┘
//! ```
//!
//! A target is a secret: it is shown with its host alone, and what a server says is left out where it repeats more of
//! it.

mod fit;
mod ground;
mod output;
mod status;
mod target;
mod task;
mod tls;

pub use output::ForwardOutput;
pub use status::{ForwardStatus, State};
pub use target::Targets;
pub use tls::check_files;
