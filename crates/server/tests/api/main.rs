//! The API of a running server, as operators and scripts use it.

mod cluster;
mod commands;
mod fields;
mod hls_crowd;
mod http2;
mod kick;
mod one_port;
mod operate;
mod rights;
mod silence;
mod srs;
mod srs_scripts;
mod tls;
mod top;
mod viewers;

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use weir_testkit::{Weir, http};

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(20);

/// How often the API is asked for something that is about to happen.
const POLL: Duration = Duration::from_millis(20);

/// The administrator's token.
const ADMIN: &str = "admin-of-the-tests";

/// The token for reading.
const READ: &str = "reader-of-the-tests";

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("no JSON ({why}): {self:?}"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }
}

/// Makes a call, and shows `token` if it is not empty.
async fn call(address: SocketAddr, method: &str, path: &str, token: &str) -> Answer {
    let field =
        if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let path = path.trim_start_matches('/');
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n{field}\r\n"
    );
    let mut response = http::request(address, head.as_bytes()).await;
    let text = response.text().await;
    Answer { status: response.status, headers: std::mem::take(&mut response.headers), text }
}

/// Reads; the call must work.
async fn read(weir: &Weir, path: &str) -> Value {
    let answer = call(weir.api(), "GET", &format!("api/v1/{path}"), READ).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    let json = answer.json();
    assert_eq!(json["code"], 0, "{path}: {json}");
    for field in ["server", "service", "pid"] {
        assert!(json[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {json}");
    }
    json
}

/// Reads until `is_so`.
async fn until(weir: &Weir, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let poll = async {
        loop {
            last = read(weir, path).await;
            if is_so(&last) {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let polled = tokio::time::timeout(SOON, poll).await;
    assert!(polled.is_ok(), "{path} does not come to what is expected, but is {last:#}");
    last
}

/// A server with both tokens, without HLS.
fn server() -> weir_testkit::server::Builder {
    Weir::builder(env!("CARGO_BIN_EXE_weir"))
        .config("hls: { enabled: false }\n")
        .env("WEIR_API__ADMIN_TOKENS", ADMIN)
        .env("WEIR_API__READ_TOKENS", READ)
}
