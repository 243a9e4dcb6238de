//! HTTP-FLV in Chromium, with mpegts.js: streams whose sound is late, silent, or only announced.

use weir_flv::{TagKind, metadata::Metadata};
use weir_testkit::{
    Weir,
    camera::Camera,
    cluster::Cluster,
    eventually,
    fixture::Fixture,
    peer::Player,
    players::{PlayerPage, WebPlayer},
};

use crate::{COLOURS_MIN, TIMEOUT, hear};

const NO_HLS: &str = "hls: { enabled: false }\n";

/// Opens the player, and requires that the picture moves; the player.
async fn watch(weir: &Weir, stream: &str) -> PlayerPage {
    let player =
        PlayerPage::open(WebPlayer::MpegtsJs, &weir.http_url(&format!("{stream}.flv"))).await;
    let video = player.page().wait_playing(1.0, TIMEOUT).await;
    assert!(video.colours >= COLOURS_MIN, "the picture is blank: {video:?}");
    assert_eq!(video.error, None);
    player
}

/// An origin, and an edge that pulls from it as browsers do; and whose ports they have.
fn nodes() -> ([Weir; 2], Cluster) {
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let origin = cluster.origin(1, NO_HLS);
    let edge = cluster.edge(&["127.0.0.1"], "protocol: flv", NO_HLS);
    ([origin, edge], cluster)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_seen_and_heard_from_an_origin_and_from_an_edge() {
    let (nodes, _cluster) = nodes();
    let _camera = Camera::start(&nodes[0].rtmp_url("live/a")).await;
    for weir in &nodes {
        let player = watch(weir, "live/a").await;
        hear(&player).await;
        player.page().wait_playing(2.0, TIMEOUT).await;
        assert_eq!(player.errors().await, [""; 0]);
    }
}

/// The other things that it plays, and over WebSocket.
#[tokio::test(flavor = "multi_thread")]
async fn flv_over_websocket_and_mpeg_ts_are_seen_and_heard() {
    let (nodes, _cluster) = nodes();
    let _camera = Camera::start(&nodes[0].rtmp_url("live/a")).await;
    for weir in &nodes {
        let websocket = weir.http_url("live/a.flv").replace("http://", "ws://");
        for url in [websocket, weir.http_url("live/a.ts")] {
            let player = PlayerPage::open(WebPlayer::MpegtsJs, &url).await;
            let video = player.page().wait_playing(1.0, TIMEOUT).await;
            assert!(video.colours >= COLOURS_MIN, "{url}: the picture is blank: {video:?}");
            hear(&player).await;
            assert_eq!(player.errors().await, [""; 0], "{url}");
        }
    }
}

/// What a browser cannot do: a `MediaSource` takes no track more once it has begun to play.
const LATE_TRACK: &str = "addSourceBuffer";

#[tokio::test(flavor = "multi_thread")]
async fn the_picture_does_not_wait_for_sound_that_is_only_announced() {
    let (nodes, _cluster) = nodes();
    let camera = Camera::of(Fixture::AvcAac, &nodes[0].rtmp_url("live/a"), false).await;
    let mut players = Vec::new();
    for weir in &nodes {
        let player = watch(weir, "live/a").await;
        assert_eq!(player.errors().await, [""; 0]);
        players.push(player);
    }
    camera.speak(true);
    for player in &players {
        let errors = eventually("the sound, or a complaint about it", TIMEOUT, async || {
            let errors = player.errors().await;
            (!errors.is_empty() || player.page().video().await.sound > 0).then_some(errors)
        });
        let errors = errors.await;
        assert!(errors.iter().all(|error| error.contains(LATE_TRACK)), "{errors:?}");
        player.page().wait_playing(3.0, TIMEOUT).await;
        assert_eq!(player.errors().await, errors, "nothing more");
    }
    drop(players);
    for weir in &nodes {
        let player = watch(weir, "live/a").await;
        hear(&player).await;
        assert_eq!(player.errors().await, [""; 0]);
        let metadata = metadata_of(weir, "live/a").await;
        let codec = metadata.properties().get("audiocodecid");
        assert!(codec.is_some(), "metadata tells of the sound that has begun: {metadata:?}");
    }
}

/// The metadata that a viewer gets who comes now.
async fn metadata_of(weir: &Weir, stream: &str) -> Metadata {
    let mut player = Player::http_flv(weir.http(), &format!("{stream}.flv")).await;
    loop {
        let tag = player.next().await.expect("a stream that goes on");
        if let (TagKind::Script, Ok(Some(metadata))) = (tag.kind, Metadata::parse(&tag.body)) {
            return metadata;
        }
    }
}
