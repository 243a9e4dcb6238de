//! What an edge has from its origins.

use axum::response::Response;
use bytes::Bytes;
use http::header;
use weir_config::Vhost;
use weir_edge::{Ask, Edge, HlsKind, HlsObject, HlsRelayed, NotServed};
use weir_hls::SegmentName;
use weir_media::StreamKey;
use weir_rtmp::url::StreamUrl;

use super::{
    body::{PlaylistText, not_now},
    own::{WantedPlaylist, carried, carrying, media_playlist, unreached},
    viewer::Asker,
};
use crate::{
    http::answer::{no_room, plain},
    node::Node,
    play::Resolved,
};

/// How often an edge is asked for a playlist that is gone again when somebody waits for more of it: it had to make
/// room, or its origins do not give it any more to the one that it was fetched for.
const TRIES: usize = 2;

/// A playlist of a stream, or why there is none. Who waits for more of it waits as at an origin.
pub async fn relayed_playlist(
    edge: &Edge,
    resolved: &Resolved<'_>,
    wanted: WantedPlaylist,
    alone: bool,
    asker: &Asker,
) -> Result<PlaylistText, Response> {
    let Resolved { node, key, vhost, request, .. } = resolved;
    let ask = request.ask;
    let kind = wanted.rendition.map_or(HlsKind::Playlist, HlsKind::Rendition);
    let object = HlsObject { key: (*key).clone(), kind };
    let wait = ask.wait_at_most(vhost.play.wait);
    // What an edge gets goes to many viewers, and none is to have the parameters of another. We may want them with
    // names that can be guessed, or its origin may.
    let params = if ask.hops.is_empty() { &*ask.params } else { "" };
    for _ in 0..TRIES {
        let relayed = edge.hls().playlist(&object, ask, wait, alone).await;
        match relayed.map_err(|why| not_served(&why))? {
            HlsRelayed::Text(text) => {
                let text = carrying(node, text, params).map(PlaylistText::of);
                return text.map_err(|spent| no_room(&spent.to_string()));
            }
            HlsRelayed::Media(media) => {
                let found =
                    media_playlist(&media.window, media.rendition, wanted.asked, asker).await;
                let Some(found) = found else { continue };
                let found = found.map_err(|why| unreached(key, &why))?;
                return carried(node, found, params).map_err(|spent| no_room(&spent.to_string()));
            }
        }
    }
    Err(not_now(&format!("there is no room for the playlists of {key} at the moment")))
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

/// Whether somebody has the playlist of a stream from this node, which is an edge.
pub fn follows(node: &Node, url: &StreamUrl) -> bool {
    let Some(edge) = &node.edge else { return false };
    let playlist = |key| HlsObject { key, kind: HlsKind::Playlist };
    node.resolve(url).is_ok_and(|(key, _)| edge.hls().follows(&playlist(key)))
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
