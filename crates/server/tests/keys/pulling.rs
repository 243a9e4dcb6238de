//! What comes from elsewhere, and what is shown while a publisher is away.

use bytes::BytesMut;
use weir_flv::file::{Header, write_tag};
use weir_testkit::{
    Weir, eventually, http,
    peer::{Numbered, Viewer},
};

use super::{encoder, reload, server};

/// A file of a second, in the folder of `weir`.
fn file(weir: &Weir) -> String {
    let mut source = Numbered::new(5);
    let mut tags = source.init();
    for _ in 0..25 {
        tags.extend(source.next_tags());
    }
    let mut bytes = BytesMut::from(&Header { has_audio: true, has_video: true }.encode()[..]);
    tags.iter().for_each(|tag| write_tag(&mut bytes, tag.kind, tag.timestamp, &tag.body));
    let path = weir.dir().join("file.flv");
    std::fs::write(&path, &bytes).expect("written");
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
pub async fn pulls() {
    let mut weir = server().config("hls: { enabled: false }\nplay: { wait: 0s }\n").start();
    let from = format!("file:{}", file(&weir));
    assert_eq!(http::get(weir.http(), "live/a.flv").await.status, 404);
    reload(
        &mut weir,
        &format!("play: {{ wait: 20s }}\npull: [{{ stream: live/a, from: {from:?} }}]\n"),
    )
    .await;
    let mut viewer = Viewer::http_flv(weir.http(), "live/a.flv").await;
    assert!(viewer.next().await.is_some());
    reload(&mut weir, "publish: { linger: 0s }\nplay: { wait: 0s }\n").await;
    // It has been of another configuration until now, and its stream ends with it.
    eventually("the stream has ended", super::SOON, async || {
        (http::get(weir.http(), "live/a.flv").await.status == 404).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn fallback() {
    let mut weir = server().config("hls: { enabled: false }\n").start();
    let fallback = format!("publish: {{ fallback: {:?}, linger: 60s }}\n", file(&weir));
    let published = encoder(&weir, "live/a").await;
    let mut viewer = Viewer::http_flv(weir.http(), "live/a.flv").await;
    viewer.until_picture(published.next_number() + 3).await;
    reload(&mut weir, &fallback).await;
    drop(published);
    eventually("the file is shown", super::SOON, async || {
        let text = http::get(weir.api(), "api/v1/streams").await.text().await;
        text.contains("fallback ").then_some(())
    })
    .await;
}
