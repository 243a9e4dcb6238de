//! The byte formats that many viewers share.

/// A byte format that many viewers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// RTMP chunks of this size, on message stream 1.
    Rtmp {
        /// The outgoing chunk size of every session that gets this format.
        chunk_size: u32,
    },
    /// FLV tags.
    Flv,
    /// FLV tags in HTTP/1.1 chunks.
    FlvChunked,
}

impl Format {
    /// Whether the format has words for the tracks, which have to be true.
    pub fn tells_tracks(self) -> bool {
        matches!(self, Self::Flv | Self::FlvChunked)
    }
}
