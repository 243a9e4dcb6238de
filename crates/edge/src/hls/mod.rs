//! HLS at an edge: playlists and segments of the origins, each asked for once and kept in memory for a while.
//!
//! ```text
//! viewers ──► HlsRelay ──► Cache
//!                │ not there, or a playlist that may have changed
//!                ▼
//!             flight ──► Fetcher ──► Origins: who has it? ──► Pool ──► origin
//!             (one per object)
//! ```
//!
//! A playlist that somebody watches is followed (`relay/follow.rs`): an origin of low latency holds one request for the
//! part that comes next, whatever the number of viewers, who wait here.

mod cache;
mod fetch;
mod followed;
mod memory;
mod object;
mod playlist;
mod pool;
mod recent;
mod relay;

pub use object::{Kind, Object};
pub use relay::{HlsRelay, Media, NotServed, Relayed, Stats};
