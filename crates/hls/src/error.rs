//! What can be wrong: with a stream's codecs, with one frame, with a playlist found on disk.
//!
//! Three types and not one, because they come from different calls and ask for different answers: a track less, one
//! frame less, a fresh playlist.

use std::fmt;

use weir_media::{AudioCodec, VideoCodec};
use weir_mp4::Unfit;

/// A track that the segments of a stream cannot carry to HLS players.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// The video codec has no place in MPEG-TS, or no HLS player takes it from there.
    #[error("MPEG-TS segments cannot carry {0}")]
    Video(VideoCodec),
    /// The audio codec has no place in MPEG-TS, or no HLS player takes it from there.
    #[error("MPEG-TS segments cannot carry {0}")]
    Audio(AudioCodec),
    /// ADTS, the framing of AAC in MPEG-TS, has two bits for the object type: 1 to 4 only.
    #[error("MPEG-TS segments cannot carry AAC of object type {0}")]
    AacObjectType(u8),
    /// ADTS has three bits for the channel configuration; 0 means a program config element, and there is none.
    #[error("MPEG-TS segments cannot carry AAC with channel configuration {0}")]
    AacChannels(u8),
    /// ADTS names thirteen sample rates, and this (in Hz) is not near one of them.
    #[error("MPEG-TS segments cannot carry AAC at {0} Hz")]
    AacSampleRate(u32),
    /// It has no place in fragmented MP4.
    #[error(transparent)]
    Mp4(Unfit),
}

impl Unsupported {
    /// Whether segments of fragmented MP4 may carry what these cannot.
    pub fn may_fit_mp4(self) -> bool {
        match self {
            Self::Video(codec) => matches!(codec, VideoCodec::Av1 | VideoCodec::Vp9),
            Self::Audio(codec) => matches!(codec, AudioCodec::Opus | AudioCodec::Flac),
            Self::AacObjectType(_) | Self::AacChannels(_) | Self::AacSampleRate(_) => true,
            Self::Mp4(_) => false,
        }
    }
}

impl From<Unfit> for Unsupported {
    fn from(unfit: Unfit) -> Self {
        Self::Mp4(unfit)
    }
}

/// The tracks of a stream that HLS goes without, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Why there are no pictures, if the stream has some.
    pub pictures: Option<Unsupported>,
    /// Why there is no sound, if the stream has some.
    pub sound: Option<Unsupported>,
    /// Whether nothing remains.
    pub everything: bool,
}

impl LeftOut {
    /// Whether segments of fragmented MP4 may carry more of the stream.
    pub fn may_fit_mp4(&self) -> bool {
        [self.pictures, self.sound].into_iter().flatten().any(Unsupported::may_fit_mp4)
    }

    /// Whether all that the stream has is carried.
    pub fn is_nothing(&self) -> bool {
        self.pictures.is_none() && self.sound.is_none()
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { pictures: None, sound: None, .. } => f.write_str("nothing is left out"),
            Self { pictures: Some(why), sound: Some(other), .. } => write!(f, "{why}; {other}"),
            Self { pictures: Some(why), everything: false, .. } => write!(f, "no pictures: {why}"),
            Self { sound: Some(why), everything: false, .. } => write!(f, "no sound: {why}"),
            Self { pictures: Some(why), .. } | Self { sound: Some(why), .. } => why.fmt(f),
        }
    }
}

/// Why one frame was left out; the stream goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// A decoder configuration record that cannot be read, or is longer than any encoder's.
    #[error("the {codec} configuration record of {len} bytes is damaged")]
    VideoConfig {
        /// What it was for.
        codec: VideoCodec,
        /// Bytes of the record.
        len: usize,
    },
    /// An AudioSpecificConfig that cannot be read.
    #[error("the {codec} configuration of {len} bytes is damaged")]
    AudioConfig {
        /// What it was for.
        codec: AudioCodec,
        /// Bytes of the record.
        len: usize,
    },
    /// A picture in another codec than the track's.
    #[error("a picture in {0}, but the track has another codec")]
    ForeignVideo(VideoCodec),
    /// An audio packet in another codec than the track's.
    #[error("a packet in {0}, but the track has another codec")]
    ForeignAudio(AudioCodec),
    /// A picture before any configuration of its codec.
    #[error("a picture in {0} without a configuration record")]
    NoVideoConfig(VideoCodec),
    /// An audio packet before any configuration of its codec.
    #[error("audio in {0} without a configuration record")]
    NoAudioConfig(AudioCodec),
    /// A NAL unit that goes past the end of its access unit.
    #[error("a NAL unit at byte {at} claims {claimed} bytes, {left} are left")]
    NalLength {
        /// Where in the access unit its length field is.
        at: usize,
        /// What the length field says.
        claimed: usize,
        /// Bytes after the length field.
        left: usize,
    },
    /// Messages without a picture, more than a picture can have before it.
    #[error("{len} bytes without a picture, more than {max}")]
    NoPicture {
        /// Their bytes, as they would be kept.
        len: usize,
        /// What is kept.
        max: usize,
    },
    /// An access unit without data.
    #[error("an empty access unit")]
    Empty,
    /// An audio packet that its framing has no length for.
    #[error("an audio packet of {len} bytes, more than {max}")]
    AudioTooLong {
        /// Its bytes.
        len: usize,
        /// What can be framed.
        max: usize,
    },
}

/// Why a playlist cannot be continued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPlaylist {
    /// It is not a playlist at all.
    #[error("it does not start with #EXTM3U")]
    Header,
    /// It is longer than any playlist of ours.
    #[error("it is {len} bytes long, more than {max}")]
    TooLong {
        /// Its bytes.
        len: usize,
        /// The most that is read.
        max: usize,
    },
    /// It lists more than any playlist of ours.
    #[error("it lists more than {max} objects")]
    TooMany {
        /// The most that is read.
        max: usize,
    },
    /// A line that says something else than a playlist of ours would.
    #[error("line {line} is invalid: {text:?}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// A tag that must be there is missing.
    #[error("it has no {0}")]
    Missing(&'static str),
}

/// What can be wrong with an audio configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadAudio {
    /// It asks for something that cannot be carried.
    Unsupported(Unsupported),
    /// It cannot be read.
    Damaged(Damage),
}
