//! What an edge gets from its origins.

use std::collections::HashMap;

use axum::{Json, extract::State};
use serde::Serialize;
use weir_media::ids;

#[cfg(test)]
use super::answer::ReadFailures;
use super::{
    answer::{Answer, Failure, Params, Scoped},
    cluster,
    state::Api,
};

/// An origin.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Origin {
    /// The address and port of its RTMP service.
    address: String,
    /// The entry of `edge.origins` that it was found by.
    host: String,
    /// Whether it is available, as far as this edge knows.
    healthy: bool,
    /// How long it has been in this state, in milliseconds.
    since_ms: u64,
    /// The reason of its last failure; null if it has not failed.
    #[cfg_attr(test, schema(required))]
    last_failure: Option<String>,
    /// How often it has been checked after a failure.
    checks: u64,
}

/// Origins, in the order of `edge.origins`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Origins {
    origins: Vec<Origin>,
}

/// The origins of an edge and their health; none on an origin.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/origins", tag = "edge", params(Scoped),
    responses((status = 200, body = inline(Answer<Origins>)), ReadFailures)))]
pub async fn origins(
    State(api): State<Api>,
    Params(Scoped { scope }): Params<Scoped>,
) -> Result<cluster::Text, Failure> {
    let known = api.node.edge.as_ref().map(|edge| edge.origins().status()).unwrap_or_default();
    let origins = known.into_iter().map(|origin| Origin {
        address: origin.address.to_string(),
        host: origin.host,
        healthy: origin.healthy,
        since_ms: origin.since.elapsed().as_millis() as u64,
        last_failure: origin.last_failure,
        checks: origin.checks,
    });
    let origins = Origins { origins: origins.collect() };
    cluster::merged(&api, scope, ("origins", "origins"), origins).await
}

/// A stream that an edge has from an origin, or asks for.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Pull {
    /// The stream's id, the same on all nodes.
    stream: String,
    /// Its full name, with app and vhost.
    url: String,
    /// `asking` while the origins are asked for it, or `flowing`.
    state: &'static str,
    /// The origin that it comes from; null while it does not flow.
    #[cfg_attr(test, schema(required))]
    origin: Option<String>,
    /// How long it has come from there, in milliseconds; null while it does not flow.
    #[cfg_attr(test, schema(required))]
    since_ms: Option<u64>,
    /// Bytes received, from all origins together.
    recv_bytes: u64,
}

/// Pulls.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Pulls {
    pulls: Vec<Pull>,
}

/// The streams that an edge has from its origins; none on an origin.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/pulls", tag = "edge", params(Scoped),
    responses((status = 200, body = inline(Answer<Pulls>)), ReadFailures)))]
pub async fn pulls(
    State(api): State<Api>,
    Params(Scoped { scope }): Params<Scoped>,
) -> Result<cluster::Text, Failure> {
    let known = api.node.edge.as_ref().map(|edge| edge.pulls()).unwrap_or_default();
    let stats = api.node.streams.registry.stats();
    let bytes: HashMap<_, _> = stats.iter().map(|stream| (&stream.key, stream.bytes)).collect();
    let mut pulls: Vec<_> = known
        .into_iter()
        .map(|(key, answer)| {
            let from = answer.source();
            Pull {
                stream: ids::stream(&key),
                url: key.to_string(),
                state: answer.label(),
                origin: from.map(|(origin, _)| origin.to_string()),
                since_ms: from.map(|(_, since)| since.elapsed().as_millis() as u64),
                recv_bytes: bytes.get(&key).copied().unwrap_or(0),
            }
        })
        .collect();
    pulls.sort_by(|a, b| a.url.cmp(&b.url));
    cluster::merged(&api, scope, ("pulls", "pulls"), Pulls { pulls }).await
}

/// Figures of an edge's HLS cache, counted since the start.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct HlsCache {
    /// Playlists, segments and other objects requested from origins.
    fetches: u64,
    /// Requests answered from the cache.
    hits: u64,
    /// Requests that waited for an object that was being fetched already for another request.
    coalesced: u64,
    /// Requests answered with an older playlist because no origin answered.
    stale: u64,
    /// Fetches that failed.
    failures: u64,
    /// Bytes held in the cache now.
    bytes: u64,
    /// Objects held in the cache now.
    entries: usize,
    /// Bytes of all objects now: in the cache, being fetched, and being sent.
    memory: u64,
}

/// The HLS cache.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct HlsCaches {
    /// Null on an origin.
    #[cfg_attr(test, schema(required))]
    hls_cache: Option<HlsCache>,
}

/// What an edge's HLS cache has done since the start; null on an origin.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/hls_cache", tag = "edge",
    responses((status = 200, body = inline(Answer<HlsCaches>)), ReadFailures)))]
pub async fn hls_cache(State(api): State<Api>) -> Json<Answer<HlsCaches>> {
    let stats = api.node.edge.as_ref().map(|edge| edge.hls().stats());
    let hls_cache = stats.map(|stats| HlsCache {
        fetches: stats.fetches,
        hits: stats.hits,
        coalesced: stats.coalesced,
        stale: stats.stale,
        failures: stats.failures,
        bytes: stats.bytes,
        entries: stats.entries,
        memory: stats.memory,
    });
    api.identity.answer(HlsCaches { hls_cache })
}
