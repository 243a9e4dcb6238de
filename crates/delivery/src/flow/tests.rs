use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use weir_flv::file::{Header, Item, Reader};
use weir_hub::{Flush, Publisher};

use super::*;
use crate::{
    channel::{Channel, Channels, View},
    format::Format,
    testing::{
        FORMATS, LIMITS, RTMP, audio_config, key, metadata, names, picture, publish, registry,
        sound, tags, video_config,
    },
};

const BOTH: Tracks = Tracks { audio: true, video: true };
const SOUND: Tracks = Tracks { audio: true, video: false };
const PICTURES: Tracks = Tracks { audio: false, video: true };

/// A stream whose frames arrive when they say.
struct Rig {
    channels: Arc<Channels>,
    publisher: Publisher,
    start: Instant,
}

impl Rig {
    fn new(frames: impl IntoIterator<Item = Frame>) -> Self {
        let (registry, start) = (registry(), Instant::now());
        let publisher = publish(&registry, Flush::Each, start);
        let mut rig = Self { channels: Channels::new(registry), publisher, start };
        rig.push(frames);
        rig
    }

    fn push(&mut self, frames: impl IntoIterator<Item = Frame>) {
        for frame in frames {
            let after = Duration::from_millis(frame.dts.as_millis().unsigned_abs());
            self.publisher.push(frame, self.start + after).expect("the only publisher");
        }
    }

    /// A viewer that comes now, if it can start.
    fn viewer(&self, format: Format) -> Option<Viewer> {
        let channel = self.channels.open(&key(), format, LIMITS).now_or_never()?;
        let mut viewer = Viewer { channel, view: View::default(), next: 0, format };
        viewer.refresh();
        Some(viewer)
    }

    fn watch(&self, format: Format) -> Viewer {
        self.viewer(format).expect("a stream that can be joined")
    }
}

struct Viewer {
    channel: Arc<Channel>,
    view: View,
    next: u64,
    format: Format,
}

impl Viewer {
    fn refresh(&mut self) {
        self.channel.refresh(&mut self.view, Instant::now());
    }

    /// Its first bytes: which tracks the header names, and the tags.
    fn start(&mut self) -> (Tracks, Vec<String>) {
        let group = self.view.newest.clone().expect("a group");
        let entry = self.view.get(group.seq).expect("its entry");
        let opening = group.start.first(self.format, self.channel.tracks());
        let bytes = [&opening[..], &entry[group.start.offset..]].concat();
        self.next = group.seq + 1;
        let mut names = names(&tags(self.format, &bytes));
        names.extend(self.more());
        (if self.format == Format::FLV { header(&bytes) } else { Tracks::default() }, names)
    }

    /// The tags since.
    fn more(&mut self) -> Vec<String> {
        self.refresh();
        let entries = self.view.end() - self.next;
        let more = (0..entries).flat_map(|at| {
            names(&tags(
                self.format,
                self.view.get(self.next + at).expect("an entry in the window"),
            ))
        });
        let more = more.collect();
        self.next += entries;
        more
    }
}

fn header(bytes: &[u8]) -> Tracks {
    let mut reader = Reader::new();
    reader.push(bytes);
    match reader.poll() {
        Ok(Some(Item::Header(Header { has_audio: audio, has_video: video }))) => {
            Tracks { audio, video }
        }
        other => panic!("{other:?}"),
    }
}

fn announced() -> [Frame; 3] {
    [metadata(), video_config(), audio_config()]
}

/// A key frame a second, and a picture between.
fn pictures(seconds: std::ops::Range<i64>) -> impl Iterator<Item = Frame> {
    seconds.flat_map(|second| {
        [picture(true, second * 1000, 0), picture(false, second * 1000 + 500, 0)]
    })
}

#[test]
fn announced_sound_that_does_not_come_is_not_told_of() {
    let mut rig = Rig::new(announced());
    rig.push([picture(true, 0, 0), picture(false, 999, 0)]);
    assert!(rig.viewer(Format::FLV).is_none(), "it is waited for a second");
    rig.push([picture(false, 1000, 0)]);
    let mut first = rig.watch(Format::FLV);
    let (tracks, tags) = first.start();
    assert_eq!(tracks, PICTURES);
    assert_eq!(tags, ["metadata", "avcC", "key0;", "delta999;", "delta1000;"]);
    // Encoders repeat their configurations.
    rig.push([video_config(), audio_config(), picture(true, 2000, 0)]);
    assert_eq!(first.more(), ["avcC", "key2000;"]);
    let (tracks, tags) = rig.watch(Format::FLV).start();
    assert_eq!(
        (tracks, &tags[..]),
        (PICTURES, &["metadata", "avcC", "key2000;"].map(String::from)[..])
    );
}

#[test]
fn sound_that_begins_later_brings_its_configuration() {
    let mut rig = Rig::new(announced().into_iter().chain(pictures(0..3)));
    let mut first = rig.watch(Format::FLV);
    assert_eq!(first.start().0, PICTURES);
    rig.push([sound(2600), picture(false, 2700, 0), sound(2800)]);
    assert_eq!(first.more(), ["metadata", "asc", "sound2600;", "delta2700;", "sound2800;"]);
    // Who comes within the group that it began in, and who comes later.
    let (tracks, tags) = rig.watch(Format::FLV).start();
    assert_eq!((tracks, &tags[..3]), (BOTH, &["metadata", "avcC", "asc"].map(String::from)[..]));
    rig.push([picture(true, 3000, 0)]);
    let (tracks, tags) = rig.watch(Format::FLV).start();
    assert_eq!(
        (tracks, &tags[..]),
        (BOTH, &["metadata", "avcC", "asc", "key3000;"].map(String::from)[..])
    );
    assert_eq!(first.more(), ["key3000;"]);
}

#[test]
fn sound_that_stops_is_not_told_of_until_it_is_back() {
    let mut rig = Rig::new(announced());
    rig.push([picture(true, 0, 0), sound(10), picture(false, 500, 0)]);
    let mut first = rig.watch(Format::FLV);
    assert_eq!(first.start().0, BOTH);
    rig.push(pictures(1..6));
    first.more();
    // On the channel that is there, and on one that begins now.
    for format in [Format::FLV, Format::FLV_CHUNKED] {
        let mut late = rig.watch(format);
        let tags = late.start().1;
        assert_eq!(tags[..3], ["metadata", "avcC", "key5000;"], "{format:?}");
    }
    assert_eq!(rig.watch(Format::FLV).start().0, PICTURES);
    rig.push([audio_config(), sound(5600)]);
    assert_eq!(first.more(), ["metadata", "asc", "sound5600;"]);
    assert_eq!(rig.watch(Format::FLV).start().0, BOTH);
}

#[test]
fn the_mirror_announced_pictures_that_do_not_come() {
    let mut rig = Rig::new(announced());
    rig.push((0..=30).map(|at| sound(at * 100)));
    let mut first = rig.watch(Format::FLV);
    let (tracks, tags) = first.start();
    assert_eq!(tracks, SOUND);
    assert_eq!(tags[..2], ["metadata", "asc"]);
    assert!(tags[2].starts_with("sound"), "{tags:?}");
    rig.push([video_config(), picture(true, 3200, 0), sound(3200)]);
    assert_eq!(first.more(), ["metadata", "avcC", "key3200;", "sound3200;"]);
    let (tracks, tags) = rig.watch(Format::FLV).start();
    assert_eq!(tracks, BOTH);
    assert_eq!(tags[..3], ["metadata", "avcC", "asc"]);
}

#[test]
fn viewers_over_rtmp_get_what_the_publisher_sends() {
    let mut rig = Rig::new(announced().into_iter().chain(pictures(0..3)));
    let mut viewer = rig.watch(RTMP);
    assert_eq!(viewer.start().1, ["metadata", "avcC", "asc", "key2000;", "delta2500;"]);
    rig.push([audio_config(), sound(2600)]);
    assert_eq!(viewer.more(), ["asc", "sound2600;"]);
}

#[test]
fn streams_with_all_that_they_announce_are_as_they_are_in_every_format() {
    for format in FORMATS {
        let mut rig = Rig::new(announced());
        rig.push([picture(true, 0, 0), sound(10)]);
        let mut viewer = rig.watch(format);
        assert_eq!(viewer.start().1, ["metadata", "avcC", "asc", "key0;", "sound10;"]);
        rig.push([audio_config(), sound(33), picture(true, 40, 0)]);
        assert_eq!(viewer.more(), ["asc", "sound33;", "key40;"], "{format:?}");
    }
}
