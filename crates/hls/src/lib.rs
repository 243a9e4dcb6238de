//! Frames to segments and playlists: cut rules, containers, windows, sequence numbers.
//!
//! A [`Segmenter`] takes the frames of one stream and hands out what comes of them: segments of MPEG-TS, or of
//! fragmented MP4 with parts. A [`Playlist`] names them, lists them for a while, and says when their files may go.
//! Files, HTTP and the clock are the caller's:
//!
//! ```
//! # let frames: Vec<weir_media::Frame> = Vec::new();
//! # let wall = std::time::Duration::ZERO;
//! use weir_hls::{Begin, Config, Container, Event, Form, Lengths, Nonce, Playlist, Segmenter};
//!
//! let config = Config::new("livestream");
//! let mut segmenter = Segmenter::new(Container::Ts, Lengths::new(config.target));
//! let mut playlist = Playlist::new(&config);
//! for event in frames.iter().flat_map(|frame| segmenter.push(frame, wall)) {
//!     match event {
//!         Event::Begin { discontinuity, program_date_time } => {
//!             playlist.begin(Begin { discontinuity, ..Begin::at(program_date_time) });
//!         }
//!         Event::Segment(segment) => {
//!             // 64 bits of the system's chance, so that nobody finds a segment who has no playlist.
//!             let file = playlist.file(Nonce::new(0x5eed), Form::Ts);
//!             // Write `segment.data` to that file first: the playlist may only name what exists.
//!             let may_go = playlist.push(&file, segment.duration);
//!             // Replace the playlist's file by `playlist.render_plain()`, then remove the files of `may_go`.
//!         }
//!         // Of fragmented MP4.
//!         Event::Init(_) | Event::Part { .. } => {}
//!     }
//! }
//! ```
//!
//! A [`Window`] holds both for those who are served, and lets requests wait for what is not there yet. Whoever passes a
//! playlist on reads it as a [`MediaPlaylist`].
//!
//! Inside, the cut rules (`cuts.rs`) know no container. MPEG-TS is behind a trait of the crate (`container.rs`).

mod aac;
mod annex_b;
mod cmaf;
mod config;
mod container;
mod counted;
mod cuts;
mod encrypt;
mod endless;
mod error;
mod event;
mod movie;
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
mod uri;
mod whole;
mod window;

pub use config::Config;
pub use cuts::{Lead, Lengths};
pub use encrypt::SegmentKey;
pub use endless::{Ended, Endless, EndlessForm, Expected, Piece, Start};
pub use error::{BadPlaylist, Damage, LeftOut, Unsupported};
pub use event::{Container, Dropped, Event, SEGMENT_BYTES_MAX, SEGMENT_DURATION_MAX, Segment};
pub use movie::Movie;
pub use multivariant::{AudioRendition, Multivariant, Rates, Variant};
pub use name::{Form, Nonce, SegmentName};
pub use playlist::{Begin, Key, Part, Playlist, Progress, Reach, Report};
pub use read::{Entry, EntryKind, MediaPlaylist, PLAYLIST_BYTES_MAX, update};
pub use rendition::Rendition;
pub use segmenter::Segmenter;
pub use uri::{file_name, uri};
pub use window::{Changed, Held, Listing, Window, digest};
