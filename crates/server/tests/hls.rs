//! HLS: the packets that go in come out of the segments, and the playlist is one that players can live on.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use weir_flv::{Tag, TagKind, video};
use weir_media::{Track, VideoCodec};
use weir_testkit::{
    Weir,
    cluster::Cluster,
    eventually,
    ffmpeg::Ffmpeg,
    fixture::{self, Fixture},
    hls::Playlist,
    http::{self, Response},
    packets::{Extent, Form, Kind, Media, continuation, frame_of, read, tags_of},
    peer::{Encoder, Numbered, PICTURE_MILLIS, Player, Publisher, Viewer},
    server::field,
};

/// For the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Times are milliseconds in FLV; sound in MPEG-TS has those of its sampling rate when FFmpeg reads it.
const TOLERANCE: Duration = Duration::from_millis(1);

/// Pictures of a GOP of the numbered streams: one second.
const GOP: u64 = 25;

fn start(config: &str) -> Weir {
    Weir::builder(env!("CARGO_BIN_EXE_weir")).config(config).start()
}

/// A server whose HLS folder is `dir`, with segments of one second and the shortest window.
fn start_in(dir: &Path) -> Weir {
    start(&format!("hls: {{ dir: \"{}\", segment: 1s, window: 3 }}\n", dir.display()))
}

async fn get(weir: &Weir, path: &str) -> Response {
    http::get(weir.http(), path).await
}

/// The playlist of `live/a`.
///
/// # Panics
/// If there is none.
async fn playlist(weir: &Weir) -> Playlist {
    let mut response = get(weir, "live/a.m3u8").await;
    let text = response.text().await;
    assert_eq!(response.status, 200, "live/a.m3u8: {text}");
    Playlist::parse(&text)
}

/// The playlist of `live/a` once `is_good`.
async fn playlist_when(weir: &Weir, what: &str, is_good: impl Fn(&Playlist) -> bool) -> Playlist {
    let what = format!("a playlist of live/a that {what}");
    eventually(&what, TIMEOUT, async || Some(playlist(weir).await).filter(&is_good)).await
}

/// Sends whole GOPs, and the key frame behind them, which ends the last one's segment. The next publisher goes on with
/// the source that is returned.
async fn publish_gops(url: &str, source: Numbered, gops: u64) -> Numbered {
    let mut publisher = Publisher::start(url, source).await;
    publisher.pictures(gops * GOP + 1).await;
    let source = publisher.source();
    publisher.stop().await;
    source
}

async fn publish_tags(url: &str, tags: &[Tag]) {
    let mut publisher = Publisher::silent(url).await;
    for tag in tags {
        publisher.send(tag).await;
    }
    publisher.stop().await;
}

#[tokio::test]
async fn what_ts_carries_comes_out() {
    let weir = start("publish: { linger: 0s }\nhls: { segment: 2s, window: 20 }\n");
    let fixtures = [
        Fixture::AvcAac,
        Fixture::AvcBFramesAac,
        Fixture::AudioOnly,
        Fixture::VideoOnly,
        Fixture::AvcMp3,
        Fixture::HevcAac,
    ];
    for fixture in fixtures {
        let stream = format!("live/{fixture:?}");
        let tags = tags_of(&fixture.file());
        publish_tags(&weir.rtmp_url(&stream), &tags).await;
        let playlist = eventually(&format!("the end of {stream}"), TIMEOUT, async || {
            let mut response = get(&weir, &format!("{stream}.m3u8")).await;
            let text = response.text().await;
            assert_eq!(response.status, 200, "{stream}.m3u8: {text}");
            Some(Playlist::parse(&text)).filter(|playlist| playlist.ended)
        })
        .await;
        check_durations(fixture, &tags, &playlist);
        check_packets(&weir, fixture, &stream, &tags);
        check_segments(&weir, fixture, &stream, &playlist).await;
    }
}

/// Requires that the segments last as long as the stream and are cut at its key frames.
#[track_caller]
fn check_durations(fixture: Fixture, tags: &[Tag], playlist: &Playlist) {
    let media = Media::of_tags(tags);
    let pace = &media.streams[0];
    let times: Vec<_> = pace.packets.iter().map(|packet| packet.dts_us).collect();
    let step = times[times.len() - 1] - times[times.len() - 2];
    let length = pace.duration() + Duration::from_micros(step.unsigned_abs());
    assert_eq!(playlist.duration(), length, "{fixture:?}: the sum of EXTINF in {playlist:#?}");
    assert_eq!(playlist.segments.len(), 4, "{fixture:?}: 8 s in segments of 2 s: {playlist:#?}");
    let keys =
        pace.packets.iter().filter(|packet| packet.key).map(|packet| packet.dts_us - times[0]);
    let keys: Vec<_> = keys.collect();
    let mut at = Duration::ZERO;
    for segment in &playlist.segments {
        let start = i64::try_from(at.as_micros()).expect("a short stream");
        assert!(
            keys.contains(&start),
            "{fixture:?}: no key frame at {at:?}, where {segment:?} starts"
        );
        assert_eq!(
            segment.discontinuity,
            at.is_zero(),
            "{fixture:?}: nothing interrupts {segment:?}"
        );
        assert!(segment.duration.as_secs_f64().round() as u64 <= playlist.target_duration);
        at += segment.duration;
    }
}

/// Requires that a player of the whole playlist gets every packet from the first key frame on.
#[track_caller]
fn check_packets(weir: &Weir, fixture: Fixture, stream: &str, tags: &[Tag]) {
    let (ffmpeg, form) = (fixture.ffmpeg(), Form::Elementary(fixture));
    let url = weir.http_url(&format!("{stream}.m3u8"));
    let played = read(ffmpeg, &url, form, TIMEOUT);
    let source = read(ffmpeg, &fixture.file().display().to_string(), form, TIMEOUT);
    let result = continuation(&source, &played, Extent::ToEnd, TOLERANCE);
    result.unwrap_or_else(|difference| panic!("{fixture:?} over HLS: {difference}"));
    let start = tags.iter().position(|tag| frame_of(tag).is_key()).unwrap_or(0);
    let published = Media::of_tags(&tags[start..]);
    for kind in [Kind::Video, Kind::Audio] {
        let counts = [&published, &played].map(|media| media.packets(kind).len());
        assert_eq!(counts[0], counts[1], "{fixture:?}: {kind:?} packets published and played");
    }
}

/// Requires that each segment can be played by itself and begins with a key frame.
async fn check_segments(weir: &Weir, fixture: Fixture, stream: &str, playlist: &Playlist) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let app = stream.rsplit_once('/').expect("an app and a name").0;
    for segment in &playlist.segments {
        let data = get(weir, &format!("{app}/{}", segment.uri)).await.bytes().await;
        assert!(data.len().is_multiple_of(188), "{} is cut off: {} bytes", segment.uri, data.len());
        let file = folder.path().join(&segment.uri);
        fs::write(&file, &data).expect("a temporary folder can be written to");
        if fixture == Fixture::AvcBFramesAac || fixture == Fixture::HevcAac {
            let media = read(fixture.ffmpeg(), &file.display().to_string(), Form::Carried, TIMEOUT);
            let first = media.packets(Kind::Video).first();
            assert!(
                first.is_some_and(|packet| packet.key),
                "{}: starts with {first:?}",
                segment.uri
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_are_those_of_a_live_encoder_and_its_length() {
    let weir = start("publish: { linger: 0s }\nhls: { segment: 1s, window: 20 }\n");
    let fixture = Fixture::AvcBFramesAac;
    let before = now();
    let mut encoder = Ffmpeg::System.publish(&fixture.file(), &weir.rtmp_url("live/a"));
    // A player that comes as early as this is answered when the first segment is whole. It comes too early as long as
    // the encoder has not connected.
    let first = eventually("the first segment", TIMEOUT, async || {
        let mut response = get(&weir, "live/a.m3u8").await;
        let text = response.text().await;
        (response.status == 200).then(|| Playlist::parse(&text))
    })
    .await;
    assert_eq!((first.segments.len(), first.ended), (1, false), "{first:#?}");
    tokio::task::spawn_blocking(move || encoder.wait_success(TIMEOUT)).await.expect("the encoder");
    let playlist = playlist_when(&weir, "has ended", |playlist| playlist.ended).await;
    let dates: Vec<_> = playlist.segments.iter().map(|segment| segment.date).collect();
    let dates: Vec<_> = dates.into_iter().map(|date| date.expect("a date")).collect();
    assert!(dates[0] > before && dates[dates.len() - 1] < now(), "{before:?} {playlist:#?}");
    let mut expected = dates[0];
    for (date, segment) in dates.iter().zip(&playlist.segments) {
        let off = date.abs_diff(expected);
        // FFmpeg sends in real time; how exactly is the machine's affair.
        assert!(off < Duration::from_secs(1), "{segment:?} is dated {off:?} from where it lies");
        expected += segment.duration;
    }
    assert!(playlist.duration() + Duration::from_millis(1) > fixture::DURATION, "{playlist:#?}");
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970")
}

/// The files of `dir`.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = dir.read_dir().unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    entries.map(|entry| entry.expect("a readable folder").path()).collect()
}

/// Requires that every segment that the playlist on disk lists is there as a whole.
fn check_disk(folder: &Path) {
    let list = || match fs::read_to_string(folder.join("a.m3u8")) {
        Ok(text) => Playlist::parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Playlist::default(),
        Err(error) => panic!("a.m3u8: {error}"),
    };
    for segment in list().segments {
        match fs::read(folder.join(&segment.uri)) {
            Ok(data) => {
                let is_whole = !data.is_empty() && data.len().is_multiple_of(188);
                assert!(is_whole, "{} is listed with {} bytes", segment.uri, data.len());
            }
            // It may have left the playlist, and later its folder, since the playlist was read.
            Err(error) => {
                assert!(!list().segments.contains(&segment), "{segment:?} is listed: {error}");
            }
        }
    }
}

/// Looks at the disk again and again, as nginx does for its clients, until the other end is dropped.
fn watch_disk(folder: &Path, stop: &mpsc::Receiver<()>) -> usize {
    let mut looks = 0;
    while stop.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
        check_disk(folder);
        looks += 1;
    }
    looks
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_with_the_publisher_waits_for_the_first_segment_however_long_that_is() {
    let weir = start("play: { wait: 1s }\nhls: { segment: 3s }\n");
    let pause = Duration::from_millis(PICTURE_MILLIS.into());
    let _encoder = Encoder::start(&weir.rtmp_url("live/a"), Numbered::new(GOP), pause).await;
    assert_eq!(playlist(&weir).await.segments.len(), 1);
    // What nobody publishes is waited for as long as the configuration says.
    let begun = Instant::now();
    assert_eq!(get(&weir, "live/b.m3u8").await.status, 404);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_slides_and_old_files_go() {
    const SEGMENTS: u64 = 30;
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let (weir, folder) = (start_in(dir.path()), dir.path().join("live"));
    fs::create_dir(&folder).expect("a temporary folder can be written to");
    let (stop, stopped) = mpsc::channel();
    let watched = folder.clone();
    let watcher = tokio::task::spawn_blocking(move || watch_disk(&watched, &stopped));
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(GOP)).await;
    publisher.pictures(GOP + 1).await;
    let first = playlist_when(&weir, "has a segment", |_| true).await;
    for number in 2..=SEGMENTS {
        publisher.pictures(GOP).await;
        let next = first.media_sequence + number;
        let what = format!("goes on to segment {}", next - 1);
        let playlist =
            playlist_when(&weir, &what, |playlist| playlist.next_sequence() == next).await;
        let listed = usize::try_from(number.min(3)).expect("three at most");
        assert_eq!(
            playlist.segments.len(),
            listed,
            "window: 3, after {number} segments: {playlist:#?}"
        );
        assert_eq!(playlist.target_duration, 1, "{playlist:#?}");
        let slid_out = u64::from(number > 3);
        assert_eq!(playlist.discontinuity_sequence, slid_out, "{playlist:#?}");
        for segment in &playlist.segments {
            assert_eq!(segment.duration, Duration::from_secs(1), "{playlist:#?}");
        }
    }
    drop(stop);
    let looks = watcher.await.expect("a disk on which every listed segment is whole");
    assert!(looks as u64 > SEGMENTS, "only {looks} looks at the disk: it proves nothing");

    until_written(&folder, first.media_sequence + SEGMENTS).await;
    // Files follow what is served, and what is unfinished has no name yet.
    let (segments, others) = eventually("what was being written", TIMEOUT, async || {
        let is = |file: &Path, end: &str| file.extension().is_some_and(|it| it == end);
        let (segments, others): (Vec<_>, Vec<_>) =
            files(&folder).into_iter().partition(|file| is(file, "ts"));
        // Three are listed; four may still be loaded by players of an older playlist (RFC 8216, 6.2.2).
        let is_done = (3..=8).contains(&segments.len()) && !others.iter().any(|it| is(it, "tmp"));
        is_done.then_some((segments, others))
    })
    .await;
    assert_eq!(others, [folder.join("a.m3u8")], "only the playlist beside {segments:?}");
    let gone = format!("live/{}", first.segments[0].uri);
    let mut response = get(&weir, &gone).await;
    let text = response.text().await;
    assert_eq!(response.status, 404, "{gone} slid out of the window long ago: {text}");
    assert!(text.contains("no segment"), "{text:?}");
    let unfinished = get(&weir, "live/a.m3u8.tmp").await;
    assert_eq!(unfinished.status, 404, "temporary files are not served");
}

#[tokio::test]
async fn numbers_go_on_after_a_kill() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let mut weir = start_in(dir.path());
    let source = publish_gops(&weir.rtmp_url("live/a"), Numbered::new(GOP), 3).await;
    let before = playlist_when(&weir, "has 3 segments", |list| list.segments.len() == 3).await;
    let folder = dir.path().join("live");
    until_written(&folder, before.next_sequence()).await;
    weir.kill();
    // Of an earlier release, of this one, and of somebody else.
    let number = before.media_sequence - 1;
    let strays =
        [format!("a-{number}.ts"), format!("a-{number}-abcdefghijklmnop.ts"), "a-1.ts".to_owned()]
            .map(|name| folder.join(name));
    for stray in &strays {
        fs::write(stray, b"a segment that no playlist knows any more").expect("a writable folder");
    }

    let weir = start_in(dir.path());
    let left = playlist(&weir).await;
    assert_eq!(left, before, "what the killed process left is there until it is continued");
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), source).await;
    // The first picture is no key frame: the GOP was begun before.
    publisher.pictures(2 * GOP).await;
    let next = before.next_sequence();
    let after = playlist_when(&weir, "goes on", |list| list.next_sequence() == next + 1).await;
    assert_eq!(after.media_sequence, before.media_sequence + 1, "{after:#?}");
    assert_eq!(after.segments[..2], before.segments[1..], "what players know stays as it is");
    let new = &after.segments[2];
    assert!(new.uri.starts_with(&format!("a-{next}-")), "the next number: {after:#?}");
    assert!(new.discontinuity, "the timeline starts anew: {after:#?}");
    until_written(&folder, next + 2).await;
    eventually("what Weir wrote is cleaned up", TIMEOUT, async || {
        let left = [&strays[0], &strays[1]].map(|stray| stray.exists());
        (left == [false, false]).then_some(())
    })
    .await;
    assert!(strays[2].exists(), "and nothing else");
}

#[tokio::test]
async fn without_a_folder_all_is_served_and_nothing_is_written() {
    let config = "hls: { dir: '', segment: 1s, window: 3 }\npublish: { linger: 0s }\n";
    let mut weir = start(config);
    let source = publish_gops(&weir.rtmp_url("live/a"), Numbered::new(GOP), 3).await;
    let before = playlist_when(&weir, "has ended", |list| list.ended).await;
    for segment in &before.segments {
        let path = format!("live/{}", segment.uri);
        let bytes = get(&weir, &path).await.bytes().await;
        assert!(!bytes.is_empty() && bytes.len().is_multiple_of(188), "{path}");
    }
    let written = weir.dir().join("data");
    assert!(!written.exists(), "{}", written.display());
    weir.kill();

    // The next process knows nothing of it, and begins where the clock is: no name is used again.
    let weir = start(config);
    publish_gops(&weir.rtmp_url("live/a"), source, 2).await;
    let after = playlist_when(&weir, "has ended", |list| list.ended).await;
    assert!(after.media_sequence >= before.media_sequence, "{before:#?} {after:#?}");
    assert!(after.segments[0].discontinuity, "{after:#?}");
    assert!(!after.segments.iter().any(|new| before.segments.iter().any(|old| old.uri == new.uri)));
}

/// Waits until the playlist in the folder has all segments before the one of this number.
async fn until_written(folder: &Path, next: u64) {
    eventually(&format!("files before {next}"), TIMEOUT, async || {
        let text = fs::read_to_string(folder.join("a.m3u8")).ok()?;
        (Playlist::parse(&text).next_sequence() >= next).then_some(())
    })
    .await;
}

/// The decoder configuration record of an encoder that has changed its settings.
fn other_avcc() -> Vec<u8> {
    let init = Numbered::default().init();
    let config = init.iter().map(frame_of).find(|frame| frame.track == Track::Video(0));
    let mut avcc = config.expect("a configuration record").payload.to_vec();
    avcc[3] += 1;
    avcc
}

/// Which of the listed segments have a discontinuity, by their place. The first one of a stream always has: players and
/// caches may know the stream from a server that has lost its disk.
fn discontinuities(playlist: &Playlist) -> Vec<usize> {
    let segments = playlist.segments.iter().enumerate();
    segments.filter(|(_, segment)| segment.discontinuity).map(|(at, _)| at).collect()
}

#[tokio::test]
async fn interruptions_are_discontinuities() {
    let weir = start("hls: { segment: 1s, window: 20 }\n");
    let url = weir.rtmp_url("live/a");

    let mut publisher = Publisher::start(&url, Numbered::new(GOP)).await;
    publisher.pictures(2 * GOP).await;
    let timestamp = u32::try_from(2 * GOP).expect("a short stream") * PICTURE_MILLIS;
    let packet = video::Packet::Config(VideoCodec::Avc);
    let body = video::encode(video::FrameType::Key, packet, &other_avcc());
    publisher.send(&Tag { kind: TagKind::Video, timestamp, body }).await;
    publisher.pictures(2 * GOP + 1).await;
    let list = playlist_when(&weir, "has 4 segments", |list| list.segments.len() == 4).await;
    assert_eq!(discontinuities(&list), [0, 2], "a new configuration after 2 s: {list:#?}");

    // The same encoder comes back within publish.linger, and then one with other settings.
    publisher.stop().await;
    let source = Numbered::new(GOP).with_avcc(other_avcc());
    publish_gops(&url, source, 2).await;
    let list = playlist_when(&weir, "has 7 segments", |list| list.segments.len() >= 7).await;
    assert_eq!(discontinuities(&list), [0, 2, 5], "a re-publish after the fifth: {list:#?}");
    assert!(!list.ended, "a stream that lingers has not ended: {list:#?}");
}

#[tokio::test]
async fn a_stream_that_ended_can_come_back() {
    let weir = start("publish: { linger: 0s }\nhls: { segment: 1s, window: 20 }\n");
    let url = weir.rtmp_url("live/a");
    publish_gops(&url, Numbered::new(GOP), 2).await;
    let first = playlist_when(&weir, "has ended", |list| list.ended).await;
    // The single picture after the last whole GOP makes a segment of its own at the end.
    assert_eq!((first.segments.len(), discontinuities(&first)), (3, vec![0]), "{first:#?}");
    publish_gops(&url, Numbered::new(GOP), 2).await;
    let next = first.next_sequence();
    let second =
        playlist_when(&weir, "has ended again", |list| list.ended && list.next_sequence() > next)
            .await;
    assert_eq!(second.media_sequence, first.media_sequence, "{second:#?}");
    assert_eq!(second.segments[..3], first.segments[..], "{second:#?}");
    assert_eq!((second.segments.len(), discontinuities(&second)), (6, vec![0, 3]), "{second:#?}");
}

#[tokio::test]
async fn a_codec_that_ts_cannot_carry_is_named_and_disturbs_nobody() {
    let weir = start("publish: { linger: 5s }\nhls: { segment: 1s, container: ts }\n");
    // Of AV1 with sound that can be carried, the sound is heard: `tracks.rs`.
    let (stream, name, tags) = ("live/VP9", "VP9", tags_of(&Fixture::Vp9Opus.file()));
    let (start, rest) =
        tags.split_at(tags.iter().position(|tag| frame_of(tag).is_key()).expect("a key frame") + 1);
    let mut publisher = Publisher::silent(&weir.rtmp_url(stream)).await;
    for tag in start {
        publisher.send(tag).await;
    }
    let mut players = [
        Player::rtmp(&weir.rtmp_url(stream)).await,
        Player::http_flv(weir.http(), &format!("{stream}.flv")).await,
    ];
    // Each has begun before the rest comes, much faster than it was filmed.
    let mut played = [Vec::new(), Vec::new()];
    for (player, played) in players.iter_mut().zip(&mut played) {
        while Media::of_tags(played).packets(Kind::Video).is_empty() {
            played.push(player.next().await.expect("the first key frame"));
        }
    }
    let mut response = get(&weir, &format!("{stream}.m3u8")).await;
    let text = response.text().await;
    assert_eq!(
        (response.status, response.header("cache-control")),
        (404, Some("no-store")),
        "{text}"
    );
    assert!(text.contains(name) && text.contains("RTMP and HTTP-FLV"), "{text:?}");
    let key = format!("/{stream}");
    let is_said = |line: &serde_json::Value| {
        let reason = field(line, "reason").as_str().unwrap_or_default();
        field(line, "stream") == key.as_str() && reason.contains(name)
    };
    assert_eq!(weir.wait_log(is_said, TIMEOUT)["level"], "WARN");

    for tag in rest {
        publisher.send(tag).await;
    }
    let source = Media::of_tags(&tags);
    for (player, mut played) in players.iter_mut().zip(played) {
        while Media::of_tags(&played).packets(Kind::Video).len() < source.packets(Kind::Video).len()
        {
            played.push(player.next().await.expect("the stream goes on"));
        }
        let result = continuation(&source, &Media::of_tags(&played), Extent::Run, Duration::ZERO);
        result.unwrap_or_else(|difference| panic!("{name}, while HLS refuses it: {difference}"));
    }
    publisher.stop().await;
    // Another publisher of the same stream may well be carried.
    publish_gops(&weir.rtmp_url("live/VP9"), Numbered::new(GOP), 2).await;
    eventually("HLS of the H.264 that follows VP9", TIMEOUT, async || {
        (get(&weir, "live/VP9.m3u8").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn answers_say_how_long_they_may_be_kept() {
    let weir = start("hls: { segment: 1s }\n");
    publish_gops(&weir.rtmp_url("live/a"), Numbered::new(GOP), 2).await;
    let uri = playlist_when(&weir, "has a segment", |_| true).await.segments.remove(0).uri;
    let expected = [
        ("live/a.m3u8".to_owned(), "application/vnd.apple.mpegurl", "public, max-age=1"),
        (format!("live/{uri}"), "video/mp2t", "public, max-age=86400, immutable"),
    ];
    for (path, content_type, cache) in expected {
        for method in ["GET", "HEAD"] {
            let head =
                format!("{method} /{path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n");
            let response = http::request(weir.http(), head.as_bytes()).await;
            let header = |name| response.header(name).unwrap_or_default();
            assert_eq!(response.status, 200, "{method} {path}");
            assert_eq!(header("content-type"), content_type, "{method} {path}");
            assert_eq!(header("cache-control"), cache, "{method} {path}");
            assert_eq!(header("access-control-allow-origin"), "*", "{method} {path}");
            assert!(header("content-length").parse::<u64>().is_ok_and(|length| length > 100));
        }
    }
    let mut nothing = get(&weir, "live/b.m3u8").await;
    let text = nothing.text().await;
    assert_eq!(
        (nothing.status, nothing.header("cache-control")),
        (404, Some("no-store")),
        "{text}"
    );
    assert!(text.contains("nobody publishes"), "{text:?}");
}

#[tokio::test]
async fn each_playlist_of_a_stream_has_a_name_and_its_viewer_counts_once() {
    let weir = start("hls: { segment: 1s }\n");
    publish_gops(&weir.rtmp_url("live/a"), Numbered::new(GOP), 2).await;
    let list = playlist_when(&weir, "has ended", |list| list.ended).await;
    let named = get(&weir, "live/a~v0.m3u8?_HLS_msn=999999999999&_HLS_part=x").await.text().await;
    assert_eq!(Playlist::parse(&named), list, "nothing is waited for where that is not offered");
    for (path, reason) in [
        ("live/a~v1.m3u8", "/live/a has no HLS playlist v1"),
        ("live/a~a1.m3u8", "/live/a has no HLS playlist a1"),
    ] {
        let mut answer = get(&weir, path).await;
        assert_eq!((answer.status, answer.text().await), (404, format!("{reason}\n")), "{path}");
    }
    let began = weir.log().all().into_iter().filter(|line| {
        let line = serde_json::from_str(line).unwrap_or_default();
        field(&line, "protocol") == "hls" && field(&line, "message") == "session began"
    });
    assert_eq!(began.count(), 1, "one viewer asked for all of these");
    // A stream that is really called that wins. Its files are not named like those of another one's playlists.
    publish_gops(&weir.rtmp_url("live/a~v1"), Numbered::new(GOP), 2).await;
    let path = "live/a~v1.m3u8";
    let own = playlist_at(&weir, path, 2).await;
    assert!(own.segments.iter().all(|segment| segment.uri.starts_with("av1~")), "{own:?}");
}

/// Requires that `text`, as it is in URLs of HTTP, and `rtmp` play a stream over everything.
async fn assert_plays(weir: &Weir, rtmp: &[&str], text: &[&str], newest: u64) {
    for name in rtmp {
        let mut viewer = Viewer::rtmp(&weir.rtmp_url(&format!("live/{name}"))).await;
        viewer.until_picture(newest).await;
    }
    for name in text {
        let mut viewer = Viewer::http_flv(weir.http(), &format!("live/{name}.flv")).await;
        viewer.until_picture(newest).await;
        let path = format!("live/{name}.m3u8");
        let mut response = get(weir, &path).await;
        let list = response.text().await;
        assert_eq!(response.status, 200, "{path}: {list}");
        let uri = Playlist::parse(&list).segments[0].uri.clone();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut segment = get(weir, &format!("{folder}/{uri}")).await;
        assert_eq!(segment.status, 200, "{uri} of {path}");
        assert!(segment.bytes().await.len() > 188, "{uri} of {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_one_stream_however_it_is_written_and_however_long_it_is() {
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let origin = cluster.origin(1, "hls: { segment: 1s }\n");
    let edge = cluster.edge(&["127.0.0.1"], "", "");
    let long = [239, 250, 255].map(|bytes| "x".repeat(bytes));
    let wide = "\u{5830}".repeat(85);
    let table: [(&str, &[&str], &[&str]); 11] = [
        ("my cam", &["my cam", "my%20cam"], &["my%20cam"]),
        ("your%20cam", &["your cam", "your%20cam"], &["your%20cam"]),
        ("100%", &["100%", "100%25"], &["100%", "100%25"]),
        ("a+b%2Bc", &["a+b+c"], &["a+b+c", "a%2Bb+c"]),
        ("x%2520y", &["x%2520y"], &["x%2520y"]),
        ("eu%2Fcam", &["eu/cam", "eu%2fcam"], &["eu/cam"]),
        ("\u{5830}", &["\u{5830}", "%E5%A0%B0"], &["%E5%A0%B0", "\u{5830}"]),
        (&long[0], &[&long[0]], &[&long[0]]),
        (&long[1], &[&long[1]], &[&long[1]]),
        (&long[2], &[&long[2]], &[&long[2]]),
        (&wide, &[&wide], &[&"%E5%A0%B0".repeat(85)]),
    ];
    let mut publishers = Vec::new();
    for (name, rtmp, http) in table {
        let url = origin.rtmp_url(&format!("live/{name}"));
        let mut publisher = Publisher::start(&url, Numbered::new(GOP)).await;
        let newest = publisher.pictures(2 * GOP + 1).await;
        assert_plays(&origin, rtmp, http, newest).await;
        assert_plays(&edge, rtmp, http, newest).await;
        publishers.push(publisher);
    }
    for weir in [&origin, &edge] {
        Viewer::http_flv(weir.http(), "live/eu%2Fcam.flv").await.until_picture(2 * GOP).await;
        // Beside a playlist under an encoded slash there would be other segments.
        let answer = get(weir, "live/eu%2fcam.m3u8?a=%2F").await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (302, Some("/live/eu/cam.m3u8?a=%2F"))
        );
        assert_eq!(get(weir, "%2Felsewhere/live/cam.m3u8").await.status, 400);
        // As bytes of UTF-8, as they are.
        let raw = "GET /live/\u{5830}.m3u8 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        assert_eq!(http::request(weir.http(), raw.as_bytes()).await.status, 200);
    }
    // What is decoded once is not decoded twice, and what is no text is nobody's.
    for path in ["live/x%20y.m3u8", "live/x%FFy.m3u8"] {
        let head =
            format!("GET /{path} HTTP/1.1\r\nHost: h\r\nWeir-Wait: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(http::request(origin.http(), head.as_bytes()).await.status, 404, "{path}");
    }
}

/// Asks `weir` with these header fields; the answer and its body.
async fn ask(weir: &Weir, path: &str, fields: &str) -> (Response, Vec<u8>) {
    let head = format!("GET /{path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n{fields}\r\n");
    let mut response = http::request(weir.http(), head.as_bytes()).await;
    let body = if response.status == 304 { Vec::new() } else { response.bytes().await.to_vec() };
    (response, body)
}

#[tokio::test]
async fn files_have_names_and_parts_at_origins_and_edges() {
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let origin = cluster.origin(1, "hls: { segment: 1s }\n");
    let edge = cluster.edge(&["127.0.0.1"], "", "");
    publish_gops(&origin.rtmp_url("live/a"), Numbered::new(GOP), 2).await;
    let list = playlist_when(&origin, "has ended", |list| list.ended).await;
    let segment = format!("live/{}", list.segments[0].uri);
    let mut names = Vec::new();
    for weir in [&origin, &edge] {
        let (whole, bytes) = ask(weir, &segment, "").await;
        let etag = whole.header("etag").expect("a name").to_owned();
        assert_eq!((whole.status, whole.header("accept-ranges")), (200, Some("bytes")));
        let length = bytes.len();
        let parts = [
            ("bytes=0-", 0..length),
            ("bytes=188-375", 188..376),
            ("bytes=-188", length - 188..length),
        ];
        for (range, part) in parts {
            for condition in [String::new(), format!("If-Range: {etag}\r\n")] {
                let fields = format!("Range: {range}\r\n{condition}");
                let (answer, body) = ask(weir, &segment, &fields).await;
                let said = format!("bytes {}-{}/{length}", part.start, part.end - 1);
                assert_eq!(
                    (answer.status, answer.header("content-range")),
                    (206, Some(&*said)),
                    "{fields}"
                );
                assert_eq!(answer.header("content-length"), Some(&*part.len().to_string()));
                assert_eq!(answer.header("content-type"), Some("video/mp2t"));
                assert_eq!(answer.header("etag"), Some(&*etag));
                assert!(body == bytes[part.clone()], "{fields}: other bytes");
            }
        }
        let other = "Range: bytes=188-375\r\nIf-Range: \"other\"\r\n";
        let (answer, body) = ask(weir, &segment, other).await;
        assert!(answer.status == 200 && body == bytes, "it has another file");
        let beyond = format!("Range: bytes={length}-\r\n");
        let (answer, _) = ask(weir, &segment, &beyond).await;
        let said = format!("bytes */{length}");
        assert_eq!((answer.status, answer.header("content-range")), (416, Some(&*said)));
        assert_eq!(answer.header("cache-control"), Some("no-store"));

        names.push(etag);
        for path in ["live/a.m3u8", &segment] {
            let etag = ask(weir, path, "").await.0.header("etag").expect("a name").to_owned();
            for known in [etag.clone(), format!("W/{etag}"), "*".to_owned()] {
                let fields = format!("If-None-Match: {known}\r\n");
                let (answer, _) = ask(weir, path, &fields).await;
                let header = |name| answer.header(name);
                assert_eq!((answer.status, header("etag")), (304, Some(&*etag)), "{path}");
                assert!(header("cache-control").is_some_and(|it| it.starts_with("public")));
                assert_eq!(header("access-control-allow-origin"), Some("*"));
            }
            let (answer, _) = ask(weir, path, "If-None-Match: \"other\"\r\n").await;
            assert_eq!(answer.status, 200, "{path}");
            if path != segment {
                names.push(etag);
            }
        }
        let head =
            format!("OPTIONS /{segment} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n");
        let answer = http::request(weir.http(), head.as_bytes()).await;
        let allowed = answer.header("access-control-allow-headers").expect("a list");
        let allowed: Vec<_> = allowed.split(", ").collect();
        for field in ["*", "Authorization", "Range", "If-Range", "If-None-Match"] {
            assert!(allowed.contains(&field), "{field} in {allowed:?}");
        }
    }
    assert_eq!(names[..2], names[2..], "origins and edges call the same the same");
}

/// The playlist of `path`, once it has so many segments.
async fn playlist_at(weir: &Weir, path: &str, segments: usize) -> Playlist {
    eventually(&format!("the playlist {path}"), TIMEOUT, async || {
        let mut response = get(weir, path).await;
        let text = response.text().await;
        let list = (response.status == 200).then(|| Playlist::parse(&text));
        list.filter(|list| list.segments.len() >= segments)
    })
    .await
}

/// Every name that a stream can have is published before and after others that it must not disturb.
#[tokio::test]
async fn no_name_stands_in_the_place_of_another() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let weir = start_in(dir.path());
    let long = ["x".repeat(239), "y".repeat(251), "z".repeat(255)];
    let streams = [
        "live/victim.m3u8/a",
        "live/victim",
        "live/victim-1.ts/a",
        "live/victim-1",
        "live/victim.m3u8.tmp",
        "live/victim.m3u8.tmp/a",
        "live/victim/victim",
        "live/VICTIM.M3U8/a",
    ];
    let long = long.iter().map(|name| format!("live/{name}"));
    let streams: Vec<_> = streams.into_iter().map(str::to_owned).chain(long).collect();
    for (number, stream) in (1..).zip(&streams) {
        // As many segments as nobody else has.
        publish_gops(&weir.rtmp_url(stream), Numbered::new(GOP), number).await;
    }
    let mut names = std::collections::HashSet::new();
    for (number, stream) in (1_usize..).zip(&streams) {
        let path = format!("{}.m3u8", stream.replace('%', "%25").replace(' ', "%20"));
        let list = playlist_at(&weir, &path, number.min(3)).await;
        let folder = stream.rsplit_once('/').expect("an app").0;
        for segment in &list.segments {
            let path = format!("{folder}/{}", segment.uri);
            assert_eq!(get(&weir, &path).await.status, 200, "{path}");
            assert!(names.insert(path.clone()), "{path} is listed twice");
        }
    }
    let file = dir.path().join("live/victim.m3u8");
    let is_there = async || file.is_file().then_some(());
    eventually("nginx finds it under its URL", TIMEOUT, is_there).await;
}

/// Who can put something into the folder cannot have Weir read, or write, what lies elsewhere.
#[tokio::test]
async fn links_and_folders_are_no_files() {
    const SECRET: &str = "#EXTM3U not for everybody";
    let (dir, outside) = (
        tempfile::tempdir().expect("a temporary folder can be made"),
        tempfile::tempdir().expect("a temporary folder can be made"),
    );
    fs::create_dir(dir.path().join("live")).expect("a writable folder");
    let at = |name: &str| dir.path().join("live").join(name);
    for name in ["secret.m3u8", "secret-1.ts", "secret-1-abcdefghijklmnop.ts"] {
        fs::write(outside.path().join(name), SECRET).expect("a writable folder");
        std::os::unix::fs::symlink(outside.path().join(name), at(name)).expect("a link");
    }
    std::os::unix::fs::symlink(outside.path(), dir.path().join("away")).expect("a link");
    std::os::unix::fs::symlink(outside.path().join("a.m3u8"), at("a.m3u8")).expect("a link");
    for name in ["folder.m3u8", "folder-1.ts", "folder-1-abcdefghijklmnop.ts"] {
        fs::create_dir(at(name)).expect("a writable folder");
    }
    let weir = start(&format!(
        "hls: {{ dir: \"{}\", segment: 1s, window: 3 }}\nplay: {{ wait: 0s }}\n",
        dir.path().display()
    ));
    for folder in ["live", "away"] {
        for stream in ["secret", "folder"] {
            for end in [".m3u8", "-1.ts", "-1-abcdefghijklmnop.ts"] {
                let path = format!("{folder}/{stream}{end}");
                let mut response = get(&weir, &path).await;
                let text = response.text().await;
                assert_eq!(response.status, 404, "{path}: {text}");
                assert!(!text.contains(SECRET), "{path} is given");
            }
        }
    }
    publish_gops(&weir.rtmp_url("live/a"), Numbered::new(GOP), 2).await;
    playlist_at(&weir, "live/a.m3u8", 2).await;
    let is_file = async || (!at("a.m3u8").is_symlink()).then_some(());
    eventually("a file in the place of the link", TIMEOUT, is_file).await;
    assert!(!outside.path().join("a.m3u8").exists());
    publish_gops(&weir.rtmp_url("away/a"), Numbered::new(GOP), 2).await;
    let is_said = |line: &serde_json::Value| {
        field(line, "stream") == "/away/a"
            && field(line, "message").as_str().is_some_and(|it| it.contains("HLS"))
    };
    weir.wait_log(is_said, TIMEOUT);
    assert_eq!(files(outside.path()).len(), 3, "nothing is written there");
}

/// All files below `dir` that are not hidden.
fn shown(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(dir).expect("below").display().to_string();
            match path.is_dir() {
                _ if name.contains(".weir") => {}
                true => todo.push(path),
                false => found.push(name),
            }
        }
    }
    found.sort_unstable();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn files_with_the_names_of_srs_go_on_after_a_restart_and_are_no_more_than_are_listed() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = format!(
        "publish: {{ linger: 0s }}\nhls: {{ dir: \"{}\", segment: 1s, window: 3, \
         playlist_path: '[app]/[stream].m3u8', segment_path: '[app]/[stream]-[seq].ts' }}\n",
        dir.path().display()
    );
    let mut weir = start(&config);
    let source = publish_gops(&weir.rtmp_url("live/a"), Numbered::default(), 3).await;
    let ended = playlist_when(&weir, "has ended", |list| list.ended).await;
    let uris = |list: &Playlist| list.segments.iter().map(|it| it.uri.clone()).collect::<Vec<_>>();
    let is_srs = |uri: &String| {
        let digits = uri.strip_prefix("a-").and_then(|rest| rest.strip_suffix(".ts"));
        digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    assert!(uris(&ended).iter().all(is_srs), "{:?}", uris(&ended));
    // nginx finds the same below the folder.
    let on_disk = async || {
        let text = fs::read_to_string(dir.path().join("live/a.m3u8")).ok()?;
        let list = Playlist::parse(&text);
        (uris(&list) == uris(&ended)).then_some(list)
    };
    let list = eventually("the same playlist in its file", TIMEOUT, on_disk).await;
    for uri in uris(&list) {
        let sent = get(&weir, &format!("live/{uri}")).await.bytes().await;
        assert_eq!(fs::read(dir.path().join("live").join(&uri)).expect("a file"), sent);
    }
    weir.kill();
    weir.restart();
    let before = get(&weir, &format!("live/{}", uris(&list)[0])).await;
    assert_eq!(before.status, 200, "it is served from what was left");
    publish_gops(&weir.rtmp_url("live/a"), source, 12).await;
    let last = ended.next_sequence();
    // No later one takes its place: what it lists is there to stay.
    let is_new = |list: &Playlist| list.ended && list.media_sequence > last;
    let after = playlist_when(&weir, "has new segments only", is_new).await;
    assert!(uris(&after).iter().all(is_srs), "{:?}", uris(&after));
    let cleaned = async || {
        let shown = shown(dir.path());
        let is_listed = |uri: &String| shown.contains(&format!("live/{uri}"));
        // Those that were listed may be loaded for a while.
        (uris(&after).iter().all(is_listed)
            && !shown.contains(&format!("live/{}", uris(&ended)[0])))
        .then_some(shown)
    };
    let shown =
        eventually("files that nobody may ask for any more are gone", TIMEOUT, cleaned).await;
    assert!(shown.iter().all(|name| name == "live/a.m3u8" || name.ends_with(".ts")), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_a_name_is_checked_and_an_edge_needs_none() {
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let names = "playlist_path: '{app}/{stream}/index', segment_path: '{app}/{stream}/{number}'";
    let checks = "auth: { play: [secret: { values: [right] }] }\n";
    let origin =
        cluster.origin(1, &format!("{checks}hls: {{ segment: 1s, window: 3, {names} }}\n"));
    let edge = cluster.edge(&["127.0.0.1"], "", &format!("hls: {{ {names} }}\n"));
    publish_gops(&origin.rtmp_url("live/a"), Numbered::default(), 3).await;
    for weir in [&origin, &edge] {
        let path = "live/a/index.m3u8?secret=right";
        let text = eventually("a playlist", TIMEOUT, async || {
            let mut response = get(weir, path).await;
            Some(response.text().await).filter(|_| response.status == 200)
        })
        .await;
        assert_eq!(get(weir, "live/a/index.m3u8").await.status, 403);
        let uri = Playlist::parse(&text).segments[0].uri.clone();
        let at = match uri.strip_prefix("../") {
            Some(rest) => format!("live/{rest}"),
            None => format!("live/a/{uri}"),
        };
        assert_eq!(get(weir, &at).await.status, 200, "{at}");
        if at.contains('?') {
            let bare = at.split('?').next().expect("a path");
            assert_eq!(get(weir, bare).await.status, 403, "{bare}");
        }
    }
}
