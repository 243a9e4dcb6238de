//! What this server is, and its state.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime},
};

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::Value;
use weir_config::Role;
use weir_hub::Status;

#[cfg(test)]
use super::answer::ReadFailures;
use super::{
    answer::{Answer, Failure, Params, Scoped},
    clock::millis,
    cluster,
    samples::{self, Kbps},
    state::Api,
    system::{self, Own, System},
};

/// Where calls are, by name.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Index {
    /// Name and what is to be had there.
    #[cfg_attr(test, schema(value_type = std::collections::BTreeMap<String, String>))]
    urls: Value,
    /// The same of calls for tests, below `tests/`.
    #[cfg_attr(test, schema(value_type = std::collections::BTreeMap<String, String>))]
    tests: Value,
}

/// Where versions of this API are.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Root {
    urls: Versioned,
}

/// The versions of this API.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Versioned {
    v1: &'static str,
}

/// The versions of this API.
#[cfg_attr(test, utoipa::path(get, path = "/api", tag = "server",
    responses((status = 200, body = inline(Answer<Root>)), ReadFailures)))]
pub async fn root(State(api): State<Api>) -> Json<Answer<Root>> {
    api.identity.answer(Root { urls: Versioned { v1: "version 1 of this API" } })
}

/// What can be asked here.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1", tag = "server",
    responses((status = 200, body = inline(Answer<Index>)), ReadFailures)))]
pub async fn index(State(api): State<Api>) -> Json<Answer<Index>> {
    let urls = serde_json::json!({
        "versions": "the version of this server",
        "summaries": "the state of this server and its system",
        "rusages": "what this process has used",
        "self_proc_stats": "this process, as the system describes it",
        "system_proc_stats": "the processors of the system",
        "meminfos": "the memory of the system",
        "authors": "the licence and the authors",
        "features": "the features of this server",
        "requests": "the request itself",
        "perf": "how delivery does",
        "tcmalloc": "the memory of this process",
        "clusters": "whether a stream is published here, for origins of SRS",
        "raw": "?rpc=raw for what is allowed, ?rpc=reload to reload",
        "vhosts": "the vhosts, or /{id}",
        "streams": "the streams, or /{id}",
        "clients": "the clients, or /{id}",
        "origins": "the origins of an edge",
        "pulls": "the streams that an edge pulls from its origins",
        "hls_cache": "the HLS cache of an edge",
        "uploads": "what waits to be uploaded",
        "children": "the programs that run for streams",
        "config": "the configuration in force",
        "reload": "the results of reloads; POST to reload",
        "drain": "POST to drain and stop",
        "openapi.json": "this API as an OpenAPI document",
    });
    let tests = serde_json::json!({
        "requests": "the request itself",
        "errors": "always the error 100",
        "redirects": "always a redirect to errors",
    });
    api.identity.answer(Index { urls, tests })
}

/// A version, in parts.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Version {
    /// The first number of the version.
    major: u32,
    /// The second one.
    minor: u32,
    /// The third one.
    revision: u32,
    /// The whole version.
    version: &'static str,
}

/// The version.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Versions {
    data: Version,
}

/// The version of this server.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of this server.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/versions", tag = "server", params(Scoped),
    responses((status = 200, body = inline(Answer<Versions>)), ReadFailures)))]
pub async fn versions(
    State(api): State<Api>,
    Params(Scoped { scope }): Params<Scoped>,
) -> Result<cluster::Text, Failure> {
    let mut parts = VERSION.split(['.', '-']).map(|part| part.parse().unwrap_or_default());
    let mut part = || parts.next().unwrap_or_default();
    let data = Version { major: part(), minor: part(), revision: part(), version: VERSION };
    cluster::side_by_side(&api, scope, "versions", Versions { data }).await
}

/// This process.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Process {
    /// The version of the server.
    version: &'static str,
    /// Its process id.
    pid: u32,
    /// The process id of its parent.
    ppid: u64,
    /// Its command line.
    argv: String,
    /// Its working directory.
    cwd: String,
    /// Resident memory (RSS), in KiB.
    mem_kbyte: u64,
    /// The part of the machine's memory that this is, 0 to 1 (not a percentage; the name is SRS's).
    mem_percent: f64,
    /// CPU time used, in cores: 0.5 is half of a core, 2 are two whole cores.
    cpu_percent: f64,
    /// Seconds since the server was started.
    srs_uptime: u64,
}

/// How the server does.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Summary {
    /// Always true.
    ok: bool,
    /// The server's clock, in milliseconds since 1970-01-01 UTC.
    now_ms: u64,
    #[serde(rename = "self")]
    own: Process,
    system: System,
    /// `origin` or `edge`.
    role: &'static str,
    /// What the server is doing: `starting`, `serving`, `notice` (it will drain in a moment, and is not ready any more)
    /// or `draining`.
    phase: &'static str,
    /// Connections to the RTMP and HTTP ports now.
    clients: usize,
    /// Connections to the RTMP and HTTP ports since the start.
    clients_total: u64,
    /// Streams that are being published.
    streams: usize,
    /// Viewers over all protocols. Edges that pull streams do not count.
    viewers: usize,
    /// Bytes received from clients since the start.
    recv_bytes: u64,
    /// Bytes sent to viewers since the start.
    send_bytes: u64,
    kbps: Kbps,
    /// What all viewers together are expected to be sent, in bits per second.
    expected_send_bps: u64,
    /// Viewers on each delivery thread.
    viewers_per_shard: Vec<usize>,
    /// Memory used of the budget `limits.memory`, in bytes.
    log_bytes: usize,
}

/// How the server does.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Summaries {
    data: Summary,
}

/// How this server and its system do.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/summaries", tag = "server", params(Scoped),
    responses((status = 200, body = inline(Answer<Summaries>)), ReadFailures)))]
pub async fn summaries(
    State(api): State<Api>,
    Params(Scoped { scope }): Params<Scoped>,
) -> Result<cluster::Text, Failure> {
    let body = Summaries::now(&api);
    cluster::side_by_side(&api, scope, "summaries", body).await
}

impl Summaries {
    /// How the server does now.
    pub fn now(api: &Api) -> Self {
        Self { data: summary(api) }
    }
}

fn summary(api: &Api) -> Summary {
    let node = &api.node;
    let traffic = samples::process(node);
    let load = api.samples.load();
    let clients = node.clients.permits.taken();
    let now_ms = millis(SystemTime::now());
    let own = Own { now_ms, received: traffic.received, sent: traffic.sent, clients };
    let system = system::system(&load, own);
    let streams = node.streams.registry.stats();
    Summary {
        ok: true,
        now_ms,
        own: this_process(&system, load.own_cpu),
        system,
        role: match node.config().role {
            Role::Origin => "origin",
            Role::Edge => "edge",
        },
        phase: node.phase().label(),
        clients,
        clients_total: node.clients.roster.came(),
        streams: streams.iter().filter(|stream| stream.status == Status::Live).count(),
        viewers: node.clients.quotas.viewers_total(),
        recv_bytes: traffic.received,
        send_bytes: traffic.sent,
        kbps: api.samples.process(traffic),
        expected_send_bps: node.clients.quotas.expected(),
        viewers_per_shard: node.delivery.shards.viewers(),
        log_bytes: node.streams.registry.budget().used(),
    }
}

fn this_process(system: &System, cpu_percent: f64) -> Process {
    let mem_kbyte = system::own_memory();
    let cwd = std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default();
    Process {
        version: VERSION,
        pid: std::process::id(),
        ppid: system::parent(),
        argv: std::env::args().collect::<Vec<_>>().join(" "),
        cwd,
        mem_kbyte,
        mem_percent: mem_kbyte as f64 / system.mem_ram_kbyte.max(1) as f64,
        cpu_percent,
        srs_uptime: started().elapsed().as_secs(),
    }
}

/// When the API was set up, which is at the start.
pub fn started() -> Instant {
    static STARTED: OnceLock<Instant> = OnceLock::new();
    *STARTED.get_or_init(Instant::now)
}
