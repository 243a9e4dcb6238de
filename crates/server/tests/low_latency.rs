//! Low-latency HLS at an origin: parts, as a player loads them, have what was published.

use std::{collections::HashSet, fs, path::Path, time::Duration};

use weir_hls::{EntryKind, MediaPlaylist};
use weir_testkit::{
    Weir, eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls_rules::HlsRules,
    http,
    packets::{self, Extent, Form, continuation},
};

/// For the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Times are milliseconds in FLV and in Weir's MP4; some encoders' are finer.
const TOLERANCE: Duration = Duration::from_millis(1);

fn start(config: &str) -> Weir {
    Weir::builder(env!("CARGO_BIN_EXE_weir")).config(config).start()
}

/// A player that loads each part once, in their order.
#[derive(Default)]
struct Player {
    rules: HlsRules,
    loaded: HashSet<String>,
    /// The init segment, and the parts one after the other.
    file: Vec<u8>,
    parts: usize,
    has_ended: bool,
}

impl Player {
    /// Loads the playlist if there is one, and what it lists that is new.
    async fn load(&mut self, weir: &Weir, app: &str, stream: &str) {
        let mut response = http::get(weir.http(), &format!("{app}/{stream}.m3u8")).await;
        if response.status != 200 {
            return;
        }
        let text = response.text().await;
        self.load_listed(weir, app, &text).await;
    }

    /// Loads what this playlist lists that is new.
    async fn load_listed(&mut self, weir: &Weir, app: &str, text: &str) {
        self.rules.check(text).unwrap_or_else(|broken| panic!("{broken}\n{text}"));
        let list = MediaPlaylist::parse(text).expect("a playlist");
        assert!(list.part_target.is_some() && list.can_block_reload, "{text}");
        let is_wanted = |kind| matches!(kind, EntryKind::Init | EntryKind::Part);
        // At the end parts of the last segment are listed with it.
        for entry in list.entries.iter().filter(|entry| is_wanted(entry.kind)) {
            if !self.loaded.contains(entry.uri) {
                let mut response = http::get(weir.http(), &format!("{app}/{}", entry.uri)).await;
                assert_eq!(response.status, 200, "{} of\n{text}", entry.uri);
                self.take(entry.uri, &response.bytes().await);
                self.parts += usize::from(entry.kind == EntryKind::Part);
            }
        }
        self.has_ended = text.ends_with("#EXT-X-ENDLIST\n");
    }

    fn take(&mut self, uri: &str, data: &[u8]) {
        self.loaded.insert(uri.to_owned());
        self.file.extend_from_slice(data);
    }
}

/// The packets of a file; decoder configurations look different in each container.
fn read(ffmpeg: Ffmpeg, file: &Path, form: Form) -> packets::Media {
    let mut media = packets::read(ffmpeg, &file.display().to_string(), form, TIMEOUT);
    media.streams.iter_mut().for_each(|stream| stream.config = None);
    media
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_have_the_packets_that_were_published() {
    let weir = start("publish: { linger: 0s }\nhls: { part: 200ms, window: 20 }\n");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    for fixture in [Fixture::AvcBFramesAac, Fixture::Vp9Opus] {
        let name = format!("{fixture:?}");
        let url = weir.rtmp_url(&format!("live/{name}"));
        let mut encoder = fixture.ffmpeg().publish(&fixture.file(), &url);
        let mut player = Player::default();
        eventually(&format!("the end of {name}"), TIMEOUT, async || {
            player.load(&weir, "live", &name).await;
            player.has_ended.then_some(())
        })
        .await;
        tokio::task::spawn_blocking(move || encoder.wait_success(TIMEOUT)).await.expect("it ends");
        assert!(player.parts >= 40, "8 s in parts of 200 ms are {} parts", player.parts);
        let file = folder.path().join(&name).with_extension("mp4");
        fs::write(&file, &player.file).expect("a temporary folder can be written to");
        let source = read(fixture.ffmpeg(), &fixture.file(), Form::Carried);
        let played = read(Ffmpeg::Nine, &file, Form::Carried);
        let result = continuation(&source, &played, Extent::ToEnd, TOLERANCE);
        result.unwrap_or_else(|difference| panic!("{name} in parts: {difference}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_have_whole_segments_and_a_playlist_without_parts() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let hls = format!("hls: {{ dir: \"{}\", part: 200ms, window: 20 }}\n", dir.path().display());
    let weir = start(&format!("publish: {{ linger: 0s }}\n{hls}"));
    let fixture = Fixture::AvcAac;
    let mut encoder = Ffmpeg::System.publish(&fixture.file(), &weir.rtmp_url("live/a"));
    let playlist = dir.path().join("live/a.m3u8");
    let text = eventually("the playlist's end on disk", TIMEOUT, async || {
        let text = fs::read_to_string(&playlist).unwrap_or_default();
        text.ends_with("#EXT-X-ENDLIST\n").then_some(text)
    })
    .await;
    tokio::task::spawn_blocking(move || encoder.wait_success(TIMEOUT)).await.expect("it ends");
    assert!(!text.contains("PART") && !text.contains("SERVER-CONTROL"), "{text}");
    HlsRules::default().check(&text).unwrap_or_else(|broken| panic!("{broken}\n{text}"));
    let list = MediaPlaylist::parse(&text).expect("a playlist");
    assert_eq!(list.of(EntryKind::Segment).count(), 4, "8 s in segments of 2 s\n{text}");
    let played = read(Ffmpeg::System, &playlist, Form::Carried);
    let source = read(Ffmpeg::System, &fixture.file(), Form::Carried);
    let result = continuation(&source, &played, Extent::ToEnd, TOLERANCE);
    result.unwrap_or_else(|difference| panic!("from files: {difference}"));
    let folder = fs::read_dir(dir.path().join("live")).expect("a folder");
    let names = folder.map(|entry| entry.expect("an entry").file_name().into_string());
    let names: Vec<_> = names.map(|name| name.expect("text")).collect();
    assert_eq!(names.len(), 6, "a playlist, an init segment, four segments: {names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_that_waits_has_each_part_as_soon_as_it_is_there() {
    let weir = start("publish: { linger: 0s }\nhls: { part: 200ms, window: 20 }\n");
    let fixture = Fixture::AvcAac;
    let mut encoder = Ffmpeg::System.publish(&fixture.file(), &weir.rtmp_url("live/a"));
    let mut player = Player::default();
    eventually("the first part", TIMEOUT, async || {
        player.load(&weir, "live", "a").await;
        (player.parts > 0).then_some(())
    })
    .await;
    let get = async |file: &str| {
        let mut response = http::get(weir.http(), &format!("live/{file}")).await;
        (response.status, response.bytes().await)
    };
    let (_, text) = get("a.m3u8").await;
    let mut text = String::from_utf8(text.to_vec()).expect("text");
    let (mut reloads, mut unchanged) = (0, 0);
    while !text.ends_with("#EXT-X-ENDLIST\n") {
        let list = MediaPlaylist::parse(&text).expect("a playlist");
        // At the end there is none.
        let (before, hint) = (list.progress, list.hint.unwrap_or("none.m4s").to_owned());
        let next = format!("a.m3u8?_HLS_msn={}&_HLS_part={}", before.sequence, before.parts);
        let (part, next) = tokio::join!(get(&hint), get(&next));
        assert_eq!(next.0, 200, "after\n{text}");
        let later = String::from_utf8(next.1.to_vec()).expect("text");
        let list = MediaPlaylist::parse(&later).expect("a playlist");
        let has_ended = later.ends_with("#EXT-X-ENDLIST\n");
        let progress = (list.progress.sequence, list.progress.parts);
        unchanged += usize::from(!has_ended && progress <= (before.sequence, before.parts));
        if part.0 == 200 && !player.loaded.contains(&hint) {
            player.take(&hint, &part.1);
            player.parts += 1;
        }
        player.load_listed(&weir, "live", &later).await;
        text = later;
        reloads += 1;
    }
    // Once the encoder has gone nobody knows when there is more: who waits then is told so.
    assert!(unchanged <= 1, "{unchanged} of {reloads} were not waited for");
    tokio::task::spawn_blocking(move || encoder.wait_success(TIMEOUT)).await.expect("it ends");
    assert!(reloads <= player.parts + 2, "{reloads} reloads for {} parts", player.parts);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = folder.path().join("a.mp4");
    fs::write(&file, &player.file).expect("a temporary folder can be written to");
    let source = read(Ffmpeg::System, &fixture.file(), Form::Carried);
    let played = read(Ffmpeg::Nine, &file, Form::Carried);
    let result = continuation(&source, &played, Extent::ToEnd, TOLERANCE);
    result.unwrap_or_else(|difference| panic!("in parts that were waited for: {difference}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn fragmented_mp4_goes_on_after_a_kill() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let hls =
        format!("hls: {{ dir: \"{}\", container: fmp4, window: 20 }}\n", dir.path().display());
    let config = format!("publish: {{ linger: 0s }}\n{hls}");
    let mut weir = start(&config);
    let fixture = Fixture::AvcAac;
    let publish = async |weir: &Weir| {
        let mut encoder = Ffmpeg::System.publish(&fixture.file(), &weir.rtmp_url("live/a"));
        let end = tokio::task::spawn_blocking(move || encoder.wait_success(TIMEOUT));
        end.await.expect("it ends");
    };
    publish(&weir).await;
    let written = dir.path().join("live/a.m3u8");
    let left = eventually("the playlist's end on disk", TIMEOUT, async || {
        let text = fs::read_to_string(&written).unwrap_or_default();
        text.ends_with("#EXT-X-ENDLIST\n").then_some(text)
    })
    .await;
    weir.kill();
    let weir = start(&config);
    publish(&weir).await;
    let left = MediaPlaylist::parse(&left).expect("a playlist");
    let next = left.progress.sequence;
    let text = eventually("the end of what goes on", TIMEOUT, async || {
        let text = http::get(weir.http(), "live/a.m3u8").await.text().await;
        let list = MediaPlaylist::parse(&text).ok()?;
        (list.progress.is_ended && list.progress.sequence > next).then_some(text)
    })
    .await;
    let list = MediaPlaylist::parse(&text).expect("a playlist");
    assert_eq!(list.entries[..left.entries.len()], left.entries, "what players know stays\n{text}");
    let (_, new) = text.rsplit_once("#EXT-X-DISCONTINUITY\n").expect("the timeline starts anew");
    assert!(new.starts_with("#EXT-X-MAP:"), "{text}");
    assert_eq!(list.progress.sequence, next + 4, "the next numbers\n{text}");
    for entry in &list.entries {
        let mut response = http::get(weir.http(), &format!("live/{}", entry.uri)).await;
        let length = response.bytes().await.len();
        assert!(response.status == 200 && length > 100, "{} of\n{text}", entry.uri);
    }
}
