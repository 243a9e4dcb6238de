//! An upgrade on one machine, without a balancer: `weir serve --replace` takes the listeners over.

use std::time::{Duration, Instant};

use weir_testkit::{
    Weir,
    cluster::{Cluster, Ports},
    process::Process,
    roaming::{Roaming, RoamingEncoder},
};

use crate::{
    BINARY, DRAIN, DRAIN_MAX, NO_HLS, assert_no_gap, assert_smooth, assert_taken, come, edge,
    encoders, go_on, origin::watch_hls, report,
};

const VIEWERS: usize = 90;

/// What it takes to be replaced.
const HANDOVER: &str = "handover: { socket: weir.sock }\n";

/// Lets a new process take over from `weir`, and waits until the old one has ended, in good order; how long it took
/// for that.
fn replace(weir: &mut Weir) -> Duration {
    tokio::task::block_in_place(|| {
        let start = Instant::now();
        let mut old: Process = weir.replace();
        old.wait_success(DRAIN_MAX);
        start.elapsed()
    })
}

/// Encoders of all streams and viewers, at one server.
async fn begin(weir: &Weir) -> (Roaming, Vec<RoamingEncoder>) {
    let encoders = encoders(|_| weir.rtmp(), true).await;
    let mut roaming = Roaming::new();
    come(&mut roaming, VIEWERS, [weir.rtmp(), weir.http()], Duration::from_secs(2));
    go_on(&roaming, &encoders, 20).await;
    (roaming, encoders)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_is_replaced_and_refuses_nobody() {
    let cluster = Cluster::new(BINARY);
    let origin = cluster.origin(1, NO_HLS);
    let (address, ports) = ([origin.rtmp().to_string()], Ports::free());
    let config = format!("{DRAIN}{HANDOVER}");
    let mut edge = edge(&cluster, &address, "", &config, &ports).start();
    let (mut roaming, encoders) = begin(&edge).await;
    for turn in 1..=2 {
        // Some come just then.
        let now = [edge.rtmp(), edge.http()];
        come(&mut roaming, VIEWERS / 3, now, Duration::from_millis(500));
        let time = replace(&mut edge);
        go_on(&roaming, &encoders, 20).await;
        eprintln!("turn {turn}: the old edge ended {:.1} s later", time.as_secs_f64());
    }
    report("an edge replaced twice", &roaming, &encoders);
    assert_smooth(&roaming);
    assert_no_gap(&roaming);
    assert_taken(&encoders);
    roaming.assert_all("one move each time", |journey| journey.moves() <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_is_replaced_and_disconnects_nobody_at_the_edges() {
    let cluster = Cluster::new(BINARY);
    let config = format!("hls: {{ segment: 1s }}\n{DRAIN}{HANDOVER}");
    let mut origin = cluster.origin(1, &config);
    let (address, ports) = ([origin.rtmp().to_string()], Ports::free());
    let edge = edge(&cluster, &address, "", DRAIN, &ports).start();
    let (there, encoders) = begin(&edge).await;
    // Some are at the origin itself.
    let mut here = Roaming::new();
    come(&mut here, VIEWERS / 3, [origin.rtmp(), origin.http()], Duration::from_secs(1));
    go_on(&here, &encoders, 20).await;
    let hls = watch_hls(&origin).await;
    hls.grows(2).await;

    let time = replace(&mut origin);
    go_on(&there, &encoders, 20).await;
    go_on(&here, &encoders, 20).await;
    hls.grows(3).await;

    eprintln!("the old origin ended {:.1} s later", time.as_secs_f64());
    report("an origin replaced: viewers at the edge", &there, &encoders);
    report("an origin replaced: viewers at the origin", &here, &[]);
    eprintln!("{}", hls.assert_alive());
    for roaming in [&there, &here] {
        assert_smooth(roaming);
        assert_no_gap(roaming);
    }
    there.assert_all("nobody at the edge is disconnected", |journey| journey.moves() == 0);
    here.assert_all("one move", |journey| journey.moves() <= 1);
    let stayed = encoders.iter().all(|encoder| encoder.voyage().departures.is_empty());
    assert!(stayed, "no encoder at the edge is disconnected");
}
