//! `weir demo` in a browser: what a newcomer sees first.

use std::time::Duration;

use weir_testkit::{Weir, browser::Page, http};

/// For the browser to start, and for the first segments of the clip.
const TIMEOUT: Duration = Duration::from_secs(45);

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

    let mut page = http::get(weir.http(), "player?stream=live/demo").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let text = page.text().await;
    assert!(
        !text.contains("src=\"http") && !text.contains("href=\"http"),
        "the page needs nobody else"
    );

    let page = Page::open(&url).await;
    let video = page.wait_playing(3.0, TIMEOUT).await;
    assert!(video.colours >= COLOURS_MIN, "the picture is blank: {video:?}");
    assert_eq!(video.error, None);
    let state = page.eval("return document.getElementById('state').textContent").await;
    assert_eq!(state, "", "the page has nothing to complain about");
    let shown = page.eval("return document.getElementById('urls').textContent").await;
    let shown = shown.as_str().unwrap_or_default();
    for path in ["live/demo.flv", "live/demo.m3u8"] {
        assert!(shown.contains(&weir.http_url(path)), "{path} is missing from {shown:?}");
    }
    page.close().await;
}
