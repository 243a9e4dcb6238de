use std::{fs, path::Path};

use proptest::prelude::*;
use weir_media::{AudioCodec, VideoCodec};
use weir_testkit::{
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls_rules::HlsRules,
    packets::{self, Form, assert_continuation, frame_of, tags_of},
};

use super::*;
use weir_mp4::Unfit;

use crate::{Begin, Config, Part, Playlist, Unsupported};

const AVCC: [u8; 16] = [1, 0x64, 0, 31, 0xFF, 0xE1, 0, 4, 0x67, 0x64, 0, 31, 1, 0, 1, 0x68];
const LOW_AVCC: [u8; 16] = [1, 0x42, 0, 31, 0xFF, 0xE1, 0, 4, 0x67, 0x42, 0, 31, 1, 0, 1, 0x68];
/// What rounds to two seconds.
const LONGEST: Duration = Duration::from_millis(2499);

fn lengths(part: Option<u64>) -> Lengths {
    let target = Duration::from_secs(2);
    Lengths { target, longest: LONGEST, part: part.map(Duration::from_millis) }
}

fn frame(track: Track, dts: i64, content: Content, payload: &[u8]) -> Frame {
    let payload = Bytes::copy_from_slice(payload);
    let (dts, body) = (Timestamp::from_millis(dts), payload.clone());
    Frame { track, dts, epoch: 0, content, stray: false, body, payload }
}

fn video(dts: i64, key: bool) -> Frame {
    let content = Content::Video { codec: VideoCodec::Avc, key, composition: 0 };
    frame(Track::Video(0), dts, content, &[0, 0, 0, 2, if key { 0x65 } else { 0x41 }, 0x80])
}

fn audio(dts: i64) -> Frame {
    frame(Track::Audio(0), dts, Content::Audio(AudioCodec::Aac), &[0x21, 0x10, 4])
}

fn avcc(record: &[u8]) -> Frame {
    frame(Track::Video(0), 0, Content::VideoConfig(VideoCodec::Avc), record)
}

fn asc(record: &[u8]) -> Frame {
    frame(Track::Audio(0), 0, Content::AudioConfig(AudioCodec::Aac), record)
}

/// A stream, and the playlist and the files that come of it.
struct Stream {
    segmenter: CmafSegmenter,
    playlist: Option<Playlist>,
    /// None if frames come so irregularly that parts cannot keep them.
    rules: Option<HlsRules>,
    inits: Vec<Bytes>,
    segments: Vec<Segment>,
    /// Durations of parts, and whether they are independent, segment by segment.
    parts: Vec<Vec<(Duration, bool)>>,
    /// Of the segment in the making.
    part_bytes: Vec<usize>,
    files: Vec<u8>,
    names: u64,
    wall: Duration,
}

impl Stream {
    fn new(lengths: Lengths) -> Self {
        Self {
            segmenter: CmafSegmenter::new(lengths),
            playlist: None,
            rules: Some(HlsRules::default()),
            inits: Vec::new(),
            segments: Vec::new(),
            parts: vec![Vec::new()],
            part_bytes: Vec::new(),
            files: Vec::new(),
            names: 0,
            wall: Duration::from_secs(1_700_000_000),
        }
    }

    fn push(&mut self, frames: impl IntoIterator<Item = Frame>) {
        for frame in frames {
            let wall = self.wall + Duration::from_millis(frame.dts.as_millis().unsigned_abs());
            let events = self.segmenter.push(&frame, wall);
            self.take(events);
        }
    }

    fn finish(&mut self) {
        let events = self.segmenter.finish();
        self.take(events);
    }

    /// Does what a server does, and holds the playlist against the rules after each event.
    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            let part_target = self.segmenter.part_target();
            let playlist = self.playlist.get_or_insert_with(|| Playlist::new(&Config::new("live")));
            playlist.offer_parts(part_target);
            let map = format!("init-{}.mp4", self.inits.len());
            match event {
                Event::Init(init) => {
                    self.files.extend_from_slice(&init);
                    self.inits.push(init);
                    continue;
                }
                Event::Begin { discontinuity, program_date_time } => {
                    let begin = Begin::at(program_date_time);
                    playlist.begin(Begin { discontinuity, map: Some(map), ..begin });
                    continue;
                }
                Event::Part { data, duration, independent } => {
                    let file = format!("{}.m4s", self.names);
                    playlist.push_part(Part { file, duration, independent });
                    self.names += 1;
                    playlist.hint(Some(&format!("{}.m4s", self.names)));
                    self.parts.last_mut().unwrap().push((duration, independent));
                    self.part_bytes.push(data.len());
                    self.files.extend_from_slice(&data);
                }
                Event::Segment(segment) => {
                    if part_target.is_none() {
                        self.files.extend_from_slice(&segment.data);
                    } else {
                        let parts = self.parts.last().unwrap();
                        let own: usize = self.part_bytes.drain(..).sum();
                        assert_eq!(own, segment.data.len());
                        let sum: Duration = parts.iter().map(|(duration, _)| *duration).sum();
                        assert_eq!(sum, segment.duration);
                    }
                    playlist.push(&format!("s{}.m4s", self.segments.len()), segment.duration);
                    self.parts.push(Vec::new());
                    self.segments.push(segment);
                }
            }
            let text = playlist.render(&[]);
            if let Some(rules) = &mut self.rules {
                rules.check(&text).unwrap_or_else(|broken| panic!("{broken}\n{text}"));
            }
        }
    }

    fn durations(&self) -> Vec<u128> {
        self.segments.iter().map(|segment| segment.duration.as_millis()).collect()
    }

    fn breaks(&self) -> Vec<bool> {
        self.segments.iter().map(|segment| segment.discontinuity).collect()
    }
}

/// Pictures each 40 ms with a key frame each second, and sound, from `from` to `to`.
fn av(from: i64, to: i64) -> Vec<Frame> {
    let pictures = (from..to).step_by(40).map(|dts| video(dts, dts % 1000 == 0));
    let mut frames: Vec<_> =
        pictures.chain((from..to).step_by(20).map(|dts| audio(dts + 1))).collect();
    frames.sort_by_key(|frame| frame.dts);
    frames
}

fn configured(part: Option<u64>) -> Stream {
    let mut stream = Stream::new(lengths(part));
    stream.push([avcc(&AVCC), asc(&[0x11, 0x90])]);
    stream
}

#[test]
fn real_streams_come_out_as_they_went_in() {
    for (fixture, part) in [
        (Fixture::AvcBFramesAac, Some(200)),
        (Fixture::HevcAac, Some(333)),
        (Fixture::Av1Aac, Some(200)),
        (Fixture::Vp9Opus, None),
        (Fixture::AudioOnly, Some(200)),
    ] {
        let file = fixture.file();
        let mut stream = Stream::new(lengths(part));
        stream.push(tags_of(&file).iter().map(frame_of));
        stream.finish();
        assert_eq!((stream.inits.len(), stream.segments.len()), (1, 4), "{fixture:?}");
        assert!(stream.breaks().iter().all(|breaks| !breaks), "{fixture:?}");
        let least = stream.segmenter.part_target().map_or(Duration::ZERO, |part| part * 85 / 100);
        for parts in &stream.parts[..4] {
            let Some((_, before)) = parts.split_last() else { continue };
            assert!(parts[0].1, "{fixture:?} begins with a key frame");
            assert!(
                before.iter().all(|(duration, _)| *duration >= least),
                "{fixture:?}: {parts:?}"
            );
        }
        let dir = tempfile::tempdir().unwrap();
        let written = dir.path().join("all.mp4");
        fs::write(&written, &stream.files).unwrap();
        let form =
            if fixture == Fixture::Av1Aac { Form::Elementary(fixture) } else { Form::Carried };
        let read = |ffmpeg, file: &Path| {
            let mut media =
                packets::read(ffmpeg, &file.display().to_string(), form, Duration::from_secs(60));
            media.streams.iter_mut().for_each(|stream| stream.config = None);
            media
        };
        assert_continuation(&read(Ffmpeg::Nine, &file), &read(Ffmpeg::System, &written));
    }
}

#[test]
fn segments_begin_at_key_frames_and_parts_are_whole() {
    let mut stream = configured(Some(200));
    stream.push(av(0, 6400));
    stream.finish();
    assert_eq!(stream.durations(), [2000, 2000, 2000, 400]);
    assert_eq!(stream.segmenter.part_target(), Some(Duration::from_millis(200)));
    let parts = Duration::from_millis(200);
    let independent = |at: usize| at.is_multiple_of(5);
    let expected: Vec<_> = (0..10).map(|at| (parts, independent(at))).collect();
    assert_eq!(stream.parts[1], expected);
    assert_eq!(stream.segments[1].pictures, 50);
    assert_eq!(stream.segments[1].program_date_time, stream.wall + Duration::from_secs(2));
    assert_eq!(stream.segmenter.entries().len(), 2);
}

#[test]
fn a_part_is_as_many_whole_frames_as_fit() {
    let millis = Duration::from_millis;
    for (spacing, part) in
        [(40, 200), (33, 200), (34, 175), (80, 162), (16, 200), (23, 192), (500, 550)]
    {
        assert_eq!(whole_frames(millis(200), millis(spacing)), millis(part), "{spacing}");
    }
}

#[test]
fn a_group_that_is_too_long_is_cut_in_its_middle() {
    let mut stream = configured(Some(200));
    stream.push((0..8000).step_by(40).map(|dts| video(dts, dts % 4000 == 0)));
    stream.finish();
    assert_eq!(stream.durations(), [2480, 1520, 2480, 1520]);
    assert!(stream.breaks().iter().all(|breaks| !breaks));
    let begins: Vec<_> = stream.parts.iter().filter_map(|parts| Some(parts.first()?.1)).collect();
    assert_eq!(begins, [true, false, true, false]);
}

#[test]
fn frames_that_last_long_end_up_in_parts_of_their_own() {
    let mut stream = configured(Some(200));
    stream.rules = None;
    let steps = [40, 40, 40, 170, 40, 40, 150, 40, 190, 199, 10, 40];
    let mut dts = 0;
    stream.push([video(0, true)]);
    for step in steps.into_iter().cycle().take(200) {
        dts += step;
        stream.push([video(dts, false)]);
    }
    stream.finish();
    let longest = stream.parts.iter().flatten().map(|(duration, _)| *duration).max();
    assert!(longest <= Some(Duration::from_millis(200)), "{longest:?}");
}

#[test]
fn another_configuration_is_another_init_segment_after_a_break() {
    let mut stream = configured(Some(200));
    stream.push(av(0, 1500));
    stream.push([avcc(&LOW_AVCC)]);
    stream.push(av(1520, 4400));
    stream.push([avcc(&LOW_AVCC), asc(&[0x12, 0x10])]);
    stream.push(av(4400, 6000));
    stream.finish();
    assert_eq!(stream.inits.len(), 3);
    assert_eq!(stream.breaks(), [false, true, false, true]);
    assert_eq!(stream.durations()[0], 1520);
}

#[test]
fn lost_frames_and_holes_are_breaks_with_the_same_init_segment() {
    let mut stream = configured(Some(200));
    stream.push(av(0, 1500));
    let events = stream.segmenter.finish();
    stream.take(events);
    stream.push(av(1600, 3000));
    stream.push(av(40_000, 41_000));
    stream.push(av(9000, 10_000));
    let again = av(10_000, 11_000).into_iter().map(|frame| Frame { epoch: 1, ..frame });
    stream.push(again);
    stream.finish();
    assert_eq!(stream.inits.len(), 1);
    assert_eq!(stream.breaks(), [false, true, true, true, true]);
    assert_eq!(stream.durations(), [1520, 1000, 1000, 1000, 1000], "from key frame to key frame");
}

#[test]
fn sound_that_comes_a_little_later_has_its_place() {
    let mut stream = configured(Some(200));
    stream.push((0..160).step_by(40).map(|dts| video(dts, dts == 0)));
    stream.push(av(160, 3000));
    stream.finish();
    assert_eq!((stream.inits.len(), stream.segmenter.entries().len()), (1, 2));
    let mut late = configured(Some(200));
    late.push((0..1200).step_by(40).map(|dts| video(dts, dts % 1000 == 0)));
    late.push(av(1200, 4000));
    late.finish();
    assert_eq!((late.inits.len(), late.breaks()), (2, vec![false, true]));
    assert_eq!(late.durations(), [2000, 2000]);
}

#[test]
fn sound_that_falls_silent_is_no_track_any_longer() {
    let mut stream = configured(None);
    stream.push(av(0, 2000));
    stream.push((2000..8000).step_by(40).map(|dts| video(dts, dts % 1000 == 0)));
    stream.finish();
    assert_eq!(stream.inits.len(), 2, "players would wait for it");
    assert_eq!(stream.breaks(), [false, false, true, false]);
}

#[test]
fn sound_goes_on_alone_when_pictures_stop_and_pictures_come_back() {
    let mut stream = configured(Some(200));
    stream.push(av(0, 2000));
    stream.push((2000..12_000).step_by(20).map(audio));
    stream.push(av(12_000, 15_000));
    stream.finish();
    assert_eq!(stream.inits.len(), 3);
    let alone = stream.segments.iter().filter(|segment| segment.pictures == 0).count();
    assert!(alone >= 2, "{:?}", stream.durations());
    assert!(stream.segments.last().unwrap().pictures > 0);
}

#[test]
fn strays_damage_and_what_cannot_be_carried_are_left_out() {
    let mut stream = configured(Some(200));
    let vvc = |dts, stray| {
        let content = Content::Video { codec: VideoCodec::Vvc, key: true, composition: 0 };
        Frame { stray, ..frame(Track::Video(0), dts, content, &[1, 2, 3]) }
    };
    for dts in (0..1000).step_by(40) {
        stream.push([video(dts, dts == 0), vvc(dts, true)]);
    }
    let cut = frame(Track::Video(0), 1000, video(0, true).content, &[0, 0, 0, 9, 0x65]);
    stream.push([cut]);
    assert_eq!(stream.segmenter.dropped().unwrap().frames, 1);
    assert_eq!(stream.segmenter.left_out(), Some(LeftOut::default()));
    stream.push((1000..5000).step_by(20).flat_map(|dts| [vvc(dts, false), audio(dts)]));
    stream.finish();
    let left_out = stream.segmenter.left_out().unwrap();
    assert_eq!(left_out.pictures, Some(Unsupported::Mp4(Unfit::Video(VideoCodec::Vvc))));
    assert!(!left_out.everything);
    assert!(stream.segments.last().unwrap().pictures == 0, "sound alone");
}

#[test]
fn start_codes_become_lengths_and_messages_without_a_picture_go_with_the_next() {
    let mut stream = configured(None);
    let key = video(0, true).content;
    stream.push([
        frame(Track::Video(0), 0, key, &[0, 0, 0, 1, 0x06, 5, 1]),
        frame(Track::Video(0), 0, key, &[0, 0, 0, 1, 0x09, 0xF0, 0, 0, 1, 0x65, 0x88]),
        video(40, false),
    ]);
    stream.finish();
    let data = &stream.segments[0].data;
    let expected = [0, 0, 0, 3, 6, 5, 1, 0, 0, 0, 2, 0x65, 0x88, 0, 0, 0, 2, 0x41, 0x80];
    assert!(data.ends_with(&expected), "{:x?}", &data[data.len() - 40..]);
}

#[test]
fn slices_in_messages_of_their_own_are_one_sample() {
    // The first slice of a picture begins with a bit that is set; others do not.
    let slice = |dts: i64, key: bool, first: bool| {
        let unit = [0, 0, 0, 2, if key { 0x65 } else { 0x41 }, if first { 0x88 } else { 0x44 }];
        frame(Track::Video(0), dts, video(0, key).content, &unit)
    };
    for part in [None, Some(200)] {
        let mut stream = configured(part);
        for dts in (0..2000).step_by(40) {
            stream.push([slice(dts, dts == 0, true), slice(dts, dts == 0, false)]);
        }
        // A rest of nothing that is known is a picture of its own.
        stream.push([slice(2000, true, false)]);
        stream.finish();
        let pictures: Vec<_> = stream.segments.iter().map(|segment| segment.pictures).collect();
        assert_eq!((pictures, stream.durations()), (vec![50, 1], vec![2000, 40]));
        let data = &stream.segments[0].data;
        assert!(data.ends_with(&[0, 0, 0, 2, 0x41, 0x88, 0, 0, 0, 2, 0x41, 0x44]));
    }
}

#[test]
fn a_cut_within_a_group_loses_nothing_while_tracks_change() {
    let mut stream = configured(Some(200));
    stream.push((0..2400).step_by(40).map(|dts| video(dts, dts == 0)));
    // Sound joins at the next key frame, and a picture lasts beyond the longest segment before that.
    stream.push([
        audio(2390),
        video(2400, false),
        video(2560, false),
        video(2600, true),
        audio(2610),
        video(2640, false),
    ]);
    stream.finish();
    let pictures: u32 = stream.segments.iter().map(|segment| segment.pictures).sum();
    assert_eq!((pictures, stream.inits.len()), (64, 2));
    let runs = stream.segments.iter().map(|segment| &segment.data);
    let units = runs.map(|data| {
        data.windows(5).filter(|unit| unit[..4] == [0, 0, 0, 2] && unit[4] & 0x41 == 0x41).count()
    });
    assert_eq!(units.sum::<usize>(), 64, "all that were counted are there");
}

#[test]
fn what_waits_for_an_init_segment_is_of_the_tracks_as_they_were() {
    // Without parts everything waits until the first segment ends.
    let mut stream = configured(None);
    stream.push(av(0, 1000));
    stream.push([avcc(&LOW_AVCC)]);
    stream.push(av(1000, 2000));
    stream.push([asc(&[0x12, 0x10])]);
    stream.push(av(2000, 3000));
    stream.finish();
    let pictures: Vec<_> = stream.segments.iter().map(|segment| segment.pictures).collect();
    assert_eq!((pictures, stream.inits.len()), (vec![25, 25, 25], 3));
    assert_eq!(stream.breaks(), [false, true, true]);
    let has = |at: usize, bytes: &[u8]| {
        stream.inits[at].windows(bytes.len()).any(|window| window == bytes)
    };
    assert!(
        has(0, &AVCC) && has(0, &[0x11, 0x90, 6]) && has(1, &LOW_AVCC) && has(1, &[0x11, 0x90, 6])
    );
    assert!(has(2, &LOW_AVCC) && has(2, &[0x12, 0x10, 6]));
    let mut camera = configured(None);
    camera.push(av(0, 1000));
    camera.push((1000..6000).step_by(20).map(audio));
    camera.finish();
    assert_eq!((camera.segments[0].pictures, camera.inits.len()), (25, 2));
}

#[test]
fn what_is_held_counts_and_is_given_back() {
    const LIMIT: usize = 32 << 20;
    let budget = Budget::new(LIMIT);
    let mut segmenter = CmafSegmenter::new(lengths(Some(200)));
    segmenter.limit_to(&budget);
    segmenter.push(&avcc(&AVCC), Duration::ZERO);
    let mut held = Vec::new();
    for dts in (0..60_000).step_by(40) {
        let key = dts % 1000 == 0;
        let content = Content::Video { codec: VideoCodec::Avc, key, composition: 0 };
        let unit =
            [&[0, 0, 0xC3, 0x51, if key { 0x65 } else { 0x41 }][..], &[0x80; 50_000]].concat();
        held.extend(segmenter.push(&frame(Track::Video(0), dts, content, &unit), Duration::ZERO));
        assert!(budget.used() <= LIMIT, "{}", budget.used());
    }
    assert!(budget.used() > LIMIT / 8, "segments that somebody holds count");
    drop(held);
    segmenter.finish();
    assert_eq!(budget.used(), 0);
}

proptest! {
    #[test]
    fn any_frames_make_segments_that_keep_the_rules(
        steps in proptest::collection::vec((0_u8..6, -50_i64..3000, any::<bool>()), 1..200),
        part in proptest::option::of(100_u64..1000),
    ) {
        let mut segmenter = CmafSegmenter::new(lengths(part));
        let (mut dts, mut open, mut total) = (0, false, Duration::ZERO);
        let mut wall = Duration::from_secs(1_700_000_000);
        let mut check = |events: Vec<Event>| -> Result<(), TestCaseError> {
            for event in events {
                match event {
                    Event::Init(init) => prop_assert!(!open && !init.is_empty()),
                    Event::Begin { .. } => {
                        prop_assert!(!std::mem::replace(&mut open, true));
                        total = Duration::ZERO;
                    }
                    Event::Part { duration, .. } => {
                        prop_assert!(open && part.is_some());
                        total += duration;
                    }
                    Event::Segment(segment) => {
                        prop_assert!(std::mem::replace(&mut open, false));
                        prop_assert!(part.is_none() || segment.duration == total);
                        prop_assert!(!segment.data.is_empty());
                    }
                }
            }
            Ok(())
        };
        for (what, step, flag) in steps {
            dts += if step > 200 && !flag { step % 60 } else { step };
            wall += Duration::from_millis(40);
            let frame = match what {
                0 => avcc(if flag { &AVCC } else { &LOW_AVCC }),
                1 => asc(if flag { &[0x11, 0x90] } else { &[0x12, 0x10] }),
                2 | 3 => video(dts, flag),
                _ => audio(dts),
            };
            check(segmenter.push(&frame, wall))?;
        }
        check(segmenter.finish())?;
        prop_assert!(!open);
    }
}
