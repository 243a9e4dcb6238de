//! Why a track or a frame has no place in MP4.

use weir_media::{AudioCodec, VideoCodec};

/// Why a track cannot be described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// There is no sample entry for this codec, or no player that takes it.
    #[error("MP4 segments cannot carry {0}")]
    Video(VideoCodec),
    /// There is no sample entry for this codec, or no player that takes it.
    #[error("MP4 segments cannot carry {0}")]
    Audio(AudioCodec),
    /// A decoder configuration record that is missing, cannot be read, or is longer than any encoder's.
    #[error("the {codec} configuration record of {len} bytes is damaged")]
    VideoRecord {
        /// What it was for.
        codec: VideoCodec,
        /// Bytes of the record.
        len: usize,
    },
    /// The same of a sound track.
    #[error("the {codec} configuration record of {len} bytes is damaged")]
    AudioRecord {
        /// What it was for.
        codec: AudioCodec,
        /// Bytes of the record.
        len: usize,
    },
    /// A packet of a codec that describes itself in its packets, and this one does not.
    #[error("a packet in {codec} of {len} bytes does not begin as such packets do")]
    Packet {
        /// What it was in.
        codec: AudioCodec,
        /// Bytes of the packet.
        len: usize,
    },
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is none of the tracks'.
    #[error("a frame of another track")]
    OtherTrack,
    /// It is neither a picture nor a packet of sound.
    #[error("not a picture or a packet of sound")]
    NotMedia,
    /// It has no bytes.
    #[error("an empty frame")]
    Empty,
    /// The fragment has no room for it: it has to be cut first.
    #[error("the fragment has {held} bytes, and {len} more are too many")]
    Full {
        /// What is held.
        held: usize,
        /// Bytes of the frame.
        len: usize,
    },
}
