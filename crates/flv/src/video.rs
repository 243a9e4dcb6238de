//! The header of a video message: legacy FLV (annex E.4.3.1) and Enhanced RTMP ("ExVideoTagHeader").
//!
//! | first byte | header |
//! |---|---|
//! | `0fff cccc` | frame type, codec id; H.264 and HEVC then have a packet type (UI8) and a composition time (SI24) |
//! | `1fff pppp` | frame type, packet type; then `ModEx` prefixes, multitrack fields, a FourCC, a composition time |

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use weir_media::{FourCc, VideoCodec};

pub use crate::enhanced::MOD_EX_MAX;
use crate::{
    Error,
    cursor::Cursor,
    enhanced::{self, FirstTrack},
};

/// What the header of a video message says. Of a multitrack message it describes the first track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// How the picture can be decoded.
    pub frame_type: FrameType,
    /// Enhanced RTMP track id; 0 when the message is not multitrack.
    pub track: u8,
    /// What the message carries.
    pub packet: Packet,
    /// Nanoseconds to add to the message's timestamp (`ModEx`, `TimestampOffsetNano`); 0 when there are none.
    pub nanos: u32,
    /// Where in the body the data behind the header is.
    pub payload: Range<usize>,
}

/// The upper bits of the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType {
    /// Decoding can start here.
    Key,
    /// Needs earlier pictures.
    Inter,
    /// Needs earlier pictures, and no other picture needs it.
    Disposable,
    /// A key frame that a server made, reserved for server use.
    GeneratedKey,
    /// Not a picture but a command to the player (seek start and end).
    Command,
    /// One that is reserved: 0, 6 or 7.
    Reserved(u8),
}

/// What a video message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A decoder configuration record.
    Config(VideoCodec),
    /// A coded picture.
    Coded {
        /// What it is coded with.
        codec: VideoCodec,
        /// Presentation time minus decoding time in milliseconds; 24 bits on the wire.
        composition: i32,
    },
    /// The end of the sequence.
    End(VideoCodec),
    /// AMF0 values about the video, such as `colorInfo`.
    Metadata(VideoCodec),
    /// A decoder configuration as MPEG-2 TS has it (an AV1 video descriptor).
    Mpeg2TsConfig(VideoCodec),
    /// A command to the player.
    Command,
    /// A packet type that is not defined.
    Unknown(u8),
    /// Nothing: the message has no byte.
    Empty,
}

/// `IsExHeader`: the header is one of Enhanced RTMP.
const EX_HEADER: u8 = 0x80;

/// Codec ids of legacy headers.
mod codec_id {
    pub(super) const AVC: u8 = 7;
    /// Not Adobe's: what Chinese encoders, CDNs and players agreed on years before Enhanced RTMP. The layout is that of
    /// AVC.
    pub(super) const HEVC: u8 = 12;
}

/// `AVCPacketType` of legacy headers.
mod avc_packet {
    pub(super) const SEQUENCE_HEADER: u8 = 0;
    pub(super) const NALU: u8 = 1;
    pub(super) const END_OF_SEQUENCE: u8 = 2;
}

/// `VideoPacketType` of Enhanced RTMP.
mod ex_packet {
    pub(super) const SEQUENCE_START: u8 = 0;
    pub(super) const CODED_FRAMES: u8 = 1;
    pub(super) const SEQUENCE_END: u8 = 2;
    /// Coded frames without composition time.
    pub(super) const CODED_FRAMES_X: u8 = 3;
    pub(super) const METADATA: u8 = 4;
    pub(super) const MPEG2_TS_SEQUENCE_START: u8 = 5;
    pub(super) const MULTITRACK: u8 = 6;
    /// The last type that is defined; 7 is `ModEx`, which never is what a message carries.
    pub(super) const LAST: u8 = MULTITRACK;
}

/// Reads the header of a video message.
///
/// # Errors
/// If the body, unless empty, ends inside the header, or its header has more than [`MOD_EX_MAX`] prefixes.
pub fn parse(body: &[u8]) -> Result<Header, Error> {
    let mut cursor = Cursor::new(body);
    if body.is_empty() {
        return Ok(Header::new(FrameType::Reserved(0), Packet::Empty, &cursor));
    }
    let first = cursor.u8("video header")?;
    let frame_type = FrameType::from_bits(first >> 4 & 0x07);
    if first & EX_HEADER == 0 {
        let packet = legacy_packet(&mut cursor, frame_type, first & 0x0f)?;
        return Ok(Header::new(frame_type, packet, &cursor));
    }
    let (packet_type, nanos) = enhanced::skip_mod_ex(&mut cursor, first & 0x0f)?;
    let (packet, track) = enhanced_packet(&mut cursor, frame_type, packet_type)?;
    Ok(Header { track, nanos, ..Header::new(frame_type, packet, &cursor) })
}

impl Header {
    fn new(frame_type: FrameType, packet: Packet, cursor: &Cursor<'_>) -> Self {
        Self { frame_type, track: 0, packet, nanos: 0, payload: cursor.remaining() }
    }
}

fn legacy_packet(
    cursor: &mut Cursor<'_>,
    frame_type: FrameType,
    codec_id: u8,
) -> Result<Packet, Error> {
    let codec = match codec_id {
        _ if frame_type == FrameType::Command => return Ok(Packet::Command),
        codec_id::AVC => VideoCodec::Avc,
        codec_id::HEVC => VideoCodec::Hevc,
        id => return Ok(Packet::Coded { codec: VideoCodec::Legacy(id), composition: 0 }),
    };
    let packet_type = cursor.u8("AVCPacketType")?;
    match packet_type {
        avc_packet::SEQUENCE_HEADER => {
            cursor.i24("CompositionTime")?;
            Ok(Packet::Config(codec))
        }
        avc_packet::NALU => {
            Ok(Packet::Coded { codec, composition: cursor.i24("CompositionTime")? })
        }
        // Its composition time is meaningless, and not every encoder writes it.
        avc_packet::END_OF_SEQUENCE => Ok(Packet::End(codec)),
        other => Ok(Packet::Unknown(other)),
    }
}

/// Reads what follows the `ModEx` prefixes; returns the track id as well.
fn enhanced_packet(
    cursor: &mut Cursor<'_>,
    frame_type: FrameType,
    packet_type: u8,
) -> Result<(Packet, u8), Error> {
    if packet_type > ex_packet::LAST {
        return Ok((Packet::Unknown(packet_type), 0));
    }
    if frame_type == FrameType::Command && packet_type != ex_packet::METADATA {
        return Ok((Packet::Command, 0));
    }
    let track = match packet_type {
        ex_packet::MULTITRACK => FirstTrack::of_multitrack(cursor, ex_packet::MULTITRACK)?,
        _ => Some(FirstTrack::single(cursor, packet_type)?),
    };
    match track {
        None => Ok((Packet::Unknown(packet_type), 0)),
        Some(track) => Ok((track_packet(cursor, track)?, track.id)),
    }
}

fn track_packet(cursor: &mut Cursor<'_>, track: FirstTrack) -> Result<Packet, Error> {
    let codec = codec_of(track.four_cc);
    Ok(match track.packet_type {
        ex_packet::SEQUENCE_START => Packet::Config(codec),
        ex_packet::CODED_FRAMES if has_composition(codec) => {
            Packet::Coded { codec, composition: cursor.i24("compositionTimeOffset")? }
        }
        ex_packet::CODED_FRAMES | ex_packet::CODED_FRAMES_X => {
            Packet::Coded { codec, composition: 0 }
        }
        ex_packet::SEQUENCE_END => Packet::End(codec),
        ex_packet::METADATA => Packet::Metadata(codec),
        ex_packet::MPEG2_TS_SEQUENCE_START => Packet::Mpeg2TsConfig(codec),
        other => Packet::Unknown(other),
    })
}

/// The codecs whose `CodedFrames` begin with a composition time.
fn has_composition(codec: VideoCodec) -> bool {
    matches!(codec, VideoCodec::Avc | VideoCodec::Hevc | VideoCodec::Vvc)
}

/// The codec that a FourCC names.
pub fn codec_of(four_cc: FourCc) -> VideoCodec {
    match &four_cc.0 {
        b"avc1" => VideoCodec::Avc,
        b"hvc1" => VideoCodec::Hevc,
        b"vvc1" => VideoCodec::Vvc,
        b"av01" => VideoCodec::Av1,
        b"vp08" => VideoCodec::Vp8,
        b"vp09" => VideoCodec::Vp9,
        _ => VideoCodec::Other(four_cc),
    }
}

/// The FourCC of a codec; `None` for those that only legacy headers can name.
pub fn four_cc_of(codec: VideoCodec) -> Option<FourCc> {
    Some(match codec {
        VideoCodec::Avc => FourCc(*b"avc1"),
        VideoCodec::Hevc => FourCc(*b"hvc1"),
        VideoCodec::Vvc => FourCc(*b"vvc1"),
        VideoCodec::Av1 => FourCc(*b"av01"),
        VideoCodec::Vp8 => FourCc(*b"vp08"),
        VideoCodec::Vp9 => FourCc(*b"vp09"),
        VideoCodec::Other(four_cc) => four_cc,
        _ => return None,
    })
}

impl FrameType {
    const fn from_bits(bits: u8) -> Self {
        match bits {
            1 => Self::Key,
            2 => Self::Inter,
            3 => Self::Disposable,
            4 => Self::GeneratedKey,
            5 => Self::Command,
            other => Self::Reserved(other),
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Key => 1,
            Self::Inter => 2,
            Self::Disposable => 3,
            Self::GeneratedKey => 4,
            Self::Command => 5,
            Self::Reserved(bits) => bits & 0x07,
        }
    }
}

/// Writes the body of a message with one track: the header in the form that the most players read (legacy for H.264 and
/// the codecs that have no FourCC, else Enhanced RTMP), then `data`.
///
/// What a codec's layout has no field for is not written: the composition time of AV1, VP8, VP9 and legacy codecs.
pub fn encode(frame_type: FrameType, packet: Packet, data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_BYTES_WRITTEN_MAX + data.len());
    match packet {
        Packet::Config(VideoCodec::Avc) => {
            put_avc(&mut out, frame_type, avc_packet::SEQUENCE_HEADER, 0);
        }
        Packet::Coded { codec: VideoCodec::Avc, composition } => {
            put_avc(&mut out, frame_type, avc_packet::NALU, composition);
        }
        Packet::End(VideoCodec::Avc) => {
            put_avc(&mut out, frame_type, avc_packet::END_OF_SEQUENCE, 0);
        }
        Packet::Config(codec) => put_ex(&mut out, frame_type, ex_packet::SEQUENCE_START, codec),
        Packet::Coded { codec, composition: 0 } => {
            put_ex(&mut out, frame_type, ex_packet::CODED_FRAMES_X, codec);
        }
        Packet::Coded { codec, composition } => {
            put_ex(&mut out, frame_type, ex_packet::CODED_FRAMES, codec);
            if has_composition(codec) {
                put_i24(&mut out, composition);
            }
        }
        Packet::End(codec) => put_ex(&mut out, frame_type, ex_packet::SEQUENCE_END, codec),
        Packet::Metadata(codec) => put_ex(&mut out, frame_type, ex_packet::METADATA, codec),
        Packet::Mpeg2TsConfig(codec) => {
            put_ex(&mut out, frame_type, ex_packet::MPEG2_TS_SEQUENCE_START, codec);
        }
        Packet::Command => out.put_u8(FrameType::Command.bits() << 4),
        Packet::Unknown(packet_type) => {
            out.put_u8(EX_HEADER | frame_type.bits() << 4 | packet_type & 0x0f);
        }
        Packet::Empty => {}
    }
    out.put_slice(data);
    out.freeze()
}

/// The longest header that [`encode`] writes: first byte, FourCC, composition time.
const HEADER_BYTES_WRITTEN_MAX: usize = 8;

fn put_avc(out: &mut BytesMut, frame_type: FrameType, packet_type: u8, composition: i32) {
    out.put_slice(&[frame_type.bits() << 4 | codec_id::AVC, packet_type]);
    put_i24(out, composition);
}

fn put_ex(out: &mut BytesMut, frame_type: FrameType, packet_type: u8, codec: VideoCodec) {
    match (four_cc_of(codec), codec) {
        (Some(four_cc), _) => {
            out.put_u8(EX_HEADER | frame_type.bits() << 4 | packet_type);
            out.put_slice(&four_cc.0);
        }
        (None, VideoCodec::Legacy(id)) => out.put_u8(frame_type.bits() << 4 | id & 0x0f),
        (None, _) => {}
    }
}

fn put_i24(out: &mut BytesMut, value: i32) {
    out.put_slice(&value.to_be_bytes()[1..]);
}

#[cfg(test)]
mod tests;
