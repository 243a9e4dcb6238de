//! The header of an audio message: legacy FLV (annex E.4.2.1) and Enhanced RTMP v2 ("ExAudioTagHeader").
//!
//! | first byte | header |
//! |---|---|
//! | `ffff rrst` | sound format, rate, size, type; AAC then has a packet type (UI8) |
//! | `1001 pppp` | packet type; then `ModEx` prefixes, multitrack fields, a FourCC |

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use weir_media::{AudioCodec, FourCc};

use crate::{
    Error,
    cursor::Cursor,
    enhanced::{self, FirstTrack},
};

/// What the header of an audio message says. Of a multitrack message it describes the first track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Enhanced RTMP track id; 0 when the message is not multitrack.
    pub track: u8,
    /// What the message carries.
    pub packet: Packet,
    /// Nanoseconds to add to the message's timestamp (`ModEx`, `TimestampOffsetNano`); 0 when there are none.
    pub nanos: u32,
    /// Where in the body the data behind the header is.
    pub payload: Range<usize>,
}

/// What an audio message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A decoder configuration record.
    Config(AudioCodec),
    /// Coded sound.
    Coded(AudioCodec),
    /// The end of the sequence.
    End(AudioCodec),
    /// A channel layout (`MultichannelConfig`).
    Multichannel(AudioCodec),
    /// A packet type that is not defined.
    Unknown(u8),
    /// Nothing: the message has no byte.
    Empty,
}

/// `SoundFormat` of legacy headers.
mod sound_format {
    pub(super) const MP3: u8 = 2;
    /// Enhanced RTMP: the lower bits are the packet type.
    pub(super) const EX_HEADER: u8 = 9;
    pub(super) const AAC: u8 = 10;
    pub(super) const MP3_8_KHZ: u8 = 14;
}

/// The lower bits of a legacy header as they must be for AAC, 44 kHz, 16 bits, stereo; decoders read the real values
/// from the data.
const SOUND_44K_16BIT_STEREO: u8 = 0x0f;

/// `AACPacketType` of legacy headers.
mod aac_packet {
    pub(super) const SEQUENCE_HEADER: u8 = 0;
    pub(super) const RAW: u8 = 1;
}

/// `AudioPacketType` of Enhanced RTMP.
mod ex_packet {
    pub(super) const SEQUENCE_START: u8 = 0;
    pub(super) const CODED_FRAMES: u8 = 1;
    pub(super) const SEQUENCE_END: u8 = 2;
    pub(super) const MULTICHANNEL_CONFIG: u8 = 4;
    pub(super) const MULTITRACK: u8 = 5;
}

/// Reads the header of an audio message.
///
/// # Errors
/// If the body, unless empty, ends inside the header, or its header has more than
/// [`MOD_EX_MAX`](crate::video::MOD_EX_MAX) prefixes.
pub fn parse(body: &[u8]) -> Result<Header, Error> {
    let mut cursor = Cursor::new(body);
    if body.is_empty() {
        return Ok(Header::new(Packet::Empty, &cursor));
    }
    let first = cursor.u8("audio header")?;
    if first >> 4 != sound_format::EX_HEADER {
        let packet = legacy_packet(&mut cursor, first >> 4)?;
        return Ok(Header::new(packet, &cursor));
    }
    let (packet_type, nanos) = enhanced::skip_mod_ex(&mut cursor, first & 0x0f)?;
    let (packet, track) = enhanced_packet(&mut cursor, packet_type)?;
    Ok(Header { track, nanos, ..Header::new(packet, &cursor) })
}

impl Header {
    fn new(packet: Packet, cursor: &Cursor<'_>) -> Self {
        Self { track: 0, packet, nanos: 0, payload: cursor.remaining() }
    }
}

fn legacy_packet(cursor: &mut Cursor<'_>, format: u8) -> Result<Packet, Error> {
    Ok(match format {
        sound_format::AAC => match cursor.u8("AACPacketType")? {
            aac_packet::SEQUENCE_HEADER => Packet::Config(AudioCodec::Aac),
            aac_packet::RAW => Packet::Coded(AudioCodec::Aac),
            other => Packet::Unknown(other),
        },
        sound_format::MP3 | sound_format::MP3_8_KHZ => Packet::Coded(AudioCodec::Mp3),
        other => Packet::Coded(AudioCodec::Legacy(other)),
    })
}

/// Reads what follows the `ModEx` prefixes; returns the track id as well.
fn enhanced_packet(cursor: &mut Cursor<'_>, packet_type: u8) -> Result<(Packet, u8), Error> {
    let track = match packet_type {
        ex_packet::MULTITRACK => FirstTrack::of_multitrack(cursor, ex_packet::MULTITRACK)?,
        ex_packet::SEQUENCE_START
        | ex_packet::CODED_FRAMES
        | ex_packet::SEQUENCE_END
        | ex_packet::MULTICHANNEL_CONFIG => Some(FirstTrack::single(cursor, packet_type)?),
        _ => None,
    };
    Ok(match track {
        None => (Packet::Unknown(packet_type), 0),
        Some(track) => (track_packet(track), track.id),
    })
}

fn track_packet(track: FirstTrack) -> Packet {
    let codec = codec_of(track.four_cc);
    match track.packet_type {
        ex_packet::SEQUENCE_START => Packet::Config(codec),
        ex_packet::CODED_FRAMES => Packet::Coded(codec),
        ex_packet::SEQUENCE_END => Packet::End(codec),
        ex_packet::MULTICHANNEL_CONFIG => Packet::Multichannel(codec),
        other => Packet::Unknown(other),
    }
}

/// The codec that a FourCC names.
pub fn codec_of(four_cc: FourCc) -> AudioCodec {
    match &four_cc.0 {
        b"mp4a" => AudioCodec::Aac,
        b".mp3" => AudioCodec::Mp3,
        b"Opus" => AudioCodec::Opus,
        b"fLaC" => AudioCodec::Flac,
        b"ac-3" => AudioCodec::Ac3,
        b"ec-3" => AudioCodec::Eac3,
        _ => AudioCodec::Other(four_cc),
    }
}

/// The FourCC of a codec; `None` for those that only legacy headers can name.
pub fn four_cc_of(codec: AudioCodec) -> Option<FourCc> {
    Some(match codec {
        AudioCodec::Aac => FourCc(*b"mp4a"),
        AudioCodec::Mp3 => FourCc(*b".mp3"),
        AudioCodec::Opus => FourCc(*b"Opus"),
        AudioCodec::Flac => FourCc(*b"fLaC"),
        AudioCodec::Ac3 => FourCc(*b"ac-3"),
        AudioCodec::Eac3 => FourCc(*b"ec-3"),
        AudioCodec::Other(four_cc) => four_cc,
        _ => return None,
    })
}

/// Writes the body of a message with one track: the header in the form that the most players read (legacy for AAC, MP3
/// and the codecs that have no FourCC, else Enhanced RTMP), then `data`.
pub fn encode(packet: Packet, data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES_WRITTEN_MAX + data.len());
    match packet {
        Packet::Config(AudioCodec::Aac) => put_aac(&mut out, aac_packet::SEQUENCE_HEADER),
        Packet::Coded(AudioCodec::Aac) => put_aac(&mut out, aac_packet::RAW),
        Packet::Coded(AudioCodec::Mp3) => put_legacy(&mut out, sound_format::MP3),
        Packet::Config(codec) => put_ex(&mut out, ex_packet::SEQUENCE_START, codec),
        Packet::Coded(codec) => put_ex(&mut out, ex_packet::CODED_FRAMES, codec),
        Packet::End(codec) => put_ex(&mut out, ex_packet::SEQUENCE_END, codec),
        Packet::Multichannel(codec) => put_ex(&mut out, ex_packet::MULTICHANNEL_CONFIG, codec),
        Packet::Unknown(packet_type) => {
            out.put_u8(sound_format::EX_HEADER << 4 | packet_type & 0x0f);
        }
        Packet::Empty => {}
    }
    out.put_slice(data);
    out.freeze()
}

/// The longest header that [`encode`] writes: first byte and FourCC.
const HEADER_BYTES_WRITTEN_MAX: usize = 5;

fn put_legacy(out: &mut BytesMut, format: u8) {
    out.put_u8(format << 4 | SOUND_44K_16BIT_STEREO);
}

fn put_aac(out: &mut BytesMut, packet_type: u8) {
    put_legacy(out, sound_format::AAC);
    out.put_u8(packet_type);
}

fn put_ex(out: &mut BytesMut, packet_type: u8, codec: AudioCodec) {
    match (four_cc_of(codec), codec) {
        (Some(four_cc), _) => {
            out.put_u8(sound_format::EX_HEADER << 4 | packet_type);
            out.put_slice(&four_cc.0);
        }
        (None, AudioCodec::Legacy(format)) => put_legacy(out, format),
        (None, _) => {}
    }
}

#[cfg(test)]
mod tests;
