//! The decoder configurations of a stream's tracks.

use bytes::Bytes;
use weir_media::{AudioCodec, VideoCodec};
use weir_mp4::{SampleEntry, Unfit};

use crate::{
    aac::Adts,
    error::{BadAudio, Damage, Unsupported},
    nal::{Framing, Survey},
    sets::{Ahead, CONFIG_BYTES_MAX, Record, Sets},
};

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
    /// What a decoder must have seen: the record's, until the stream itself brings others.
    pub sets: Sets,
    /// What came in messages of its own for the next picture.
    pub ahead: Ahead,
    /// The configuration record; empty if there was none.
    record: Bytes,
    head: Vec<u8>,
    of_record: Sets,
    length_bytes: usize,
    /// Whether the newest message that left no doubt had start codes in place of lengths.
    has_start_codes: bool,
}

impl VideoFormat {
    /// From a record; and what is wrong with that, if the stream itself must have what it lacks.
    pub fn parse(codec: VideoCodec, record: &[u8]) -> (Self, Result<(), Damage>) {
        let damage = Damage::VideoConfig { codec, len: record.len() };
        let taken = if record.len() > CONFIG_BYTES_MAX { &[] } else { record };
        let Record { head, length_bytes, sets, is_whole } = Record::read(codec, taken);
        let format = Self {
            codec,
            of_record: sets.clone(),
            sets,
            ahead: Ahead::default(),
            record: Bytes::copy_from_slice(taken),
            head,
            length_bytes,
            has_start_codes: false,
        };
        (format, if is_whole { Ok(()) } else { Err(damage) })
    }

    /// As it is described in MP4, if the record does that.
    pub fn entry(&self) -> Result<SampleEntry, Unfit> {
        SampleEntry::video(self.codec, &self.record, &[])
    }

    /// Bytes of the length before each NAL unit.
    pub fn length_bytes(&self) -> usize {
        self.length_bytes
    }

    /// Takes another record of the same codec.
    pub fn update(&mut self, record: &[u8]) -> Result<(), Damage> {
        if self.record == record {
            return Ok(());
        }
        let (format, read) = Self::parse(self.codec, record);
        // One that lacks something is no better than what is known.
        read?;
        if self.head == format.head && self.of_record == format.of_record {
            (self.record, self.length_bytes) = (format.record, format.length_bytes);
        } else {
            *self = format;
        }
        Ok(())
    }

    /// Looks through a message, and takes the parameter sets in it.
    pub fn survey(&mut self, unit: &[u8]) -> Result<Survey, Damage> {
        let survey = Survey::of(self.codec, unit, self.length_bytes, self.has_start_codes)?;
        if survey.is_plain {
            self.has_start_codes = survey.framing == Framing::StartCodes;
        }
        self.sets.learn(self.codec, survey, unit, self.ahead.sets);
        Ok(survey)
    }

    /// Keeps a message without a picture for the next one.
    pub fn keep(&mut self, survey: Survey, unit: &[u8]) -> Result<(), Damage> {
        let max = CONFIG_BYTES_MAX;
        self.ahead.take(self.codec, survey, unit).map_err(|len| Damage::NoPicture { len, max })
    }
}

/// Equal formats need no discontinuity between them: pictures are as large, and the encoder has not said otherwise.
impl PartialEq for VideoFormat {
    fn eq(&self, other: &Self) -> bool {
        self.codec == other.codec
            && self.sets.sequence() == other.sets.sequence()
            && self.head == other.head
            && self.of_record == other.of_record
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
        let (format, read) = VideoFormat::parse(VideoCodec::Avc, &record);
        assert_eq!(read, Err(damage));
        assert_eq!(format.sets, Sets::default());
    }
}
