//! HLS files: `GET /app/stream.m3u8` and `GET /app/stream-<sequence>.ts`.

use std::{
    fs::File,
    io::{self, Read as _},
    net::IpAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{TryStreamExt as _, stream};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, RETRY_AFTER},
};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::timeout;
use weir_media::StreamKey;

use super::{
    ANY_ORIGIN,
    pages::{not_found, refused},
};
use crate::{
    blocking::HLS_READS,
    config::Vhost,
    descriptors,
    edge::{Ask, Edge, HlsKind, HlsObject},
    hls::{Files, State},
    metrics::Refused,
    node::Node,
    quota,
};

/// With a playlist. A cache may answer for us for a moment: half the shortest segment, so that it never costs a viewer
/// a segment.
pub const PLAYLIST_HEADERS: [(&str, &str); 2] =
    [("content-type", "application/vnd.apple.mpegurl"), ("cache-control", "public, max-age=1")];

/// With a segment. Its name is never used twice.
pub const SEGMENT_HEADERS: [(&str, &str); 2] =
    [("content-type", "video/mp2t"), ("cache-control", "public, max-age=86400, immutable")];

/// Answers with the playlist. A viewer that comes before the publisher, or before the first segment, waits for it.
pub async fn playlist(
    node: &Arc<Node>,
    key: &StreamKey,
    vhost: &Vhost,
    ask: &Ask,
    client: IpAddr,
) -> Response {
    if let Some(edge) = &node.edge {
        return match node.quotas.admit_playlist(key, client, Instant::now()) {
            Ok(()) => relayed(node, edge, key, HlsKind::Playlist, vhost, ask).await,
            Err(refusal) => {
                Refused::from(&refusal).count();
                refused(node, key, &refusal)
            }
        };
    }
    if !vhost.hls.enabled {
        return not_found(&format!("HLS is switched off for {key}"));
    }
    if let Err(refusal) = node.quotas.admit_playlist(key, client, Instant::now()) {
        Refused::from(&refusal).count();
        return refused(node, key, &refusal);
    }
    let path = Files::new(&vhost.hls.dir, key).playlist();
    let is_left_over = node.hls.state(key).is_none() && exists(&path).await;
    let state = if is_left_over {
        State::Playable
    } else {
        settled(node, key, ask.wait_at_most(vhost.play.wait)).await
    };
    if let State::Unsupported(reason) = state {
        return not_found(&format!(
            "{key} is not to be had as HLS: {reason}. RTMP and HTTP-FLV carry it."
        ));
    }
    file(node, &path, PLAYLIST_HEADERS).await.unwrap_or_else(|_| {
        Refused::NotFound.count();
        not_found(&format!("nobody publishes {key}"))
    })
}

/// Answers with a segment.
pub async fn segment(
    node: &Arc<Node>,
    key: &StreamKey,
    vhost: &Vhost,
    ask: &Ask,
    sequence: u64,
) -> Response {
    if let Some(edge) = &node.edge {
        return relayed(node, edge, key, HlsKind::Segment(sequence), vhost, ask).await;
    }
    let files = Files::new(&vhost.hls.dir, key);
    file(node, &files.numbered(sequence), SEGMENT_HEADERS)
        .await
        .unwrap_or_else(|_| not_found(&format!("{key} has no segment {sequence} (any more)")))
}

/// What an edge has from its origins.
async fn relayed(
    node: &Arc<Node>,
    edge: &Edge,
    key: &StreamKey,
    kind: HlsKind,
    vhost: &Vhost,
    ask: &Ask,
) -> Response {
    let object = HlsObject { key: key.clone(), kind };
    let mut answer = edge.hls().serve(&object, ask, ask.wait_at_most(vhost.play.wait)).await;
    let quotas = Arc::clone(&node.quotas);
    // A body that is counted does not say its length any more.
    let length = answer.body().size_hint().exact().map(HeaderValue::from);
    if let Some(length) = length {
        answer.headers_mut().insert(CONTENT_LENGTH, length);
    }
    answer.map(|body| {
        Body::new(body.map_frame(move |frame| {
            quotas.count_sent(frame.data_ref().map_or(0, |data| data.len() as u64));
            frame
        }))
    })
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

/// The next piece of a file; none at its end.
fn piece(mut file: File) -> io::Result<Option<(Bytes, File)>> {
    let mut piece = vec![0; READ_BYTES];
    let read = file.read(&mut piece)?;
    piece.truncate(read);
    Ok((read > 0).then(|| (piece.into(), file)))
}

/// There is no room for it now.
fn busy(why: &str) -> Response {
    let retry = [(RETRY_AFTER, quota::RETRY_AFTER.as_secs().to_string())];
    (StatusCode::SERVICE_UNAVAILABLE, retry, [ANY_ORIGIN], format!("{why}\n")).into_response()
}

async fn exists(path: &Path) -> bool {
    let path = path.to_owned();
    HLS_READS.run(move || path.exists()).await.unwrap_or(false)
}

async fn file(node: &Arc<Node>, path: &Path, headers: [(&str, &str); 2]) -> io::Result<Response> {
    let Some(place) = descriptors::opened().take() else {
        return Ok(busy("too many segments are being sent"));
    };
    let path = path.to_owned();
    let open = move || {
        let file = File::open(&path)?;
        let length = file.metadata()?.len();
        io::Result::Ok((file, length))
    };
    let (file, length) = HLS_READS.run(open).await.flatten()?;
    let quotas = Arc::clone(&node.quotas);
    let next = |(file, place)| async move {
        let piece = HLS_READS.run(move || piece(file)).await.flatten()?;
        io::Result::Ok(piece.map(|(piece, file)| (piece, (file, place))))
    };
    let pieces = stream::try_unfold((file, place), next)
        .inspect_ok(move |piece: &Bytes| quotas.count_sent(piece.len() as u64));
    let length = [("content-length", length.to_string())];
    Ok((headers, length, [ANY_ORIGIN], Body::from_stream(pieces)).into_response())
}
