//! Streams that are called as segments of other streams are.

use std::fs;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::block_in_place,
};
use weir_testkit::{
    Weir,
    camera::Camera,
    cluster::Cluster,
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    http,
    packets::{Extent, Form, continuation, read, tags_of},
    peer::Publisher,
    raw::Raw,
};

use crate::{CONFIG, SOON, TIMEOUT, fetch, start};

const HLS: &str = "hls: { segment: 500ms }\npublish: { linger: 0s }\n";

fn origin() -> Weir {
    Weir::builder(env!("CARGO_BIN_EXE_weir")).config(HLS).start()
}

/// The status of an answer, whether it has an end that is known, and whether something came.
async fn asked(weir: &Weir, path: &str) -> (u16, bool, bool) {
    let mut answer = http::get(weir.http(), path).await;
    let has_end = answer.header("content-length").is_some();
    (answer.status, has_end, answer.chunk().await.is_some_and(|bytes| !bytes.is_empty()))
}

const STREAM: (u16, bool, bool) = (200, false, true);
const SEGMENT: (u16, bool, bool) = (200, true, true);
const NOTHING: (u16, bool, bool) = (404, true, true);

/// The first segment that a playlist names.
async fn segment(weir: &Weir, playlist: &str) -> String {
    eventually("a playlist", TIMEOUT, async || {
        let mut answer = http::get(weir.http(), playlist).await;
        let text = answer.text().await;
        text.lines().find(|line| line.ends_with(".ts")).map(|name| format!("live/{name}"))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_called_like_a_segment_is_served() {
    let weir = origin();
    let _cam = Camera::start(&weir.rtmp_url("live/cam")).await;
    let tags = tags_of(&Fixture::AvcAac.file());
    let publish = async {
        let mut publisher = Publisher::silent(&weir.rtmp_url("live/cam-7-8")).await;
        let (begin, rest) = tags.split_at(20);
        for tag in begin {
            publisher.send(tag).await;
        }
        eventually("a viewer", TIMEOUT, async || {
            (weir.sessions("play", "/live/cam-7-8").began > 0).then_some(())
        })
        .await;
        for tag in rest {
            publisher.send(tag).await;
        }
        publisher.stop().await;
    };
    let play = async {
        eventually("a publisher", TIMEOUT, async || {
            (weir.sessions("publish", "/live/cam-7-8").began > 0).then_some(())
        })
        .await;
        fetch(&weir, "live/cam-7-8.ts").await
    };
    let ((), bytes) = tokio::join!(publish, play);
    block_in_place(|| {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("played.ts");
        fs::write(&file, &bytes).expect("a temporary folder can be written to");
        let form = Form::Elementary(Fixture::AvcAac);
        let [source, played] = [&Fixture::AvcAac.file(), &file]
            .map(|file| read(Ffmpeg::Nine, &file.display().to_string(), form, TIMEOUT));
        continuation(&source, &played, Extent::ToEnd, crate::packets::TOLERANCE)
            .unwrap_or_else(|why| panic!("{why}"));
    });
    // What no stream is called is a segment, and there is none of that name.
    assert_eq!(asked(&weir, "live/cam-7.ts").await, NOTHING);
    let segment = segment(&weir, "live/cam.m3u8").await;
    assert_eq!(asked(&weir, &segment).await, SEGMENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_on_a_connection_with_other_requests_before() {
    let weir = origin();
    let _cam = Camera::start(&weir.rtmp_url("live/cam-7")).await;
    let mut connection = Raw::connect(weir.http()).await.into_inner();
    let two =
        "GET /live/a.key HTTP/1.1\r\nHost: h\r\n\r\nGET /live/cam-7.ts HTTP/1.1\r\nHost: h\r\n\r\n";
    connection.write_all(two.as_bytes()).await.expect("it is taken");
    let (mut answer, wanted) = (Vec::new(), b"content-type: video/mp2t");
    eventually("the stream", SOON, async || {
        connection.read_buf(&mut answer).await.expect("more");
        let at = answer.windows(wanted.len()).position(|it| it == wanted)?;
        (answer.len() > at + 50_000).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_hls_there_are_no_segments_and_viewers_wait() {
    let weir = start();
    assert!(CONFIG.contains("enabled: false"));
    let waits = fetch(&weir, "live/cam-7.ts");
    let publish = async {
        eventually("a viewer that waits", TIMEOUT, async || {
            let page = http::get(weir.api(), "api/v1/clients").await.text().await;
            page.contains("cam-7").then_some(())
        })
        .await;
        let mut publisher = Publisher::silent(&weir.rtmp_url("live/cam-7")).await;
        for tag in tags_of(&Fixture::AvcAac.file()) {
            publisher.send(&tag).await;
        }
        publisher.stop().await;
    };
    let (bytes, ()) = tokio::join!(waits, publish);
    assert!(bytes.len() > 20_000 && bytes[0] == 0x47, "{} bytes", bytes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_and_who_pulls_ask_whether_there_is_one() {
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let origin = cluster.origin(1, HLS);
    let edge = cluster.edge(&["127.0.0.1"], "", HLS);
    let pulls = format!(
        "{HLS}pull:\n  - {{ stream: live/one-7, from: \"rtmp://{0}/live/cam-7\", when: demand }}\n  \
         - {{ stream: \"far/*\", from: \"rtmp://{0}/live/{{stream}}\", when: demand }}\n",
        origin.rtmp()
    );
    let pulls = Weir::builder(env!("CARGO_BIN_EXE_weir")).config(&pulls).start();
    let mut cameras = Vec::new();
    for stream in ["live/cam", "live/cam-7"] {
        cameras.push(Camera::start(&origin.rtmp_url(stream)).await);
    }
    for path in ["live/one-7.ts", "far/cam-7.ts"] {
        assert_eq!(asked(&pulls, path).await, STREAM, "{path}");
    }
    assert_eq!(asked(&pulls, "far/cam-8.ts").await, NOTHING);
    // The second one finds it here.
    for _ in 0..2 {
        assert_eq!(asked(&edge, "live/cam-7.ts").await, STREAM);
    }
    assert_eq!(asked(&edge, "live/cam-8.ts").await, NOTHING);
    let segment = segment(&edge, "live/cam.m3u8").await;
    assert_eq!(asked(&edge, &segment).await, SEGMENT);
}
