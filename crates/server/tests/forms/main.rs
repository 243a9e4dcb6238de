//! Streams as files without an end: MPEG-TS, fragmented MP4, MP3 and AAC over HTTP, and all of them over WebSocket,
//! from an origin and from an edge.

mod names;
mod packets;
mod requests;
mod websocket;

use std::time::Duration;

use weir_testkit::{Weir, cluster::Cluster, http};

/// For the slowest machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// For what happens at once, on a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(20);

const CONFIG: &str =
    "hls: { enabled: false }\npublish: { linger: 0s }\nplay: { wait: 60s, flush: video }\n";

fn start() -> Weir {
    Weir::builder(env!("CARGO_BIN_EXE_weir")).config(CONFIG).start()
}

/// An origin, and an edge that pulls from it; and whose ports they have.
fn nodes() -> ([Weir; 2], Cluster) {
    let cluster = Cluster::new(env!("CARGO_BIN_EXE_weir"));
    let origin = cluster.origin(1, CONFIG);
    let edge = cluster.edge(&["127.0.0.1"], "dead_after: 10s", CONFIG);
    ([origin, edge], cluster)
}

/// A whole file, once it has ended.
async fn fetch(weir: &Weir, path: &str) -> Vec<u8> {
    let mut response = http::get(weir.http(), path).await;
    let body = response.bytes().await;
    assert_eq!(response.status, 200, "{path}: {}", String::from_utf8_lossy(&body));
    body.to_vec()
}
