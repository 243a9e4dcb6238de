//! What is answered, and what is refused.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use weir_testkit::{
    Weir, camera::Camera, eventually, fixture::Fixture, http, packets::tags_of, peer::Publisher,
    raw::Raw,
};

use crate::{SOON, nodes, start};

const TYPES: [(&str, &str); 5] = [
    ("flv", "video/x-flv"),
    ("ts", "video/mp2t"),
    ("mp4", "video/mp4"),
    ("aac", "audio/aac"),
    ("mp3", "audio/mpeg"),
];

/// Publishes the first seconds of a fixture, and holds the stream.
async fn hold(weir: &Weir, fixture: Fixture, stream: &str) -> Publisher {
    let mut publisher = Publisher::silent(&weir.rtmp_url(stream)).await;
    for tag in tags_of(&fixture.file()).iter().take_while(|tag| tag.timestamp < 3000) {
        publisher.send(tag).await;
    }
    publisher
}

#[tokio::test(flavor = "multi_thread")]
async fn every_container_has_its_type_and_head_says_the_same() {
    let weir = start();
    let _publishers = [
        hold(&weir, Fixture::AvcAac, "live/aac").await,
        hold(&weir, Fixture::AvcMp3, "live/mp3").await,
    ];
    for (extension, media_type) in TYPES {
        let stream = if extension == "mp3" { "mp3" } else { "aac" };
        let path = format!("live/{stream}.{extension}?token=none");
        let mut response = http::get(weir.http(), &path).await;
        assert_eq!((response.status, response.header("content-type")), (200, Some(media_type)));
        assert_eq!(response.header("access-control-allow-origin"), Some("*"));
        assert_eq!(response.header("transfer-encoding"), Some("chunked"));
        assert!(response.chunk().await.is_some_and(|bytes| !bytes.is_empty()), "{path}");
        let old = format!("GET /{path} HTTP/1.0\r\n\r\n");
        let mut old = http::request(weir.http(), old.as_bytes()).await;
        assert_eq!((old.status, old.header("transfer-encoding")), (200, None), "{path}");
        assert!(old.chunk().await.is_some_and(|bytes| !bytes.is_empty()), "{path}");
        let head = format!("HEAD /{path} HTTP/1.1\r\nHost: h\r\n\r\n");
        let head = http::request(weir.http(), head.as_bytes()).await;
        assert_eq!((head.status, head.header("content-type")), (200, Some(media_type)), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_container_cannot_carry_is_refused_and_says_what_can() {
    let (nodes, _cluster) = nodes();
    let _publishers = [
        hold(&nodes[0], Fixture::Vp9Opus, "live/vp9").await,
        hold(&nodes[0], Fixture::AvcAac, "live/aac").await,
        hold(&nodes[0], Fixture::VideoOnly, "live/silent").await,
    ];
    let cases = [
        ("vp9.ts", "/live/vp9: MPEG-TS cannot carry VP9 and Opus; it can be played as .flv, .mp4"),
        ("vp9.aac", "/live/vp9: the stream's sound is Opus; it can be played as .flv, .mp4"),
        (
            "aac.mp3",
            "/live/aac: the stream's sound is AAC; it can be played as .flv, .mp4, .ts, .aac",
        ),
        (
            "silent.aac",
            "/live/silent: the stream has no sound; it can be played as .flv, .mp4, .ts",
        ),
    ];
    for weir in &nodes {
        for (file, why) in cases {
            for method in ["GET", "HEAD"] {
                let request = format!("{method} /live/{file} HTTP/1.1\r\nHost: h\r\n\r\n");
                let mut response = http::request(weir.http(), request.as_bytes()).await;
                assert_eq!(response.status, 406, "{file}");
                if method == "GET" {
                    assert_eq!(response.text().await.trim_end(), why);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_with_other_requests_before_gets_every_container_too() {
    let weir = start();
    let _camera = Camera::start(&weir.rtmp_url("live/a")).await;
    for (extension, media_type) in TYPES.into_iter().filter(|(extension, _)| *extension != "mp3") {
        let mut connection = Raw::connect(weir.http()).await.into_inner();
        let both = format!(
            "GET /live/a.key HTTP/1.1\r\nHost: h\r\n\r\nGET /live/a.{extension} HTTP/1.1\r\nHost: h\r\n\r\n"
        );
        connection.write_all(both.as_bytes()).await.expect("it is taken");
        let (mut answer, wanted) = (Vec::new(), format!("content-type: {media_type}"));
        // The head of the second answer, and some of the stream.
        eventually(&wanted, SOON, async || {
            connection.read_buf(&mut answer).await.expect("more");
            let at = answer.windows(wanted.len()).position(|it| it == wanted.as_bytes())?;
            (answer.len() > at + 5000).then_some(())
        })
        .await;
        assert!(answer.starts_with(b"HTTP/1.1 404"), "{extension}");
    }
    eventually("the end of all of them", SOON, async || {
        (weir.sessions("play", "/live/a").open() == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_the_figures_and_the_api_say_what_is_played() {
    let weir = start();
    let _camera = Camera::start(&weir.rtmp_url("live/a")).await;
    let mut viewers = Vec::new();
    for path in ["live/a.ts", "live/a.mp4", "live/a.aac", "live/a.flv"] {
        let mut response = http::get(weir.http(), path).await;
        response.chunk().await.expect("a stream that goes on");
        viewers.push(response);
    }
    let page = http::get(weir.api(), "metrics").await.text().await;
    for protocol in ["http-ts", "http-mp4", "http-aac", "http-flv"] {
        let line = format!("weir_viewers{{protocol=\"{protocol}\"}} 1.0");
        assert!(page.contains(&line), "no {line} in {page}");
        let is_its = |line: &serde_json::Value| {
            line["fields"]["protocol"] == protocol || line["protocol"] == protocol
        };
        weir.wait_log(is_its, SOON);
    }
    let page = http::get(weir.api(), "api/v1/clients").await.text().await;
    // SRS has one kind for what it remuxes; the name tells which file it is.
    for said in ["mp4-play", "flv-play", "a.ts", "a.mp4", "a.aac", "a.flv", "http-ts"] {
        assert!(page.contains(&format!("\"{said}\"")), "no {said} in {page}");
    }
    let gone: Vec<_> = viewers.iter().map(http::Response::local).collect();
    assert_eq!(gone.len(), 4);
}
