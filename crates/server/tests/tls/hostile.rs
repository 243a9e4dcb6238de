//! Clients that have come to take what TLS costs.

use weir_testkit::{
    peer::{Numbered, Publisher, Viewer, Witness},
    raw::Raw,
    server::field,
};

use crate::{Rig, SOON, metric, said};

/// The beginning of a record with a first message of 512 bytes.
const HALF: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

#[tokio::test(flavor = "multi_thread")]
async fn half_handshakes_cost_little_and_nobody_else_a_frame() {
    const HALVES: usize = 1000;
    const BYTES_MAX: u64 = 40 << 20;
    let rig = Rig::start("");
    let mut witness = Witness::start(&rig.weir).await;
    let attack = async {
        let before = rig.weir.rss_bytes();
        let mut held = Vec::new();
        for number in 0..HALVES {
            let port = if number % 2 == 0 { rig.https() } else { rig.rtmps() };
            let mut raw = Raw::connect(port).await;
            raw.send(HALF).await;
            held.push(raw);
        }
        let url = rig.https_url("player");
        let words = ["--output", "/dev/null", "--write-out", "%{http_code}", &url];
        let mut curl = rig.curl(&words);
        let status = tokio::task::spawn_blocking(move || said(&mut curl, true)).await;
        assert_eq!(status.expect("no panic"), "200", "who goes on with it is let in");
        let grown = rig.weir.rss_bytes().saturating_sub(before);
        assert!(grown < BYTES_MAX, "{HALVES} half handshakes hold {grown} bytes");
        for mut raw in held {
            raw.expect_close(SOON).await;
        }
        let failed =
            metric(&rig.weir, "weir_tls_handshakes_failed_total{reason=\"timeout\"}").await;
        let crowded =
            metric(&rig.weir, "weir_tls_handshakes_failed_total{reason=\"crowded\"}").await;
        assert_eq!(failed + crowded, HALVES as f64);
    };
    witness.during(attack).await;
    witness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_costs_the_connection_and_nobody_else_a_frame() {
    let rig = Rig::start("");
    let mut witness = Witness::start(&rig.weir).await;
    let attack = async {
        for _ in 0..200 {
            let mut raw = Raw::connect(rig.rtmps()).await;
            raw.send(&[&[22, 3, 1, 0, 200], &[7; 200][..]].concat()).await;
            raw.expect_close(SOON).await;
        }
    };
    witness.during(attack).await;
    witness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_that_stop_reading_hold_little_and_go() {
    const STALLED: usize = 400;
    // What a viewer may hold; the rest is the allocator's, which has some MB either way, and what the stream's logs
    // still grow by.
    const BYTES_MAX: u64 = STALLED as u64 * (40 << 10) + (16 << 20);
    let rig = Rig::start("play: { stall_timeout: 10s, window: 1s }\n");
    let (rtmp, http) = rig.tunnels().await;
    let source = Numbered::new(5).with_picture_bytes(20_000);
    let mut publisher = Publisher::start(&rtmp.rtmp_url("live/a"), source).await;
    publisher.pictures(50).await;
    let mut quick = Viewer::http_flv(http.address(), "live/a.flv").await;
    let mut held = Vec::new();
    let mut grown = Vec::new();
    // First those without TLS, who find the logs empty and fill them for the others.
    for address in [rig.weir.http(), http.address()] {
        let before = rig.weir.rss_bytes();
        for _ in 0..STALLED {
            let mut raw = Raw::narrow(address).await;
            raw.send(b"GET /live/a.flv HTTP/1.1\r\nHost: h\r\n\r\n").await;
            held.push(raw);
        }
        for _ in 0..20 {
            let last = publisher.pictures(20).await;
            quick.until_picture(last).await;
        }
        grown.push(rig.weir.rss_bytes().saturating_sub(before));
    }
    assert!(grown[1] < BYTES_MAX, "{STALLED} viewers that do not read hold {grown:?} bytes");
    let stalled = |line: &serde_json::Value| {
        field(line, "kind") == "stalled" && field(line, "tls") == "TLSv1.3"
    };
    rig.weir.wait_session_end(stalled, SOON);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_begins_anew_under_way_loses_only_its_own_connection() {
    let rig = Rig::start("");
    let mut witness = Witness::start(&rig.weir).await;
    let port = rig.https().port();
    let ca = rig.ca().display().to_string();
    let attack = async {
        for (version, letters) in [("-tls1_2", "R\nR\nR\nR\n"), ("-tls1_3", &*"k\nK\n".repeat(100))]
        {
            let script = format!(
                "printf '%s' \"$0\" | timeout 20 openssl s_client -connect 127.0.0.1:{port} {version} -CAfile {ca} \
                 -legacy_renegotiation -no_ign_eof; true"
            );
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", &script, letters]);
            let text = tokio::task::spawn_blocking(move || said(&mut shell, true)).await;
            let text = text.expect("no panic");
            assert!(text.contains("CONNECTED"), "{text}");
        }
    };
    witness.during(attack).await;
    witness.finish().await;
}
