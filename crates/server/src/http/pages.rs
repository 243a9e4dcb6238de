//! Pages, and the routing of everything that is named after a stream.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::Ordering},
};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{Html, IntoResponse, Redirect, Response},
};
use http::{HeaderMap, Method, StatusCode};
use tracing::info;
use weir_clients::{
    SERVER,
    counts::Refused,
    quota::{RETRY_AFTER, Refusal},
};
use weir_edge::{Ask, Hops, NoStream};
use weir_media::StreamKey;
use weir_rtmp::url::PORT as DEFAULT_PORT;

use super::{ANY_ORIGIN, Peer, conditional::Conditions, forwarded, hls, late, room::no_room};
use crate::{
    auth::{Action, Denied},
    memory,
    node::Node,
    route::{self, Route},
};

/// Fields that a page may send from anywhere.
const ALLOWED_HEADERS: &str =
    "*, Authorization, Range, If-Range, If-None-Match, Cache-Control, Content-Type";

/// Bytes of a `User-Agent` that tell viewers apart.
const AGENT_BYTES_MAX: usize = 512;

/// The page that plays a stream: `/player?stream=live/demo`.
const PLAYER: &str = include_str!("../../assets/player.html");

/// The page, and what it may do: run its own script, whatever else gets into it, and fetch from here. Nothing else may
/// show it inside of itself.
pub async fn player(State(node): State<Arc<Node>>) -> Response {
    let port = match node.config().rtmp.listen.first().map(SocketAddr::port) {
        None | Some(0 | DEFAULT_PORT) => String::new(),
        Some(port) => format!(":{port}"),
    };
    let Ok((high, low)) = getrandom::u64().and_then(|high| Ok((high, getrandom::u64()?))) else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "no random bytes from the system");
    };
    let nonce = format!("{high:016x}{low:016x}");
    let page = PLAYER.replace("%RTMP_PORT%", &port).replace("%NONCE%", &nonce);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         media-src 'self' blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let headers = [
        ("content-security-policy", policy.as_str()),
        ("x-content-type-options", "nosniff"),
        // Parameters may be secrets.
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ];
    match memory::output(node.streams.registry.budget(), page) {
        Ok(page) => (headers, Html(page)).into_response(),
        Err(spent) => no_room(&spent.to_string()),
    }
}

/// Leads to the page that plays `stream`.
pub fn leads_to(stream: &str) -> Response {
    Redirect::temporary(&format!("/player?stream={stream}")).into_response()
}

/// Counts the connection for the client whose request comes now: proxies send those of many over one.
pub async fn count(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>() else { return next.run(request).await };
    let config = node.config();
    let trusted = &config.http.trusted_proxies;
    if trusted.iter().any(|network| network.contains(&peer.ip)) {
        let ip = client(&node, &request);
        if ip == peer.ip {
            peer.standing.count_for_nobody();
        } else if let Err(refusal) = peer.standing.count(&node.clients.quotas, ip) {
            Refused::from(&refusal).count();
            return (retry_after(), plain(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string()))
                .into_response();
        }
        peer.presence.note(|doing| doing.peer = SocketAddr::new(ip, 0));
    }
    next.run(request).await
}

/// `/app/stream.m3u8`, `/app/stream-<sequence>-<nonce>.ts`, `/app/stream.flv`.
pub async fn media(State(node): State<Arc<Node>>, request: Request) -> Response {
    let is_head = match *request.method() {
        Method::GET => false,
        Method::HEAD => true,
        Method::OPTIONS => return preflight(),
        _ => {
            return plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET, HEAD and OPTIONS are served here",
            );
        }
    };
    let field = request.headers().get("host").and_then(|host| host.to_str().ok());
    // The target may name the host itself, and counts then (RFC 9112 section 3.2.2).
    let named = request.uri().authority().map(|authority| authority.as_str());
    let host = named.or(field).unwrap_or_default();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let Some(route) = Route::of(target, host) else {
        return not_found("no such path");
    };
    if route.extension == "m3u8"
        && let Some(location) = with_slashes(target)
        // A path of a stream has no empty parts, so that this one does not lead to another host.
        && route.resolve(&node).is_ok()
    {
        let fields = [("location", location.as_str()), ("cache-control", "no-store"), ANY_ORIGIN];
        return (StatusCode::FOUND, fields).into_response();
    }
    let agent = request.headers().get("user-agent").map_or(&[][..], |agent| agent.as_bytes());
    let asker = Asker {
        ip: client(&node, &request),
        agent: String::from_utf8_lossy(&agent[..agent.len().min(AGENT_BYTES_MAX)]).into_owned(),
        conditions: Conditions::of(request.headers(), is_head),
        connection: request.extensions().get().cloned(),
    };
    let ask = Ask { peer: Some(asker.ip), ..ask(&route, request.headers()) };
    // Nothing else of it is needed, and it may wait.
    drop(request);
    serve(&node, &route, ask, is_head, &asker).await
}

/// The same target with slashes for those that are percent-encoded in its path; none without any. What a playlist names
/// is beside it, and an encoded slash is none where players look for that.
fn with_slashes(target: &str) -> Option<String> {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let slashed = path.replace("%2F", "/").replace("%2f", "/");
    (slashed != path).then(|| slashed + query)
}

/// Who asks.
pub struct Asker {
    /// The address.
    pub ip: IpAddr,
    /// The beginning of the `User-Agent`.
    pub agent: String,
    /// What it has already, and which part it wants.
    pub conditions: Conditions,
    /// The connection that it asks on.
    pub connection: Option<Peer>,
}

fn ask(route: &Route, fields: &HeaderMap) -> Ask {
    let field = |name| fields.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let [hops, wait, next] = [Hops::HEADER, Ask::WAIT_HEADER, Ask::NEXT_HEADER].map(field);
    Ask::of_fields(route.params(), hops, wait, next)
}

/// The address of who asks.
fn client(node: &Node, request: &Request) -> IpAddr {
    let peer =
        request.extensions().get().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer: &Peer| peer.ip);
    let fields = request.headers().get_all(forwarded::FIELD).iter();
    // What a client has written may be anything, and proxies append the truth to it.
    let fields: Vec<_> = fields.map(|field| String::from_utf8_lossy(field.as_bytes())).collect();
    let fields = fields.iter().map(|field| &**field);
    forwarded::client(&node.config().http.trusted_proxies, peer, fields).unwrap_or(peer)
}

async fn serve(
    node: &Arc<Node>,
    route: &Route,
    ask: Ask,
    is_head: bool,
    asker: &Asker,
) -> Response {
    let segment = route.segment();
    let named = segment.as_ref().map_or(route, |(stream, _)| stream);
    let (key, vhost) = match named.resolve(node) {
        Ok(resolved) => resolved,
        Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let checked = match &segment {
        Some((_, name)) if name.nonce.is_some() => node.auth.check_segment(&vhost.auth, asker.ip),
        _ => node.auth.check(&vhost.auth, Action::Play, &key, &ask.params, asker.ip),
    };
    if let Err(denied) = checked {
        return refuse(node, &key, &denied, asker, !ask.hops.is_empty()).await;
    }
    let may_guess = node.edge.is_some() && !ask.params.is_empty();
    let is_node = !ask.hops.is_empty();
    let answer = match (route.extension.as_str(), segment) {
        (route::FLV, _) => {
            late::serve(Arc::clone(node), key, vhost, ask, is_head, asker.connection.clone()).await
        }
        ("m3u8", _) => hls::playlist(node, &key, &vhost, &ask, is_head, asker).await,
        (_, Some((_, name))) => hls::segment(node, &key, &vhost, &ask, name, asker).await,
        _ => not_found("stream paths end in .flv or .m3u8"),
    };
    // The origins have been shown something wrong.
    match &asker.connection {
        Some(peer) if may_guess && answer.status() == StatusCode::FORBIDDEN => {
            peer.hold_back(&node.clients.wrong_secrets, asker.ip, is_node).await;
            ([("connection", "close")], answer).into_response()
        }
        _ => answer,
    }
}

/// 403 for a viewer that may not have `key`. The log says it once for each connection, which can ask as often as it
/// likes.
async fn refuse(
    node: &Node,
    key: &StreamKey,
    denied: &Denied,
    asker: &Asker,
    is_node: bool,
) -> Response {
    if let Some(peer) = &asker.connection
        && !peer.was_denied.swap(true, Ordering::Relaxed)
    {
        let end = denied.end(Action::Play, key);
        let (conn, side) = (peer.presence.id, end.side.label());
        info!(conn, peer = %peer.ip, stream = %key, side, reason = %end.reason, "HTTP requests are refused");
    }
    let refused = plain(StatusCode::FORBIDDEN, &denied.to_string());
    match &asker.connection {
        Some(peer) if denied.may_be_guess() => {
            peer.hold_back(&node.clients.wrong_secrets, asker.ip, is_node).await;
            ([("connection", "close")], refused).into_response()
        }
        _ => refused,
    }
}

/// 404 with a reason that a person can read.
pub fn not_found(reason: &str) -> Response {
    plain(StatusCode::NOT_FOUND, reason)
}

/// What a viewer is told that gets no stream.
pub fn no_stream(key: &StreamKey, why: &NoStream) -> Response {
    match why {
        NoStream::Full(refusal) => refused(key, refusal),
        _ if why.status() == StatusCode::SERVICE_UNAVAILABLE => {
            (retry_after(), plain(why.status(), &why.to_string())).into_response()
        }
        _ => plain(why.status(), &why.to_string()),
    }
}

/// When one who is refused for now may come back.
pub fn retry_after() -> [(&'static str, String); 1] {
    [("retry-after", RETRY_AFTER.as_secs().to_string())]
}

/// 503 for a viewer of `key` that there is no room for now.
pub fn refused(key: &StreamKey, refusal: &Refusal) -> Response {
    info!(stream = %key, reason = %refusal, "HTTP requests are refused");
    if *refusal == Refusal::Kicked {
        return plain(StatusCode::FORBIDDEN, &refusal.to_string());
    }
    (retry_after(), plain(StatusCode::SERVICE_UNAVAILABLE, &refusal.to_string())).into_response()
}

/// An answer in a sentence, not to be cached.
pub fn plain(status: StatusCode, reason: &str) -> Response {
    let headers = [
        ANY_ORIGIN,
        ("cache-control", "no-store"),
        ("server", SERVER),
        // It may repeat a name that somebody has made up.
        ("x-content-type-options", "nosniff"),
    ];
    (status, headers, format!("{reason}\n")).into_response()
}

fn preflight() -> Response {
    let headers = [
        ANY_ORIGIN,
        ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
        // The star does not stand for `Authorization` (Fetch section 3.3.3), and old browsers do not know it.
        ("access-control-allow-headers", ALLOWED_HEADERS),
        ("access-control-max-age", "86400"),
    ];
    (StatusCode::NO_CONTENT, headers, Body::empty()).into_response()
}
