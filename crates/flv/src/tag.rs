//! Tags, and the frames that they carry.

use bytes::Bytes;
use weir_media::{Content, Frame, Timestamp, Track};

use crate::{
    Error,
    audio::{self, Packet as Audio},
    metadata,
    video::{self, FrameType, Packet as Video},
};

/// What a tag carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TagKind {
    /// Sound: tag type 8.
    Audio,
    /// Pictures: tag type 9.
    Video,
    /// AMF0 data such as `onMetaData`: tag type 18.
    Script,
}

impl TagKind {
    /// The FLV tag type, which is the RTMP message type as well.
    pub const fn type_id(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Script => 18,
        }
    }

    /// The kind with this FLV tag type or RTMP message type.
    pub const fn from_type_id(type_id: u8) -> Option<Self> {
        match type_id {
            8 => Some(Self::Audio),
            9 => Some(Self::Video),
            18 => Some(Self::Script),
            _ => None,
        }
    }
}

/// The FLV tag and RTMP message type of a track's frames.
pub fn kind_of(track: Track) -> TagKind {
    match track {
        Track::Video(_) => TagKind::Video,
        Track::Audio(_) => TagKind::Audio,
        Track::Data => TagKind::Script,
    }
}

/// The time that `frame` carries on the wire when it is sent at `at`. Metadata has none: FFmpeg takes metadata at any
/// other time than 0 for a subtitle stream of its own.
pub fn wire_time(frame: &Frame, at: Timestamp) -> u32 {
    if frame.content == Content::Metadata { 0 } else { at.to_wire() }
}

/// An FLV tag, or an RTMP audio, video or data message: the bodies are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What the body is.
    pub kind: TagKind,
    /// Milliseconds as on the wire; wraps after 49.7 days.
    pub timestamp: u32,
    /// The body, its audio or video header included.
    pub body: Bytes,
}

/// Classifies a tag by its header bytes. `dts` and `epoch` go into the frame as they are; the tag's own timestamp is
/// not read.
///
/// The frame's payload is a slice of its body, and its body is the tag's, except that `@setDataFrame`, an instruction
/// to the server, is taken off script data ([`metadata::normalize`]). Of a multitrack message the first track counts.
///
/// What has nothing to decode in it is [`Content::Opaque`]: empty messages (encoders send them), command frames,
/// end-of-sequence marks, packet types of later specifications. It is carried through and never an error.
///
/// # Errors
/// If the body ends inside a header field, or begins with a string that is not UTF-8 where script data has its name.
pub fn to_frame(tag: &Tag, dts: Timestamp, epoch: u32) -> Result<Frame, Error> {
    let (track, content, body, payload) = match tag.kind {
        TagKind::Audio => {
            let header = audio::parse(&tag.body)?;
            (Track::Audio(header.track), audio_content(&header), tag.body.clone(), header.payload)
        }
        TagKind::Video => {
            let header = video::parse(&tag.body)?;
            (Track::Video(header.track), video_content(&header), tag.body.clone(), header.payload)
        }
        TagKind::Script => {
            let body = metadata::normalize(&tag.body);
            let script = metadata::parse_name(&body)?;
            (Track::Data, script.content, body, script.payload)
        }
    };
    Ok(Frame { track, dts, epoch, content, stray: false, payload: body.slice(payload), body })
}

/// An empty configuration record would replace a good one for late viewers, and an empty picture cannot start a group:
/// both are as opaque as an empty message.
fn video_content(header: &video::Header) -> Content {
    match header.packet {
        _ if header.payload.is_empty() => Content::Opaque,
        Video::Config(codec) => Content::VideoConfig(codec),
        Video::Coded { codec, composition } => {
            Content::Video { codec, key: header.frame_type == FrameType::Key, composition }
        }
        // An AV1 descriptor for MPEG-2 TS is configuration too, but no av1C: readers of `VideoConfig` could not parse
        // it.
        Video::Metadata(codec) | Video::Mpeg2TsConfig(codec) => Content::VideoInfo(codec),
        Video::End(_) | Video::Command | Video::Unknown(_) | Video::Empty => Content::Opaque,
    }
}

fn audio_content(header: &audio::Header) -> Content {
    match header.packet {
        _ if header.payload.is_empty() => Content::Opaque,
        Audio::Config(codec) => Content::AudioConfig(codec),
        Audio::Coded(codec) => Content::Audio(codec),
        Audio::Multichannel(codec) => Content::AudioInfo(codec),
        Audio::End(_) | Audio::Unknown(_) | Audio::Empty => Content::Opaque,
    }
}

#[cfg(test)]
mod tests;
