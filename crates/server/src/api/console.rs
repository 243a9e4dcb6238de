//! `/console/`: the page that operators look at, and its files. It has no rights of its own: it calls this API.

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use http::{StatusCode, header::HOST};
use weir_console::{Asset, policy};

use super::state::MediaPorts;
use crate::http::pages;

/// What is at `/console/`, and what leads there. It may fetch media from the `ports` of this host, and nothing else.
pub fn routes(ports: &MediaPorts) -> Router {
    let ports = ports.clone();
    let to_console = || async { Redirect::temporary("/console/") };
    Router::new()
        .route("/", get(to_console))
        .route("/console", get(to_console))
        .route("/console/", get(move |request: Request| async move { page(&ports, &request) }))
        .route("/console/{*file}", get(file))
}

fn page(ports: &MediaPorts, request: &Request) -> Response {
    let Some(asset) = Asset::find("console.html") else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let policy = policy::console(&media(ports, host));
    pages::answer(&asset, request.headers(), &policy)
}

async fn file(request: Request) -> Response {
    let name = request.uri().path().trim_start_matches("/console/");
    match Asset::find(name).filter(|asset| !asset.is_page()) {
        Some(asset) => pages::answer(&asset, request.headers(), policy::NOTHING),
        None => (StatusCode::NOT_FOUND, "no such file\n").into_response(),
    }
}

/// Where the media of this host are, for the policy of a page that was asked for with the field `host`.
fn media(ports: &MediaPorts, host: &str) -> Vec<String> {
    let Some(name) = policy::host_name(host) else { return Vec::new() };
    let plain =
        ports.http.map(|port| [format!("http://{name}:{port}"), format!("ws://{name}:{port}")]);
    let secure =
        ports.https.map(|port| [format!("https://{name}:{port}"), format!("wss://{name}:{port}")]);
    plain.into_iter().chain(secure).flatten().collect()
}
