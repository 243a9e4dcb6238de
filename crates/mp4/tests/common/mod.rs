//! A muxer for the tracks that frames have.

use std::collections::BTreeMap;

use weir_media::{Content, Frame, Track};
use weir_mp4::{Muxer, SampleEntry};

/// How the tracks of `frames` are coded.
#[track_caller]
pub fn entries(frames: &[Frame]) -> Vec<(Track, SampleEntry)> {
    let mut records = BTreeMap::new();
    let mut entries = BTreeMap::new();
    for frame in frames {
        let record = records.get(&frame.track).map_or(&[][..], |record: &&Frame| &record.payload);
        let entry = match frame.content {
            Content::VideoConfig(_) | Content::AudioConfig(_) => {
                records.insert(frame.track, frame);
                continue;
            }
            _ if entries.contains_key(&frame.track) || frame.payload.is_empty() => continue,
            Content::Video { codec, .. } => SampleEntry::video(codec, record, &frame.payload),
            Content::Audio(codec) => SampleEntry::audio(codec, record, &frame.payload),
            _ => continue,
        };
        entries.insert(frame.track, entry.unwrap());
    }
    entries.into_iter().collect()
}

/// A muxer of these tracks.
#[track_caller]
pub fn muxer_of(frames: &[Frame]) -> Muxer {
    Muxer::new(entries(frames))
}
