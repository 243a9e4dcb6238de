//! What comes out is what went in: every packet from a viewer's first key frame on, once, in order, with the same bytes
//! and at the same distances in time, for viewers that come before the publisher and for those that come late.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{runtime::Runtime, task::JoinHandle};
use weir_flv::{Tag, TagKind, metadata::Metadata, video};
use weir_media::{Content, Frame, Track, VideoCodec};
use weir_testkit::{
    Weir, eventually,
    fixture::Fixture,
    http,
    packets::{self, Extent, Form, Kind, Media, Recording, continuation, frame_of, read, tags_of},
    peer::{Encoder, Numbered, Player, Publisher, Viewer},
    process::Process,
};

/// A stream ends with its publisher, so that viewers that play to the end need not wait; those that come before it have
/// time for all the encoders and players to start.
const CONFIG: &str = "publish: { linger: 0s }\nplay: { wait: 60s }\n";

/// For the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Late viewers come when the stream is this old.
const LATE_MILLIS: u32 = 2500;

/// What a late viewer's start may be behind that: the group of one second that it starts in.
const LATE_START_MILLIS: u32 = 1500;

fn start() -> Weir {
    Weir::builder(env!("CARGO_BIN_EXE_weir")).config(CONFIG).start()
}

/// Waits until so many clients are connected.
async fn connected(weir: &Weir, count: u64) {
    let what = format!("{count} clients at /api/v1/summaries");
    eventually(&what, TIMEOUT, async || {
        let text = http::get(weir.api(), "/api/v1/summaries").await.text().await;
        let summary: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        summary["data"]["clients"].as_u64().filter(|clients| *clients >= count)
    })
    .await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Rtmp,
    HttpFlv,
}

impl Protocol {
    const ALL: [Self; 2] = [Self::Rtmp, Self::HttpFlv];

    fn url(self, weir: &Weir, stream: &str) -> String {
        match self {
            Self::Rtmp => weir.rtmp_url(stream),
            Self::HttpFlv => weir.http_url(&format!("{stream}.flv")),
        }
    }
}

/// A player that takes whatever comes until the stream ends.
struct Script {
    protocol: Protocol,
    tags: JoinHandle<Vec<Tag>>,
    /// Says that a packet of the asked-for time, or a later one, has come.
    reached: mpsc::Receiver<()>,
}

impl Script {
    /// Plays `stream`, and says when a packet at or after `millis` has come.
    fn start(
        runtime: &Runtime,
        weir: &Weir,
        stream: &str,
        protocol: Protocol,
        millis: u32,
    ) -> Self {
        let (http, path) = (weir.http(), format!("{stream}.flv"));
        let url = weir.rtmp_url(stream);
        let (say, reached) = mpsc::channel();
        let play = async move {
            let mut player = match protocol {
                Protocol::Rtmp => Player::rtmp(&url).await,
                Protocol::HttpFlv => Player::http_flv(http, &path).await,
            };
            let mut tags = Vec::new();
            while let Some(tag) = player.next().await {
                if tag.timestamp >= millis && is_coded(&frame_of(&tag)) {
                    // Nobody listens any more after the first time.
                    let _ = say.send(());
                }
                tags.push(tag);
            }
            tags
        };
        Self { protocol, tags: runtime.spawn(play), reached }
    }

    #[track_caller]
    fn wait(&self, name: &str) {
        let reached = self.reached.recv_timeout(TIMEOUT);
        reached.unwrap_or_else(|_| panic!("{name}: the {:?} viewer waits in vain", self.protocol));
    }

    /// Everything that came.
    #[track_caller]
    fn played(self, runtime: &Runtime) -> Vec<Tag> {
        runtime.block_on(self.tags).expect("a viewer that goes on to the end; its panic is above")
    }
}

/// One fixture with the viewers that wait for it.
struct Case<'a> {
    weir: &'a Weir,
    runtime: &'a Runtime,
    fixture: Fixture,
    stream: String,
    early: [Script; 2],
    early_ffmpeg: Recording,
}

impl<'a> Case<'a> {
    fn waiting(weir: &'a Weir, runtime: &'a Runtime, fixture: Fixture) -> Self {
        let stream = format!("live/{fixture:?}");
        let script = |protocol| Script::start(runtime, weir, &stream, protocol, LATE_MILLIS);
        Self {
            early: Protocol::ALL.map(script),
            early_ffmpeg: record(weir, fixture, &stream, Protocol::Rtmp),
            weir,
            runtime,
            fixture,
            stream,
        }
    }

    /// Publishes, lets the late viewers in, and compares what everybody got.
    fn play(self) {
        let Self { weir, runtime, fixture, stream, early, early_ffmpeg } = self;
        let file = fixture.file();
        let mut publisher = fixture.ffmpeg().publish(&file, &weir.rtmp_url(&stream));
        early[0].wait(&stream);
        let script = |protocol| Script::start(runtime, weir, &stream, protocol, 0);
        let late = Protocol::ALL.map(script);
        let late_ffmpeg = record(weir, fixture, &stream, Protocol::HttpFlv);
        publisher.wait_success(TIMEOUT);

        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let copy = folder.path().join("published.flv");
        as_published(fixture, &copy);
        let source = tags_of(&copy);
        for script in early {
            let name = format!("{fixture:?}, {:?} viewer from the start", script.protocol);
            let played = script.played(runtime);
            check(&name, &Media::of_tags(&source), &Media::of_tags(&played));
            check_start(&name, &source, &played);
            let (first, expected) = (first_picture(&played), first_picture(&source));
            assert_eq!(first, expected, "{name}: starts with the first picture");
        }
        for script in late {
            let name = format!("{fixture:?}, late {:?} viewer", script.protocol);
            let played = script.played(runtime);
            check(&name, &Media::of_tags(&source), &Media::of_tags(&played));
            check_start(&name, &source, &played);
            let first = played.iter().map(frame_of).find(is_coded);
            let first = first.expect("checked to have packets").dts.to_wire();
            let places = LATE_MILLIS - LATE_START_MILLIS..LATE_MILLIS + 4 * LATE_START_MILLIS;
            assert!(
                places.contains(&first),
                "{name}: starts at {first} ms, not with the newest group"
            );
        }
        let source = read(fixture.ffmpeg(), &copy.display().to_string(), Form::Carried, TIMEOUT);
        for (name, recording) in [("from the start", early_ffmpeg), ("late", late_ffmpeg)] {
            let played = recording.finish(TIMEOUT);
            check(&format!("{fixture:?}, FFmpeg {name}"), &source, &played);
        }
    }
}

/// Writes into `copy` what FFmpeg publishes of a fixture: to copy VP9 is to correct its configuration record.
fn as_published(fixture: Fixture, copy: &Path) {
    let mut command = fixture.ffmpeg().command();
    command.arg("-i").arg(fixture.file()).args(["-map", "0", "-c", "copy"]).arg(copy);
    Process::start("FFmpeg copying", &mut command).wait_success(TIMEOUT);
}

fn record(weir: &Weir, fixture: Fixture, stream: &str, protocol: Protocol) -> Recording {
    Recording::start(fixture.ffmpeg(), &protocol.url(weir, stream), Form::Carried)
}

/// Requires that `played` is the end of `source`, with all the sound that belongs to its pictures.
#[track_caller]
fn check(name: &str, source: &Media, played: &Media) {
    let result = continuation(source, played, Extent::ToEnd, Duration::ZERO);
    result.unwrap_or_else(|difference| panic!("{name}: {difference}"));
    let (Some(picture), Some(sound)) =
        (played.packets(Kind::Video).first(), played.packets(Kind::Audio).first())
    else {
        return;
    };
    let pictures = source.packets(Kind::Video);
    let published = pictures.iter().find(|packet| packet.hash == picture.hash);
    let shift = published.map_or(0, |published| picture.dts_us - published.dts_us);
    let due =
        source.packets(Kind::Audio).iter().find(|packet| packet.dts_us + shift > picture.dts_us);
    assert!(
        due.is_none_or(|due| sound.dts_us <= due.dts_us + shift),
        "{name}: sound begins at {} us, pictures at {} us; sound between them is missing: {due:?}",
        sound.dts_us,
        picture.dts_us
    );
}

/// Requires that metadata and the configuration of each track come before anything else, and a key frame as the first
/// picture.
#[track_caller]
fn check_start(name: &str, source: &[Tag], played: &[Tag]) {
    let frames: Vec<_> = played.iter().map(frame_of).collect();
    let before: Vec<_> = frames.iter().take_while(|frame| !is_coded(frame)).collect();
    let first = before.first().map(|frame| frame.content);
    assert_eq!(first, Some(Content::Metadata), "{name}: the first message");
    let configs = |frames: &[&Frame]| -> BTreeSet<Bytes> {
        let is_config =
            |content| matches!(content, Content::VideoConfig(_) | Content::AudioConfig(_));
        let configs = frames.iter().filter(|frame| is_config(frame.content));
        configs.map(|frame| frame.payload.clone()).collect()
    };
    let published: Vec<_> = source.iter().map(frame_of).collect();
    let published = configs(&published.iter().collect::<Vec<_>>());
    assert_eq!(
        configs(&before),
        published,
        "{name}: configuration records before the first packet"
    );
    let picture = frames.iter().find(|frame| frame.is_picture());
    assert!(picture.is_none_or(Frame::is_key), "{name}: the first picture is {picture:?}");
}

fn is_coded(frame: &Frame) -> bool {
    matches!(frame.content, Content::Video { .. } | Content::Audio(_))
}

fn first_picture(tags: &[Tag]) -> Option<Bytes> {
    tags.iter().map(frame_of).find(Frame::is_picture).map(|frame| frame.payload)
}

#[test]
fn every_packet_comes_out_for_early_and_late_viewers() {
    // Made before anybody waits for them.
    Fixture::ALL.into_iter().for_each(|fixture| drop(fixture.file()));
    let (weir, runtime) = (start(), Runtime::new().expect("a runtime"));
    let cases = Fixture::ALL.map(|fixture| Case::waiting(&weir, &runtime, fixture));
    runtime.block_on(connected(&weir, 3 * Fixture::ALL.len() as u64));
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| case.play());
        }
    });
}

/// Captures of encoders, all of which must pass as they are, and one that is made here.
fn captures() -> Vec<(String, Vec<Tag>)> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../flv/testdata"));
    let entries = folder.read_dir().expect("the captures of weir-flv");
    let files = entries.map(|entry| entry.expect("a readable folder").path());
    let mut captures: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "flv"))
        .map(|file| (file.file_stem().expect("a name").display().to_string(), tags_of(&file)))
        .collect();
    assert!(captures.len() > 5, "captures are missing from {}", folder.display());
    let hevc = captures.iter().find(|(name, _)| name.contains("hevc-aac")).expect("there is one");
    captures.push(("mod-ex".to_owned(), hevc.1.iter().enumerate().map(with_mod_ex).collect()));
    captures
}

/// A video tag of Enhanced RTMP with nanoseconds before its packet type, as v2 has them; others as they are.
fn with_mod_ex((index, tag): (usize, &Tag)) -> Tag {
    const EX_HEADER: u8 = 0x80;
    const MOD_EX: u8 = 7;
    let Some((first, rest)) = tag.body.split_first() else { return tag.clone() };
    if tag.kind != TagKind::Video || first & EX_HEADER == 0 {
        return tag.clone();
    }
    let nanos = u32::try_from(index).expect("a short capture").to_be_bytes();
    let mut body = vec![first & 0xf0 | MOD_EX, 2, nanos[1], nanos[2], nanos[3], first & 0x0f];
    body.extend_from_slice(rest);
    Tag { body: body.into(), ..tag.clone() }
}

/// What must pass unharmed: everything but metadata, to which the server adds its name, and what comes before the first
/// key frame without being needed later.
struct Carried {
    /// Configuration records and the like, without their order: late viewers get them track by track.
    init: BTreeSet<Bytes>,
    /// Everything else, in its order.
    messages: Vec<(TagKind, Bytes)>,
}

impl Carried {
    fn of(tags: &[Tag]) -> Self {
        let frames: Vec<_> = tags.iter().map(|tag| (tag.kind, frame_of(tag))).collect();
        let (init, rest): (Vec<_>, Vec<_>) =
            frames.into_iter().partition(|(_, frame)| frame.init_slot().is_some());
        let init = init.into_iter().filter(|(_, frame)| frame.content != Content::Metadata);
        let start = first_start(tags.iter().filter(|tag| frame_of(tag).init_slot().is_none()));
        Self {
            init: init.map(|(_, frame)| frame.body).collect(),
            messages: rest[start..]
                .iter()
                .map(|(kind, frame)| (*kind, frame.body.clone()))
                .collect(),
        }
    }

    #[track_caller]
    fn assert_same(&self, played: &Self, name: &str) {
        assert_eq!(self.init, played.init, "{name}: configuration records and the like");
        let differs = self.messages.iter().zip(&played.messages).position(|(a, b)| a != b);
        assert_eq!(
            differs, None,
            "{name}: the first message that differs, counted from the key frame"
        );
        assert_eq!(self.messages.len(), played.messages.len(), "{name}: messages");
    }
}

/// Multitrack, ModEx and whatever else Enhanced RTMP brings are the viewer's to understand.
#[test]
fn bodies_of_all_kinds_pass_unharmed() {
    let (weir, runtime) = (start(), Runtime::new().expect("a runtime"));
    for (name, tags) in captures() {
        let stream = format!("live/{name}");
        let viewers =
            Protocol::ALL.map(|protocol| Script::start(&runtime, &weir, &stream, protocol, 0));
        let url = weir.rtmp_url(&stream);
        let (first, rest) = tags.split_at(all_flow(&tags) + 1);
        let mut publisher = runtime.block_on(Publisher::silent(&url));
        runtime.block_on(send_all(&mut publisher, first));
        // What is sent faster than it is played would let the viewers start later.
        viewers.iter().for_each(|viewer| viewer.wait(&name));
        runtime.block_on(async {
            send_all(&mut publisher, rest).await;
            publisher.stop().await;
        });
        let published = Carried::of(&tags);
        for viewer in viewers {
            let name = format!("{name} over {:?}", viewer.protocol);
            published.assert_same(&Carried::of(&viewer.played(&runtime)), &name);
        }
    }
}

/// Where viewers can start: the first key frame, or the first packet if there are no pictures.
fn first_start<'a>(tags: impl IntoIterator<Item = &'a Tag>) -> usize {
    let frames: Vec<_> = tags.into_iter().map(frame_of).collect();
    let start = frames.iter().position(Frame::is_key);
    start.or_else(|| frames.iter().position(is_coded)).expect("a capture of media")
}

/// Where viewers are let in: when pictures and sound, as far as the capture has them, have come.
fn all_flow(tags: &[Tag]) -> usize {
    let coded = |kind| move |tag: &Tag| tag.kind == kind && is_coded(&frame_of(tag));
    let first = |kind| tags.iter().position(coded(kind));
    let firsts = [first(TagKind::Video), first(TagKind::Audio), Some(first_start(tags))];
    firsts.into_iter().flatten().max().expect("a capture of media")
}

async fn send_all(publisher: &mut Publisher, tags: &[Tag]) {
    for tag in tags {
        publisher.send(tag).await;
    }
}

/// Another avcC, as an encoder sends that changes its settings: the level is another one.
fn other_avcc() -> Vec<u8> {
    let init = Numbered::default().init();
    let config = init.iter().map(frame_of).find(|frame| frame.track == Track::Video(0));
    let mut avcc = config.expect("a configuration record").payload.to_vec();
    avcc[3] += 1;
    avcc
}

/// The payloads of the video configuration records that come before the first picture.
async fn first_configs(player: &mut Player) -> Vec<Bytes> {
    let mut configs = Vec::new();
    while let Some(tag) = player.next().await {
        let frame = frame_of(&tag);
        match frame.content {
            Content::VideoConfig(VideoCodec::Avc) => configs.push(frame.payload),
            Content::Video { key, .. } => {
                assert!(key, "the first picture of a late viewer is no key frame");
                return configs;
            }
            _ => {}
        }
    }
    panic!("the stream ended before its first picture");
}

#[tokio::test]
async fn a_late_viewer_gets_the_configuration_that_is_in_force() {
    let (weir, url) = (start(), "live/a");
    let mut publisher = Publisher::start(&weir.rtmp_url(url), Numbered::new(5)).await;
    publisher.pictures(7).await;
    let mut viewer = Viewer::rtmp(&weir.rtmp_url(url)).await;
    viewer.until_picture(6).await;
    let config =
        video::encode(video::FrameType::Key, video::Packet::Config(VideoCodec::Avc), &other_avcc());
    publisher.pictures(3).await;
    publisher.send(&Tag { kind: TagKind::Video, timestamp: 400, body: config }).await;
    let newest = publisher.pictures(7).await;
    // Who was there sees the change where it was published, and no picture less.
    viewer.until_picture(newest).await;
    for protocol in Protocol::ALL {
        let mut late = match protocol {
            Protocol::Rtmp => Player::rtmp(&weir.rtmp_url(url)).await,
            Protocol::HttpFlv => Player::http_flv(weir.http(), "live/a.flv").await,
        };
        let configs = first_configs(&mut late).await;
        assert_eq!(configs, [other_avcc()], "{protocol:?}");
    }
}

#[tokio::test]
async fn sound_that_is_announced_and_silent_is_told_of_over_rtmp_only() {
    let weir = start();
    let source = Numbered::new(5).with_silent_sound();
    let every = Duration::from_millis(40);
    let encoder = Encoder::start(&weir.rtmp_url("live/a"), source, every).await;
    // The first viewer, and one that comes later.
    for _ in 0..2 {
        let mut player = Player::http_flv(weir.http(), "live/a.flv").await;
        let first = until_pictures(&mut player, 10).await;
        let header = player.flv_header().expect("a header");
        assert_eq!((header.has_audio, header.has_video), (false, true));
        assert!(first.iter().all(|tag| tag.kind != TagKind::Audio), "{first:?}");
        let metadata = Metadata::parse(&first[0].body).expect("AMF").expect("metadata first");
        assert_eq!((metadata.has_audio(), metadata.has_video()), (Some(false), Some(true)));
    }
    let first = until_pictures(&mut Player::rtmp(&weir.rtmp_url("live/a")).await, 1).await;
    let metadata = first.iter().find(|tag| tag.kind == TagKind::Script).expect("metadata");
    let metadata = Metadata::parse(&metadata.body).expect("AMF").expect("metadata");
    assert_eq!(metadata.has_audio(), Some(true));
    assert!(first.iter().any(|tag| tag.kind == TagKind::Audio), "the configuration: {first:?}");
    drop(encoder);
}

/// What comes up to the picture of this number, counted from one.
async fn until_pictures(player: &mut Player, count: usize) -> Vec<Tag> {
    let (mut tags, mut pictures) = (Vec::new(), 0);
    while pictures < count {
        let tag = player.next().await.expect("the stream goes on");
        pictures += usize::from(frame_of(&tag).is_picture());
        tags.push(tag);
    }
    tags
}

#[tokio::test]
async fn a_first_group_waits_for_nobody() {
    let weir = start();
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(250)).await;
    let newest = publisher.pictures(50).await;
    // Two seconds of a group that is not over: the viewer has all of it at once, and the publisher says nothing more.
    let asked = Instant::now();
    let mut viewer = Viewer::http_flv(weir.http(), "live/a.flv").await;
    viewer.until_picture(newest).await;
    assert_eq!(viewer.numbers().pictures, Some((0, newest)));
    assert!(asked.elapsed() < Duration::from_secs(5), "joining took {:?}", asked.elapsed());
}

#[test]
fn weir_publish_sends_a_file_as_it_is() {
    let (weir, runtime) = (start(), Runtime::new().expect("a runtime"));
    let file = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../flv/testdata/ffmpeg-5.1-h264-bframes-aac.flv"
    ));
    let once = Script::start(&runtime, &weir, "live/once", Protocol::Rtmp, 0);
    // The capture is one second long: at 2.5 s, the third round has begun.
    let looped = Script::start(&runtime, &weir, "live/looped", Protocol::HttpFlv, LATE_MILLIS);
    runtime.block_on(connected(&weir, 2));
    let publish = |options: &[&str], stream| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir"));
        command.arg("publish").args(options).arg(file).arg(weir.rtmp_url(stream));
        Process::start("weir publish", &mut command)
    };
    let mut looping = publish(&["--loop"], "live/looped");
    publish(&[], "live/once").wait_success(TIMEOUT);
    let source = tags_of(file);
    let played = once.played(&runtime);
    packets::assert_continuation(&Media::of_tags(&source), &Media::of_tags(&played));
    Carried::of(&source).assert_same(&Carried::of(&played), "weir publish");

    looped.wait("weir publish --loop");
    looping.kill();
    let played = looped.played(&runtime);
    check_rounds(&source, &played);
}

/// Requires that `played` is `source` at least twice in a row, on one timeline.
fn check_rounds(source: &[Tag], played: &[Tag]) {
    for kind in [TagKind::Video, TagKind::Audio] {
        let coded = |tags: &[Tag]| -> Vec<(u32, Bytes)> {
            let tags = tags.iter().filter(|tag| tag.kind == kind && is_coded(&frame_of(tag)));
            tags.map(|tag| (tag.timestamp, tag.body.clone())).collect()
        };
        let (source, played) = (coded(source), coded(played));
        let rounds: Vec<_> = played.chunks(source.len()).collect();
        assert!(rounds.len() > 2, "{kind:?}: {} packets of {}", played.len(), source.len());
        for (number, round) in rounds.into_iter().enumerate() {
            let offset = round[0].0 - source[0].0;
            let expected = source.iter().map(|(at, body)| (at + offset, body.clone()));
            assert!(
                round.iter().cloned().eq(expected.take(round.len())),
                "{kind:?}, round {number}"
            );
        }
        let times: Vec<_> = played.iter().map(|(at, _)| *at).collect();
        let steps: BTreeSet<_> =
            times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
        assert!(
            steps.iter().all(|step| (1..=200).contains(step)),
            "{kind:?}: steps of {steps:?} ms"
        );
    }
}
