//! Viewers that are slower than their stream, and streams that are larger than their limit.

use weir_flv::{Tag, amf0::Value};
use weir_testkit::{
    Weir,
    peer::{Caller, Numbered, Piece, Player, Publisher, Viewer},
    raw::Raw,
    server::field,
};

use crate::{SOON, server, stream};

/// The least that can be configured: a few groups of the streams below.
const CONFIG: &str = "limits: { stream_memory: 1MiB }";
const STREAM_BYTES: u64 = 1 << 20;

const PICTURE_BYTES: u64 = 20_000;

/// Pictures in a group.
const GROUP: u64 = 25;

/// Groups that are published while a viewer does not read: several times what the log holds.
const GROUPS: u64 = 10;

/// Pictures that are published before somebody must have seen them.
const BATCH: u64 = 10;

async fn large_stream(weir: &Weir, key_every: u64) -> Publisher {
    let source = Numbered::new(key_every).with_picture_bytes(PICTURE_BYTES as usize);
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), source.without_sound()).await;
    publisher.pictures(1).await;
    publisher
}

/// Lets `viewer` fall behind several times, and catch up each time from another place in a group.
async fn assert_skips_cleanly(weir: &Weir, publisher: &mut Publisher, viewer: Viewer) {
    let mut good = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    let mut viewer = viewer.allowing_skips();
    viewer.until_picture(0).await;
    for round in 0..5 {
        let mut newest = publisher.pictures(round).await;
        for _ in 0..GROUPS * GROUP / BATCH {
            newest = publisher.pictures(BATCH).await;
            good.until_picture(newest).await;
        }
        while viewer.numbers().newest_picture() != Some(newest) {
            let tag = viewer.next().await.expect("the viewer is not disconnected");
            if let Ok(Piece::Picture { number, .. }) = Piece::of(&tag) {
                assert_whole(number, &tag);
            }
        }
        assert!(
            viewer.numbers().skips > round,
            "nothing was skipped in round {round}: {:?}",
            viewer.numbers()
        );
    }
    let peer = viewer.local().to_string();
    drop(viewer);
    let line = weir.wait_session_end(|line| field(line, "peer") == peer.as_str(), SOON);
    // On a machine that is too busy the stream itself may have skipped, which is not the viewer's doing.
    let logged = field(&line, "skips").as_u64();
    assert!(logged.is_some_and(|logged| logged > 0), "the log says {line}");
}

#[tokio::test]
async fn an_rtmp_viewer_that_falls_behind_skips_to_a_key_frame() {
    let weir = server(CONFIG);
    let mut publisher = large_stream(&weir, GROUP).await;
    let raw = Raw::narrow(weir.rtmp()).await;
    let player = Player::rtmp_on(raw, &weir.rtmp_url("live/a")).await;
    assert_skips_cleanly(&weir, &mut publisher, Viewer::new(player)).await;
}

#[tokio::test]
async fn an_http_flv_viewer_that_falls_behind_skips_to_a_key_frame() {
    let weir = server(CONFIG);
    let mut publisher = large_stream(&weir, GROUP).await;
    let raw = Raw::narrow(weir.http()).await;
    let player = Player::http_flv_on(raw, "live/a.flv").await;
    assert_skips_cleanly(&weir, &mut publisher, Viewer::new(player)).await;
}

/// Without sound it is served from the stream's own log, in bytes of its own.
#[tokio::test]
async fn an_rtmp_viewer_without_sound_that_falls_behind_skips_to_a_key_frame() {
    let weir = server(CONFIG);
    let mut publisher = large_stream(&weir, GROUP).await;
    let mut caller = Caller::on(Raw::narrow(weir.rtmp()).await.greet().await);
    caller.connect_to("live").await;
    let stream = caller.create_stream().await;
    assert_eq!(caller.play(stream, "a").await, "NetStream.Play.Start");
    caller.call(stream, "receiveAudio", Value::Null, vec![false.into()]).await;
    caller.call(0, "getStreamLength", Value::Null, vec!["a".into()]).await;
    caller.result().await;
    let mut good = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    let mut newest = 0;
    for _ in 0..GROUPS * GROUP / BATCH {
        newest = publisher.pictures(BATCH).await;
        good.until_picture(newest).await;
    }
    let (mut last, mut configured, mut skips) = (None, false, 0);
    while last != Some(newest) {
        let (_, tag) = caller.media().await;
        match Piece::of(&tag).expect("a message that was published") {
            Piece::VideoConfig => configured = true,
            Piece::Picture { number, key } => {
                assert_whole(number, &tag);
                if last.is_some_and(|last| number != last + 1) {
                    assert!(key && configured, "after picture {last:?} comes {number}");
                    skips += 1;
                }
                (last, configured) = (Some(number), false);
            }
            _ => {}
        }
    }
    assert!(skips > 0, "nothing was skipped up to picture {newest}");
}

fn assert_whole(number: u64, tag: &Tag) {
    let length = tag.body.len() as u64;
    assert!(
        (PICTURE_BYTES..PICTURE_BYTES + 20).contains(&length),
        "picture {number}: {length} bytes"
    );
}

#[tokio::test]
async fn a_stream_without_key_frames_is_bounded() {
    const PICTURES: u64 = 1000;
    const GROWTH_MAX: u64 = 16 << 20;
    let weir = server(CONFIG);
    let mut publisher = large_stream(&weir, PICTURES).await;
    let mut viewers = [
        Viewer::rtmp(&weir.rtmp_url("live/a")).await,
        Viewer::http_flv(weir.http(), "live/a.flv").await,
    ];
    let before = weir.rss_bytes();
    for _ in 0..(PICTURES - BATCH) / BATCH {
        let newest = publisher.pictures(BATCH).await;
        for viewer in &mut viewers {
            viewer.until_picture(newest).await;
        }
        let known = stream(&weir, "/live/a").await.expect("the stream is there");
        let held = known["log_bytes"].as_u64().expect("log_bytes is a number");
        assert!(held <= STREAM_BYTES, "the log holds {held} bytes after picture {newest}");
    }
    let grown = weir.rss_bytes().saturating_sub(before);
    assert!(
        grown < GROWTH_MAX,
        "{} bytes were published, and memory grew by {grown}",
        PICTURES * PICTURE_BYTES
    );

    // There is nothing to start with: late viewers wait for the next key frame, which is the thousandth picture.
    let url = weir.rtmp_url("live/a");
    let late =
        async { tokio::join!(Viewer::rtmp(&url), Viewer::http_flv(weir.http(), "live/a.flv")) };
    let publishing = async {
        // Two connections more: the late viewers are there.
        while clients(&weir).await < 5 {
            tokio::time::sleep(crate::POLL).await;
        }
        publisher.pictures(20).await
    };
    let ((rtmp, flv), newest) = tokio::join!(late, publishing);
    for mut viewer in [rtmp, flv] {
        viewer.until_picture(newest).await;
        assert_eq!(viewer.numbers().pictures, Some((PICTURES, newest)));
    }
    for viewer in &mut viewers {
        viewer.until_picture(newest).await;
        assert_eq!(
            viewer.numbers().pictures,
            Some((0, newest)),
            "who was there before missed nothing"
        );
    }
}

/// Connections of publishers and viewers.
async fn clients(weir: &Weir) -> u64 {
    let text = weir_testkit::http::get(weir.api(), "api/v1/summaries").await.text().await;
    let answer: serde_json::Value = serde_json::from_str(&text).expect("the API answers with JSON");
    answer["data"]["clients"].as_u64().expect("the API counts clients")
}
