//! Edges whose origins have TLS: what is spoken with them is spoken over it, and those that are not the ones that are
//! meant are left out.

use std::{net::SocketAddr, time::Duration};

use tempfile::TempDir;
use weir_testkit::{
    Weir,
    certificates::{Authority, Certificate, put},
    crowd::Crowd,
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls::Playlist,
    http,
    packets::{Extent, Form, Recording, continuation, read},
    peer::{Numbered, Publisher},
    process::Process,
    tls_front::TlsFront,
};

use crate::{
    BINARY, NO_HLS, SOON, cluster, encoder, quiet_encoder, until_live, until_logged, until_pulls,
};

/// For FFmpeg to publish and play a file.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where the origins are.
const HOST: &str = "127.0.0.1";

/// An authority whose certificate is in a file.
struct Ours {
    dir: TempDir,
    ca: Authority,
}

impl Ours {
    fn new() -> Self {
        let (dir, ca) = (tempfile::tempdir().expect("a folder"), Authority::new("ours"));
        put(dir.path(), "ca.pem", &ca.pem());
        Self { dir, ca }
    }

    /// `edge.tls` that trusts it.
    fn keys(&self) -> String {
        format!("tls: {{ ca: {} }}", self.dir.path().join("ca.pem").display())
    }
}

/// TLS before both ports of an origin.
struct Fronts {
    rtmp: TlsFront,
    http: TlsFront,
}

impl Fronts {
    async fn start(origin: &Weir, certificate: &Certificate) -> Self {
        let rtmp = TlsFront::start(origin.rtmp(), certificate).await;
        Self { rtmp, http: TlsFront::start(origin.http(), certificate).await }
    }

    fn origin(&self, scheme: &str) -> String {
        let front = if scheme == "https" { &self.http } else { &self.rtmp };
        format!("{scheme}://{}", front.address())
    }

    fn edge(&self, scheme: &str, keys: &str, config: &str) -> Weir {
        let port = self.http.address().port();
        cluster().edge_to(&[self.origin(scheme)], port, keys, config).start()
    }
}

/// The newest segment of a playlist, as soon as there is one; how many bytes it has.
async fn newest_segment(address: SocketAddr) -> usize {
    let segments = async || {
        let mut response = http::get(address, "live/a.m3u8").await;
        let text = response.text().await;
        (response.status == 200).then(|| Playlist::parse(&text))
    };
    let playlist = eventually("a playlist", SOON, segments).await;
    let segment = playlist.segments.last().expect("a playlist begins with a segment");
    let mut response = http::get(address, &format!("live/{}", segment.uri)).await;
    assert_eq!(response.status, 200, "{}", segment.uri);
    response.bytes().await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_questions_and_hls_go_over_tls() {
    let ours = Ours::new();
    for (scheme, protocol) in [("rtmps", "rtmp"), ("rtmps", "flv"), ("https", "rtmp")] {
        let origin = cluster().origin(1, "hls: { segment: 500ms }\n");
        let fronts = Fronts::start(&origin, &ours.ca.issue(&[HOST])).await;
        let keys = format!("{}, protocol: {protocol}", ours.keys());
        let edge = fronts.edge(scheme, &keys, "");
        let encoder = encoder(&origin, "live/a").await;
        let mut crowd = Crowd::new();
        crowd.join(&edge, "live/a", 4, Duration::ZERO);
        crowd.until_picture(encoder.next_number() + 25, SOON).await;
        crowd.assert_undisturbed();
        assert!(newest_segment(edge.http()).await > 0, "{scheme}, {protocol}");
        // Over HTTP alone the origin is asked by playing.
        until_pulls(&origin, "live/a", 1).await;
        let shaken = (fronts.rtmp.handshakes(), fronts.http.handshakes());
        assert!(shaken.1 > 0 && (shaken.0 > 0) == (scheme == "rtmps"), "{scheme}: {shaken:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_on_over_tls_is_what_is_played_over_it() {
    let ours = Ours::new();
    let config = "publish: { linger: 0s }\nplay: { wait: 60s }\nhls: { enabled: false }\n";
    let origin = cluster().origin(1, config);
    let fronts = Fronts::start(&origin, &ours.ca.issue(&[HOST])).await;
    let flv = format!("{}, protocol: flv", ours.keys());
    let edges = [ours.keys(), flv].map(|keys| fronts.edge("rtmps", &keys, config));
    // They come before the publisher, who comes to the first edge.
    let recordings: Vec<_> = edges
        .iter()
        .flat_map(|edge| [edge.rtmp_url("live/a"), edge.http_url("live/a.flv")])
        .map(|url| (Recording::start(Ffmpeg::System, &url, Form::Carried), url))
        .collect();
    let file = Fixture::AvcBFramesAac.file();
    let mut publisher = Ffmpeg::System.publish(&file, &edges[0].rtmp_url("live/a"));
    let check = tokio::task::spawn_blocking(move || {
        publisher.wait_success(TIMEOUT);
        let source = read(Ffmpeg::System, &file.display().to_string(), Form::Carried, TIMEOUT);
        for (recording, url) in recordings {
            let played = recording.finish(TIMEOUT);
            let result = continuation(&source, &played, Extent::ToEnd, Duration::ZERO);
            result.unwrap_or_else(|difference| panic!("{url}: {difference}"));
        }
    });
    check.await.expect("all was played");
    assert_eq!(origin.sessions("publish", "/live/a").began, 1);
}

/// Another origin has the stream, too: its viewers do not notice.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_with_a_wrong_certificate_is_left_out_and_said_why() {
    let ours = Ours::new();
    let origin = cluster().origin(1, NO_HLS);
    let bad = TlsFront::start(origin.rtmp(), &ours.ca.issue_ended(&[HOST])).await;
    let at = SocketAddr::from(([127, 0, 0, 2], 0));
    let good = TlsFront::at(at, origin.rtmp(), &ours.ca.issue(&["127.0.0.2"])).await;
    let origins = [&bad, &good].map(|front| format!("rtmps://{}", front.address()));
    let http_port = origin.http().port();
    let config = format!("{NO_HLS}play: {{ wait: 1s }}\n");
    let edge = cluster().edge_to(&origins, http_port, &ours.keys(), &config).start();
    let encoder = quiet_encoder(&origin, "live/a").await;
    let mut crowd = Crowd::new();
    crowd.join(&edge, "live/a", 4, Duration::ZERO);
    crowd.until_picture(encoder.next_number(), SOON).await;
    crowd.assert_undisturbed();
    // Every origin is asked for what none has.
    assert_ne!(http::get(edge.http(), "live/none.flv").await.status, 200);
    let words = "of 127.0.0.1 ended on 2021-01-01: renew it";
    until_logged(&edge, &["WARN"], words, SOON).await;
    let page = http::get(edge.api(), "metrics").await.text().await;
    let series = "weir_origin_tls_failures_total{reason=\"expired\"} ";
    let count = page.lines().find_map(|line| line.strip_prefix(series)?.parse::<f64>().ok());
    assert!(count.is_some_and(|count| count > 0.0), "{series}{count:?}");
    let lines = edge.log().all();
    let warnings = lines.iter().filter(|line| line.contains("origin failed")).count();
    assert_eq!(warnings, 1, "it is said once, not for each attempt:\n{}", edge.log());
    bad.show(&ours.ca.issue(&[HOST]));
    until_logged(&edge, &["INFO"], "origin is available again", SOON).await;
    crowd.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_whose_origins_are_https_takes_no_publisher() {
    let ours = Ours::new();
    let origin = cluster().origin(1, NO_HLS);
    let fronts = Fronts::start(&origin, &ours.ca.issue(&[HOST])).await;
    let edge = fronts.edge("https", &ours.keys(), NO_HLS);
    let refused = Publisher::try_start(&edge.rtmp_url("live/a"), Numbered::default()).await;
    let refused = refused.expect_err("there is nobody to pass it on to");
    assert!(refused.description.contains("rtmps://"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_published_over_tls() {
    let ours = Ours::new();
    let origin = cluster().origin(1, NO_HLS);
    let front = TlsFront::start(origin.rtmp(), &ours.ca.issue(&[HOST])).await;
    let url = format!("rtmps://{}/live/a", front.address());
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo.flv");
    let ca = ours.dir.path().join("ca.pem").display().to_string();
    let publish = |more: &[&str]| {
        let mut command = std::process::Command::new(BINARY);
        command.args(["publish", clip, &url, "--loop"]).args(more);
        Process::start("weir publish", &mut command)
    };
    let publisher = publish(&["--ca", &ca]);
    until_live(&origin, "live/a").await;
    drop(publisher);

    let pinned = Certificate::self_signed(&["somebody.test"]);
    front.show(&pinned);
    for (options, words) in [
        (&["--ca", &*ca][..], "not signed by a CA of --ca"),
        (&["--pin", &*"00".repeat(32)], "not the one of --pin"),
    ] {
        let publisher = publish(options);
        let said = publisher.stderr().find(SOON, |line| line.contains(words).then_some(()));
        assert!(said.is_some(), "{options:?}: {}", publisher.stderr());
    }
    let _publisher = publish(&["--pin", &pinned.key_sha256]);
    eventually("it is published again", SOON, async || {
        (origin.sessions("publish", "/live/a").began == 2).then_some(())
    })
    .await;
}
