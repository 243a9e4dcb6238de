//! The live wall.

use std::time::Duration;

use weir_testkit::peer::Publisher;

use crate::{SOON, open, page::Console};

/// A name that would be a picture, and a script, if it were not text.
const NAME: &str = "<img src=x onerror=alert(1)>";

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_a_picture_and_goes_when_it_ends() {
    let mut weir = open().demo().start();
    let page = Console::open(&weir, "").await;
    page.until_there(".tile").await;
    // How long a picture takes after the page has been loaded, by the page's own clock.
    let script = "return document.querySelector('.tile canvas.shown') ? performance.now() : 0";
    let at = page.until(script).await.as_f64().unwrap_or(f64::MAX);
    println!("a picture after {at:.0} ms");
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
    // This test itself reads what is painted, of which browsers say that it is slow.
    page.assert_clean(&["willReadFrequently"]).await;
    weir.terminate();
    assert!(weir.wait_exit(SOON).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_come_and_go_and_names_are_text() {
    let weir = open().config("publish: { linger: 0s }\n").start();
    let page = Console::open(&weir, "console/").await;
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
