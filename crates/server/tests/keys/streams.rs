//! Keys of `publish`, `play`, `auth` and `vhosts`.

use std::time::{Duration, Instant};

use weir_testkit::{
    Weir, eventually,
    peer::{Encoder, Numbered, Player, Publisher, Viewer},
};

use crate::{PICTURE, SOON, encoder, get, metric, reload, server, until_status};

#[tokio::test(flavor = "multi_thread")]
pub async fn linger() {
    let mut weir = server().config("publish: { linger: 1h }\n").start();
    let published = encoder(&weir, "live/a").await;
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    viewer.next().await.expect("it flows");
    reload(&mut weir, "publish: { linger: 0s }\n").await;
    drop(published);
    viewer.until_end().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn idle_timeout() {
    let mut weir = server().config("publish: { idle_timeout: 1h }\n").start();
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::default()).await;
    publisher.pictures(3).await;
    // It is silent already when that changes, and somebody watches: nothing else has it looked at.
    let mut viewer = Player::http_flv(weir.http(), "live/a.flv").await;
    viewer.next().await.expect("it flows");
    reload(&mut weir, "publish: { idle_timeout: 1s }\n").await;
    let (_, reason) = weir.session_end(publisher.local(), SOON).await;
    assert!(reason.contains("publish.idle_timeout"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
pub async fn unwatched_timeout() {
    let mut weir = server().config("").start();
    let watched = encoder(&weir, "live/a").await;
    let unwatched = encoder(&weir, "live/b").await;
    let mut viewer = Player::http_flv(weir.http(), "live/a.flv").await;
    viewer.next().await.expect("it flows");
    reload(&mut weir, "publish: { unwatched_timeout: 300ms }\n").await;
    let reason = eventually("its end", SOON, async || unwatched.end()).await;
    assert!(reason.contains("publish.unwatched_timeout"), "{reason}");
    watched.assert_connected();
    drop(viewer);
    eventually("the end of the other", SOON, async || watched.end()).await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn conflict() {
    let of = |what: &str| format!("publish: {{ conflict: {what} }}\n");
    let mut weir = server().config(&of("reject")).start();
    let _published = encoder(&weir, "live/a").await;
    let url = weir.rtmp_url("live/a");
    assert!(Publisher::try_start(&url, Numbered::default()).await.is_err());
    reload(&mut weir, &of("takeover")).await;
    assert!(Publisher::try_start(&url, Numbered::default()).await.is_ok());
}

/// At how many moments pictures come to a viewer in two seconds.
pub async fn moments(weir: &Weir) -> usize {
    /// What comes in one piece is less apart.
    const APART: Duration = Duration::from_millis(15);
    let mut player = Player::http_flv(weir.http(), "live/a.flv").await;
    // The first group comes at once.
    let settle = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < settle {
        player.next().await.expect("the stream goes on");
    }
    let (end, mut latest, mut count) = (Instant::now() + Duration::from_secs(2), Instant::now(), 0);
    while Instant::now() < end {
        player.next().await.expect("the stream goes on");
        count += usize::from(latest.elapsed() >= APART);
        latest = Instant::now();
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
pub async fn flush() {
    let mut weir = server().config("play: { flush: video }\n").start();
    let _published = encoder(&weir, "live/a").await;
    let before = moments(&weir).await;
    reload(&mut weir, "play: { flush: 500ms }\n").await;
    let after = moments(&weir).await;
    assert!(before >= 20 && after <= 8, "{before} moments in 2 s, then {after}");
}

#[tokio::test(flavor = "multi_thread")]
pub async fn wait() {
    let mut weir = server().config("play: { wait: 1h }\n").start();
    reload(&mut weir, "play: { wait: 0s }\n").await;
    assert_eq!(get(&weir, "live/none.flv").await, 404);
    assert!(Player::try_rtmp(&weir.rtmp_url("live/none")).await.is_err());
}

/// The first picture that a viewer gets who comes now, and the one that is to be sent next.
async fn first_picture(weir: &Weir, encoder: &Encoder) -> (u64, u64) {
    let next = encoder.next_number();
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    loop {
        if let Some(first) = viewer.numbers().newest_picture() {
            return (first, next);
        }
        viewer.next().await.expect("the stream goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
pub async fn gop() {
    let mut weir = server().config("play: { gop: yes }\n").start();
    let published = encoder(&weir, "live/a").await;
    let (first, next) = first_picture(&weir, &published).await;
    assert!(first <= next, "picture {first}, which is no old one: {next} is next");
    reload(&mut weir, "play: { gop: no }\n").await;
    let (first, next) = first_picture(&weir, &published).await;
    assert!(first >= next, "picture {first}, which is an old one: {next} is next");
}

/// An encoder of 20 Mbit/s, and a viewer that has ceased to read from it.
async fn stalled(weir: &Weir) -> (Encoder, Player) {
    let source = Numbered::new(12).with_picture_bytes(100_000);
    let encoder = Encoder::start(&weir.rtmp_url("live/a"), source, PICTURE).await;
    let mut player = Player::http_flv(weir.http(), "live/a.flv").await;
    player.next().await.expect("it flows");
    (encoder, player)
}

#[tokio::test(flavor = "multi_thread")]
pub async fn stall_timeout() {
    let of = |time: &str| format!("play: {{ stall_timeout: {time} }}\n");
    let mut weir = server().config(&of("1h")).start();
    let (encoder, player) = stalled(&weir).await;
    // By then no socket has room for more.
    let full = encoder.next_number() + 100;
    weir_testkit::eventually("a stalled viewer", SOON, async || {
        (encoder.next_number() >= full).then_some(())
    })
    .await;
    reload(&mut weir, &of("1s")).await;
    let (_, reason) = weir.session_end(player.local(), SOON).await;
    assert!(reason.contains("play.stall_timeout"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
pub async fn window() {
    let of = |window: &str| format!("play: {{ window: {window}, stall_timeout: 1h }}\n");
    let mut weir = server().config(&of("10m")).start();
    let (encoder, mut player) = stalled(&weir).await;
    let behind = encoder.next_number() + 150;
    weir_testkit::eventually("a viewer that is behind", SOON, async || {
        (encoder.next_number() >= behind).then_some(())
    })
    .await;
    assert_eq!(metric(&weir, "weir_lag_skips_total").await, 0.0);
    reload(&mut weir, &of("1s")).await;
    let reading = tokio::spawn(async move { while player.next().await.is_some() {} });
    weir_testkit::eventually("a skip", SOON, async || {
        (metric(&weir, "weir_lag_skips_total").await > 0.0).then_some(())
    })
    .await;
    reading.abort();
}

#[tokio::test(flavor = "multi_thread")]
pub async fn auth_publish() {
    let mut weir = server().start();
    let published = encoder(&weir, "live/a").await;
    reload(&mut weir, "auth: { publish: [secret: { values: [open] }] }\n").await;
    let url = weir.rtmp_url("live/b");
    assert!(Publisher::try_start(&url, Numbered::default()).await.is_err());
    let url = weir.rtmp_url("live/b?secret=open");
    assert!(Publisher::try_start(&url, Numbered::default()).await.is_ok());
    published.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
pub async fn auth_play() {
    let mut weir = server().start();
    let _published = encoder(&weir, "live/a").await;
    let mut viewer = Player::http_flv(weir.http(), "live/a.flv").await;
    reload(&mut weir, "auth: { play: [secret: { values: [open] }] }\n").await;
    assert_eq!(get(&weir, "live/a.flv").await, 403);
    assert_eq!(get(&weir, "live/a.flv?secret=open").await, 200);
    assert!(viewer.next().await.is_some(), "who is in stays in");
}

#[tokio::test(flavor = "multi_thread")]
pub async fn vhosts() {
    let of = |vhosts: &str| format!("play: {{ wait: 0s }}\nvhosts: {vhosts}\n");
    let mut weir = server().config(&of("{}")).start();
    let _published = encoder(&weir, "live/a?vhost=a.org").await;
    until_status(&weir, "live/a.flv?vhost=a.org", 200).await;
    let members = "{ a.org: { auth: { play: [secret: { values: [open] }] } } }";
    reload(&mut weir, &of(members)).await;
    assert_eq!(get(&weir, "live/a.flv?vhost=a.org").await, 403);
    assert_eq!(get(&weir, "live/a.flv?vhost=a.org&secret=open").await, 404, "another stream");
    assert_eq!(get(&weir, "live/a.flv").await, 200, "it stays what it was published as");
    reload(&mut weir, &of("{}")).await;
    assert_eq!(get(&weir, "live/a.flv?vhost=a.org").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn of_a_vhost() {
    let of = |keys: &str| format!("vhosts: {{ a.org: {{ {keys} }} }}\n");
    let mut weir = server().config(&of("play: { wait: 1h }, publish: { linger: 1h }")).start();
    let published = encoder(&weir, "live/a?vhost=a.org").await;
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/a?vhost=a.org")).await;
    viewer.next().await.expect("it flows");
    reload(&mut weir, &of("play: { wait: 0s }, publish: { linger: 0s }")).await;
    assert_eq!(get(&weir, "live/none.flv?vhost=a.org").await, 404);
    drop(published);
    viewer.until_end().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn formats() {
    let mut weir = server().config("play: { wait: 0s }\n").start();
    let _published = encoder(&weir, "live/a").await;
    until_status(&weir, "live/a.flv", 200).await;
    assert_eq!(get(&weir, "live/a.ts").await, 200);
    reload(&mut weir, "play: { wait: 0s, formats: [ts] }\n").await;
    let all = async |name: &str| {
        let mut found = Vec::new();
        for extension in ["flv", "ts", "mp4", "aac", "mp3"] {
            found.push(get(&weir, &format!("{name}.{extension}")).await);
        }
        found
    };
    assert_eq!(all("live/a").await, [404, 200, 404, 404, 404]);
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let ask = async |path: &str| crate::call(weir.http(), "GET", path, upgrade).await.0;
    assert_eq!(ask("live/a.flv").await, 404, "over WebSocket neither");
}

#[tokio::test(flavor = "multi_thread")]
pub async fn mounts() {
    let of = |mounts: &str| format!("play: {{ wait: 0s, mounts: [{mounts}] }}\n");
    let mut weir = server().config(&of("")).start();
    let _published = [encoder(&weir, "live/a").await, encoder(&weir, "live/eu/b").await];
    until_status(&weir, "live/eu/b.flv", 200).await;
    reload(
        &mut weir,
        &of("{ path: /one.flv, streams: live/a }, { path: '/{app}/x/{stream}.flv' }, \
             { path: '[vhost]/tv/[stream].ts', streams: live/eu/* }"),
    )
    .await;
    for (path, status) in [
        ("one.flv", 200),
        ("one.flv?vhost=other.org", 200),
        ("live/eu/x/b.flv", 200),
        ("live/x/b.flv", 404),
        ("live/a.flv", 404),
        ("tv/b.ts", 200),
        ("tv/a.ts", 404),
        ("live/eu/b.ts", 404),
        // Of these there are no mounts.
        ("live/a.mp4", 200),
        ("live/a.m3u8?x", 200),
    ] {
        until_status(&weir, path, status).await;
    }
    // Another node has them where they always are.
    let head = "GET /live/a.flv HTTP/1.1\r\nHost: h\r\nWeir-Hops: aaaaaaaa\r\n\r\n";
    let response = weir_testkit::http::request(weir.http(), head.as_bytes()).await;
    assert_eq!(response.status, 200);
}
