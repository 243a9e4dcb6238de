//! The edge cluster, with real processes: one pull a stream whatever the crowd, publishing through an edge, origins
//! that die, freeze and vanish, and everything that can be wrong in front of an edge or behind it.

mod continuity;
mod decides;
mod encrypted;
mod flood;
mod frozen;
mod limits;
mod low_latency;
mod moves;
mod names;
mod nginx;
mod owners;
mod publishing;
mod pulls;
mod renditions;
mod seed;
mod tls;
mod trouble;
mod vhosts;

use std::time::{Duration, Instant};

use serde_json::Value;
use weir_testkit::{
    Weir,
    cluster::Cluster,
    crowd::{Crowd, Protocol, Seen},
    eventually, http,
    peer::{Encoder, Numbered, PICTURE_MILLIS},
    server::field,
};

const BINARY: &str = env!("CARGO_BIN_EXE_weir");

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(30);

/// The pace of a stream in real time.
const PICTURE: Duration = Duration::from_millis(PICTURE_MILLIS as u64);

/// HLS is another matter, with tests of its own.
const NO_HLS: &str = "hls: { enabled: false }\n";

fn cluster() -> Cluster {
    Cluster::new(BINARY)
}

/// An encoder in real time, with a key frame each second.
async fn encoder(weir: &Weir, stream: &str) -> Encoder {
    Encoder::start(&weir.rtmp_url(stream), Numbered::default(), PICTURE).await
}

/// A small stream for crowds: five pictures a second, without sound, a key frame each second.
async fn quiet_encoder(weir: &Weir, stream: &str) -> Encoder {
    let source = Numbered::new(5).without_sound();
    Encoder::start(&weir.rtmp_url(stream), source, Duration::from_millis(200)).await
}

/// Waits until `weir` has so many play sessions of `stream`, such as `live/a`.
async fn until_pulls(weir: &Weir, stream: &str, open: usize) {
    let key = format!("/{stream}");
    eventually(&format!("{open} play sessions of {stream}"), SOON, async || {
        (weir.sessions("play", &key).open() == open).then_some(())
    })
    .await;
}

/// The streams that are live at `weir`, such as `/live/a`.
async fn live_streams(weir: &Weir) -> Vec<String> {
    let text = http::get(weir.api(), "api/v1/streams?count=1000").await.text().await;
    let answer: Value = serde_json::from_str(&text).expect("the API answers with JSON");
    let streams = answer["streams"].as_array().expect("the API lists streams");
    let live = streams.iter().filter(|stream| stream["publish"]["active"] == true);
    live.filter_map(|stream| stream["url"].as_str().map(str::to_owned)).collect()
}

async fn until_live(weir: &Weir, stream: &str) {
    let url = format!("/{stream}");
    eventually(&format!("{stream} is live"), SOON, async || {
        live_streams(weir).await.contains(&url).then_some(())
    })
    .await;
}

/// Waits for a line of one of these `levels` in the log in which `words` occur anywhere. Does not block the thread.
async fn until_logged(weir: &Weir, levels: &[&str], words: &str, within: Duration) {
    let is_it = |line: &String| {
        let parsed: Value = serde_json::from_str(line).unwrap_or_default();
        line.contains(words) && levels.iter().any(|level| field(&parsed, "level") == level)
    };
    let found = eventually_or_none(within, async || {
        weir.log().all().iter().find(|line| is_it(line)).map(|_| ())
    });
    let found = found.await;
    assert!(found.is_some(), "no line with {words:?} within {within:?}:\n{}", weir.log());
}

/// What `look` returns once it is not `None`, or `None` after `timeout`.
async fn eventually_or_none<T>(
    timeout: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let deadline = Instant::now() + timeout;
    loop {
        let found = look().await;
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Lets one viewer of each protocol play `stream` and be refused, or end; how, and after which time.
async fn refusals(weir: &Weir, stream: &str) -> Vec<(Protocol, String, Duration)> {
    let mut crowd = Crowd::new();
    for protocol in Protocol::ALL {
        crowd.viewer(weir, stream, protocol, Duration::ZERO);
    }
    let start = Instant::now();
    crowd.until("an answer", SOON, |seen| seen.end.is_some()).await;
    let time = start.elapsed();
    let ends = crowd.seen().into_iter().map(|seen| seen.end.unwrap_or_default());
    Protocol::ALL.into_iter().zip(ends).map(|(protocol, end)| (protocol, end, time)).collect()
}

/// Whether the server said no in the viewer's protocol, with words behind it.
fn is_clear(protocol: Protocol, end: &str) -> bool {
    let (code, words) = end.split_once(": ").unwrap_or_default();
    let is_code = match protocol {
        Protocol::Rtmp => code.starts_with("NetStream.Play."),
        Protocol::HttpFlv => code.starts_with(['4', '5']),
    };
    is_code && !words.is_empty()
}

fn was_refused(seen: &Seen) -> bool {
    seen.end.is_some() && seen.first.is_none()
}
