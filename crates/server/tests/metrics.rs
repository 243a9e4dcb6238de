//! `/metrics`: that the guide lists what there is, and that what happens is counted.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use weir_testkit::{
    Weir,
    certificates::Authority,
    cluster::Cluster,
    eventually, http,
    peer::{Numbered, Publisher, Viewer},
    raw::Raw,
};

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(20);

const GUIDE: &str = include_str!("../../../docs/guide/monitoring.md");

async fn page(weir: &Weir) -> String {
    let mut answer = http::get(weir.api(), "metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.text().await
}

/// Waits until the page has a line that begins with `start`, and returns the rest of the line.
async fn until_line(weir: &Weir, start: &str) -> String {
    let poll = async {
        loop {
            let page = page(weir).await;
            if let Some(rest) = page.lines().find_map(|line| line.strip_prefix(start)) {
                return rest.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(SOON, poll).await {
        Ok(rest) => rest,
        Err(_) => panic!("no line begins with {start:?}:\n{}", page(weir).await),
    }
}

async fn value(weir: &Weir, series: &str) -> f64 {
    until_line(weir, &format!("{series} ")).await.parse().expect("a number")
}

/// The names that a page describes.
fn described(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

/// The names that the guide's tables of series begin their rows with.
fn listed() -> BTreeSet<String> {
    let names = GUIDE.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let is_series =
        |name: &&str| ["weir_", "process_", "srs_"].iter().any(|it| name.starts_with(it));
    names.map(|(name, _)| name).filter(is_series).map(str::to_owned).collect()
}

/// A server with HTTPS.
fn with_tls() -> Weir {
    let dir = tempfile::tempdir().expect("a folder");
    Authority::new("any").certify(dir.path(), "a", &["localhost"]);
    let at = |kind: &str| dir.path().join(format!("a.{kind}")).display().to_string();
    let files = format!("{{ cert: {}, key: {} }}", at("pem"), at("key"));
    let tls = format!("{{ listen: \"127.0.0.1:0\", certificates: [{files}] }}");
    Weir::builder(env!("CARGO_BIN_EXE_weir")).env("WEIR_HTTP__TLS", tls).start()
}

#[tokio::test]
async fn the_guide_lists_exactly_the_series_that_there_are() {
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let origin = cluster.origin(1, "");
    let edge = cluster.edge(&["127.0.0.1"], "", "");
    let mut publisher = Publisher::start(&origin.rtmp_url("live/a"), Numbered::new(25)).await;
    let newest = publisher.pictures(50).await;
    Viewer::rtmp(&edge.rtmp_url("live/a")).await.until_picture(newest).await;
    let (at_origin, at_edge) = (described(&page(&origin).await), described(&page(&edge).await));
    let mut here: BTreeSet<_> = at_origin.union(&at_edge).cloned().collect();
    here.extend(described(&page(&with_tls()).await));
    let listed = listed();
    let missing: Vec<_> = here.difference(&listed).collect();
    assert!(missing.is_empty(), "docs/guide/monitoring.md does not list {missing:?}");
    let gone: Vec<_> = listed.difference(&here).collect();
    assert!(gone.is_empty(), "docs/guide/monitoring.md lists {gone:?}, which nobody has");
    assert_eq!(value(&edge, "weir_pulls{state=\"flowing\"}").await, 1.0);
    let up = format!("weir_origin_up{{origin=\"{}\",host=\"127.0.0.1\"}}", origin.rtmp());
    assert_eq!(value(&edge, &up).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_asks_for_its_viewers_and_is_none_itself() {
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let origin = cluster.origin(1, "hls: { segment: 1s }\n");
    let rtmp = cluster.edge(&["127.0.0.1"], "", "");
    let flv = cluster.edge(&["127.0.0.1"], "protocol: flv", "");
    let mut publisher = Publisher::start(&origin.rtmp_url("live/a"), Numbered::new(25)).await;
    publisher.pictures(60).await;
    let mut viewers = Vec::new();
    for edge in [&rtmp, &flv] {
        let mut viewer = Viewer::rtmp(&edge.rtmp_url("live/a")).await;
        viewer.until_picture(30).await;
        viewers.push(viewer);
        assert_eq!(http::get(edge.http(), "live/a.m3u8").await.status, 200);
    }
    let of = |protocol: &str| format!("weir_viewers{{protocol=\"{protocol}\"}}");
    for edge in [&rtmp, &flv] {
        until_line(edge, &format!("{} 1.0", of("rtmp"))).await;
        until_line(edge, &format!("{} 1.0", of("hls"))).await;
    }
    // The edges' pulls and questions are there; what they get has arrived.
    for protocol in ["rtmp", "http-flv", "hls"] {
        assert_eq!(value(&origin, &of(protocol)).await, 0.0, "{protocol}");
    }
    let stream = "{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\"}";
    assert_eq!(value(&origin, &format!("weir_stream_viewers{stream}")).await, 0.0);
}

#[tokio::test]
async fn viewers_bytes_and_ends_are_counted() {
    let config = "hls: { enabled: false }\nplay: { wait: 1ms }\nlimits: { egress: 1Gbps }";
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).config(config).start();
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(25)).await;
    publisher.pictures(25).await;
    let mut rtmp = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    let mut flv = Viewer::http_flv(weir.http(), "live/a.flv").await;
    let newest = publisher.pictures(50).await;
    rtmp.until_picture(newest).await;
    flv.until_picture(newest).await;

    until_line(&weir, "weir_viewers{protocol=\"rtmp\"} 1.0").await;
    until_line(&weir, "weir_viewers{protocol=\"http-flv\"} 1.0").await;
    until_line(&weir, "weir_publishers 1.0").await;
    let stream = "{vhost=\"__defaultVhost__\",app=\"live\",stream=\"a\"}";
    // Figures of streams are up to half a second old.
    until_line(&weir, &format!("weir_stream_viewers{stream} 2.0")).await;
    let received = value(&weir, "weir_received_bytes_total").await;
    assert!(received > 1000.0, "{received}");
    until_line(&weir, &format!("weir_stream_received_bytes_total{stream} {received:.1}")).await;
    assert!(value(&weir, "weir_sent_bytes_total").await > received, "two viewers have had it");
    // What comes at once is one flush, or a viewer's start.
    let flushes = async || value(&weir, "weir_delivery_seconds_count").await;
    let before = flushes().await;
    let newest = publisher.pictures(1).await;
    rtmp.until_picture(newest).await;
    flv.until_picture(newest).await;
    eventually("a flush is counted", SOON, async || (flushes().await > before).then_some(())).await;

    let local = rtmp.local();
    drop(rtmp);
    weir.session_end(local, SOON).await;
    // Closed by its end, or reset, when something was on its way to it.
    let gone =
        |kind| format!("weir_session_ends_total{{side=\"peer\",role=\"play\",kind=\"{kind}\"}}");
    let ends = value(&weir, &gone("closed")).await + value(&weir, &gone("reset")).await;
    assert_eq!(ends, 1.0);
    assert_eq!(http::get(weir.http(), "live/none.flv").await.status, 404);
    assert_eq!(value(&weir, "weir_refusals_total{reason=\"not_found\"}").await, 1.0);
}

#[tokio::test]
async fn who_asks_for_openmetrics_gets_it() {
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).start();
    let api: SocketAddr = weir.api();
    let fields =
        "Host: h\r\nConnection: close\r\nAccept: application/openmetrics-text;version=1.0.0";
    let request = format!("GET /metrics HTTP/1.1\r\n{fields}\r\n\r\n");
    let mut answer = http::request(api, request.as_bytes()).await;
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(openmetrics));
    let text = answer.text().await;
    assert!(text.ends_with("# EOF\n"), "{text}");
    let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let families: BTreeSet<_> =
        names.iter().filter_map(|line| line.split_once(' ')).map(|it| it.0).collect();
    assert_eq!(families.len(), names.len(), "a family is described twice: {names:?}");
}

#[tokio::test]
async fn health_checks_of_balancers_are_no_sessions() {
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).start();
    let probe = Raw::connect(weir.rtmp()).await;
    let local = probe.local();
    until_line(&weir, "weir_connections{protocol=\"rtmp\"} 1.0").await;
    drop(probe);
    until_line(&weir, "weir_connections{protocol=\"rtmp\"} 0.0").await;
    let page = page(&weir).await;
    let counted: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("weir_session_ends_total") && !line.ends_with(" 0.0"))
        .collect();
    assert!(counted.is_empty(), "{local}: {counted:?}");
}

#[tokio::test]
async fn a_watched_stream_that_dies_is_counted_and_one_that_ends_is_not() {
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir"))
        .config("hls: { enabled: false }\npublish: { linger: 100ms }\n")
        .start();
    const LOST: &str = "weir_watched_streams_lost_total";
    let mut viewers = Vec::new();
    let mut publish = async |name: &str, is_watched: bool| {
        let url = weir.rtmp_url(name);
        let mut publisher = Publisher::start(&url, Numbered::new(25)).await;
        let newest = publisher.pictures(50).await;
        if is_watched {
            let mut viewer = Viewer::rtmp(&url).await;
            viewer.until_picture(newest).await;
            viewers.push(viewer);
        }
        publisher
    };
    let (ends, unwatched) =
        (publish("live/ends", true).await, publish("live/unwatched", false).await);
    let (dies, kicked) = (publish("live/dies", true).await, publish("live/replaced", true).await);
    assert_eq!(value(&weir, LOST).await, 0.0);
    ends.stop().await;
    drop(unwatched);
    drop(dies);
    until_line(&weir, &format!("{LOST} 1.0")).await;
    // What came before it would have been counted by now.
    kicked.stop().await;
    until_line(&weir, "weir_publishers 0.0").await;
    assert_eq!(value(&weir, LOST).await, 1.0);
}
