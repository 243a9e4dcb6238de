//! To publish to an edge is to publish to the origin, its no included.

use std::time::{Duration, Instant};

use weir_testkit::{
    crowd::Crowd,
    eventually, http,
    peer::{Numbered, Publisher},
};

use crate::{NO_HLS, SOON, cluster, encoder, quiet_encoder, until_live};

#[tokio::test(flavor = "multi_thread")]
async fn the_origins_no_reaches_the_encoder_before_it_sends_anything() {
    let cluster = cluster();
    let origin = cluster.origin(1, &format!("{NO_HLS}publish: {{ conflict: reject }}\n"));
    let edges = [(); 2].map(|()| cluster.edge(&["127.0.0.1"], "", NO_HLS));
    let first = encoder(&edges[0], "live/a").await;
    let direct = Publisher::try_start(&origin.rtmp_url("live/a"), Numbered::default()).await;
    let direct = direct.expect_err("the origin refuses a second publisher");
    for edge in &edges {
        let second = Publisher::try_start(&edge.rtmp_url("live/a"), Numbered::default()).await;
        let second = second.expect_err("the edge refuses it too");
        assert_eq!(second.code, "NetStream.Publish.BadName", "{second:?}");
        let reason = second.description.contains(&direct.description)
            || direct.description.contains(&second.description);
        assert!(reason, "the origin answers {direct:?}, the edge {second:?}");
    }
    let mut crowd = Crowd::new();
    crowd.join(&edges[1], "live/a", 4, Duration::ZERO);
    crowd.until_picture(first.next_number() + 5, SOON).await;
    first.assert_connected();
    crowd.assert_undisturbed();
    assert_eq!(origin.sessions("publish", "/live/a").open(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_at_the_encoders_edge_cost_no_pull() {
    let cluster = cluster();
    let origin = cluster.origin(1, NO_HLS);
    let edge = cluster.edge(&["127.0.0.1"], "", NO_HLS);
    let encoder = encoder(&edge, "live/a").await;
    let mut crowd = Crowd::new();
    crowd.join(&edge, "live/a", 10, Duration::ZERO);
    crowd.until_picture(encoder.next_number() + 25, SOON).await;
    crowd.assert_complete();
    assert_eq!(origin.sessions("play", "/live/a").began, 0);
    assert_eq!(origin.sessions("publish", "/live/a").open(), 1);
}

/// An origin that stays away: viewers and encoders are told after `edge.give_up`, and not before.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_stays_away_is_given_up() {
    const GIVE_UP: Duration = Duration::from_secs(3);
    let cluster = cluster();
    let mut origin = cluster.origin(1, NO_HLS);
    let keys = "give_up: 3s, dead_after: 1s";
    let edges = [(); 2].map(|()| cluster.edge(&["127.0.0.1"], keys, NO_HLS));
    let encoder = quiet_encoder(&edges[0], "live/a").await;
    let mut crowd = Crowd::new();
    crowd.join(&edges[1], "live/a", 4, Duration::ZERO);
    crowd.until_picture(2, SOON).await;
    let died = Instant::now();
    origin.kill();
    crowd.until("the end", SOON, |seen| seen.end.is_some()).await;
    let viewers = died.elapsed();
    eventually("the encoder is told", SOON, async || encoder.end()).await;
    let told = died.elapsed();
    // The moment of its death is a little before the edges know of it.
    assert!(viewers >= GIVE_UP && told >= GIVE_UP, "given up after {viewers:?} and {told:?}");
    let bound = GIVE_UP + Duration::from_secs(5);
    assert!(viewers <= bound && told <= bound, "given up after {viewers:?} and {told:?}");
    for seen in crowd.seen() {
        assert_eq!(seen.fault(), None);
    }
    for edge in &edges {
        let text = http::get(edge.api(), "healthz").await.text().await;
        assert_eq!(text, "ok\n", "the edge itself is well");
    }
    // And takes them again once the origin is there.
    origin.restart();
    let _encoder = quiet_encoder(&edges[0], "live/a").await;
    let mut crowd = Crowd::new();
    crowd.join(&edges[1], "live/a", 2, Duration::ZERO);
    crowd.until_picture(2, SOON).await;
}

/// An encoder that stops at one edge and begins at another, as behind a load balancer.
#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_moves_between_edges() {
    let cluster = cluster();
    let origin = cluster.origin(1, NO_HLS);
    let edges = [(); 2].map(|()| cluster.edge(&["127.0.0.1"], "", NO_HLS));
    let url = edges.each_ref().map(|edge| edge.rtmp_url("live/a"));
    let mut publisher = Publisher::start(&url[0], Numbered::default()).await;
    publisher.pictures(1).await;
    let mut crowd = Crowd::new();
    for weir in [&origin, &edges[0], &edges[1]] {
        crowd.join(weir, "live/a", 4, Duration::ZERO);
    }
    crowd.until_picture(0, SOON).await;
    for clean in [true, false, true, false] {
        let newest = publisher.pictures(30).await;
        crowd.until_picture(newest, SOON).await;
        let source = publisher.source();
        let to = usize::from(clean);
        match clean {
            true => publisher.stop().await,
            false => drop(publisher),
        }
        publisher = Publisher::start(&url[to], source).await;
        let newest = publisher.pictures(30).await;
        crowd.until_picture(newest, SOON).await;
        crowd.assert_undisturbed();
    }
    assert_eq!(origin.sessions("publish", "/live/a").open(), 1);
}

/// A second encoder at another edge replaces the first one where the origin says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_encoder_is_taken_over_through_another_edge() {
    let cluster = cluster();
    let origin = cluster.origin(1, &format!("{NO_HLS}publish: {{ conflict: takeover }}\n"));
    let edges = [(); 2].map(|()| cluster.edge(&["127.0.0.1"], "", NO_HLS));
    let mut first = Publisher::start(&edges[0].rtmp_url("live/a"), Numbered::default()).await;
    first.pictures(1).await;
    let mut crowd = Crowd::new();
    for edge in &edges {
        crowd.join(edge, "live/a", 4, Duration::ZERO);
    }
    crowd.until_picture(0, SOON).await;
    let newest = first.pictures(30).await;
    // Nothing of it is on its way through the first edge any more.
    crowd.until("the last sound", SOON, |seen| seen.newest_sound() >= Some(newest)).await;
    until_live(&origin, "live/a").await;
    let second = Publisher::start(&edges[1].rtmp_url("live/a"), first.source()).await;
    let mut second = second;
    let told = tokio::time::timeout(SOON, first.wait_end()).await;
    assert!(told.is_ok(), "the first encoder is not told");
    let newest = second.pictures(30).await;
    crowd.until_picture(newest, SOON).await;
    crowd.assert_undisturbed();
    assert_eq!(origin.sessions("publish", "/live/a").open(), 1);
}
