//! Which codec a track is coded with.

use std::fmt;

/// Four ASCII characters that name a codec, as Enhanced RTMP and MP4 sample entries use them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FourCc(pub [u8; 4]);

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FourCc({self})")
    }
}

/// A video codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VideoCodec {
    /// H.264, ISO/IEC 14496-10.
    Avc,
    /// H.265, ISO/IEC 23008-2.
    Hevc,
    /// H.266, ISO/IEC 23090-3.
    Vvc,
    /// AOMedia Video 1.
    Av1,
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
    /// A FourCC that we carry but do not know.
    Other(FourCc),
    /// A codec of FLV's first years, by its FLV `CodecID` (2 Sorenson H.263, 3 Screen, 4 VP6, ...).
    Legacy(u8),
}

impl fmt::Display for VideoCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Avc => f.write_str("H.264"),
            Self::Hevc => f.write_str("HEVC"),
            Self::Vvc => f.write_str("VVC"),
            Self::Av1 => f.write_str("AV1"),
            Self::Vp8 => f.write_str("VP8"),
            Self::Vp9 => f.write_str("VP9"),
            Self::Other(four_cc) => write!(f, "video {four_cc}"),
            Self::Legacy(id) => write!(f, "FLV video codec {id}"),
        }
    }
}

/// An audio codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AudioCodec {
    /// AAC, ISO/IEC 14496-3, as raw access units.
    Aac,
    /// MPEG-1/2 Audio Layer III.
    Mp3,
    /// Opus, RFC 6716.
    Opus,
    /// FLAC.
    Flac,
    /// Dolby AC-3.
    Ac3,
    /// Dolby E-AC-3.
    Eac3,
    /// A FourCC that we carry but do not know.
    Other(FourCc),
    /// A codec of FLV's first years, by its FLV `SoundFormat` (0 PCM, 1 ADPCM, 6 Nellymoser, 11 Speex, ...).
    Legacy(u8),
}

impl fmt::Display for AudioCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aac => f.write_str("AAC"),
            Self::Mp3 => f.write_str("MP3"),
            Self::Opus => f.write_str("Opus"),
            Self::Flac => f.write_str("FLAC"),
            Self::Ac3 => f.write_str("AC-3"),
            Self::Eac3 => f.write_str("E-AC-3"),
            Self::Other(four_cc) => write!(f, "audio {four_cc}"),
            Self::Legacy(id) => write!(f, "FLV audio codec {id}"),
        }
    }
}
