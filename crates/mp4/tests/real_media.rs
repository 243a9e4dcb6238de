//! What real encoders sent, written as fragments and read again by both FFmpegs: the same packets at the same times.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

mod common;

use std::{fs, path::Path, time::Duration};

use weir_media::{Content, Frame, VideoCodec};
use weir_mp4::{Form, Fragment};
use weir_testkit::{
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    packets::{self, Media, frame_of, tags_of},
    process::Process,
};

use common::{entries, muxer_of};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Where fragments are cut.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Before key frames; without pictures, before each 50th packet.
    Groups,
    /// Before the first frame that is so many milliseconds after the last cut.
    Parts(i64),
    /// Before each frame of each track.
    Frames,
}

fn write(frames: &[Frame], cut: Cut) -> (Vec<u8>, Vec<Fragment>) {
    let mut muxer = muxer_of(frames);
    let mut file = muxer.init().to_vec();
    let (mut fragments, mut last, mut count) = (Vec::new(), None, 0);
    let has_pictures = frames.iter().any(Frame::is_picture);
    for frame in frames {
        if !matches!(frame.content, Content::Video { .. } | Content::Audio(_))
            || frame.payload.is_empty()
        {
            continue;
        }
        count += 1;
        let begin = *last.get_or_insert(frame.dts.as_millis());
        let is_due = match cut {
            Cut::Groups => frame.is_key() || !has_pictures && count % 50 == 0,
            Cut::Parts(millis) => frame.dts.as_millis() - begin >= millis,
            Cut::Frames => true,
        };
        if is_due {
            last = Some(frame.dts.as_millis());
            fragments.extend(muxer.cut(frame));
        }
        muxer.push(frame).unwrap();
    }
    fragments.extend(muxer.finish());
    file.extend(fragments.iter().flat_map(|fragment| fragment.data.iter()));
    (file, fragments)
}

/// Without the empty packets that FFmpeg makes of an empty sequence start.
fn without_empty(mut media: Media) -> Media {
    for stream in &mut media.streams {
        stream.packets.retain(|packet| packet.size > 0);
        stream.config = None;
    }
    media
}

#[track_caller]
fn survives(flv: &Path) {
    let frames: Vec<_> = tags_of(flv).iter().map(frame_of).collect();
    // Temporal delimiters of AV1 have no place in MP4.
    let is_av1 = frames.iter().any(|frame| frame.content == Content::VideoConfig(VideoCodec::Av1));
    let form =
        if is_av1 { packets::Form::Elementary(Fixture::Av1Aac) } else { packets::Form::Carried };
    let read = |ffmpeg, file: &Path| {
        without_empty(packets::read(ffmpeg, &file.display().to_string(), form, TIMEOUT))
    };
    let published = read(Ffmpeg::Nine, flv);
    assert!(published.streams.iter().all(|stream| stream.packets.len() > 1), "{published:?}");
    let dir = tempfile::tempdir().unwrap();
    for (cut, ffmpeg) in [
        (Cut::Groups, Ffmpeg::System),
        (Cut::Parts(200), Ffmpeg::Nine),
        (Cut::Frames, Ffmpeg::System),
    ] {
        let (mp4, fragments) = write(&frames, cut);
        let file = dir.path().join("written.mp4");
        fs::write(&file, mp4).unwrap();
        let played = read(ffmpeg, &file);
        let what = format!("{} {cut:?} {ffmpeg:?}", flv.display());
        same(&published, &played, &what);
        if !matches!(cut, Cut::Frames) {
            let gaps = fragments.windows(2).filter(|pair| pair[0].end != pair[1].start);
            assert_eq!(gaps.count(), 0, "{what}");
        }
    }
    decodes(&frames, dir.path());
}

#[track_caller]
fn same(published: &Media, played: &Media, what: &str) {
    assert_eq!(published.streams.len(), played.streams.len(), "{what}");
    for (published, played) in published.streams.iter().zip(&played.streams) {
        assert_eq!(published.codec, played.codec, "{what}");
        let pairs = published.packets.iter().zip(&played.packets).enumerate();
        for (at, (published, played)) in pairs {
            assert_eq!(published, played, "{what}: packet {at}");
        }
        assert_eq!(published.packets.len(), played.packets.len(), "{what}: {}", played.codec);
    }
}

/// Without a complaint, from the init segment and any group.
#[track_caller]
fn decodes(frames: &[Frame], dir: &Path) {
    let (_, fragments) = write(frames, Cut::Groups);
    let init = muxer_of(frames).init();
    let last = fragments.iter().rev().find(|fragment| fragment.independent).unwrap();
    for (name, ffmpeg, data) in [
        ("last.mp4", Ffmpeg::System, vec![last]),
        ("all.mp4", Ffmpeg::Nine, fragments.iter().collect()),
    ] {
        let media = data.iter().flat_map(|fragment| fragment.data.iter());
        let bytes: Vec<_> = init.iter().chain(media).copied().collect();
        let file = dir.join(name);
        fs::write(&file, bytes).unwrap();
        let mut command = ffmpeg.command();
        command.args(["-xerror", "-err_detect", "explode", "-i"]).arg(&file);
        command.args(["-map", "0", "-f", "null", "-"]);
        let mut process = Process::start("FFmpeg decodes", &mut command);
        let status = process.wait(TIMEOUT);
        let said = process.stderr().to_string();
        assert!(status.success() && said.is_empty(), "{name} {ffmpeg:?}: {said}");
    }
}

#[test]
fn fixtures_of_h264_survive() {
    for fixture in [Fixture::AvcBFramesAac, Fixture::AudioOnly, Fixture::AvcMp3] {
        survives(&fixture.file());
    }
}

#[test]
fn fixtures_of_later_codecs_survive() {
    for fixture in [Fixture::HevcAac, Fixture::Av1Aac, Fixture::Vp9Opus] {
        survives(&fixture.file());
    }
}

#[track_caller]
fn captures(names: &[&str]) {
    for name in names {
        let flv = format!("{}/../flv/testdata/{name}.flv", env!("CARGO_MANIFEST_DIR"));
        survives(Path::new(&flv));
    }
}

#[test]
fn captures_of_mpeg_codecs_survive() {
    captures(&[
        "ffmpeg-5.1-h264-bframes-aac",
        "ffmpeg-5.1-mp3",
        "ffmpeg-9-hevc-hdr",
        "ffmpeg-9-multitrack-h264-aac",
    ]);
}

#[test]
fn captures_of_other_codecs_survive() {
    captures(&["ffmpeg-9-av1", "ffmpeg-9-eac3-51", "ffmpeg-9-flac", "ffmpeg-9-vp9-opus"]);
}

/// Sound as FFmpeg 9 makes it, in FLV.
fn made(dir: &Path, options: &[&str]) -> Vec<Frame> {
    let file = dir.join("made.flv");
    let mut command = Ffmpeg::Nine.command();
    command.args(["-y", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
    command.args(["-t", "1", "-ac", "2"]).args(options).args(["-f", "flv"]).arg(&file);
    Process::start("FFmpeg", &mut command).wait_success(TIMEOUT);
    survives(&file);
    tags_of(&file).iter().map(frame_of).collect()
}

#[test]
fn dolby_survives_and_says_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for (options, codecs, rate, channels) in [
        (["-c:a", "ac3", "-ar", "44100", "-ac", "6"], "ac-3", 44100, 6),
        (["-c:a", "eac3", "-ar", "32000", "-ac", "2"], "ec-3", 32000, 2),
    ] {
        let entry = entries(&made(dir.path(), &options)).remove(0).1;
        assert_eq!(entry.codecs(), codecs);
        assert_eq!(entry.form(), Form::Audio { rate, channels });
    }
}

#[test]
fn sound_of_many_channels_and_other_rates_survives() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path(), &["-c:a", "libopus", "-ac", "6"]);
    made(dir.path(), &["-c:a", "flac", "-ar", "96000", "-ac", "6"]);
    made(dir.path(), &["-c:a", "libmp3lame", "-ar", "22050"]);
}
