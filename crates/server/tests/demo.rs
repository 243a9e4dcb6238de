//! `weir demo` in a browser: what a newcomer sees first.

use std::{process::Command, time::Duration};

use weir_testkit::{Weir, http, own_page::OwnPage, peer::Player, server::field};

/// For the browser to start, and for the first segments of the clip.
const TIMEOUT: Duration = Duration::from_secs(45);

/// How much a pixel may change on average where the clip ends and begins again, of 255: no clock goes back.
const SEAM_MAX: u64 = 1;

#[test]
fn the_clip_goes_on_where_it_ends() {
    const PIXELS: usize = 160 * 90;
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo.flv");
    let gray = ["-vf", "scale=160:90", "-pix_fmt", "gray", "-f", "rawvideo", "-"];
    let decoded = Command::new("ffmpeg").args(["-v", "error", "-i", clip]).args(gray).output();
    let decoded = decoded.expect("ffmpeg runs");
    let frames: Vec<_> = decoded.stdout.chunks_exact(PIXELS).collect();
    let complaint = String::from_utf8_lossy(&decoded.stderr);
    let [first, .., last] = &*frames else { panic!("no frames: {complaint}") };
    let change: u64 = first.iter().zip(*last).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    assert!(change <= SEAM_MAX * PIXELS as u64, "{change} for {PIXELS} pixels");
    let half = frames[frames.len() / 2];
    assert!(first != &half, "it moves");
}

#[tokio::test]
async fn its_first_page_leads_to_the_stream_and_a_signal_lets_everybody_go() {
    let mut weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).demo().start();
    let first = http::get(weir.http(), "").await;
    assert_eq!((first.status, first.header("location")), (307, Some("/player?stream=live/demo")));
    let mut player = Player::rtmp(&weir.rtmp_url("live/demo")).await;
    assert!(player.next().await.is_some(), "it plays");
    weir.terminate();
    player.until_end().await;
    let ended = weir.wait_session_end(|line| field(line, "role") == "publish", TIMEOUT);
    assert_eq!(field(&ended, "kind"), "drained");
    assert!(weir.wait_exit(TIMEOUT).success());
    let log = weir.log().all();
    assert!(log.iter().any(|line| line.contains("drain ended")), "as `serve` ends: {log:?}");
    assert!(log.iter().all(|line| !line.contains("ERROR")), "{log:?}");
}

/// A blank picture has one colour, a test picture many.
const COLOURS_MIN: u64 = 20;

#[tokio::test]
async fn chromium_plays_the_demo() {
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).demo().start();
    let said = weir.said().find(TIMEOUT, |line| {
        line.split_whitespace().find(|word| word.contains("/player?")).map(str::to_owned)
    });
    let url = said.expect("`weir demo` says where to watch");
    assert_eq!(url, weir.http_url("player?stream=live/demo"));

    let page = http::get(weir.http(), "player?stream=live/demo").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));

    let page = OwnPage::open_at(&weir, &url).await;
    let video = page.wait_playing(3.0, TIMEOUT).await;
    assert!(video.colours >= COLOURS_MIN, "the picture is blank: {video:?}");
    assert_eq!(video.error, None);
    let state = page.eval("return document.querySelector('.state').textContent").await;
    assert_eq!(state, "", "the page has nothing to complain about");
    let shown = page.eval("return document.querySelector('.addresses').textContent").await;
    let shown = shown.as_str().unwrap_or_default();
    for path in ["live/demo.flv", "live/demo.m3u8"] {
        assert!(shown.contains(&weir.http_url(path)), "{path} is missing from {shown:?}");
    }
    page.assert_clean(&[]).await;
}
