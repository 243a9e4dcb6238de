//! The edge: each stream is pulled from its origin once, and a publish is passed on to it.
//!
//! ```text
//! viewers ──► play ──► Pulls ──► Origins: who has it? ──► Source ──frames──► hub ──► viewers
//! encoder ──► ingest ──► Sink ──► Origins: who owns it?      (one Source per stream)
//!                 └──frames──► hub ──frames──► Sink
//! ```

mod hls;
mod hops;
mod origins;
mod query;

use std::time::Duration;

pub use hls::{HlsRelay, Kind as HlsKind, Object as HlsObject, Stats as HlsStats, WAIT_HEADER};
pub use hops::{Hops, NodeId};
pub use origins::{Origin, OriginStatus, Origins};
pub use query::forwarded;

/// What a request for a stream says beside its name.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The parameters of its URL, with the `?`; empty if there are none.
    pub params: String,
    /// The edges it has come through.
    pub hops: Hops,
    /// How long the one who asks wants to wait for the stream to begin; as long as we like, if it does not say.
    pub wait: Option<Duration>,
}
