//! This node, and who it gets its streams from: what a picture of the cluster is drawn of.

use axum::extract::State;
use serde::Serialize;
use weir_config::Role;
use weir_hub::Status;
use weir_media::ids;

#[cfg(test)]
use super::answer::{Answer, ReadFailures};
use super::{
    about,
    answer::{Failure, Params, Scoped},
    cluster,
    state::{Api, MediaPorts},
    system,
};

/// Pulls that are named: beyond that there are too many to be looked at one by one.
const PULLS_MAX: usize = 1000;

/// A node of the cluster.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct NodeState {
    /// `origin` or `edge`.
    role: &'static str,
    /// `starting`, `serving`, `notice` (it will drain in a moment) or `draining`.
    phase: &'static str,
    /// The version of the server.
    version: &'static str,
    /// Seconds since its start.
    uptime_s: u64,
    /// Streams that are published or pulled here.
    streams: usize,
    /// Viewers over all protocols.
    viewers: usize,
    /// Kilobits a second received lately.
    recv_kbps: u64,
    /// Kilobits a second sent to viewers lately.
    send_kbps: u64,
    /// The limit of what is sent (`limits.egress`), in bits a second; 0 without one.
    egress_limit_bps: u64,
    /// Cores that the process uses.
    cpu: f64,
    /// Cores that it may use.
    cpus: usize,
    /// Bytes used of the memory budget.
    memory_bytes: usize,
    /// That budget (`limits.memory`); 0 if there is none.
    memory_limit_bytes: usize,
    media: MediaPorts,
    /// Addresses that its media ports listen at, where those are not all of the machine.
    addresses: Vec<String>,
    /// The origins of an edge.
    origins: Vec<NodeOrigin>,
    /// The streams that an edge pulls, or looks for: the first thousand.
    pulls: Vec<NodePull>,
}

/// An origin, as an edge sees it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct NodeOrigin {
    /// Its address and port.
    address: String,
    /// Whether it is available.
    healthy: bool,
    /// Why it failed last; null if it has not.
    #[cfg_attr(test, schema(required))]
    last_failure: Option<String>,
}

/// A stream that an edge pulls.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct NodePull {
    /// The stream's id.
    stream: String,
    /// Its full name.
    url: String,
    /// `asking` or `flowing`.
    state: &'static str,
    /// The origin that it comes from; null while it does not flow.
    #[cfg_attr(test, schema(required))]
    origin: Option<String>,
    /// How long it has come from there, in milliseconds; null while it does not flow.
    #[cfg_attr(test, schema(required))]
    since_ms: Option<u64>,
}

/// A node.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Nodes {
    data: NodeState,
}

/// This node: what it does, what it could, where its media are, and from whom it has its streams; with `scope=cluster`
/// that of every node.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/nodes", tag = "server", params(Scoped),
    responses((status = 200, body = inline(Answer<Nodes>)), ReadFailures)))]
pub async fn nodes(
    State(api): State<Api>,
    Params(Scoped { scope }): Params<Scoped>,
) -> Result<cluster::Text, Failure> {
    let data = describe(&api);
    cluster::side_by_side(&api, scope, "nodes", Nodes { data }).await
}

fn describe(api: &Api) -> NodeState {
    let node = &api.node;
    let config = node.config();
    let kbps = api.samples.of_process(node);
    let budget = node.streams.registry.budget();
    let memory = budget.limit();
    let known = node.edge.as_ref().map(|edge| edge.origins().status()).unwrap_or_default();
    let origins = known.into_iter().map(|origin| NodeOrigin {
        address: origin.address.to_string(),
        healthy: origin.healthy,
        last_failure: origin.last_failure,
    });
    let pulls = node.edge.as_ref().map(|edge| edge.pulls()).unwrap_or_default();
    let pulls = pulls.into_iter().take(PULLS_MAX).map(|(key, answer)| {
        let from = answer.source();
        NodePull {
            stream: ids::stream(&key),
            url: key.to_string(),
            state: answer.label(),
            origin: from.map(|(origin, _)| origin.to_string()),
            since_ms: from.map(|(_, since)| since.elapsed().as_millis() as u64),
        }
    });
    let mut pulls: Vec<_> = pulls.collect();
    pulls.sort_by(|a, b| a.url.cmp(&b.url));
    NodeState {
        role: match config.role {
            Role::Origin => "origin",
            Role::Edge => "edge",
        },
        phase: node.phase().label(),
        version: about::VERSION,
        uptime_s: about::started().elapsed().as_secs(),
        streams: node
            .streams
            .registry
            .stats()
            .iter()
            .filter(|it| it.status == Status::Live)
            .count(),
        viewers: node.clients.quotas.viewers_total(),
        recv_kbps: kbps.recv_30s,
        send_kbps: kbps.send_30s,
        egress_limit_bps: node.clients.quotas.egress(),
        cpu: api.samples.load().own_cpu,
        cpus: system::cpus(),
        memory_bytes: budget.used(),
        memory_limit_bytes: if memory == usize::MAX { 0 } else { memory },
        media: MediaPorts { embeds: !config.http.embed.is_empty(), ..api.ports.clone() },
        addresses: api.addresses.iter().map(ToString::to_string).collect(),
        origins: origins.collect(),
        pulls,
    }
}
