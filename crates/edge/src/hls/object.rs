//! Playlists and segments by their names.

use weir_hls::SegmentName;
use weir_media::StreamKey;

/// Longest playlist, some 8,000 segments.
const PLAYLIST_BYTES_MAX: usize = 1 << 20;

/// Longest segment. Ours end at 32 MiB; other origins cut segments of ten seconds at 50 Mbit/s.
pub const SEGMENT_BYTES_MAX: usize = 64 << 20;

/// A playlist or a segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// The stream it belongs to.
    pub key: StreamKey,
    /// Which one it is.
    pub kind: Kind,
}

/// Which object of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `stream.m3u8`.
    Playlist,
    /// `stream-<sequence>-<nonce>.ts`.
    Segment(SegmentName),
}

impl Object {
    /// Its file name.
    pub fn file(&self) -> String {
        let stream = self.key.stream();
        match self.kind {
            Kind::Playlist => format!("{stream}.m3u8"),
            Kind::Segment(name) => name.file(stream),
        }
    }
}

impl Kind {
    /// How long it may be.
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::Playlist => PLAYLIST_BYTES_MAX,
            Self::Segment(_) => SEGMENT_BYTES_MAX,
        }
    }
}
