//! HTTP-FLV in Chromium, with mpegts.js: streams whose sound is late, silent, or only announced.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};
use weir_flv::{Tag, TagKind, metadata::Metadata};
use weir_media::Content;
use weir_testkit::{
    Weir,
    cluster::Cluster,
    eventually,
    fixture::{DURATION, Fixture},
    mpegts_js::FlvPage,
    packets::{frame_of, tags_of},
    peer::{Player, Publisher},
};

/// For a browser to start and to play, on the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(45);

/// A blank picture has one colour, a test picture many.
const COLOURS_MIN: u64 = 20;

const NO_HLS: &str = "hls: { enabled: false }\n";

/// An encoder of H.264 and AAC in real time, for as long as it is held.
struct Camera {
    speaks: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Camera {
    /// Whether its microphone is on; its configuration is sent at the beginning all the same.
    async fn start(url: &str, speaks: bool) -> Self {
        let mut publisher = Publisher::silent(url).await;
        let tags = tags_of(&Fixture::AvcAac.file());
        let (first, media): (Vec<_>, Vec<_>) = tags.into_iter().partition(|tag| !is_media(tag));
        for tag in &first {
            publisher.send(tag).await;
        }
        let speaks = Arc::new(AtomicBool::new(speaks));
        let task = tokio::spawn(send(publisher, media, Arc::clone(&speaks)));
        Self { speaks, task }
    }

    /// Switches its microphone.
    fn speak(&self, speaks: bool) {
        self.speaks.store(speaks, Ordering::Release);
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_media(tag: &Tag) -> bool {
    matches!(frame_of(tag).content, Content::Video { .. } | Content::Audio(_))
}

async fn send(mut publisher: Publisher, media: Vec<Tag>, speaks: Arc<AtomicBool>) {
    let (start, length) = (Instant::now(), u32::try_from(DURATION.as_millis()).unwrap_or(u32::MAX));
    for round in 0.. {
        for tag in &media {
            let timestamp = round * length + tag.timestamp;
            sleep_until(start + Duration::from_millis(timestamp.into())).await;
            let is_sound = matches!(frame_of(tag).content, Content::Audio(_));
            if !is_sound || speaks.load(Ordering::Acquire) {
                publisher.send(&Tag { timestamp, ..tag.clone() }).await;
            }
        }
    }
}

/// Opens the player, and requires that the picture moves; the player.
async fn watch(weir: &Weir, stream: &str) -> FlvPage {
    let player = FlvPage::open(&weir.http_url(&format!("{stream}.flv"))).await;
    let video = player.page().wait_playing(1.0, TIMEOUT).await;
    assert!(video.colours >= COLOURS_MIN, "the picture is blank: {video:?}");
    assert_eq!(video.error, None);
    player
}

/// Waits until more sound has been decoded than now.
async fn hear(player: &FlvPage) {
    let before = player.page().video().await.sound;
    eventually("sound", TIMEOUT, async || {
        (player.page().video().await.sound > before).then_some(())
    })
    .await;
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
    let _camera = Camera::start(&nodes[0].rtmp_url("live/a"), true).await;
    for weir in &nodes {
        let player = watch(weir, "live/a").await;
        hear(&player).await;
        player.page().wait_playing(2.0, TIMEOUT).await;
        assert_eq!(player.errors().await, [""; 0]);
    }
}

/// What a browser cannot do: a `MediaSource` takes no track more once it has begun to play.
const LATE_TRACK: &str = "addSourceBuffer";

#[tokio::test(flavor = "multi_thread")]
async fn the_picture_does_not_wait_for_sound_that_is_only_announced() {
    let (nodes, _cluster) = nodes();
    let camera = Camera::start(&nodes[0].rtmp_url("live/a"), false).await;
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
