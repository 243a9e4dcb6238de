//! Edges whose origins have TLS, both of them Weir: what is spoken with them is spoken over it, and those that are not
//! the ones that are meant are left out.

use std::{net::SocketAddr, path::PathBuf, process::Command, time::Duration};

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
    server::{Builder, field},
};

use crate::{
    BINARY, NO_HLS, SOON, cluster, encoder, quiet_encoder, until_live, until_logged, until_pulls,
};

/// For FFmpeg to publish and play a file.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where the origins are.
const HOST: &str = "127.0.0.1";

/// An authority whose certificate is in a file, and the certificates that it has signed beside that.
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

    fn file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// `edge.tls` that trusts it.
    fn keys(&self) -> String {
        format!("tls: {{ ca: {} }}", self.file().display())
    }

    /// Has `weir` take RTMPS and HTTPS at `host`, beside its ports without TLS, and show `certificate`, which it finds
    /// in the files `name`.
    fn secure(&self, weir: Builder, host: &str, name: &str, certificate: &Certificate) -> Builder {
        let (cert, key) = certificate.write(self.dir.path(), name);
        let (cert, key) = (cert.display(), key.display());
        let tls =
            format!("{{ listen: \"{host}:0\", certificates: [{{ cert: {cert}, key: {key} }}] }}");
        weir.env("WEIR_RTMP__TLS", &tls).env("WEIR_HTTP__TLS", &tls)
    }

    /// An origin at [`HOST`], with its certificate in the files `name`.
    fn origin(&self, name: &str, certificate: &Certificate, config: &str) -> Weir {
        let weir = Weir::builder(BINARY).config(config);
        self.secure(weir, HOST, name, certificate).start()
    }
}

/// What an edge calls `origin`, whose ports are at `host`.
fn name(origin: &Weir, scheme: &str, host: &str) -> String {
    let port = origin.listens(scheme).port();
    format!("{scheme}://{host}:{port}")
}

/// An edge that knows nothing of `origin` but its ports for TLS.
fn edge(origin: &Weir, scheme: &str, keys: &str, config: &str) -> Builder {
    let https = origin.listens("https").port();
    cluster().edge_to(&[name(origin, scheme, HOST)], https, keys, config)
}

/// The protocols of the play sessions of `/live/a` so far, all of which must have TLS.
fn pulled_over(origin: &Weir) -> Vec<String> {
    let lines = origin.log().all().into_iter();
    let lines = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok());
    let began = lines
        .filter(|line| field(line, "message") == "session began" && field(line, "role") == "play");
    let protocol = |line: serde_json::Value| {
        assert_eq!(field(&line, "tls"), "TLSv1.3", "{line}");
        field(&line, "protocol").as_str().unwrap_or_default().to_owned()
    };
    began.map(protocol).collect()
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
    for (scheme, protocol, pulled) in
        [("rtmps", "rtmp", "rtmp"), ("rtmps", "flv", "http-flv"), ("https", "rtmp", "http-flv")]
    {
        let origin = ours.origin("origin", &ours.ca.issue(&[HOST]), "hls: { segment: 500ms }\n");
        let keys = format!("{}, protocol: {protocol}", ours.keys());
        let edge = edge(&origin, scheme, &keys, "").start();
        let encoder = encoder(&origin, "live/a").await;
        let mut crowd = Crowd::new();
        crowd.join(&edge, "live/a", 4, Duration::ZERO);
        crowd.until_picture(encoder.next_number() + 25, SOON).await;
        crowd.assert_undisturbed();
        assert!(newest_segment(edge.http()).await > 0, "{scheme}, {protocol}");
        // Over HTTP alone the origin is asked by playing.
        until_pulls(&origin, "live/a", 1).await;
        let all = pulled_over(&origin);
        assert!(all.iter().any(|it| it == pulled), "{scheme}, {protocol}: {all:?}");
    }
}

/// Encoder, edge, origin, edge, player: each speaks TLS with the next.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_on_over_tls_is_what_is_played_over_it() {
    let ours = Ours::new();
    let config = "publish: { linger: 0s }\nplay: { wait: 60s }\nhls: { enabled: false }\n";
    let origin = ours.origin("origin", &ours.ca.issue(&[HOST]), config);
    let flv = format!("{}, protocol: flv", ours.keys());
    let certificate = ours.ca.issue(&["localhost"]);
    let edges = [ours.keys(), flv].map(|keys| {
        let edge = edge(&origin, "rtmps", &keys, config);
        ours.secure(edge, HOST, "edge", &certificate).start()
    });
    let at = |edge: &Weir, service: &str, path: &str| {
        format!("{service}://localhost:{}/{path}", edge.listens(service).port())
    };
    // They come before the publisher, who comes to the first edge.
    let ca = ours.file();
    let recordings: Vec<_> = edges
        .iter()
        .flat_map(|edge| [at(edge, "rtmps", "live/a"), at(edge, "https", "live/a.flv")])
        .map(|url| (Recording::start_trusting(Ffmpeg::System, &url, Form::Carried, &ca), url))
        .collect();
    let file = Fixture::AvcBFramesAac.file();
    let url = at(&edges[0], "rtmps", "live/a");
    let mut publisher = Ffmpeg::System.publish_trusting(&file, &url, &ca);
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
    pulled_over(&origin);
}

/// Another origin has the stream: its viewers do not notice.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_with_a_wrong_certificate_is_left_out_and_said_why() {
    let ours = Ours::new();
    let bad = ours.origin("bad", &ours.ca.issue_ended(&[HOST]), NO_HLS);
    let good = {
        let (host, weir) = ("127.0.0.2", Weir::builder(BINARY).config(NO_HLS));
        ours.secure(weir, host, "good", &ours.ca.issue(&[host])).start()
    };
    let origins = [name(&bad, "rtmps", HOST), name(&good, "rtmps", "127.0.0.2")];
    let https = good.listens("https").port();
    let config = format!("{NO_HLS}play: {{ wait: 1s }}\n");
    let edge = cluster().edge_to(&origins, https, &ours.keys(), &config).start();
    let encoder = quiet_encoder(&good, "live/a").await;
    let mut crowd = Crowd::new();
    crowd.join(&edge, "live/a", 4, Duration::ZERO);
    crowd.until_picture(encoder.next_number(), SOON).await;
    crowd.assert_undisturbed();
    // Every origin is asked for what none has.
    assert_ne!(http::get(edge.http(), "live/none.flv").await.status, 200);
    let words = "of 127.0.0.1 ended on 2021-01-01: renew it";
    until_logged(&edge, &["WARN"], words, SOON).await;
    assert!(refused(&edge, "expired").await > 0.0);
    let lines = edge.log().all();
    let warnings = lines.iter().filter(|line| line.contains("origin failed")).count();
    assert_eq!(warnings, 1, "it is said once, not for each attempt:\n{}", edge.log());
    ours.ca.issue(&[HOST]).write(ours.dir.path(), "bad");
    bad.hang_up();
    until_logged(&edge, &["INFO"], "origin is available again", SOON).await;
    crowd.assert_undisturbed();
}

/// So many handshakes with origins have failed for this reason.
async fn refused(edge: &Weir, reason: &str) -> f64 {
    let page = http::get(edge.api(), "metrics").await.text().await;
    let series = format!("weir_origin_tls_failures_total{{reason=\"{reason}\"}} ");
    let count = page.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok());
    count.unwrap_or(0.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_the_origin_that_is_meant_is_given_nothing_and_asked_for_nothing() {
    let ours = Ours::new();
    let pin = format!("tls: {{ pin: [\"{}\"] }}", "00".repeat(32));
    for (certificate, keys, reason, words) in [
        (
            ours.ca.issue(&["other.test"]),
            ours.keys(),
            "wrong_name",
            "for other.test, not for 127.0.0.1",
        ),
        (
            Authority::new("another").issue(&[HOST]),
            ours.keys(),
            "unknown_ca",
            "is not signed by a CA of edge.tls.ca",
        ),
        (ours.ca.issue(&[HOST]), pin, "wrong_pin", "is not the one of edge.tls.pin"),
    ] {
        let origin = ours.origin("origin", &certificate, NO_HLS);
        let config = format!("{NO_HLS}play: {{ wait: 1s }}\n");
        let edge = edge(&origin, "rtmps", &keys, &config).start();
        let _encoder = quiet_encoder(&origin, "live/a").await;
        assert_ne!(http::get(edge.http(), "live/a.flv").await.status, 200, "{reason}");
        let published = Publisher::try_start(&edge.rtmp_url("live/b"), Numbered::default()).await;
        published.expect_err("there is nobody to pass it on to");
        until_logged(&edge, &["WARN"], words, SOON).await;
        assert!(refused(&edge, reason).await > 0.0, "{reason}");
        assert_eq!(pulled_over(&origin), [""; 0], "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_whose_origins_are_https_takes_no_publisher() {
    let ours = Ours::new();
    let origin = ours.origin("origin", &ours.ca.issue(&[HOST]), NO_HLS);
    let edge = edge(&origin, "https", &ours.keys(), NO_HLS).start();
    let refused = Publisher::try_start(&edge.rtmp_url("live/a"), Numbered::default()).await;
    let refused = refused.expect_err("there is nobody to pass it on to");
    assert!(refused.description.contains("rtmps://"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_published_over_tls() {
    let ours = Ours::new();
    let pinned = Certificate::self_signed(&["somebody.test"]);
    let origins = [("signed", &ours.ca.issue(&[HOST])), ("pinned", &pinned)]
        .map(|(name, certificate)| ours.origin(name, certificate, NO_HLS));
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo.flv");
    let ca = ours.file().display().to_string();
    let publish = |origin: &Weir, more: &[&str]| {
        let url = name(origin, "rtmps", HOST) + "/live/a";
        let mut command = Command::new(BINARY);
        command.args(["publish", clip, &url, "--loop"]).args(more);
        Process::start("weir publish", &mut command)
    };
    let _publisher = publish(&origins[0], &["--ca", &ca]);
    until_live(&origins[0], "live/a").await;
    for (options, words) in [
        (&["--ca", &*ca][..], "not signed by a CA of --ca"),
        (&["--pin", &*"00".repeat(32)], "not the one of --pin"),
    ] {
        let publisher = publish(&origins[1], options);
        let said = publisher.stderr().find(SOON, |line| line.contains(words).then_some(()));
        assert!(said.is_some(), "{options:?}: {}", publisher.stderr());
    }
    let _pinned = publish(&origins[1], &["--pin", &pinned.key_sha256]);
    until_live(&origins[1], "live/a").await;
    assert_eq!(origins[1].sessions("publish", "/live/a").began, 1);
}
