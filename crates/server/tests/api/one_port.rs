//! The API at the address of streams.

use std::{net::Ipv4Addr, time::Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use weir_testkit::{
    Weir,
    certificates::{Authority, put},
    cluster::Ports,
    eventually, http, http2,
    peer::{Encoder, Numbered, Viewer},
    raw::Raw,
    server::Builder,
};

use super::{ADMIN, READ, SOON, call, server};

/// A server with both tokens, whose API is on the port of streams, and what keeps that for it.
fn on_one_port(config: &str) -> (Builder, Ports) {
    let ports = Ports::free();
    let both = Ports::fixed(ports.rtmp, ports.http, ports.http);
    (server().config(config).at(Ipv4Addr::LOCALHOST, &both), ports)
}

async fn encoder(weir: &Weir) -> Encoder {
    let picture = std::time::Duration::from_millis(40);
    Encoder::start(&weir.rtmp_url("live/a"), Numbered::new(12), picture).await
}

/// What is answered to these requests, one after the other over one connection, the last of which ends it.
async fn conversation(weir: &Weir, paths: &[&str], fields: &str) -> String {
    let mut socket = TcpStream::connect(weir.http()).await.expect("connected");
    for (at, path) in paths.iter().enumerate() {
        let close = if at + 1 == paths.len() { "Connection: close\r\n" } else { "" };
        let head = format!("GET /{path} HTTP/1.1\r\nHost: {}\r\n{fields}{close}\r\n", weir.http());
        socket.write_all(head.as_bytes()).await.expect("sent");
    }
    let mut said = Vec::new();
    socket.read_to_end(&mut said).await.expect("answers");
    // Pages are packed.
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_calls_have_their_paths_and_calls_their_rights() {
    let (builder, _ports) = on_one_port("hls: { segment: 500ms, dir: '' }\n");
    let weir = builder.start();
    assert_eq!(weir.http(), weir.api());
    let encoder = encoder(&weir).await;
    let mut viewer = Viewer::http_flv(weir.http(), "live/a.flv").await;
    viewer.until_picture(encoder.next_number() + 5).await;
    eventually("a playlist", SOON, async || {
        (http::get(weir.http(), "live/a.m3u8").await.status == 200).then_some(())
    })
    .await;
    for (method, path, token, status) in [
        ("GET", "api/v1/streams", "", 401),
        ("GET", "api/v1/streams", "wrong", 401),
        ("GET", "api/v1/streams", READ, 200),
        ("GET", "api/v1/streams/", READ, 200),
        ("GET", "api/v1/a.m3u8", READ, 404),
        ("GET", "metrics", "", 401),
        ("GET", "metrics", READ, 200),
        ("POST", "api/v1/reload", "", 401),
        ("POST", "api/v1/reload", READ, 403),
        ("POST", "api/v1/reload", ADMIN, 200),
        ("DELETE", "api/v1/clients/4711", READ, 403),
        ("DELETE", "api/v1/clients/4711", ADMIN, 404),
        ("GET", "healthz", "", 200),
        ("GET", "readyz", "", 200),
        ("GET", "console/", "", 200),
        // What is beside them is of streams, which have no rights to give.
        ("GET", "", "", 200),
        ("GET", "player", "", 200),
        ("GET", "%61pi/v1/streams", ADMIN, 404),
        ("GET", "/api/v1/streams", ADMIN, 200),
        ("GET", "live/api/v1/streams", ADMIN, 404),
        ("DELETE", "live/a.flv", ADMIN, 405),
    ] {
        let answer = call(weir.http(), method, path, token).await;
        assert_eq!(answer.status, status, "{method} {path} {token}: {}", answer.text);
    }
    // No page of others reads what calls say, as any may read streams.
    let origin = |said: &str| said.to_ascii_lowercase().contains("access-control-allow-origin: *");
    let reader = format!("Authorization: Bearer {READ}\r\nOrigin: https://evil.example\r\n");
    let calls = conversation(&weir, &["api/v1/streams"], &reader).await;
    assert!(calls.starts_with("HTTP/1.1 200") && !origin(&calls), "{calls}");
    // One connection is for both, in any order.
    let paths = ["live/a.m3u8", "api/v1/versions", "live/a.m3u8", "player", "api/v1/streams"];
    let said = conversation(&weir, &paths, &reader).await;
    assert_eq!(said.matches("HTTP/1.1 200").count(), paths.len(), "{said}");
    assert_eq!((said.matches("#EXTM3U").count(), said.matches("\"code\":0").count()), (2, 2));
    assert!(origin(&said), "that of playlists");
    encoder.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_near_is_who_has_connected_from_there() {
    let ports = Ports::free();
    let both = Ports::fixed(ports.rtmp, ports.http, ports.http);
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir"))
        .config("hls: { enabled: false }\nhttp: { trusted_proxies: [\"127.0.0.1\"] }\n")
        .at(Ipv4Addr::LOCALHOST, &both)
        .start();
    let status = async |fields: &str| {
        let said = conversation(&weir, &["api/v1/streams"], fields).await;
        said.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(status("").await, "200");
    assert_eq!(status("X-Forwarded-For: 192.0.2.7\r\n").await, "401");
    assert_eq!(status("X-Forwarded-For: 127.0.0.1\r\n").await, "401");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_http2_is_for_both() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new("ours"));
    authority.certify(folder.path(), "server", &["localhost"]);
    let ca = put(folder.path(), "ca", &authority.pem());
    let [crt, key] = ["server.pem", "server.key"].map(|file| folder.path().join(file));
    let ports = Ports::free();
    let address = format!("127.0.0.1:{}", ports.api);
    let config = format!(
        "hls: {{ enabled: false }}\n\
         http: {{ tls: {{ listen: '{address}', certificates: [{{ cert: {crt:?}, key: {key:?} }}] }} }}\n\
         api: {{ listen: ['{address}'], read_from: ['0.0.0.0/0'] }}\n"
    );
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).config(&config).start();
    assert_eq!(weir.api(), weir.listens("https"));
    let mut stream = http2::connect(weir.api(), &ca).await;
    let paths = ["/healthz", "/live/none.m3u8", "/console/", "/player", "/api"];
    for (at, path) in paths.into_iter().enumerate() {
        let id = u32::try_from(2 * at + 1).expect("few");
        stream.write_all(&http2::get(id, path)).await.expect("sent");
    }
    // Status 200 and 404 are entries 8 and 13 of the static table (RFC 7541 appendix A).
    let mut statuses = std::collections::BTreeMap::new();
    while statuses.len() < paths.len() {
        let (kind, _, id, payload) = http2::next(&mut stream).await.expect("an answer");
        if kind == http2::HEADERS {
            statuses.insert(id, payload.first().copied());
        }
    }
    let all: Vec<_> = statuses.into_values().collect();
    // A name is not near: who asks for `h` gets no call answered without a token.
    assert_eq!(all[..4], [Some(0x88), Some(0x8d), Some(0x88), Some(0x88)]);
    assert_ne!(all[4], Some(0x88));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_for_calls_count_as_those_of_viewers() {
    let (builder, _ports) = on_one_port("limits: { connections_per_ip: 2 }\n");
    let weir = builder.start();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(weir.http()).await.expect("connected");
        socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("sent");
        let mut line = [0; 12];
        socket.read_exact(&mut line).await.expect("an answer");
        assert_eq!(&line, b"HTTP/1.1 200");
        held.push(socket);
    }
    assert_eq!(http::get(weir.http(), "healthz").await.status, 503, "one too many");
    held.clear();
    eventually("room", SOON, async || {
        (http::get(weir.http(), "healthz").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_is_reached_to_its_end_and_waits_for_nobody_who_looks() {
    let config = "hls: { enabled: false }\ndrain: { notice: 0s, timeout: 60s }\n";
    let (builder, _ports) = on_one_port(config);
    let mut weir = builder.start();
    // Who has just connected is left alone for some seconds.
    let _newcomer = Raw::rtmp(weir.rtmp()).await;
    let fields = format!("Host: h\r\nAuthorization: Bearer {READ}\r\n");
    let mut page = TcpStream::connect(weir.http()).await.expect("connected");
    let poll = format!("GET /api/v1/events?after=1000000&wait=25 HTTP/1.1\r\n{fields}\r\n");
    page.write_all(poll.as_bytes()).await.expect("sent");
    let first = http::get(weir.http(), "readyz").await.status;
    let began = Instant::now();
    weir.terminate();
    eventually("it is not ready", SOON, async || {
        (http::get(weir.http(), "readyz").await.status == 503).then_some(())
    })
    .await;
    eventually("nobody new is served", SOON, async || {
        let mut answer = http::get(weir.http(), "live/a.flv").await;
        let text = answer.text().await;
        (answer.status == 503 && text.contains("is stopping")).then_some(())
    })
    .await;
    let mut playlist = http::get(weir.http(), "live/a.m3u8").await;
    assert_eq!((first, playlist.status), (200, 503), "{}", playlist.text().await);
    assert_eq!(http::get(weir.http(), "healthz").await.status, 200);
    let status = tokio::task::block_in_place(|| weir.wait_exit(SOON));
    let took = began.elapsed();
    assert!(status.success() && took.as_secs() < 15, "{status} after {took:?}");
    eprintln!("it ended {took:?} after it was told to, with a call that waits for 25 s");
}
