//! Publishers with messages in between that nobody can read.

use weir_rtmp::message::type_id;
use weir_testkit::{
    Weir, http,
    peer::{Caller, Numbered, Viewer},
};

use crate::{server, until_status};

/// What muted encoders, cameras with names in GBK and damaged sources send between their frames, and what it counts as.
const ODD: [(&str, u8, &[u8], &str); 6] = [
    ("an empty message", type_id::AUDIO, b"", "empty"),
    ("AAC without a packet type", type_id::AUDIO, b"\xaf", "unreadable"),
    ("H.264 of two bytes", type_id::VIDEO, b"\x17\x01", "unreadable"),
    ("data with a name in GBK", type_id::DATA, b"\x02\x00\x04\xd6\xd0\xce\xc4\x05", "unreadable"),
    (
        "an aggregate that is cut",
        type_id::AGGREGATE,
        b"\x08\x00\x00\xff\x00\x00\x00\x00\x00\x00\x00\xaf\x01",
        "unreadable",
    ),
    (
        "an aggregate of an empty tag",
        type_id::AGGREGATE,
        b"\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0b",
        "empty",
    ),
];

/// Of each: more than any life-time count of a few would let pass.
const COUNT: u64 = 160;

/// "中" in GBK.
const GBK: &[u8] = b"\xd6\xd0";

/// A command with a name as its only argument.
fn command(command: &[u8], name: &[u8]) -> Vec<u8> {
    let string = |text: &[u8]| [&[2, 0, text.len() as u8], text].concat();
    let transaction = [0, 0, 0, 0, 0, 0, 0, 0, 0];
    [&string(command)[..], &transaction, &[5], &string(name)].concat()
}

/// A name is bytes, as in SRS: encoders on Chinese systems send theirs in GBK. Over HTTP they are percent-encoded, as
/// in every URL, and that is what the API calls the stream.
#[tokio::test]
async fn a_name_that_is_no_utf8_is_a_name() {
    let weir = server("");
    let mut caller = Caller::connect(weir.rtmp(), "live").await;
    let stream = caller.create_stream().await;
    caller.send(stream, type_id::COMMAND, 0, &command(b"publish", GBK)).await;
    assert_eq!(caller.status().await, "NetStream.Publish.Start");
    let mut source = Numbered::new(100_000);
    for tag in source.init() {
        caller.send(stream, tag.kind.type_id(), tag.timestamp, &tag.body).await;
    }
    for tag in (0..3).flat_map(|_| source.next_pair()) {
        caller.send(stream, tag.kind.type_id(), tag.timestamp, &tag.body).await;
    }
    until_status(&weir, "/live/%D6%D0", "live").await;
    let mut viewer = Viewer::http_flv(weir.http(), "live/%D6%D0.flv").await;
    viewer.until_picture(1).await;
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/%d6%d0")).await;
    viewer.until_picture(1).await;
    let mut player = Caller::connect(weir.rtmp(), "live").await;
    let stream = player.create_stream().await;
    player.send(stream, type_id::COMMAND, 0, &command(b"play", GBK)).await;
    let mut code = player.status().await;
    if code == "NetStream.Play.Reset" {
        code = player.status().await;
    }
    assert_eq!(code, "NetStream.Play.Start");
}

async fn counted(weir: &Weir, reason: &str) -> u64 {
    let page = http::get(weir.api(), "metrics").await.text().await;
    let series = format!("weir_messages_left_out_total{{reason=\"{reason}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&series)).expect("the series");
    value.parse::<f64>().expect("a number") as u64
}

#[tokio::test]
async fn what_nobody_can_read_is_left_out_and_counted() {
    let weir = server("");
    let mut caller = Caller::connect(weir.rtmp(), "live").await;
    let stream = caller.create_stream().await;
    assert_eq!(caller.publish(stream, "odd").await, "NetStream.Publish.Start");
    let mut source = Numbered::new(100_000);
    for tag in source.init() {
        caller.send(stream, tag.kind.type_id(), tag.timestamp, &tag.body).await;
    }
    for _ in 0..COUNT {
        for tag in source.next_tags() {
            caller.send(stream, tag.kind.type_id(), tag.timestamp, &tag.body).await;
        }
        for (_, kind, body, _) in ODD {
            caller.send(stream, kind, 0, body).await;
        }
    }
    for tag in source.next_tags() {
        caller.send(stream, tag.kind.type_id(), tag.timestamp, &tag.body).await;
    }
    for mut viewer in [
        Viewer::rtmp(&weir.rtmp_url("live/odd")).await,
        Viewer::http_flv(weir.http(), "live/odd.flv").await,
    ] {
        viewer.until_picture(COUNT).await;
        assert_eq!(viewer.numbers().pictures, Some((0, COUNT)), "every picture, and nothing else");
    }
    for reason in ["empty", "unreadable"] {
        let kinds = ODD.iter().filter(|odd| odd.3 == reason).count() as u64;
        assert_eq!(counted(&weir, reason).await, kinds * COUNT, "{reason}");
    }
    let said = weir.log().to_string().matches("message dropped").count();
    assert_eq!(said, 3, "the 1st, the 10th and the 100th");
}
