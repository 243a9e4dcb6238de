//! HLS files: `GET /app/stream.m3u8` and `GET /app/stream-<sequence>.ts`.

use std::{io, path::Path, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;
use tokio_util::io::ReaderStream;
use weir_media::StreamKey;

use super::{ANY_ORIGIN, pages::not_found};
use crate::{
    config::Vhost,
    hls::{Files, State},
    node::Node,
};

/// With a playlist. A cache may answer for us for a moment: half the shortest segment, so that it never costs a viewer
/// a segment.
pub const PLAYLIST_HEADERS: [(&str, &str); 2] =
    [("content-type", "application/vnd.apple.mpegurl"), ("cache-control", "public, max-age=1")];

/// With a segment. Its name is never used twice.
pub const SEGMENT_HEADERS: [(&str, &str); 2] =
    [("content-type", "video/mp2t"), ("cache-control", "public, max-age=86400, immutable")];

/// Answers with the playlist. A viewer that comes before the publisher, or before the first segment, waits for it.
pub async fn playlist(node: &Node, key: &StreamKey, vhost: &Vhost) -> Response {
    if !vhost.hls.enabled {
        return not_found(&format!("HLS is switched off for {key}"));
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
    file(&path, PLAYLIST_HEADERS)
        .await
        .unwrap_or_else(|_| not_found(&format!("nobody publishes {key}")))
}

/// Answers with a segment.
pub async fn segment(key: &StreamKey, vhost: &Vhost, sequence: u64) -> Response {
    let files = Files::new(&vhost.hls.dir, key);
    file(&files.numbered(sequence), SEGMENT_HEADERS)
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

async fn file(path: &Path, headers: [(&str, &str); 2]) -> io::Result<Response> {
    let file = tokio::fs::File::open(path).await?;
    let length = file.metadata().await?.len();
    let body = Body::from_stream(ReaderStream::with_capacity(file, READ_BYTES));
    let length = [("content-length", length.to_string())];
    Ok((headers, length, [ANY_ORIGIN], body).into_response())
}
