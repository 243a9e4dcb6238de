//! Which stream a host or `?vhost=` names.

use weir_testkit::{
    Weir, eventually, http,
    peer::{Numbered, Publisher, Viewer},
};

use crate::{SOON, server};

const CONFIG: &str =
    "play: { wait: 0s }\nvhosts: { example.com: {}, other.org: { publish: { conflict: reject } } }";

/// The status of a request for HTTP-FLV with this `Host`.
async fn status(weir: &Weir, host: &str, path: &str) -> u16 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    http::request(weir.http(), request.as_bytes()).await.status
}

/// Until what has been sent is there: nobody waits for a stream here.
async fn until_playable(url: &str) {
    eventually("it plays", SOON, async || Viewer::try_rtmp(url).await.ok()).await;
}

#[tokio::test]
async fn hosts_that_are_not_configured_are_one() {
    let weir = server(CONFIG);
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::default()).await;
    publisher.pictures(1).await;
    until_playable(&weir.rtmp_url("live/a")).await;
    let localhost = format!("rtmp://localhost:{}/live/a", weir.rtmp().port());
    for url in [localhost, weir.rtmp_url("live/a?vhost=nobody.net")] {
        Viewer::rtmp(&url).await.until_picture(0).await;
    }
    for host in ["localhost", "127.0.0.1:8080", "nobody.net", "[::1]:8080", ""] {
        assert_eq!(status(&weir, host, "/live/a.flv").await, 200, "Host: {host:?}");
    }
    Viewer::http_flv(weir.http(), "live/a.flv?vhost=nobody.net").await.until_picture(0).await;
}

#[tokio::test]
async fn a_configured_vhost_has_streams_of_its_own() {
    let weir = server(CONFIG);
    let url = weir.rtmp_url("live/a?vhost=example.com");
    let mut publisher = Publisher::start(&url, Numbered::default()).await;
    publisher.pictures(1).await;
    until_playable(&url).await;
    for there in [
        &url,
        &weir.rtmp_url("live/a?domain=example.com"),
        &weir.rtmp_url("live...vhost...example.com/a"),
    ] {
        Viewer::rtmp(there).await.until_picture(0).await;
    }
    Viewer::http_flv(weir.http(), "live/a.flv?vhost=example.com").await.until_picture(0).await;
    assert_eq!(status(&weir, "example.com", "/live/a.flv").await, 200);
    assert_eq!(status(&weir, "example.com:8080", "/live/a.flv").await, 200);

    for elsewhere in ["live/a", "live/a?vhost=other.org", "live/a?vhost=nobody.net"] {
        let refused = Viewer::try_rtmp(&weir.rtmp_url(elsewhere)).await;
        assert_eq!(refused.unwrap_err().code, "NetStream.Play.StreamNotFound", "{elsewhere}");
    }
    assert_eq!(status(&weir, "localhost", "/live/a.flv").await, 404);
    assert_eq!(status(&weir, "other.org", "/live/a.flv").await, 404);
    assert_eq!(status(&weir, "example.com", "/live/a.flv?vhost=other.org").await, 404);

    // The same name in the other places is free.
    for free in ["live/a", "live/a?vhost=other.org"] {
        Publisher::start(&weir.rtmp_url(free), Numbered::default()).await;
    }
}

#[tokio::test]
async fn a_vhost_has_settings_of_its_own() {
    let weir = server(
        "vhosts: { strict: { publish: { conflict: reject } } }\npublish: { conflict: takeover }",
    );
    for (name, is_strict) in [("live/a?vhost=strict", true), ("live/a", false)] {
        let url = weir.rtmp_url(name);
        let _first = Publisher::start(&url, Numbered::default()).await;
        let second = Publisher::try_start(&url, Numbered::default()).await;
        assert_eq!(second.is_err(), is_strict, "{name}");
    }
}
