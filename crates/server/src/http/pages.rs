//! Pages, and the routing of everything that is named after a stream.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    response::{Html, IntoResponse, Response},
};
use http::{Method, StatusCode};
use weir_rtmp::url::PORT as DEFAULT_PORT;

use super::{ANY_ORIGIN, flv, hls};
use crate::{
    node::{Node, SERVER},
    route::{self, Route},
};

/// The page that plays a stream: `/player?stream=live/demo`.
pub async fn player(State(node): State<Arc<Node>>) -> Html<String> {
    let port = match node.config.rtmp.listen.first().map(SocketAddr::port) {
        None | Some(0 | DEFAULT_PORT) => String::new(),
        Some(port) => format!(":{port}"),
    };
    Html(include_str!("../../assets/player.html").replace("%RTMP_PORT%", &port))
}

/// `/app/stream.m3u8`, `/app/stream-<sequence>.ts`, `/app/stream.flv`.
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
    let host =
        request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let Some(route) = Route::of(target, host) else {
        return not_found("there is nothing under this path");
    };
    serve(&node, &route, is_head).await
}

async fn serve(node: &Arc<Node>, route: &Route, is_head: bool) -> Response {
    let segment = if route.extension == "ts" { route.segment() } else { None };
    let named = segment.as_ref().map_or(route, |(stream, _)| stream);
    let (key, vhost) = match named.resolve(node) {
        Ok(resolved) => resolved,
        Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match (route.extension.as_str(), segment) {
        (route::FLV, _) => flv::serve_late(Arc::clone(node), key, vhost, is_head).await,
        ("m3u8", _) => hls::playlist(node, &key, &vhost).await,
        ("ts", Some((_, sequence))) => hls::segment(&key, &vhost, sequence).await,
        _ => not_found("streams end in .flv or .m3u8"),
    }
}

/// 404 with a reason that a person can read.
pub fn not_found(reason: &str) -> Response {
    plain(StatusCode::NOT_FOUND, reason)
}

/// An answer in a sentence, not to be cached.
pub fn plain(status: StatusCode, reason: &str) -> Response {
    let headers = [ANY_ORIGIN, ("cache-control", "no-store"), ("server", SERVER)];
    (status, headers, format!("{reason}\n")).into_response()
}

fn preflight() -> Response {
    let headers = [
        ANY_ORIGIN,
        ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
        ("access-control-allow-headers", "*"),
        ("access-control-max-age", "86400"),
    ];
    (StatusCode::NO_CONTENT, headers, Body::empty()).into_response()
}
