//! Two publishers of one stream: `publish.conflict`.

use std::time::{Duration, Instant};

use weir_flv::TagKind;
use weir_testkit::{
    Weir,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    peer::{Numbered, PICTURE_MILLIS, Piece, Player, Publisher, Refused, Viewer},
};

use crate::{SOON, assert_ended, server};

/// How long a publisher must be silent to be taken for dead.
const SILENT: Duration = Duration::from_secs(3);

const TAKEN_OVER: &str = "another publisher took over the stream";

/// A stream that has published its first group, up to picture 24.
async fn first(weir: &Weir) -> Publisher {
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(25)).await;
    publisher.pictures(25).await;
    publisher
}

/// Another one that goes on with its numbers.
async fn second(weir: &Weir, first: &Publisher) -> Result<Publisher, Refused> {
    Publisher::try_start(&weir.rtmp_url("live/a"), first.source()).await
}

/// Requires that `publisher` goes on and that a viewer sees it.
async fn assert_publishes(weir: &Weir, mut publisher: Publisher) {
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    let newest = publisher.pictures(30).await;
    viewer.until_picture(newest).await;
}

fn assert_bad_name(second: Result<Publisher, Refused>) {
    let refused = second.expect_err("the stream has a publisher");
    assert_eq!(refused.code, "NetStream.Publish.BadName", "{refused:?}");
    assert!(refused.description.contains("is already being published"), "{refused:?}");
}

#[tokio::test]
async fn reject_keeps_the_publisher_that_is_there() {
    let weir = server("publish: { conflict: reject }");
    let publisher = first(&weir).await;
    assert_bad_name(second(&weir, &publisher).await);
    assert_publishes(&weir, publisher).await;
}

#[tokio::test]
async fn takeover_replaces_the_publisher_that_is_there() {
    let weir = server("publish: { conflict: takeover }");
    let publisher = first(&weir).await;
    let url = weir.rtmp_url("live/a");
    let mut viewers = [Viewer::rtmp(&url).await, Viewer::http_flv(weir.http(), "live/a.flv").await];
    let mut replacement = second(&weir, &publisher).await.expect("the newcomer wins");
    let local = publisher.local();
    publisher.wait_end().await;
    assert_ended(&weir, local, "policy", TAKEN_OVER).await;
    let newest = replacement.pictures(50).await;
    for viewer in &mut viewers {
        viewer.until_picture(newest).await;
        assert_eq!(viewer.numbers().pictures, Some((0, newest)), "viewers see both, and no gap");
    }
}

#[tokio::test]
async fn a_live_publisher_is_not_replaced() {
    let weir = server("");
    let mut publisher = first(&weir).await;
    let source = publisher.source();
    let url = weir.rtmp_url("live/a");
    let start = Instant::now();
    let live = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(PICTURE_MILLIS.into()));
        loop {
            ticks.tick().await;
            publisher.pictures(1).await;
        }
    };
    let newcomer = tokio::select! {
        () = live => return,
        newcomer = Publisher::try_start(&url, source) => newcomer,
    };
    assert_bad_name(newcomer);
    assert!(start.elapsed() < SILENT, "the next frame decides: {:?}", start.elapsed());
    assert_publishes(&weir, publisher).await;
}

#[tokio::test]
async fn a_silent_publisher_is_replaced() {
    let weir = server("");
    let publisher = first(&weir).await;
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    viewer.until_picture(24).await;
    let start = Instant::now();
    let mut replacement = second(&weir, &publisher).await.expect("the first one is silent");
    let waited = start.elapsed();
    assert!(waited > SILENT / 2, "it was heard a moment ago, and lost its stream after {waited:?}");
    assert_ended(&weir, publisher.local(), "policy", TAKEN_OVER).await;
    let newest = replacement.pictures(25).await;
    viewer.until_picture(newest).await;
    assert_eq!(viewer.numbers().pictures, Some((0, newest)));
}

/// An encoder whose machine hangs: its connection is open, and it says nothing.
#[tokio::test]
async fn a_half_dead_encoder_is_replaced() {
    let file = Fixture::VideoOnly.file();
    let weir = server("");
    let url = weir.rtmp_url("live/a");
    let mut encoder = Ffmpeg::System.publish_with(&["-stream_loop", "-1"], &file, &url);
    let mut player = Player::rtmp(&url).await;
    player.next().await.expect("FFmpeg publishes");
    encoder.signal("STOP");
    let mut replacement = Publisher::start(&url, Numbered::default().without_sound()).await;
    encoder.signal("CONT");
    encoder.wait(SOON);
    weir.wait_session_end(
        |line| {
            weir_testkit::server::field(line, "reason")
                .as_str()
                .is_some_and(|reason| reason.contains(TAKEN_OVER))
        },
        SOON,
    );
    let newest = replacement.pictures(50).await;
    let mut last = 0;
    loop {
        let tag = player.next().await.expect("the viewer stays");
        // Script data has no time of its own.
        if tag.kind != TagKind::Script {
            assert!(
                tag.timestamp >= last,
                "time runs backwards from {last} to {} ms",
                tag.timestamp
            );
            last = tag.timestamp;
        }
        if Piece::of(&tag) == Ok(Piece::Picture { number: newest, key: false }) {
            break;
        }
    }
}
