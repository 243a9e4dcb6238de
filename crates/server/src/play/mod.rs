//! Playing: from a stream to its viewers' sockets.
//!
//! ```text
//! hub::Stream ─► Channel (one per format: encodes once) ─► Shard (one per core: one send per viewer)
//!            └─► slow (a task per viewer, for the few that need bytes of their own)
//! ```

mod channel;
mod flow;
mod open;
mod package;
pub mod question;
pub mod rtmp;
mod shard;
mod slow;
#[cfg(test)]
mod testing;
mod turns;
mod viewer;

pub use channel::{Channel, Channels, View};
pub use open::{NoStream, admit, has_had_it, open};
pub use package::{Format, MESSAGE_STREAM_ID};
pub use shard::{Arrival, Returned, Shards, Why};
pub use viewer::Protocol;
