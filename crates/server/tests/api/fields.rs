//! What is answered is true.

use std::time::Duration;

use weir_testkit::{
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    peer::{Encoder, Numbered, Viewer},
};

use crate::{read, server, until};

/// A picture each, as a stream of 25 a second has them.
pub const FRAME: Duration = Duration::from_millis(40);

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_and_its_clients_are_described_truthfully() {
    let weir = server().start();
    let url = weir.rtmp_url("live/a");
    let encoder = Encoder::start(&url, Numbered::new(25).with_picture_bytes(5000), FRAME).await;
    let mut rtmp = Viewer::rtmp(&url).await;
    let mut flv = Viewer::http_flv(weir.http(), "live/a.flv").await;
    rtmp.until_picture(25).await;
    flv.until_picture(25).await;
    // They read on, whatever is asked meanwhile.
    let viewers = [rtmp, flv]
        .map(|mut viewer| tokio::spawn(async move { while viewer.next().await.is_some() {} }));

    let answer = until(&weir, "streams", |answer| answer["streams"][0]["clients"] == 3).await;
    assert_eq!(answer["total"], 1);
    let stream = &answer["streams"][0];
    assert_eq!(
        (&stream["name"], &stream["app"], &stream["url"]),
        (&"a".into(), &"live".into(), &"/live/a".into())
    );
    assert_eq!(stream["publish"]["active"], true);
    assert!(stream["tcUrl"].as_str().is_some_and(|url| url.starts_with("rtmp://")), "{stream}");
    assert_eq!(
        (&stream["video"]["codec"], &stream["audio"]["codec"]),
        (&"H264".into(), &"AAC".into())
    );
    assert!(
        stream["video_frames"].as_u64() >= Some(25) && stream["audio_frames"].as_u64() >= Some(25),
        "{stream}"
    );
    assert!(stream["recv_bytes"].as_u64() >= Some(25 * 5000), "{stream}");

    let id = stream["id"].as_str().expect("an id");
    for name in [id, "live%2Fa", "%2Flive%2Fa", "__defaultVhost__%2Flive%2Fa"] {
        assert_eq!(read(&weir, &format!("streams/{name}")).await["stream"]["id"], id, "{name}");
    }

    // The figures of viewers are a second old.
    let is_told = |answer: &serde_json::Value| {
        let clients = answer["clients"].as_array().expect("a list");
        clients.iter().all(|client| {
            client["publish"] == true || client["send_bytes"].as_u64() > Some(20 * 5000)
        })
    };
    let clients = until(&weir, "clients/?count=100", is_told).await;
    let clients = clients["clients"].as_array().expect("a list");
    let kinds: Vec<_> =
        clients.iter().map(|client| client["type"].as_str().unwrap_or_default()).collect();
    assert_eq!(kinds, ["fmle-publish", "rtmp-play", "flv-play"]);
    assert!(
        clients.iter().all(|client| client["stream"] == id && client["ip"] == "127.0.0.1"),
        "{clients:?}"
    );
    assert_eq!(clients[0]["id"], stream["publish"]["cid"]);
    assert!(clients[1]["alive"].as_f64() > Some(0.0));
    let sent = until(&weir, "streams", |answer| {
        answer["streams"][0]["send_bytes"].as_u64() > Some(40 * 5000)
    })
    .await;
    let before = sent["streams"][0]["send_bytes"].as_u64();

    let page = read(&weir, "clients?start=1&count=1").await;
    assert_eq!(
        (page["total"].as_u64(), page["clients"].as_array().map(Vec::len)),
        (Some(3), Some(1))
    );
    assert_eq!(page["clients"][0]["type"], "rtmp-play");

    // A stream of 5 kB a picture is one of 1 Mb/s, once two notes have been taken.
    let kbps = |answer: &serde_json::Value| {
        let rate = |kind: &str| answer["streams"][0]["kbps"][kind].as_u64().unwrap_or(0);
        (500..2000).contains(&rate("recv_30s")) && (1000..4000).contains(&rate("send_30s"))
    };
    until(&weir, "streams", kbps).await;

    let vhosts = read(&weir, "vhosts").await;
    let vhost = &vhosts["vhosts"][0];
    assert_eq!((&vhost["id"], vhost["streams"].as_u64()), (&stream["vhost"], Some(1)));
    assert_eq!(vhost["hls"]["enabled"], false);

    let summary = read(&weir, "summaries").await;
    let data = &summary["data"];
    assert_eq!(data["self"]["pid"].as_u64(), Some(u64::from(weir.pid())));
    assert_eq!(
        (data["streams"].as_u64(), data["viewers"].as_u64(), &data["phase"]),
        (Some(1), Some(2), &"serving".into())
    );
    assert!(
        data["self"]["mem_kbyte"].as_u64() > Some(1000)
            && data["system"]["cpus"].as_u64() > Some(0),
        "{data}"
    );

    // What the viewers were sent is not forgotten when they go.
    viewers.iter().for_each(|viewer| viewer.abort());
    let gone = until(&weir, "streams", |answer| answer["streams"][0]["clients"] == 1).await;
    assert!(gone["streams"][0]["send_bytes"].as_u64() >= before, "{gone:#}");
    drop(encoder);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_encoders_pictures_and_sound_are_described() {
    let weir = server().start();
    let fixture = Fixture::AvcAac;
    let _encoder = Ffmpeg::System.publish(&fixture.file(), &weir.rtmp_url("live/a"));
    let answer =
        until(&weir, "streams", |answer| answer["streams"][0]["video"]["width"].is_u64()).await;
    let stream = &answer["streams"][0];
    assert!(
        stream["video"]["profile"].is_string() && stream["video"]["level"].is_string(),
        "{stream}"
    );
    assert!(stream["audio"]["sample_rate"].as_u64() >= Some(8000), "{stream}");
    assert_eq!(stream["audio"]["profile"], "LC", "{stream}");
}
