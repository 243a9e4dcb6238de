use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use weir_media::Timestamp;
use weir_testkit::{
    fixture::Fixture,
    packets::{Extent, Form, Kind, Media, continuation, frame_of, read, tags_of},
};

use super::*;
use crate::Unsupported;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Times are milliseconds in FLV; sound in MPEG-TS and in files of its own has those of its sampling rate.
const TOLERANCE: Duration = Duration::from_millis(2);

fn frames(fixture: Fixture) -> Vec<Frame> {
    tags_of(&fixture.file()).iter().map(frame_of).collect()
}

fn expected(fixture: Fixture) -> Expected {
    Expected { pictures: fixture.has_video(), sound: fixture.has_audio() }
}

/// The pieces of a file that is flushed after every so many frames.
fn pieces(form: EndlessForm, fixture: Fixture, frames: &[Frame], flush: usize) -> Vec<Piece> {
    let mut file = Endless::new(form, expected(fixture));
    let (mut pieces, mut has_begun) = (Vec::new(), false);
    for (at, frame) in frames.iter().enumerate() {
        let is_sound = matches!(frame.content, Content::Audio(_));
        let starts = !fixture.has_video() && is_sound && !mem::replace(&mut has_begun, true);
        file.push(frame, starts);
        if at % flush == 0 {
            pieces.extend(file.take());
        }
    }
    pieces.extend(file.finish());
    assert_eq!(file.ended(), None);
    pieces
}

/// What somebody gets who starts with the piece at `from`.
fn played(pieces: &[Piece], from: usize) -> Vec<u8> {
    let start = pieces[from].start.as_ref().expect("a place to start at");
    let data = pieces[from..].iter().flat_map(|piece| piece.data.clone());
    start.first.iter().copied().chain(data).collect()
}

fn starts(pieces: &[Piece]) -> Vec<usize> {
    (0..pieces.len()).filter(|at| pieces[*at].start.is_some()).collect()
}

fn read_file(fixture: Fixture, bytes: &[u8], extension: &str) -> Media {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join(format!("played.{extension}"));
    fs::write(&file, bytes).expect("it can be written");
    read_path(fixture, &file)
}

fn read_path(fixture: Fixture, file: &Path) -> Media {
    read(fixture.ffmpeg(), &file.display().to_string(), Form::Elementary(fixture), TIMEOUT)
}

/// Requires that everything comes out that was published, from the beginning and from a later start.
#[track_caller]
fn check(form: EndlessForm, fixture: Fixture, flush: usize, extension: &str) {
    let frames = frames(fixture);
    let pieces = pieces(form, fixture, &frames, flush);
    let starts = starts(&pieces);
    assert_eq!(starts.first(), Some(&0), "{fixture:?} as {form:?}");
    let mut source = read_path(fixture, &fixture.file());
    source.streams.retain(|stream| form.has_pictures() || stream.kind == Kind::Audio);
    for from in [starts[0], starts[starts.len() / 2]] {
        let media = read_file(fixture, &played(&pieces, from), extension);
        if let Err(why) = continuation(&source, &media, Extent::ToEnd, TOLERANCE) {
            panic!("{fixture:?} as {form:?}, from piece {from}: {why}");
        }
    }
}

#[test]
fn a_transport_stream_has_what_was_published() {
    check(EndlessForm::Ts, Fixture::AvcBFramesAac, 1, "ts");
    check(EndlessForm::Ts, Fixture::AvcMp3, 7, "ts");
    check(EndlessForm::Ts, Fixture::VideoOnly, 3, "ts");
    check(EndlessForm::Ts, Fixture::AudioOnly, 5, "ts");
}

#[test]
fn an_mp4_has_what_was_published() {
    check(EndlessForm::Mp4, Fixture::AvcBFramesAac, 1, "mp4");
    check(EndlessForm::Mp4, Fixture::AvcMp3, 7, "mp4");
    check(EndlessForm::Mp4, Fixture::VideoOnly, 3, "mp4");
    check(EndlessForm::Mp4, Fixture::AudioOnly, 5, "mp4");
}

#[test]
fn sound_alone_is_what_was_published() {
    check(EndlessForm::Aac, Fixture::AvcAac, 4, "aac");
    check(EndlessForm::Mp3, Fixture::AvcMp3, 4, "mp3");
}

/// The packets of a transport stream: their PID, counter, whether they have payload, and whether they say that they do
/// not go on.
fn packets(bytes: &[u8]) -> Vec<(u16, u8, bool, bool)> {
    let (packets, rest) = bytes.as_chunks::<188>();
    assert!(rest.is_empty());
    let packet = |packet: &[u8; 188]| {
        assert_eq!(packet[0], 0x47);
        let pid = u16::from_be_bytes([packet[1] & 0x1F, packet[2]]);
        let jumps = packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x80 != 0;
        (pid, packet[3] & 0x0F, packet[3] & 0x10 != 0, jumps)
    };
    packets.iter().map(packet).collect()
}

/// Requires that counters go on, wherever the stream does not say that they do not.
#[track_caller]
fn check_counters(bytes: &[u8]) {
    let mut counters = std::collections::HashMap::new();
    for (at, (pid, counter, has_payload, jumps)) in packets(bytes).into_iter().enumerate() {
        let before = counters.insert(pid, counter);
        let next = before.map(|before: u8| before.wrapping_add(u8::from(has_payload)) & 0x0F);
        assert!(jumps || next.is_none_or(|next| next == counter), "packet {at} of PID {pid:#x}");
    }
}

#[test]
fn counters_go_on_also_for_one_who_has_missed_something() {
    let pieces = pieces(EndlessForm::Ts, Fixture::AvcAac, &frames(Fixture::AvcAac), 3);
    let starts = starts(&pieces);
    assert!(starts.len() >= 8, "{starts:?}");
    check_counters(&played(&pieces, starts[0]));
    let again = &pieces[starts[5]].start.as_ref().expect("a start").again;
    let before = pieces[..starts[2]].iter().flat_map(|piece| piece.data.clone());
    let bytes: Vec<u8> = before.chain(again.clone()).chain(played(&pieces, starts[5])).collect();
    check_counters(&bytes);
}

#[test]
fn tables_come_at_every_start_and_twice_a_second() {
    let pieces = pieces(EndlessForm::Ts, Fixture::AvcAac, &frames(Fixture::AvcAac), 1);
    let has_tables = |piece: &Piece| packets(&piece.data)[0].0 == 0;
    assert!(pieces.iter().filter(|piece| piece.start.is_some()).all(has_tables));
    let count = pieces.iter().filter(|piece| has_tables(piece)).count();
    assert!((16..=24).contains(&count), "{count} in eight seconds");
}

#[test]
fn a_transport_stream_has_no_room_for_av1() {
    let mut file = Endless::new(EndlessForm::Ts, expected(Fixture::Av1Aac));
    frames(Fixture::Av1Aac).iter().for_each(|frame| file.push(frame, false));
    assert_eq!(file.ended(), Some(Ended::Unsupported(Unsupported::Video(VideoCodec::Av1))));
}

#[test]
fn an_mp4_ends_when_the_codec_changes_and_a_transport_stream_goes_on() {
    let [first, second] = [Fixture::AvcAac, Fixture::HevcAac].map(frames);
    let at = first.last().expect("frames").dts + Duration::from_millis(40);
    let later = |frame: &Frame| {
        let dts = at + Duration::from_millis(frame.dts.as_millis().unsigned_abs());
        Frame { dts, ..frame.clone() }
    };
    let all: Vec<_> = first.iter().cloned().chain(second.iter().map(later)).collect();
    let mut mp4 = Endless::new(EndlessForm::Mp4, expected(Fixture::AvcAac));
    let mut ts = Endless::new(EndlessForm::Ts, expected(Fixture::AvcAac));
    for frame in &all {
        mp4.push(frame, false);
        ts.push(frame, false);
    }
    assert_eq!((mp4.ended(), ts.ended()), (Some(Ended::Changed), None));
    let fixture = Fixture::AvcAac;
    let pieces = mp4.take();
    let media = read_file(fixture, &played(&pieces, 0), "mp4");
    let source = read_path(fixture, &fixture.file());
    continuation(&source, &media, Extent::ToEnd, TOLERANCE).expect("all of what came before");
    assert!(mp4.finish().is_empty(), "nothing comes any more");
    // What the tables say is another thing from the first picture in HEVC on.
    let tables: Vec<u8> = ts.take().iter().flat_map(|piece| piece.data.clone()).collect();
    let (packets, _) = tables.as_chunks::<188>();
    let types: Vec<_> = packets
        .iter()
        .filter(|packet| packet[1] & 0x1F == 0x10 && packet[2] == 0)
        .map(|packet| packet[17])
        .collect();
    assert_eq!((types.first(), types.last()), (Some(&0x1B), Some(&0x24)));
}

#[test]
fn sound_that_is_announced_and_does_not_come_is_waited_for_a_second_in_mp4() {
    let frames = frames(Fixture::VideoOnly);
    let mut file = Endless::new(EndlessForm::Mp4, Expected { pictures: true, sound: true });
    let mut first = None;
    for frame in &frames {
        file.push(frame, false);
        if !file.take().is_empty() {
            first = Some(frame.dts);
            break;
        }
    }
    let waited = first.expect("it begins").saturating_since(Timestamp::ZERO);
    assert!(waited >= crate::cuts::SILENT && waited < crate::cuts::SILENT * 2, "{waited:?}");
}

#[test]
fn after_a_gap_the_file_goes_on_with_the_next_key_frame() {
    let frames = frames(Fixture::AvcAac);
    for form in [EndlessForm::Ts, EndlessForm::Mp4] {
        let mut file = Endless::new(form, expected(Fixture::AvcAac));
        let (first, rest) = frames.split_at(100);
        first.iter().for_each(|frame| file.push(frame, false));
        file.skip();
        let before = file.take().len();
        let (mut waiting, mut has_key) = (0, false);
        for frame in &rest[20..] {
            has_key |= frame.is_key();
            file.push(frame, false);
            let pieces = file.take();
            waiting += usize::from(!has_key && !pieces.is_empty());
        }
        assert!(before > 0 && has_key, "{form:?}");
        assert_eq!(waiting, 0, "{form:?}: nothing without its key frame");
    }
}

/// A frame of any kind and content.
fn any_frame() -> impl Strategy<Value = (Frame, bool)> {
    let video = prop_oneof![Just(VideoCodec::Avc), Just(VideoCodec::Hevc), Just(VideoCodec::Vp9)];
    let audio = prop_oneof![Just(AudioCodec::Aac), Just(AudioCodec::Mp3), Just(AudioCodec::Opus)];
    let content = prop_oneof![
        (video.clone(), any::<bool>(), any::<i16>()).prop_map(|(codec, key, composition)| {
            Content::Video { codec, key, composition: composition.into() }
        }),
        audio.clone().prop_map(Content::Audio),
        video.prop_map(Content::VideoConfig),
        audio.prop_map(Content::AudioConfig),
    ];
    let payload = prop_oneof![
        Just(vec![0, 0, 0, 2, 0x65, 0x80]),
        Just(vec![0, 0, 0, 2, 0x41, 0x80]),
        Just(vec![1, 0x64, 0, 31, 0xFF, 0xE1, 0, 4, 0x67, 0x64, 0, 31, 1, 0, 1, 0x68]),
        Just(vec![0x11, 0x90]),
        Just(vec![0xFF, 0xFB, 0x90, 0, 0, 0, 0]),
        proptest::collection::vec(any::<u8>(), 0..300),
    ];
    let times = prop_oneof![0_i64..2000, any::<i64>()];
    (content, payload, times, 0_u32..3, any::<bool>()).prop_map(
        |(content, payload, dts, epoch, starts)| {
            let is_video = matches!(content, Content::Video { .. } | Content::VideoConfig(_));
            let track = if is_video { Track::Video(0) } else { Track::Audio(0) };
            let (payload, dts) = (Bytes::from(payload), Timestamp::from_millis(dts));
            let body = payload.clone();
            (Frame { track, dts, epoch, content, stray: false, body, payload }, starts)
        },
    )
}

proptest! {
    #[test]
    fn any_frames_come_to_whole_packets_and_boxes(
        frames in proptest::collection::vec(any_frame(), 1..60),
        skip in 0_usize..60,
    ) {
        let expected = Expected { pictures: true, sound: true };
        for form in [EndlessForm::Ts, EndlessForm::Mp4, EndlessForm::Mp3, EndlessForm::Aac] {
            let mut file = Endless::new(form, expected);
            for (at, (frame, starts)) in frames.iter().enumerate() {
                if at == skip {
                    file.skip();
                }
                file.push(frame, *starts);
                for piece in file.take() {
                    prop_assert!(!piece.data.is_empty());
                    match form {
                        EndlessForm::Ts => check_framing(&piece.data),
                        EndlessForm::Mp4 => prop_assert_eq!(&piece.data[4..8], b"moof"),
                        EndlessForm::Mp3 | EndlessForm::Aac => {}
                    }
                }
            }
            file.finish();
        }
    }
}

/// Requires that the bytes are whole packets of a transport stream.
fn check_framing(bytes: &[u8]) {
    assert!(!packets(bytes).is_empty());
}
