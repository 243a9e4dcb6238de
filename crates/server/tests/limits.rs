//! What viewers and addresses may take (`limits`), and whose address it is behind a balancer or a proxy.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::task::JoinSet;
use weir_testkit::{
    Weir, http,
    peer::{Numbered, Publisher, Refused, Viewer},
    raw::Raw,
};

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(20);

/// 25 pictures of 10 kB a second, and a little sound: just above 2 Mb/s, so that 10 Mb/s are enough for four.
const PICTURE_BYTES: usize = 10_000;
const FIT: usize = 4;

fn server(config: &str) -> Weir {
    let config = format!("hls: {{ enabled: false }}\n{config}");
    // The usual end of a connection that was answered requests is a line for those who look for details.
    Weir::builder(env!("CARGO_BIN_EXE_weir"))
        .config(&config)
        .env("WEIR_LOG", "info,weir_clients::client=debug")
        .start()
}

/// A stream with a group of one second, so that its bit rate is known, and the start of the next.
async fn publish(weir: &Weir) -> Publisher {
    let source = Numbered::new(25).with_picture_bytes(PICTURE_BYTES);
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), source).await;
    publisher.pictures(25).await;
    Viewer::rtmp(&weir.rtmp_url("live/a")).await.until_picture(24).await;
    until_viewers(weir, 0).await;
    publisher
}

/// Waits until the API says that the stream has so many viewers.
async fn until_viewers(weir: &Weir, count: usize) {
    let poll = async {
        loop {
            let text = http::get(weir.api(), "api/v1/streams").await.text().await;
            let answer: Value = serde_json::from_str(&text).expect("the API answers with JSON");
            if answer["streams"][0]["clients"] == count + 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, poll).await.expect("the API to count viewers and the publisher");
}

fn assert_failed(refused: &Refused, reason: &str) {
    assert_eq!(refused.code, "NetStream.Play.Failed", "{refused:?}");
    assert!(refused.description.contains(reason), "{refused:?} does not say {reason:?}");
}

/// Requires that `path` is refused over HTTP for now.
async fn assert_unavailable(weir: &Weir, path: &str, reason: &str) {
    let mut response = http::get(weir.http(), path).await;
    assert_eq!(response.status, 503, "{:?}", response.headers);
    assert_eq!(response.header("retry-after"), Some("5"));
    let text = response.text().await;
    assert!(text.contains(reason), "{text:?} does not say {reason:?}");
}

#[tokio::test]
async fn a_stream_has_so_many_viewers_whatever_they_speak() {
    let weir = server("limits: { viewers_per_stream: 2 }");
    let mut publisher = publish(&weir).await;
    let url = weir.rtmp_url("live/a");
    let mut viewers = [Viewer::rtmp(&url).await, Viewer::http_flv(weir.http(), "live/a.flv").await];
    until_viewers(&weir, 2).await;

    let reason = "too many viewers of /live/a (limit 2, limits.viewers_per_stream)";
    assert_failed(&Viewer::try_rtmp(&url).await.expect_err("one too many"), reason);
    assert_unavailable(&weir, "live/a.flv", reason).await;

    let newest = publisher.pictures(25).await;
    for viewer in &mut viewers {
        viewer.until_picture(newest).await;
    }
    drop(viewers);
    until_viewers(&weir, 0).await;
    Viewer::rtmp(&url).await.until_picture(newest).await;
}

#[tokio::test]
async fn a_crowd_of_one_instant_fills_the_egress_and_keeps_its_quality() {
    let weir = server("limits: { egress: 10Mbps }");
    let mut publisher = publish(&weir).await;
    let url = weir.rtmp_url("live/a");
    let come = |url: String| async move { Viewer::try_rtmp(&url).await };
    let crowd: JoinSet<_> = (0..20).map(|_| come(url.clone())).collect();
    let (mut viewers, mut refused) = (Vec::new(), Vec::new());
    for viewer in crowd.join_all().await {
        match viewer {
            Ok(viewer) => viewers.push(viewer),
            Err(no) => refused.push(no),
        }
    }
    // The first second's worth of what is sent may be gone before all that fit have come.
    assert!((1..=FIT).contains(&viewers.len()), "{} were let in", viewers.len());
    refused.iter().for_each(|refused| assert_failed(refused, "10 Mb/s, limits.egress"));
    assert_unavailable(&weir, "live/a.flv", "limits.egress)").await;
    // Viewers require that no picture is missing.
    let newest = publisher.pictures(100).await;
    for viewer in &mut viewers {
        viewer.until_picture(newest).await;
    }
}

#[tokio::test]
async fn a_publisher_comes_in_when_the_egress_is_spent() {
    let weir = server("limits: { egress: 1Mbps }");
    let source = Numbered::new(25).with_picture_bytes(PICTURE_BYTES);
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), source.clone()).await;
    publisher.pictures(25).await;
    let refused = Viewer::try_rtmp(&weir.rtmp_url("live/a")).await.expect_err("2 Mb/s do not fit");
    assert_failed(&refused, "1 Mb/s, limits.egress");
    Publisher::start(&weir.rtmp_url("live/b"), source).await.pictures(25).await;
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_is_told() {
    let weir = server("limits: { connections_per_ip: 3 }");
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(25)).await;
    publisher.pictures(25).await;
    let url = weir.rtmp_url("live/a");
    let first = Viewer::rtmp(&url).await;
    let mut second = Viewer::http_flv(weir.http(), "live/a.flv").await;

    let reason = "too many connections from 127.0.0.1 (limit 3, limits.connections_per_ip)";
    assert_failed(&Viewer::try_rtmp(&url).await.expect_err("one too many"), reason);
    assert_unavailable(&weir, "live/a.flv", reason).await;
    let refused = Publisher::try_start(&weir.rtmp_url("live/b"), Numbered::new(25)).await;
    assert_eq!(refused.expect_err("one too many").code, "NetStream.Publish.Failed");
    until_viewers(&weir, 2).await;

    let newest = publisher.pictures(25).await;
    second.until_picture(newest).await;
    let local = first.local();
    drop(first);
    weir.session_end(local, SOON).await;
    Viewer::rtmp(&url).await.until_picture(newest).await;
}

const BEHIND_BALANCER: &str = "rtmp: { proxy_protocol: true }\nhttp: { proxy_protocol: true }\n";

/// A connection that a balancer has passed on from `ip`, at port 4711.
async fn passed_on(address: SocketAddr, ip: &str) -> Raw {
    let family = if ip.contains(':') { "TCP6" } else { "TCP4" };
    let mut raw = Raw::connect(address).await;
    raw.send(format!("PROXY {family} {ip} {ip} 4711 80\r\n").as_bytes()).await;
    raw
}

#[tokio::test]
async fn a_proxy_header_says_whose_connection_it_is() {
    let weir = server(&format!("{BEHIND_BALANCER}limits: {{ connections_per_ip: 1 }}"));
    for (ip, peer) in [("192.0.2.7", "192.0.2.7:4711"), ("2001:db8::7", "[2001:db8::7]:4711")] {
        let answer = http::get_on(passed_on(weir.http(), ip).await, "live/none").await;
        assert_eq!(answer.status, 404, "it was served: no such path");
        let (side, reason) = weir.session_end(peer.parse().expect("an address"), SOON).await;
        assert_eq!(side, "peer", "{reason}");
    }
    // The handshake is answered, so this one is counted.
    let _held = passed_on(weir.rtmp(), "192.0.2.8").await.greet().await;
    let mut surplus = http::get_on(passed_on(weir.http(), "192.0.2.8").await, "live/none").await;
    assert_eq!(surplus.status, 503);
    assert!(surplus.text().await.starts_with("too many connections from 192.0.2.8 (limit 1,"));
    let other = http::get_on(passed_on(weir.http(), "192.0.2.9").await, "live/none").await;
    assert_eq!(other.status, 404);
}

#[tokio::test]
async fn a_connection_without_the_proxy_header_is_closed() {
    let weir = server(BEHIND_BALANCER);
    for (address, key) in [(weir.rtmp(), "rtmp"), (weir.http(), "http")] {
        let mut raw = Raw::connect(address).await;
        raw.send(b"GET /live/a.flv HTTP/1.1\r\n\r\n").await;
        let answer = raw.expect_close(SOON).await;
        assert!(answer.is_empty(), "{answer:?}");
        let (side, reason) = weir.session_end(raw.local(), SOON).await;
        assert_eq!(side, "peer");
        let key = format!("{key}.proxy_protocol");
        assert!(reason.contains("no PROXY header") && reason.contains(&key), "{reason}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_says_whose_request_it_is() {
    let weir = server(
        "http: { listen: ['127.0.0.1:0'], trusted_proxies: [127.0.0.0/8] }\nlimits: { connections_per_ip: 1 }",
    );
    let ask = |client: &str| {
        let client = client.to_owned();
        let (address, fields) = (weir.http(), "Host: h\r\nConnection: close");
        async move {
            let head =
                format!("GET /live/none HTTP/1.1\r\n{fields}\r\nX-Forwarded-For: {client}\r\n\r\n");
            http::request(address, head.as_bytes()).await.status
        }
    };
    // A connection that stays: its request is answered, and another one may follow.
    let mut held = Raw::connect(weir.http()).await;
    held.send(b"GET /live/none HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n").await;
    let mut held = held.into_inner();
    assert!(tokio::io::AsyncReadExt::read(&mut held, &mut [0; 4096]).await.is_ok_and(|n| n > 0));
    assert_eq!(ask("192.0.2.7").await, 503);
    assert_eq!(ask("198.51.100.1, 192.0.2.7").await, 503, "the first was written by the client");
    assert_eq!(ask("192.0.2.8").await, 404);
}
