//! Encoders whose clocks are wrong.

use std::time::Duration;

use serde_json::Value;
use weir_testkit::{
    Weir, eventually,
    hls::Playlist,
    http,
    peer::{Encoder, Numbered},
    server::field,
};

/// Until a clock is judged, twice over, on a machine that is busy.
const TIMEOUT: Duration = Duration::from_secs(50);

/// Pictures come each 40 ms of life, and say a tenth of that.
const PICTURE: Duration = Duration::from_millis(40);

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_of_a_tenth_of_life_is_said_and_hls_keeps_up_with_life() {
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).config("hls: { segment: 1s }\n").start();
    let source = Numbered::new(25).with_picture_millis(4);
    let encoder = Encoder::start(&weir.rtmp_url("live/a"), source, PICTURE).await;
    let is_said = |line: &Value| {
        let message = field(line, "message").as_str().unwrap_or_default();
        message.starts_with("the publisher's timestamps run slower than real time")
            && field(line, "stream") == "/live/a"
    };
    let segment = eventually("a segment that is as long as it took", TIMEOUT, async || {
        let mut answer = http::get(weir.http(), "live/a.m3u8").await;
        let text = answer.text().await;
        let playlist = (answer.status == 200).then(|| Playlist::parse(&text))?;
        let pairs = playlist.segments.windows(2);
        pairs
            .filter_map(|pair| Some((pair[0].duration, pair[1].date? - pair[0].date?)))
            .find(|(length, took)| *length >= Duration::from_millis(900) && *took < 2 * *length)
    });
    segment.await;
    let line = eventually("a line about the clock", TIMEOUT, async || {
        let lines = weir.log().all();
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).find(is_said)
    });
    assert_eq!(line.await["level"], "WARN");
    let page = http::get(weir.api(), "metrics").await.text().await;
    assert!(page.contains("\nweir_clocks_off_total 1.0\n"), "{page}");
    encoder.assert_connected();
}
