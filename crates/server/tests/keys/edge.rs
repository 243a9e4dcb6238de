//! `edge.*`, and what a pull goes by, changed under a stream that an edge has from its origin.

use std::net::{IpAddr, Ipv4Addr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use weir_testkit::{
    Weir,
    certificates::{Authority, Certificate, put},
    cluster::Cluster,
    dns::Dns,
    eventually,
    hls::Playlist,
    http,
    peer::{Encoder, Numbered, Player, Viewer},
    server::field,
    tls_front::TlsFront,
};

use crate::{
    BINARY, PICTURE, SOON, encoder, get, metric, reload, server, streams::moments, until_status,
};

const NO_HLS: &str = "hls: { enabled: false }\n";

/// An origin, and an edge in front of it.
struct Scene {
    origin: Weir,
    edge: Weir,
}

/// The configuration of an edge in front of `origin`, an address or a name with its port; `keys` are more of `edge`.
fn config(origin: &str, http_port: u16, keys: &str, more: &str) -> String {
    format!("role: edge\nedge: {{ origins: [{origin:?}], http_port: {http_port}{keys} }}\n{more}")
}

impl Scene {
    fn begin(origin: &str, keys: &str, more: &str) -> Self {
        let origin = Cluster::new(BINARY).origin(1, origin);
        let config = Self::config(&origin, keys, more);
        let edge = server().config(&config).start();
        Self { origin, edge }
    }

    fn config(origin: &Weir, keys: &str, more: &str) -> String {
        config(&origin.rtmp().to_string(), origin.http().port(), keys, more)
    }

    async fn reload(&mut self, keys: &str, more: &str) {
        let config = Self::config(&self.origin, keys, more);
        reload(&mut self.edge, &config).await;
    }

    async fn viewer(&self, stream: &str) -> Viewer {
        let mut viewer = Viewer::rtmp(&self.edge.rtmp_url(stream)).await.allowing_skips();
        viewer.next().await.expect("it flows");
        viewer
    }

    /// Waits until the origin has so many plays of `live/a`.
    async fn until_pulls(&self, open: usize) {
        eventually(&format!("{open} pulls"), SOON, async || {
            (self.origin.sessions("play", "/live/a").open() == open).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
pub async fn linger() {
    let mut scene = Scene::begin(NO_HLS, ", linger: 1h", "");
    let _published = encoder(&scene.origin, "live/a").await;
    drop(scene.viewer("live/a").await);
    eventually("no viewers left", SOON, async || {
        (scene.edge.sessions("play", "/live/a").open() == 0).then_some(())
    })
    .await;
    assert_eq!(scene.origin.sessions("play", "/live/a").open(), 1, "it is pulled on");
    scene.reload(", linger: 0s", "").await;
    scene.until_pulls(0).await;
}

/// A pull goes by what is in force, also after it had to look for its stream anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_is_not_held_to_the_vhost_it_was_born_with() {
    let mut scene = Scene::begin(NO_HLS, "", "play: { flush: video }\n");
    let published = encoder(&scene.origin, "live/a").await;
    let mut viewer = scene.viewer("live/a").await;
    scene.reload("", "play: { flush: 500ms }\n").await;
    let before = moments(&scene.edge).await;
    let restarted = tokio::spawn(async move { while viewer.next().await.is_some() {} });
    drop(published);
    scene.origin.restart();
    let _published = encoder(&scene.origin, "live/a").await;
    let is_pull =
        |line: &_| field(line, "message") == "session began" && field(line, "role") == "play";
    scene.origin.wait_log(is_pull, SOON);
    let after = moments(&scene.edge).await;
    eprintln!("moments in 2 s: {before}, after another pull {after}");
    assert!(before <= 8 && after <= 8, "pictures come together: {before}, then {after}");
    restarted.abort();
}

#[tokio::test(flavor = "multi_thread")]
pub async fn origins() {
    let mut scene = Scene::begin(NO_HLS, "", "");
    let other = server().config(NO_HLS).start();
    let _published = [encoder(&scene.origin, "live/a").await, encoder(&other, "live/a").await];
    let mut viewer = scene.viewer("live/a").await;
    reload(&mut scene.edge, &Scene::config(&other, "", "")).await;
    eventually("a pull at the other origin", SOON, async || {
        (other.sessions("play", "/live/a").open() == 1).then_some(())
    })
    .await;
    scene.until_pulls(0).await;
    viewer.next().await.expect("it goes on");
}

#[tokio::test(flavor = "multi_thread")]
pub async fn protocol() {
    let mut scene = Scene::begin(NO_HLS, ", protocol: rtmp", "");
    let _published =
        [encoder(&scene.origin, "live/a").await, encoder(&scene.origin, "live/b").await];
    let mut before = scene.viewer("live/a").await;
    scene.reload(", protocol: flv", "").await;
    let _after = scene.viewer("live/b").await;
    let protocol = |stream: &str| {
        let line = scene.origin.wait_log(
            |line| {
                field(line, "message") == "session began"
                    && field(line, "role") == "play"
                    && field(line, "stream") == stream
            },
            SOON,
        );
        field(&line, "protocol").as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(
        (protocol("/live/a").as_str(), protocol("/live/b").starts_with("http")),
        ("rtmp", true)
    );
    before.next().await.expect("it goes on as it began");
}

#[tokio::test(flavor = "multi_thread")]
pub async fn http_port() {
    let origin = server().config("hls: { segment: 500ms }\n").start();
    let address = origin.rtmp().to_string();
    let wait = "play: { wait: 5s }\n";
    let mut edge = server().config(&config(&address, origin.api().port(), "", wait)).start();
    let _published = encoder(&origin, "live/a").await;
    until_status(&origin, "live/a.m3u8", 200).await;
    assert_ne!(get(&edge, "live/a.m3u8").await, 200);
    reload(&mut edge, &config(&address, origin.http().port(), "", wait)).await;
    until_status(&edge, "live/a.m3u8", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn dead_after() {
    let mut scene = Scene::begin(NO_HLS, ", dead_after: 1m, give_up: 1h", "");
    let _published = encoder(&scene.origin, "live/a").await;
    let _viewer = scene.viewer("live/a").await;
    scene.reload(", dead_after: 1s, give_up: 1h", "").await;
    scene.origin.freeze();
    let is_lost = |line: &_| {
        field(line, "message").as_str().is_some_and(|text| text.starts_with("pull lost"))
    };
    scene.edge.wait_log(is_lost, SOON);
    scene.origin.thaw();
}

#[tokio::test(flavor = "multi_thread")]
pub async fn give_up() {
    let mut scene = Scene::begin(NO_HLS, ", dead_after: 1s, give_up: 1h", "");
    let _published = encoder(&scene.origin, "live/a").await;
    let mut viewer = scene.viewer("live/a").await;
    scene.origin.kill();
    let is_lost = |line: &_| {
        field(line, "message").as_str().is_some_and(|text| text.starts_with("pull lost"))
    };
    scene.edge.wait_log(is_lost, SOON);
    scene.reload(", dead_after: 1s, give_up: 1s", "").await;
    viewer.until_end().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn forward_query() {
    let secret = "auth: { play: [secret: { values: [open] }] }\n";
    let wait = "play: { wait: 2s }\n";
    let mut scene = Scene::begin(&format!("{NO_HLS}{secret}"), ", forward_query: none", wait);
    let _published = encoder(&scene.origin, "live/a").await;
    let url = scene.edge.rtmp_url("live/a?secret=open");
    assert!(Player::try_rtmp(&url).await.is_err(), "the origin sees no secret");
    scene.reload(", forward_query: all", wait).await;
    eventually("the viewer is let in", SOON, async || Player::try_rtmp(&url).await.ok()).await;
}

/// Leads everybody to `to`.
async fn redirect(listener: TcpListener, to: String) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let _ = socket.read(&mut [0; 4096]).await;
        let _ = socket.write_all(answer.as_bytes()).await;
    }
}

/// An origin behind TLS that shows `certificate`, and a stream there.
async fn behind_tls(certificate: &Certificate) -> (Weir, Encoder, TlsFront) {
    let origin = server().config(NO_HLS).start();
    let published = encoder(&origin, "live/a").await;
    let front = TlsFront::start(origin.rtmp(), certificate).await;
    (origin, published, front)
}

/// An edge plays with the second of two `edge.tls`, and not with the first.
async fn until_trusted(origin: &Weir, front: &TlsFront, [wrong, right]: [&str; 2]) {
    let of = |tls: &str| {
        let (name, keys) = (format!("rtmps://{}", front.address()), format!(", tls: {{ {tls} }}"));
        config(&name, origin.http().port(), &keys, "play: { wait: 2s }\n")
    };
    let mut edge = server().config(&of(wrong)).start();
    assert_ne!(get(&edge, "live/a.flv").await, 200);
    reload(&mut edge, &of(right)).await;
    until_status(&edge, "live/a.flv", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn tls_ca() {
    let dir = tempfile::tempdir().expect("a folder");
    let authorities = ["another", "ours"].map(Authority::new);
    let (origin, _published, front) = behind_tls(&authorities[1].issue(&["127.0.0.1"])).await;
    let [wrong, right] = ["another.pem", "ours.pem"];
    let files = [(wrong, &authorities[0]), (right, &authorities[1])];
    let keys =
        files.map(|(name, ca)| format!("ca: {}", put(dir.path(), name, &ca.pem()).display()));
    until_trusted(&origin, &front, [&keys[0], &keys[1]]).await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn tls_pin() {
    let certificate = Certificate::self_signed(&["somebody.test"]);
    let (origin, _published, front) = behind_tls(&certificate).await;
    let (wrong, right) = ("a0".repeat(32), &certificate.sha256);
    let keys = [&wrong, right].map(|pin| format!("pin: '{pin}'"));
    until_trusted(&origin, &front, [&keys[0], &keys[1]]).await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn redirects() {
    let origin = server().config(NO_HLS).start();
    let _published = encoder(&origin, "live/a").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let elsewhere = format!("localhost:{}", origin.http().port());
    let redirecting = tokio::spawn(redirect(listener, format!("http://{elsewhere}/live/a.flv")));
    let of = |redirects: &str| {
        let keys = format!(", protocol: flv, redirects: [{redirects}]");
        config(&origin.rtmp().to_string(), port, &keys, "play: { wait: 2s }\n")
    };
    let mut edge = server().config(&of("")).start();
    assert_ne!(get(&edge, "live/a.flv").await, 200);
    reload(&mut edge, &of(&format!("{elsewhere:?}"))).await;
    until_status(&edge, "live/a.flv", 200).await;
    redirecting.abort();
}

#[tokio::test(flavor = "multi_thread")]
pub async fn resolvers() {
    let origin = server().config(NO_HLS).start();
    let _published = encoder(&origin, "live/a").await;
    let [wrong, right] = [Dns::start().await, Dns::start().await];
    right.set("origin.test", vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    let name = format!("origin.test:{}", origin.rtmp().port());
    let of = |dns: &Dns| {
        let keys = format!(", resolvers: [\"{}\"]", dns.address());
        config(&name, origin.http().port(), &keys, "play: { wait: 2s }\n")
    };
    let mut edge = server().config(&of(&wrong)).start();
    assert_ne!(get(&edge, "live/a.flv").await, 200);
    reload(&mut edge, &of(&right)).await;
    until_status(&edge, "live/a.flv", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn hls_cache() {
    const MIB: f64 = 1_048_576.0;
    let mut scene = Scene::begin("hls: { segment: 500ms }\n", ", hls_cache: 64MiB", "");
    let source = Numbered::new(12).with_picture_bytes(40_000);
    let _published = Encoder::start(&scene.origin.rtmp_url("live/a"), source, PICTURE).await;
    eventually("more than a mebibyte in the cache", SOON, async || {
        let mut response = http::get(scene.edge.http(), "live/a.m3u8").await;
        if response.status == 200 {
            let text = response.text().await;
            for segment in &Playlist::parse(&text).segments {
                http::get(scene.edge.http(), &format!("live/{}", segment.uri)).await.bytes().await;
            }
        }
        (metric(&scene.edge, "weir_hls_cache_bytes").await > 2.0 * MIB).then_some(())
    })
    .await;
    scene.reload(", hls_cache: 1MiB", "").await;
    eventually("no more than that", SOON, async || {
        (metric(&scene.edge, "weir_hls_cache_bytes").await <= MIB).then_some(())
    })
    .await;
}
