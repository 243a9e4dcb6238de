//! The API port: health and the first of SRS's calls.

use std::sync::Arc;

use axum::{Json, Router, extract::State, routing::get};
use http::StatusCode;
use serde_json::{Value, json};
use weir_hub::Status;

use crate::{control::Control, metrics, node::Node};

#[derive(Clone)]
struct Api {
    node: Arc<Node>,
    control: Arc<Control>,
}

/// What the API port serves.
pub fn router(control: &Arc<Control>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/startupz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/api/v1/versions", get(versions))
        .route("/api/v1/summaries", get(summaries))
        .route("/api/v1/streams", get(streams))
        .route("/api/v1/origins", get(origins))
        .route("/api/v1/pulls", get(pulls))
        .route("/api/v1/hls_cache", get(hls_cache))
        .with_state(Api { node: Arc::clone(&control.node), control: Arc::clone(control) })
        .merge(metrics::router(control))
}

/// Whether new clients are welcome, and if not, why.
async fn ready(State(api): State<Api>) -> (StatusCode, String) {
    match api.node.readiness() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn versions() -> Json<Value> {
    let version = env!("CARGO_PKG_VERSION");
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    let (major, minor, revision) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    Json(json!({
        "code": 0, "server": "weir",
        "data": { "major": major, "minor": minor, "revision": revision, "version": version },
    }))
}

async fn summaries(State(api): State<Api>) -> Json<Value> {
    let streams = api.node.registry.stats();
    let publishing = streams.iter().filter(|stream| stream.status == Status::Live).count();
    Json(json!({
        "code": 0, "server": "weir",
        "data": {
            "ok": true,
            "self": { "pid": std::process::id(), "version": env!("CARGO_PKG_VERSION") },
            "clients": api.node.places.taken(),
            "streams": publishing,
            "viewers": api.node.quotas.viewers_total(),
            "send_bytes": api.node.quotas.sent(),
            "expected_send_bps": api.node.quotas.expected(),
            "viewers_per_shard": api.node.shards.viewers(),
            "log_bytes": api.node.registry.budget().used(),
        },
    }))
}

async fn streams(State(api): State<Api>) -> Json<Value> {
    let streams: Vec<Value> = api
        .node
        .registry
        .stats()
        .iter()
        .map(|stream| {
            let is_published = stream.status == Status::Live;
            let viewers = api.node.quotas.viewers(&stream.key);
            json!({
                "vhost": stream.key.vhost(), "app": stream.key.app(), "name": stream.key.stream(),
                "url": stream.key.to_string(),
                "publish": { "active": is_published },
                "clients": viewers + usize::from(is_published), "viewers": viewers,
                "status": format!("{:?}", stream.status).to_lowercase(),
                "live_ms": stream.since.map_or(0, |since| since.elapsed().as_millis()),
                "frames": stream.frames, "recv_bytes": stream.bytes,
                "log_bytes": stream.held, "timestamp_repairs": stream.repairs,
            })
        })
        .collect();
    Json(json!({ "code": 0, "server": "weir", "streams": streams }))
}

/// The origins of an edge and their health; none on an origin.
async fn origins(State(api): State<Api>) -> Json<Value> {
    let known = api.node.edge.as_ref().map(|edge| edge.origins().status()).unwrap_or_default();
    let origins: Vec<Value> = known
        .iter()
        .map(|origin| {
            json!({
                "address": origin.address, "host": origin.host, "healthy": origin.healthy,
                "since_ms": origin.since.elapsed().as_millis(),
                "last_failure": origin.last_failure, "checks": origin.checks,
            })
        })
        .collect();
    Json(json!({ "code": 0, "server": "weir", "origins": origins }))
}

/// The streams that an edge pulls; none on an origin.
async fn pulls(State(api): State<Api>) -> Json<Value> {
    let known = api.node.edge.as_ref().map(|edge| edge.pulls()).unwrap_or_default();
    let pulls: Vec<Value> = known
        .iter()
        .map(|(key, answer)| json!({ "url": key.to_string(), "state": answer.label() }))
        .collect();
    Json(json!({ "code": 0, "server": "weir", "pulls": pulls }))
}

/// What an edge's HLS cache has done since the start; nothing on an origin.
async fn hls_cache(State(api): State<Api>) -> Json<Value> {
    let stats = api.node.edge.as_ref().map(|edge| edge.hls().stats());
    let figures = stats.map(|stats| {
        json!({
            "fetches": stats.fetches, "hits": stats.hits, "coalesced": stats.coalesced,
            "stale": stats.stale, "failures": stats.failures, "bytes": stats.bytes,
            "entries": stats.entries, "memory": stats.memory,
        })
    });
    Json(json!({ "code": 0, "server": "weir", "hls_cache": figures }))
}
