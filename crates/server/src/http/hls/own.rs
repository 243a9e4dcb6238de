//! What there is of a stream that is published here, or was.

use std::{io, sync::Arc, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;
use weir_clients::counts::Refused;
use weir_config::Vhost;
use weir_edge::{Ask, HlsKind};
use weir_hls::{Rendition, SegmentName};
use weir_hub::Status;
use weir_media::StreamKey;
use weir_outputs::hls::{Found, State};

use super::{
    body::{PLAYLIST_HEADERS, in_part, no_file, not_now, served},
    params::with_params,
    pieces::{file_in_part, in_pieces},
    viewer::Asker,
};
use crate::{
    auth,
    http::answer::{ANY_ORIGIN, no_room, not_found},
    memory,
    node::Node,
};

/// The playlist of a stream that is published here, or was.
pub async fn own_playlist(node: &Arc<Node>, key: &StreamKey, vhost: &Vhost, ask: &Ask) -> Response {
    // What an edge gets goes to many viewers, and none is to have the parameters of another.
    let params = Some(&ask.params)
        .filter(|_| auth::wants_parameters(&vhost.auth) && ask.hops.is_empty())
        .map_or("", String::as_str);
    let left = match node.hls.window(key) {
        Some(_) => Ok(None),
        None => left_playlist(node, key, vhost).await,
    };
    if let Ok(Some(text)) = left {
        return match memory::output(node.streams.registry.budget(), with_params(&text, params)) {
            Ok(text) => (PLAYLIST_HEADERS, [ANY_ORIGIN], text).into_response(),
            Err(spent) => no_room(&spent.to_string()),
        };
    }
    match settled(node, key, ask.wait_at_most(vhost.play.wait)).await {
        State::Unsupported(reason) => {
            return not_found(&format!(
                "{key} is not available as HLS: {reason}. RTMP and HTTP-FLV carry it."
            ));
        }
        State::Failing(reason) => {
            return not_now(&format!("there is no HLS of {key} at the moment: {reason}"));
        }
        State::Starting | State::Playable | State::Partly(_) => {}
    }
    if let Some(listing) = node.hls.window(key).and_then(|window| window.playlist(Rendition::MAIN))
    {
        let can_be_guessed = |file: &Arc<str>| {
            SegmentName::parse(file).is_some_and(|(_, name)| name.nonce.is_none())
        };
        if params.is_empty() || !listing.files.iter().any(can_be_guessed) {
            return (PLAYLIST_HEADERS, [ANY_ORIGIN], Body::from(listing.text.clone()))
                .into_response();
        }
        let text = with_params(&String::from_utf8_lossy(&listing.text), params);
        return match memory::output(node.streams.registry.budget(), text) {
            Ok(text) => (PLAYLIST_HEADERS, [ANY_ORIGIN], text).into_response(),
            Err(spent) => no_room(&spent.to_string()),
        };
    }
    if node.streams.registry.status(key) == Some(Status::Live) {
        return not_now(&format!("{key} is live, but its first HLS segment is not complete yet"));
    }
    let error = left.err().unwrap_or_else(|| io::ErrorKind::NotFound.into());
    no_file(key, &error, || {
        Refused::NotFound.count();
        format!("nobody publishes {key}")
    })
}

/// The playlist that an earlier process left, or one that this one replaces writes.
async fn left_playlist(node: &Node, key: &StreamKey, vhost: &Vhost) -> io::Result<Option<String>> {
    match node.hls.files(&vhost.hls.dir, key) {
        Some(files) => files.read_playlist().await,
        None => Ok(None),
    }
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

/// A segment of a stream that is published here, or was.
pub async fn own_segment(
    node: &Arc<Node>,
    key: &StreamKey,
    vhost: &Vhost,
    name: SegmentName,
    asker: &Asker,
) -> Response {
    let missing =
        || format!("{key} has no segment {} with this name, or not any more", name.sequence);
    match node.hls.find(&vhost.hls.dir, key, name) {
        Found::Here(data, window, file) if node.hls.is_spent() => {
            in_pieces(node, data.len(), (window, file), name, asker)
        }
        Found::Here(data, ..) => {
            in_part(served(HlsKind::Segment(name), data), Some(name), asker).await
        }
        Found::InFile(files) => match files.open_segment(name).await {
            Ok((file, length)) => file_in_part(node, (files, file, length), name, asker),
            Err(error) => no_file(key, &error, missing),
        },
        Found::Nowhere => not_found(&missing()),
    }
}
