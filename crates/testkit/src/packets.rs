//! The packets of a file or of a stream, as FFmpeg reads them or as tags carry them, and their comparison: what was
//! published must come out once, in order, with the same bytes and at the same distances in time.

mod compare;
mod read;
mod tags;

use std::time::Duration;

pub use compare::{Extent, assert_continuation, continuation};
pub use read::{Form, Recording, read};
pub use tags::{frame_of, tags_of};

/// What a stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// Everything read from one input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// Its streams, pictures first.
    pub streams: Vec<Stream>,
}

/// The packets of one elementary stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// What it carries.
    pub kind: Kind,
    /// The codec, by FFmpeg's name for it.
    pub codec: String,
    /// The SHA-256 of the configuration record, if there is one.
    pub config: Option<String>,
    /// The packets in decoding order.
    pub packets: Vec<Packet>,
}

/// One packet: a picture, or a packet of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Decoding time in microseconds, on the timeline of the input.
    pub dts_us: i64,
    /// Presentation time in microseconds.
    pub pts_us: i64,
    /// Whether decoding may start here.
    pub key: bool,
    /// Bytes.
    pub size: usize,
    /// The SHA-256 of the bytes, in hexadecimal.
    pub hash: String,
}

impl Media {
    /// The first stream of `kind`.
    pub fn stream(&self, kind: Kind) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.kind == kind)
    }

    /// The packets of the first stream of `kind`; none if there is no such stream.
    pub fn packets(&self, kind: Kind) -> &[Packet] {
        self.stream(kind).map_or(&[], |stream| &stream.packets)
    }
}

impl Stream {
    /// From the first packet's decoding time to the last one's.
    pub fn duration(&self) -> Duration {
        let first = self.packets.first().map_or(0, |packet| packet.dts_us);
        let last = self.packets.last().map_or(0, |packet| packet.dts_us);
        Duration::from_micros(last.saturating_sub(first).unsigned_abs())
    }
}
