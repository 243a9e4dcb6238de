//! Everything that can be wrong behind an edge: a clear line in its log, a clear answer to the viewer in time, and
//! nothing that stays.

use std::time::{Duration, Instant};

use weir_testkit::{
    Weir,
    cluster::{Cluster, Ports},
    crowd::{Crowd, Protocol},
    dns::Dns,
    eventually,
    impostor::Impostor,
    peer::{Numbered, Publisher},
};

use crate::{NO_HLS, SOON, cluster, is_clear, refusals, until_logged};

/// `play.wait` of these edges.
const WAIT: Duration = Duration::from_secs(1);

/// For a viewer to be told, on a busy machine, beyond that.
const SLACK: Duration = Duration::from_secs(2);

/// Viewers of streams with names of their own, so many at a time.
const REPETITIONS: usize = 1000;
const AT_ONCE: usize = 100;

/// What 1,000 viewers may leave behind in a process: what allocators keep, and no more.
const GROWTH_BYTES_MAX: u64 = 8 << 20;
const GROWTH_FILES_MAX: usize = 10;

fn config() -> String {
    format!("{NO_HLS}play: {{ wait: {}ms }}\n", WAIT.as_millis())
}

/// Requires a clear answer in time to a viewer of each protocol, and a warning with `words`.
async fn assert_clear(edge: &Weir, words: &str) {
    assert_told(edge).await;
    until_logged(edge, &["WARN", "ERROR"], words, SLACK).await;
}

/// Requires a clear answer in time to a viewer of each protocol.
async fn assert_told(edge: &Weir) {
    for (protocol, end, time) in refusals(edge, "live/a").await {
        assert!(is_clear(protocol, &end), "{protocol:?} is told {end:?}");
        assert!(time <= WAIT + SLACK, "{protocol:?} is told after {time:?}");
    }
}

/// Requires that nothing grows while viewers come and are refused, over and over.
async fn assert_no_growth(edge: &Weir) {
    // Threads, buffers and caches have their size after the first ones.
    knock(edge, "warm", REPETITIONS / 5).await;
    let files = settled_files(edge, edge.open_files()).await;
    let before = edge.rss_bytes();
    knock(edge, "n", REPETITIONS).await;
    settled_files(edge, files).await;
    let grown = edge.rss_bytes().saturating_sub(before);
    assert!(grown <= GROWTH_BYTES_MAX, "{REPETITIONS} refusals cost {grown} bytes");
}

/// So many viewers of different streams, each of which is refused.
async fn knock(edge: &Weir, name: &str, count: usize) {
    for batch in 0..count / AT_ONCE {
        let mut crowd = Crowd::new();
        for number in 0..AT_ONCE {
            let stream = format!("live/{name}{batch}-{number}");
            crowd.viewer(edge, &stream, Protocol::ALL[number % 2], Duration::ZERO);
        }
        let start = Instant::now();
        crowd.until("an answer", SOON, |seen| seen.end.is_some()).await;
        let time = start.elapsed();
        assert!(
            time <= WAIT + SLACK,
            "{AT_ONCE} viewers of batch {batch} were told after {time:?}"
        );
    }
}

/// Waits until the process has about as many descriptors as before; how many.
async fn settled_files(edge: &Weir, before: usize) -> usize {
    let what = format!("no more than {before} + {GROWTH_FILES_MAX} descriptors");
    eventually(&what, SOON, async || {
        Some(edge.open_files()).filter(|files| *files <= before + GROWTH_FILES_MAX)
    })
    .await
}

/// Two edges, each of which takes the other for its origin.
fn loop_of_two(cluster: &Cluster) -> [Weir; 2] {
    let ports = [Ports::free(), Ports::free()];
    [(0, 1), (1, 0)].map(|(own, other): (usize, usize)| {
        let origin = [format!("127.0.0.1:{}", ports[other].rtmp)];
        let edge = cluster.edge_to(&origin, ports[other].http, "", &config());
        edge.at(Cluster::ip(1), &ports[own]).start()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_of_two_edges_is_found() {
    let edges = loop_of_two(&cluster());
    for (protocol, end, time) in refusals(&edges[0], "live/a").await {
        assert!(is_clear(protocol, &end), "{protocol:?} is told {end:?}");
        assert!(time <= WAIT + SLACK, "{protocol:?} is told after {time:?}");
    }
    // The edge that the request comes back to says so, and that is the one that was asked.
    until_logged(&edges[0], &["INFO", "WARN"], "a loop: ", SLACK).await;
    let url = edges[1].rtmp_url("live/b");
    let published = Publisher::try_start(&url, Numbered::default());
    let refused = published.await.expect_err("a publish in a circle is refused");
    assert!(refused.description.contains("loop"), "{refused:?}");
    assert_no_growth(&edges[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_resolve_is_said() {
    let (cluster, dns) = (cluster(), Dns::start().await);
    let keys = format!("resolvers: [\"{}\"]", dns.address());
    let edge = cluster.edge(&["nobody.test"], &keys, &config());
    assert_clear(&edge, "nobody.test").await;
    assert_no_growth(&edge).await;
    // It may resolve one day.
    let origin = cluster.origin(1, NO_HLS);
    let encoder = crate::encoder(&origin, "live/late").await;
    dns.set("nobody.test", vec![Cluster::ip(1)]);
    eventually("a viewer of the origin that resolves now", SOON, async || {
        let mut crowd = Crowd::new();
        crowd.viewer(&edge, "live/late", Protocol::Rtmp, Duration::ZERO);
        crowd.until("an answer", SOON, |seen| seen.first.is_some() || seen.end.is_some()).await;
        crowd.seen()[0].first
    })
    .await;
    encoder.assert_connected();
}

/// Requires that an edge in front of `impostors`, for RTMP and for HTTP, says what is wrong, whatever it pulls with.
async fn assert_unmasked(impostors: [Impostor; 2]) {
    let cluster = cluster();
    for protocol in ["rtmp", "flv"] {
        let origin = [impostors[0].address().to_string()];
        let keys = format!("dead_after: 1s, protocol: {protocol}");
        let port = impostors[1].address().port();
        let edge = cluster.edge_to(&origin, port, &keys, &config()).start();
        assert_told(&edge).await;
        assert_no_growth(&edge).await;
        // A mute one has two seconds over HTTP, and so long is asked for viewers who have gone: for one of them alone
        // either may come first.
        until_logged(&edge, &["WARN", "ERROR"], &origin[0], SLACK).await;
    }
    let asked = impostors.each_ref().map(Impostor::connections);
    assert!(asked.iter().all(|count| *count > 0), "each was asked: {asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_answers_garbage_is_said() {
    assert_unmasked([Impostor::garbage().await, Impostor::garbage().await]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_never_speaks_is_said() {
    assert_unmasked([Impostor::mute().await, Impostor::mute().await]).await;
}

/// Nobody listens where the origin should be.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_not_there_is_said() {
    let cluster = cluster();
    let edge = cluster.edge(&["127.0.0.1"], "", &config());
    assert_clear(&edge, &cluster.origin_at("127.0.0.1")).await;
    assert_no_growth(&edge).await;
}
