//! Frames to the bytes that viewers get: encoded once for all viewers of a format.

use bytes::{BufMut, Bytes};
use weir_flv::{TagKind, file, kind_of, metadata, wire_time};
use weir_hub::Tracks;
use weir_media::{Content, Frame, Init, InitSlot, Timestamp};
use weir_rtmp::chunk;

use super::{
    format::Format,
    framing::{FRAMING_OVERHEAD, Framed},
};

/// The RTMP message stream id that the shared encoding carries: the first that a server hands out.
pub const MESSAGE_STREAM_ID: u32 = 1;

/// Room that a frame needs beside its body: an FLV tag's 15 bytes, or an RTMP message header with extended timestamp
/// (16) and the headers of some continuation chunks.
const FRAME_OVERHEAD: usize = 64;

/// Collects messages of RTMP, or tags of FLV, into one contiguous run of bytes.
pub struct Package {
    format: Format,
    framed: Framed,
}

impl Package {
    /// An empty package with room for bodies of `bytes` in `frames` frames. The format is RTMP or FLV.
    pub fn new(format: Format, bytes: usize, frames: usize) -> Self {
        let capacity = bytes + frames * FRAME_OVERHEAD + FRAMING_OVERHEAD;
        Self { format, framed: Framed::with_capacity(format.framing(), capacity) }
    }

    /// What a viewer gets before its first group: the container's header, metadata and configurations, all at the time
    /// of the group's start. FLV tells of no other tracks than `tracks`.
    pub fn opening(format: Format, init: &Init, dts: Timestamp, tracks: Tracks) -> Bytes {
        let bytes = init.frames().map(|frame| frame.body.len()).sum();
        let mut package = Self::new(format, bytes, init.frames().count() + 1);
        if format.tells_tracks() {
            let Tracks { audio, video } = tracks;
            package
                .framed
                .open()
                .put_slice(&file::Header { has_audio: audio, has_video: video }.encode());
        }
        if let Some(metadata) = init.get(InitSlot::Metadata) {
            package.push_metadata(metadata, dts, tracks);
        }
        package.push_again(init, dts, tracks);
        package.finish()
    }

    /// What a viewer gets before the group that it goes on with after a skip.
    pub fn opening_again(format: Format, init: &Init, dts: Timestamp, tracks: Tracks) -> Bytes {
        let mut package = Self::new(format, 0, 0);
        package.push_again(init, dts, tracks);
        package.finish()
    }

    /// Adds what a viewer needs anew after a skip. It has the metadata; players take a second one for a new stream.
    pub fn push_again(&mut self, init: &Init, dts: Timestamp, tracks: Tracks) {
        let is_all = !self.format.tells_tracks();
        init.frames()
            .filter(|frame| frame.content != Content::Metadata)
            .filter(|frame| is_all || tracks.have(frame.track))
            .for_each(|frame| self.push_at(frame, dts));
    }

    /// Adds metadata, which tells of `tracks` in FLV.
    pub fn push_metadata(&mut self, frame: &Frame, dts: Timestamp, tracks: Tracks) {
        if !self.format.tells_tracks() {
            return self.push_at(frame, dts);
        }
        let body = metadata::with_tracks(&frame.body, tracks.audio, tracks.video);
        self.push_at(&Frame { body, ..frame.clone() }, dts);
    }

    /// Adds a frame at its own time.
    pub fn push(&mut self, frame: &Frame) {
        self.push_at(frame, frame.dts);
    }

    /// A place at which a viewer can start: everything from the returned offset on can be read by itself.
    pub fn cut(&mut self) -> usize {
        self.framed.close();
        self.framed.len()
    }

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.framed.len() == 0
    }

    /// Memory that the bytes take.
    pub fn held(&self) -> usize {
        self.framed.capacity()
    }

    /// The bytes.
    pub fn finish(self) -> Bytes {
        self.framed.finish()
    }

    /// Adds a frame at another time.
    pub fn push_at(&mut self, frame: &Frame, at: Timestamp) {
        let out = self.framed.open();
        let kind = kind_of(frame.track);
        let at = wire_time(frame, at);
        match self.format {
            Format::Rtmp { chunk_size } => chunk::encode_message(
                out,
                csid_of(kind),
                at,
                kind.type_id(),
                MESSAGE_STREAM_ID,
                &frame.body,
                chunk_size as usize,
            ),
            Format::File(..) => file::write_tag(out, kind, at, &frame.body),
        }
    }
}

fn csid_of(kind: TagKind) -> u8 {
    match kind {
        TagKind::Audio => chunk::CSID_AUDIO,
        TagKind::Video => chunk::CSID_VIDEO,
        TagKind::Script => chunk::CSID_DATA,
    }
}

#[cfg(test)]
mod tests;
