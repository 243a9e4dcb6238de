//! The one way into the hub: from the messages of an encoder or of an origin to frames of a stream.
//!
//! ```text
//! encoder ─► server: rtmp ─┐
//!                          ├─► Intake::take ─► hub::Publisher
//! origin ──► edge: a pull ─┘        │
//!                                 Fault: why no more is taken in
//! ```
//!
//! Whoever takes a stream in hears by [`DemandSignals`] when somebody begins or ceases to watch it, and by a
//! [`WakeSignal`] what the hub has to say; [`LostStreams`] are those whose publishers have gone for good.
//! [`announce`] and [`log_limits`] are what a stream is published with, and an [`Allowance`] is what its publisher may
//! make the process hold meanwhile. Nothing here knows sockets, or who may publish.

mod allowance;
mod demand_signals;
mod intake;
mod limits;
mod lost;
mod speed;
mod wake_signal;

pub use allowance::{Allowance, HOG, HOG_BYTES_MIN, HOG_CHECK};
pub use demand_signals::DemandSignals;
pub use intake::{Fault, Intake, begins_group, count_left_out};
pub use limits::{announce, flush, log_limits, watched_hold};
pub use lost::LostStreams;
pub use wake_signal::WakeSignal;
