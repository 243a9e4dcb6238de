//! From a stream to its viewers' sockets: channels, packages, shards, viewers.
//!
//! ```text
//! hub::Stream ─► Channel (one per format: encodes once) ─► Shard (one per core: one send per viewer)
//! ```
//!
//! What viewers are sent is a [`Format`]: RTMP, or a file without an end ([`Container`]) in its [`Framing`].
//!
//! A viewer comes in as an [`Arrival`]: its socket, its channel, and the [`Terms`] that it is treated by. It ends here,
//! or goes back as [`Returned`] when it says something that somebody else must answer. Nothing here knows who may play,
//! where a stream comes from, how a request was read or what the configuration says: what it is to do, it is told.

mod channel;
mod flow;
mod format;
mod framing;
mod mailbox;
mod package;
mod shard;
mod shards;
mod socket;
mod terms;
#[cfg(test)]
mod testing;
mod turns;
mod unfit;
mod viewer;
mod websocket;

pub use channel::{Channel, Channels, Opening, View};
pub use format::{Container, Format};
pub use framing::Framing;
pub use mailbox::{Arrival, Returned, Why};
pub use package::MESSAGE_STREAM_ID;
pub use shards::Shards;
pub use terms::{Terms, TermsOf};
pub use unfit::Unfit;
pub use viewer::{Protocol, end_of};
