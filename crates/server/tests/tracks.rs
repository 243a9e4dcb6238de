//! HLS of streams whose tracks are not what they should be: strangers among their packets, codecs that MPEG-TS cannot
//! carry.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::Value;
use weir_flv::{Tag, TagKind, audio, video};
use weir_media::{AudioCodec, Content, VideoCodec};
use weir_testkit::{
    Weir, eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls::Playlist,
    http,
    packets::{Extent, Form, Kind, Media, continuation, frame_of, read, tags_of},
    peer::Publisher,
    process::Process,
    server::field,
};

/// For the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Times are milliseconds in FLV; sound in MPEG-TS has those of its sampling rate when FFmpeg reads it.
const TOLERANCE: Duration = Duration::from_millis(1);

fn start() -> Weir {
    let config = "publish: { linger: 0s }\nhls: { segment: 2s, window: 20 }\n";
    Weir::builder(env!("CARGO_BIN_EXE_weir")).config(config).start()
}

/// Publishes `tags`, and gives the playlist that remains, and its text.
async fn publish(weir: &Weir, stream: &str, tags: &[Tag]) -> (Playlist, String) {
    let mut publisher = Publisher::silent(&weir.rtmp_url(stream)).await;
    for tag in tags {
        publisher.send(tag).await;
    }
    publisher.stop().await;
    eventually(&format!("the end of {stream}"), TIMEOUT, async || {
        let mut response = http::get(weir.http(), &format!("{stream}.m3u8")).await;
        let text = response.text().await;
        assert_eq!(response.status, 200, "{stream}.m3u8: {text}");
        Some((Playlist::parse(&text), text)).filter(|(playlist, _)| playlist.ended)
    })
    .await
}

/// Requires that a player of the whole playlist gets all packets of these kinds, and no others.
#[track_caller]
fn check_packets(weir: &Weir, fixture: Fixture, stream: &str, kinds: &[Kind]) {
    let url = weir.http_url(&format!("{stream}.m3u8"));
    let form = Form::Elementary(fixture);
    let played = read(fixture.ffmpeg(), &url, form, TIMEOUT);
    let found: Vec<_> = played.streams.iter().map(|stream| stream.kind).collect();
    assert_eq!(found, kinds, "{stream}");
    let mut source = read(fixture.ffmpeg(), &fixture.file().display().to_string(), form, TIMEOUT);
    source.streams.retain(|stream| kinds.contains(&stream.kind));
    for (source, played) in source.streams.iter().zip(&played.streams) {
        let counts = [source, played].map(|stream| stream.packets.len());
        // The sound before the first key frame has no place in a segment with pictures.
        assert!(counts[0] - counts[1] <= 2, "{stream}: {:?} {counts:?}", source.kind);
    }
    let result = continuation(&source, &played, Extent::ToEnd, TOLERANCE);
    result.unwrap_or_else(|difference| panic!("{stream} over HLS: {difference}"));
}

/// Requires that a player of the whole playlist gets what was published of one kind, and nothing else.
#[track_caller]
fn check_remains(weir: &Weir, stream: &str, tags: &[Tag], kind: Kind) {
    let url = weir.http_url(&format!("{stream}.m3u8"));
    let played = read(Ffmpeg::System, &url, Form::Carried, TIMEOUT);
    let found: Vec<_> = played.streams.iter().map(|stream| stream.kind).collect();
    assert_eq!(found, [kind], "{stream}");
    let published = Media::of_tags(tags);
    let counts = [&published, &played].map(|media| media.packets(kind).len());
    // A reader begins at a key frame, and the sound before it is nobody's.
    assert!(counts[0] - counts[1] <= 2, "{stream}: {counts:?}");
}

fn sound_tag(timestamp: u32, packet: audio::Packet, data: &[u8]) -> Tag {
    Tag { kind: TagKind::Audio, timestamp, body: audio::encode(packet, data) }
}

fn picture_tag(timestamp: u32, packet: video::Packet, data: &[u8]) -> Tag {
    Tag {
        kind: TagKind::Video,
        timestamp,
        body: video::encode(video::FrameType::Key, packet, data),
    }
}

/// `tags`, with `odd` after every 50th of them.
fn among(tags: &[Tag], odd: impl Fn(u32) -> Tag) -> Vec<Tag> {
    let with_odd = tags
        .iter()
        .enumerate()
        .flat_map(|(at, tag)| [Some(tag.clone()), (at % 50 == 49).then(|| odd(tag.timestamp))]);
    with_odd.flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn single_foreign_packets_change_nothing() {
    let weir = start();
    let fixture = Fixture::AvcAac;
    let tags = tags_of(&fixture.file());
    let av1 = video::Packet::Coded { codec: VideoCodec::Av1, composition: 0 };
    let h263 = video::Packet::Coded { codec: VideoCodec::Legacy(2), composition: 0 };
    let odd: [(&str, Vec<Tag>); 8] = [
        (
            "pcma",
            among(&tags, |at| sound_tag(at, audio::Packet::Coded(AudioCodec::Legacy(7)), &[0; 3])),
        ),
        (
            "codec15",
            among(&tags, |at| sound_tag(at, audio::Packet::Coded(AudioCodec::Legacy(15)), &[0; 9])),
        ),
        (
            "mp3",
            among(&tags, |at| {
                sound_tag(at, audio::Packet::Coded(AudioCodec::Mp3), &[0xFF, 0xFB, 0x90, 0])
            }),
        ),
        (
            "opus",
            among(&tags, |at| sound_tag(at, audio::Packet::Config(AudioCodec::Opus), b"OpusHead")),
        ),
        (
            "asc42",
            among(&tags, |at| {
                sound_tag(at, audio::Packet::Config(AudioCodec::Aac), &[0xF9, 0x46, 0x40])
            }),
        ),
        ("h263", among(&tags, |at| picture_tag(at, h263, &[0; 40]))),
        ("av1", among(&tags, |at| picture_tag(at, av1, &[0; 40]))),
        (
            "av1c",
            among(&tags, |at| picture_tag(at, video::Packet::Config(VideoCodec::Av1), &[0x81; 4])),
        ),
    ];
    for (name, tags) in &odd {
        let stream = format!("live/{name}");
        let (playlist, text) = publish(&weir, &stream, tags).await;
        assert_eq!(playlist.segments.len(), 4, "{name}: {text}");
        let interrupted = playlist.segments.iter().filter(|segment| segment.discontinuity).count();
        assert_eq!(interrupted, 1, "{name}: only where the stream begins: {text}");
        check_packets(&weir, fixture, &stream, &[Kind::Video, Kind::Audio]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_codec_leaves_the_other_track() {
    let weir = start();
    let pcma = |tag: &Tag| match frame_of(tag).content {
        Content::Audio(_) => Some(sound_tag(
            tag.timestamp,
            audio::Packet::Coded(AudioCodec::Legacy(7)),
            &[0xD5; 160],
        )),
        Content::AudioConfig(_) => None,
        _ => Some(tag.clone()),
    };
    let silent: Vec<_> = tags_of(&Fixture::AvcAac.file()).iter().filter_map(pcma).collect();
    let blind = tags_of(&Fixture::Av1Aac.file());
    for (stream, tags, kind, why) in [
        (
            "live/silent",
            silent,
            Kind::Video,
            "no sound: MPEG-TS segments cannot carry FLV audio codec 7",
        ),
        ("live/blind", blind, Kind::Audio, "no pictures: MPEG-TS segments cannot carry AV1"),
    ] {
        let (playlist, text) = publish(&weir, stream, &tags).await;
        assert!(playlist.segments.len() >= 3, "{text}");
        assert!(text.contains(&format!("\n# {why}\n")), "{text}");
        check_remains(&weir, stream, &tags, kind);
        let key = format!("/{stream}");
        let is_said =
            |line: &Value| field(line, "reason") == why && field(line, "stream") == key.as_str();
        assert_eq!(weir.wait_log(is_said, TIMEOUT)["level"], "WARN");
    }
}

#[tokio::test]
async fn the_api_says_what_hls_has() {
    let weir = start();
    let mut publisher = Publisher::silent(&weir.rtmp_url("live/a")).await;
    for tag in tags_of(&Fixture::Av1Aac.file()) {
        publisher.send(&tag).await;
    }
    let hls = eventually("HLS without pictures", TIMEOUT, async || {
        let mut response = http::get(weir.api(), "api/v1/streams").await;
        let streams: Value = serde_json::from_str(&response.text().await).expect("JSON");
        let hls = streams["streams"][0]["hls"].clone();
        (hls["state"] == "partly").then_some(hls)
    })
    .await;
    assert_eq!(hls["reason"], "no pictures: MPEG-TS segments cannot carry AV1");
    publisher.stop().await;
}

/// Three channels: the encoder of FFmpeg has no number for them, only a program config element.
fn two_point_one(file: &Path) {
    let mut command = Ffmpeg::System.command();
    command.args(["-y", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]);
    command.args(["-f", "lavfi", "-i", "aevalsrc=sin(440*t)|sin(880*t)|sin(60*t):c=2.1:s=48000"]);
    command.args([
        "-t", "6", "-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-pix_fmt", "yuv420p",
    ]);
    command.args(["-c:a", "aac", "-f", "flv"]).arg(file);
    Process::start("FFmpeg for 2.1", &mut command).wait_success(TIMEOUT);
}

/// Bytes of the sound of `input`, decoded by an FFmpeg that stops at the first error.
fn decoded(ffmpeg: Ffmpeg, input: &str, folder: &Path) -> usize {
    let out = folder.join("decoded");
    let mut command: Command = ffmpeg.command();
    command
        .args(["-y", "-xerror", "-err_detect", "explode", "-i", input, "-vn", "-f", "s16le"])
        .arg(&out);
    Process::start("a decoder", &mut command).wait_success(TIMEOUT);
    fs::read(&out).expect("what was decoded").len()
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_that_only_a_program_describes_are_heard_from_any_segment() {
    let weir = start();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("two_point_one.flv");
    two_point_one(&file);
    let tags = tags_of(&file);
    let (playlist, text) = publish(&weir, "live/a", &tags).await;
    assert_eq!(playlist.segments.len(), 3, "{text}");
    for ffmpeg in Ffmpeg::ALL {
        let whole = decoded(ffmpeg, &weir.http_url("live/a.m3u8"), folder.path());
        let expected = 6 * 48_000 * 3 * 2;
        assert!(
            whole.abs_diff(expected) < expected / 20,
            "{ffmpeg:?}: {whole} of {expected} bytes"
        );
        for segment in &playlist.segments {
            let bytes =
                decoded(ffmpeg, &weir.http_url(&format!("live/{}", segment.uri)), folder.path());
            let expected = 2 * 48_000 * 3 * 2;
            assert!(
                bytes.abs_diff(expected) < expected / 10,
                "{ffmpeg:?}: {bytes} of {expected} in {segment:?}"
            );
        }
    }
}

/// The NAL units of a message, each after four bytes of length.
fn nals(payload: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut nals) = (payload, Vec::new());
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (nal, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
        nals.push(nal.to_vec());
        rest = tail;
    }
    nals
}

/// The parameter sets of an avcC with one of each kind.
fn sets(record: &[u8]) -> [Vec<u8>; 2] {
    let part = |at: usize| {
        let len = usize::from(u16::from_be_bytes([record[at], record[at + 1]]));
        (record[at + 2..at + 2 + len].to_vec(), at + 2 + len)
    };
    let (sps, end) = part(6);
    [sps, part(end + 1).0]
}

/// `tags` as some encoders send them: start codes in place of lengths, the parameter sets in each key frame, and
/// `record` in place of the configuration.
fn in_band(tags: &[Tag], record: Option<&[u8]>) -> Vec<Tag> {
    let mut known = Vec::new();
    let mut odd = Vec::new();
    for tag in tags {
        let frame = frame_of(tag);
        let body = match frame.content {
            Content::VideoConfig(codec) => {
                known = sets(&frame.payload).to_vec();
                let Some(record) = record else { continue };
                video::encode(video::FrameType::Key, video::Packet::Config(codec), record)
            }
            Content::Video { codec, key, composition } => {
                let sets = known.iter().filter(|_| key).cloned();
                let nals = sets.chain(nals(&frame.payload));
                let data: Vec<u8> =
                    nals.flat_map(|nal| [&[0, 0, 0, 1][..], &nal].concat()).collect();
                let kind = if key { video::FrameType::Key } else { video::FrameType::Inter };
                video::encode(kind, video::Packet::Coded { codec, composition }, &data)
            }
            _ => tag.body.clone(),
        };
        odd.push(Tag { body, ..tag.clone() });
    }
    odd
}

#[tokio::test(flavor = "multi_thread")]
async fn start_codes_and_sets_in_the_stream_are_played() {
    let weir = start();
    let fixture = Fixture::AvcBFramesAac;
    let tags = tags_of(&fixture.file());
    for (name, record) in [("none", None), ("one", Some(&[1][..])), ("zero", Some(&[0, 0x64, 0]))] {
        let stream = format!("live/{name}");
        let (playlist, text) = publish(&weir, &stream, &in_band(&tags, record)).await;
        assert_eq!(playlist.segments.len(), 4, "{name}: {text}");
        check_packets(&weir, fixture, &stream, &[Kind::Video, Kind::Audio]);
    }
}

/// Four seconds of pictures of this size.
fn pictures(size: &str, folder: &Path) -> Vec<Tag> {
    let file = folder.join(format!("{size}.flv"));
    let mut command = Ffmpeg::System.command();
    command.args(["-y", "-f", "lavfi", "-i", &format!("testsrc2=size={size}:rate=25"), "-t", "4"]);
    command.args(["-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "25"]);
    command.args(["-pix_fmt", "yuv420p", "-f", "flv"]).arg(&file);
    Process::start("FFmpeg for pictures", &mut command).wait_success(TIMEOUT);
    tags_of(&file)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_size_that_only_the_stream_tells_is_a_discontinuity() {
    let weir = start();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut tags = in_band(&pictures("320x180", folder.path()), Some(&[1]));
    let later = in_band(&pictures("640x360", folder.path()), None);
    let media = later.into_iter().filter(|tag| tag.kind == TagKind::Video);
    tags.extend(media.map(|tag| Tag { timestamp: tag.timestamp + 4000, ..tag }));
    let (playlist, text) = publish(&weir, "live/a", &tags).await;
    let broken: Vec<_> = playlist.segments.iter().map(|segment| segment.discontinuity).collect();
    assert_eq!(broken, [true, false, true, false], "{text}");
    for (segment, size) in
        playlist.segments.iter().zip([320 * 180, 320 * 180, 640 * 360, 640 * 360])
    {
        let out = folder.path().join("decoded.yuv");
        let mut command = Ffmpeg::System.command();
        let url = weir.http_url(&format!("live/{}", segment.uri));
        command
            .args(["-y", "-xerror", "-i", &url, "-f", "rawvideo", "-pix_fmt", "yuv420p"])
            .arg(&out);
        Process::start("a decoder", &mut command).wait_success(TIMEOUT);
        let bytes = fs::metadata(&out).expect("what was decoded").len();
        assert_eq!(bytes, 50 * size * 3 / 2, "pictures in {segment:?}");
    }
}
