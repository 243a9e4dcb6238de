//! HLS files: `GET /app/stream.m3u8` and `GET /app/stream-<sequence>.ts`.

use std::{
    io,
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{body::Body, response::Response};
use futures_util::TryStreamExt as _;
use http::StatusCode;
use tokio::time::timeout;
use tokio_util::io::ReaderStream;
use weir_media::StreamKey;

use super::{
    ANY_ORIGIN,
    pages::{not_found, refused},
};
use crate::{
    config::Vhost,
    hls::{Files, State},
    node::Node,
};

/// A cache may answer for us for a moment: half the shortest segment, so that it never costs a viewer a segment.
const PLAYLIST_CACHE: &str = "public, max-age=1";

/// A segment's name is never used twice.
const SEGMENT_CACHE: &str = "public, max-age=86400, immutable";

/// Answers with the playlist. A viewer that comes before the publisher, or before the first segment, waits for it.
pub async fn playlist(
    node: &Arc<Node>,
    key: &StreamKey,
    vhost: &Vhost,
    client: IpAddr,
) -> Response {
    if !vhost.hls.enabled {
        return not_found(&format!("HLS is switched off for {key}"));
    }
    if let Err(refusal) = node.quotas.admit_playlist(key, client, Instant::now()) {
        return refused(node, key, &refusal);
    }
    let path = Files::new(&vhost.hls.dir, key).playlist();
    let is_left_over =
        node.hls.state(key).is_none() && tokio::fs::try_exists(&path).await.unwrap_or(false);
    let state =
        if is_left_over { State::Playable } else { settled(node, key, vhost.play.wait).await };
    if let State::Unsupported(reason) = state {
        return not_found(&format!(
            "{key} is not to be had as HLS: {reason}. RTMP and HTTP-FLV carry it."
        ));
    }
    file(node, &path, "application/vnd.apple.mpegurl", PLAYLIST_CACHE)
        .await
        .unwrap_or_else(|_| not_found(&format!("nobody publishes {key}")))
}

/// Answers with a segment.
pub async fn segment(node: &Arc<Node>, key: &StreamKey, vhost: &Vhost, sequence: u64) -> Response {
    let files = Files::new(&vhost.hls.dir, key);
    file(node, &files.numbered(sequence), "video/mp2t", SEGMENT_CACHE)
        .await
        .unwrap_or_else(|_| not_found(&format!("{key} has no segment {sequence} (any more)")))
}

/// The state after `Starting`, if it comes within `wait`.
async fn settled(node: &Node, key: &StreamKey, wait: Duration) -> State {
    let settled = async {
        let mut state = node.hls.state_soon(key).await;
        // A follower that ends without a word has made no playlist.
        state
            .wait_for(|state| *state != State::Starting)
            .await
            .map_or(State::Starting, |state| state.clone())
    };
    timeout(wait, settled).await.unwrap_or(State::Starting)
}

/// Bytes of a file in memory for each client that fetches it.
const READ_BYTES: usize = 64 * 1024;

async fn file(
    node: &Arc<Node>,
    path: &Path,
    content_type: &str,
    cache: &str,
) -> io::Result<Response> {
    let file = tokio::fs::File::open(path).await?;
    let length = file.metadata().await?.len();
    let quotas = Arc::clone(&node.quotas);
    let pieces = ReaderStream::with_capacity(file, READ_BYTES)
        .inspect_ok(move |piece| quotas.count_sent(piece.len() as u64));
    Ok(Response::builder()
        .status(StatusCode::OK)
        .header("content-type", content_type)
        .header("content-length", length)
        .header("cache-control", cache)
        .header(ANY_ORIGIN.0, ANY_ORIGIN.1)
        .body(Body::from_stream(pieces))
        .unwrap_or_default())
}
