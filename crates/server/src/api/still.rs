//! A picture of a stream, for those who may read.

use std::{net::IpAddr, time::Duration};

use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, REFERER},
};
use tokio::time::timeout;
use weir_config::{AuthBy, Vhost};
use weir_edge::{Ask, NoStream};
use weir_hub::Status;
use weir_media::StreamKey;
use weir_rtmp::url::StreamUrl;

#[cfg(test)]
use super::answer::{NotFound, ReadFailures, Refused};
use super::{
    answer::{Failure, code},
    rights::Shown,
    state::Api,
    streams,
};
use crate::{
    http::Peer,
    node::Node,
    play::{
        self, Refusal,
        still::{self, Picture, Still},
    },
    tls::Right,
};

/// How long a key frame is waited for.
const WAIT: Duration = Duration::from_secs(2);

/// Bytes of a picture: a key frame of 4K has some hundreds of thousands.
const BYTES_MAX: usize = 4 << 20;

/// The newest key frame of a stream that is live here, as a fragmented MP4 of one picture. It costs a copy of the
/// frame; four of them are made at a time. A token or certificate of this API lets see every stream; who reads without
/// one, because of the address it has, gets what it may play (`auth.play`, `hooks.on_play`), with parameters
/// behind the call's path.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/streams/{id}/still", tag = "streams",
    params(("id" = String, Path, description = "the id, or the name with `%2F` for each `/`")),
    responses(
        (status = 200, description = "the picture", content_type = "video/mp4", body = Vec<u8>), ReadFailures, NotFound,
        (status = 403, description = "without a token: the stream may not be played", body = Refused),
        (status = 406, description = "the stream has no pictures that MP4 can carry", body = Refused),
        (status = 503, description = "no key frame has come yet, or too many are asked for", body = Refused),
    )))]
pub async fn still(
    State(api): State<Api>,
    Extension(Shown(right)): Extension<Shown>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    fields: HeaderMap,
) -> Result<Response, Response> {
    let stats = streams::find(&api, &id).map_err(IntoResponse::into_response)?;
    if stats.status != Status::Live {
        let failure =
            Failure::not_found(code::STREAM_NOT_FOUND, "nobody publishes this stream here");
        return Err(failure.into_response());
    }
    let late =
        |_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "no key frame has come yet; retry later");
    let is_for_all = right != Right::None || is_for_everybody(&api.node, &stats.key);
    let picture = match is_for_all {
        true => {
            let newest = timeout(WAIT, still::newest(&api.node.streams.registry, &stats.key)).await;
            let gone = |_| Failure::not_found(code::STREAM_NOT_FOUND, "the stream has ended");
            newest.map_err(late).and_then(|picture| picture.map_err(gone))
        }
        false => {
            let ask = ask(query.as_deref().unwrap_or_default(), &fields, peer.ip);
            let played = timeout(WAIT, as_a_viewer(&api, &peer, &stats.key, &ask)).await;
            match played.map_err(late) {
                Ok(Err(refusal)) => return Err(refused(&api, &peer, &refusal, &ask).await),
                Ok(Ok(picture)) => Ok(picture),
                Err(late) => Err(late),
            }
        }
    };
    // It is in the list of clients for no longer than it waits.
    peer.presence.note(|doing| doing.asks = None);
    picture.and_then(answer).map_err(IntoResponse::into_response)
}

fn answer(picture: Picture) -> Result<Response, Failure> {
    let picture: Bytes = picture.map_err(|why| Failure::new(StatusCode::NOT_ACCEPTABLE, why))?;
    if picture.len() > BYTES_MAX {
        return Err(Failure::new(
            StatusCode::NOT_ACCEPTABLE,
            "the picture is too large to be shown",
        ));
    }
    let fields = [
        (CONTENT_TYPE, HeaderValue::from_static("video/mp4")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((fields, picture).into_response())
}

/// Whether nobody is asked anything who plays the stream. Then no room for another viewer is needed to look at it, too.
fn is_for_everybody(node: &Node, key: &StreamKey) -> bool {
    let asks_origins = node.edge.is_some() && node.config().edge.auth == AuthBy::Origin;
    let vhost = node.resolve(&url_of(key, ""));
    let is_open = |vhost: &Vhost| vhost.auth.play.is_empty() && vhost.hooks.on_play.is_empty();
    !asks_origins && vhost.is_ok_and(|(_, vhost)| is_open(&vhost))
}

fn url_of(key: &StreamKey, params: &str) -> StreamUrl {
    StreamUrl {
        vhost: key.vhost().to_owned(),
        app: key.app().to_owned(),
        stream: key.stream().to_owned(),
        params: params.to_owned(),
    }
}

/// What a viewer says that asks for the stream with the parameters of this call.
fn ask(query: &str, fields: &HeaderMap, ip: IpAddr) -> Ask {
    let field = |name| fields.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ask {
        params: if query.is_empty() { String::new() } else { format!("?{query}") },
        peer: Some(ip),
        wait: Some(WAIT),
        page_url: field(REFERER).into(),
        ..Ask::default()
    }
}

/// The picture as anybody gets it who may play the stream.
async fn as_a_viewer(
    api: &Api,
    peer: &Peer,
    key: &StreamKey,
    ask: &Ask,
) -> Result<Picture, Refusal> {
    let url = url_of(key, &ask.params);
    let request = play::Request { url: &url, ask, ip: peer.ip, presence: &peer.presence };
    Ok(play::request(&api.node, &request, &mut Still).await?.opened)
}

/// Says why there is no picture for who shows no token; to who may have guessed at a secret of the stream, in due time.
async fn refused(api: &Api, peer: &Peer, refusal: &Refusal, ask: &Ask) -> Response {
    peer.presence.note(|doing| doing.asks = None);
    let status = match refusal {
        Refusal::Denied { why, .. } if why.is_passing() => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Denied { .. } => StatusCode::FORBIDDEN,
        Refusal::NoStream { why: NoStream::Refused(_), .. } => StatusCode::FORBIDDEN,
        Refusal::NoStream { why: NoStream::Missing(_), .. } | Refusal::BadName(_) => {
            StatusCode::NOT_FOUND
        }
        Refusal::NoStream { .. } | Refusal::Guesses { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Unfit { .. } => StatusCode::NOT_ACCEPTABLE,
    };
    let why = match status {
        StatusCode::FORBIDDEN => {
            format!("{refusal}; a token of this API (api.read_tokens) lets see every stream")
        }
        _ => refusal.to_string(),
    };
    let failure = Failure::new(status, why);
    if !refusal.may_be_guess(ask) {
        return failure.into_response();
    }
    peer.hold_back(&api.node.clients.wrong_secrets, peer.ip, false).await;
    ([(CONNECTION, "close")], failure).into_response()
}
