//! Frames, and what a reader must have seen before it can decode them.

use bytes::Bytes;

use crate::{AudioCodec, Timestamp, VideoCodec};

/// Which of the parallel sequences of a stream a frame belongs to.
///
/// Multitrack streams number their tracks; ordinary streams have track 0 of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Track {
    /// A video track, by its Enhanced RTMP track id.
    Video(u8),
    /// An audio track, by its Enhanced RTMP track id.
    Audio(u8),
    /// Script data: metadata, cue points, captions.
    Data,
}

/// What a frame is to a reader that does not look inside its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The stream's metadata (`onMetaData`).
    Metadata,
    /// Other script data (cue points, captions): delivered, never kept for late readers.
    Data,
    /// A video decoder configuration record ("sequence header"): avcC, hvcC, av1C, vpcC.
    VideoConfig(VideoCodec),
    /// A coded picture.
    Video {
        /// What it is coded with.
        codec: VideoCodec,
        /// Whether decoding may start here.
        key: bool,
        /// Presentation time minus decoding time, in milliseconds; negative only from odd encoders.
        composition: i32,
    },
    /// Video information for decoders and displays that late readers need too (HDR colour information).
    VideoInfo(VideoCodec),
    /// An audio decoder configuration record: AudioSpecificConfig, OpusHead, FLAC STREAMINFO.
    AudioConfig(AudioCodec),
    /// A coded audio packet.
    Audio(AudioCodec),
    /// Audio information that late readers need too (a multichannel layout).
    AudioInfo(AudioCodec),
    /// Something that is carried through unread: end-of-sequence marks, command frames, unknown packet types.
    Opaque,
}

/// One message of a stream: a picture, a packet of sound, a configuration record or metadata.
///
/// Cloning copies two reference counts and a few words, never the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The sequence it belongs to. A message that carries several tracks has the id of its first one.
    pub track: Track,
    /// Decoding time on the stream's timeline.
    pub dts: Timestamp,
    /// How often the stream's timeline had to be repaired before this frame (a jump, a re-publish).
    pub epoch: u32,
    /// What it is.
    pub content: Content,
    /// Whether it is none of its track's, though it says so: a packet of another codec. It is passed on as it is, and
    /// nothing begins with it or is remembered of it.
    pub stray: bool,
    /// The message as the publisher framed it, the container's own header bytes included, so that a viewer of the same
    /// container gets it unharmed: today the body of an FLV tag.
    pub body: Bytes,
    /// The elementary-stream data or configuration record inside `body` (of the first track, if there are several).
    pub payload: Bytes,
}

impl Frame {
    /// Whether decoding can start at this frame: a video key frame.
    pub fn is_key(&self) -> bool {
        matches!(self.content, Content::Video { key: true, .. })
    }

    /// Whether this is a coded picture.
    pub fn is_picture(&self) -> bool {
        matches!(self.content, Content::Video { .. })
    }

    /// Whether this is a configuration of the codec that `packet` is in.
    pub fn configures(&self, packet: &Frame) -> bool {
        match (self.content, packet.content) {
            (Content::VideoConfig(config), Content::Video { codec, .. }) => config == codec,
            (Content::AudioConfig(config), Content::Audio(codec)) => config == codec,
            _ => false,
        }
    }

    /// Presentation time: `dts` plus the composition offset.
    pub fn pts(&self) -> Timestamp {
        match self.content {
            Content::Video { composition, .. } => {
                Timestamp::from_millis(self.dts.as_millis().saturating_add(i64::from(composition)))
            }
            _ => self.dts,
        }
    }

    /// The place this frame takes in [`Init`], if late readers need it.
    pub fn init_slot(&self) -> Option<InitSlot> {
        match self.content {
            _ if self.stray => None,
            Content::Metadata => Some(InitSlot::Metadata),
            Content::VideoConfig(_) | Content::AudioConfig(_) => Some(InitSlot::Config(self.track)),
            Content::VideoInfo(_) | Content::AudioInfo(_) => Some(InitSlot::Info(self.track)),
            Content::Data | Content::Video { .. } | Content::Audio(_) | Content::Opaque => None,
        }
    }
}

/// What a frame of [`Init`] replaces: the newest frame of each slot counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InitSlot {
    /// The stream's metadata.
    Metadata,
    /// A track's decoder configuration.
    Config(Track),
    /// A track's additional information.
    Info(Track),
}

/// What a reader needs before its first key frame: metadata, then each track's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Init {
    frames: Vec<(InitSlot, Frame)>,
}

impl Init {
    /// Slots kept; more come only from a peer that invents track ids. Enhanced RTMP allows 256 tracks, no encoder
    /// known sends more than 12; the bound keeps a hostile publisher from holding memory outside the log's budget.
    pub const SLOTS_MAX: usize = 64;

    /// Bytes of one kept frame; a larger "configuration" is not kept. Real ones are below 1 KB, `onMetaData` below 16
    /// KB.
    pub const FRAME_BYTES_MAX: usize = 256 * 1024;

    /// Bytes of all kept frames; what would exceed them is not kept.
    pub const BYTES_MAX: usize = 1024 * 1024;

    /// Takes `frame` in if late readers need it; returns whether that changed anything.
    pub fn update(&mut self, frame: &Frame) -> bool {
        let Some(slot) = frame.init_slot() else { return false };
        let others = self.frames.iter().filter(|(other, _)| *other != slot);
        let bytes = others.map(|(_, frame)| frame.body.len()).sum::<usize>() + frame.body.len();
        if frame.body.len() > Self::FRAME_BYTES_MAX || bytes > Self::BYTES_MAX {
            return false;
        }
        match self.frames.binary_search_by_key(&slot, |(slot, _)| *slot) {
            Ok(at) => {
                let changed = self.frames[at].1.body != frame.body;
                self.frames[at].1 = frame.clone();
                changed
            }
            Err(_) if self.frames.len() == Self::SLOTS_MAX => false,
            Err(at) => {
                self.frames.insert(at, (slot, frame.clone()));
                true
            }
        }
    }

    /// Forgets the frame in `slot`.
    pub fn remove(&mut self, slot: InitSlot) {
        self.frames.retain(|(known, _)| *known != slot);
    }

    /// The frames in the order a reader needs them.
    pub fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.frames.iter().map(|(_, frame)| frame)
    }

    /// The frame in `slot`.
    pub fn get(&self, slot: InitSlot) -> Option<&Frame> {
        self.frames.binary_search_by_key(&slot, |(slot, _)| *slot).ok().map(|at| &self.frames[at].1)
    }

    /// Whether there is nothing a late reader needs.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(track: Track, content: Content, body: &'static [u8]) -> Frame {
        let body = Bytes::from_static(body);
        Frame {
            track,
            dts: Timestamp::ZERO,
            epoch: 0,
            content,
            stray: false,
            payload: body.clone(),
            body,
        }
    }

    #[test]
    fn init_keeps_the_newest_of_each_slot_with_metadata_first() {
        let mut init = Init::default();
        assert!(init.update(&frame(
            Track::Audio(0),
            Content::AudioConfig(AudioCodec::Aac),
            b"asc"
        )));
        assert!(init.update(&frame(
            Track::Video(0),
            Content::VideoConfig(VideoCodec::Avc),
            b"avcC"
        )));
        assert!(init.update(&frame(Track::Data, Content::Metadata, b"meta")));
        assert!(init.update(&frame(
            Track::Video(0),
            Content::VideoConfig(VideoCodec::Hevc),
            b"hvcC"
        )));
        assert!(
            !init.update(&frame(Track::Video(0), Content::VideoConfig(VideoCodec::Hevc), b"hvcC")),
            "unchanged"
        );
        let bodies: Vec<_> = init.frames().map(|f| f.body.as_ref()).collect();
        assert_eq!(bodies, [b"meta".as_ref(), b"hvcC", b"asc"]);
    }

    #[test]
    fn pictures_and_sound_are_not_init() {
        let mut init = Init::default();
        let key = Content::Video { codec: VideoCodec::Avc, key: true, composition: 0 };
        assert!(!init.update(&frame(Track::Video(0), key, b"idr")));
        assert!(!init.update(&frame(Track::Audio(0), Content::Audio(AudioCodec::Aac), b"au")));
        assert!(init.is_empty());
    }

    #[test]
    fn invented_tracks_are_bounded() {
        let mut init = Init::default();
        for id in 0..=255 {
            init.update(&frame(Track::Video(id), Content::VideoConfig(VideoCodec::Avc), b"avcC"));
        }
        assert_eq!(init.frames().count(), Init::SLOTS_MAX);
    }

    #[test]
    fn large_configurations_are_bounded_together() {
        const BODY: &[u8] = &[0; 250_000];
        let mut init = Init::default();
        for id in 0..20 {
            init.update(&frame(Track::Video(id), Content::VideoConfig(VideoCodec::Avc), BODY));
        }
        assert_eq!(init.frames().count(), Init::BYTES_MAX / BODY.len());
        assert!(!init.update(&frame(Track::Video(0), Content::VideoConfig(VideoCodec::Avc), BODY)));
        let small = frame(Track::Audio(0), Content::AudioConfig(AudioCodec::Aac), b"asc");
        assert!(init.update(&small), "there is room for what real encoders send");
    }

    #[test]
    fn presentation_time_adds_the_composition_offset() {
        let mut f = frame(
            Track::Video(0),
            Content::Video { codec: VideoCodec::Avc, key: false, composition: 80 },
            b"b",
        );
        f.dts = Timestamp::from_millis(1000);
        assert_eq!(f.pts(), Timestamp::from_millis(1080));
    }
}
