//! Clients that follow reconnect requests (Enhanced RTMP v2), whatever they do when their server is going to stop.

use bytes::BytesMut;
use weir_flv::amf0::{Object, Value};
use weir_rtmp::{
    chunk::encode_message,
    message::{Command, Control, UserControl, type_id},
};
use weir_testkit::{
    Weir,
    peer::{Caller, Numbered, Publisher},
};

use crate::{SOON, server};

const REQUEST: &str = "NetConnection.Connect.ReconnectRequest";

/// Many, for who is read and answered first is up to the scheduler.
const VIEWERS: usize = 40;

/// One that has announced that it follows reconnect requests.
async fn connect(weir: &Weir) -> Caller {
    let mut caller = Caller::greet(weir.rtmp()).await;
    let mut object = Object::new();
    object.push("app", "live");
    object.push("tcUrl", "rtmp://127.0.0.1/live");
    object.push("capsEx", 1.0);
    caller.call(0, "connect", object.into(), vec![]).await;
    caller.result().await;
    caller
}

/// What a player says when it plays `a`, in one packet: what else it wants comes right behind.
fn wants(stream_id: u32, behind: &[(u8, Vec<u8>)]) -> BytesMut {
    let play = Command::new("play", 0.0, vec!["a".into()]).encode();
    let mut out = BytesMut::new();
    encode_message(&mut out, 3, 0, type_id::COMMAND, stream_id, &play, 128);
    for (type_id, body) in behind {
        let stream_id = if *type_id == type_id::COMMAND { stream_id } else { 0 };
        encode_message(&mut out, 3, 0, *type_id, stream_id, body, 128);
    }
    out
}

fn buffer_length(stream_id: u32) -> (u8, Vec<u8>) {
    Control::User(UserControl::SetBufferLength { stream_id, millis: 3000 }).encode()
}

fn call(name: &str, flag: bool) -> (u8, Vec<u8>) {
    (type_id::COMMAND, Command::new(name, 0.0, vec![flag.into()]).encode())
}

/// A viewer of `a` that has got something of it.
async fn viewer(weir: &Weir, streams: u32, behind: &[(u8, Vec<u8>)]) -> Caller {
    let mut caller = connect(weir).await;
    let mut stream = 0;
    for _ in 0..streams {
        stream = caller.create_stream().await;
    }
    assert!(caller.send_bytes(&wants(stream, behind)).await);
    while caller.status().await != "NetStream.Play.Start" {}
    caller
}

/// Waits until it is asked to connect anew, and leaves.
async fn assert_asked(what: &str, mut caller: Caller) {
    let asked = tokio::time::timeout(SOON, async { while caller.status().await != REQUEST {} });
    asked.await.unwrap_or_else(|_| panic!("{what} is not asked"));
}

#[tokio::test]
async fn everybody_who_follows_reconnect_requests_gets_one_at_a_drain() {
    let weir = server("drain: { notice: 0s, timeout: 40s }\nplay: { wait: 60s }");
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(10)).await;
    publisher.pictures(20).await;
    let mut callers = Vec::new();
    for _ in 0..VIEWERS {
        let viewer = viewer(&weir, 1, &[buffer_length(1)]).await;
        callers.push(("a viewer that says how much it buffers", viewer));
    }
    for (what, streams, behind) in [
        ("a viewer", 1, vec![]),
        ("a viewer without sound", 1, vec![call("receiveAudio", false)]),
        ("a viewer without pictures", 1, vec![buffer_length(1), call("receiveVideo", false)]),
        ("a viewer on another message stream", 2, vec![]),
        ("a viewer that has paused", 1, vec![call("pause", true)]),
    ] {
        callers.push((what, viewer(&weir, streams, &behind).await));
    }
    let mut stopped = viewer(&weir, 1, &[]).await;
    stopped.call(1, "closeStream", Value::Null, vec![]).await;
    callers.push(("one that has stopped to play", stopped));
    let mut waiting = connect(&weir).await;
    let stream = waiting.create_stream().await;
    waiting.call(stream, "play", Value::Null, vec!["nobody".into()]).await;
    callers.push(("one that waits for a stream", waiting));
    callers.push(("one that has asked for nothing", connect(&weir).await));
    let mut encoder = connect(&weir).await;
    let stream = encoder.create_stream().await;
    assert_eq!(encoder.publish(stream, "b").await, "NetStream.Publish.Start");
    callers.push(("an encoder", encoder));

    weir.terminate();
    publisher.stop().await;
    let all = callers.into_iter().map(|(what, caller)| tokio::spawn(assert_asked(what, caller)));
    for asked in all.collect::<Vec<_>>() {
        asked.await.expect("everybody is asked");
    }
}
