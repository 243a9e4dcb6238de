//! What an edge has from its origins.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::header;
use http_body_util::BodyExt as _;
use weir_config::Vhost;
use weir_edge::{Ask, Edge, HlsKind, HlsObject, NotServed};
use weir_hls::SegmentName;
use weir_media::{Budget, StreamKey};

use super::{body::served, params::with_params};
use crate::{
    http::answer::{no_room, plain},
    memory,
};

/// A segment that an edge has.
pub fn held(edge: &Edge, key: &StreamKey, name: SegmentName) -> Option<Bytes> {
    edge.hls().held(&HlsObject { key: key.clone(), kind: HlsKind::Segment(name) })
}

/// What an edge has from its origins.
pub async fn relayed(
    edge: &Edge,
    key: &StreamKey,
    kind: HlsKind,
    vhost: &Vhost,
    ask: &Ask,
    alone: bool,
) -> Response {
    let object = HlsObject { key: key.clone(), kind };
    let wait = ask.wait_at_most(vhost.play.wait);
    let body = match edge.hls().serve(&object, ask, wait, alone).await {
        Ok(body) => body,
        Err(why) => return not_served(&why),
    };
    let answer = served(kind, body);
    // What an edge gets goes to many viewers, and none is to have the parameters of another.
    if kind != HlsKind::Playlist || ask.params.is_empty() || !ask.hops.is_empty() {
        return answer;
    }
    carrying(answer, &ask.params, edge.hls().budget()).await
}

fn not_served(why: &NotServed) -> Response {
    let mut answer = plain(why.status, &why.reason);
    if let Some(time) = why.retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, time.as_secs().into());
    }
    answer
}

/// A playlist in memory [`with_params`]: we may want them with names that can be guessed, or its origin may.
async fn carrying(answer: Response, params: &str, budget: &Budget) -> Response {
    let (head, body) = answer.into_parts();
    // It is in memory, and was found to be text.
    let playlist = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = with_params(&String::from_utf8_lossy(&playlist), params);
    match memory::output(budget, text) {
        Ok(text) => Response::from_parts(head, Body::from(text)),
        Err(spent) => no_room(&spent.to_string()),
    }
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
