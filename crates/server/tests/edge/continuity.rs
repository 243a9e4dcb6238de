//! Origins that are killed, freeze, or vanish behind a cut link: nobody who is connected to an edge is cut.

use std::time::{Duration, Instant};

use weir_testkit::{
    Weir,
    cluster::{Cluster, Ports},
    crowd::Crowd,
    netns::{Host, alone},
    peer::Encoder,
    relay::Relay,
    server::field,
};

use crate::{BINARY, NO_HLS, SOON, cluster, encoder, eventually_or_none};

const VIEWERS: usize = 200;
const STREAMS: [&str; 5] = ["live/a", "live/b", "live/c", "live/d", "live/e"];

/// For media to flow again, from when the origin can be reached.
const RESUME_MAX: Duration = Duration::from_secs(2);

/// How long the origin is away.
const AWAY: Duration = Duration::from_secs(5);

const DEAD_AFTER: Duration = Duration::from_secs(2);

/// For a log line about it to be written and read.
const NOTICE: Duration = Duration::from_secs(1);

/// The keys of both edges, which pull in different ways.
const KEYS: [&str; 2] = ["dead_after: 2s, protocol: rtmp", "dead_after: 2s, protocol: flv"];

/// Two edges with five encoders and two hundred viewers.
struct Scene {
    edges: [Weir; 2],
    encoders: Vec<Encoder>,
    crowd: Crowd,
}

impl Scene {
    /// Encoders and viewers of each stream are on both edges, and everybody sees something.
    async fn begin(edges: [Weir; 2]) -> Self {
        let mut encoders = Vec::new();
        for (stream, edge) in STREAMS.into_iter().zip(edges.iter().cycle()) {
            encoders.push(encoder(edge, stream).await);
        }
        let mut crowd = Crowd::new();
        for stream in STREAMS {
            for edge in &edges {
                let share = VIEWERS / STREAMS.len() / edges.len();
                crowd.join(edge, stream, share, Duration::from_secs(1));
            }
        }
        crowd.until_picture(30, SOON).await;
        Self { edges, encoders, crowd }
    }

    /// Requires that everybody is served again in time, from the moment that the origin can be reached.
    async fn assert_resumes(&self, since: Instant) {
        let what = "media at every viewer after the origin has returned";
        self.crowd.until(what, SOON, |seen| seen.resumed.is_some()).await;
        let slowest = self.crowd.slowest_since(since);
        self.assert_connected();
        assert!(slowest <= RESUME_MAX, "the last viewer waited {slowest:?} for media");
        // And goes on, through the next groups.
        let newest = self.encoders.iter().map(Encoder::next_number).max().unwrap_or_default();
        self.crowd.until_picture(newest + 50, SOON).await;
        self.assert_connected();
    }

    fn assert_connected(&self) {
        self.crowd.assert_undisturbed();
        self.encoders.iter().for_each(Encoder::assert_connected);
    }

    /// Requires that both edges say in time that the origin at `address` is dead.
    async fn assert_noticed(&self, address: &str, since: Instant) {
        for edge in &self.edges {
            let left = (since + DEAD_AFTER + NOTICE).saturating_duration_since(Instant::now());
            let noticed = eventually_or_none(left, async || {
                let lines = edge.log().all();
                lines.iter().any(|line| is_warning_of(line, address)).then_some(())
            })
            .await;
            assert!(
                noticed.is_some(),
                "an edge does not say within {DEAD_AFTER:?} that {address} is silent:\n{}",
                edge.log()
            );
        }
    }
}

fn is_warning_of(line: &str, origin: &str) -> bool {
    let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    field(&line, "level") == "WARN"
        && field(&line, "origin").as_str().is_some_and(|text| text.contains(origin))
}

fn edges(cluster: &Cluster) -> [Weir; 2] {
    KEYS.map(|keys| cluster.edge(&["127.0.0.1"], keys, NO_HLS))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_killed_and_started_again_is_not_noticed() {
    let cluster = cluster();
    let mut origin = cluster.origin(1, NO_HLS);
    let scene = Scene::begin(edges(&cluster)).await;
    origin.kill();
    // What happens to nobody in this time is the test.
    tokio::time::sleep(AWAY).await;
    scene.assert_connected();
    scene.crowd.mark();
    origin.restart();
    scene.assert_resumes(Instant::now()).await;
    for stream in STREAMS {
        let key = format!("/{stream}");
        assert_eq!(origin.sessions("publish", &key).open(), 1, "{stream} is published again, once");
        assert_eq!(origin.sessions("play", &key).open(), 1, "one edge pulls {stream}, once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_freezes_and_thaws_is_not_noticed() {
    let cluster = cluster();
    let origin = cluster.origin(1, NO_HLS);
    let scene = Scene::begin(edges(&cluster)).await;
    origin.freeze();
    let since = Instant::now();
    scene.assert_noticed(&origin.rtmp().to_string(), since).await;
    tokio::time::sleep(AWAY.saturating_sub(since.elapsed())).await;
    scene.assert_connected();
    scene.crowd.mark();
    origin.thaw();
    scene.assert_resumes(Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_link_is_not_noticed() {
    if !alone("continuity::a_cut_link_is_not_noticed") {
        return;
    }
    let host = Host::new(1);
    let ports = Ports::fixed(1935, 8080, 1985);
    let origin = Weir::builder(BINARY).config(NO_HLS).at(host.ip(), &ports).on(&host).start();
    let cluster = cluster();
    let address = [origin.rtmp().to_string()];
    let edges = KEYS.map(|keys| cluster.edge_to(&address, ports.http, keys, NO_HLS).start());
    let scene = Scene::begin(edges).await;
    host.cut();
    let since = Instant::now();
    scene.assert_noticed(&address[0], since).await;
    tokio::time::sleep(AWAY.saturating_sub(since.elapsed())).await;
    scene.assert_connected();
    scene.crowd.mark();
    host.mend();
    scene.assert_resumes(Instant::now()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_reset_in_the_midst_of_a_message_are_not_noticed() {
    let cluster = cluster();
    let origin = cluster.origin(1, NO_HLS);
    let (rtmp, http) = (Relay::start(origin.rtmp()).await, Relay::start(origin.http()).await);
    let address = [rtmp.address().to_string()];
    let port = http.address().port();
    let scene =
        Scene::begin(KEYS.map(|keys| cluster.edge_to(&address, port, keys, NO_HLS).start())).await;
    for _ in 0..3 {
        let before = rtmp.connections() + http.connections();
        scene.crowd.mark();
        rtmp.reset();
        http.reset();
        scene.assert_resumes(Instant::now()).await;
        let since = rtmp.connections() + http.connections() - before;
        assert!(since >= STREAMS.len(), "only {since} connections were made anew");
        let bound = 8 * STREAMS.len();
        assert!(since <= bound, "{since} new connections for one reset of each");
    }
}
