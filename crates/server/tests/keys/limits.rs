//! Keys of `limits`, `metrics` and `drain`.

use std::time::Duration;

use weir_testkit::{
    Weir, eventually, http,
    peer::{Encoder, Numbered, Player, Publisher},
    raw::Raw,
    server::field,
};

use crate::{PICTURE, SOON, encoder, get, metric, reload, server, until_status};

fn of(key: &str) -> String {
    format!("play: {{ wait: 0s }}\nlimits: {{ {key} }}\n")
}

#[tokio::test(flavor = "multi_thread")]
pub async fn connections() {
    let mut weir = server().config(&of("connections: 0")).start();
    let _published = encoder(&weir, "live/a").await;
    assert_eq!(get(&weir, "live/none.flv").await, 404);
    reload(&mut weir, &of("connections: 1")).await;
    // It may be closed before it has asked.
    let refused = async || {
        let mut raw = Raw::connect(weir.http()).await;
        raw.send(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n").await;
        raw.expect_close(SOON).await
    };
    let answer = refused().await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 503"), "{answer:?}");
    reload(&mut weir, &of("connections: 0")).await;
    assert_eq!(get(&weir, "live/none.flv").await, 404);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn connections_per_ip() {
    let mut weir = server().config(&of("connections_per_ip: 0")).start();
    let _published = encoder(&weir, "live/a").await;
    assert_eq!(get(&weir, "live/none.flv").await, 404);
    reload(&mut weir, &of("connections_per_ip: 1")).await;
    assert_eq!(get(&weir, "live/none.flv").await, 503);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn viewers_per_stream() {
    let mut weir = server().config(&of("viewers_per_stream: 0")).start();
    let _published = encoder(&weir, "live/a").await;
    until_status(&weir, "live/a.flv", 200).await;
    let mut viewer = Player::http_flv(weir.http(), "live/a.flv").await;
    reload(&mut weir, &of("viewers_per_stream: 1")).await;
    until_status(&weir, "live/a.flv", 503).await;
    assert!(viewer.next().await.is_some(), "who is in stays in");
}

#[tokio::test(flavor = "multi_thread")]
pub async fn egress() {
    let mut weir = server().config(&of("egress: 0")).start();
    let source = Numbered::new(12).with_picture_bytes(5000);
    let _published = Encoder::start(&weir.rtmp_url("live/a"), source, PICTURE).await;
    until_status(&weir, "live/a.flv", 200).await;
    let mut viewer = Player::http_flv(weir.http(), "live/a.flv").await;
    let _watching = tokio::spawn(async move { while viewer.next().await.is_some() {} });
    reload(&mut weir, &of("egress: 8kbps")).await;
    until_status(&weir, "live/a.flv", 503).await;
}

/// A stream whose log holds 20 MB: a single group of pictures.
async fn large(weir: &Weir) -> Publisher {
    let source = Numbered::new(100_000).with_picture_bytes(40_000);
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), source).await;
    publisher.pictures(500).await;
    eventually("20 MB in the log", SOON, async || {
        (metric(weir, "weir_log_bytes").await > 19e6).then_some(())
    })
    .await;
    publisher
}

async fn until_log_is_below(weir: &Weir, publisher: &mut Publisher, most: f64) {
    eventually("a smaller log", SOON, async || {
        publisher.pictures(1).await;
        (metric(weir, "weir_log_bytes").await < most).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn memory() {
    let mut weir = server().config(&of("memory: 2GiB, stream_memory: 16MiB")).start();
    let mut publishers = Vec::new();
    for stream in ["live/a", "live/b", "live/c"] {
        let source = Numbered::new(100_000).with_picture_bytes(40_000);
        let mut publisher = Publisher::start(&weir.rtmp_url(stream), source).await;
        publisher.pictures(350).await;
        publishers.push(publisher);
    }
    eventually("40 MB in the logs", SOON, async || {
        (metric(&weir, "weir_log_bytes").await > 40e6).then_some(())
    })
    .await;
    reload(&mut weir, &of("memory: 16MiB, stream_memory: 16MiB")).await;
    eventually("smaller logs, whose publishers are silent", SOON, async || {
        (metric(&weir, "weir_log_bytes").await < 17e6).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn stream_memory() {
    let mut weir = server().config(&of("stream_memory: 64MiB")).start();
    let mut publisher = large(&weir).await;
    reload(&mut weir, &of("stream_memory: 1MiB")).await;
    until_log_is_below(&weir, &mut publisher, 3e6).await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn metrics_streams() {
    let mut weir = server().config("metrics: { streams: 20 }\n").start();
    let _published = encoder(&weir, "live/a").await;
    let has_series = async |weir: &Weir| {
        let page = http::get(weir.api(), "metrics").await.text().await;
        page.lines()
            .any(|line| line.starts_with("weir_stream_viewers{") && line.contains("stream=\"a\""))
    };
    assert!(has_series(&weir).await);
    reload(&mut weir, "metrics: { streams: 0 }\n").await;
    assert!(!has_series(&weir).await);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn drain_notice() {
    let mut weir = server().config("drain: { notice: 30m, timeout: 1h }\n").start();
    reload(&mut weir, "drain: { notice: 0s, timeout: 1h }\n").await;
    weir.terminate();
    assert!(weir.wait_exit(SOON).success());
}

#[tokio::test(flavor = "multi_thread")]
pub async fn drain_timeout() {
    let mut weir = server().config("drain: { notice: 0s, timeout: 1h }\n").start();
    // One that is let go before its next key frame, which does not come.
    let source = Numbered::new(100_000);
    let _published = Encoder::start(&weir.rtmp_url("live/a"), source, PICTURE).await;
    reload(&mut weir, "drain: { notice: 0s, timeout: 1s }\n").await;
    weir.terminate();
    weir.wait_log(
        |line| field(line, "message") == "drain.timeout reached: closing the remaining connections",
        SOON,
    );
    assert!(weir.wait_exit(Duration::from_secs(10)).success());
}

#[tokio::test(flavor = "multi_thread")]
pub async fn metrics_labels() {
    let mut weir = server().start();
    let build = async |weir: &Weir| {
        let page = http::get(weir.api(), "metrics").await.text().await;
        let mut lines = page.lines();
        lines.find(|line| line.starts_with("srs_build_info{")).expect("the build").to_owned()
    };
    assert!(!build(&weir).await.contains("label="));
    reload(&mut weir, "metrics: { label: cdn, tag: 'cn-\"x' }\n").await;
    let line = build(&weir).await;
    assert!(line.contains(r#"label="cdn",tag="cn-\"x""#), "{line}");
}
