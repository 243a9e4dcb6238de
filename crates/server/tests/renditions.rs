//! A multitrack publish as HLS: each track has a playlist with its packets, and the stream's playlist offers them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use weir_hls::{EntryKind, MediaPlaylist};
use weir_testkit::{
    Weir,
    camera::Camera,
    cluster::{Cluster, Ports},
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls,
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

/// The playlists of a ladder.
const SIZES: [&str; 3] = ["a~v0", "a~v1", "a~v2"];

/// Somebody who loads all playlists of a ladder again and again, and knows what they said before.
#[derive(Default)]
struct Watcher {
    rules: [HlsRules; 3],
    texts: [String; 3],
}

impl Watcher {
    /// Loads them as they are now. Whether they are of a publish that goes on: what there is in files has no parts.
    async fn load(&mut self, weir: &Weir) -> bool {
        let mut all_go_on = true;
        for (at, size) in SIZES.iter().enumerate() {
            let mut response = http::get(weir.http(), &format!("live/{size}.m3u8")).await;
            let text = response.text().await;
            if response.status != 200 || !text.contains("#EXT-X-PART-INF") {
                all_go_on = false;
                continue;
            }
            let checked = self.rules[at].check(&text);
            checked.unwrap_or_else(|broken| panic!("{broken}\n{text}\nafter\n{}", self.texts[at]));
            self.texts[at] = text;
        }
        all_go_on
    }

    fn lists(&self) -> [hls::Playlist; 3] {
        self.texts.each_ref().map(|text| hls::Playlist::parse(text))
    }

    /// How many segments each of them lists.
    fn segments(&self) -> usize {
        let known = self.texts.iter().map(|text| text.matches("#EXTINF:").count());
        known.min().unwrap_or_default()
    }

    /// Whether the files are as far as what was loaded.
    fn is_in_files(&self, folder: &Path) -> bool {
        let written = |size: &str| {
            let text = fs::read_to_string(folder.join(size).with_extension("m3u8")).ok()?;
            Some(hls::Playlist::parse(&text).next_sequence())
        };
        let mut all = SIZES.iter().zip(self.lists());
        all.all(|(size, list)| written(size).is_some_and(|next| next >= list.next_sequence()))
    }
}

/// The discontinuity sequence number of each segment that is listed.
fn discontinuities(list: &hls::Playlist) -> BTreeMap<u64, u64> {
    let mut breaks = list.discontinuity_sequence;
    let numbered = list.segments.iter().zip(list.media_sequence..);
    let number = |(segment, number): (&hls::Segment, u64)| {
        breaks += u64::from(segment.discontinuity);
        (number, breaks)
    };
    numbered.map(number).collect()
}

/// Requires that all playlists have the same breaks at the same numbers; how many segments are lost.
#[track_caller]
fn check_aligned(watcher: &Watcher) -> usize {
    let lists = watcher.lists();
    let [first, others @ ..] = lists.each_ref().map(discontinuities);
    for (other, text) in others.iter().zip(&watcher.texts[1..]) {
        let is_same =
            |(number, breaks): (&u64, &u64)| first.get(number).is_none_or(|first| first == breaks);
        assert!(other.iter().all(is_same), "{text}\nis another than\n{}", watcher.texts[0]);
    }
    lists[0].segments.iter().filter(|segment| segment.is_gap).count()
}

/// The origin dies, comes back, and is replaced in peace: for players each playlist is one and the same all the time.
#[tokio::test(flavor = "multi_thread")]
async fn every_playlist_goes_on_after_a_kill_and_after_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let hls = format!(
        "hls: {{ dir: \"{}\", segment: 1s, part: 200ms, window: 40 }}\n",
        dir.path().display()
    );
    let ports = Ports::free();
    let mut weir = Weir::builder(env!("CARGO_BIN_EXE_weir"))
        .config(&format!("play: {{ wait: 1s }}\npublish: {{ linger: 60s }}\n{hls}"))
        .at(Cluster::ip(1), &ports)
        .start();
    let folder = dir.path().join("live");
    let (mut watcher, mut lost) = (Watcher::default(), 0);
    for run in 0..3 {
        let camera = Camera::of(Fixture::Ladder, &weir.rtmp_url("live/a"), true).await;
        let more = watcher.segments() + 3;
        eventually(&format!("segments of run {run}, in files"), TIMEOUT, async || {
            let goes_on = watcher.load(&weir).await && watcher.segments() >= more;
            (goes_on && watcher.is_in_files(&folder)).then_some(())
        })
        .await;
        let gaps = check_aligned(&watcher);
        match run {
            0 => {
                assert_eq!(gaps, 0, "{}", watcher.texts[0]);
                drop(camera);
                tokio::task::block_in_place(|| weir.kill());
            }
            1 => {
                assert!(gaps > 0, "players have parts of it\n{}", watcher.texts[0]);
                lost = gaps;
                weir.terminate();
                drop(camera);
                tokio::task::block_in_place(|| weir.wait_exit(TIMEOUT));
            }
            _ => {
                assert_eq!(gaps, lost, "nothing is lost in peace\n{}", watcher.texts[0]);
                break;
            }
        }
        tokio::task::block_in_place(|| weir.restart());
        // Before the encoder is back: from the files.
        let chosen = text(&weir, "live/a.m3u8").await;
        assert!(SIZES.iter().all(|size| chosen.contains(&format!("\n{size}.m3u8\n"))), "{chosen}");
        for (size, known) in SIZES.iter().zip(watcher.lists()) {
            let left = text(&weir, &format!("live/{size}.m3u8")).await;
            assert!(hls::Playlist::parse(&left).next_sequence() >= known.next_sequence(), "{left}");
        }
    }
    let mut files = BTreeSet::new();
    for list in watcher.lists() {
        assert!(list.media_sequence > 0 && list.segments.len() >= 9, "{list:?}");
        for segment in list.segments {
            files.extend([segment.uri, segment.map.expect("an init segment")]);
        }
    }
    for file in files {
        let mut response = http::get(weir.http(), &format!("live/{file}")).await;
        let length = response.bytes().await.len();
        assert!(response.status == 200 && length > 0, "{file}: {} with {length}", response.status);
    }
}
