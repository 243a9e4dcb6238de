//! Files without an end over WebSocket.

use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use weir_flv::file::{Item, Reader};
use weir_testkit::{
    Weir, camera::Camera, fixture::Fixture, http, packets::tags_of, peer::Publisher, raw::Raw,
};

use crate::{CONFIG, SOON, TIMEOUT, nodes, start};

const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PONG: u8 = 10;

fn upgrade(path: &str, version: &str, key: &str) -> String {
    format!(
        "GET /{path} HTTP/1.1\r\nHost: h\r\nOrigin: https://elsewhere.example\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: {version}\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    )
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A viewer over WebSocket.
struct Viewer {
    connection: TcpStream,
    read: BytesMut,
}

impl Viewer {
    async fn open(weir: &Weir, path: &str) -> Self {
        let mut connection = Raw::connect(weir.http()).await.into_inner();
        connection.write_all(upgrade(path, "13", KEY).as_bytes()).await.expect("it is taken");
        let mut viewer = Self { connection, read: BytesMut::new() };
        let end = loop {
            if let Some(at) = viewer.read.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(viewer.more().await, "a whole head");
        };
        let head = viewer.read.split_to(end);
        let head = String::from_utf8_lossy(&head);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
        viewer
    }

    async fn more(&mut self) -> bool {
        let read = timeout(SOON, self.connection.read_buf(&mut self.read)).await;
        read.expect("something in time").unwrap_or(0) > 0
    }

    /// The next message: its opcode and its payload; none at the end of the connection.
    async fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(message) = self.take() {
                return Some(message);
            }
            if !self.more().await {
                assert!(self.read.is_empty(), "a message in part");
                return None;
            }
        }
    }

    fn take(&mut self) -> Option<(u8, Vec<u8>)> {
        let [head, second, rest @ ..] = &self.read[..] else { return None };
        assert_eq!(head & 0xF0, 0x80, "whole, and of no extension");
        let (len, header) = match second {
            126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
            127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?, 10),
            len => (usize::from(*len), 2),
        };
        let (opcode, whole) = (head & 0x0F, header + len);
        if self.read.len() < whole {
            return None;
        }
        let payload = self.read[header..whole].to_vec();
        self.read.advance(whole);
        Some((opcode, payload))
    }

    async fn send(&mut self, head: u8, payload: &[u8]) {
        let mut frame = vec![head, 0x80 | u8::try_from(payload.len()).expect("short"), 1, 2, 3, 4];
        frame.extend(
            payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask),
        );
        self.connection.write_all(&frame).await.expect("it is taken");
    }

    /// The next message that is no part of the file.
    async fn answer(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            match self.message().await {
                Some((BINARY, payload)) => assert!(!payload.is_empty()),
                other => return other,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flv_over_websocket_has_what_was_published_and_says_when_it_ends() {
    let (nodes, _cluster) = nodes();
    let tags = tags_of(&Fixture::AvcAac.file());
    let mut publisher = Publisher::silent(&nodes[0].rtmp_url("live/a")).await;
    let (begin, rest) = tags.split_at(20);
    for tag in begin {
        publisher.send(tag).await;
    }
    let mut viewers = Vec::new();
    for weir in &nodes {
        viewers.push(Viewer::open(weir, "live/a.flv").await);
    }
    for tag in rest {
        publisher.send(tag).await;
    }
    publisher.stop().await;
    for viewer in &mut viewers {
        let (mut reader, mut seen) = (Reader::new(), Vec::new());
        let (opcode, close) = loop {
            match viewer.message().await.expect("a closing message first") {
                (BINARY, payload) => reader.push(&payload),
                other => break other,
            }
        };
        while let Some(item) = reader.poll().expect("FLV") {
            if let Item::Tag(tag) = item {
                seen.push(tag.body);
            }
        }
        assert_eq!((opcode, &close[..2]), (CLOSE, &[3, 0xE8][..]), "1000");
        assert_eq!(String::from_utf8_lossy(&close[2..]), "the stream has ended");
        assert_eq!(viewer.message().await, None);
        let media: Vec<_> = tags[1..].iter().map(|tag| tag.body.clone()).collect();
        assert!(seen.ends_with(&media[20..]), "{} of {}", seen.len(), media.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_answered_and_who_breaks_the_rules_is_told() {
    let weir = start();
    let _camera = Camera::start(&weir.rtmp_url("live/a")).await;
    for path in ["live/a.flv", "live/a.ts", "live/a.mp4", "live/a.aac"] {
        let mut viewer = Viewer::open(&weir, path).await;
        viewer.send(0x89, b"are you there").await;
        assert_eq!(viewer.answer().await, Some((PONG, b"are you there".to_vec())), "{path}");
        viewer.send(0x81, b"hello").await;
        viewer.send(0x88, &[3, 0xE9]).await;
        assert_eq!(viewer.answer().await, Some((CLOSE, vec![3, 0xE9])), "{path}");
        assert_eq!(viewer.message().await, None, "{path}");
    }
    let mut viewer = Viewer::open(&weir, "live/a.flv").await;
    viewer.connection.write_all(&[0x81, 2, b'h', b'i']).await.expect("it is taken");
    let (opcode, why) = viewer.answer().await.expect("a closing message");
    assert_eq!((opcode, &why[..2]), (CLOSE, &[3, 0xEA][..]), "1002");
    let reason = String::from_utf8_lossy(&why[2..]).into_owned();
    assert_eq!(reason, "a frame without a mask");
    weir.wait_session_end(|line| line.to_string().contains(&reason), TIMEOUT);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_have_it_is_told_before_the_protocol_changes() {
    let weir = start();
    let _camera = Camera::start(&weir.rtmp_url("live/a")).await;
    let status = async |path: &str, version: &str, key: &str| {
        http::request(weir.http(), upgrade(path, version, key).as_bytes()).await
    };
    assert_eq!(status("live/a.mp3", "13", KEY).await.status, 406);
    assert_eq!(status("live/a.flv", "13", "").await.status, 400);
    let old = status("live/a.flv", "8", KEY).await;
    assert_eq!((old.status, old.header("sec-websocket-version")), (426, Some("13")));
    assert_eq!(status("live//a.flv", "13", KEY).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shuts_down_says_so() {
    let mut weir = start();
    let _camera = Camera::start(&weir.rtmp_url("live/a")).await;
    let mut viewer = Viewer::open(&weir, "live/a.flv").await;
    viewer.message().await.expect("a stream that goes on");
    weir.terminate();
    let (opcode, why) = viewer.answer().await.expect("a closing message");
    assert_eq!((opcode, &why[..2]), (CLOSE, &[3, 0xE9][..]), "1001");
    assert!(weir.wait_exit(TIMEOUT + Duration::from_secs(10)).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_ended_by_an_operator_is_told_so() {
    const ADMIN: &str = "admin-of-the-tests";
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir"))
        .config(CONFIG)
        .env("WEIR_API__ADMIN_TOKENS", ADMIN)
        .start();
    let _camera = Camera::start(&weir.rtmp_url("live/a")).await;
    let mut viewer = Viewer::open(&weir, "live/a.flv").await;
    viewer.message().await.expect("a stream that goes on");
    let text = http::get(weir.api(), "api/v1/clients").await.text().await;
    let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let clients = answer["clients"].as_array().expect("clients");
    let id =
        clients.iter().find(|it| it["type"] == "ws-flv-play").expect("the viewer")["id"].clone();
    let id = id.as_str().expect("a number");
    let kick = format!(
        "DELETE /api/v1/clients/{id} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {ADMIN}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(http::request(weir.api(), kick.as_bytes()).await.status, 200);
    let (opcode, why) = viewer.answer().await.expect("a closing message");
    assert_eq!((opcode, &why[..2]), (CLOSE, &[3, 0xF0][..]), "1008");
    assert_eq!(String::from_utf8_lossy(&why[2..]), "ended by an operator");
    assert_eq!(viewer.message().await, None);
}
