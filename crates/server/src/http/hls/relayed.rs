//! What an edge has from its origins.

use axum::response::Response;
use bytes::Bytes;
use http::header;
use weir_config::Vhost;
use weir_edge::{Ask, Edge, HlsKind, HlsObject, NotServed};
use weir_hls::SegmentName;
use weir_media::StreamKey;

use super::{body::PlaylistText, params::with_params};
use crate::{
    http::answer::{no_room, plain},
    memory,
};

/// The playlist of a stream, or why there is none.
pub async fn relayed_playlist(
    edge: &Edge,
    key: &StreamKey,
    vhost: &Vhost,
    ask: &Ask,
    alone: bool,
) -> Result<PlaylistText, Response> {
    let text = relayed(edge, key, HlsKind::Playlist, vhost, ask, alone).await?;
    // What an edge gets goes to many viewers, and none is to have the parameters of another.
    if ask.params.is_empty() || !ask.hops.is_empty() {
        return Ok(PlaylistText::of(text));
    }
    // We may want them with names that can be guessed, or its origin may.
    let text = with_params(&String::from_utf8_lossy(&text), &ask.params);
    match memory::output(edge.hls().budget(), text) {
        Ok(text) => Ok(PlaylistText::of(text)),
        Err(spent) => Err(no_room(&spent.to_string())),
    }
}

/// What an edge has from its origins, or why it has not.
pub async fn relayed(
    edge: &Edge,
    key: &StreamKey,
    kind: HlsKind,
    vhost: &Vhost,
    ask: &Ask,
    alone: bool,
) -> Result<Bytes, Response> {
    let object = HlsObject { key: key.clone(), kind };
    let wait = ask.wait_at_most(vhost.play.wait);
    edge.hls().serve(&object, ask, wait, alone).await.map_err(|why| not_served(&why))
}

/// A segment that an edge has.
pub fn held(edge: &Edge, key: &StreamKey, name: SegmentName) -> Option<Bytes> {
    edge.hls().held(&HlsObject { key: key.clone(), kind: HlsKind::Segment(name) })
}

fn not_served(why: &NotServed) -> Response {
    let mut answer = plain(why.status, &why.reason);
    if let Some(time) = why.retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, time.as_secs().into());
    }
    answer
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn who_may_ask_again_is_told_when() {
        let why = |status, retry_after| NotServed { status, reason: "why".into(), retry_after };
        let answer = not_served(&why(
            StatusCode::SERVICE_UNAVAILABLE,
            Some(std::time::Duration::from_secs(1)),
        ));
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["retry-after"].as_bytes(), b"1");
        let answer = not_served(&why(StatusCode::NOT_FOUND, None));
        assert!(!answer.headers().contains_key("retry-after"));
    }
}
