//! The decoder configurations of a stream's tracks.

use bytes::Bytes;
use weir_media::{AudioCodec, VideoCodec};

use crate::{
    aac::Adts,
    error::{Damage, Unsupported},
    nal::ParameterSets,
};

/// Longest configuration record that is taken. Real ones are below 1 KB; the parameter sets are repeated at every key
/// frame, so a longer one would multiply what its sender pays for.
const CONFIG_BYTES_MAX: usize = 16 * 1024;

/// What a segment carries. Two segments with unequal tracks need a discontinuity between them (RFC 8216, 4.3.2.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tracks {
    pub video: Option<VideoFormat>,
    pub audio: Option<AudioFormat>,
}

/// How a video track is coded.
#[derive(Clone, Debug)]
pub(crate) struct VideoFormat {
    pub codec: VideoCodec,
    pub parameters: ParameterSets,
    record: Bytes,
}

impl VideoFormat {
    pub fn parse(codec: VideoCodec, record: &[u8]) -> Result<Self, Damage> {
        let parameters = match codec {
            _ if record.len() > CONFIG_BYTES_MAX => None,
            VideoCodec::Avc => ParameterSets::parse_avcc(record),
            VideoCodec::Hevc => ParameterSets::parse_hvcc(record),
            _ => None,
        };
        let parameters = parameters.ok_or(Damage::VideoConfig { codec, len: record.len() })?;
        Ok(Self { codec, parameters, record: Bytes::copy_from_slice(record) })
    }

    /// Whether `record` is the one this was parsed from: encoders repeat it at will.
    pub fn is(&self, codec: VideoCodec, record: &[u8]) -> bool {
        self.codec == codec && self.record == record
    }
}

impl PartialEq for VideoFormat {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.codec, &other.record)
    }
}

impl Eq for VideoFormat {}

/// How an audio track is coded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AudioFormat {
    /// AAC, with the ADTS header its configuration asks for and that configuration.
    Aac { adts: Adts, record: Bytes },
    /// MP3; MPEG-2 and 2.5 ("low sampling frequencies", below 32 kHz) have a stream type of their own.
    Mp3 { low_rate: bool },
    /// Dolby AC-3.
    Ac3,
    /// Dolby E-AC-3.
    Eac3,
}

impl AudioFormat {
    /// From an AudioSpecificConfig.
    pub fn parse_aac(record: &[u8]) -> Result<Self, BadAudio> {
        let adts = Adts::parse(record)?;
        Ok(Self::Aac { adts, record: Bytes::copy_from_slice(record) })
    }

    /// For a codec whose packets describe themselves: what `packet` says. Nothing for AAC, which needs its
    /// configuration.
    pub fn from_packet(codec: AudioCodec, packet: &[u8]) -> Option<Self> {
        match codec {
            // ISO/IEC 11172-3, 2.4.1.3: the version bits after the sync word; binary 11 is MPEG-1.
            AudioCodec::Mp3 => {
                let low_rate = packet.get(1).is_some_and(|byte| byte & 0x18 != 0x18);
                Some(Self::Mp3 { low_rate })
            }
            AudioCodec::Ac3 => Some(Self::Ac3),
            AudioCodec::Eac3 => Some(Self::Eac3),
            _ => None,
        }
    }
}

/// What can be wrong with an audio configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadAudio {
    /// It asks for something that cannot be carried.
    Unsupported(Unsupported),
    /// It cannot be read.
    Damaged(Damage),
}

/// Whether `codec` can be carried to HLS players in MPEG-TS.
pub(crate) fn check_video(codec: VideoCodec) -> Result<(), Unsupported> {
    match codec {
        VideoCodec::Avc | VideoCodec::Hevc => Ok(()),
        _ => Err(Unsupported::Video(codec)),
    }
}

/// Whether `codec` can be carried to HLS players in MPEG-TS.
pub(crate) fn check_audio(codec: AudioCodec) -> Result<(), Unsupported> {
    match codec {
        AudioCodec::Aac | AudioCodec::Mp3 | AudioCodec::Ac3 | AudioCodec::Eac3 => Ok(()),
        _ => Err(Unsupported::Audio(codec)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mp3_packet_says_which_mpeg_it_is() {
        let mpeg1 = AudioFormat::from_packet(AudioCodec::Mp3, &[0xFF, 0xFB, 0x90, 0]);
        assert_eq!(mpeg1, Some(AudioFormat::Mp3 { low_rate: false }));
        let mpeg2 = AudioFormat::from_packet(AudioCodec::Mp3, &[0xFF, 0xF3, 0x90, 0]);
        assert_eq!(mpeg2, Some(AudioFormat::Mp3 { low_rate: true }));
        assert_eq!(AudioFormat::from_packet(AudioCodec::Aac, &[0x21]), None);
    }

    #[test]
    fn a_record_of_hostile_length_is_not_taken() {
        let mut record = vec![1, 0x64, 0, 31, 0xFF, 0xE1, 0xFF, 0xFF];
        record.resize(100_000, 0);
        let damage = Damage::VideoConfig { codec: VideoCodec::Avc, len: 100_000 };
        assert_eq!(VideoFormat::parse(VideoCodec::Avc, &record), Err(damage));
    }
}
