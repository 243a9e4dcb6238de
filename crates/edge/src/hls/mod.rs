//! HLS at an edge: playlists and segments of the origins, each asked for once and kept in memory for a while.
//!
//! ```text
//! viewers ──► HlsRelay ──► Cache
//!                │ not there, or a playlist that may have changed
//!                ▼
//!             flight ──► Fetcher ──► Origins: who has it? ──► Pool ──► origin
//!             (one per object)
//! ```

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
pub use relay::{HlsRelay, NotServed, Stats};
