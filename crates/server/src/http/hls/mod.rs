//! HLS: playlists, `GET /app/stream.m3u8`, and what they name, `GET /app/stream-<sequence>-<nonce>.ts`.
//!
//! ```text
//! playlist, segment ──► play::request ──► own (origin) or relayed (edge) ──► body, or pieces of a file
//!                                          └─► reload: waits for what is not there yet
//! ```

mod body;
mod own;
mod params;
mod pieces;
mod playlist;
mod relayed;
mod reload;
mod segment;
mod viewer;

pub use self::{
    body::Answer,
    own::{WantedPlaylist, named_rendition, rendition_of},
    playlist::playlist,
    relayed::follows,
    reload::{Directives, without_directives},
    segment::{numbered_segment, segment},
    viewer::{Asker, counted},
};
