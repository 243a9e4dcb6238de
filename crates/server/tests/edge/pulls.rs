//! One pull a stream, whatever the number and the mix of viewers.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use weir_testkit::{Weir, crowd::Crowd, hls::Playlist, http};

use crate::{SOON, cluster, quiet_encoder, until_pulls};

const VIEWERS: usize = 1000;

/// In which they all come.
const RUSH: Duration = Duration::from_secs(1);

/// For a thousand viewers to be served by a debug build on two cores that have everything else to do too.
const CROWD_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a player looks for a playlist that is not there yet.
const HLS_POLL: Duration = Duration::from_millis(200);

const LINGER: Duration = Duration::from_secs(1);

/// The key of [`LINGER`].
const KEYS: &str = "linger: 1s";

/// Reads the playlist until there is one, and its newest segment; how many bytes that has.
async fn watch_hls(address: std::net::SocketAddr, stream: &'static str) -> usize {
    let path = format!("{stream}.m3u8");
    let started = Instant::now();
    let playlist = loop {
        let mut response = http::get(address, &path).await;
        let text = response.text().await;
        if response.status == 200 {
            break Playlist::parse(&text);
        }
        let status = response.status;
        assert!(started.elapsed() < CROWD_TIMEOUT, "{path} is still {status}: {text}");
        tokio::time::sleep(HLS_POLL).await;
    };
    let segment = playlist.segments.last().expect("a playlist begins with a segment");
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut response = http::get(address, &format!("{folder}/{}", segment.uri)).await;
    assert_eq!(response.status, 200, "{}", segment.uri);
    response.bytes().await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_viewers_of_a_cold_edge_are_one_pull() {
    const HLS_VIEWERS: usize = 50;
    let cluster = cluster();
    let origin = cluster.origin(1, "hls: { segment: 1s }");
    let edge = cluster.edge(&["127.0.0.1"], KEYS, "");
    let encoder = quiet_encoder(&origin, "live/a").await;

    let mut crowd = Crowd::new();
    crowd.join(&edge, "live/a", VIEWERS, RUSH);
    let mut readers = JoinSet::new();
    for _ in 0..HLS_VIEWERS {
        readers.spawn(watch_hls(edge.http(), "live/a"));
    }
    crowd.until_picture(0, CROWD_TIMEOUT).await;
    crowd.until_picture(encoder.next_number() + 5, CROWD_TIMEOUT).await;
    for bytes in readers.join_all().await {
        assert!(bytes > 0, "an empty segment");
    }
    crowd.assert_undisturbed();
    let sessions = origin.sessions("play", "/live/a");
    assert_eq!((sessions.began, sessions.ended), (1, 0), "{VIEWERS} viewers are one pull");

    let left = Instant::now();
    drop(crowd);
    until_pulls(&origin, "live/a", 0).await;
    let lingered = left.elapsed();
    assert!(lingered >= LINGER, "the pull ended {lingered:?} after its last viewer");
    assert_eq!(origin.sessions("play", "/live/a").began, 1);
    encoder.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_edges_are_ten_pulls() {
    const EDGES: usize = 10;
    let cluster = cluster();
    let origin = cluster.origin(1, crate::NO_HLS);
    let edges: Vec<_> =
        (0..EDGES).map(|_| cluster.edge(&["127.0.0.1"], KEYS, crate::NO_HLS)).collect();
    let encoder = quiet_encoder(&origin, "live/a").await;
    let mut crowd = Crowd::new();
    for edge in &edges {
        crowd.join(edge, "live/a", VIEWERS / EDGES, RUSH);
    }
    crowd.until_picture(0, CROWD_TIMEOUT).await;
    crowd.until_picture(encoder.next_number() + 5, CROWD_TIMEOUT).await;
    crowd.assert_undisturbed();
    let sessions = origin.sessions("play", "/live/a");
    assert_eq!((sessions.began, sessions.ended), (EDGES, 0));
    drop(crowd);
    until_pulls(&origin, "live/a", 0).await;
}

/// Viewers that come and go while there is always one are not noticed by the origin; neither is one that comes back
/// within the linger.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_within_the_linger_is_no_new_pull() {
    for protocol in ["rtmp", "flv"] {
        let cluster = cluster();
        let origin = cluster.origin(1, crate::NO_HLS);
        let keys = format!("linger: 10s, protocol: {protocol}");
        let edge = cluster.edge(&["127.0.0.1"], &keys, crate::NO_HLS);
        let encoder = quiet_encoder(&origin, "live/a").await;
        for _ in 0..5 {
            let mut crowd = Crowd::new();
            crowd.join(&edge, "live/a", 4, Duration::ZERO);
            crowd.until_picture(encoder.next_number(), SOON).await;
            crowd.assert_undisturbed();
        }
        let sessions = origin.sessions("play", "/live/a");
        assert_eq!((sessions.began, sessions.ended), (1, 0), "pulled with {protocol}");
    }
}

/// An edge is an origin to another edge.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_three_edges_is_one_pull_each() {
    let cluster = cluster();
    let origin = cluster.origin(1, crate::NO_HLS);
    let mut chain = vec![cluster.edge(&["127.0.0.1"], KEYS, crate::NO_HLS)];
    for _ in 0..2 {
        let before: &Weir = &chain[chain.len() - 1];
        let (rtmp, http) = (before.rtmp().to_string(), before.http().port());
        chain.push(cluster.edge_to(&[rtmp], http, KEYS, crate::NO_HLS).start());
    }
    // Published at its end, played at its end and in its midst.
    let encoder = quiet_encoder(&chain[2], "live/a").await;
    let mut crowd = Crowd::new();
    for edge in [&origin, &chain[0], &chain[1], &chain[2]] {
        crowd.join(edge, "live/a", 10, Duration::ZERO);
    }
    crowd.until_picture(encoder.next_number() + 5, SOON).await;
    crowd.assert_undisturbed();
    assert_eq!(origin.sessions("publish", "/live/a").began, 1);
    encoder.assert_connected();
}
