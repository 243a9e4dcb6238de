//! Where a stream goes on to, as the back end says.

use weir_testkit::{
    backend::{Backend, Reply},
    eventually, http,
    peer::{Numbered, Publisher, Viewer},
};

use crate::{SOON, encoder, start};

/// What the API says of the targets of `live/a`.
async fn forwards(weir: &weir_testkit::Weir) -> String {
    http::get(weir.api(), "api/v1/streams/live%2Fa").await.text().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_to_where_the_back_end_says() {
    let back_end = Backend::start().await;
    let target = start("");
    // A viewer waits for the stream: it is there once it is forwarded.
    let at = target.rtmp_url("live/SECRET-b");
    let good = format!(r#"{{"code":0,"data":{{"urls":["http://no/SECRET","{at}"]}}}}"#);
    back_end.answers(move |call| match call.said("action") {
        "on_forward" => Reply::Text(200, good.clone()),
        _ => Reply::Text(200, "0".to_owned()),
    });
    let url = back_end.url();
    let weir = start(&format!("hooks: {{ on_publish: {url:?}, on_forward: {url:?} }}\n"));
    let _encoder = encoder(&weir, "live/a").await;
    Viewer::rtmp(&at).await.until_picture(24).await;
    let (asked, published) = (&back_end.of("on_forward")[0], &back_end.of("on_publish")[0]);
    for field in ["client_id", "stream", "param", "tcUrl"] {
        assert_eq!(asked.said(field), published.said(field), "{field}");
    }
    let seen = forwards(&weir).await;
    assert!(seen.contains("sending") && !seen.contains("SECRET"), "{seen}");
    let log = weir.log().all().join("\n");
    assert!(log.contains("hooks.on_forward: the target begins with neither"), "{log}");
    assert!(!log.contains("SECRET"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_forwards_nothing_and_stops_no_publisher() {
    let back_end = Backend::start().await;
    back_end.answers(|call| match call.said("action") {
        "on_forward" => Reply::Text(200, r#"{"code":1}"#.to_owned()),
        _ => Reply::Text(200, "0".to_owned()),
    });
    let url = back_end.url();
    let weir = start(&format!("hooks: {{ on_forward: {url:?} }}\n"));
    let publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::default()).await;
    back_end.until("on_forward", 1).await;
    eventually("the stream is there, with no target", SOON, async || {
        let seen = forwards(&weir).await;
        (seen.contains("live/a") && !seen.contains("sending")).then_some(())
    })
    .await;
    drop(publisher);
}
