//! `hooks.*`, and what an edge goes by when it lets viewers in, changed under a live stream.

use std::time::Duration;

use weir_testkit::{
    Weir,
    backend::{Backend, Reply},
    cluster::Cluster,
    eventually, http,
    peer::Viewer,
    tls_front::TlsFront,
};

use crate::{BINARY, SOON, encoder, get, reload, server, until_status};

const NO_HLS: &str = "hls: { enabled: false }\n";

async fn play_once(weir: &Weir, stream: &str) {
    Viewer::rtmp(&weir.rtmp_url(stream)).await.next().await.expect("media");
}

#[tokio::test(flavor = "multi_thread")]
pub async fn urls() {
    let [general, own] = [Backend::start().await, Backend::start().await];
    let mut weir = server().config(NO_HLS).start();
    let published = encoder(&weir, "live/a").await;
    let url = general.url();
    let keys = ["connect", "close", "publish", "unpublish", "play", "stop"];
    let keys = keys.map(|key| format!("on_{key}: {url:?}")).join(", ");
    let vhosts = format!("vhosts: {{ a.org: {{ hooks: {{ on_play: {:?} }} }} }}\n", own.url());
    reload(&mut weir, &format!("{NO_HLS}hooks: {{ {keys} }}\n{vhosts}")).await;
    play_once(&weir, "live/a").await;
    drop(encoder(&weir, "live/b").await);
    for hook in ["on_connect", "on_close", "on_publish", "on_unpublish", "on_play", "on_stop"] {
        general.until(hook, 1).await;
    }
    let asked = general.of("on_play").len();
    let of_own = encoder(&weir, "live/c?vhost=a.org").await;
    play_once(&weir, "live/c?vhost=a.org").await;
    own.until("on_play", 1).await;
    assert_eq!((general.of("on_play").len(), own.calls().len()), (asked, 1), "a vhost has its own");
    reload(&mut weir, NO_HLS).await;
    play_once(&weir, "live/a").await;
    assert_eq!(general.of("on_play").len(), asked, "nobody is asked any more");
    for encoder in [published, of_own] {
        encoder.assert_connected();
    }
}

#[tokio::test(flavor = "multi_thread")]
pub async fn files() {
    let back_end = Backend::start().await;
    let hls = "hls: { segment: 500ms, dir: hls }\n";
    let mut weir = server().config(hls).start();
    let _published = encoder(&weir, "live/a").await;
    reload(&mut weir, &format!("{hls}hooks: {{ on_hls: {:?} }}\n", back_end.url())).await;
    back_end.until("on_hls", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn timeout_and_fail() {
    let back_end = Backend::start().await;
    let accept = Reply::Text(200, "0".to_owned());
    back_end.replies(Reply::Later(Duration::from_secs(3), Box::new(accept)));
    let config = |timeout: &str, fail: &str| {
        let url = back_end.url();
        format!("{NO_HLS}hooks: {{ on_play: {url:?}, timeout: {timeout}, fail: {fail} }}\n")
    };
    let mut weir = server().config(&config("100ms", "closed")).start();
    let _published = encoder(&weir, "live/a").await;
    assert_eq!(get(&weir, "live/a.flv").await, 503);
    reload(&mut weir, &config("100ms", "open")).await;
    assert_eq!(get(&weir, "live/a.flv").await, 200);
    reload(&mut weir, &config("60s", "closed")).await;
    assert_eq!(get(&weir, "live/a.flv").await, 200, "there is time to answer");
}

#[tokio::test(flavor = "multi_thread")]
pub async fn retry() {
    let back_end = Backend::start().await;
    back_end.replies(Reply::Text(500, String::new()));
    let config = |retry: &str| {
        format!("{NO_HLS}hooks: {{ on_stop: {:?}, retry: {retry} }}\n", back_end.url())
    };
    let mut weir = server().config(&config("0s")).start();
    let _published = encoder(&weir, "live/a").await;
    play_once(&weir, "live/a").await;
    eventually("it is given up", SOON, async || {
        let page = http::get(weir.api(), "metrics").await.text().await;
        page.contains("weir_hook_events_total{hook=\"on_stop\",result=\"failed\"} 1").then_some(())
    })
    .await;
    assert_eq!(back_end.of("on_stop").len(), 1);
    reload(&mut weir, &config("1m")).await;
    play_once(&weir, "live/a").await;
    let calls = back_end.until("on_stop", 3).await;
    assert_eq!(calls[1].said("client_id"), calls[2].said("client_id"), "it is tried again");
}

#[tokio::test(flavor = "multi_thread")]
pub async fn secret() {
    let back_end = Backend::start().await;
    let config = |secret: &str| {
        format!("{NO_HLS}hooks: {{ on_play: {:?}, secret: {secret:?} }}\n", back_end.url())
    };
    let mut weir = server().config(&config("")).start();
    let _published = encoder(&weir, "live/a").await;
    assert_eq!(get(&weir, "live/a.flv").await, 200);
    reload(&mut weir, &config("s3cret")).await;
    assert_eq!(get(&weir, "live/a.flv").await, 200);
    let calls = back_end.of("on_play");
    let signed: Vec<_> =
        calls.iter().map(|call| !call.field("weir-signature").is_empty()).collect();
    assert_eq!(signed, [false, true]);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn ca() {
    let back_end = Backend::start().await;
    let authority = weir_testkit::certificates::Authority::new("an authority");
    let front = TlsFront::start(back_end.address(), &authority.issue(&["127.0.0.1"])).await;
    let dir = tempfile::tempdir().expect("a folder");
    let other = weir_testkit::certificates::Authority::new("another").pem();
    let [right, wrong] = [("right.pem", authority.pem()), ("wrong.pem", other)]
        .map(|(name, pem)| weir_testkit::certificates::put(dir.path(), name, &pem));
    let config = |ca: &std::path::Path| {
        format!("{NO_HLS}hooks: {{ on_play: \"https://{}/\", ca: {ca:?} }}\n", front.address())
    };
    let mut weir = server().config(&config(&wrong)).start();
    let _published = encoder(&weir, "live/a").await;
    assert_eq!(get(&weir, "live/a.flv").await, 503);
    reload(&mut weir, &config(&right)).await;
    assert_eq!(get(&weir, "live/a.flv").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn heartbeat() {
    let [one, two] = [Backend::start().await, Backend::start().await];
    let beat = |to: &Backend, keys: &str| {
        format!("{NO_HLS}heartbeat: {{ url: {:?}, {keys} }}\n", to.url())
    };
    let mut weir = server().config(NO_HLS).start();
    reload(&mut weir, &beat(&one, "interval: 1h, device_id: first")).await;
    let first = eventually("the first one", SOON, async || one.calls().pop()).await;
    let ip = first.said("ip").to_owned();
    assert!(ip.parse::<std::net::IpAddr>().is_ok(), "{ip}");
    let names: Vec<_> =
        first.body.as_object().into_iter().flatten().map(|(name, _)| name).collect();
    assert_eq!(names, ["device_id", "ip", "pid", "server", "service"]);
    // What is told to another one does not wait for the hour to pass.
    let all = "interval: 1s, device_id: second, ip: 10.0.0.7, summaries: true, ports: true";
    reload(&mut weir, &beat(&two, all)).await;
    let calls =
        eventually("two more", SOON, async || Some(two.calls()).filter(|calls| calls.len() >= 2))
            .await;
    assert_eq!(one.calls().len(), 1);
    for call in calls {
        assert_eq!((call.said("device_id"), call.said("ip")), ("second", "10.0.0.7"));
        assert_eq!(call.body["summaries"]["data"]["ok"], true, "{}", call.text);
        assert_eq!(call.body["rtmp"], serde_json::json!([weir.rtmp().to_string()]));
    }
    reload(&mut weir, &beat(&one, "interval: 1h")).await;
    eventually("another one", SOON, async || (one.calls().len() == 2).then_some(())).await;
    let so_far = two.calls().len();
    reload(&mut weir, NO_HLS).await;
    assert_eq!((one.calls().len(), two.calls().len()), (2, so_far), "nobody hears any more");
}

/// An origin with this configuration, an edge in front of it with more keys of `edge`, and how it is configured anew.
fn scene(config: &str, keys: &str) -> (Weir, Weir, impl Fn(&str) -> String) {
    let origin = Cluster::new(BINARY).origin(1, &format!("{NO_HLS}{config}"));
    let (rtmp, http) = (origin.rtmp().to_string(), origin.http().port());
    let config = move |keys: &str| {
        format!(
            "role: edge\nedge: {{ origins: [{rtmp:?}], http_port: {http}{keys} }}\nplay: {{ wait: 2s }}\n"
        )
    };
    let edge = server().config(&config(keys)).start();
    (origin, edge, config)
}

#[tokio::test(flavor = "multi_thread")]
pub async fn edge_auth() {
    let check = "auth: { play: [secret: { values: [right] }] }\n";
    let (origin, mut edge, config) = scene(check, "");
    let _published = encoder(&origin, "live/a").await;
    let mut viewer = Viewer::rtmp(&edge.rtmp_url("live/a?secret=right")).await.allowing_skips();
    viewer.next().await.expect("media");
    assert_eq!(get(&edge, "live/a.flv").await, 403, "the origin says no");
    reload(&mut edge, &config(", auth: local")).await;
    assert_eq!(get(&edge, "live/a.flv").await, 200, "it is not asked any more");
    reload(&mut edge, &config(", auth: origin")).await;
    assert_eq!(get(&edge, "live/a.flv").await, 403);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn edge_token() {
    let (origin, mut edge, config) = scene("auth: { play: [edge: { tokens: [right] }] }\n", "");
    let _published = encoder(&origin, "live/a").await;
    assert_eq!(get(&edge, "live/a.flv").await, 403);
    reload(&mut edge, &config(", token: right")).await;
    // What the origin has said to the edge without it holds for a moment.
    until_status(&edge, "live/a.flv", 200).await;
}
