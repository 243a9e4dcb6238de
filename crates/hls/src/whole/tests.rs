use proptest::prelude::*;

use super::*;
use crate::{SEGMENT_DURATION_MAX, Unsupported, cuts::HOLE_MAX};

const AVCC: &[u8] = &[1, 0x64, 0, 31, 0xFF, 0xE1, 0, 2, 0x67, 1, 1, 0, 2, 0x68, 1];
const AVCC_2: &[u8] = &[1, 0x64, 0, 31, 0xFF, 0xE1, 0, 2, 0x67, 2, 1, 0, 2, 0x68, 1];
const ASC: &[u8] = &[0x12, 0x10];
const ASC_2: &[u8] = &[0x11, 0x90];

fn frame(track: Track, millis: i64, content: Content, payload: &[u8]) -> Frame {
    let payload = Bytes::copy_from_slice(payload);
    let dts = Timestamp::from_millis(millis);
    Frame { track, dts, epoch: 0, content, stray: false, body: payload.clone(), payload }
}

fn avcc(record: &[u8]) -> Frame {
    frame(Track::Video(0), 0, Content::VideoConfig(VideoCodec::Avc), record)
}

fn asc(record: &[u8]) -> Frame {
    frame(Track::Audio(0), 0, Content::AudioConfig(AudioCodec::Aac), record)
}

fn picture_of(millis: i64, key: bool, payload: &[u8]) -> Frame {
    let content = Content::Video { codec: VideoCodec::Avc, key, composition: 0 };
    frame(Track::Video(0), millis, content, payload)
}

fn key(millis: i64) -> Frame {
    picture_of(millis, true, &[0, 0, 0, 2, 0x65, 0x88])
}

fn picture(millis: i64) -> Frame {
    picture_of(millis, false, &[0, 0, 0, 2, 0x41, 0x9A])
}

fn sound(millis: i64) -> Frame {
    frame(Track::Audio(0), millis, Content::Audio(AudioCodec::Aac), b"!raw data block")
}

fn mp3(millis: i64) -> Frame {
    frame(Track::Audio(0), millis, Content::Audio(AudioCodec::Mp3), &[0xFF, 0xFB, 0x90, 0])
}

/// Pictures from `from` to `to`, one each 100 ms, every `gop`th a key frame, each followed by sound.
fn av(from: i64, to: i64, gop: i64) -> Vec<Frame> {
    let pictures = (from..to).step_by(100).map(|at| match (at - from) / 100 % gop {
        0 => key(at),
        _ => picture(at),
    });
    pictures
        .flat_map(|picture| [sound(picture.dts.as_millis() + 5), picture].into_iter().rev())
        .collect()
}

fn new() -> WholeSegmenter {
    WholeSegmenter::new(Lengths::new(Duration::from_secs(2)))
}

struct Bench {
    segmenter: WholeSegmenter,
    cuts: Vec<Segment>,
}

impl Bench {
    fn new() -> Self {
        Self { segmenter: new(), cuts: Vec::new() }
    }

    /// With both configurations in.
    fn with_av() -> Self {
        Self::new().feed([avcc(AVCC), asc(ASC)])
    }

    fn feed(mut self, frames: impl IntoIterator<Item = Frame>) -> Self {
        for frame in frames {
            // The wall clock runs along with the stream.
            let wall = Duration::from_millis(frame.dts.as_millis().unsigned_abs());
            self.cuts.extend(self.segmenter.push(&frame, wall));
        }
        self
    }

    fn skipped(mut self) -> Self {
        self.segmenter.interrupt();
        self
    }

    /// Start and length in milliseconds, and `true` for a discontinuity.
    fn finish(mut self) -> Vec<(u128, u128, bool)> {
        self.cuts.extend(self.segmenter.finish());
        let seen = |cut: &Segment| {
            (cut.program_date_time.as_millis(), cut.duration.as_millis(), cut.discontinuity)
        };
        self.cuts.iter().map(seen).collect()
    }
}

#[test]
fn cuts_at_the_first_key_frame_past_the_target() {
    let cuts = Bench::with_av().feed(av(0, 6000, 15)).finish();
    assert_eq!(cuts, [(0, 3000, false), (3000, 3000, false)]);
}

#[test]
fn a_gop_of_ten_seconds_makes_segments_of_ten_seconds() {
    let cuts = Bench::with_av().feed(av(0, 25_000, 100)).finish();
    assert_eq!(cuts, [(0, 10_000, false), (10_000, 10_000, false), (20_000, 5000, false)]);
}

#[test]
fn a_gop_without_end_is_cut_by_time() {
    let cuts = Bench::with_av().feed(av(0, 100_000, 10_000)).finish();
    assert_eq!(cuts, [(0, 60_000, false), (60_000, 40_000, false)]);
}

#[test]
fn a_gop_without_end_is_cut_by_size() {
    let mut payload = vec![0x41; 1 << 20];
    payload[..4].copy_from_slice(&((1 << 20) - 4_u32).to_be_bytes());
    let pictures = (1..40).map(|at| picture_of(at * 100, false, &payload));
    let mut bench = Bench::with_av().feed([key(0)]).feed(pictures);
    bench.cuts.extend(bench.segmenter.finish());
    assert_eq!(bench.cuts.len(), 2);
    assert!(bench.cuts.iter().all(|cut| cut.data.len() < SEGMENT_BYTES_MAX + (1 << 20)));
    assert!(bench.cuts.iter().all(|cut| !cut.discontinuity));
}

#[test]
fn a_slow_clock_is_cut_by_the_wall_clock() {
    // A fifth of life: a key frame each second of life is one each 200 ms.
    for (part, gop, expected) in [(5, 10, 18), (1000, 10, 18), (5, 1_000_000, 1)] {
        let mut bench = Bench::with_av();
        for at in 0..1250_i64 {
            let frames =
                [if at % gop == 0 { key(at * 100 / part) } else { picture(at * 100 / part) }];
            let wall = Duration::from_millis((at * 100).unsigned_abs());
            bench.cuts.extend(frames.iter().filter_map(|frame| bench.segmenter.push(frame, wall)));
        }
        let starts: Vec<_> = bench.cuts.iter().map(|cut| cut.program_date_time).collect();
        assert!(starts.len() >= expected, "one in {part}, key frames each {gop}: {starts:?}");
        assert!(bench.cuts.iter().all(|cut| !cut.duration.is_zero()), "a length");
    }
}

#[test]
fn starts_at_the_first_key_frame() {
    let before = [sound(0), picture(10), sound(20), picture(110)];
    let cuts = Bench::with_av().feed(before).feed(av(200, 2200, 10)).finish();
    assert_eq!(cuts, [(200, 2000, false)]);
}

#[test]
fn audio_alone_is_cut_at_the_first_packet_past_the_target() {
    let cuts = Bench::new().feed([asc(ASC)]).feed((0..200).map(|at| sound(at * 23))).finish();
    assert_eq!(cuts, [(0, 2001, false), (2001, 2001, false), (4002, 598, false)]);
}

#[test]
fn audio_that_waits_for_its_video_makes_no_segment() {
    let cuts = Bench::new()
        .feed([asc(ASC), sound(0), sound(23), avcc(AVCC), sound(46)])
        .feed(av(100, 2100, 10))
        .finish();
    assert_eq!(cuts, [(100, 2000, false)]);
}

#[test]
fn video_that_comes_to_a_running_audio_stream_is_a_discontinuity() {
    let cuts = Bench::new()
        .feed([asc(ASC)])
        .feed((0..30).map(|at| sound(at * 100)))
        .feed([avcc(AVCC)])
        .feed(av(3000, 5000, 10))
        .finish();
    assert_eq!(cuts, [(0, 2000, false), (2000, 1000, false), (3000, 2000, true)]);
}

#[test]
fn audio_goes_on_alone_when_pictures_stop() {
    let cuts = Bench::with_av()
        .feed(av(0, 1000, 10))
        .feed((10..80).map(|at| sound(at * 100)))
        .feed(av(8000, 9000, 10))
        .finish();
    // The last picture was at 900 ms; sound begins a segment 4 s later, and the next picture joins that.
    assert_eq!(cuts, [(0, 4900, false), (4900, 2000, false), (6900, 2100, false)]);
}

#[test]
fn repeated_configurations_change_nothing() {
    let mut frames = av(0, 4000, 10);
    frames.insert(15, avcc(AVCC));
    frames.insert(16, asc(ASC));
    let cuts = Bench::with_av().feed(frames).finish();
    assert_eq!(cuts, [(0, 2000, false), (2000, 2000, false)]);
}

#[test]
fn another_video_configuration_cuts_at_once_and_waits_for_a_key_frame() {
    let cuts = Bench::with_av()
        .feed(av(0, 1000, 10))
        .feed([avcc(AVCC_2), picture(1000), sound(1005), picture(1100)])
        .feed(av(1200, 4200, 10))
        .finish();
    assert_eq!(cuts, [(0, 1000, false), (1200, 2000, true), (3200, 1000, false)]);
}

#[test]
fn another_audio_configuration_cuts_at_the_next_key_frame() {
    let cuts = Bench::with_av()
        .feed(av(0, 500, 10))
        .feed([asc(ASC_2)])
        .feed((5..10).flat_map(|at| [picture(at * 100), sound(at * 100)]))
        .feed(av(1000, 3000, 10))
        .finish();
    assert_eq!(cuts, [(0, 1000, false), (1000, 2000, true)]);
}

/// The stream types in the program map of a segment of MPEG-TS (ISO 13818-1, 2.4.4.8).
fn stream_types(cut: &Segment) -> Vec<u8> {
    let packet = cut.data.chunks(188).nth(1).expect("a program map behind the associations");
    let section = &packet[5..];
    let length = usize::from(u16::from_be_bytes([section[1] & 0x0F, section[2]]));
    let (mut rest, mut types) = (&section[12..3 + length - 4], Vec::new());
    while let [kind, _, _, high, low, ..] = *rest {
        types.push(kind);
        rest = &rest[5 + usize::from(u16::from_be_bytes([high & 0x0F, low]))..];
    }
    types
}

#[test]
fn sound_that_is_announced_and_silent_is_no_track_until_it_speaks() {
    const AVC: u8 = 0x1B;
    const AAC: u8 = 0x0F;
    let silent = |from, to| av(from, to, 10).into_iter().filter(Frame::is_picture);
    let mut bench = Bench::with_av()
        .feed(silent(0, 4000))
        .feed(av(4000, 8000, 10))
        .feed(silent(8000, 12_000))
        .feed(av(12_000, 14_000, 10))
        .feed(silent(14_000, 20_000));
    bench.cuts.extend(bench.segmenter.finish());
    let seen: Vec<_> = bench
        .cuts
        .iter()
        .map(|cut| (cut.program_date_time.as_millis(), stream_types(cut), cut.discontinuity))
        .collect();
    let expected = [
        (0, vec![AVC], false),
        (2000, vec![AVC], false),
        (4000, vec![AVC], false),
        (5000, vec![AVC, AAC], true),
        (7000, vec![AVC, AAC], false),
        (9000, vec![AVC, AAC], false),
        // It joins the first segment of a run.
        (11_000, vec![AVC, AAC], true),
        (13_000, vec![AVC, AAC], false),
        (15_000, vec![AVC, AAC], false),
        (17_000, vec![AVC], true),
        (19_000, vec![AVC], false),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn audio_joins_the_first_segment_but_no_later_one() {
    let mp3s = |from: i64, to: i64| (from..to).map(|at| mp3(at * 100 + 5));
    let first = Bench::new()
        .feed([avcc(AVCC), key(0), picture(100)])
        .feed(mp3s(2, 10))
        .feed([key(2000)])
        .finish();
    assert_eq!(first, [(0, 2000, false), (2000, 100, false)]);
    let later = Bench::new()
        .feed([avcc(AVCC), key(0), picture(1900), key(2000), picture(2100)])
        .feed(mp3s(22, 29))
        .feed([key(3000), mp3(3005), picture(3100)])
        .finish();
    assert_eq!(later, [(0, 2000, false), (2000, 1000, false), (3000, 200, true)]);
}

#[test]
fn a_new_epoch_cuts_at_the_next_key_frame() {
    let mut frames = av(0, 1000, 10);
    frames.extend(av(1000, 4000, 10).into_iter().map(|frame| Frame { epoch: 1, ..frame }));
    let cuts = Bench::with_av().feed(frames).finish();
    assert_eq!(cuts, [(0, 1000, false), (1000, 2000, true), (3000, 1000, false)]);
}

#[test]
fn after_lost_frames_the_next_key_frame_begins() {
    let cuts = Bench::with_av()
        .feed(av(0, 500, 10))
        .skipped()
        .feed([sound(3905), picture(3900)])
        .feed(av(4000, 5000, 10))
        .finish();
    assert_eq!(cuts, [(0, 500, false), (4000, 1000, true)]);
    let nothing_lost = Bench::with_av().skipped().feed(av(0, 500, 10)).finish();
    assert_eq!(nothing_lost, [(0, 500, false)], "nothing was there to be continued");
}

#[test]
fn a_hole_in_the_timeline_is_no_part_of_a_segment() {
    let cuts = Bench::with_av()
        .feed(av(0, 500, 10))
        .feed([picture(3_600_000)])
        .feed(av(3_600_100, 3_601_100, 10))
        .finish();
    assert_eq!(cuts, [(0, 500, false), (3_600_100, 1000, true)]);
}

#[test]
fn other_tracks_are_passed_over() {
    let second = |frame: Frame| Frame { track: Track::Video(1), ..frame };
    let cuts = Bench::with_av()
        .feed([second(avcc(AVCC_2)), second(key(0))])
        .feed(av(100, 2100, 10))
        .finish();
    assert_eq!(cuts, [(100, 2000, false)]);
}

#[test]
fn a_damaged_key_frame_begins_no_segment() {
    let mut bench = Bench::with_av().feed([
        picture_of(0, true, &[0, 0, 0, 9, 0x65]),
        picture(100),
        key(1000),
        picture_of(1100, false, &[]),
        picture(1200),
    ]);
    assert_eq!(bench.segmenter.dropped(), Some(Dropped { frames: 2, last: Damage::Empty }));
    bench.cuts.extend(bench.segmenter.finish());
    assert_eq!((bench.cuts.len(), bench.cuts[0].program_date_time.as_secs()), (1, 1));
}

#[test]
fn what_comes_before_its_configuration_is_dropped() {
    let mut segmenter = new();
    assert_eq!(segmenter.push(&sound(0), Duration::ZERO), None);
    assert_eq!(segmenter.dropped().unwrap().last, Damage::NoAudioConfig(AudioCodec::Aac));
    assert_eq!(segmenter.push(&key(0), Duration::ZERO), None);
    assert_eq!(segmenter.dropped().unwrap().last, Damage::NoVideoConfig(VideoCodec::Avc));
    assert_eq!(segmenter.finish(), None);
}

fn other_sound(millis: i64, codec: AudioCodec) -> Frame {
    frame(Track::Audio(0), millis, Content::Audio(codec), &[0xD5; 160])
}

fn other_picture(millis: i64, codec: VideoCodec) -> Frame {
    let content = Content::Video { codec, key: true, composition: 0 };
    frame(Track::Video(0), millis, content, &[0x0A; 100])
}

/// What an encoder sends now and then that is of no track: each alone once ended HLS.
fn oddities(millis: i64) -> Vec<Frame> {
    let junk = |content| frame(Track::Audio(0), millis, content, &[0, 0, 0]);
    vec![
        junk(Content::Audio(AudioCodec::Legacy(7))),
        junk(Content::Audio(AudioCodec::Legacy(15))),
        other_picture(millis, VideoCodec::Legacy(2)),
        asc(&[0xF9, 0x46, 0x40]),
        junk(Content::AudioConfig(AudioCodec::Opus)),
        mp3(millis),
        other_picture(millis, VideoCodec::Hevc),
        frame(Track::Video(0), millis, Content::VideoConfig(VideoCodec::Av1), &[0x81, 0, 0]),
        other_picture(millis, VideoCodec::Av1),
    ]
}

#[test]
fn single_strangers_are_dropped_and_counted() {
    for odd in 0..oddities(0).len() {
        let mut frames = av(0, 8000, 10);
        let stranger = oddities(1500).remove(odd);
        frames.insert(33, stranger.clone());
        if stranger.is_picture() || matches!(stranger.content, Content::Audio(_)) {
            // As often as it likes, but alone.
            frames.insert(50, stranger.clone());
        }
        let bench = Bench::with_av().feed(frames);
        assert_eq!(bench.segmenter.left_out(), Some(LeftOut::default()), "{stranger:?}");
        let is_frame =
            !matches!(stranger.content, Content::VideoConfig(_) | Content::AudioConfig(_));
        let dropped = bench.segmenter.dropped().map_or(0, |dropped| dropped.frames);
        assert_eq!(dropped, if is_frame { 2 } else { 0 }, "{stranger:?}");
        let cuts = bench.finish();
        let expected = [0, 2000, 4000, 6000].map(|at| (at, 2000, false));
        assert_eq!(cuts, expected, "{stranger:?}");
    }
}

#[test]
fn a_camera_that_begins_with_another_codec_is_not_complained_of() {
    let pcma = (0..25).map(|at| other_sound(at * 20, AudioCodec::Legacy(7)));
    let mut bench = Bench::new();
    for frame in [avcc(AVCC), key(0)].into_iter().chain(pcma).chain([asc(ASC), sound(505)]) {
        bench = bench.feed([frame]);
        assert_eq!(bench.segmenter.left_out(), None);
    }
    let bench = bench.feed(av(1000, 3000, 10));
    assert_eq!(bench.segmenter.left_out(), Some(LeftOut::default()));
    assert!(bench.segmenter.tracks.audio.is_some(), "the sound has joined the first segment");
    assert_eq!(bench.finish(), [(0, 2000, false), (2000, 1000, false)]);
}

#[test]
fn pictures_go_on_without_sound_that_cannot_be_carried() {
    for codec in
        [0, 1, 3, 5, 6, 7, 8, 11, 15].map(AudioCodec::Legacy).into_iter().chain([AudioCodec::Opus])
    {
        let sounds = |from: i64, to: i64| {
            let pictures = av(from, to, 10).into_iter().filter(Frame::is_picture);
            pictures.flat_map(move |picture| {
                let at = picture.dts.as_millis();
                [picture, other_sound(at + 5, codec)]
            })
        };
        let bench = Bench::new().feed([avcc(AVCC)]).feed(sounds(0, 4000));
        let why = Some(Unsupported::Audio(codec));
        let left_out = LeftOut { pictures: None, sound: why, everything: false };
        assert_eq!(bench.segmenter.left_out(), Some(left_out));
        let bench = bench.feed([asc(ASC)]).feed(av(4000, 6000, 10));
        assert_eq!(bench.segmenter.left_out(), Some(LeftOut::default()), "sound comes back");
        let start = [(0, 2000, false), (2000, 2000, false), (4000, 1000, false)];
        let expected = [&start[..], &[(5000, 1000, true)]].concat();
        assert_eq!(bench.finish(), expected, "{codec}: with the key frame after its first packet");
        // In the middle of a stream that had good sound.
        let cuts = Bench::with_av().feed(av(0, 2000, 10)).feed(sounds(2000, 5000)).finish();
        assert_eq!(cuts, [(0, 2000, false), (2000, 1000, false), (3000, 2000, true)], "{codec}");
    }
}

#[test]
fn sound_goes_on_without_pictures_that_cannot_be_carried() {
    for codec in [VideoCodec::Av1, VideoCodec::Vp9, VideoCodec::Legacy(2)] {
        let frames = |from: i64, to: i64| {
            (from / 100..to / 100)
                .flat_map(move |at| [other_picture(at * 100, codec), sound(at * 100)])
        };
        let bench = Bench::new().feed([asc(ASC)]).feed(frames(0, 3000));
        let why = Some(Unsupported::Video(codec));
        let left_out = LeftOut { pictures: why, sound: None, everything: false };
        assert_eq!(bench.segmenter.left_out(), Some(left_out));
        assert_eq!(bench.finish(), [(0, 2000, false), (2000, 1000, false)]);
        let cuts = Bench::with_av().feed(av(0, 2000, 10)).feed(frames(2000, 6000)).finish();
        assert_eq!(cuts[0], (0, 2000, false));
        assert!(cuts[1].2 && cuts.len() > 2, "sound alone, behind a discontinuity: {cuts:?}");
    }
}

#[test]
fn when_nothing_remains_it_is_said_which_codecs() {
    let said = |frames: Vec<Frame>| {
        let mut segmenter = new();
        for frame in frames {
            assert_eq!(segmenter.push(&frame, Duration::ZERO), None);
        }
        segmenter.left_out().map(|left_out| (left_out.everything, left_out.to_string()))
    };
    let av1: Vec<_> = (0..20).map(|at| other_picture(at * 100, VideoCodec::Av1)).collect();
    assert_eq!(said(av1[..10].to_vec()), None, "there may be sound yet");
    let refusal = |text: &str| Some((true, text.to_owned()));
    assert_eq!(said(av1), refusal("MPEG-TS segments cannot carry AV1"));
    let flac = frame(Track::Audio(0), 0, Content::AudioConfig(AudioCodec::Flac), b"?");
    let vp9 = frame(Track::Video(0), 0, Content::VideoConfig(VideoCodec::Vp9), b"?");
    let both = "MPEG-TS segments cannot carry VP9; MPEG-TS segments cannot carry FLAC";
    assert_eq!(said(vec![flac, vp9]), refusal(both), "at once");
    let mut no_program: Vec<_> = (0..20).map(|at| sound(at * 100)).collect();
    no_program.insert(0, asc(&[0x12, 0x00]));
    assert_eq!(
        said(no_program),
        refusal("MPEG-TS segments cannot carry AAC with channel configuration 0")
    );
}

#[test]
fn sound_alone_that_turns_foreign_ends_its_segment() {
    let opus = (10..30).map(|at| other_sound(at * 100, AudioCodec::Opus));
    let mut bench =
        Bench::new().feed([asc(ASC)]).feed((0..10).map(|at| sound(at * 100))).feed(opus);
    assert_eq!(bench.cuts.len(), 1, "what there was is handed out");
    assert!(bench.segmenter.left_out().unwrap().everything);
    bench = bench.feed((30..60).map(|at| sound(at * 100)));
    assert_eq!(bench.segmenter.left_out(), Some(LeftOut::default()));
    assert_eq!(bench.finish().len(), 3, "and it goes on when the sound comes back");
}

/// A message with these NAL units, each after its length.
fn units(millis: i64, key: bool, nals: &[&[u8]]) -> Frame {
    let unit = nals
        .iter()
        .flat_map(|nal| [&[0, 0, 0, u8::try_from(nal.len()).unwrap()][..], nal].concat());
    picture_of(millis, key, &unit.collect::<Vec<_>>())
}

const SPS_LARGE: &[u8] = &[0x67, 9];
const SPS_SMALL: &[u8] = &[0x67, 1];
const PPS: &[u8] = &[0x68, 1];
const IDR: &[u8] = &[0x65, 0x88];

/// The first part of a picture begins with a bit that is set.
const IDR_REST: &[u8] = &[0x65, 0x40];
const REST: &[u8] = &[0x41, 0x40];

#[test]
fn parts_of_a_picture_in_messages_of_their_own_are_one_access_unit() {
    let whole = |from: i64| {
        let picture = |at: i64| units(at, false, &[&[0x41, 0x9A], REST, REST]);
        let pictures = (from + 100..from + 1000).step_by(100).map(picture);
        [units(from, true, &[IDR, IDR_REST, IDR_REST])].into_iter().chain(pictures)
    };
    let parts = |from: i64| {
        whole(from).flat_map(|picture| {
            let (at, key) = (picture.dts.as_millis(), picture.is_key());
            let nals: [&[u8]; 3] =
                if key { [IDR, IDR_REST, IDR_REST] } else { [&[0x41, 0x9A], REST, REST] };
            nals.map(|nal| units(at, key, &[nal]))
        })
    };
    let bench = Bench::with_av().feed((0..4).flat_map(|at| parts(at * 1000)));
    let expected = Bench::with_av().feed((0..4).flat_map(|at| whole(at * 1000)));
    let pictures = |bench: &Bench| -> Vec<usize> {
        let starts = |cut: &Segment| {
            let packets = cut.data.chunks(188);
            packets.filter(|packet| packet[1..3] == [0x41, 0]).count()
        };
        bench.cuts.iter().map(starts).collect()
    };
    assert_eq!(pictures(&bench), pictures(&expected), "PES packets");
    assert_eq!(bench.finish(), expected.finish());
}

#[test]
fn a_message_without_a_picture_begins_nothing_and_is_none() {
    for alone in [&[SPS_SMALL, PPS][..], &[&[6, 5, 1]], &[SPS_SMALL]] {
        let cuts = Bench::with_av()
            .feed([units(0, true, alone), picture(10), sound(20)])
            .feed(av(100, 2100, 10))
            .feed([units(2100, true, alone)])
            .feed(av(2100, 3100, 10))
            .finish();
        assert_eq!(cuts, [(100, 2000, false), (2100, 1000, false)], "{alone:?}");
    }
    let only = (0..100).flat_map(|at| [units(at * 100, true, &[&[6, 5, 1]]), sound(at * 100)]);
    let cuts = Bench::with_av().feed(only).finish();
    assert_eq!(cuts[0].0, 4000, "it does not hold the sound back: {cuts:?}");
}

#[test]
fn other_sets_in_the_stream_are_a_discontinuity() {
    let gop = |from: i64, sets: &[&[u8]]| {
        let mut frames = av(from, from + 1000, 10);
        frames[0] = units(from, true, &[sets, &[IDR]].concat());
        frames
    };
    let same = [SPS_SMALL, PPS];
    let cuts = Bench::with_av().feed((0..4).flat_map(|at| gop(at * 1000, &same))).finish();
    assert_eq!(cuts, [(0, 2000, false), (2000, 2000, false)]);
    let large = [SPS_LARGE, PPS];
    let cuts = Bench::with_av()
        .feed(gop(0, &same))
        .feed((1..5).flat_map(|at| gop(at * 1000, &large)))
        .feed([avcc(AVCC)])
        .feed(gop(5000, &[]))
        .finish();
    assert_eq!(
        cuts,
        [(0, 1000, false), (1000, 2000, true), (3000, 2000, false), (5000, 1000, false)]
    );
    let ahead = Bench::with_av()
        .feed(gop(0, &same))
        .feed([units(1000, true, &[SPS_LARGE]), units(1000, true, &[PPS])])
        .feed((1..3).flat_map(|at| gop(at * 1000, &[])));
    assert_eq!(ahead.finish(), [(0, 1000, false), (1000, 2000, true)], "in messages of their own");
}

#[test]
fn records_that_differ_in_nothing_that_counts_change_nothing() {
    let odd = [&[0, 0x64, 0, 31, 0x03, 0x01][..], &AVCC[6..], &[0xFD, 0xF8, 0xF8, 0]].concat();
    let mut frames = av(0, 4000, 10);
    for (at, record) in [(10, &odd[..]), (30, AVCC), (50, &odd), (60, &AVCC[..9]), (70, &[1])] {
        frames.insert(at, avcc(record));
    }
    let cuts = Bench::with_av().feed(frames).finish();
    assert_eq!(cuts, [(0, 2000, false), (2000, 2000, false)]);
}

#[test]
fn a_key_frame_that_is_not_marked_as_one_is_found() {
    let mut frames = av(0, 4000, 100);
    frames[40] = units(2000, false, &[IDR]);
    let cuts = Bench::with_av().feed(frames).finish();
    assert_eq!(cuts, [(0, 2000, false), (2000, 2000, false)]);
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let payload = prop_oneof![
        Just(AVCC.to_vec()),
        Just(AVCC_2.to_vec()),
        Just(ASC.to_vec()),
        Just(vec![0, 0, 0, 2, 0x65, 0x88]),
        proptest::collection::vec(any::<u8>(), 0..300),
    ];
    let video = prop_oneof![9 => Just(VideoCodec::Avc), 3 => Just(VideoCodec::Hevc), 1 => Just(VideoCodec::Av1)];
    let audio = prop_oneof![9 => Just(AudioCodec::Aac), 3 => Just(AudioCodec::Mp3), 1 => Just(AudioCodec::Opus)];
    let content = prop_oneof![
        1 => video.clone().prop_map(Content::VideoConfig),
        6 => (video, any::<bool>(), -5000..5000).prop_map(|(codec, key, composition)| Content::Video {
            codec,
            key,
            composition
        }),
        1 => audio.clone().prop_map(Content::AudioConfig),
        6 => audio.prop_map(Content::Audio),
    ];
    let dts = prop_oneof![9 => 0_i64..20_000, 1 => -(1_i64 << 45)..1_i64 << 45];
    (content, payload, dts, 0_u32..3).prop_map(|(content, payload, dts, epoch)| {
        let track = match content {
            Content::VideoConfig(_) | Content::Video { .. } => Track::Video(0),
            _ => Track::Audio(0),
        };
        Frame { epoch, ..frame(track, dts, content, &payload) }
    })
}

proptest! {
    #[test]
    fn any_frames_make_whole_packets_and_no_panic(frames in proptest::collection::vec(any_frame(), 0..80)) {
        let mut segmenter = new();
        let mut cuts = Vec::new();
        for frame in &frames {
            cuts.extend(segmenter.push(frame, Duration::ZERO));
        }
        cuts.extend(segmenter.finish());
        for cut in cuts {
            prop_assert!(cut.data.len() % 188 == 0 && cut.data.len() > 2 * 188);
            prop_assert!(cut.duration > Duration::ZERO);
            prop_assert!(cut.duration <= SEGMENT_DURATION_MAX + HOLE_MAX);
        }
    }
}
