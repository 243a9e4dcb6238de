//! Keys of `rtmp` and `http`.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use weir_testkit::{Weir, http};

use crate::{SOON, call, reload, server};

/// What begins an RTMP connection.
const RTMP_HELLO: [u8; 1537] = {
    let mut hello = [0; 1537];
    hello[0] = 3;
    hello
};

const HTTP_HELLO: &[u8] = b"GET /none HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

const HEADER: &[u8] = b"PROXY TCP4 192.0.2.9 127.0.0.1 1024 1935\r\n";

/// Whether there is an answer to these bytes, and not the end of the connection.
async fn answers(address: SocketAddr, bytes: &[u8]) -> bool {
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    // It may be closed before all is sent.
    let _ = socket.write_all(bytes).await;
    let read = timeout(SOON, socket.read(&mut [0; 64])).await.expect("an answer or an end");
    read.is_ok_and(|count| count > 0)
}

#[tokio::test(flavor = "multi_thread")]
pub async fn rtmp_proxy_protocol() {
    let mut weir = server().config("rtmp: { proxy_protocol: no }\n").start();
    assert!(answers(weir.rtmp(), &RTMP_HELLO).await);
    reload(&mut weir, "rtmp: { proxy_protocol: yes }\n").await;
    assert!(!answers(weir.rtmp(), &RTMP_HELLO).await, "one without a header is closed");
    assert!(answers(weir.rtmp(), &[HEADER, &RTMP_HELLO].concat()).await);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn http_proxy_protocol() {
    let mut weir = server().config("http: { proxy_protocol: no }\n").start();
    assert!(answers(weir.http(), HTTP_HELLO).await);
    reload(&mut weir, "http: { proxy_protocol: yes }\n").await;
    assert!(!answers(weir.http(), HTTP_HELLO).await, "one without a header is closed");
    assert!(answers(weir.http(), &[HEADER, HTTP_HELLO].concat()).await);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn embed() {
    let mut weir = server().config("http: { embed: [] }\n").start();
    let framed = async |weir: &Weir| {
        let page = http::get(weir.http(), "player").await;
        page.header("content-security-policy")
            .is_some_and(|it| it.ends_with("frame-ancestors https://a.example"))
    };
    assert!(!framed(&weir).await);
    reload(&mut weir, "http: { embed: https://a.example }\n").await;
    assert!(framed(&weir).await);
}

#[tokio::test(flavor = "multi_thread")]
pub async fn trusted_proxies() {
    let of = |networks: &str| {
        format!(
            "http: {{ trusted_proxies: [{networks}] }}\nplay: {{ wait: 0s }}\n\
             auth: {{ play: [cidr: {{ deny: 192.0.2.9 }}] }}\n"
        )
    };
    let mut weir = server().config(&of("")).start();
    let forwarded = "X-Forwarded-For: 192.0.2.9\r\n";
    assert_eq!(call(weir.http(), "GET", "live/a.flv", forwarded).await.0, 404, "not believed");
    reload(&mut weir, &of("127.0.0.1")).await;
    assert_eq!(call(weir.http(), "GET", "live/a.flv", forwarded).await.0, 403, "believed");
}
