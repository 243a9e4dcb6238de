//! What is written, read again by boxes that somebody else wrote; and records of strangers.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

mod common;

use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use shiguredo_mp4::{
    Decode as _,
    boxes::{FtypBox, MoofBox, MoovBox, SampleEntry as TheirEntry, StblBox, TrakBox},
    codec_string,
};
use weir_media::{AudioCodec, Content, Frame, Timestamp, Track, VideoCodec};
use weir_mp4::{Form, Fragment, Muxer, Refused, SampleEntry, TIMESCALE, Unfit};
use weir_testkit::packets::{frame_of, tags_of};

use common::{entries, muxer_of};

const SYNC: u32 = 0x0200_0000;
const NON_SYNC: u32 = 0x0101_0000;

fn captured(path: &str) -> Vec<Frame> {
    let file = format!("{}/../{path}.flv", env!("CARGO_MANIFEST_DIR"));
    tags_of(Path::new(&file)).iter().map(frame_of).collect()
}

fn table(track: &TrakBox) -> &StblBox {
    &track.mdia_box.minf_box.stbl_box
}

#[test]
fn init_segments_are_read_by_others_with_the_same_codecs_and_sizes() {
    let video = |width, height| Form::Video { width, height };
    let audio = |rate, channels| Form::Audio { rate, channels };
    for (path, tracks) in [
        (
            "flv/testdata/ffmpeg-5.1-h264-bframes-aac",
            vec![("avc1.f4000a", video(64, 48)), ("mp4a.40.2", audio(48_000, 1))],
        ),
        (
            "hls/testdata/h264_mp3",
            vec![("avc1.64000b", video(160, 120)), ("mp4a.40.34", audio(44_100, 1))],
        ),
        (
            "hls/testdata/hevc_aac",
            vec![("hvc1.1.6.L30.90", video(160, 120)), ("mp4a.40.2", audio(44_100, 1))],
        ),
        ("flv/testdata/ffmpeg-9-hevc-hdr", vec![("hvc1.2.4.L30.90", video(64, 48))]),
        ("flv/testdata/ffmpeg-9-av1", vec![("av01.0.00M.08", video(64, 48))]),
        (
            "flv/testdata/ffmpeg-9-vp9-opus",
            vec![("vp09.01.10.08", video(64, 48)), ("opus", audio(48_000, 1))],
        ),
        ("flv/testdata/ffmpeg-9-flac", vec![("fLaC", audio(48_000, 1))]),
        ("flv/testdata/ffmpeg-9-eac3-51", vec![("ec-3", audio(48_000, 6))]),
    ] {
        let frames = captured(path);
        let muxer = muxer_of(&frames);
        let ours: Vec<_> =
            muxer.tracks().map(|(_, entry)| (entry.codecs().to_owned(), entry.form())).collect();
        let expected: Vec<_> =
            tracks.iter().map(|(codecs, form)| ((*codecs).to_owned(), *form)).collect();
        assert_eq!(ours, expected, "{path}");
        let init = muxer.init();
        let (ftyp, at) = FtypBox::decode(&init).unwrap();
        assert!(ftyp.compatible_brands.iter().any(|brand| brand.get() == *b"cmfc"));
        let (moov, len) = MoovBox::decode(&init[at..]).unwrap();
        assert_eq!((at + len, moov.trak_boxes.len()), (init.len(), tracks.len()));
        assert_eq!(moov.mvex_box.as_ref().unwrap().trex_boxes.len(), tracks.len());
        for ((track, id), (codecs, form)) in moov.trak_boxes.iter().zip(1..).zip(&tracks) {
            assert_eq!(track.tkhd_box.track_id, id);
            assert_eq!(track.mdia_box.mdhd_box.timescale.get(), TIMESCALE);
            let [entry] = &table(track).stsd_box.entries[..] else { panic!("{path}") };
            if !matches!(entry, TheirEntry::Unknown(_)) && *codecs != "mp4a.40.34" {
                let theirs = codec_string::from_sample_entry(entry).unwrap();
                assert_eq!(theirs.to_lowercase(), codecs.to_lowercase(), "{path}");
            }
            if let Form::Video { width, height } = form {
                assert_eq!(entry.video_resolution(), Some((*width, *height)));
            }
        }
    }
}

#[test]
fn records_are_those_that_were_published() {
    for (path, config) in [
        ("flv/testdata/ffmpeg-5.1-h264-bframes-aac", b"avcC"),
        ("hls/testdata/hevc_aac", b"hvcC"),
        ("flv/testdata/ffmpeg-9-av1", b"av1C"),
        ("flv/testdata/ffmpeg-9-vp9-opus", b"vpcC"),
    ] {
        let frames = captured(path);
        let record = frames.iter().find(|frame| matches!(frame.content, Content::VideoConfig(_)));
        let record = &record.unwrap().payload;
        let size = u32::try_from(record.len() + 8).unwrap().to_be_bytes();
        let boxed = [&size[..], config, record].concat();
        let init = muxer_of(&frames).init();
        assert!(init.windows(boxed.len()).any(|window| window == boxed), "{path}");
    }
}

/// H.264 without a record to speak of: what the muxer does does not depend on it.
fn avc() -> SampleEntry {
    let record = [1, 0x64, 0, 31, 0xFF, 0xE1, 0, 4, 0x67, 0x64, 0, 31, 1, 0, 1, 0x68];
    SampleEntry::video(VideoCodec::Avc, &record, &[]).unwrap()
}

fn aac() -> SampleEntry {
    SampleEntry::audio(AudioCodec::Aac, &[0x12, 0x10], &[]).unwrap()
}

fn frame(track: Track, dts: i64, composition: i32, key: bool, len: usize) -> Frame {
    let content = match track {
        Track::Video(_) => Content::Video { codec: VideoCodec::Avc, key, composition },
        _ => Content::Audio(AudioCodec::Aac),
    };
    let payload: Bytes = (0..len).map(|at| u8::try_from((at + len) % 251).unwrap()).collect();
    Frame {
        track,
        dts: Timestamp::from_millis(dts),
        epoch: 0,
        content,
        stray: false,
        body: payload.clone(),
        payload,
    }
}

/// A sample as others read it: decoding time, presentation time, key frame, bytes.
type Sample = (i64, i64, bool, Vec<u8>);

/// The samples of a track; each fragment's must follow from those before.
fn samples(fragments: &[Fragment], id: u32) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (fragment, sequence) in fragments.iter().zip(1..) {
        let (moof, len) = MoofBox::decode(&fragment.data).unwrap();
        assert_eq!(moof.mfhd_box.sequence_number, sequence);
        assert_eq!(&fragment.data[len + 4..len + 8], b"mdat");
        for traf in moof.traf_boxes.iter().filter(|traf| traf.tfhd_box.track_id == id) {
            assert!(traf.tfhd_box.default_base_is_moof);
            let tfdt = traf.tfdt_box.as_ref().unwrap();
            assert_eq!(tfdt.version, 1);
            let mut dts = i64::try_from(tfdt.base_media_decode_time).unwrap();
            let [run] = &traf.trun_boxes[..] else { panic!("one run a track") };
            let mut at = usize::try_from(run.data_offset.unwrap()).unwrap();
            assert!(at >= len + 8);
            for sample in &run.samples {
                let size = sample.size.unwrap() as usize;
                let flags = sample.flags.or(traf.tfhd_box.default_sample_flags).unwrap().get();
                assert!(flags == SYNC || flags == NON_SYNC);
                let pts = dts + sample.composition_time_offset.unwrap_or(0);
                let data = fragment.data[at..at + size].to_vec();
                samples.push((dts, pts, flags == SYNC, data));
                dts += i64::from(sample.duration.unwrap());
                at += size;
            }
        }
    }
    samples
}

proptest! {
    #[test]
    fn samples_are_read_as_they_were_pushed(
        steps in proptest::collection::vec(
            (any::<bool>(), 0_i64..200, -500_i32..500, any::<bool>(), 1_usize..300, any::<bool>()),
            1..120,
        ),
        start in 0_i64..5_000_000_000,
    ) {
        let (video, audio) = (Track::Video(0), Track::Audio(3));
        let mut muxer = Muxer::new(vec![(video, avc()), (audio, aac())]);
        let (mut fragments, mut dts, mut expected) = (Vec::new(), start, [Vec::new(), Vec::new()]);
        for (is_video, step, composition, key, len, cuts) in steps {
            dts += step;
            let frame = frame(if is_video { video } else { audio }, dts, composition, key, len);
            if cuts {
                fragments.extend(muxer.cut(&frame));
            }
            muxer.push(&frame).unwrap();
            let pts = frame.pts().as_millis();
            expected[usize::from(!is_video)].push((dts, pts, key || !is_video, frame.payload.to_vec()));
        }
        fragments.extend(muxer.finish());
        prop_assert_eq!(muxer.held(), 0);
        for (expected, id) in expected.iter().zip(1..) {
            prop_assert_eq!(expected, &samples(&fragments, id));
        }
    }

    #[test]
    fn any_times_are_written(
        times in proptest::collection::vec((any::<i64>(), any::<i32>(), any::<bool>()), 1..20),
    ) {
        let video = Track::Video(0);
        let mut muxer = Muxer::new(vec![(video, avc())]);
        let mut fragments = Vec::new();
        let count = times.len();
        for (dts, composition, cuts) in times {
            let frame = frame(video, dts, composition, true, 3);
            if cuts {
                fragments.extend(muxer.cut(&frame));
            }
            muxer.push(&frame).unwrap();
        }
        fragments.extend(muxer.finish());
        let read = fragments.iter().map(|fragment| {
            MoofBox::decode(&fragment.data).unwrap().0.traf_boxes[0].trun_boxes[0].samples.len()
        });
        prop_assert_eq!(read.sum::<usize>(), count);
    }

    #[test]
    fn records_of_strangers_are_described_or_refused(
        record in proptest::collection::vec(any::<u8>(), 0..80),
        packet in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        describe_all(&record, &packet);
    }

    #[test]
    fn records_with_an_error_are_described_or_refused(
        which in 0_usize..8,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        len in any::<prop::sample::Index>(),
    ) {
        let frames = captured([
            "flv/testdata/ffmpeg-5.1-h264-bframes-aac",
            "hls/testdata/hevc_aac",
            "flv/testdata/ffmpeg-9-hevc-hdr",
            "flv/testdata/ffmpeg-9-av1",
            "flv/testdata/ffmpeg-9-vp9-opus",
            "flv/testdata/ffmpeg-9-flac",
            "flv/testdata/ffmpeg-9-eac3-51",
            "flv/testdata/ffmpeg-5.1-mp3",
        ][which]);
        for frame in frames.iter().filter(|frame| !frame.payload.is_empty()).take(6) {
            let mut bytes = frame.payload[..frame.payload.len().min(200)].to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(len.index(bytes.len()) + 1);
            describe_all(&bytes, &bytes);
        }
    }
}

/// Whatever comes of it can be written, and is read by others.
fn describe_all(record: &[u8], packet: &[u8]) {
    let videos = [VideoCodec::Avc, VideoCodec::Hevc, VideoCodec::Av1, VideoCodec::Vp9];
    let videos = videos.map(|codec| (Track::Video(0), SampleEntry::video(codec, record, packet)));
    let audios = [
        AudioCodec::Aac,
        AudioCodec::Mp3,
        AudioCodec::Opus,
        AudioCodec::Flac,
        AudioCodec::Ac3,
        AudioCodec::Eac3,
    ];
    let audios = audios.map(|codec| (Track::Audio(0), SampleEntry::audio(codec, record, packet)));
    for (track, entry) in videos.into_iter().chain(audios) {
        if let Ok(entry) = entry {
            assert!(!entry.codecs().is_empty() && entry.codecs().is_ascii());
            let init = Muxer::new(vec![(track, entry)]).init();
            assert!(init.len() < 4096);
            let (_, at) = FtypBox::decode(&init).unwrap();
            assert_eq!(&init[at + 4..at + 8], b"moov");
        }
    }
}

#[test]
fn what_has_no_place_is_refused_by_name() {
    let vvc = SampleEntry::video(VideoCodec::Vvc, &[1; 40], &[]);
    assert_eq!(vvc, Err(Unfit::Video(VideoCodec::Vvc)));
    let pcma = SampleEntry::audio(AudioCodec::Legacy(7), &[], &[0xD5; 160]);
    assert_eq!(pcma, Err(Unfit::Audio(AudioCodec::Legacy(7))));
    let damage = Unfit::VideoRecord { codec: VideoCodec::Avc, len: 100_000 };
    assert_eq!(SampleEntry::video(VideoCodec::Avc, &[1; 100_000], &[]), Err(damage));
    let damage = Unfit::AudioRecord { codec: AudioCodec::Opus, len: 0 };
    assert_eq!(SampleEntry::audio(AudioCodec::Opus, &[], &[1]), Err(damage));
    let packet = Unfit::Packet { codec: AudioCodec::Ac3, len: 2 };
    assert_eq!(SampleEntry::audio(AudioCodec::Ac3, &[], &[1, 2]), Err(packet));
}

#[test]
fn frames_of_no_track_are_refused_and_change_nothing() {
    let mut muxer = Muxer::new(vec![(Track::Video(0), avc())]);
    let foreign = frame(Track::Video(1), 0, 0, true, 5);
    assert_eq!(muxer.push(&foreign), Err(Refused::OtherTrack));
    assert_eq!(muxer.push(&frame(Track::Video(0), 0, 0, true, 0)), Err(Refused::Empty));
    let record = Frame {
        content: Content::VideoConfig(VideoCodec::Avc),
        ..frame(Track::Video(0), 0, 0, true, 5)
    };
    assert_eq!(muxer.push(&record), Err(Refused::NotMedia));
    assert_eq!((muxer.held(), muxer.finish()), (0, None));
}

#[test]
fn a_fragment_is_bounded() {
    const LEN: usize = 1 << 20;
    let mut muxer = Muxer::new(vec![(Track::Video(0), avc())]);
    let frame = frame(Track::Video(0), 0, 0, true, LEN);
    let taken = (0..100).take_while(|_| muxer.push(&frame).is_ok()).count();
    assert_eq!(
        taken,
        weir_mp4::FRAGMENT_BYTES_MAX / LEN - 1,
        "each sample costs more than its bytes"
    );
    let held = muxer.held();
    assert_eq!(muxer.push(&frame), Err(Refused::Full { held, len: LEN }));
    assert!(muxer.cut(&frame).is_some());
    assert_eq!(muxer.push(&frame), Ok(()));
}

#[test]
fn sound_waits_for_its_successor_but_not_for_long() {
    let (video, audio) = (Track::Video(0), Track::Audio(0));
    let mut muxer = Muxer::new(vec![(video, avc()), (audio, aac())]);
    let mut push = |track, dts, cuts: bool| {
        let frame = frame(track, dts, 0, true, 3);
        let fragment = if cuts { muxer.cut(&frame) } else { None };
        muxer.push(&frame).unwrap();
        fragment
    };
    for (track, dts) in [(video, 0), (audio, 0), (audio, 23), (video, 40)] {
        push(track, dts, false);
    }
    let first = push(video, 80, true).unwrap();
    let dts = |fragment: &Fragment, id| {
        let samples = samples(std::slice::from_ref(fragment), id);
        samples.into_iter().map(|(dts, ..)| dts).collect::<Vec<_>>()
    };
    assert_eq!((dts(&first, 1), dts(&first, 2)), (vec![0, 40], vec![0, 23]), "23 + 2 * 23 < 80");
    assert_eq!((first.start, first.end), (Timestamp::ZERO, Timestamp::from_millis(80)));
}

#[test]
fn the_rest_of_a_picture_belongs_to_its_sample() {
    let video = Track::Video(0);
    let mut muxer = Muxer::new(vec![(video, avc())]);
    let rest = frame(video, 0, 0, false, 4);
    assert_eq!(
        muxer.append(&rest),
        Err(Refused::OtherTrack),
        "there is nothing that it is the rest of"
    );
    muxer.push(&frame(video, 0, 0, true, 3)).unwrap();
    muxer.append(&rest).unwrap();
    let fragments = [muxer.finish().unwrap()];
    assert_eq!(muxer.held(), 0);
    let whole = [&frame(video, 0, 0, true, 3).payload[..], &rest.payload].concat();
    assert_eq!(samples(&fragments, 1), [(0, 0, true, whole)]);
}

#[test]
fn a_fragment_is_independent_if_its_pictures_begin_with_a_key_frame() {
    let (video, audio) = (Track::Video(0), Track::Audio(0));
    let mut muxer = Muxer::new(vec![(video, avc()), (audio, aac())]);
    let independent =
        [(video, true), (video, false), (audio, true), (audio, true)].map(|(track, key)| {
            muxer.push(&frame(track, 0, 0, key, 3)).unwrap();
            muxer.finish().unwrap().independent
        });
    assert_eq!(independent, [true, false, true, true]);
}

#[test]
fn entries_differ_where_decoders_would_have_to_know() {
    let frames = captured("flv/testdata/ffmpeg-9-multitrack-h264-aac");
    let entries = entries(&frames);
    assert_eq!(entries.len(), 4);
    assert_eq!(entries[2].1, entries[2].1.clone());
    assert_ne!(entries[0].1, entries[2].1);
}
