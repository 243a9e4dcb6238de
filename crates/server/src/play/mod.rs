//! Playing: from a stream to its viewers' sockets.
//!
//! ```text
//! hub::Stream ─► Channel (one per format: encodes once) ─► Shard (one per core: one send per viewer)
//!            └─► slow (a task per viewer, for the few that need bytes of their own)
//! ```

mod channel;
mod flow;
mod format;
mod open;
mod package;
mod post;
pub mod question;
pub mod rtmp;
mod shard;
mod shards;
mod slow;
mod terms;
#[cfg(test)]
mod testing;
mod turns;
mod viewer;

pub use channel::{Channel, Channels, View};
pub use format::Format;
pub use open::{NoStream, admit, has_had_it, open};
pub use package::MESSAGE_STREAM_ID;
pub use post::{Arrival, Returned, Why};
pub use shards::Shards;
pub use terms::Terms;
pub use viewer::{Protocol, end_of};
