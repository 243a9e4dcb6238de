//! FLV tags, Enhanced RTMP v1 and v2, AMF0: bytes to tags to frames and back.
//!
//! An RTMP audio, video or data message has the same body as an FLV tag, so a [`Tag`] is what both protocols carry.
//! [`to_frame`] reads the few header bytes that a server must understand (codec, key frame, configuration record,
//! composition time, track) and leaves the body as the publisher framed it. [`file`](mod@file) is the container: a
//! sans-IO reader and the writer of HTTP-FLV and recordings. [`amf0`] is the encoding of commands and of [`metadata`].
//!
//! Sources: Adobe Flash Video File Format Specification 10.1 (annex E), AMF0 Specification (2007), Enhanced RTMP v2.

pub mod amf0;
pub mod audio;
mod cursor;
pub mod describe;
mod enhanced;
mod error;
pub mod file;
mod limits;
pub mod metadata;
mod record;
mod strays;
mod tag;
pub mod video;

pub use error::Error;
pub use strays::{Standing, Strays};
pub use tag::{Tag, TagKind, kind_of, to_frame, wire_time};
