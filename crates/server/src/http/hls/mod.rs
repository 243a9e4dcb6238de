//! HLS: playlists, `GET /app/stream.m3u8`, and what they name, `GET /app/stream-<sequence>-<nonce>.ts`.
//!
//! ```text
//! playlist, segment ──► play::request ──► own (origin) or relayed (edge) ──► body, or pieces of a file
//! ```

mod body;
mod own;
mod params;
mod pieces;
mod playlist;
mod relayed;
mod segment;
mod viewer;

pub use self::{playlist::playlist, segment::segment, viewer::Asker};
