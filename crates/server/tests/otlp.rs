//! Traces, as a collector gets them. Only with `--features otlp`.
#![cfg(feature = "otlp")]

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use weir_testkit::{
    Weir,
    peer::{Numbered, Publisher},
};

/// For a span to arrive, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(20);

/// A collector that keeps what it is sent: the bodies of `POST /v1/traces`.
async fn collector() -> (SocketAddr, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let (bodies, received) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(receive(socket, bodies.clone()));
        }
    });
    (address, received)
}

async fn receive(mut socket: TcpStream, bodies: mpsc::Sender<Vec<u8>>) {
    let mut bytes = Vec::new();
    while socket.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
        let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..at]).to_lowercase();
        assert!(head.starts_with("post /v1/traces "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
        if bytes.len() < at + 4 + length {
            continue;
        }
        let body = bytes.drain(..at + 4 + length).skip(at + 4).collect();
        if bodies.send(body).await.is_err()
            || socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.is_err()
        {
            return;
        }
    }
}

fn contains(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn a_collector_sees_how_a_publish_ended() {
    let (address, mut bodies) = collector().await;
    let weir = Weir::builder(env!("CARGO_BIN_EXE_weir"))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .start();
    let mut publisher = Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(25)).await;
    publisher.pictures(25).await;
    drop(publisher);
    let seen = async {
        let mut all = Vec::new();
        while let Some(body) = bodies.recv().await {
            all.extend(body);
            let parts =
                ["weir", "connection", "publish", "/live/a", "side", "peer", "kind", "closed"];
            if parts.iter().all(|part| contains(&all, part)) {
                return;
            }
        }
    };
    timeout(SOON, seen).await.expect("the spans of a publish");
}

#[tokio::test]
async fn a_collector_that_is_away_disturbs_nobody() {
    let mut weir = Weir::builder(env!("CARGO_BIN_EXE_weir"))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .start();
    for _ in 0..3 {
        Publisher::start(&weir.rtmp_url("live/a"), Numbered::new(25)).await.pictures(25).await;
    }
    weir.terminate();
    weir.wait_log(|line| line["message"] == "drain began", SOON);
    // The second time it does not wait for balancers.
    weir.terminate();
    assert!(weir.wait_exit(SOON).success());
}
