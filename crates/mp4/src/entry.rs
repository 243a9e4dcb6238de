//! Sample entries (ISO/IEC 14496-12, 8.5.2): how a track is coded.

use bytes::Bytes;
use weir_media::{AudioCodec, VideoCodec};

use crate::{
    audio,
    boxes::{plain, put16, put32, zeros},
    error::Unfit,
    video,
};

/// Longest configuration record that is taken. Real ones are below 1 KB, and each viewer gets them.
pub(crate) const RECORD_BYTES_MAX: usize = 16 * 1024;

/// How a track is coded. Two equal ones need no new init segment between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleEntry {
    /// The entry as it stands in the init segment.
    bytes: Bytes,
    codecs: String,
    form: Form,
    /// How long a frame mostly lasts, in milliseconds.
    typical: u32,
    strips_delimiters: bool,
}

/// What players want to know of a track before they load it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Pictures of this size in pixels; 0 where the stream does not say so in a way that can be read.
    Video {
        /// Pixels of a line.
        width: u16,
        /// Lines.
        height: u16,
    },
    /// Sound.
    Audio {
        /// Samples a second.
        rate: u32,
        /// How many channels there are.
        channels: u16,
    },
}

impl SampleEntry {
    /// Of a video track with this configuration record. `key` is a key frame: VP9 says how large its pictures are
    /// nowhere else, and AV1 may; others do not need it.
    ///
    /// # Errors
    /// The codec has no place in MP4, or the record is missing or damaged.
    pub fn video(codec: VideoCodec, record: &[u8], key: &[u8]) -> Result<Self, Unfit> {
        let damage = Unfit::VideoRecord { codec, len: record.len() };
        if record.len() > RECORD_BYTES_MAX {
            return Err(damage);
        }
        let described = match codec {
            VideoCodec::Avc => video::avc(record),
            VideoCodec::Hevc => video::hevc(record),
            VideoCodec::Av1 => video::av1(record, key),
            VideoCodec::Vp9 => video::vp9(record, key),
            _ => return Err(Unfit::Video(codec)),
        };
        let video::Described { entry, config, record, codecs, size } = described.ok_or(damage)?;
        let (width, height) = size.unwrap_or_default();
        let mut bytes = Vec::with_capacity(128 + record.len());
        plain(&mut bytes, entry, |out| {
            visual(out, width, height);
            plain(out, config, |out| out.extend_from_slice(&record));
        });
        Ok(Self {
            bytes: bytes.into(),
            codecs,
            form: Form::Video { width, height },
            typical: PICTURE_MILLIS,
            strips_delimiters: codec == VideoCodec::Av1,
        })
    }

    /// Of an audio track with this configuration record, which MP3, AC-3 and E-AC-3 have none of; they are described
    /// by `packet`, the first one of the track.
    ///
    /// # Errors
    /// The codec has no place in MP4, or the record or the packet is missing or damaged.
    pub fn audio(codec: AudioCodec, record: &[u8], packet: &[u8]) -> Result<Self, Unfit> {
        let damage = Unfit::AudioRecord { codec, len: record.len() };
        if record.len() > RECORD_BYTES_MAX {
            return Err(damage);
        }
        let unlike = Unfit::Packet { codec, len: packet.len() };
        let described = match codec {
            AudioCodec::Aac => audio::aac(record).ok_or(damage)?,
            AudioCodec::Opus => audio::opus(record).ok_or(damage)?,
            AudioCodec::Flac => audio::flac(record).ok_or(damage)?,
            AudioCodec::Mp3 => audio::mp3(packet).ok_or(unlike)?,
            AudioCodec::Ac3 => audio::ac3(packet).ok_or(unlike)?,
            AudioCodec::Eac3 => audio::eac3(packet).ok_or(unlike)?,
            _ => return Err(Unfit::Audio(codec)),
        };
        let audio::Described { entry, config, codecs, rate, channels, samples } = described;
        let mut bytes = Vec::with_capacity(64 + config.len());
        plain(&mut bytes, entry, |out| {
            sound(out, rate, channels);
            out.extend_from_slice(&config);
        });
        let typical = samples.saturating_mul(1000).checked_div(rate).unwrap_or(0).max(1);
        Ok(Self {
            bytes: bytes.into(),
            codecs,
            form: Form::Audio { rate, channels },
            typical,
            strips_delimiters: false,
        })
    }

    /// The codec as playlists and browsers name it (RFC 6381; ISO/IEC 14496-15, annex E): `avc1.64001f`, `opus`.
    pub fn codecs(&self) -> &str {
        &self.codecs
    }

    /// What it is, and how large.
    pub fn form(&self) -> Form {
        self.form
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn typical(&self) -> u32 {
        self.typical
    }

    /// `payload` as a sample. AV1 has no temporal delimiters in MP4 (AV1-ISOBMFF, 2.4); some encoders send them.
    pub(crate) fn sample(&self, payload: &Bytes) -> Bytes {
        match payload.as_ref() {
            [0x12, 0, ..] if self.strips_delimiters => payload.slice(2..),
            _ => payload.clone(),
        }
    }
}

/// How long a picture is taken to last before two have been seen: at 25 a second.
const PICTURE_MILLIS: u32 = 40;

/// VisualSampleEntry (14496-12, 12.1.3).
fn visual(out: &mut Vec<u8>, width: u16, height: u16) {
    zeros(out, 6);
    put16(out, 1); // data_reference_index
    zeros(out, 16);
    put16(out, width);
    put16(out, height);
    put32(out, 72 << 16);
    put32(out, 72 << 16);
    zeros(out, 4);
    put16(out, 1); // frame_count
    zeros(out, 32); // compressorname
    put16(out, 24); // depth
    put16(out, 0xFFFF);
}

/// AudioSampleEntry (12.2.3). Its rate has 16 bits; one that does not fit is 0, and stands in the configuration.
fn sound(out: &mut Vec<u8>, rate: u32, channels: u16) {
    zeros(out, 6);
    put16(out, 1); // data_reference_index
    zeros(out, 8);
    put16(out, channels);
    put16(out, 16); // samplesize
    zeros(out, 4);
    put32(out, u32::from(u16::try_from(rate).unwrap_or(0)) << 16);
}
