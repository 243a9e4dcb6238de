//! Several origins: who owns a stream, and what a dead one costs.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use weir_testkit::{
    Weir,
    cluster::{Cluster, Ports},
    crowd::{Crowd, Protocol},
    dns::Dns,
    eventually,
    netns::{Host, alone},
    peer::{Encoder, Publisher},
};

use crate::{BINARY, NO_HLS, PICTURE, SOON, cluster, encoder, live_streams, quiet_encoder};

/// The name of all origins.
const NAME: &str = "origins.test";

/// For streams to be at another origin, from when theirs has died.
const MOVE_MAX: Duration = Duration::from_secs(2);

/// What a dead origin may cost a viewer.
const DETOUR_MAX: Duration = Duration::from_millis(300);

const STREAMS: usize = 16;

fn streams() -> impl Iterator<Item = String> {
    (0..STREAMS).map(|number| format!("live/s{number}"))
}

/// Edges that know the origins by the name that `dns` knows.
fn edges(cluster: &Cluster, dns: &Dns) -> [Weir; 2] {
    let keys = format!("dead_after: 2s, resolvers: [\"{}\"]", dns.address());
    [(); 2].map(|()| cluster.edge(&[NAME], &keys, NO_HLS))
}

/// Which stream is live at which of the origins.
async fn places(origins: &[&Weir]) -> BTreeMap<String, Vec<usize>> {
    let mut places = BTreeMap::<_, Vec<_>>::new();
    for (number, origin) in origins.iter().enumerate() {
        for stream in live_streams(origin).await {
            places.entry(stream).or_default().push(number);
        }
    }
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stream_has_one_owner_whichever_edge_it_comes_through() {
    let (cluster, dns) = (cluster(), Dns::start().await);
    let origins = [1, 2].map(|number| cluster.origin(number, "publish: { linger: 0s }\n"));
    dns.set(NAME, vec![Cluster::ip(1), Cluster::ip(2)]);
    let edges = edges(&cluster, &dns);
    let both = [&origins[0], &origins[1]];
    let mut seen = Vec::new();
    for turn in 0..2 {
        let mut encoders = Vec::new();
        for (number, stream) in streams().enumerate() {
            encoders.push(quiet_encoder(&edges[(number + turn) % 2], &stream).await);
        }
        // Everybody can watch at the other edge.
        let mut crowd = Crowd::new();
        for (number, stream) in streams().enumerate() {
            let edge = &edges[(number + turn + 1) % 2];
            crowd.viewer(edge, &stream, Protocol::Rtmp, Duration::ZERO);
        }
        crowd.until_picture(5, SOON).await;
        crowd.assert_undisturbed();
        let places = places(&both).await;
        assert_eq!(places.len(), STREAMS, "{places:?}");
        assert!(places.values().all(|at| at.len() == 1), "one owner each: {places:?}");
        for number in [0, 1] {
            assert!(places.values().any(|at| at == &[number]), "a share for each: {places:?}");
        }
        seen.push(places);
        drop((crowd, encoders));
        eventually("all streams end", SOON, async || {
            let left = live_streams(both[0]).await.len() + live_streams(both[1]).await.len();
            (left == 0).then_some(())
        })
        .await;
    }
    assert_eq!(seen[0], seen[1], "both edges agree on every owner");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_of_a_dead_origin_move_and_stay() {
    let (cluster, dns) = (cluster(), Dns::start().await);
    let mut origins = [1, 2].map(|number| cluster.origin(number, NO_HLS));
    dns.set(NAME, vec![Cluster::ip(1), Cluster::ip(2)]);
    let edges = edges(&cluster, &dns);
    let (mut encoders, mut crowd) = (Vec::new(), Crowd::new());
    for (number, stream) in streams().enumerate() {
        encoders.push(quiet_encoder(&edges[number % 2], &stream).await);
        crowd.viewer(&edges[(number + 1) % 2], &stream, Protocol::HttpFlv, Duration::ZERO);
    }
    crowd.until_picture(5, SOON).await;

    crowd.mark();
    origins[0].kill();
    let died = Instant::now();
    eventually("every stream at the other origin", SOON, async || {
        (live_streams(&origins[1]).await.len() == STREAMS).then_some(())
    })
    .await;
    let moved = died.elapsed();
    assert!(moved <= MOVE_MAX, "the streams of the dead origin needed {moved:?}");
    crowd.until("media from there", SOON, |seen| seen.resumed.is_some()).await;
    crowd.assert_undisturbed();

    // A publish through another edge than before finds its way too.
    let mut late = Publisher::start(&edges[1].rtmp_url("live/late"), Default::default()).await;
    late.pictures(1).await;
    crate::until_live(&origins[1], "live/late").await;

    let jumps = |crowd: &Crowd| crowd.seen().iter().map(|seen| seen.watch.jumps()).sum::<u64>();
    let before = jumps(&crowd);
    origins[0].restart();
    // Through the times of resolving names and of looking after the dead.
    let newest = encoders.iter().map(Encoder::next_number).max().unwrap_or_default();
    crowd.until_picture(newest + 50, SOON).await;
    crowd.assert_undisturbed();
    encoders.iter().for_each(Encoder::assert_connected);
    assert_eq!(jumps(&crowd), before, "nobody moves when the origin is back");
    let moved_back: Vec<_> = live_streams(&origins[0])
        .await
        .into_iter()
        .filter(|stream| stream != "/live/late")
        .collect();
    assert!(moved_back.is_empty(), "{moved_back:?} flap");
}

/// Origins that join serve what is new, and nothing moves; one that its name loses is left.
#[tokio::test(flavor = "multi_thread")]
async fn an_added_origin_moves_nobody() {
    let (cluster, dns) = (cluster(), Dns::start().await);
    let origins = [1, 2].map(|number| cluster.origin(number, NO_HLS));
    dns.set(NAME, vec![Cluster::ip(1)]);
    let edges = edges(&cluster, &dns);
    let (mut encoders, mut crowd) = (Vec::new(), Crowd::new());
    for stream in streams() {
        encoders.push(quiet_encoder(&edges[0], &stream).await);
        crowd.viewer(&edges[1], &stream, Protocol::Rtmp, Duration::ZERO);
    }
    crowd.until_picture(5, SOON).await;
    dns.set(NAME, vec![Cluster::ip(1), Cluster::ip(2)]);
    // It is known once streams that are new begin there.
    let mut number = 0;
    eventually("a stream of the new origin", SOON, async || {
        number += 1;
        let url = edges[0].rtmp_url(&format!("live/new{number}"));
        encoders.push(Encoder::start(&url, Default::default(), PICTURE).await);
        (!live_streams(&origins[1]).await.is_empty()).then_some(())
    })
    .await;
    crowd.until_picture(encoders[0].next_number() + 5, SOON).await;
    crowd.assert_complete();
    encoders.iter().for_each(Encoder::assert_connected);
    let moved = live_streams(&origins[1]).await;
    assert!(moved.iter().all(|stream| stream.starts_with("/live/new")), "{moved:?} moved");
}

/// A stream that was published at another origin than its owner is found.
#[tokio::test(flavor = "multi_thread")]
async fn streams_are_found_wherever_they_are() {
    let cluster = cluster();
    let origins = [1, 2].map(|number| cluster.origin(number, NO_HLS));
    let edge = cluster.edge(&["127.0.0.1", "127.0.0.2"], "", NO_HLS);
    let (mut encoders, mut crowd) = (Vec::new(), Crowd::new());
    for (number, stream) in streams().enumerate() {
        encoders.push(quiet_encoder(&origins[number % 2], &stream).await);
        crowd.join(&edge, &stream, 2, Duration::ZERO);
    }
    crowd.until_picture(5, SOON).await;
    crowd.assert_undisturbed();
}

/// The longest that a cold viewer of any stream waits for its first picture at this edge.
async fn slowest_start(edge: &Weir, streams: &[String]) -> Duration {
    let mut slowest = Duration::ZERO;
    for stream in streams {
        let mut crowd = Crowd::new();
        crowd.viewer(edge, stream, Protocol::Rtmp, Duration::ZERO);
        crowd.until_picture(0, SOON).await;
        slowest = slowest.max(crowd.seen()[0].delay().unwrap_or_default());
    }
    slowest
}

/// Requires that a dead origin first in the list, at `dead`, costs nobody much, not even the very first one.
async fn assert_cheap(cluster: &Cluster, origin: &Weir, dead: IpAddr) {
    let streams: Vec<_> = (0..8).map(|number| format!("live/s{number}")).collect();
    let mut encoders = Vec::new();
    for stream in &streams {
        encoders.push(encoder(origin, stream).await);
    }
    let mut warm = Crowd::new();
    streams.iter().for_each(|name| warm.viewer(origin, name, Protocol::Rtmp, Duration::ZERO));
    warm.until_picture(1, SOON).await;
    let live = origin.rtmp().ip();
    let addresses = |ips: &[IpAddr]| -> Vec<_> {
        ips.iter().map(|ip| format!("{ip}:{}", origin.rtmp().port())).collect()
    };
    let (port, keys) = (origin.http().port(), "dead_after: 5s");
    let alone = cluster.edge_to(&addresses(&[live]), port, keys, NO_HLS).start();
    let behind = cluster.edge_to(&addresses(&[dead, live]), port, keys, NO_HLS).start();
    let usual = slowest_start(&alone, &streams).await;
    let detour = slowest_start(&behind, &streams).await;
    assert!(
        detour <= usual + DETOUR_MAX,
        "without a dead origin a viewer starts after {usual:?}, with one after {detour:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_origin_that_refuses_costs_little() {
    let cluster = cluster();
    let origin = cluster.origin(1, NO_HLS);
    assert_cheap(&cluster, &origin, Cluster::ip(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_origin_that_says_nothing_costs_little() {
    if !alone("owners::a_dead_origin_that_says_nothing_costs_little") {
        return;
    }
    let host = Host::new(1);
    let ports = Ports::fixed(1935, 8080, 1985);
    let origin = Weir::builder(BINARY).config(NO_HLS).at(host.ip(), &ports).on(&host).start();
    assert_cheap(&cluster(), &origin, host.silent_ip().into()).await;
}
