//! Viewers of a stream that is not there yet, or never.

use std::time::{Duration, Instant};

use weir_testkit::{
    http,
    peer::{Caller, Numbered, Publisher, Viewer},
};

use crate::{server, until_status};

/// The least that waiting takes, where a stream is waited for.
const WAIT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn viewers_may_come_before_the_publisher() {
    let weir = server("");
    let url = weir.rtmp_url("live/a");
    let viewers =
        async { tokio::join!(Viewer::rtmp(&url), Viewer::http_flv(weir.http(), "live/a.flv")) };
    let publishing = async {
        until_status(&weir, "/live/a", "waiting").await;
        let mut publisher = Publisher::start(&url, Numbered::default()).await;
        publisher.pictures(20).await;
        publisher
    };
    let ((mut rtmp, mut flv), mut publisher) = tokio::join!(viewers, publishing);
    for viewer in [&mut rtmp, &mut flv] {
        viewer.until_picture(19).await;
    }
    let newest = publisher.pictures(20).await;
    for viewer in [&mut rtmp, &mut flv] {
        viewer.until_picture(newest).await;
        assert_eq!(viewer.numbers().pictures, Some((0, newest)), "{viewer:?}");
        assert_eq!(viewer.numbers().sounds.map(|(first, _)| first), Some(0), "{viewer:?}");
    }
}

#[tokio::test]
async fn a_stream_that_does_not_come_is_not_found_after_a_while() {
    let weir = server("play: { wait: 500ms }");
    let start = Instant::now();
    let url = weir.rtmp_url("live/nothing");
    let (rtmp, response) =
        tokio::join!(Viewer::try_rtmp(&url), http::get(weir.http(), "live/nothing.flv"));
    assert_eq!(rtmp.unwrap_err().code, "NetStream.Play.StreamNotFound");
    assert_eq!(response.status, 404);
    assert!(start.elapsed() >= WAIT, "nobody waited: {:?}", start.elapsed());
}

#[tokio::test]
async fn without_a_wait_the_answer_comes_at_once() {
    // The wait of everybody else would be too long for this test.
    let weir = server("play: { wait: 1h }\nvhosts: { hasty: { play: { wait: 0s } } }");
    let refused = Viewer::try_rtmp(&weir.rtmp_url("live/nothing?vhost=hasty")).await.unwrap_err();
    assert_eq!(refused.code, "NetStream.Play.StreamNotFound");
    assert!(refused.description.contains("nobody publishes"), "{refused:?}");
    let mut response = http::get(weir.http(), "live/nothing.flv?vhost=hasty").await;
    assert_eq!(response.status, 404);
    let text = response.text().await;
    assert!(text.contains("nobody publishes hasty/live/nothing"), "{text}");

    // A stream that is there is found.
    let mut publisher =
        Publisher::start(&weir.rtmp_url("live/a?vhost=hasty"), Numbered::default()).await;
    publisher.pictures(1).await;
    Viewer::rtmp(&weir.rtmp_url("live/a?vhost=hasty")).await.until_picture(0).await;
    Viewer::http_flv(weir.http(), "live/a.flv?vhost=hasty").await.until_picture(0).await;
}

/// The connection of a viewer that was refused can be used again.
#[tokio::test]
async fn who_was_refused_may_ask_again() {
    let weir = server("play: { wait: 0s }");
    let mut caller = Caller::connect(weir.rtmp(), "live").await;
    let stream = caller.create_stream().await;
    for _ in 0..3 {
        assert_eq!(caller.play(stream, "a").await, "NetStream.Play.StreamNotFound");
    }
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::default()).await;
    publisher.pictures(1).await;
    assert_eq!(caller.play(stream, "a").await, "NetStream.Play.Start");
    caller.media().await;
}

/// A viewer that gives up while it waits leaves nothing behind.
#[tokio::test]
async fn viewers_that_give_up_are_forgotten() {
    let weir = server("play: { wait: 1h }");
    let mut caller = Caller::connect(weir.rtmp(), "live").await;
    let stream = caller.create_stream().await;
    caller.call(stream, "play", weir_flv::amf0::Value::Null, vec!["a".into()]).await;
    until_status(&weir, "/live/a", "waiting").await;
    drop(caller);
    let gone = async {
        while crate::stream(&weir, "/live/a").await.is_some() {
            tokio::time::sleep(crate::POLL).await;
        }
    };
    tokio::time::timeout(crate::SOON, gone)
        .await
        .expect("the stream that nobody wants any more goes");
}
