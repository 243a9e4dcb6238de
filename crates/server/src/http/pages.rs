//! Pages: the player, and what leads to it.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::State,
    response::{Html, IntoResponse, Redirect, Response},
};
use http::StatusCode;
use weir_rtmp::url::PORT as DEFAULT_PORT;

use super::answer::{no_room, plain};
use crate::{memory, node::Node};

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
