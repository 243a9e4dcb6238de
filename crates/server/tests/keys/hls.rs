//! `hls.*` changed under a live stream that somebody watches.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use weir_testkit::{Weir, eventually, hls::Playlist, http};

use crate::{SOON, encoder, reload, server};

/// A player of `live/a`: it fetches the playlist again and again, and each segment once.
#[derive(Default)]
pub struct Player {
    seen: BTreeMap<u64, String>,
}

impl Player {
    /// Fetches the playlist and what is new in it.
    ///
    /// # Panics
    /// If one of the two is not there, or something is missing before what is new.
    pub async fn look(&mut self, weir: &Weir) -> Playlist {
        let mut response = http::get(weir.http(), "live/a.m3u8").await;
        let text = response.text().await;
        assert_eq!(response.status, 200, "live/a.m3u8: {text}");
        let playlist = Playlist::parse(&text);
        for (number, segment) in (playlist.media_sequence..).zip(&playlist.segments) {
            if self.seen.contains_key(&number) {
                continue;
            }
            let last = self.seen.keys().next_back();
            assert!(last.is_none_or(|last| last + 1 == number), "{number} after {last:?}");
            assert!(!segment.discontinuity || last.is_none(), "{number} goes on:\n{text}");
            let mut response = http::get(weir.http(), &format!("live/{}", segment.uri)).await;
            let bytes = response.bytes().await;
            assert_eq!(response.status, 200, "{}: {bytes:?}", segment.uri);
            self.seen.insert(number, segment.uri.clone());
        }
        playlist
    }

    /// Goes on until `is_so`.
    pub async fn until(
        &mut self,
        weir: &Weir,
        what: &str,
        mut is_so: impl FnMut(&Playlist) -> bool,
    ) -> Playlist {
        eventually(what, SOON, async || Some(self.look(weir).await).filter(&mut is_so)).await
    }
}

/// The files of `live/a` below `dir`.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("live")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn config(dir: &str, more: &str) -> String {
    format!("hls: {{ dir: {dir}, segment: 500ms, window: 3{more} }}\n")
}

async fn has_playlist(weir: &Weir) {
    eventually("a playlist of live/a", SOON, async || {
        (http::get(weir.http(), "live/a.m3u8").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn dir() {
    let mut weir = server().config(&config("one", "")).start();
    let [one, two] = ["one", "two"].map(|name| weir.dir().join(name));
    let published = encoder(&weir, "live/a").await;
    has_playlist(&weir).await;
    let mut player = Player::default();
    player.look(&weir).await;
    reload(&mut weir, &config("two", "")).await;
    player
        .until(&weir, "all in the other folder, nothing in the one before", |_| {
            two.join("live/a.m3u8").exists() && files(&one).is_empty()
        })
        .await;
    let next = player.look(&weir).await.next_sequence();
    player.until(&weir, "further segments", |it| it.next_sequence() >= next + 3).await;

    // There and back, while segments of each are listed.
    reload(&mut weir, &config("one", "")).await;
    player.until(&weir, "the first folder again", |_| one.join("live/a.m3u8").exists()).await;
    reload(&mut weir, &config("two", "")).await;
    let next = player.look(&weir).await.next_sequence();
    player.until(&weir, "further segments", |it| it.next_sequence() >= next + 4).await;

    // A stream that has ended is played from where it is, and goes on elsewhere.
    drop(published);
    reload(&mut weir, &config("one", "")).await;
    player.look(&weir).await;
    let _again = encoder(&weir, "live/a").await;
    let at_one = async || one.join("live/a.m3u8").exists().then_some(());
    eventually("the stream in the folder that is in force", SOON, at_one).await;
    has_playlist(&weir).await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn dir_of_a_vhost() {
    let of = |dir: &str| {
        format!("{}vhosts: {{ a.org: {{ hls: {{ dir: {dir} }} }} }}\n", config("one", ""))
    };
    let mut weir = server().config(&of("two")).start();
    let _published = encoder(&weir, "live/a?vhost=a.org").await;
    let there = |weir: &Weir, dir: &str| weir.dir().join(dir).join("@a.org/live/a.m3u8").exists();
    eventually("a playlist", SOON, async || there(&weir, "two").then_some(())).await;
    reload(&mut weir, &of("three")).await;
    eventually("it elsewhere", SOON, async || there(&weir, "three").then_some(())).await;
    // It inherits again.
    reload(&mut weir, &config("one", "")).await;
    let plain = |weir: &Weir| weir.dir().join("one/@a.org/live/a.m3u8").exists();
    eventually("it where all are", SOON, async || plain(&weir).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn segment() {
    let of = |segment: &str| format!("hls: {{ segment: {segment}, window: 3 }}\n");
    let mut weir = server().config(&of("500ms")).start();
    let _published = encoder(&weir, "live/a").await;
    has_playlist(&weir).await;
    let mut player = Player::default();
    player.look(&weir).await;
    reload(&mut weir, &of("2s")).await;
    let long = Duration::from_millis(1900);
    let newest = |list: &Playlist| list.segments.last().map(|segment| segment.duration);
    player.until(&weir, "a long segment", |list| newest(list) > Some(long)).await;
    reload(&mut weir, &of("500ms")).await;
    let list = player.until(&weir, "a short one", |list| newest(list) < Some(long)).await;
    let longest = list.segments.iter().map(|segment| segment.duration).max();
    // A segment may be longer by what rounding takes away.
    let target = Duration::from_millis(list.target_duration * 1000 + 499);
    assert!(longest <= Some(target), "a playlist does not shrink its target duration: {list:?}");
}

#[tokio::test(flavor = "multi_thread")]
pub async fn window() {
    let of = |window: usize| format!("hls: {{ segment: 1s, window: {window} }}\n");
    let mut weir = server().config(&of(3)).start();
    let _published = encoder(&weir, "live/a").await;
    has_playlist(&weir).await;
    let mut player = Player::default();
    reload(&mut weir, &of(6)).await;
    player.until(&weir, "a longer list", |list| list.segments.len() == 6).await;
    reload(&mut weir, &of(3)).await;
    player.until(&weir, "a shorter list", |list| list.segments.len() < 6).await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn enabled() {
    let mut weir = server().config(&config("one", ", enabled: false")).start();
    let status = async |weir: &Weir| http::get(weir.http(), "live/a.m3u8").await.status;
    let _published = encoder(&weir, "live/a").await;
    assert_eq!(status(&weir).await, 404);
    reload(&mut weir, &config("one", "")).await;
    has_playlist(&weir).await;
    reload(&mut weir, &config("one", ", enabled: false")).await;
    assert_eq!(status(&weir).await, 404);
    // For other servers of the folder, it has ended.
    let ended = async || {
        let text = fs::read_to_string(weir.dir().join("one/live/a.m3u8")).unwrap_or_default();
        text.ends_with("#EXT-X-ENDLIST\n").then_some(())
    };
    eventually("the end of the playlist", SOON, ended).await;
    reload(&mut weir, &config("one", "")).await;
    let goes_on = async || {
        let mut response = http::get(weir.http(), "live/a.m3u8").await;
        (response.status == 200).then_some(())?;
        (!Playlist::parse(&response.text().await).ended).then_some(())
    };
    eventually("it goes on", SOON, goes_on).await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn container() {
    changes_the_playlist(", container: fmp4", "#EXT-X-MAP:").await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn part() {
    changes_the_playlist(", part: 200ms", "#EXT-X-PART-INF:PART-TARGET=").await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn encrypt() {
    let mut weir = server().config(&config("one", "")).start();
    let published = encoder(&weir, "live/a").await;
    has_playlist(&weir).await;
    // What is listed stays what it is, and what follows is said to be otherwise.
    let has = async |weir: &Weir, tag: &str| {
        eventually(tag, SOON, async || {
            let text = http::get(weir.http(), "live/a.m3u8").await.text().await;
            text.contains(tag).then_some(())
        })
        .await;
    };
    reload(&mut weir, &config("one", ", encrypt: true")).await;
    has(&weir, "#EXT-X-KEY:METHOD=AES-128,").await;
    reload(&mut weir, &config("one", "")).await;
    has(&weir, "#EXT-X-KEY:METHOD=NONE\n").await;
    published.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
pub async fn keys() {
    let mut weir =
        server().config(&config("one", ", encrypt: true, segments_per_key: 9999")).start();
    let published = encoder(&weir, "live/a").await;
    has_playlist(&weir).await;
    let keys = async |weir: &Weir| {
        let text = http::get(weir.http(), "live/a.m3u8").await.text().await;
        let uri = |line: &str| {
            let rest = line.strip_prefix("#EXT-X-KEY:METHOD=AES-128,URI=\"")?;
            rest.split_once('"').map(|(uri, _)| uri.to_owned())
        };
        text.lines().filter_map(uri).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(keys(&weir).await.len(), 1);
    let more = ", encrypt: true, segments_per_key: 1, key_url: 'https://keys.test/w'";
    reload(&mut weir, &config("one", more)).await;
    let keys = eventually("keys that change, elsewhere", SOON, async || {
        let keys = keys(&weir).await;
        let elsewhere = keys.iter().filter(|uri| uri.starts_with("https://keys.test/w/live/a-"));
        (elsewhere.count() >= 2).then_some(keys)
    })
    .await;
    // Whoever hands them out has them from here.
    let own = keys.iter().find_map(|uri| uri.strip_prefix("https://keys.test/w/"));
    let mut answer = http::get(weir.http(), own.expect("a key")).await;
    assert_eq!((answer.status, answer.bytes().await.len()), (200, 16));
    published.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
pub async fn ladder() {
    let mut weir = server().config(&config("one", "")).start();
    let high = encoder(&weir, "live/a_hi").await;
    reload(&mut weir, &config("one", ", container: fmp4, ladder: [_hi, _low]")).await;
    let offered = async |weir: &Weir, count| {
        eventually("what there is to choose from", SOON, async || {
            let mut response = http::get(weir.http(), "live/a.m3u8").await;
            let text = response.text().await;
            let count_now = text.matches("#EXT-X-STREAM-INF:BANDWIDTH=").count();
            (response.status == 200 && count_now == count).then_some(text)
        })
        .await
    };
    let text = offered(&weir, 1).await;
    assert!(text.ends_with("\na_hi~v0.m3u8\n"), "{text}");
    let low = encoder(&weir, "live/a_low").await;
    let text = offered(&weir, 2).await;
    let uris: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(uris, ["a_hi~v0.m3u8", "a_low~v0.m3u8"], "{text}");
    for uri in uris {
        let mut response = http::get(weir.http(), &format!("live/{uri}")).await;
        let text = response.text().await;
        assert!(response.status == 200 && text.contains("#EXTINF:"), "{uri}: {text}");
    }
    // The stream itself, unless the ladder has it.
    let own = encoder(&weir, "live/a").await;
    has_playlist(&weir).await;
    eventually("its own playlist", SOON, async || {
        let text = http::get(weir.http(), "live/a.m3u8").await.text().await;
        text.contains("#EXTINF:").then_some(())
    })
    .await;
    reload(&mut weir, &config("one", ", container: fmp4, ladder: [\"\", _low]")).await;
    let text = offered(&weir, 2).await;
    let uris: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(uris, ["a~v0.m3u8", "a_low~v0.m3u8"], "{text}");
    for published in [high, low, own] {
        published.assert_connected();
    }
}

/// Requires that the playlist of a live stream has this tag with these settings, and goes on with its numbers.
async fn changes_the_playlist(more: &str, tag: &str) {
    let mut weir = server().config(&config("one", "")).start();
    let published = encoder(&weir, "live/a").await;
    has_playlist(&weir).await;
    let text = async |weir: &Weir| http::get(weir.http(), "live/a.m3u8").await.text().await;
    let before = text(&weir).await;
    assert!(!before.contains(tag), "{before}");
    let next = Playlist::parse(&before).next_sequence();
    reload(&mut weir, &config("one", more)).await;
    let text = eventually("a playlist of another kind", SOON, async || {
        Some(text(&weir).await).filter(|text| text.contains(tag))
    })
    .await;
    let first = weir_hls::MediaPlaylist::parse(&text).expect("a playlist").media_sequence;
    assert!(first >= next, "{before}{text}");
    published.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
pub async fn other_names() {
    let mut weir = server().config(&config("one", "")).start();
    let _before = encoder(&weir, "live/a").await;
    has_playlist(&weir).await;
    let names = ", playlist_path: '[app]/[stream]/index.m3u8', \
                 segment_path: '{app}/{stream}/{year}/{number}.ts', segment_url: http://cdn";
    reload(&mut weir, &config("one", names)).await;
    // What begins now has the other names, on the disk as well as over HTTP.
    let _published = encoder(&weir, "live/b").await;
    let playlist = async || {
        let mut response = http::get(weir.http(), "live/b/index.m3u8").await;
        let text = response.text().await;
        let list = (response.status == 200).then(|| Playlist::parse(&text))?;
        Some(list).filter(|list| list.segments.len() >= 2)
    };
    let list = eventually("a playlist of live/b under its other name", SOON, playlist).await;
    for segment in &list.segments {
        let path = segment.uri.strip_prefix("http://cdn/").expect("the configured URL").to_owned();
        assert!(path.starts_with("live/b/20") && path.ends_with(".ts"), "{path}");
        let response = async || {
            let mut response = http::get(weir.http(), &path).await;
            Some(response.bytes().await).filter(|_| response.status == 200)
        };
        let sent = response().await.expect("it is there under its other name");
        let file = weir.dir().join("one").join(&path);
        let written = async || fs::read(&file).ok();
        assert_eq!(eventually(&path, SOON, written).await, sent);
    }
    assert_eq!(http::get(weir.http(), "live/b.m3u8").await.status, 200, "and its own");
    let player = &mut Player::default();
    let next = player.look(&weir).await.next_sequence();
    player.until(&weir, "the first stream goes on", |it| it.next_sequence() > next).await;
}
