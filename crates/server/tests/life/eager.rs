//! Encoders that do not wait for the answer to `publish`.

use bytes::BytesMut;
use weir_rtmp::{
    chunk::encode_message,
    message::{Command, type_id},
};
use weir_testkit::{
    Weir,
    peer::{Caller, Numbered, Publisher, Viewer},
};

use crate::server;

/// The chunk size that connections begin with.
const CHUNK_BYTES: usize = 128;

/// A `publish` of `name` on message stream 1, and right behind it the beginning of `source` on `media_on`.
fn publish_and_media(name: &str, media_on: u32, source: &mut Numbered, pictures: u64) -> Vec<u8> {
    let mut out = BytesMut::new();
    let publish = Command::new("publish", 0.0, vec![name.into(), "live".into()]).encode();
    encode_message(&mut out, 3, 0, type_id::COMMAND, 1, &publish, CHUNK_BYTES);
    let init = source.init();
    let tags = (0..pictures).flat_map(|_| source.next_tags());
    for tag in init.into_iter().chain(tags) {
        let (at, kind) = (tag.timestamp, tag.kind.type_id());
        encode_message(&mut out, 4, at, kind, media_on, &tag.body, CHUNK_BYTES);
    }
    out.to_vec()
}

/// A connection with message stream 1.
async fn caller(weir: &Weir) -> Caller {
    let mut caller = Caller::connect(weir.rtmp(), "live").await;
    assert_eq!(caller.create_stream().await, 1);
    caller
}

/// Requires that a viewer who comes now sees pictures `first` to `newest`.
async fn assert_sees(weir: &Weir, path: &str, first: u64, newest: u64) {
    let mut viewer = Viewer::rtmp(&weir.rtmp_url(path)).await;
    viewer.until_picture(newest).await;
    assert_eq!(viewer.numbers().pictures, Some((first, newest)), "of {path}");
}

#[tokio::test]
async fn media_right_behind_publish_is_used() {
    let weir = server("");
    let mut source = Numbered::new(100);
    let whole = publish_and_media("a", 1, &mut source, 30);
    // In one segment, or in two that part anywhere: in the command, behind it, in the first messages.
    let cuts = [whole.len(), 20, 60, 61, 62, 75, 90, 150, 300, 1000, whole.len() - 1];
    for cut in cuts {
        let mut caller = caller(&weir).await;
        let (first, second) = whole.split_at(cut);
        assert!(caller.send_bytes(first).await && caller.send_bytes(second).await);
        assert_eq!(caller.status().await, "NetStream.Publish.Start", "cut at {cut}");
        assert_sees(&weir, "live/a", 0, 29).await;
        caller.call(1, "deleteStream", 0.0.into(), vec![1.0.into()]).await;
        drop(caller);
        crate::until_status(&weir, "/live/a", "lingering").await;
    }
}

#[tokio::test]
async fn media_on_any_message_stream_is_used() {
    let weir = server("");
    for media_on in [0, 5, 2] {
        let mut caller = caller(&weir).await;
        let name = format!("on{media_on}");
        let whole = publish_and_media(&name, media_on, &mut Numbered::new(100), 30);
        assert!(caller.send_bytes(&whole).await);
        assert_eq!(caller.status().await, "NetStream.Publish.Start");
        assert_sees(&weir, &format!("live/{name}"), 0, 29).await;
    }
}

/// Three seconds until it is decided, and more media than is held.
#[tokio::test]
async fn what_comes_while_a_take_over_is_decided_is_used() {
    let weir = server("");
    let mut silent = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(1000)).await;
    silent.pictures(25).await;
    let mut source = Numbered::new(1000).with_picture_bytes(30_000);
    let whole = publish_and_media("a", 1, &mut source, 120);
    let mut caller = caller(&weir).await;
    // The server reads on when it has decided.
    let sender = async {
        assert!(caller.send_bytes(&whole).await);
        caller.status().await
    };
    assert_eq!(sender.await, "NetStream.Publish.Start");
    silent.wait_end().await;
    assert_sees(&weir, "live/a", 0, 119).await;
}

#[tokio::test]
async fn what_comes_with_a_publish_that_is_refused_disturbs_nobody() {
    let weir = server("publish: { conflict: reject }");
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(1000)).await;
    publisher.pictures(10).await;
    for bytes in [100, 30_000] {
        let mut source = Numbered::new(1000).with_picture_bytes(bytes);
        let whole = publish_and_media("a", 1, &mut source, 20);
        let mut caller = caller(&weir).await;
        assert!(caller.send_bytes(&whole).await);
        assert_eq!(caller.status().await, "NetStream.Publish.BadName");
    }
    let newest = publisher.pictures(10).await;
    assert_sees(&weir, "live/a", 0, newest).await;
}
