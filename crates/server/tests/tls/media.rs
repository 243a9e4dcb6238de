//! Streams through TLS, packet by packet.

use std::{path::Path, time::Duration};

use weir_testkit::{
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    http,
    packets::{Extent, Form, Recording, continuation, read},
    peer::{Caller, Encoder, End, Numbered, Publisher, Viewer},
    raw::Raw,
    server::field,
};

use crate::{Rig, SOON};

/// For the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(60);

const CONFIG: &str =
    "publish: { linger: 0s }\nplay: { wait: 60s }\nhls: { segment: 1s, window: 20 }\n";

#[tokio::test(flavor = "multi_thread")]
async fn both_ffmpegs_publish_and_play_over_tls() {
    let (rig, fixture) = (Rig::start(CONFIG), Fixture::AvcBFramesAac);
    let file = fixture.file().display().to_string();
    for publisher in Ffmpeg::ALL {
        let stream = format!("live/by-{publisher:?}");
        let urls = [rig.rtmps_url(&stream), rig.https_url(&format!("{stream}.flv"))];
        let playlist = rig.https_url(&format!("{stream}.m3u8"));
        let mut publishing =
            publisher.publish_trusting(Path::new(&file), &rig.rtmps_url(&stream), &rig.ca());
        let recordings = Ffmpeg::ALL.map(|player| {
            urls.clone().map(|url| {
                let recording = Recording::start_trusting(player, &url, Form::Carried, &rig.ca());
                (url, recording)
            })
        });
        let (file, ca) = (file.clone(), rig.ca());
        tokio::task::spawn_blocking(move || {
            publishing.wait_success(TIMEOUT);
            for (player, recordings) in Ffmpeg::ALL.into_iter().zip(recordings) {
                let source = read(player, &file, Form::Carried, TIMEOUT);
                for (url, recording) in recordings {
                    let played = recording.finish(TIMEOUT);
                    let same = continuation(&source, &played, Extent::ToEnd, Duration::ZERO);
                    same.unwrap_or_else(|difference| {
                        panic!("{player:?} plays {url}: {difference}")
                    });
                }
                let form = Form::Elementary(fixture);
                let source = read(player, &file, form, TIMEOUT);
                let played =
                    Recording::start_trusting(player, &playlist, form, &ca).finish(TIMEOUT);
                let exact = Duration::from_millis(1);
                let same = continuation(&source, &played, Extent::ToEnd, exact);
                same.unwrap_or_else(|difference| {
                    panic!("{player:?} plays {playlist}: {difference}")
                });
            }
        })
        .await
        .expect("the same packets everywhere");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_comes_once_and_in_order_whatever_its_size() {
    for bytes in [10, 5_000, 60_000, 300_000] {
        let rig = Rig::start("publish: { linger: 0s }\nlimits: { stream_memory: 32MiB }\n");
        let (rtmp, http) = rig.tunnels().await;
        let source = Numbered::new(5).with_picture_bytes(bytes);
        let mut publisher = Publisher::start(&rtmp.rtmp_url("live/a"), source).await;
        publisher.pictures(6).await;
        let mut viewers = [
            Viewer::rtmp(&rtmp.rtmp_url("live/a")).await,
            Viewer::http_flv(http.address(), "live/a.flv").await,
            // Beside them, those without TLS.
            Viewer::rtmp(&rig.weir.rtmp_url("live/a")).await,
            Viewer::http_flv(rig.weir.http(), "live/a.flv").await,
        ];
        let last = publisher.pictures(20).await;
        for viewer in &mut viewers {
            viewer.until_picture(last).await;
        }
        publisher.stop().await;
        for (viewer, is_rtmp) in viewers.iter_mut().zip([true, false, true, false]) {
            let end = viewer.until_end().await;
            assert_eq!(end != End::Closed, is_rtmp, "{end:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_goes_to_its_shard_and_back_as_often_as_it_likes() {
    let rig = Rig::start("");
    let (rtmp, _http) = rig.tunnels().await;
    let source = Numbered::new(5);
    let encoder = Encoder::start(&rtmp.rtmp_url("live/a"), source, Duration::from_millis(20)).await;
    let mut caller = Caller::connect(rtmp.address(), "live").await;
    let mut stream = caller.create_stream().await;
    assert_eq!(caller.play(stream, "a").await, "NetStream.Play.Start");
    for _ in 0..10 {
        caller.media().await;
    }
    // Ends the play on the control side, and begins another one.
    for _ in 0..3 {
        caller
            .call(0, "deleteStream", weir_flv::amf0::Value::Null, vec![f64::from(stream).into()])
            .await;
        stream = caller.create_stream().await;
        assert_eq!(caller.play(stream, "a").await, "NetStream.Play.Start");
        caller.media().await;
    }
    encoder.assert_connected();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_and_lines_say_what_is_spoken() {
    let rig = Rig::start("");
    let (rtmp, http) = rig.tunnels().await;
    let mut publisher = Publisher::start(&rtmp.rtmp_url("live/a"), Numbered::new(5)).await;
    publisher.pictures(6).await;
    let viewer = Viewer::http_flv(http.address(), "live/a.flv").await;
    let kinds = eventually("both are listed", SOON, async || {
        let mut response = http::get(rig.weir.api(), "api/v1/clients").await;
        let answer: serde_json::Value = serde_json::from_str(&response.text().await).expect("JSON");
        let clients = answer["clients"].as_array().cloned().unwrap_or_default();
        let text = |client: &serde_json::Value, key: &str| {
            client[key].as_str().unwrap_or_default().to_owned()
        };
        let mut all: Vec<_> =
            clients.iter().map(|it| (text(it, "type"), text(it, "tls"))).collect();
        all.sort();
        (all.len() == 2).then_some(all)
    })
    .await;
    let both = ["flv-play", "fmle-publish"].map(|kind| (kind.to_owned(), "TLSv1.3".to_owned()));
    assert_eq!(kinds, both);
    drop(viewer);
    publisher.stop().await;
    for protocol in ["rtmps", "http-flv"] {
        let is_it =
            |line: &_| field(line, "protocol") == protocol && field(line, "tls") == "TLSv1.3";
        rig.weir.wait_session_end(is_it, SOON);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_is_told_of_the_end_by_tls_too() {
    let rig = Rig::start("publish: { linger: 0s }\n");
    let mut publisher = Publisher::start(&rig.weir.rtmp_url("live/a"), Numbered::new(5)).await;
    publisher.pictures(6).await;
    let url = rig.https_url("live/a.flv");
    let mut curl = rig.curl(&["--http1.1", "--output", "/dev/null", &url]);
    let playing = tokio::task::spawn_blocking(move || crate::said(&mut curl, true));
    eventually("curl plays", SOON, async || {
        (rig.weir.sessions("play", "/live/a").open() == 1).then_some(())
    })
    .await;
    publisher.stop().await;
    // It complains of a connection that ends without close_notify, and of a body that is cut.
    assert_eq!(playing.await.expect("no panic"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_with_tls_close_with_the_others_when_a_server_stops() {
    let rig = Rig::start("hls: { enabled: false }\ndrain: { notice: 0s, timeout: 20s }\n");
    // Who has just connected is left alone for some seconds.
    let _newcomer = Raw::rtmp(rig.weir.rtmp()).await;
    let ports = [rig.weir.rtmp(), rig.weir.http(), rig.rtmps(), rig.https()];
    rig.weir.terminate();
    for port in ports {
        eventually(&format!("{port} is closed"), SOON, async || {
            tokio::net::TcpStream::connect(port).await.is_err().then_some(())
        })
        .await;
    }
    assert_eq!(http::get(rig.weir.api(), "healthz").await.status, 200, "the server is still there");
}
