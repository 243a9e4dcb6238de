//! nginx-rtmp as an origin, and as an edge.

use std::time::Duration;

use weir_testkit::{
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    nginx::Nginx,
    packets::{Extent, Form, Recording, continuation, read},
    relay::Relay,
};

use crate::{NO_HLS, cluster};

const TIMEOUT: Duration = Duration::from_secs(60);

/// About three seconds of both tracks.
const PACKETS: usize = 200;

const FIXTURE: Fixture = Fixture::AvcAac;

/// Requires that FFmpeg gets, at each of `urls`, what it publishes to `publish`.
#[track_caller]
fn check(publish: &str, urls: &[String]) {
    let source = FIXTURE.file();
    let _publisher = Ffmpeg::System.publish_with(&["-stream_loop", "-1"], &source, publish);
    let recordings: Vec<_> = urls
        .iter()
        .map(|url| (url, Recording::start(Ffmpeg::System, url, Form::Carried)))
        .collect();
    let source = read(Ffmpeg::System, &source.display().to_string(), Form::Carried, TIMEOUT);
    for (url, recording) in recordings {
        assert!(recording.wait_packets(PACKETS, TIMEOUT), "{url} does not play");
        let mut played = recording.stop();
        // The file is published again and again; where it begins anew is no run of its packets.
        for stream in &mut played.streams {
            stream.packets.truncate(50);
        }
        let run = continuation(&source, &played, Extent::Run, Duration::from_millis(1));
        run.unwrap_or_else(|difference| panic!("{url}: {difference}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_in_front_of_nginx_plays_and_publishes() {
    for direct in [true, false] {
        let nginx = Nginx::start("");
        let config = format!("{NO_HLS}play: {{ wait: 30s }}\n");
        let cluster = cluster();
        let edge = cluster.edge_to(&[nginx.rtmp().to_string()], 80, "", &config).start();
        let publish = if direct { nginx.rtmp_url("a") } else { edge.rtmp_url("live/a") };
        let urls = [edge.rtmp_url("live/a"), edge.http_url("live/a.flv"), nginx.rtmp_url("a")];
        let check = tokio::task::spawn_blocking(move || check(&publish, &urls));
        check.await.expect("what was published is played");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_pulls_from_a_weir_origin() {
    let origin = cluster().origin(1, NO_HLS);
    let nginx = Nginx::start(&format!("pull rtmp://{}/live;", origin.rtmp()));
    let (publish, urls) = (origin.rtmp_url("live/a"), [nginx.rtmp_url("a")]);
    let check = tokio::task::spawn_blocking(move || check(&publish, &urls));
    check.await.expect("what was published is played");
}

/// nginx begins to send before it has an answer, and asks no second time.
#[tokio::test(flavor = "multi_thread")]
async fn nginx_pushes_to_an_edge_whose_origin_is_far() {
    let cluster = cluster();
    let origin = cluster.origin(1, NO_HLS);
    let relay = Relay::far(origin.rtmp(), Duration::from_millis(100)).await;
    let edge = cluster.edge_to(&[relay.address().to_string()], 80, "", NO_HLS).start();
    let nginx = Nginx::start(&format!("push rtmp://{}/live;", edge.rtmp()));
    let (publish, urls) =
        (nginx.rtmp_url("a"), [edge.rtmp_url("live/a"), origin.rtmp_url("live/a")]);
    let check = tokio::task::spawn_blocking(move || check(&publish, &urls));
    check.await.expect("what was published is played");
}
