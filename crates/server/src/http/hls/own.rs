//! What there is of a stream that is published here, or was.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use tokio::time::timeout;
use weir_clients::counts::Refused;
use weir_config::Vhost;
use weir_edge::Ask;
use weir_hls::{Listing, Multivariant, Rendition, SegmentName, Window};
use weir_hub::Status;
use weir_media::{Spent, StreamKey};
use weir_outputs::hls::{Found, State};
use weir_rtmp::url::StreamUrl;

use super::{
    body::{Fresh, PlaylistText, no_file, not_now, object},
    params::{takes_params, with_params},
    pieces::{file_in_part, in_pieces},
    reload::{self, Directives, Reached, Unreached, target_duration},
    viewer::Asker,
};
use crate::{
    auth,
    http::answer::{no_room, not_found, plain},
    memory,
    node::Node,
};

/// The stream, and which of its playlists, that the name of this playlist says; none if it says none.
pub fn named_rendition(url: &StreamUrl) -> Option<(StreamUrl, Rendition)> {
    let (stream, rendition) = Rendition::of_playlist(&url.stream)?;
    Some((StreamUrl { stream: stream.to_owned(), ..url.clone() }, rendition))
}

/// The stream, and which of its playlists, that the playlist called `url.stream` is of; none if it is the first one of
/// the stream that is called that.
pub async fn rendition_of(node: &Node, url: &StreamUrl) -> Option<(StreamUrl, Rendition)> {
    let (of, rendition) = named_rendition(url)?;
    let (called, vhost) = node.resolve(url).ok()?;
    let is_stream = |key: &StreamKey| {
        let status = node.streams.registry.status(key);
        node.hls.window(key).is_some() || matches!(status, Some(Status::Live | Status::Lingering))
    };
    let is_left =
        async || left_playlist(node, &called, &vhost, None).await.is_ok_and(|it| it.is_some());
    let is_called_that = is_stream(&called)
        || !node.resolve(&of).is_ok_and(|(key, _)| is_stream(&key)) && is_left().await;
    (!is_called_that).then_some((of, rendition))
}

/// What a request for a playlist is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct WantedPlaylist {
    /// Which one; what a player begins with if it does not say.
    pub rendition: Option<Rendition>,
    /// What it is to have.
    pub asked: Directives,
    /// Whether it is asked for where the configuration has it for others.
    pub is_named: bool,
}

/// A stream that is live has its first segment within so many times the length of one: it ends with a key frame.
const FIRST_SEGMENT: u32 = 2;

/// What takes longer is not worth the wait: players give up before.
const FIRST_SEGMENT_MAX: Duration = Duration::from_secs(30);

/// A playlist of a stream, or why there is none.
pub async fn own_playlist(
    node: &Arc<Node>,
    key: &StreamKey,
    vhost: &Vhost,
    ask: &Ask,
    wanted: WantedPlaylist,
    asker: &Asker,
) -> Result<PlaylistText, Response> {
    let no_memory = |spent: Spent| no_room(&spent.to_string());
    // What an edge gets goes to many viewers, and none is to have the parameters of another.
    let params = if ask.hops.is_empty() { &*ask.params } else { "" };
    let checked = if auth::wants_parameters(vhost) { params } else { "" };
    let (begun, wait) = (Instant::now(), ask.wait_at_most(vhost.play.wait));
    let ladder: &[String] = if wanted.rendition.is_none() { &vhost.hls.ladder } else { &[] };
    let left = match node.hls.window(key) {
        Some(_) => Ok(None),
        None if node.hls.has_ladder(key, ladder) => Ok(None),
        None => left_playlist(node, key, vhost, wanted.rendition).await,
    };
    if let Ok(Some(text)) = left {
        // Each playlist that one of them names is a request of its own, for which the same parameters hold.
        let params = if Multivariant::is(&text) { params } else { checked };
        return carrying(node, text.into(), params).map(PlaylistText::of).map_err(no_memory);
    }
    if let Some(text) = node.hls.ladder(key, ladder, wait).await {
        return carrying(node, text, params).map(PlaylistText::of).map_err(no_memory);
    }
    let left_to_wait = wait.saturating_sub(begun.elapsed());
    let mut settled = timeout(left_to_wait, node.hls.settled(key)).await;
    let expected = vhost.hls.segment * FIRST_SEGMENT;
    let is_live = node.streams.registry.status(key) == Some(Status::Live);
    if settled.is_err() && is_live && expected <= FIRST_SEGMENT_MAX {
        let more = ask.wait_at_most(expected).saturating_sub(begun.elapsed());
        settled = timeout(more, node.hls.settled(key)).await;
    }
    match settled.unwrap_or(State::Starting) {
        State::Unsupported(reason) => {
            return Err(not_found(&format!(
                "{key} is not available as HLS: {reason}. RTMP and HTTP-FLV carry it."
            )));
        }
        State::Failing(reason) => {
            return Err(not_now(&format!("there is no HLS of {key} at the moment: {reason}")));
        }
        State::Starting | State::Playable | State::Partly(_) => {}
    }
    if let Some(window) = node.hls.window(key) {
        if wanted.rendition.is_none()
            && let Some(text) = window.multivariant()
        {
            // Each of its playlists is a request of its own, for which the same parameters hold.
            return carrying(node, text, params).map(PlaylistText::of).map_err(no_memory);
        }
        let rendition = wanted.rendition.unwrap_or(Rendition::MAIN);
        if let Some(media) = media_playlist(&window, rendition, wanted.asked, asker).await {
            let text = media.map_err(|why| unreached(key, &why))?;
            return carried(node, text, checked).map_err(no_memory);
        }
        if let (Some(other), true) = (wanted.rendition, !window.renditions().is_empty()) {
            return Err(not_found(&format!("{key} has no HLS playlist {other}")));
        }
    }
    if node.streams.registry.status(key) == Some(Status::Live) {
        let reason = format!("{key} is live, but its first HLS segment is not complete yet");
        return Err(not_now(&reason));
    }
    let error = left.err().unwrap_or_else(|| io::ErrorKind::NotFound.into());
    Err(no_file(key, &error, || {
        Refused::NotFound.count();
        format!("nobody publishes {key}")
    }))
}

/// The playlist of a rendition as it is asked for; none if there is none.
pub async fn media_playlist(
    window: &Window,
    rendition: Rendition,
    asked: Directives,
    asker: &Asker,
) -> Option<Result<(PlaylistText, Arc<Listing>), Unreached>> {
    match reload::playlist(window, rendition, asked, asker.leaving()).await {
        Ok(reached) => Some(Ok((text_of(&reached, asked), reached.listing))),
        Err(Unreached::Missing) => None,
        Err(why) => Some(Err(why)),
    }
}

/// What is sent of a playlist.
fn text_of(reached: &Reached, asked: Directives) -> PlaylistText {
    let Reached { listing, is_asked } = reached;
    let update =
        listing.update.as_ref().filter(|_| asked.wants_update() && listing.progress.is_some());
    let fresh = match (is_asked, listing.progress) {
        (true, _) => Fresh::Asked(target_duration(&listing.text).unwrap_or(1)),
        (false, Some(progress)) if !progress.is_ended => Fresh::Newest,
        (false, _) => Fresh::Moment,
    };
    PlaylistText {
        text: update.unwrap_or(&listing.text).clone(),
        digest: listing.digest,
        is_update: update.is_some(),
        fresh,
    }
}

/// Why a client does not get the playlist that it asks for.
pub fn unreached(key: &StreamKey, why: &Unreached) -> Response {
    match why {
        Unreached::Bad(_) | Unreached::TooFar => plain(StatusCode::BAD_REQUEST, &why.to_string()),
        Unreached::Missing => not_found(&format!("{key}: {why}")),
        Unreached::Late(_) | Unreached::Leaving => not_now(&format!("{key}: {why}")),
    }
}

/// A media playlist with the viewer's parameters where it has names that can be guessed.
pub fn carried(
    node: &Node,
    (playlist, listing): (PlaylistText, Arc<Listing>),
    params: &str,
) -> Result<PlaylistText, Spent> {
    if params.is_empty() {
        return Ok(playlist);
    }
    let can_be_guessed =
        |file: &Arc<str>| SegmentName::parse(file).is_some_and(|(_, name)| name.nonce.is_none());
    // Names of other playlists come with parts, of which there are none in files.
    let may_take = listing.progress.is_some() || listing.files.iter().any(can_be_guessed);
    if !may_take {
        return Ok(playlist);
    }
    let text = carrying(node, playlist.text.clone(), params)?;
    if text == playlist.text {
        return Ok(playlist);
    }
    Ok(PlaylistText { digest: weir_hls::digest(&text), text, ..playlist })
}

/// A playlist with these parameters behind the names in it that can be guessed.
pub fn carrying(node: &Node, playlist: Bytes, params: &str) -> Result<Bytes, Spent> {
    let text = String::from_utf8_lossy(&playlist);
    if params.is_empty() || !takes_params(&text) {
        return Ok(playlist);
    }
    memory::output(node.streams.registry.budget(), with_params(&text, params))
}

/// The playlist that an earlier process left, or one that this one replaces writes.
async fn left_playlist(
    node: &Node,
    key: &StreamKey,
    vhost: &Vhost,
    wanted: Option<Rendition>,
) -> io::Result<Option<String>> {
    match node.hls.files(&vhost.hls, key) {
        Some(files) => files.read_playlist(wanted).await,
        None => Ok(None),
    }
}

/// A segment of a stream that is published here, or was, or what belongs to one.
pub async fn own_segment(
    node: &Arc<Node>,
    key: &StreamKey,
    vhost: &Vhost,
    name: SegmentName,
    asker: &Asker,
) -> Response {
    let missing =
        || format!("{key} has no segment {} with this name, or not any more", name.sequence);
    match node.hls.find(&vhost.hls, key, name) {
        Found::Here(data, window, file) if node.hls.is_spent() => {
            in_pieces(node, data.len(), (window, file), name, asker)
        }
        Found::Here(data, ..) => object(node, key, name, &data, asker),
        Found::Soon(window, file) => match reload::part(&window, &file, asker.leaving()).await {
            Ok(Some(data)) => object(node, key, name, &data, asker),
            Ok(None) => not_found(&missing()),
            Err(why) => not_now(&format!("{key}: {why}")),
        },
        Found::InFile(files) => match files.open_segment(name).await {
            Ok((file, length)) => file_in_part(node, (files, file, length), name, asker),
            Err(error) => no_file(key, &error, missing),
        },
        Found::Nowhere => not_found(&missing()),
    }
}
