//! Frames to fragmented MP4 (ISO/IEC 14496-12, CMAF: ISO/IEC 23000-19).
//!
//! A [`SampleEntry`] is what a configuration record says of a track, in the words of MP4; it knows the codec string and
//! the size of pictures too. A [`Muxer`] of one or more tracks writes the init segment, takes frames, and hands out a
//! [`Fragment`] wherever the caller cuts:
//!
//! ```
//! # use weir_media::{Frame, Track, VideoCodec};
//! # use weir_mp4::{Muxer, SampleEntry};
//! # fn example(record: &[u8], frames: &[Frame]) -> Result<(), Box<dyn std::error::Error>> {
//! let entry = SampleEntry::video(VideoCodec::Avc, record, &[])?;
//! let mut muxer = Muxer::new(vec![(Track::Video(0), entry)]);
//! let mut file = muxer.init().to_vec();
//! for frame in frames {
//!     if frame.is_key() && let Some(fragment) = muxer.cut(frame) {
//!         file.extend_from_slice(&fragment.data);
//!     }
//!     muxer.push(frame)?;
//! }
//! if let Some(fragment) = muxer.finish() {
//!     file.extend_from_slice(&fragment.data);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Payloads are written as they were published: H.264 and HEVC with lengths before their NAL units, AAC without ADTS.
//! Configuration records are those that were published as well.

mod audio;
mod bits;
mod boxes;
mod entry;
mod error;
mod fragment;
mod init;
mod muxer;
mod video;

pub use entry::{Form, SampleEntry};
pub use error::{Refused, Unfit};
pub use init::TIMESCALE;
pub use muxer::{FRAGMENT_BYTES_MAX, Fragment, Muxer};
