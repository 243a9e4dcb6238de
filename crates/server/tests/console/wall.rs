//! The live wall.

use std::time::Duration;

use serde_json::json;
use weir_testkit::{eventually, http, own_page::OwnPage, peer::Publisher};

use crate::{SOON, open};

/// A name that would be a picture, and a script, if it were not text.
const NAME: &str = "<img src=x onerror=alert(1)>";

/// How long the picture of a stream may take from the opening of the console on, in milliseconds.
const PICTURE_WITHIN: f64 = 2000.0;

/// What a machine that is not busy needs for a page that shows next to nothing, in milliseconds. Where that takes
/// longer, the picture may, too.
const BARE_PAGE: f64 = 250.0;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_a_picture_and_goes_when_it_ends() {
    let mut weir = open().demo().start();
    eventually("the demo is live", SOON, async || {
        let wall = http::get(weir.api(), "api/v1/wall").await.text().await;
        wall.contains("\"live\"").then_some(())
    })
    .await;
    // The browser's own start is not the console's.
    let page = OwnPage::open_at(&weir, &weir.http_url("player")).await;
    page.until_there("form[role=search] input").await;
    let bare = "return performance.getEntriesByType('navigation')[0].loadEventEnd";
    let bare = page.until(bare).await.as_f64().unwrap_or(f64::MAX);
    page.goto(&weir.api_url("")).await;
    // By the page's own clock, which starts with its opening.
    let script = "return document.querySelector('.tile canvas.shown') ? performance.now() : 0";
    let at = page.until(script).await.as_f64().unwrap_or(f64::MAX);
    let most = PICTURE_WITHIN * (bare / BARE_PAGE).max(1.0);
    println!("a picture after {at:.0} ms, of {most:.0}; a bare page after {bare:.0} ms");
    assert!(at <= most, "a picture after {at:.0} ms; a bare page after {bare:.0} ms");
    page
        .until(
            "const canvas = document.querySelector('.tile canvas.shown'); const context = canvas.getContext('2d');
             const data = context.getImageData(0, 0, canvas.width, canvas.height).data;
             const colours = new Set(new Uint32Array(data.buffer)).size;
             return colours > 20 && colours;",
        )
        .await;
    page.until("return /H\\.264/.test(document.querySelector('.tile .what').textContent)").await;
    page.until("return / kb\\/s| Mb\\/s/.test(document.querySelector('.tile .speed').textContent)")
        .await;
    assert_eq!(page.eval("return document.querySelector('.tile .name').textContent").await, "demo");
    // One of few, it moves, unless its reader does not want that, or the system says so.
    let moves = "return document.querySelector('.tile video.shown')?.currentTime > 0.5";
    let stands = "return document.querySelectorAll('.tile video').length === 0";
    page.until(moves).await;
    page.click(".toolbar .toggle:last-child").await;
    page.until(stands).await;
    page.click(".toolbar .toggle:last-child").await;
    page.until(moves).await;
    let calm = json!([{ "name": "prefers-reduced-motion", "value": "reduce" }]);
    page.devtools("Emulation.setEmulatedMedia", json!({ "features": calm })).await;
    page.until(stands).await;
    // This test itself reads what is painted, of which browsers say that it is slow.
    page.assert_clean(&["willReadFrequently"]).await;
    weir.terminate();
    assert!(weir.wait_exit(SOON).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_come_and_go_and_names_are_text() {
    let weir = open().config("publish: { linger: 0s }\n").start();
    let page = OwnPage::open(&weir, "console/").await;
    page.until("return document.querySelector('.empty:not([hidden])') !== null").await;
    let written = NAME.replace(' ', "%20").replace('<', "%3C").replace('>', "%3E");
    let publisher = Publisher::silent(&weir.rtmp_url(&format!("live/{written}"))).await;
    page.until_within(
        "return document.querySelectorAll('.tile').length === 1",
        Duration::from_secs(10),
    )
    .await;
    assert_eq!(page.eval("return document.querySelector('.tile .name').textContent").await, NAME);
    assert_eq!(
        page.eval("return document.querySelectorAll('main img, main script').length").await,
        0
    );
    page.click("a.tile").await;
    page.until(&format!("return document.querySelector('h1').textContent.includes({NAME:?})"))
        .await;
    page.until("return document.querySelectorAll('.address').length > 5").await;
    page.goto(&weir.api_url("console/#/events")).await;
    page.until(&format!(
        "return document.querySelector('.events')?.textContent.includes({NAME:?})"
    ))
    .await;
    assert_eq!(
        page.eval("return document.querySelectorAll('main img, main script').length").await,
        0
    );
    page.goto(&weir.api_url("console/#/live")).await;
    page.until_there(".tile").await;
    drop(publisher);
    page.until("return document.querySelectorAll('.tile').length === 0").await;
    page.assert_clean(&[]).await;
}
