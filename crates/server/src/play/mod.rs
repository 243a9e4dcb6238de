//! Playing: from a request to the delivery of its stream.
//!
//! ```text
//! request ─► open: the stream's channel ─► admit ─► delivery (weir-delivery: a shard sends)
//!                                            └────► slow (a task per viewer, for the few that need bytes of their own)
//! ```

mod open;
pub mod question;
pub mod rtmp;
mod slow;

pub use open::{admit, has_had_it, open};
