//! Frames to MPEG-TS segments and playlists: cut rules, windows, sequence numbers.
//!
//! A [`Segmenter`] takes the frames of one stream and hands out a [`Cut`] whenever a segment is complete; a
//! [`Playlist`] gives it a sequence number and a name, lists it for a while, and says when its file may go. Files, HTTP
//! and the clock are the caller's:
//!
//! ```
//! # let frames: Vec<weir_media::Frame> = Vec::new();
//! # let wall = std::time::Duration::ZERO;
//! let config = weir_hls::Config::new("livestream");
//! let mut segmenter = weir_hls::Segmenter::new(&config);
//! let mut playlist = weir_hls::Playlist::new(&config);
//! for frame in &frames {
//!     if let Some(cut) = segmenter.push(frame, wall) {
//!         // 64 bits of the system's chance, so that nobody finds a segment who has no playlist.
//!         let nonce = weir_hls::Nonce::new(0x5eed);
//!         // Write `cut.data` to the file `playlist.next_file(nonce)` first: the playlist may only name what exists.
//!         let may_go = playlist.push(&cut, nonce);
//!         // Replace the playlist's file by `playlist.render()`, then remove the files of `may_go`.
//!     }
//! }
//! ```
//!
//! A [`Window`] holds both for those who are served, and lets requests wait for what is not there yet.
//!
//! The container is behind a trait of the crate (`container.rs`): the cut rules do not know MPEG-TS.

mod aac;
mod annex_b;
mod cmaf;
mod config;
mod container;
mod date;
mod error;
mod live;
mod multivariant;
mod nal;
mod name;
mod pictures;
mod playlist;
mod quoted;
mod read;
mod rendition;
mod segmenter;
mod sets;
mod sound;
mod tracks;
mod ts;
mod window;

pub use cmaf::{CmafEvent, CmafSegment, CmafSegmenter, Lengths};
pub use config::Config;
pub use error::{BadPlaylist, Damage, LeftOut, Unsupported};
pub use live::{LivePlaylist, Part, Progress, Reach, Report, Terms};
pub use multivariant::{AudioRendition, Multivariant, Rates, Variant};
pub use name::{Form, Nonce, SegmentName, uri};
pub use playlist::Playlist;
pub use read::{Entry, EntryKind, MediaPlaylist, PLAYLIST_BYTES_MAX, file_name, update};
pub use rendition::Rendition;
pub use segmenter::{Cut, Dropped, SEGMENT_BYTES_MAX, SEGMENT_DURATION_MAX, Segmenter};
pub use window::{Changed, Held, Listing, Window, digest};
