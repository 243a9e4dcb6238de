//! What the standard asks of a transport stream, with frames that no file at hand has.

use std::time::Duration;

use crate::{
    reader::{Demuxer, ORIGIN, Pes, nal_units},
    segmenter, segments,
};
use bytes::Bytes;
use proptest::prelude::*;
use weir_hls::{Damage, Segment};
use weir_media::{AudioCodec, Content, Frame, Timestamp, Track, VideoCodec};

const AVCC: &[u8] = &[1, 0x64, 0, 31, 0xFF, 0xE1, 0, 2, 0x67, 1, 1, 0, 2, 0x68, 1];
const VIDEO: u16 = 0x100;
const AUDIO: u16 = 0x101;

fn frame(track: Track, millis: i64, content: Content, payload: &[u8]) -> Frame {
    let payload = Bytes::copy_from_slice(payload);
    let dts = Timestamp::from_millis(millis);
    Frame { track, dts, epoch: 0, content, stray: false, body: payload.clone(), payload }
}

fn avcc() -> Frame {
    frame(Track::Video(0), 0, Content::VideoConfig(VideoCodec::Avc), AVCC)
}

fn key(millis: i64, composition: i32) -> Frame {
    let content = Content::Video { codec: VideoCodec::Avc, key: true, composition };
    frame(Track::Video(0), millis, content, &[0, 0, 0, 2, 0x65, 0x88])
}

fn sound(millis: i64, codec: AudioCodec, len: usize) -> Frame {
    let mut packet = vec![0xFF; len];
    packet[1] = 0xFB;
    frame(Track::Audio(0), millis, Content::Audio(codec), &packet)
}

fn segment(frames: impl IntoIterator<Item = Frame>) -> Vec<Segment> {
    let mut segmenter = segmenter();
    let mut cuts = Vec::new();
    for frame in frames {
        cuts.extend(segments(segmenter.push(&frame, Duration::ZERO)));
    }
    cuts.extend(segments(segmenter.finish()));
    cuts
}

fn read(cuts: &[Segment]) -> (Demuxer, Vec<Pes>) {
    let mut demuxer = Demuxer::default();
    let pes = cuts.iter().flat_map(|cut| demuxer.segment(&cut.data)).collect();
    (demuxer, pes)
}

#[test]
fn times_wrap_at_33_bits() {
    // 26.5 hours: the wrap comes in the middle.
    let start = (1 << 33) / 90 - 3000 - 2000;
    let frames = (0..40).map(|at| key(start + at * 100, 40));
    let (demuxer, pes) = read(&segment([avcc()].into_iter().chain(frames)));
    for (at, pes) in (0..).zip(&pes) {
        let dts = (start + at * 100) * 90 + ORIGIN;
        let wrapped = (dts % (1 << 33), (dts + 40 * 90) % (1 << 33));
        assert_eq!((pes.dts, pes.pts), wrapped, "picture {at}");
    }
    assert!(pes.first().unwrap().dts > pes.last().unwrap().dts, "it did wrap");
    assert!(demuxer.longest_clock_gap() <= 100);
}

#[test]
fn the_clock_is_behind_decoding_and_never_rests() {
    let slides = (0..4).map(|at| key(at * 1000, 0));
    let (demuxer, pes) = read(&segment([avcc()].into_iter().chain(slides)));
    assert_eq!(pes.len(), 4, "a picture a second, no sound");
    assert_eq!(
        demuxer.clocks[0] / 300,
        2300 * 90,
        "0.7 s before the first picture, which is at 3 s"
    );
    assert!(demuxer.longest_clock_gap() <= 100);
}

#[test]
fn sound_between_distant_pictures_does_not_hold_the_clock() {
    let sounds = (0..50).map(|at| sound(at * 24 + 1, AudioCodec::Mp3, 300));
    let frames = [avcc(), key(0, 0)].into_iter().chain(sounds).chain([key(1200, 0), key(2400, 0)]);
    let (demuxer, _) = read(&segment(frames));
    assert_eq!(demuxer.pcr_pid, VIDEO);
    assert!(demuxer.longest_clock_gap() <= 100);
}

#[test]
fn a_picture_due_before_its_decoding_is_decoded_earlier() {
    let (_, pes) = read(&segment([avcc(), key(0, -30), key(100, -30)]));
    let stamps: Vec<_> = pes.iter().map(|pes| (pes.pts - ORIGIN, pes.dts - ORIGIN)).collect();
    assert_eq!(stamps, [(-2700, -2700), (6300, 6300)]);
}

/// Pictures each 40 ms from the number `first` on, in groups of 20: a key frame, then groups of four that are shown in
/// the order 4, 2, 1, 3. `delay`: how many pictures decoding is ahead of showing.
fn reordered(first: i64, count: i64, delay: i64) -> impl Iterator<Item = Frame> {
    (0..count).map(move |at| {
        let shown = match at % 20 {
            0 => at,
            place => at + [3, 0, -2, -1][usize::try_from((place - 1) % 4).expect("small numbers")],
        };
        let composition = i32::try_from((shown - at + delay) * 40).expect("small numbers");
        picture((first + at) * 40, at % 20 == 0, composition)
    })
}

fn picture(millis: i64, key: bool, composition: i32) -> Frame {
    let content = Content::Video { codec: VideoCodec::Avc, key, composition };
    let unit: &[u8] = if key { &[0, 0, 0, 2, 0x65, 0x88] } else { &[0, 0, 0, 2, 0x41, 0x9A] };
    frame(Track::Video(0), millis, content, unit)
}

/// Requires of the pictures what players need, and that they are shown when their encoder says. Returns how much
/// earlier than it says they are decoded.
#[track_caller]
fn check_times(demuxer: &Demuxer, pes: &[Pes], source: &[Frame]) -> Vec<i64> {
    let pictures: Vec<_> = pes.iter().filter(|pes| pes.pid == VIDEO).collect();
    assert_eq!(pictures.len(), source.len());
    assert!(pictures.windows(2).all(|pair| pair[0].dts < pair[1].dts), "decoding times grow");
    assert!(pictures.iter().all(|pes| pes.dts <= pes.pts), "nothing is shown before it is decoded");
    let shown: Vec<_> = pictures.iter().map(|pes| pes.pts - ORIGIN).collect();
    let said: Vec<_> = source.iter().map(|frame| frame.pts().as_millis() * 90).collect();
    assert_eq!(shown, said);
    assert!(demuxer.longest_clock_gap() <= 100);
    let decoded = |frame: &Frame| frame.dts.as_millis() * 90 + ORIGIN;
    source.iter().zip(pictures).map(|(frame, pes)| decoded(frame) - pes.dts).collect()
}

#[test]
fn an_encoder_that_does_not_delay_its_decoding_times_is_decoded_earlier_as_a_whole() {
    // The clocks begin at different turns of the 33 bits.
    for first in [0, ((1 << 33) / 90 - 5000) / 40, 3 * (1 << 33) / 90 / 40] {
        let source: Vec<_> = reordered(first, 150, 0).collect();
        let sounds = (0..250).map(|at| sound(first * 40 + at * 24, AudioCodec::Mp3, 300));
        let mut frames: Vec<_> = source.iter().cloned().chain(sounds).collect();
        frames.sort_by_key(|frame| frame.dts);
        let cuts = segment([avcc()].into_iter().chain(frames));
        assert_eq!(cuts.len(), 3);
        let (demuxer, mut pes) = read(&cuts);
        let wrapped = (ORIGIN + first * 40 * 90) >> 33 << 33;
        for pes in &mut pes {
            // Times of the test count on where those of the stream wrap.
            let early = (first * 40 * 90 + ORIGIN - wrapped) - pes.pts > 1 << 32;
            let turn = wrapped + if early { 1 << 33 } else { 0 };
            (pes.pts, pes.dts) =
                (pes.pts + turn, pes.dts + turn - if pes.dts > pes.pts { 1 << 33 } else { 0 });
        }
        let leads = check_times(&demuxer, &pes, &source);
        assert!(leads.iter().all(|lead| *lead == 80 * 90), "{leads:?}");
        let clock = i64::try_from(demuxer.clocks[0] / 300).unwrap();
        let (first, behind) = (&pes[0], 700 * 90);
        assert_eq!(clock, (first.dts - behind).rem_euclid(1 << 33), "the clock is as early");
    }
}

#[test]
fn what_is_decoded_as_its_encoder_says_stays() {
    let source: Vec<_> = reordered(0, 150, 2).collect();
    let (demuxer, pes) = read(&segment([avcc()].into_iter().chain(source.clone())));
    assert_eq!(check_times(&demuxer, &pes, &source), [0; 150]);
}

#[test]
fn deeper_reordering_later_on_moves_what_is_left() {
    let source: Vec<_> =
        (0..60).map(|at| picture(at * 40, at % 20 == 0, 0)).chain(reordered(60, 150, 0)).collect();
    let (demuxer, pes) = read(&segment([avcc()].into_iter().chain(source.clone())));
    let leads = check_times(&demuxer, &pes, &source);
    assert!(leads[..60].iter().all(|lead| *lead == 0), "{leads:?}");
    assert!(leads[70..].iter().all(|lead| *lead == 80 * 90), "{leads:?}");
}

#[test]
fn a_composition_that_no_encoder_can_mean_counts_as_none() {
    for nonsense in [0x7F_FFFF, -0x80_0000, 10_001, -2001, i32::MIN, i32::MAX] {
        let all = (0..60).map(|at| picture(at * 40, at % 20 == 0, nonsense));
        let one =
            (0..60).map(|at| picture(at * 40, at % 20 == 0, if at == 7 { nonsense } else { 0 }));
        for source in [all.collect::<Vec<_>>(), one.collect()] {
            let (demuxer, pes) = read(&segment([avcc()].into_iter().chain(source)));
            let plain: Vec<_> = (0..60).map(|at| picture(at * 40, at % 20 == 0, 0)).collect();
            assert_eq!(check_times(&demuxer, &pes, &plain), [0; 60], "{nonsense}");
        }
    }
    // What slide shows and deep reordering make of it is taken as it is.
    let source: Vec<_> = (0..60).map(|at| picture(at * 40, at % 20 == 0, 10_000)).collect();
    let (demuxer, pes) = read(&segment([avcc()].into_iter().chain(source.clone())));
    check_times(&demuxer, &pes, &source);
}

#[test]
fn pictures_of_one_time_are_a_tick_apart() {
    let source = (0..90).map(|at| picture(at / 3 * 120, at % 30 == 0, 0));
    let (_, pes) = read(&segment([avcc()].into_iter().chain(source)));
    let times: Vec<_> = pes.iter().map(|pes| (pes.dts - ORIGIN, pes.pts - ORIGIN)).collect();
    let expected: Vec<_> =
        (0..90).map(|at| at / 3 * 120 * 90 + at % 3).map(|at| (at, at)).collect();
    assert_eq!(times, expected);
}

#[test]
fn counters_go_on_and_the_tables_tell_when_tracks_change() {
    let alone = (0..25).map(|at| sound(at * 100, AudioCodec::Mp3, 300));
    let both = (25..60).flat_map(|at| [key(at * 100, 0), sound(at * 100, AudioCodec::Mp3, 300)]);
    let cuts = segment(alone.chain([avcc()]).chain(both));
    let mut demuxer = Demuxer::default();
    let mut seen = Vec::new();
    for cut in &cuts {
        demuxer.segment(&cut.data);
        seen.push((cut.discontinuity, demuxer.pmt_version, demuxer.pcr_pid, demuxer.jumps));
    }
    let (alone, both) = ((false, 0, AUDIO, 0), (false, 1, VIDEO, 1));
    assert_eq!(seen, [alone, alone, (true, 1, VIDEO, 1), both]);
}

#[test]
fn dolby_is_named_as_atsc_and_apple_do() {
    for (codec, stream_type) in [(AudioCodec::Ac3, 0x81), (AudioCodec::Eac3, 0x87)] {
        let cuts = segment((0..10).map(|at| sound(at * 32, codec, 400)));
        let (demuxer, pes) = read(&cuts);
        assert_eq!(demuxer.streams, [(stream_type, AUDIO)]);
        assert_eq!(pes.len(), 10);
        let packet = &cuts[0].data[188..376];
        let name: &[u8] = if codec == AudioCodec::Ac3 { b"AC-3" } else { b"EAC3" };
        assert!(packet.windows(4).any(|window| window == name), "a registration descriptor");
    }
}

#[test]
fn low_sampling_frequencies_of_mp3_have_their_own_type() {
    let mpeg2 = frame(Track::Audio(0), 0, Content::Audio(AudioCodec::Mp3), &[0xFF, 0xF3, 0x90, 0]);
    let (demuxer, _) = read(&segment([mpeg2]));
    assert_eq!(demuxer.streams, [(0x04, AUDIO)]);
}

#[test]
fn packets_of_every_size_are_whole() {
    // Around the ends of one and two TS packets, where stuffing is most easily wrong.
    let cuts =
        segment((1..400).map(|len| sound(i64::try_from(len).unwrap(), AudioCodec::Mp3, len + 1)));
    let (_, pes) = read(&cuts);
    let lengths: Vec<_> = pes.iter().map(|pes| pes.data.len()).collect();
    assert_eq!(lengths, (2..401).collect::<Vec<_>>());
}

#[test]
fn sound_longer_than_a_pes_packet_is_dropped() {
    let mut segmenter = segmenter();
    for len in [65_522, 65_523] {
        segmenter.push(&sound(0, AudioCodec::Mp3, len), Duration::ZERO);
    }
    let damage = Damage::AudioTooLong { len: 65_523, max: 65_522 };
    assert_eq!(
        segmenter.dropped().map(|dropped| (dropped.frames, dropped.last)),
        Some((1, damage))
    );
    let (_, pes) = read(&segments(segmenter.finish()).collect::<Vec<_>>());
    assert_eq!(pes[0].data.len(), 65_522);
}

proptest! {
    #[test]
    fn decoding_times_grow_and_come_before_presentation(
        pictures in proptest::collection::vec((0_i64..300, -2500_i32..2500, any::<bool>()), 1..200),
    ) {
        let mut now = 0;
        let frames: Vec<_> = pictures
            .iter()
            .map(|&(step, composition, is_key)| {
                now += step;
                picture(now, is_key, composition)
            })
            .collect();
        let (demuxer, pes) = read(&segment([avcc()].into_iter().chain(frames)));
        prop_assert!(pes.windows(2).all(|pair| pair[0].dts < pair[1].dts));
        prop_assert!(pes.iter().all(|pes| pes.dts <= pes.pts));
        demuxer.longest_clock_gap();
    }

    #[test]
    fn everything_after_the_first_key_frame_comes_out_in_order(
        sizes in proptest::collection::vec((1_usize..2000, 1_i64..300, any::<bool>(), any::<bool>()), 1..120),
    ) {
        let mut now = 0;
        let frames: Vec<_> = sizes
            .iter()
            .map(|&(len, step, is_picture, is_key)| {
                now += step;
                if !is_picture {
                    return sound(now, AudioCodec::Mp3, len + 1);
                }
                let payload = [&u32::try_from(len).unwrap().to_be_bytes()[..], &vec![0x41; len]].concat();
                let content = Content::Video { codec: VideoCodec::Avc, key: is_key, composition: 0 };
                frame(Track::Video(0), now, content, &payload)
            })
            .collect();
        // Two target lengths without a picture let the sound go first, which is another test's matter.
        let first = frames.iter().position(Frame::is_key);
        prop_assume!(first.is_some_and(|at| frames[at].dts.as_millis() < 4000));
        let expected: Vec<_> = frames.iter().skip(first.unwrap()).map(|f| (f.is_picture(), data(f))).collect();
        let (_, pes) = read(&segment([avcc()].into_iter().chain(frames)));
        let out: Vec<_> = pes.iter().map(|pes| (pes.pid == VIDEO, units(pes))).collect();
        prop_assert_eq!(out, expected);
    }
}

/// A frame's bytes without the lengths in them.
fn data(frame: &Frame) -> Vec<u8> {
    if frame.is_picture() { frame.payload[4..].to_vec() } else { frame.payload.to_vec() }
}

/// The same of what came out: without start codes and what was put before the first NAL unit.
fn units(pes: &Pes) -> Vec<u8> {
    match nal_units(&pes.data).last() {
        Some(unit) if pes.pid == VIDEO => unit.to_vec(),
        _ => pes.data.clone(),
    }
}
