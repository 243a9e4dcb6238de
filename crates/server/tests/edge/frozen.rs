//! HLS at an edge whose origin freezes: what its viewers get, for how long, and that it goes on.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use weir_hls::{MediaPlaylist, Progress};
use weir_testkit::{Weir, eventually, http, server::field};

use crate::{SOON, cluster, encoder};

const ORIGIN: &str = "hls: { segment: 1s, part: 200ms }\nplay: { wait: 2s }\n";
const EDGE: &str = "dead_after: 1s, give_up: 4s";

/// For an answer, whatever it is: less than a player waits, and more than an edge may.
const ANSWERED: Duration = Duration::from_secs(20);

/// The status, the words and how long they took.
async fn get(edge: &Weir, path: &str) -> (u16, String, Duration) {
    let since = Instant::now();
    let answer = async {
        let mut answer = http::get(edge.http(), path).await;
        (answer.status, answer.text().await)
    };
    let (status, text) =
        timeout(ANSWERED, answer).await.unwrap_or_else(|_| panic!("{path}: no answer"));
    (status, text, since.elapsed())
}

fn progress(text: &str) -> Progress {
    MediaPlaylist::parse(text).unwrap_or_else(|why| panic!("{why}: {text}")).progress
}

async fn until_later(edge: &Weir, than: u64) -> String {
    eventually("a later playlist", SOON, async || {
        let (status, text, _) = get(edge, "live/a.m3u8").await;
        (status == 200 && progress(&text).sequence > than).then_some(text)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_hls_get_what_is_known_then_a_clear_no_and_then_the_stream_again() {
    let cluster = cluster();
    let origin = cluster.origin(1, ORIGIN);
    let edge = cluster.edge(&["127.0.0.1"], EDGE, "play: { wait: 2s }\n");
    let encoder = encoder(&origin, "live/a").await;
    let known = until_later(&edge, 2).await;
    origin.freeze();
    // What the edge has is given, and each answer has its time.
    let (status, text, took) = get(&edge, "live/a.m3u8").await;
    eprintln!("a playlist: {status} after {took:?}");
    assert_eq!(status, 200, "{text}");
    assert!(progress(&text).sequence >= progress(&known).sequence);
    let next = progress(&text).sequence + 2;
    for path in
        [format!("live/a.m3u8?_HLS_msn={next}"), format!("live/a.m3u8?_HLS_msn={next}&_HLS_part=0")]
    {
        let (status, text, took) = get(&edge, &path).await;
        eprintln!("{path}: {status} after {took:?}: {}", text.lines().next().unwrap_or_default());
        assert!(status == 200 || status == 503 || status == 504, "{path}: {status} {text}");
    }
    // Not for ever: a player that polls learns that the stream is away, and why.
    let (status, text) = eventually("a clear no", SOON, async || {
        let (status, text, _) = get(&edge, "live/a.m3u8").await;
        (status != 200).then_some((status, text))
    })
    .await;
    assert!(matches!(status, 502..=504), "{status} {text}");
    assert!(text.contains("origin"), "{text}");
    let is_told = |line: &serde_json::Value| {
        field(line, "level") == "WARN" && field(line, "stream").as_str() == Some("/live/a")
    };
    edge.wait_log(is_told, SOON);
    origin.thaw();
    let text = until_later(&edge, progress(&known).sequence + 2).await;
    let Progress { sequence, parts, .. } = progress(&text);
    let (status, text, _) =
        get(&edge, &format!("live/a.m3u8?_HLS_msn={sequence}&_HLS_part={parts}")).await;
    assert_eq!(status, 200, "blocking reload goes on: {text}");
    encoder.assert_connected();
}
