//! Streams whose tracks are not what they should be: strangers among their packets, which late viewers and HLS are not
//! to be given, codecs that MPEG-TS cannot carry.

use std::{fs, path::Path, process::Command, time::Duration};

use bytes::{Bytes, BytesMut};
use serde_json::Value;
use weir_flv::{
    Tag, TagKind, audio,
    file::{Header, write_tag},
    metadata::Metadata,
    video,
};
use weir_media::{AudioCodec, Content, VideoCodec};
use weir_testkit::{
    Weir, eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls::Playlist,
    http,
    packets::{Extent, Form, Kind, Media, continuation, frame_of, read, tags_of},
    peer::{Player, Publisher},
    process::Process,
    server::field,
};

/// For the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Times are milliseconds in FLV; sound in MPEG-TS has those of its sampling rate when FFmpeg reads it.
const TOLERANCE: Duration = Duration::from_millis(1);

fn start() -> Weir {
    let config = "publish: { linger: 0s }\nhls: { segment: 2s, window: 20, container: ts }\n";
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

/// A message at so many milliseconds that nobody expects there.
type Stranger = fn(u32) -> Tag;

/// All of them, each with a name.
fn strangers() -> [(&'static str, Stranger); 12] {
    const AV1: video::Packet = video::Packet::Coded { codec: VideoCodec::Av1, composition: 0 };
    const H263: video::Packet =
        video::Packet::Coded { codec: VideoCodec::Legacy(2), composition: 0 };
    let pcma = |at| sound_tag(at, audio::Packet::Coded(AudioCodec::Legacy(7)), &[0; 3]);
    let codec15 = |at| sound_tag(at, audio::Packet::Coded(AudioCodec::Legacy(15)), &[0; 9]);
    let mp3 = |at| sound_tag(at, audio::Packet::Coded(AudioCodec::Mp3), &[0xFF, 0xFB, 0x90, 0]);
    let opus = |at| sound_tag(at, audio::Packet::Config(AudioCodec::Opus), b"OpusHead");
    let asc42 = |at| sound_tag(at, audio::Packet::Config(AudioCodec::Aac), &[0xF9, 0x46, 0x40]);
    let asc1 = |at| sound_tag(at, audio::Packet::Config(AudioCodec::Aac), &[0x12]);
    [
        ("pcma", pcma),
        ("pcma0", |_| sound_tag(0, audio::Packet::Coded(AudioCodec::Legacy(7)), &[0; 3])),
        ("codec15", codec15),
        ("mp3", mp3),
        ("opus", opus),
        ("asc42", asc42),
        ("asc1", asc1),
        ("h263", |at| picture_tag(at, H263, &[0; 40])),
        ("av1", |at| picture_tag(at, AV1, &[0; 40])),
        ("av1c", |at| picture_tag(at, video::Packet::Config(VideoCodec::Av1), &[0x81; 4])),
        ("avcc1", |at| picture_tag(at, video::Packet::Config(VideoCodec::Avc), &[1])),
        ("metadata", |at| Tag {
            kind: TagKind::Script,
            timestamp: at,
            body: Bytes::from_static(b"\x02\x00\x0aonMetaData\x08\x00\x00\x00\x09\x00"),
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn single_foreign_packets_change_nothing() {
    let weir = start();
    let fixture = Fixture::AvcAac;
    let tags = tags_of(&fixture.file());
    for (name, odd) in strangers() {
        let stream = format!("live/{name}");
        let (playlist, text) = publish(&weir, &stream, &among(&tags, odd)).await;
        assert_eq!(playlist.segments.len(), 4, "{name}: {text}");
        let interrupted = playlist.segments.iter().filter(|segment| segment.discontinuity).count();
        assert_eq!(interrupted, 1, "{name}: only where the stream begins: {text}");
        check_packets(&weir, fixture, &stream, &[Kind::Video, Kind::Audio]);
    }
}

/// Requires that `tags`, as a viewer got them, can be decoded from the first to the last, and without a complaint.
#[track_caller]
fn check_decodes(what: &str, tags: &[Tag], folder: &Path) {
    let file = folder.join("viewed.flv");
    let mut flv = BytesMut::from(&Header { has_audio: true, has_video: true }.encode()[..]);
    tags.iter().for_each(|tag| write_tag(&mut flv, tag.kind, tag.timestamp, &tag.body));
    fs::write(&file, flv).expect("what was viewed can be written");
    let input = file.display().to_string();
    let sound = decoded(Ffmpeg::System, &input, folder);
    let pictures = decoded_pictures(Ffmpeg::System, &input, folder);
    let count = |is: fn(&Content) -> bool| {
        tags.iter().filter(|tag| is(&frame_of(tag).content)).count() as u64
    };
    let expected = count(|content| matches!(content, Content::Video { .. }));
    assert_eq!(pictures, expected, "{what}: pictures");
    let packets = count(|content| matches!(content, Content::Audio(_)));
    assert_eq!(sound as u64, packets * 1024 * 2, "{what}: sound");
}

/// Publishes the fixture with strangers in it, lets a viewer come when half of it is over, and gives what that gets.
async fn view_late(weir: &Weir, stream: &str, over_http: bool, odd: Stranger) -> Vec<Tag> {
    let tags = tags_of(&Fixture::AvcAac.file());
    let (before, after) = tags.split_at(tags.len() / 2);
    let mut publisher = Publisher::silent(&weir.rtmp_url(stream)).await;
    let last = before.last().expect("tags").timestamp;
    for tag in among(before, odd).iter().chain([&odd(last)]) {
        publisher.send(tag).await;
    }
    let mut viewer = if over_http {
        Player::http_flv(weir.http(), &format!("{stream}.flv")).await
    } else {
        Player::rtmp(&weir.rtmp_url(stream)).await
    };
    // Strangers that come while somebody watches are passed on over RTMP.
    let after = if over_http { among(after, odd) } else { after.to_vec() };
    for tag in &after {
        publisher.send(tag).await;
    }
    publisher.stop().await;
    viewer.until_end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_viewer_is_given_no_stranger_for_the_streams_own() {
    let weir = start();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let own: Vec<_> = tags_of(&Fixture::AvcAac.file()).iter().map(frame_of).collect();
    for (name, odd) in strangers() {
        for over_http in [false, true] {
            let what = format!("{name}, HTTP {over_http}");
            let tags = view_late(&weir, &format!("live/{name}-{over_http}"), over_http, odd).await;
            let frames: Vec<_> = tags.iter().map(frame_of).collect();
            let first: Vec<_> =
                frames.iter().take_while(|frame| frame.init_slot().is_some()).collect();
            assert_eq!(first.len(), 3, "{what}: metadata and two configurations");
            for config in &first[1..] {
                let is_own = own.iter().any(|own| own.body == config.body);
                assert!(is_own, "{what}: a stranger at the beginning: {config:?}");
            }
            assert!(matches!(Metadata::parse(&first[0].body), Ok(Some(_))), "{what}: metadata");
            assert!(
                frames[3].is_key() && own.iter().any(|own| own.body == frames[3].body),
                "{what}"
            );
            // What was sent before the viewer came is none of its business, where it is passed on within the group.
            let clean: Vec<_> = tags
                .iter()
                .filter(|tag| over_http || own.iter().any(|own| own.body == tag.body))
                .cloned()
                .collect();
            check_decodes(&what, &clean, folder.path());
        }
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

/// The parameter sets of an hvcC.
fn hevc_sets(record: &[u8]) -> Vec<Vec<u8>> {
    let (mut at, mut sets) = (23, Vec::new());
    for _ in 0..record[22] {
        let count = u16::from_be_bytes([record[at + 1], record[at + 2]]);
        at += 3;
        for _ in 0..count {
            let len = usize::from(u16::from_be_bytes([record[at], record[at + 1]]));
            sets.push(record[at + 2..at + 2 + len].to_vec());
            at += 2 + len;
        }
    }
    sets
}

/// How an encoder sends HEVC.
struct HevcWay {
    name: &'static str,
    /// With codec id 12, as encoders did before Enhanced RTMP.
    is_legacy: bool,
    /// What it makes of the record; none if it sends no such thing.
    record: fn(&[u8]) -> Option<Vec<u8>>,
    /// Start codes in place of lengths, and the parameter sets in each key frame.
    in_band: bool,
}

fn hevc_ways() -> [HevcWay; 7] {
    let whole = |record: &[u8]| Some(record.to_vec());
    let version_0 = |record: &[u8]| Some([&[0], &record[1..]].concat());
    let cut = |record: &[u8]| Some(record[..30].to_vec());
    let of = |name, is_legacy, record, in_band| HevcWay { name, is_legacy, record, in_band };
    [
        of("hvc1", false, whole, false),
        of("hvc1-version-0", false, version_0, false),
        of("hvc1-no-record", false, |_| None, true),
        of("hvc1-cut", false, cut, true),
        of("id12", true, whole, false),
        of("id12-start-codes", true, whole, true),
        of("id12-one-byte", true, |_| Some(vec![1]), true),
    ]
}

/// `tags` as an encoder sends them in its way.
fn hevc(tags: &[Tag], way: &HevcWay) -> Vec<Tag> {
    let mut sets = Vec::new();
    let mut odd = Vec::new();
    for tag in tags {
        let frame = frame_of(tag);
        let (key, packet, composition, data) = match frame.content {
            Content::VideoConfig(_) => {
                sets = hevc_sets(&frame.payload);
                let Some(record) = (way.record)(&frame.payload) else { continue };
                (true, 0, 0, record)
            }
            Content::Video { key, composition, .. } if way.in_band => {
                let sets = sets.iter().filter(|_| key).cloned();
                let nals = sets.chain(nals(&frame.payload));
                let nals = nals.flat_map(|nal| [&[0, 0, 0, 1][..], &nal].concat());
                (key, 1, composition, nals.collect())
            }
            Content::Video { key, composition, .. } => {
                (key, 1, composition, frame.payload.to_vec())
            }
            _ => {
                odd.push(tag.clone());
                continue;
            }
        };
        let kind = if key { video::FrameType::Key } else { video::FrameType::Inter };
        let codec = VideoCodec::Hevc;
        let body = match (way.is_legacy, packet) {
            (true, _) => {
                let [_, time @ ..] = composition.to_be_bytes();
                let first = if key { 0x1C } else { 0x2C };
                [&[first, packet][..], &time, &data].concat().into()
            }
            (false, 0) => video::encode(kind, video::Packet::Config(codec), &data),
            _ => video::encode(kind, video::Packet::Coded { codec, composition }, &data),
        };
        odd.push(Tag { body, ..tag.clone() });
    }
    odd
}

/// How many pictures of 320 by 180 a decoder makes of `url` without a complaint.
#[track_caller]
fn decoded_pictures(ffmpeg: Ffmpeg, url: &str, folder: &Path) -> u64 {
    let out = folder.join("pictures");
    let mut command = ffmpeg.command();
    command.args(["-y", "-xerror", "-err_detect", "explode", "-i", url, "-an"]);
    command.args(["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray"]).arg(&out);
    Process::start("a decoder", &mut command).wait_success(TIMEOUT);
    fs::metadata(&out).expect("what was decoded").len() / (320 * 180)
}

#[tokio::test(flavor = "multi_thread")]
async fn hevc_is_played_however_it_is_sent() {
    let weir = start();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let tags = tags_of(&Fixture::HevcAac.file());
    for way in hevc_ways() {
        let name = way.name;
        let stream = format!("live/{name}");
        let (playlist, text) = publish(&weir, &stream, &hevc(&tags, &way)).await;
        assert_eq!(playlist.segments.len(), 4, "{name}: {text}");
        for ffmpeg in Ffmpeg::ALL {
            let url = weir.http_url(&format!("{stream}.m3u8"));
            let pictures = decoded_pictures(ffmpeg, &url, folder.path());
            assert_eq!(pictures, 200, "{name} with {ffmpeg:?}");
        }
    }
}

/// Four seconds of pictures of four slices.
fn sliced(folder: &Path) -> Vec<Tag> {
    let file = folder.join("sliced.flv");
    let mut command = Ffmpeg::System.command();
    command.args(["-y", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-t", "4"]);
    command.args(["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "25"]);
    command.args(["-x264-params", "slices=4", "-pix_fmt", "yuv420p", "-f", "flv"]).arg(&file);
    Process::start("FFmpeg for slices", &mut command).wait_success(TIMEOUT);
    tags_of(&file)
}

/// Each slice in a message of its own.
fn one_by_one(tags: &[Tag]) -> Vec<Tag> {
    let mut parts = Vec::new();
    for tag in tags {
        let frame = frame_of(tag);
        let Content::Video { codec, key, composition } = frame.content else {
            parts.push(tag.clone());
            continue;
        };
        let kind = if key { video::FrameType::Key } else { video::FrameType::Inter };
        parts.extend(nals(&frame.payload).iter().map(|nal| {
            let length = u32::try_from(nal.len()).expect("it is short").to_be_bytes();
            let data = [&length[..], nal].concat();
            let packet = video::Packet::Coded { codec, composition };
            Tag { body: video::encode(kind, packet, &data), ..tag.clone() }
        }));
    }
    parts
}

#[tokio::test(flavor = "multi_thread")]
async fn slices_in_messages_of_their_own_are_one_picture() {
    let weir = start();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let whole = sliced(folder.path());
    let parts = one_by_one(&whole);
    assert!(parts.len() >= whole.len() + 300, "{} messages of {}", parts.len(), whole.len());
    let (playlist, text) = publish(&weir, "live/a", &parts).await;
    assert_eq!(playlist.segments.len(), 2, "{text}");
    let url = weir.http_url("live/a.m3u8");
    for ffmpeg in Ffmpeg::ALL {
        assert_eq!(decoded_pictures(ffmpeg, &url, folder.path()), 100, "{ffmpeg:?}");
    }
    let played = read(Ffmpeg::System, &url, Form::Carried, TIMEOUT);
    assert_eq!(played.packets(Kind::Video).len(), 100, "access units");

    // A viewer starts with the first slice of a key frame.
    let mut publisher = Publisher::silent(&weir.rtmp_url("live/b")).await;
    let first: Vec<_> = whole.iter().map(|tag| frame_of(tag).is_key()).collect();
    let first = first.iter().position(|is_key| *is_key).expect("a key frame");
    for tag in one_by_one(&whole[..=first]) {
        publisher.send(&tag).await;
    }
    let mut viewer = Player::rtmp(&weir.rtmp_url("live/b")).await;
    publisher.stop().await;
    let got = viewer.until_end().await;
    let pictures: Vec<_> = got.iter().map(frame_of).filter(weir_media::Frame::is_picture).collect();
    let sent = one_by_one(&whole[first..=first]);
    assert_eq!(pictures.len(), sent.len(), "all parts of the picture");
}

#[tokio::test(flavor = "multi_thread")]
async fn seven_channels_and_one_are_heard_by_the_number_that_adts_does_not_have() {
    let weir = start();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("seven.flv");
    let mut command = Ffmpeg::System.command();
    let tones: Vec<_> = (1..=8).map(|tone| format!("sin({tone}00*t)")).collect();
    command.args(["-y", "-f", "lavfi", "-i"]);
    command.arg(format!("aevalsrc={}:c=7.1:s=48000", tones.join("|")));
    command.args(["-t", "4", "-c:a", "aac", "-f", "flv"]).arg(&file);
    Process::start("FFmpeg for 7.1", &mut command).wait_success(TIMEOUT);
    let mut tags = tags_of(&file);
    // FFmpeg says configuration 7, which has the same elements as 12.
    let is_config = |tag: &&mut Tag| matches!(frame_of(tag).content, Content::AudioConfig(_));
    let config = tags.iter_mut().find(is_config).expect("a configuration");
    let packet = audio::Packet::Config(AudioCodec::Aac);
    config.body = audio::encode(packet, &[0x11, 0x80 | 12 << 3]);
    let (_, text) = publish(&weir, "live/a", &tags).await;
    assert!(!text.contains("no sound"), "{text}");
    for ffmpeg in Ffmpeg::ALL {
        let bytes = decoded(ffmpeg, &weir.http_url("live/a.m3u8"), folder.path());
        let expected = 4 * 48_000 * 8 * 2;
        assert!(bytes.abs_diff(expected) < expected / 20, "{ffmpeg:?}: {bytes} of {expected}");
    }
}
