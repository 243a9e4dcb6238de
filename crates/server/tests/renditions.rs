//! A multitrack publish as HLS: each track has a playlist with its packets, and the stream's playlist offers them.

use std::{fs, path::Path, time::Duration};

use weir_hls::{EntryKind, MediaPlaylist};
use weir_testkit::{
    Weir, eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls_rules::HlsRules,
    http,
    packets::{self, Extent, Form, Kind, Media, continuation},
    process::Process,
};

/// For the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Times are milliseconds in FLV and in Weir's MP4.
const TOLERANCE: Duration = Duration::from_millis(1);

/// Publishes two video tracks and two audio tracks, in real time.
fn publish(fixture: Fixture, url: &str) -> Process {
    let mut command = Ffmpeg::Nine.command();
    command.arg("-re").arg("-i").arg(fixture.file());
    command.args(["-map", "0:v", "-map", "0:v", "-map", "0:a", "-map", "0:a", "-c", "copy"]);
    command.args(["-f", "flv", url]);
    Process::start("multitrack publisher", &mut command)
}

/// The packets at `url`; decoder configurations look different in each container.
fn read(ffmpeg: Ffmpeg, url: &str) -> Media {
    let mut media = packets::read(ffmpeg, url, Form::Carried, TIMEOUT);
    media.streams.iter_mut().for_each(|stream| stream.config = None);
    media
}

async fn text(weir: &Weir, path: &str) -> String {
    let mut response = http::get(weir.http(), path).await;
    let text = response.text().await;
    assert_eq!(response.status, 200, "{path}: {text}");
    text
}

fn durations(text: &str) -> Vec<Duration> {
    let list = MediaPlaylist::parse(text).expect("a playlist");
    list.of(EntryKind::Segment).map(|segment| segment.duration).collect()
}

fn names(dir: &Path, ending: &str) -> Vec<String> {
    let folder = fs::read_dir(dir).expect("a folder");
    let names = folder.map(|entry| entry.expect("an entry").file_name().into_string());
    let mut names: Vec<_> =
        names.map(|name| name.expect("text")).filter(|name| name.ends_with(ending)).collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn every_track_has_a_playlist_and_they_are_cut_alike() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let hls =
        format!("hls: {{ dir: \"{}\", container: fmp4, window: 20 }}\n", dir.path().display());
    let config = format!("publish: {{ linger: 0s }}\n{hls}");
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).config(&config).start();
    let fixture = Fixture::AvcBFramesAac;
    let mut encoder = publish(fixture, &weir.rtmp_url("live/a"));
    let chosen = eventually("what there is to choose from", TIMEOUT, async || {
        let mut response = http::get(weir.http(), "live/a.m3u8").await;
        let text = response.text().await;
        (response.status == 200).then_some(text)
    })
    .await;
    // What it is does not change: nobody has seen a media playlist under that name.
    let uris: Vec<_> = chosen.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(uris, ["a~v0.m3u8", "a~v1.m3u8"], "{chosen}");
    assert!(chosen.contains("URI=\"a~a1.m3u8\""), "{chosen}");
    let is_told = |what: &str| chosen.matches(what).count() == 2;
    for what in ["RESOLUTION=320x180", "FRAME-RATE=25.000", "mp4a.40.2", "AUDIO=\"audio\""] {
        assert!(is_told(what), "{what}: {chosen}");
    }
    tokio::task::spawn_blocking(move || encoder.wait_success(TIMEOUT)).await.expect("it ends");
    let source = read(Ffmpeg::System, &fixture.file().display().to_string());
    let mut cuts = Vec::new();
    for rendition in ["a~v0", "a~v1", "a~a1"] {
        let path = format!("live/{rendition}.m3u8");
        let text = eventually(&format!("the end of {rendition}"), TIMEOUT, async || {
            Some(text(&weir, &path).await).filter(|text| text.ends_with("#EXT-X-ENDLIST\n"))
        })
        .await;
        HlsRules::default().check(&text).unwrap_or_else(|broken| panic!("{broken}\n{text}"));
        cuts.push(durations(&text));
        let played = read(Ffmpeg::System, &weir.http_url(&path));
        let mut source = source.clone();
        if rendition == "a~a1" {
            source.streams.retain(|stream| stream.kind == Kind::Audio);
        }
        let result = continuation(&source, &played, Extent::ToEnd, TOLERANCE);
        result.unwrap_or_else(|difference| panic!("{rendition}: {difference}"));
    }
    assert_eq!(cuts[0], [Duration::from_secs(2); 4], "8 s in segments of 2 s");
    assert_eq!(cuts[0], cuts[1], "two sizes of one encoder");
    assert_eq!(cuts[2].len(), 4, "sound is cut where pictures are: {cuts:?}");
    check_files(&dir.path().join("live")).await;
}

/// Requires that another web server has all of it.
async fn check_files(folder: &Path) {
    let list = folder.join("a.m3u8");
    eventually("the last playlist on disk", TIMEOUT, async || {
        let text = fs::read_to_string(folder.join("a~a1.m3u8")).unwrap_or_default();
        (text.ends_with("#EXT-X-ENDLIST\n") && names(folder, ".m4s").len() == 12).then_some(())
    })
    .await;
    let all = ["a.m3u8", "a~a1.m3u8", "a~v0.m3u8", "a~v1.m3u8"];
    assert_eq!(names(folder, ".m3u8"), all);
    assert_eq!(names(folder, ".mp4").len(), 3, "an init segment each");
    let chosen = fs::read_to_string(&list).expect("a playlist");
    assert!(chosen.contains("#EXT-X-STREAM-INF:") && chosen.ends_with("\na~v1.m3u8\n"), "{chosen}");
}
