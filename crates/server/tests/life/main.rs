//! The life of a stream: viewers that come before it, publishers that leave, return and compete, viewers that fall
//! behind or say what they want.

mod arrival;
mod clock;
mod commands;
mod conflict;
mod eager;
mod farewell;
mod lag;
mod linger;
mod unreadable;
mod vhosts;

use std::time::Duration;

use serde_json::Value;
use weir_testkit::{Weir, http};

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(20);

/// How often the API is asked for something that is about to happen.
const POLL: Duration = Duration::from_millis(5);

/// A server with this configuration, and without HLS, which has tests of its own.
fn server(config: &str) -> Weir {
    let config = format!("hls: {{ enabled: false }}\n{config}");
    Weir::builder(env!("CARGO_BIN_EXE_weir")).config(&config).start()
}

/// What the API says of the stream `url`, such as `/live/a`.
async fn stream(weir: &Weir, url: &str) -> Option<Value> {
    let text = http::get(weir.api(), "api/v1/streams?count=1000").await.text().await;
    let answer: Value = serde_json::from_str(&text).expect("the API answers with JSON");
    let streams = answer["streams"].as_array().expect("the API lists streams");
    streams.iter().find(|stream| stream["url"] == url).cloned()
}

/// Waits until the API says that the stream is `waiting`, `live` or `lingering`.
async fn until_status(weir: &Weir, url: &str, status: &str) {
    let poll = async {
        while stream(weir, url).await.is_none_or(|stream| stream["status"] != status) {
            tokio::time::sleep(POLL).await;
        }
    };
    let polled = tokio::time::timeout(SOON, poll).await;
    assert!(polled.is_ok(), "{url} is not {status} but {:?}", stream(weir, url).await);
}

/// Requires that the session of `peer` ended by `side`, for a reason in which `reason` occurs.
async fn assert_ended(weir: &Weir, peer: std::net::SocketAddr, side: &str, reason: &str) {
    let (by, because) = weir.session_end(peer, SOON).await;
    assert!(
        by == side && because.contains(reason),
        "the log says that the session ended by {by:?} because {because:?}, and not by {side:?} because {reason:?}"
    );
}
