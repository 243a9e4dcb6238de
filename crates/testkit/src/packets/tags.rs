//! Packets of FLV tags: what a scripted peer sends and gets, compared without FFmpeg.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
};

use weir_flv::{
    Tag,
    file::{Item, Reader},
};
use weir_media::{Content, Frame, Timestamp, Track};

use super::{Kind, Media, Packet, Stream};

/// The tags of an FLV file.
///
/// # Panics
/// If it cannot be read, or is no FLV file.
#[track_caller]
pub fn tags_of(file: &Path) -> Vec<Tag> {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut reader = Reader::new();
    reader.push(&bytes);
    let mut tags = Vec::new();
    while let Some(item) =
        reader.poll().unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    {
        if let Item::Tag(tag) = item {
            tags.push(tag);
        }
    }
    tags
}

/// The frame in a tag, at the tag's own time.
///
/// # Panics
/// If there is none.
#[track_caller]
pub fn frame_of(tag: &Tag) -> Frame {
    let dts = Timestamp::from_millis(i64::from(tag.timestamp));
    weir_flv::to_frame(tag, dts, 0).unwrap_or_else(|error| panic!("{error}: {tag:?}"))
}

impl Media {
    /// The packets in `tags`, a stream for each track. Its hashes are not those of FFmpeg: it compares with other tags.
    ///
    /// # Panics
    /// If a tag is damaged.
    #[track_caller]
    pub fn of_tags(tags: &[Tag]) -> Self {
        let mut streams: Vec<(Track, Stream)> = Vec::new();
        for frame in tags.iter().map(frame_of) {
            let Some((kind, codec)) = kind_and_codec(&frame) else { continue };
            let known = streams.iter().position(|(track, _)| *track == frame.track);
            let at = known.unwrap_or_else(|| {
                let stream = Stream { kind, codec, config: None, packets: Vec::new() };
                streams.push((frame.track, stream));
                streams.len() - 1
            });
            take(&mut streams[at].1, &frame);
        }
        streams.sort_by_key(|(track, _)| *track);
        Self { streams: streams.into_iter().map(|(_, stream)| stream).collect() }
    }
}

fn kind_and_codec(frame: &Frame) -> Option<(Kind, String)> {
    match frame.content {
        Content::VideoConfig(codec) | Content::Video { codec, .. } => {
            Some((Kind::Video, codec.to_string()))
        }
        Content::AudioConfig(codec) | Content::Audio(codec) => {
            Some((Kind::Audio, codec.to_string()))
        }
        _ => None,
    }
}

fn take(stream: &mut Stream, frame: &Frame) {
    if matches!(frame.content, Content::VideoConfig(_) | Content::AudioConfig(_)) {
        stream.config.get_or_insert_with(|| hash(&frame.payload));
        return;
    }
    stream.packets.push(Packet {
        dts_us: frame.dts.as_millis() * 1000,
        pts_us: frame.pts().as_millis() * 1000,
        key: frame.is_key() || stream.kind == Kind::Audio,
        size: frame.payload.len(),
        hash: hash(&frame.payload),
    });
}

fn hash(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::Numbered;

    #[test]
    fn tags_become_packets_pictures_first() {
        let mut source = Numbered::new(2).starting_at(1000);
        let init = source.init();
        let tags: Vec<_> =
            init.into_iter().chain((0..3).flat_map(|_| source.next_pair())).collect();
        let media = Media::of_tags(&tags);
        let [video, audio] = media.streams.as_slice() else { panic!("{media:?}") };
        assert_eq!((video.kind, audio.kind), (Kind::Video, Kind::Audio));
        assert!(video.config.is_some() && audio.config.is_some());
        let keys: Vec<_> = video.packets.iter().map(|packet| (packet.dts_us, packet.key)).collect();
        assert_eq!(keys, [(1_000_000, true), (1_040_000, false), (1_080_000, true)]);
        assert_ne!(audio.packets[0].hash, audio.packets[1].hash);
    }
}
