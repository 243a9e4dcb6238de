//! HTTP clients that break the rules or do nothing. Each gets an answer if there is one, and loses its own connection
//! with a reason in the log, while a stream beside it plays on without a lost packet.

use std::{fs, net::SocketAddr, time::Duration};

use weir_testkit::{
    Weir, http,
    peer::{Numbered, Publisher, Viewer, Witness},
    raw::Raw,
};

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(20);

/// How long the server waits for a request.
const REQUEST: Duration = Duration::from_secs(10);

/// Runs `attack` on a server, and a stream that must not notice it.
async fn beside_a_stream(config: &str, attack: impl AsyncFnOnce(&Weir)) {
    // The usual end of a connection that was answered requests is a line for those who look for details.
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir"))
        .config(config)
        .env("WEIR_LOG", "info,weir_clients::client=debug")
        .start();
    let mut witness = Witness::start(&weir).await;
    witness.during(attack(&weir)).await;
    witness.finish().await;
}

/// Requires that the session of `peer` ended by `side`, for a reason in which `reason` occurs.
async fn assert_ended(weir: &Weir, peer: SocketAddr, side: &str, reason: &str, within: Duration) {
    let (by, because) = weir.session_end(peer, within).await;
    assert!(
        by == side && because.contains(reason),
        "the log says that the session ended by {by:?} because {because:?}, and not by {side:?} because {reason:?}"
    );
}

/// Requires that an answer begins with the status line of `status`.
fn assert_status(answer: &[u8], status: u16) {
    let text = String::from_utf8_lossy(answer);
    assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "expected {status}: {text:?}");
}

#[tokio::test]
async fn a_header_of_1_mb() {
    const GROWTH_MAX: u64 = 8 << 20;
    beside_a_stream("", async |weir| {
        let before = weir.rss_bytes();
        for request in [
            format!(
                "GET /live/witness.flv HTTP/1.1\r\nHost: h\r\nX-Long: {}\r\n\r\n",
                "x".repeat(1 << 20)
            ),
            format!("GET /live/{}.flv HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(1 << 20)),
            format!(
                "GET /live/witness.flv HTTP/1.1\r\nHost: h\r\n{}\r\n",
                "X-Many: x\r\n".repeat(100_000)
            ),
        ] {
            let mut raw = Raw::connect(weir.http()).await;
            // The server need not take all of it before it says no.
            raw.send(request.as_bytes()).await;
            let local = raw.local();
            assert_status(&raw.expect_close(SOON).await, 431);
            drop(raw);
            assert_ended(weir, local, "peer", "request head of more than", SOON).await;
        }
        let grown = weir.rss_bytes().saturating_sub(before);
        assert!(grown < GROWTH_MAX, "headers of 1 MB took {grown} bytes");
    })
    .await;
}

/// Everything that is let go after ten seconds, all at once so that the test waits for them only once.
#[tokio::test]
async fn requests_that_never_end() {
    const REASON: &str = "sent no complete request within 10s";
    beside_a_stream("", async |weir| {
        let silent = async {
            let mut raw = Raw::connect(weir.http()).await;
            assert_status(&raw.expect_close(REQUEST + SOON).await, 408);
            assert_ended(weir, raw.local(), "policy", REASON, SOON).await;
        };
        let cut = async {
            let mut raw = Raw::connect(weir.http()).await;
            assert!(raw.send(b"GET /live/witness.flv HTTP/1.1\r\nHost: h\r\n").await);
            assert_status(&raw.expect_close(REQUEST + SOON).await, 408);
            assert_ended(weir, raw.local(), "policy", REASON, SOON).await;
        };
        let trickling = async {
            let mut raw = Raw::connect(weir.http()).await;
            let request = format!("GET /live/witness.flv HTTP/1.1\r\nX-Slow: {}", "x".repeat(1000));
            let sent = raw.trickle(request.as_bytes(), Duration::from_secs(1)).await;
            assert!((8..20).contains(&sent), "a byte a second kept it open for {sent} seconds");
            assert_ended(weir, raw.local(), "policy", REASON, SOON).await;
        };
        // The second request of a connection is read elsewhere.
        let second = async {
            let mut raw = Raw::connect(weir.http()).await;
            assert!(
                raw.send(b"GET /player HTTP/1.1\r\nHost: h\r\n\r\nGET /live/witness.flv HTT").await
            );
            assert_status(&raw.expect_close(REQUEST + SOON).await, 200);
            assert_ended(weir, raw.local(), "policy", REASON, SOON).await;
        };
        // The API has a port of its own, and no sessions in the log.
        let api = async {
            let mut raw = Raw::connect(weir.api()).await;
            assert!(raw.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n").await);
            raw.expect_close(REQUEST + SOON).await;
        };
        tokio::join!(silent, cut, trickling, second, api);
    })
    .await;
}

#[tokio::test]
async fn paths_that_leave_the_folder() {
    const SECRET: &str = "not for everybody";
    beside_a_stream("", async |weir| {
        // Where a path of so many levels up from a stream's folder would end.
        for folder in ["", "data", "data/hls", "data/hls/live"] {
            let folder = weir.dir().join(folder);
            fs::create_dir_all(&folder).expect("the server's folder can be written to");
            for name in ["secret-1.ts", "secret.m3u8"] {
                fs::write(folder.join(name), SECRET)
                    .expect("the server's folder can be written to");
            }
        }
        for up in [
            "..",
            "%2e%2e",
            "%2E.",
            ".%2e",
            "..%2f..",
            "%2e%2e%2f%2e%2e",
            "..%5c..",
            "%2f",
            "%00",
            ".",
        ] {
            for file in ["secret-1.ts", "secret.m3u8", "weir.yaml", "secret.flv"] {
                for path in [
                    format!("/{up}/{file}"),
                    format!("/{up}/{up}/{file}"),
                    format!("/live/{up}/{file}"),
                    format!("/live/{up}/{up}/{up}/{file}"),
                    format!("/live/{up}%2f{file}"),
                    format!("/live/a/{up}/{file}?vhost={up}"),
                    format!("//{up}/{file}"),
                ] {
                    let request =
                        format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
                    let mut response = http::request(weir.http(), request.as_bytes()).await;
                    let text = response.text().await;
                    assert!(
                        [400, 404].contains(&response.status),
                        "{path}: {} {text}",
                        response.status
                    );
                    assert!(!text.contains(SECRET), "{path} got the file");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_not_http() {
    beside_a_stream("", async |weir| {
        let invalid = "sent no valid HTTP request";
        for (bytes, reason) in [
            (&b"\x03\0\0\0\0\0\0\0\0 an RTMP client at the wrong port\r\n\r\n"[..], invalid),
            (
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and one that wants TLS",
                "speaks TLS, which this port is not for",
            ),
            (b"GET\r\n\r\n", invalid),
            (b"GET /live/witness.flv HTTP/1.1\r\nno colon\r\n\r\n", invalid),
            (b"GET /live/witness.flv HTTP/9.9\r\n\r\n", invalid),
        ] {
            let mut raw = Raw::connect(weir.http()).await;
            assert!(raw.send(bytes).await);
            let local = raw.local();
            assert_status(&raw.expect_close(SOON).await, 400);
            drop(raw);
            assert_ended(weir, local, "peer", reason, SOON).await;
        }
    })
    .await;
}

#[tokio::test]
async fn other_methods() {
    beside_a_stream("", async |weir| {
        for (method, status) in
            [("POST", 405), ("PUT", 405), ("DELETE", 405), ("BREW", 405), ("OPTIONS", 204)]
        {
            for path in ["/live/witness.flv", "/live/witness.m3u8"] {
                let mut raw = Raw::connect(weir.http()).await;
                let head = format!(
                    "{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"
                );
                assert!(raw.send(head.as_bytes()).await && raw.send(b"body").await);
                assert_status(&raw.expect_close(SOON).await, status);
                weir.session_end(raw.local(), SOON).await;
            }
        }
    })
    .await;
}

/// A request body without an end must not be read without an end, or kept.
#[tokio::test]
async fn a_body_that_never_ends() {
    const GROWTH_MAX: u64 = 16 << 20;
    beside_a_stream("", async |weir| {
        let before = weir.rss_bytes();
        let mut raw = Raw::connect(weir.http()).await;
        let head =
            "POST /live/witness.flv HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(raw.send(head.as_bytes()).await);
        let chunk = [&b"10000\r\n"[..], &[b'x'; 0x10000], b"\r\n"].concat();
        let mut taken = 0;
        while taken < 1000 && raw.send(&chunk).await {
            taken += 1;
        }
        let grown = weir.rss_bytes().saturating_sub(before);
        assert!(taken < 1000, "the server reads a body that it does not want");
        assert!(grown < GROWTH_MAX, "{taken} chunks of 64 KB took {grown} bytes");
        weir.session_end(raw.local(), SOON).await;
    })
    .await;
}

#[tokio::test]
async fn a_viewer_that_floods_data_after_its_request() {
    beside_a_stream("", async |weir| {
        let mut raw = Raw::connect(weir.http()).await;
        assert!(raw.send(b"GET /live/witness.flv HTTP/1.1\r\nHost: h\r\n\r\n").await);
        let flood = async { while raw.send(&[b'x'; 4096]).await {} };
        flood.await;
        assert_ended(weir, raw.local(), "peer", "sent data after its request", SOON).await;
    })
    .await;
}

/// The same while it waits for a stream that nobody publishes.
#[tokio::test]
async fn a_viewer_that_floods_data_while_it_waits() {
    const GROWTH_MAX: u64 = 8 << 20;
    beside_a_stream("play: { wait: 2s }", async |weir| {
        let before = weir.rss_bytes();
        let mut raw = Raw::connect(weir.http()).await;
        let local = raw.local();
        assert!(raw.send(b"GET /live/nothing.flv HTTP/1.1\r\nHost: h\r\n\r\n").await);
        let flood = async { while raw.send(&[b'x'; 4096]).await {} };
        let ended = weir.session_end(local, SOON);
        tokio::join!(flood, ended);
        let grown = weir.rss_bytes().saturating_sub(before);
        assert!(grown < GROWTH_MAX, "data that nobody asked for took {grown} bytes");
    })
    .await;
}

#[tokio::test]
async fn a_viewer_that_never_reads() {
    const GROWTH_MAX: u64 = 32 << 20;
    // In that time more than may be held has to pass, on a busy machine too.
    let config =
        "play: { stall_timeout: 5s }\nlimits: { stream_memory: 4MiB }\nhls: { enabled: false }";
    beside_a_stream(config, async |weir| {
        let source = Numbered::default().with_picture_bytes(50_000);
        let mut publisher = Publisher::start(&weir.rtmp_url("live/large"), source).await;
        publisher.pictures(1).await;
        let mut good = Viewer::http_flv(weir.http(), "live/large.flv").await;
        let mut dead = Raw::narrow(weir.http()).await;
        assert!(dead.send(b"GET /live/large.flv HTTP/1.1\r\nHost: h\r\n\r\n").await);
        let before = weir.rss_bytes();
        let mut most = before;
        let publishing = async {
            loop {
                let number = publisher.pictures(5).await;
                good.until_picture(number).await;
                most = most.max(weir.rss_bytes());
            }
        };
        tokio::select! {
            () = publishing => {}
            () = assert_ended(weir, dead.local(), "policy", "play.stall_timeout", SOON) => {}
        }
        let sent = good.numbers().newest_picture().unwrap_or_default() * 50_000;
        assert!(sent > GROWTH_MAX, "only {sent} bytes were sent: that proves nothing about memory");
        assert!(
            most - before < GROWTH_MAX,
            "{} bytes more than before, while {sent} were sent",
            most - before
        );
    })
    .await;
}
