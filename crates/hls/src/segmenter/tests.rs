use bytes::Bytes;
use weir_media::{AudioCodec, Content, Timestamp, Track, VideoCodec};

use super::*;

const AVCC: &[u8] = &[1, 0x64, 0, 31, 0xFF, 0xE1, 0, 4, 0x67, 0x64, 0, 31, 1, 0, 1, 0x68];
const ASC: &[u8] = &[0x12, 0x10];

fn frame(track: Track, millis: i64, content: Content, payload: &[u8]) -> Frame {
    let payload = Bytes::copy_from_slice(payload);
    let dts = Timestamp::from_millis(millis);
    Frame { track, dts, epoch: 0, content, stray: false, body: payload.clone(), payload }
}

fn picture(millis: i64, key: bool) -> Frame {
    let content = Content::Video { codec: VideoCodec::Avc, key, composition: 0 };
    let unit = [0, 0, 0, 2, if key { 0x65 } else { 0x41 }, 0x88];
    frame(Track::Video(0), millis, content, &unit)
}

fn sound(millis: i64) -> Frame {
    frame(Track::Audio(0), millis, Content::Audio(AudioCodec::Aac), &[0x21, 0x10, 4])
}

fn records() -> [Frame; 2] {
    [
        frame(Track::Video(0), 0, Content::VideoConfig(VideoCodec::Avc), AVCC),
        frame(Track::Audio(0), 0, Content::AudioConfig(AudioCodec::Aac), ASC),
    ]
}

/// A segmenter and what has come of it.
struct Rendition {
    segmenter: Segmenter,
    segments: Vec<Segment>,
}

impl Rendition {
    fn new(container: Container) -> Self {
        let mut segmenter = Segmenter::new(container, Lengths::new(Duration::from_secs(2)));
        for record in records() {
            assert_eq!(segmenter.push(&record, Duration::ZERO), []);
        }
        Self { segmenter, segments: Vec::new() }
    }

    fn push(&mut self, frame: &Frame) {
        let wall = Duration::from_millis(frame.dts.as_millis().unsigned_abs());
        let events = self.segmenter.push(frame, wall);
        self.take(events);
    }

    fn take(&mut self, events: Vec<Event>) {
        let segments = events.into_iter().filter_map(|event| match event {
            Event::Segment(segment) => Some(segment),
            _ => None,
        });
        self.segments.extend(segments);
    }

    /// When the segments begin, in milliseconds.
    fn starts(mut self) -> Vec<u128> {
        let events = self.segmenter.finish();
        self.take(events);
        self.segments.iter().map(|segment| segment.program_date_time.as_millis()).collect()
    }
}

const BOTH: [Container; 2] = [Container::Ts, Container::Mp4];

#[test]
fn both_containers_are_cut_alike_and_say_what_they_have() {
    let all = BOTH.map(|container| {
        let mut one = Rendition::new(container);
        // A group that is too short, one that is too long, lost frames, and a slow end.
        for at in (0..16_000).step_by(40) {
            one.push(&picture(at, [0, 1000, 2000, 5000, 9000, 12_000].contains(&at)));
            one.push(&sound(at + 1));
            if at == 10_000 {
                let events = one.segmenter.skipped();
                one.take(events);
            }
        }
        let codecs: Vec<_> =
            one.segmenter.entries().iter().map(|entry| entry.codecs().to_owned()).collect();
        assert_eq!(codecs, ["avc1.64001f", "mp4a.40.2"], "{container:?}");
        assert_eq!(one.segmenter.container(), container);
        assert_eq!(one.segmenter.left_out(), Some(LeftOut::default()));
        let events = one.segmenter.finish();
        one.take(events);
        let seen = |segment: &Segment| {
            let Segment { duration, discontinuity, program_date_time, pictures, .. } = *segment;
            (program_date_time, duration, discontinuity, pictures)
        };
        one.segments.iter().map(seen).collect::<Vec<_>>()
    });
    assert_eq!(all[0], all[1]);
    let starts: Vec<_> = all[0].iter().map(|(start, ..)| start.as_millis()).collect();
    assert_eq!(starts, [0, 2000, 5000, 9000, 12_000]);
}

#[test]
fn no_segment_is_longer_than_it_may_be() {
    for container in BOTH {
        let mut one = Rendition::new(container);
        one.segmenter.set_longest(Duration::from_millis(2499));
        (0..8000).step_by(40).for_each(|at| one.push(&picture(at, at % 4000 == 0)));
        let starts = one.starts();
        let expected: [u128; 4] = match container {
            Container::Ts => [0, 2520, 4000, 6520],
            Container::Mp4 => [0, 2480, 4000, 6480],
        };
        assert_eq!(starts, expected, "it ends with its group if it began in the middle");
    }
}

/// Pictures each 40 ms of a leader and one that follows it, whose frames come in this order; key frames where `keys`
/// says, given whose it is.
fn led(container: Container, leads_first: bool, keys: fn(bool, i64) -> bool) -> [Vec<u128>; 2] {
    let [mut leader, mut other] = [(); 2].map(|()| Rendition::new(container));
    for at in (0..12_000).step_by(40) {
        for is_leader in [leads_first, !leads_first] {
            let frame = picture(at, keys(is_leader, at));
            if is_leader {
                leader.push(&frame);
            } else {
                other.segmenter.follow(leader.segmenter.lead());
                other.push(&frame);
            }
        }
    }
    [leader.starts(), other.starts()]
}

#[test]
fn one_that_follows_cuts_where_the_leader_does() {
    for (container, leads_first) in [
        (Container::Ts, true),
        (Container::Ts, false),
        (Container::Mp4, true),
        (Container::Mp4, false),
    ] {
        let [leader, other] = led(container, leads_first, |_, at| at % 1000 == 0);
        assert_eq!((&leader, leader.len()), (&other, 6), "{container:?} {leads_first}");
        // It misses a key frame: it is cut within its group, and goes on with the same numbers.
        let [leader, other] =
            led(container, leads_first, |leads, at| at % 2000 == 0 && (leads || at != 4000));
        assert_eq!(leader, [0, 2000, 4000, 6000, 8000, 10_000]);
        assert_eq!(other.len(), leader.len(), "{container:?} {leads_first}: {other:?}");
        let apart: Vec<_> = leader.iter().zip(&other).map(|(a, b)| a.abs_diff(*b)).collect();
        assert!(apart.iter().all(|apart| *apart <= 140), "{container:?}: {other:?}");
        assert_eq!(apart.iter().filter(|apart| **apart > 0).count(), 1, "{other:?}");
    }
}

#[test]
fn what_the_leader_does_not_cut_stays_whole() {
    for container in BOTH {
        // The leader misses a key frame that the other one has.
        let [leader, other] =
            led(container, true, |leads, at| at % 2000 == 0 && (!leads || at != 4000));
        assert_eq!(leader, [0, 2000, 6000, 8000, 10_000]);
        assert_eq!(other, leader, "{container:?}");
    }
}

#[test]
fn sound_alone_follows_pictures() {
    for container in BOTH {
        let [mut leader, mut other] = [(); 2].map(|()| Rendition::new(container));
        for at in (0..12_500).step_by(20) {
            if at % 40 == 0 {
                leader.push(&picture(at, at % 2500 == 0 || at == 0));
            }
            other.segmenter.follow(leader.segmenter.lead());
            let own = frame(Track::Audio(0), 0, Content::AudioConfig(AudioCodec::Aac), ASC);
            if at == 0 {
                other = Rendition {
                    segmenter: Segmenter::new(container, Lengths::new(Duration::from_secs(2))),
                    segments: Vec::new(),
                };
                other.push(&own);
            }
            other.push(&sound(at + 7));
        }
        let (leader, other) = (leader.starts(), other.starts());
        assert_eq!(leader.len(), other.len(), "{container:?}: {leader:?} {other:?}");
        assert!(leader.iter().zip(&other).all(|(a, b)| b.abs_diff(*a) < 100), "{other:?}");
    }
}
