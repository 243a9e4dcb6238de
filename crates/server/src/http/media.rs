//! Requests for what is named after a stream: the stream itself, its playlist, its segments.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::response::{IntoResponse, Response};
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{HOST, REFERER, USER_AGENT},
};
use tracing::info;
use weir_clients::{
    counts::Refused,
    detail::Detail,
    events::{EVENTS, EventKind},
};
use weir_delivery::Container;
use weir_edge::{Ask, Hops, NoStream};
use weir_hls::SegmentName;

use super::{
    answer::{self, ANY_ORIGIN, not_found, plain, preflight, retry_after},
    conditional::Conditions,
    forwarded,
    hls::{self, Answer, Asker, Directives, WantedPlaylist},
    late, mount,
    peer::Peer,
    route::{Named, Route},
    still,
};
use crate::{
    auth::Action,
    node::Node,
    play::{self, Refusal},
};

/// The extension of playlists.
const PLAYLIST: &str = "m3u8";

/// How the names of the fields begin that nodes send each other.
const NODE_FIELDS: &str = "weir-";

/// How long others are asked for a stream that is called like a segment that there is not: one that is published has
/// its key frame here by then, and an answer that there is nothing does not take longer.
const CALLED_WAIT: Duration = Duration::from_secs(1);

/// Bytes of a `User-Agent` that tell viewers apart.
const AGENT_BYTES_MAX: usize = 512;

/// Counts the connection for the client whose request comes now: proxies send those of many over one. An answer for one
/// that is one too many.
pub fn count(node: &Node, peer: &Peer, fields: &HeaderMap) -> Option<Response> {
    let config = node.config();
    let trusted = &config.http.trusted_proxies;
    if trusted.iter().any(|network| network.contains(&peer.ip)) {
        let ip = client(node, peer, fields);
        if ip == peer.ip {
            peer.standing.count_for_nobody();
        } else if let Err(refusal) = peer.standing.count(&node.clients.quotas, ip) {
            Refused::from(&refusal).count();
            let answer = plain(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string());
            return Some((retry_after(), answer).into_response());
        }
        peer.presence.note(|doing| doing.peer = SocketAddr::new(ip, 0));
    }
    None
}

/// `/app/stream.m3u8`, `/app/stream-<sequence>-<nonce>.ts`, `/app/stream.flv` and the like, `/app/stream.mp4?still`.
pub async fn media<B>(node: &Arc<Node>, peer: Arc<Peer>, request: Request<B>) -> Response {
    let asked = match understand(node, peer, &request) {
        Ok(asked) => asked,
        Err(answer) => return *answer,
    };
    // Nothing else of it is needed, and it may wait.
    drop(request);
    answer(node, &asked).await.into_response()
}

/// What a request for a stream or a file of one asks for: what follows from its head and the settings alone.
pub struct Asked {
    route: Route,
    /// The stream that it is a segment of, and which, if it is called as one.
    segment: Option<(Route, SegmentName)>,
    ask: Ask,
    asker: Asker,
}

impl Asked {
    /// Whether it is a playlist, or a file that one names and nothing else is called as.
    pub fn is_of_hls(&self) -> bool {
        let is_named = |(_, name): &(_, SegmentName)| name.nonce.is_some();
        self.is_playlist()
            || self.route.named.is_none() && self.segment.as_ref().is_some_and(is_named)
    }

    /// Whether it is a playlist.
    pub fn is_playlist(&self) -> bool {
        self.route.extension == PLAYLIST
    }

    /// Whether no body is wanted.
    pub fn is_head(&self) -> bool {
        self.asker.is_head
    }
}

/// Finds out what a request asks for.
///
/// # Errors
/// What is answered if that is nothing that there can be.
pub fn understand<B>(
    node: &Node,
    peer: Arc<Peer>,
    request: &Request<B>,
) -> Result<Asked, Box<Response>> {
    let is_head = match *request.method() {
        Method::GET => false,
        Method::HEAD => true,
        Method::OPTIONS => return Err(Box::new(preflight())),
        _ => {
            let reason = "only GET, HEAD and OPTIONS are served here";
            return Err(Box::new(plain(StatusCode::METHOD_NOT_ALLOWED, reason)));
        }
    };
    let field = text(request.headers().get(HOST));
    // The target may name the host itself, and counts then (RFC 9112 section 3.2.2).
    let named = request.uri().authority().map(|authority| authority.as_str());
    let host = named.unwrap_or(field);
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let is_node = request.headers().contains_key(Hops::HEADER);
    let Some(route) = mount::route(node, target, host, is_node) else {
        return Err(Box::new(not_found("no such path")));
    };
    if route.extension == PLAYLIST
        && route.named.is_none()
        && let Some(location) = with_slashes(target)
        // A path of a stream has no empty parts, so that this one does not lead to another host.
        && route.resolve(node).is_ok()
    {
        let fields = [("location", location.as_str()), ("cache-control", "no-store"), ANY_ORIGIN];
        return Err(Box::new((StatusCode::FOUND, fields).into_response()));
    }
    let agent = request.headers().get(USER_AGENT).map_or(&[][..], |agent| agent.as_bytes());
    let asker = Asker {
        ip: client(node, &peer, request.headers()),
        agent: String::from_utf8_lossy(&agent[..agent.len().min(AGENT_BYTES_MAX)]).into_owned(),
        conditions: Conditions::of(request.headers(), is_head),
        is_head,
        peer,
    };
    let ask = Ask { peer: Some(asker.ip), ..ask(&route, request.headers()) };
    let segment = match route.named {
        None if route.extension != PLAYLIST => route.segment(),
        _ => None,
    };
    Ok(Asked { route, segment, ask, asker })
}

/// Whether a request is one for a stream itself, which goes on for as long as its viewer watches.
pub fn is_stream<B>(node: &Node, request: &Request<B>) -> bool {
    let host = request.uri().authority().map_or("", |authority| authority.as_str());
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    mount::route(node, target, host, false).is_some_and(|route| route.container().is_some())
}

/// The same target with slashes for those that are percent-encoded in its path; none without any. What a playlist names
/// is beside it, and an encoded slash is none where players look for that.
fn with_slashes(target: &str) -> Option<String> {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    if !path.contains('%') {
        return None;
    }
    let slashed = path.replace("%2F", "/").replace("%2f", "/");
    (slashed != path).then(|| slashed + query)
}

/// The text of a field; empty if there is none.
fn text(value: Option<&HeaderValue>) -> &str {
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn ask(route: &Route, fields: &HeaderMap) -> Ask {
    // Only nodes send fields of ours, and viewers ask far more often.
    let is_of_node = fields.keys().any(|name| name.as_str().starts_with(NODE_FIELDS));
    let field = |name| if is_of_node { text(fields.get(name)) } else { "" };
    let [hops, wait, next] = [Hops::HEADER, Ask::WAIT_HEADER, Ask::NEXT_HEADER].map(field);
    // What is said to the server of a playlist is nobody else's business.
    let params = hls::without_directives(&route.url.params).into_owned();
    let token = Ask::token_of(field(Ask::TOKEN_HEADER));
    let page_url = text(fields.get(REFERER)).into();
    Ask { token, page_url, ..Ask::of_fields(params, hops, wait, next) }
}

/// The address of who asks.
fn client(node: &Node, peer: &Peer, fields: &HeaderMap) -> IpAddr {
    let config = node.config();
    let trusted = &config.http.trusted_proxies;
    if trusted.is_empty() {
        return peer.ip;
    }
    let fields = fields.get_all(forwarded::FIELD).iter();
    // What a client has written may be anything, and proxies append the truth to it.
    let fields: Vec<_> = fields.map(|field| String::from_utf8_lossy(field.as_bytes())).collect();
    let fields = fields.iter().map(|field| &**field);
    forwarded::client(trusted, peer.ip, fields).unwrap_or(peer.ip)
}

/// Serves the viewer, or tells it why not.
pub async fn answer(node: &Arc<Node>, asked: &Asked) -> Answer {
    let Asked { route, segment, ask, asker } = asked;
    let named = segment.as_ref().map_or(route, |(stream, _)| stream);
    let presence = &asker.peer.presence;
    let request = play::Request { url: &named.url, ask, ip: asker.ip, presence };
    let served = match (route.extension.as_str(), segment.as_ref()) {
        _ if route.named == Some(Named::Playlist) => named_playlist(node, &request, asker).await,
        _ if let Some(Named::Segment(number)) = route.named => {
            let segment = hls::numbered_segment(node, &request, number, asker);
            segment_or_stream(node, segment, (route, &request), asker).await.map(Answer::from)
        }
        _ if let Some(container) = route.container() => {
            let live = late::serve(node, &request, container, asker.is_head, &asker.peer).await;
            live.map(Answer::from)
        }
        (PLAYLIST, _) => playlist(node, &request, asker).await,
        (_, Some((_, name))) => {
            let segment = hls::segment(node, &request, *name, asker);
            segment_or_stream(node, segment, (route, &request), asker).await.map(Answer::from)
        }
        _ if route.is_still() => still::serve(node, &request, asker).await.map(Answer::from),
        _ => Ok(not_found("stream paths end in .flv, .m3u8, .mp4, .ts, .aac or .mp3").into()),
    };
    let (answer, is_guess) = match served {
        // An origin that an edge fetches from may have been shown a guess.
        Ok(answer) => {
            let is_refused = node.edge.is_some() && answer.status() == StatusCode::FORBIDDEN;
            (answer, is_refused && !ask.params.is_empty())
        }
        Err(refusal) => {
            note(&refusal, asker);
            (answer::refused(&refusal).into(), refusal.may_be_guess(ask))
        }
    };
    if !is_guess {
        return answer;
    }
    asker.peer.hold_back(&node.clients.wrong_secrets, asker.ip, !ask.hops.is_empty()).await;
    ([("connection", "close")], answer.into_response()).into_response().into()
}

/// Serves the playlist that players load first, at the place that the configuration has for it.
async fn named_playlist(
    node: &Arc<Node>,
    request: &play::Request<'_>,
    asker: &Asker,
) -> Result<Answer, Refusal> {
    let asked = Directives::of(&request.url.params);
    let wanted = WantedPlaylist { rendition: None, asked, is_named: true };
    hls::playlist(node, request, wanted, asker).await
}

/// Serves a playlist.
async fn playlist(
    node: &Arc<Node>,
    request: &play::Request<'_>,
    asker: &Asker,
) -> Result<Answer, Refusal> {
    let asked = Directives::of(&request.url.params);
    let of = match node.edge {
        Some(_) => hls::named_rendition(request.url),
        None => hls::rendition_of(node, request.url).await,
    };
    let whole = WantedPlaylist { rendition: None, asked, is_named: false };
    let Some((url, rendition)) = of else {
        return hls::playlist(node, request, whole, asker).await;
    };
    let one = WantedPlaylist { rendition: Some(rendition), asked, is_named: false };
    let of = play::Request { url: &url, ..*request };
    let served = hls::playlist(node, &of, one, asker).await;
    // An edge does not know whether a stream is called like that: its origins do. Its viewer has waited.
    let is_there = served.as_ref().is_ok_and(|answer| answer.status() != StatusCode::NOT_FOUND);
    if node.edge.is_none() || is_there {
        return served;
    }
    let ask = Ask { wait: Some(Duration::ZERO), ..request.ask.clone() };
    let called = play::Request { ask: &ask, ..*request };
    match hls::playlist(node, &called, whole, asker).await {
        Ok(answer) if answer.status().is_success() => Ok(answer),
        Ok(answer) if answer.status() == StatusCode::NOT_MODIFIED => Ok(answer),
        _ => served,
    }
}

/// Serves a segment, or the stream that is called like it where only others know whether there is one: they are asked
/// when there is no such segment.
async fn segment_or_stream(
    node: &Arc<Node>,
    segment: impl Future<Output = Result<Response, Refusal>>,
    (route, request): (&Route, &play::Request<'_>),
    asker: &Asker,
) -> Result<Response, Refusal> {
    let served = segment.await;
    let is_missing = match &served {
        Ok(answer) => answer.status() == StatusCode::NOT_FOUND,
        Err(refusal) => matches!(refusal, Refusal::NoStream { why: NoStream::Missing(_), .. }),
    };
    let container = Container::of_extension(&route.extension).filter(|_| is_missing);
    let (Some(container), Some(called)) = (container, &route.called) else { return served };
    // Who has the playlist from here asks for what was in it.
    if hls::follows(node, request.url) {
        return served;
    }
    let ask = Ask { wait: Some(CALLED_WAIT), ..request.ask.clone() };
    let called = play::Request { url: called, ask: &ask, ..*request };
    let live = late::serve(node, &called, container, asker.is_head, &asker.peer).await;
    live.or(served)
}

/// Says in the log what requests are refused for: a client that may not have a stream once for each connection, which
/// can ask as often as it likes.
fn note(refusal: &Refusal, asker: &Asker) {
    let peer = &asker.peer;
    match refusal {
        Refusal::Denied { key, why } if !peer.was_denied.swap(true, Ordering::Relaxed) => {
            let end = why.end(Action::Play, key);
            let (conn, side) = (peer.presence.id, end.side.label());
            info!(conn, peer = %peer.ip, stream = %key, side, reason = %end.reason, "HTTP requests are refused");
            EVENTS.note(EventKind::PlayRefused, Some(key), Some(peer.ip), end.told());
        }
        Refusal::NoStream { key, why: NoStream::Full(why) } => {
            info!(stream = %key, reason = %why, "HTTP requests are refused");
            let full = Detail::new("full", [&why.to_string()], &why.to_string());
            EVENTS.note(EventKind::PlayRefused, Some(key), Some(asker.ip), full);
        }
        Refusal::Guesses { key } => {
            let reason = "too many requests for missing HLS segments";
            info!(peer = %asker.ip, stream = %key, reason, "HTTP requests are refused");
        }
        Refusal::Denied { .. }
        | Refusal::BadName(_)
        | Refusal::NoStream { .. }
        | Refusal::Unfit { .. } => {}
    }
}
