//! Streams from other servers.

use std::time::Duration;

use weir_testkit::{
    certificates::Authority,
    cluster::Cluster,
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    http,
    nginx::Nginx,
    packets::{Extent, Form, Recording, continuation, read},
    peer::Viewer,
};

use super::{BINARY, NO_HLS, SOON, encoder, listed, server, stream, until_no_pull, until_pull};

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_comes_over_rtmp_http_flv_and_their_tls_as_it_was_published() {
    let dir = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("tests");
    let issued = authority.issue(&["localhost", "127.0.0.1"]);
    let (cert, key) = issued.write(dir.path(), "server");
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).expect("written");
    let tls = format!(
        "{{ listen: \"127.0.0.1:0\", certificates: [{{ cert: {cert:?}, key: {key:?} }}] }}"
    );
    let there = server(NO_HLS).env("WEIR_RTMP__TLS", &tls).env("WEIR_HTTP__TLS", &tls).start();
    let from = [
        ("a", format!("rtmp://{}/live/x?key=hunter22", there.rtmp()), String::new()),
        ("b", format!("http://{}/live/x.flv", there.http()), String::new()),
        (
            "c",
            format!("rtmps://localhost:{}/live/x", there.listens("rtmps").port()),
            format!("ca: {ca:?}"),
        ),
        ("d", format!("https://{}/live/x.flv", there.listens("https")), format!("ca: {ca:?}")),
    ];
    let pulls = from
        .iter()
        .map(|(name, from, more)| format!("- {{ stream: live/{name}, from: {from:?}, {more} }}\n"));
    let config = format!("{NO_HLS}pull:\n{}", pulls.collect::<String>());
    let here = server(&config).start();
    let published = encoder(&there, "live/x", 0).await;
    for (name, ..) in &from {
        let url = format!("/live/{name}");
        let pull = until_pull(&here, &url, "flowing").await;
        assert!(!pull.to_string().contains("hunter22"), "{pull}");
        // Each message must be the one that follows.
        let mut viewer = Viewer::http_flv(here.http(), &format!("live/{name}.flv")).await;
        viewer.until_picture(published.next_number() + 20).await;
        let known = stream(&here, &url).await.expect("it is listed");
        let source = known["publish"]["source"].as_str().expect("its source").to_owned();
        assert!(source.starts_with("pull ") && !source.contains("hunter22"), "{source}");
    }
    published.assert_connected();
    assert!(here.log().all().iter().all(|line| !line.contains("hunter22")), "{}", here.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_comes_from_nginx() {
    let nginx = Nginx::start("");
    let config = format!("{NO_HLS}pull: [{{ stream: live/b, from: {:?} }}]\n", nginx.rtmp_url("a"));
    let here = server(&config).start();
    let (publish, played) = (nginx.rtmp_url("a"), here.http_url("live/b.flv"));
    let check = move || {
        let file = Fixture::AvcAac.file();
        let _publisher = Ffmpeg::System.publish_with(&["-stream_loop", "-1"], &file, &publish);
        let source = read(Ffmpeg::System, &file.display().to_string(), Form::Carried, 3 * SOON);
        here.wait_log(|line| line.to_string().contains("pull began"), 3 * SOON);
        let recording = Recording::start(Ffmpeg::System, &played, Form::Carried);
        assert!(recording.wait_packets(200, 3 * SOON), "it does not play");
        let mut played = recording.stop();
        // The file is published again and again; where it begins anew is no run of its packets.
        for stream in &mut played.streams {
            stream.packets.truncate(50);
        }
        let run = continuation(&source, &played, Extent::Run, Duration::from_millis(1));
        run.unwrap_or_else(|difference| panic!("{difference}"));
    };
    tokio::task::spawn_blocking(check).await.expect("what was published is played");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pulled_on_demand_is_pulled_while_somebody_watches() {
    let there = server(NO_HLS).start();
    let published = encoder(&there, "live/x", 0).await;
    let from = format!("rtmp://{}/{{app}}/{{stream}}", there.rtmp());
    let config = format!(
        "{NO_HLS}play: {{ wait: 2s }}\n\
         pull: [{{ stream: live/*, from: {from:?}, when: demand, linger: 500ms }}]\n"
    );
    let here = server(&config).start();
    assert!(listed(&here, "pulls").await.is_empty());
    let mut rtmp = Viewer::rtmp(&here.rtmp_url("live/x")).await;
    let mut flv = Viewer::http_flv(here.http(), "live/x.flv").await;
    let target = published.next_number() + 20;
    rtmp.until_picture(target).await;
    flv.until_picture(target).await;
    assert_eq!(there.sessions("play", "/live/x").open(), 1, "one pull for all viewers");
    // What nobody has is asked for, and not for long.
    let mut none = http::get(here.http(), "live/none.flv").await;
    let text = none.text().await;
    assert!(none.status == 404 && text.contains("nobody publishes"), "{}: {text}", none.status);
    let outside = http::get(here.http(), "other/x.flv").await;
    assert_eq!(outside.status, 404, "no pattern means it");
    drop(rtmp);
    drop(flv);
    for url in ["/live/x", "/live/none"] {
        until_no_pull(&here, url).await;
    }
    // It comes again when it is wanted again, also by an edge.
    let edge = Cluster::new(BINARY).edge_to(&[here.rtmp().to_string()], 80, "", NO_HLS).start();
    let mut behind = Viewer::http_flv(edge.http(), "live/x.flv").await;
    behind.until_picture(published.next_number() + 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_of_hls_is_one_who_watches() {
    let there = server(NO_HLS).start();
    let published = encoder(&there, "live/x", 0).await;
    let from = format!("http://{}/live/{{stream}}.flv", there.http());
    let config = format!(
        "hls: {{ segment: 500ms, dir: '' }}\nplay: {{ wait: 20s }}\n\
         pull: [{{ stream: live/*, from: {from:?}, when: demand, linger: 500ms }}]\n"
    );
    let here = server(&config).start();
    let watch = async || {
        let playlist = http::get(here.http(), "live/x.m3u8").await.text().await;
        assert!(playlist.contains("#EXTINF"), "{playlist}");
        assert!(!playlist.contains("#EXT-X-ENDLIST"), "{playlist}");
        until_pull(&here, "/live/x", "flowing").await;
    };
    watch().await;
    // Whoever has asked for a playlist watches for half a minute.
    eventually("the pull has ended", 4 * SOON, async || {
        listed(&here, "pulls").await.is_empty().then_some(())
    })
    .await;
    // What was left of the stream is not what the next viewer gets.
    watch().await;
    published.assert_connected();
}
