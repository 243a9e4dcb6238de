//! Publishers that leave, and return or do not.

use std::time::Duration;

use weir_flv::{Tag, TagKind};
use weir_testkit::{
    Weir,
    peer::{Caller, End, Numbered, PICTURE_MILLIS, Piece, Publisher, Viewer},
};

use crate::{assert_ended, server, until_status};

/// Another picture size: High profile, 640x360.
const OTHER_AVCC: &[u8] = &[
    0x01, 0x64, 0x00, 0x1e, 0xff, 0xe1, 0x00, 0x19, 0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0,
    0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x16,
    0x2d, 0x96, 0x01, 0x00, 0x04, 0x68, 0xeb, 0xe3, 0xcb,
];

/// AAC-LC, 48 kHz, two channels.
const OTHER_ASC: &[u8] = &[0x11, 0x90];

/// Pictures in a group.
const GROUP: u64 = 25;

/// A stream with a viewer over RTMP and one over HTTP-FLV, who have seen its first group, up to picture 24.
async fn watched(weir: &Weir) -> (Publisher, [Viewer; 2]) {
    let url = weir.rtmp_url("live/a");
    let mut publisher = Publisher::start(&url, Numbered::new(GROUP)).await;
    publisher.pictures(1).await;
    let mut viewers = [Viewer::rtmp(&url).await, Viewer::http_flv(weir.http(), "live/a.flv").await];
    let newest = publisher.pictures(GROUP - 1).await;
    for viewer in &mut viewers {
        viewer.until_picture(newest).await;
    }
    (publisher, viewers)
}

/// Plays up to picture `number`; the messages on the way.
async fn up_to_picture(viewer: &mut Viewer, number: u64) -> Vec<Tag> {
    let mut tags = Vec::new();
    while viewer.numbers().newest_picture() != Some(number) {
        let next = viewer.next().await;
        tags.push(
            next.unwrap_or_else(|| panic!("disconnected before picture {number}: {viewer:?}")),
        );
    }
    tags
}

/// What the messages between the old and the new publisher's pictures are.
fn pieces(tags: &[Tag]) -> Vec<(TagKind, Piece)> {
    let pieces =
        tags.iter().map(|tag| (tag.kind, Piece::of(tag).expect("a message that was published")));
    // The last packet of sound of the publisher before comes without a later picture to carry it.
    pieces.filter(|(_, piece)| *piece != Piece::Sound { number: GROUP - 1 }).collect()
}

const NEW_KEY: (TagKind, Piece) = (TagKind::Video, Piece::Picture { number: GROUP, key: true });

#[tokio::test]
async fn viewers_stay_while_a_publisher_returns_with_another_configuration() {
    for clean in [true, false] {
        let weir = server("");
        let (publisher, mut viewers) = watched(&weir).await;
        let source = publisher.source().with_avcc(OTHER_AVCC).with_asc(OTHER_ASC);
        match clean {
            true => publisher.stop().await,
            false => drop(publisher),
        }
        until_status(&weir, "/live/a", "lingering").await;
        let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), source).await;
        let newest = publisher.pictures(2 * GROUP).await;
        for viewer in &mut viewers {
            let tags = up_to_picture(viewer, GROUP).await;
            assert_eq!(
                pieces(&tags),
                [
                    (TagKind::Script, Piece::OtherInit),
                    (TagKind::Video, Piece::VideoConfig),
                    (TagKind::Audio, Piece::OtherInit),
                    NEW_KEY
                ],
                "the new metadata and configuration come before the first picture, once"
            );
            let bodies: Vec<_> = tags.iter().map(|tag| &tag.body[..]).collect();
            assert!(
                bodies.iter().any(|body| body.ends_with(OTHER_AVCC)),
                "the new avcC: {bodies:?}"
            );
            assert!(bodies.iter().any(|body| body.ends_with(OTHER_ASC)), "the new ASC: {bodies:?}");
            viewer.until_picture(newest).await;
            assert_eq!(
                viewer.numbers().pictures,
                Some((0, newest)),
                "every picture of both publishers"
            );
        }
        let mut late = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
        late.until_picture(newest).await;
        let first = late.numbers().pictures.map(|(first, _)| first);
        assert!(first >= Some(GROUP), "a late viewer begins with the new publisher: {late:?}");
    }
}

#[tokio::test]
async fn viewers_stay_while_a_publisher_returns_without_sound() {
    let weir = server("");
    let (publisher, mut viewers) = watched(&weir).await;
    let source = publisher.source().without_sound();
    publisher.stop().await;
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), source).await;
    let newest = publisher.pictures(2 * GROUP).await;
    for viewer in &mut viewers {
        let tags = up_to_picture(viewer, GROUP).await;
        let expected =
            [(TagKind::Script, Piece::OtherInit), (TagKind::Video, Piece::VideoConfig), NEW_KEY];
        assert_eq!(pieces(&tags), expected);
        viewer.until_picture(newest).await;
        assert_eq!(viewer.numbers().sounds, Some((0, GROUP - 1)));
    }
    // Who comes now is not told of sound.
    let mut late = Viewer::http_flv(weir.http(), "live/a.flv").await;
    late.until_picture(newest).await;
    let header = late.flv_header().expect("an FLV file begins with a header");
    assert!(header.has_video && !header.has_audio, "{header:?}");
    assert_eq!(late.numbers().sounds, None);
}

/// The pause between two publishers is on the timeline too: players that keep a clock stay in step with the live edge.
#[tokio::test]
async fn time_goes_on_by_the_clock_between_publishers() {
    let weir = server("");
    let (publisher, [mut viewer, _]) = watched(&weir).await;
    let source = publisher.source().starting_at(77_000_000);
    publisher.stop().await;
    until_status(&weir, "/live/a", "lingering").await;
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), source).await;
    publisher.pictures(2).await;
    let first = up_to_picture(&mut viewer, GROUP).await.pop().expect("a picture").timestamp;
    let second = up_to_picture(&mut viewer, GROUP + 1).await.pop().expect("a picture").timestamp;
    let before = (GROUP as u32 - 1) * PICTURE_MILLIS;
    assert!((before + 1..before + 20_000).contains(&first), "after {before} ms comes {first} ms");
    assert_eq!(second - first, PICTURE_MILLIS);
}

#[tokio::test]
async fn when_the_linger_is_over_viewers_are_told() {
    for linger in ["0s", "500ms"] {
        let weir = server(&format!("publish: {{ linger: {linger} }}"));
        let (publisher, [mut rtmp, mut flv]) = watched(&weir).await;
        publisher.stop().await;
        assert_eq!(
            rtmp.until_end().await,
            End::Status("NetStream.Play.UnpublishNotify".to_owned())
        );
        // The response's reader requires that the chunked body ends as it should.
        assert_eq!(flv.until_end().await, End::Closed);
        for viewer in [&rtmp, &flv] {
            let numbers = (viewer.numbers().pictures, viewer.numbers().sounds);
            assert_eq!(
                numbers,
                (Some((0, GROUP - 1)), Some((0, GROUP - 1))),
                "everything before the end"
            );
        }
        assert_ended(&weir, flv.local(), "upstream", "the stream ended").await;
    }
}

/// What an RTMP viewer is told is not the end of its connection: it may play the stream when that is back.
#[tokio::test]
async fn an_rtmp_viewer_may_play_again_after_the_end() {
    let weir = server("publish: { linger: 0s }");
    let url = weir.rtmp_url("live/a");
    let mut caller = Caller::connect(weir.rtmp(), "live").await;
    let stream = caller.create_stream().await;
    for _ in 0..2 {
        let mut publisher = Publisher::start(&url, Numbered::default()).await;
        publisher.pictures(1).await;
        assert_eq!(caller.play(stream, "a").await, "NetStream.Play.Start");
        caller.media().await;
        publisher.stop().await;
        assert_eq!(caller.status().await, "NetStream.Play.UnpublishNotify");
        assert_eq!(caller.status().await, "NetStream.Play.Stop");
    }
}

#[tokio::test]
async fn a_publisher_that_sends_nothing_is_cut() {
    let weir = server("publish: { idle_timeout: 1s, linger: 0s }");
    let (publisher, [mut viewer, _]) = watched(&weir).await;
    let local = publisher.local();
    assert_eq!(publisher.wait_end().await, None, "there is no status for it");
    assert_ended(&weir, local, "policy", "sent nothing for 1s (publish.idle_timeout)").await;
    assert_eq!(viewer.until_end().await, End::Status("NetStream.Play.UnpublishNotify".to_owned()));
}

/// Ends and returns many times over within one linger.
#[tokio::test]
async fn viewers_stay_through_many_returns() {
    const RETURNS: u64 = 20;
    let weir = server("publish: { linger: 10s }");
    let (mut publisher, mut viewers) = watched(&weir).await;
    for _ in 0..RETURNS {
        let source = publisher.source();
        publisher.stop().await;
        publisher = tokio::time::timeout(
            Duration::from_secs(10),
            Publisher::start(&weir.rtmp_url("live/a"), source),
        )
        .await
        .expect("a stream whose publisher has left can be published");
        publisher.pictures(GROUP).await;
    }
    let newest = (RETURNS + 1) * GROUP - 1;
    for viewer in &mut viewers {
        viewer.until_picture(newest).await;
        assert_eq!(viewer.numbers().pictures, Some((0, newest)));
    }
}
