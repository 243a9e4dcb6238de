//! Pages: the player and its files, and what leads to it.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode};
use weir_console::{Asset, policy};

use super::answer::plain;
use crate::node::Node;

/// What the names of the player's files begin with.
const FILES: &str = "/player/";

/// Whether `path` is that of a file of the player. A stream of the app `player` has another ending.
pub fn is_file(path: &str) -> bool {
    path.strip_prefix(FILES).is_some_and(|name| Asset::find(name).is_some())
}

/// The page that plays a stream: `/player?stream=live/demo`. Pages of others may show it where `http.embed` allows it.
pub async fn player(State(node): State<Arc<Node>>, request: Request) -> Response {
    let embedders: Vec<_> = node.config().http.embed.iter().map(ToString::to_string).collect();
    page(&request, &policy::player(&embedders))
}

/// The first page, where no stream is shown: it asks for the name of one, and says nothing else.
pub async fn first(request: Request) -> Response {
    page(&request, &policy::player(&[]))
}

/// Leads to the page that plays `stream`.
pub fn leads_to(stream: &str) -> Response {
    Redirect::temporary(&format!("/player?stream={stream}")).into_response()
}

/// A file of the player.
pub async fn file(request: Request) -> Response {
    let name = request.uri().path().strip_prefix(FILES).unwrap_or_default();
    match Asset::find(name).filter(|asset| !asset.is_page()) {
        Some(asset) => answer(&asset, request.headers(), policy::NOTHING),
        None => plain(StatusCode::NOT_FOUND, "no such file"),
    }
}

fn page(request: &Request, policy: &str) -> Response {
    match Asset::find("player.html") {
        Some(asset) => answer(&asset, request.headers(), policy),
        None => plain(StatusCode::NOT_FOUND, "no such page"),
    }
}

/// A file with what browsers are told of it, or that their copy of it is still good.
pub fn answer(asset: &Asset, fields: &HeaderMap, policy: &str) -> Response {
    let known = fields.get("if-none-match").and_then(|tags| tags.to_str().ok());
    let is_tag = |tag: &str| tag.trim().trim_start_matches("W/") == asset.tag();
    let mut answer = match known.is_some_and(|tags| tags.split(',').any(is_tag)) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => asset.packed().into_response(),
    };
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    };
    // All browsers take it, and so does who does not say what it takes (RFC 9110 section 12.5.3).
    put("content-encoding", "gzip");
    put("content-type", asset.kind());
    put("etag", asset.tag());
    put("cache-control", "no-cache");
    put("x-content-type-options", "nosniff");
    // Parameters may be secrets.
    put("referrer-policy", "no-referrer");
    put("content-security-policy", policy);
    answer
}
