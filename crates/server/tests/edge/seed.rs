//! Through one edge address: publish, and play over everything that is served. What comes out is what went in.

use std::time::Duration;

use weir_testkit::{
    Weir,
    cluster::Cluster,
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls::Playlist,
    http,
    packets::{Extent, Form, Recording, continuation, read},
};

use crate::{BINARY, cluster};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A stream ends with its publisher, so that nobody who plays to its end waits.
const ORIGIN: &str =
    "publish: { linger: 0s }\nplay: { wait: 60s }\nhls: { segment: 1s, window: 20 }\n";
const EDGE: &str = "publish: { linger: 0s }\nplay: { wait: 60s }\n";

const FIXTURE: Fixture = Fixture::AvcBFramesAac;

/// An origin and two edges.
fn start(keys: &str) -> (Cluster, Weir, [Weir; 2]) {
    let cluster = cluster();
    let origin = cluster.origin(1, ORIGIN);
    let edges = [(); 2].map(|()| cluster.edge(&["127.0.0.1"], keys, EDGE));
    (cluster, origin, edges)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_to_an_edge_is_what_every_edge_plays() {
    for protocol in ["rtmp", "flv"] {
        let (_cluster, _origin, edges) = start(&format!("protocol: {protocol}"));
        // They come before the publisher, who comes to the first edge.
        let recordings: Vec<_> = edges
            .iter()
            .zip(["the encoder's edge", "another edge"])
            .flat_map(|(edge, name)| {
                [edge.rtmp_url("live/a"), edge.http_url("live/a.flv")].map(|url| {
                    let recording = Recording::start(Ffmpeg::System, &url, Form::Carried);
                    (recording, format!("{name}, {url}"))
                })
            })
            .collect();
        let file = FIXTURE.file();
        let mut publisher = Ffmpeg::System.publish(&file, &edges[0].rtmp_url("live/a"));
        let check = tokio::task::spawn_blocking(move || {
            publisher.wait_success(TIMEOUT);
            let source = read(Ffmpeg::System, &file.display().to_string(), Form::Carried, TIMEOUT);
            let differences = recordings.into_iter().filter_map(|(recording, url)| {
                let played = recording.finish(TIMEOUT);
                let result = continuation(&source, &played, Extent::ToEnd, Duration::ZERO);
                result.err().map(|difference| format!("{url}: {difference}"))
            });
            differences.collect::<Vec<_>>()
        });
        let differences = check.await.expect("all of them play");
        assert!(differences.is_empty(), "pulled with {protocol}:\n{}", differences.concat());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_to_an_edge_is_served_over_hls_by_every_edge() {
    let (_cluster, origin, edges) = start("");
    let mut publisher = Ffmpeg::System.publish(&FIXTURE.file(), &edges[0].rtmp_url("live/a"));
    let published = tokio::task::spawn_blocking(move || publisher.wait_success(TIMEOUT));
    published.await.expect("the publisher is let in");
    let mut playlists = Vec::new();
    for server in [&edges[0], &edges[1], &origin] {
        playlists.push(check_hls(server, FIXTURE, "live/a.m3u8").await);
    }
    let same = playlists.iter().all(|playlist| *playlist == playlists[2]);
    assert!(same, "every edge serves the origin's playlist: {playlists:#?}");
}

/// Requires that FFmpeg gets all packets over HLS, after the stream has ended; the playlist.
async fn check_hls(server: &Weir, fixture: Fixture, path: &str) -> Playlist {
    let playlist = eventually(&format!("the end of {path}"), TIMEOUT, async || {
        let mut response = http::get(server.http(), path).await;
        let text = response.text().await;
        let playlist = (response.status == 200).then(|| Playlist::parse(&text));
        playlist.filter(|playlist| playlist.ended)
    })
    .await;
    let (url, form) = (server.http_url(path), Form::Elementary(fixture));
    tokio::task::spawn_blocking(move || {
        let source = read(Ffmpeg::System, &fixture.file().display().to_string(), form, TIMEOUT);
        let played = read(Ffmpeg::System, &url, form, TIMEOUT);
        // Sound in MPEG-TS has the exact times of its sampling rate when FFmpeg reads it.
        let result = continuation(&source, &played, Extent::ToEnd, Duration::from_millis(1));
        result.unwrap_or_else(|difference| panic!("{url}: {difference}"));
    })
    .await
    .expect("the same packets over HLS");
    playlist
}

/// The program says what an edge is; a configuration that cannot work is refused before anything listens.
#[test]
fn an_edge_without_origins_does_not_start() {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let file = dir.path().join("weir.yaml");
    std::fs::write(&file, "role: edge\n").expect("a temporary folder can be written to");
    let output = std::process::Command::new(BINARY).args(["check", "--config"]).arg(&file).output();
    let output = output.expect("weir check runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("edge.origins"), "{said}");
}
