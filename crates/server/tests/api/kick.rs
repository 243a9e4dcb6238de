//! Ending connections.

use std::time::Duration;

use tokio::time::timeout;
use weir_testkit::{
    http,
    peer::{Encoder, Numbered, Viewer},
};

use crate::{ADMIN, SOON, call, server, until};

const FRAME: Duration = Duration::from_millis(40);

#[tokio::test(flavor = "multi_thread")]
async fn viewers_and_publishers_are_ended_and_the_log_says_by_whom() {
    let weir = server().start();
    let url = weir.rtmp_url("live/a");
    let encoder = Encoder::start(&url, Numbered::new(10), FRAME).await;
    let mut rtmp = Viewer::rtmp(&url).await;
    // Of HTTP/1.0, whose body ends with the connection: what is cut off is no fault of the framing.
    let mut flv = http::request(weir.http(), b"GET /live/a.flv HTTP/1.0\r\n\r\n").await;
    rtmp.until_picture(12).await;
    let locals = [rtmp.local(), flv.local()];
    let clients = until(&weir, "clients", |answer| answer["total"] == 3).await;
    let id = |kind: &str| {
        let clients = clients["clients"].as_array().expect("a list");
        let client = clients.iter().find(|client| client["type"] == kind);
        client
            .and_then(|client| client["id"].as_str())
            .unwrap_or_else(|| panic!("a {kind}"))
            .to_owned()
    };
    let rtmp = tokio::spawn(async move { rtmp.until_end().await });
    let flv = tokio::spawn(async move { while flv.chunk().await.is_some() {} });
    for (peer, kind) in locals.into_iter().zip(["rtmp-play", "flv-play"]) {
        let path = format!("api/v1/clients/{}", id(kind));
        let answer = call(weir.api(), "DELETE", &path, ADMIN).await;
        assert_eq!((answer.status, answer.json()["code"].as_u64()), (200, Some(0)), "{answer:?}");
        let end = weir.session_end(peer, SOON).await;
        assert_eq!(end, ("policy".to_owned(), "ended by an operator".to_owned()), "{kind}");
        let answer = call(weir.api(), "DELETE", &path, ADMIN).await;
        assert_eq!(
            (answer.status, answer.json()["code"].as_u64()),
            (404, Some(2049)),
            "{answer:?}"
        );
    }
    timeout(SOON, flv).await.expect("its connection ends").expect("it has been read");
    timeout(SOON, rtmp).await.expect("its connection ends").expect("it has been read");

    let path = "api/v1/streams/live%2Fa/publisher";
    let answer = call(weir.api(), "DELETE", path, ADMIN).await;
    assert_eq!(
        (answer.status, &answer.json()["cid"]),
        (200, &id("fmle-publish").into()),
        "{answer:?}"
    );
    let ended =
        weir.wait_session_end(|line| weir_testkit::server::field(line, "role") == "publish", SOON);
    assert_eq!(weir_testkit::server::field(&ended, "reason"), "ended by an operator");
    until(&weir, "streams", |answer| {
        answer["streams"]
            .as_array()
            .is_some_and(|all| all.iter().all(|stream| stream["publish"]["active"] == false))
    })
    .await;
    let answer = call(weir.api(), "DELETE", path, ADMIN).await;
    assert_eq!((answer.status, answer.json()["code"].as_u64()), (404, Some(2048)), "{answer:?}");
    drop(encoder);
}
