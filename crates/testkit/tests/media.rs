//! The fixtures are what they are said to be, and packets survive what they are expected to survive.
//!
//! All of it is tried on files alone, so that a failure of an end-to-end test is the server's.

use std::{path::Path, process::Command, time::Duration};

use weir_testkit::{
    ffmpeg::Ffmpeg,
    fixture::{self, Fixture},
    packets::{self, Extent, Form, Kind, Media, Recording, assert_continuation, continuation},
    process::Process,
};

const TIMEOUT: Duration = Duration::from_secs(60);

fn read(fixture: Fixture, file: &Path, form: Form) -> Media {
    packets::read(fixture.ffmpeg(), &file.display().to_string(), form, TIMEOUT)
}

/// Runs the fixture's FFmpeg on its file.
fn convert(fixture: Fixture, options: &[&str], output: &Path) {
    let mut command = fixture.ffmpeg().command();
    command.arg("-i").arg(fixture.file()).args(options).arg(output);
    Process::start("FFmpeg", &mut command).wait_success(TIMEOUT);
}

#[test]
fn fixtures_have_their_codecs_key_frames_and_length() {
    let others = Fixture::SOUNDS.into_iter().chain([Fixture::Ladder, Fixture::Av1Opus]);
    for fixture in Fixture::ALL.into_iter().chain(others) {
        let media = read(fixture, &fixture.file(), Form::Carried);
        let codecs: Vec<_> = media.streams.iter().map(|stream| stream.codec.as_str()).collect();
        let expected: &[_] = match fixture {
            Fixture::AvcAac | Fixture::AvcBFramesAac => &["h264", "aac"],
            Fixture::AudioOnly => &["aac"],
            Fixture::VideoOnly => &["h264"],
            Fixture::AvcMp3 => &["h264", "mp3"],
            Fixture::HevcAac => &["hevc", "aac"],
            Fixture::Av1Aac => &["av1", "aac"],
            Fixture::Av1Opus => &["av1", "opus"],
            Fixture::Vp9Opus => &["vp9", "opus"],
            Fixture::AvcFlac => &["h264", "flac"],
            Fixture::AvcAc3 => &["h264", "ac3"],
            Fixture::AvcEac3 => &["h264", "eac3"],
            Fixture::Ladder => &["h264", "h264", "h264", "aac"],
        };
        assert_eq!(codecs, expected, "{fixture:?}");
        for stream in &media.streams {
            let missing = fixture::DURATION.saturating_sub(stream.duration());
            assert!(missing < Duration::from_millis(200), "{fixture:?}: {:?}", stream.duration());
        }
        let keys = media.packets(Kind::Video).iter().filter(|packet| packet.key);
        let keys: Vec<_> = keys.map(|packet| packet.dts_us).collect();
        let interval = i64::try_from(fixture::KEY_INTERVAL.as_micros()).unwrap();
        assert!(keys.windows(2).all(|pair| pair[1] - pair[0] == interval), "{fixture:?}: {keys:?}");
        assert_eq!(keys.len(), if fixture.has_video() { 8 } else { 0 }, "{fixture:?}");
    }
}

#[test]
fn only_the_fixtures_with_b_frames_present_out_of_order() {
    for fixture in [Fixture::AvcAac, Fixture::AvcBFramesAac, Fixture::VideoOnly, Fixture::HevcAac] {
        let media = read(fixture, &fixture.file(), Form::Carried);
        let reordered =
            media.packets(Kind::Video).windows(2).any(|pair| pair[1].pts_us < pair[0].pts_us);
        assert_eq!(reordered, fixture != Fixture::AvcAac, "{fixture:?}");
    }
}

#[test]
fn a_file_is_the_continuation_of_itself_with_either_ffmpeg() {
    let fixture = Fixture::AvcBFramesAac;
    let [system, nine] = Ffmpeg::ALL.map(|ffmpeg| {
        packets::read(ffmpeg, fixture.file().to_str().unwrap(), Form::Carried, TIMEOUT)
    });
    assert_continuation(&system, &nine);
}

#[test]
fn a_copy_from_a_key_frame_on_is_a_continuation() {
    let (fixture, dir) = (Fixture::AvcBFramesAac, tempfile::tempdir().unwrap());
    let copy = dir.path().join("copy.flv");
    convert(fixture, &["-ss", "3", "-c", "copy"], &copy);
    let source = read(fixture, &fixture.file(), Form::Carried);
    let played = read(fixture, &copy, Form::Carried);
    assert!(played.packets(Kind::Video).len() < source.packets(Kind::Video).len());
    assert_continuation(&source, &played);
}

#[test]
fn what_ts_carries_is_the_same_in_flv_and_in_ts() {
    for fixture in [Fixture::AvcBFramesAac, Fixture::AvcMp3, Fixture::HevcAac, Fixture::AudioOnly] {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("copy.ts");
        convert(fixture, &["-c", "copy"], &copy);
        let form = Form::Elementary(fixture);
        let source = read(fixture, &fixture.file(), form);
        let played = read(fixture, &copy, form);
        // Milliseconds in FLV; in TS, sound has the exact times of its sampling rate.
        let result = continuation(&source, &played, Extent::ToEnd, Duration::from_millis(1));
        result.unwrap_or_else(|difference| panic!("{fixture:?}: {difference}"));
    }
}

#[test]
fn a_recording_can_be_stopped_before_its_input_ends() {
    let (fixture, dir) = (Fixture::AvcAac, tempfile::tempdir().unwrap());
    let pipe = dir.path().join("endless.flv");
    Process::start("mkfifo", Command::new("mkfifo").arg(&pipe)).wait_success(TIMEOUT);
    let pipe = pipe.to_str().unwrap();
    let ffmpeg = fixture.ffmpeg();
    let _publisher = ffmpeg.publish_with(&["-y", "-stream_loop", "-1"], &fixture.file(), pipe);
    let recording = Recording::start(ffmpeg, pipe, Form::Carried);
    assert!(recording.wait_packets(10, TIMEOUT));
    let played = recording.stop();
    let source = read(fixture, &fixture.file(), Form::Carried);
    assert_eq!(continuation(&source, &played, Extent::Run, Duration::ZERO), Ok(()));
}
