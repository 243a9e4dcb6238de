//! Endless MP4 in Chromium, as a page plays it that has no player: fetched, and appended to a `MediaSource`.

use serde_json::json;
use weir_testkit::{
    Weir,
    camera::Camera,
    cluster::Cluster,
    eventually,
    fixture::Fixture,
    players::{PlayerPage, WebPlayer},
};

use crate::{COLOURS_MIN, TIMEOUT, hear};

const CONFIG: &str = "hls: { enabled: false }\nplay: { flush: video }\n";

const AVC_AAC: &str = "video/mp4; codecs=\"avc1.64000d,mp4a.40.2\"";

async fn watch(weir: &Weir, stream: &str, mime: &str) -> PlayerPage {
    let url = weir.http_url(&format!("{stream}.mp4"));
    let player = PlayerPage::open_with(WebPlayer::Mse, &url, &json!({ "mime": mime })).await;
    let video = player.page().wait_playing(1.0, TIMEOUT).await;
    assert!(video.colours >= COLOURS_MIN, "the picture is blank: {video:?}");
    assert_eq!(video.error, None);
    player
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_mp4_is_seen_and_heard_from_an_origin_and_from_an_edge() {
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let origin = cluster.origin(1, CONFIG);
    let edge = cluster.edge(&["127.0.0.1"], "dead_after: 10s", CONFIG);
    let _camera = Camera::start(&origin.rtmp_url("live/a")).await;
    for weir in [&origin, &edge] {
        let player = watch(weir, "live/a", AVC_AAC).await;
        hear(&player).await;
        player.page().wait_playing(3.0, TIMEOUT).await;
        assert_eq!(player.errors().await, [""; 0]);
    }
}

/// Another encoder with another configuration: the file ends, the page asks again, and the same `MediaSource` takes
/// what comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_goes_on_with_the_next_file_when_the_configuration_changes() {
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir")).config(CONFIG).start();
    let camera = Camera::start(&weir.rtmp_url("live/a")).await;
    let player = watch(&weir, "live/a", AVC_AAC).await;
    let files = async || {
        let events = player.events().await;
        events.iter().filter(|event| event.what == "file").count()
    };
    assert_eq!(files().await, 1);
    drop(camera);
    let _camera = Camera::of(Fixture::AvcBFramesAac, &weir.rtmp_url("live/a"), true).await;
    eventually("the second file", TIMEOUT, async || (files().await == 2).then_some(())).await;
    player.page().wait_playing(3.0, TIMEOUT).await;
    assert_eq!(player.errors().await, [""; 0]);
}
