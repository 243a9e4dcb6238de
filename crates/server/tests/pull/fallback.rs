//! What is shown while a publisher is away.

use weir_flv::Tag;
use weir_media::Content;
use weir_testkit::{
    Weir, eventually,
    hls::Playlist,
    http,
    packets::frame_of,
    peer::{End, Numbered, Piece, Player, Viewer},
};

use super::{NO_HLS, encoder, numbered, server, stream, until_logged, write_flv};

/// Pictures of the file begin with this number.
const SLATE: u64 = 1_000_000;

/// A server that shows a file of these tags, with more configuration.
fn showing(dir: &tempfile::TempDir, tags: &[Tag], publish: &str, more: &str) -> Weir {
    let file = write_flv(dir.path(), "slate.flv", tags);
    let config = format!("publish: {{ fallback: {:?}, {publish} }}\n{more}", file.display());
    server(&config).start()
}

/// Plays until a picture has come whose number is in `numbers`; all tags until then.
async fn until_number(player: &mut Player, numbers: std::ops::Range<u64>) -> Vec<Tag> {
    let mut tags = Vec::new();
    loop {
        let tag = player.next().await.unwrap_or_else(|| panic!("it ended: {:?}", player.end()));
        let piece = Piece::of(&tag).expect("a message of a numbered stream");
        tags.push(tag);
        if matches!(piece, Piece::Picture { number, .. } if numbers.contains(&number)) {
            return tags;
        }
    }
}

/// The first picture of each source, and whether decoding can start there.
fn assert_times_go_on(tags: &[Tag]) {
    for is_picture in [true, false] {
        let packets = tags.iter().map(|tag| (tag, frame_of(tag).content));
        let packets = packets.filter(|(_, content)| match content {
            Content::Video { .. } => is_picture,
            Content::Audio(_) => !is_picture,
            _ => false,
        });
        let times: Vec<_> = packets.map(|(tag, _)| tag.timestamp).collect();
        assert!(times.is_sorted(), "{times:?}");
    }
    let mut before = None;
    for tag in tags {
        let Ok(Piece::Picture { number, key }) = Piece::of(tag) else { continue };
        let is_slate = number >= SLATE;
        assert!(before == Some(is_slate) || key, "picture {number} follows another source");
        before = Some(is_slate);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_shown_until_the_publisher_is_back_and_nobody_is_cut() {
    let dir = tempfile::tempdir().expect("a folder");
    let slate = numbered(Numbered::new(5), SLATE);
    // Whoever protects publishers from each other does not protect the file.
    let weir = showing(
        &dir,
        &slate,
        "linger: 60s, conflict: reject",
        "hls: { segment: 500ms, dir: '' }\n",
    );
    let first = encoder(&weir, "live/a", 0).await;
    let mut flv = Player::http_flv(weir.http(), "live/a.flv").await;
    let mut rtmp = Player::rtmp(&weir.rtmp_url("live/a")).await;
    let mut played = until_number(&mut flv, 10..SLATE).await;
    until_number(&mut rtmp, 10..SLATE).await;
    eventually("HLS", super::SOON, async || {
        (http::get(weir.http(), "live/a.m3u8").await.status == 200).then_some(())
    })
    .await;
    drop(first);
    played.extend(until_number(&mut flv, SLATE + 20..SLATE + 25).await);
    until_number(&mut rtmp, SLATE + 20..SLATE + 25).await;
    let known = stream(&weir, "/live/a").await.expect("it is live");
    let source = known["publish"]["source"].as_str().expect("a source");
    assert!(source.starts_with("fallback ") && source.ends_with("slate.flv"), "{known}");
    assert_eq!(known["status"], "live");
    let page = http::get(weir.api(), "metrics").await.text().await;
    assert!(page.contains("weir_fallbacks 1"), "{page}");
    let back = encoder(&weir, "live/a", 500).await;
    played.extend(until_number(&mut flv, 530..SLATE).await);
    until_number(&mut rtmp, 530..SLATE).await;
    back.assert_connected();
    assert_times_go_on(&played);
    let known = stream(&weir, "/live/a").await.expect("it is live");
    assert!(known["publish"]["source"].is_null(), "{known}");
    let text = eventually("both changes in HLS", super::SOON, async || {
        let text = http::get(weir.http(), "live/a.m3u8").await.text().await;
        let changes = Playlist::parse(&text).segments.len() > 2
            && text.matches("#EXT-X-DISCONTINUITY\n").count() + discontinuities(&text) >= 2;
        changes.then_some(text)
    })
    .await;
    assert!(!text.contains("#EXT-X-ENDLIST"), "{text}");
}

/// Discontinuities that have left the playlist.
fn discontinuities(text: &str) -> usize {
    let line = text.lines().find_map(|line| line.strip_prefix("#EXT-X-DISCONTINUITY-SEQUENCE:"));
    line.and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_shown_for_as_long_as_the_stream_would_linger() {
    let dir = tempfile::tempdir().expect("a folder");
    let slate = numbered(Numbered::new(5), SLATE);
    let weir = showing(&dir, &slate, "linger: 2s", NO_HLS);
    let first = encoder(&weir, "live/a", 0).await;
    let mut player = Player::http_flv(weir.http(), "live/a.flv").await;
    until_number(&mut player, 5..SLATE).await;
    drop(first);
    until_number(&mut player, SLATE + 20..SLATE + 25).await;
    let rest = player.until_end().await;
    assert!(!rest.is_empty());
    until_logged(&weir, &["fallback ended", "publish.linger"]).await;
    assert!(matches!(player.end(), Some(End::Closed) | None), "{:?}", player.end());
    eventually("the stream has ended", super::SOON, async || {
        stream(&weir, "/live/a").await.is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_other_codecs_is_not_shown() {
    let dir = tempfile::tempdir().expect("a folder");
    let silent = numbered(Numbered::new(5).without_sound(), SLATE);
    let weir = showing(&dir, &silent, "linger: 60s", NO_HLS);
    let first = encoder(&weir, "live/a", 0).await;
    let mut viewer = Viewer::http_flv(weir.http(), "live/a.flv").await.allowing_skips();
    viewer.until_picture(10).await;
    drop(first);
    let reason = "the file has H.264 without sound, the stream H.264 and AAC";
    until_logged(&weir, &["fallback not shown", reason]).await;
    let known = stream(&weir, "/live/a").await.expect("it lingers");
    assert_eq!(known["status"], "lingering", "{known}");
    // It is as if there were no file.
    let _back = encoder(&weir, "live/a", 500).await;
    viewer.until_picture(510).await;
    let lines = weir.log().all();
    let said = lines.iter().filter(|line| line.contains("fallback not shown")).count();
    assert_eq!(said, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_is_lost_has_its_fallback_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut there = server(NO_HLS).start();
    let published = encoder(&there, "live/x", 0).await;
    let more =
        format!("{NO_HLS}pull: [{{ stream: live/a, from: {:?} }}]\n", there.rtmp_url("live/x"));
    let weir = showing(&dir, &numbered(Numbered::new(5), SLATE), "linger: 60s", &more);
    super::until_pull(&weir, "/live/a", "flowing").await;
    let mut player = Player::http_flv(weir.http(), "live/a.flv").await;
    until_number(&mut player, published.next_number()..SLATE).await;
    there.kill();
    until_number(&mut player, SLATE + 10..SLATE + 25).await;
}
