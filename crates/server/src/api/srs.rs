//! Calls that are there because SRS has them.

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse as _, Redirect, Response},
};
use http::{StatusCode, header::HOST};
use serde::{Deserialize, Serialize};
use weir_hub::Status;
use weir_media::StreamKey;

#[cfg(test)]
use super::answer::{ReadFailures, Refused};
use super::{
    answer::{Answer, Failure, Params, code},
    operate,
    proc::Data,
    rights,
    state::Api,
    system::{labelled, own_memory, read},
};

/// Who made this.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Authors {
    /// The licence, as an SPDX expression.
    license: &'static str,
    /// Who contributed.
    contributors: &'static str,
}

/// Who made this server.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/authors", tag = "server",
    responses((status = 200, body = inline(Answer<Data<Authors>>)), ReadFailures)))]
pub async fn authors(State(api): State<Api>) -> Json<Answer<Data<Authors>>> {
    let data = Authors { license: env!("CARGO_PKG_LICENSE"), contributors: "The Weir authors" };
    api.identity.answer(Data::new(data))
}

/// The request itself, as far as SRS tells of it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Echo {
    /// The URL.
    uri: String,
    /// Its path.
    path: String,
    /// The method.
    #[serde(rename = "METHOD")]
    method: String,
    /// Under this name SRS tells of itself.
    headers: About,
}

/// What SRS tells of itself; the spelling is SRS's.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct About {
    /// The server.
    sigature: &'static str,
    /// Its version.
    version: &'static str,
    /// Where it is from; empty.
    link: &'static str,
    /// The server's clock, in milliseconds since 1970-01-01 UTC.
    time: u64,
}

/// The request itself. Its fields are not told: they may be secrets.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/requests", tag = "server",
    responses((status = 200, body = inline(Answer<Data<Echo>>)), ReadFailures)))]
pub async fn requests(State(api): State<Api>, request: Request) -> Json<Answer<Data<Echo>>> {
    echo(&api, &request)
}

/// The same, where SRS has it.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/tests/requests", tag = "server",
    responses((status = 200, body = inline(Answer<Data<Echo>>)), ReadFailures)))]
pub async fn test_requests(State(api): State<Api>, request: Request) -> Json<Answer<Data<Echo>>> {
    echo(&api, &request)
}

fn echo(api: &Api, request: &Request) -> Json<Answer<Data<Echo>>> {
    let path = request.uri().path().to_owned();
    let headers = About {
        sigature: "Weir",
        version: env!("CARGO_PKG_VERSION"),
        link: "",
        time: super::clock::millis(std::time::SystemTime::now()),
    };
    let uri = format!("http://{}{path}", host(request));
    let method = request.method().to_string();
    api.identity.answer(Data::new(Echo { uri, path, method, headers }))
}

fn host(request: &Request) -> &str {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    host.unwrap_or("localhost")
}

/// A code and nothing else.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Code {
    code: u32,
}

/// Always an error, for tests: code 100.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/tests/errors", tag = "server",
    responses((status = 200, body = Code), ReadFailures)))]
pub async fn test_errors() -> Json<Code> {
    Json(Code { code: 100 })
}

/// Always a redirect, for tests.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/tests/redirects", tag = "server",
    responses((status = 301, description = "to `/api/v1/tests/errors`"), ReadFailures)))]
pub async fn test_redirects() -> Response {
    let mut response = Redirect::permanent("/api/v1/tests/errors").into_response();
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response
}

/// What was asked.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema, utoipa::IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub struct PerfQuery {
    /// Accepted, and of no effect: figures are in `/metrics`.
    #[serde(default)]
    target: String,
    /// Accepted, and of no effect.
    #[serde(default)]
    reset: String,
}

/// What SRS measured of its writing until version 3.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Perf {
    query: PerfQuery,
    /// Viewers on each delivery thread.
    viewers_per_shard: Vec<usize>,
    /// Where figures are.
    help: &'static str,
}

/// How delivery does. SRS has this no more; the figures of this server are in `/metrics`.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/perf", tag = "server", params(PerfQuery),
    responses((status = 200, body = inline(Answer<Data<Perf>>)), ReadFailures)))]
pub async fn perf(
    State(api): State<Api>,
    Params(query): Params<PerfQuery>,
) -> Result<Json<Answer<Data<Perf>>>, Failure> {
    let viewers_per_shard = api.node.delivery.shards.viewers();
    let help = "latencies and rates are in /metrics";
    Ok(api.identity.answer(Data::new(Perf { query, viewers_per_shard, help })))
}

/// What was asked.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub struct TcmallocQuery {
    /// Accepted, and of no effect.
    #[serde(default)]
    page: String,
}

/// The memory of this process, as SRS's builds with tcmalloc tell of it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Tcmalloc {
    query: Asked,
    /// Always 0.
    release_rate: f64,
    generic: Generic,
    tcmalloc: Caches,
}

/// What was asked, and what can be.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Asked {
    page: String,
    help: &'static str,
}

/// What every allocator has.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Generic {
    /// Resident memory, in bytes.
    current_allocated_bytes: u64,
    /// Address space of data, in bytes.
    heap_size: u64,
}

/// What only tcmalloc has: 0, for this server has another allocator.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Caches {
    pageheap_free_bytes: u64,
    pageheap_unmapped_bytes: u64,
    slack_bytes: u64,
    max_total_thread_cache_bytes: u64,
    current_total_thread_cache_bytes: u64,
}

/// The memory of this process, in the form of SRS's builds with tcmalloc.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/tcmalloc", tag = "server", params(TcmallocQuery),
    responses((status = 200, body = inline(Answer<Data<Tcmalloc>>)), ReadFailures)))]
pub async fn tcmalloc(
    State(api): State<Api>,
    Params(TcmallocQuery { page }): Params<TcmallocQuery>,
) -> Json<Answer<Data<Tcmalloc>>> {
    let data = Tcmalloc {
        query: Asked { page, help: "?page=summary|detail" },
        release_rate: 0.0,
        generic: Generic {
            current_allocated_bytes: own_memory() * 1024,
            heap_size: labelled(&read("/proc/self/status"), "VmData:") * 1024,
        },
        tcmalloc: Caches::default(),
    };
    api.identity.answer(Data::new(data))
}

/// Which stream is looked for.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub struct ClusterQuery {
    /// The address of the client that wants it.
    #[serde(default)]
    ip: String,
    /// Its vhost.
    #[serde(default)]
    vhost: String,
    /// Its app.
    #[serde(default)]
    app: String,
    /// Its name.
    #[serde(default)]
    stream: String,
    /// How this server is called by who asks.
    #[serde(default)]
    coworker: String,
}

/// Whether a stream is published here, for another origin of SRS.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Cluster {
    query: Wanted,
    /// Where it is played; null if it is not published here.
    #[cfg_attr(test, schema(required))]
    origin: Option<Here>,
}

/// What was asked for.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Wanted {
    ip: String,
    vhost: String,
    app: String,
    stream: String,
}

/// Where a stream is played.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Here {
    /// A name or an address of this server.
    ip: String,
    /// Its port of RTMP.
    port: u16,
    /// The vhost of the stream.
    vhost: String,
    /// Host and port of this API.
    api: String,
    /// The servers that were asked: this one.
    routers: Vec<String>,
}

/// Whether a stream is published here: what origins of SRS ask each other before they redirect a viewer.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/clusters", tag = "streams", params(ClusterQuery),
    responses((status = 200, body = inline(Answer<Data<Cluster>>)), ReadFailures)))]
pub async fn clusters(
    State(api): State<Api>,
    Params(query): Params<ClusterQuery>,
    request: Request,
) -> Result<Json<Answer<Data<Cluster>>>, Failure> {
    let config = api.node.config();
    let vhost = config.vhost(&query.vhost).name;
    let is_here = StreamKey::new(&vhost, &query.app, &query.stream).is_ok_and(|key| {
        let all = api.node.stream_stats();
        api.node.edge.is_none() && all.iter().any(|it| it.key == key && it.status == Status::Live)
    });
    let asked = if query.coworker.is_empty() { host(&request) } else { &query.coworker };
    let origin = is_here.then(|| {
        let port =
            |listen: &[std::net::SocketAddr], usual| listen.first().map_or(usual, |it| it.port());
        let own = config.rtmp.listen.first().map(|it| it.ip());
        let own = own.filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
        let ip = own.map_or_else(|| without_port(asked).to_owned(), |ip| ip.to_string());
        let host =
            if ip.contains(':') && !ip.starts_with('[') { format!("[{ip}]") } else { ip.clone() };
        let backend = format!("{host}:{}", port(&config.api.listen, 1985));
        let port = port(&config.rtmp.listen, 1935);
        Here { ip, port, vhost: vhost.clone(), api: backend.clone(), routers: vec![backend] }
    });
    let ClusterQuery { ip, vhost, app, stream, .. } = query;
    let query = Wanted { ip, vhost, app, stream };
    Ok(api.identity.answer(Data::new(Cluster { query, origin })))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

/// What `raw` is asked.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(utoipa::IntoParams))]
#[cfg_attr(test, into_params(parameter_in = Query))]
pub struct RawQuery {
    /// `raw` for what is allowed, `reload` to reload, `reload-fetch` for how the last reload went.
    #[serde(default)]
    rpc: String,
}

/// What `raw` answers: the member that was asked for.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Raw {
    /// Of `rpc=raw`.
    #[serde(skip_serializing_if = "Option::is_none")]
    http_api: Option<HttpApi>,
    /// Of `rpc=reload-fetch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Fetched>,
}

/// The API, as SRS configures it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct HttpApi {
    enabled: bool,
    /// The first address that it listens on.
    listen: String,
    /// Whether pages of others may read it (`api.web_origins`).
    crossdomain: bool,
    raw_api: RawApi,
}

/// What `raw` may do.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct RawApi {
    /// As `api.raw_reload` says.
    enabled: bool,
    /// The same.
    allow_reload: bool,
    /// Always false, as the call has been taken out of SRS.
    allow_query: bool,
    /// Always false, as the call has been taken out of SRS.
    allow_update: bool,
}

/// How the last reload went.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
struct Fetched {
    /// 0, or 1023 if the configuration was not applied.
    err: u32,
    /// Why it was not.
    msg: String,
    /// 0 before the first reload, 90 when one has ended, as in SRS.
    state: u32,
    /// How many there were.
    rid: String,
}

/// SRS's raw API: what it may do, and reloading with a GET if `api.raw_reload` allows it. Who reloads must be an
/// administrator where there is one, and no page of another site.
#[cfg_attr(test, utoipa::path(get, path = "/api/v1/raw", tag = "operation", params(RawQuery),
    responses(
        (status = 200, body = inline(Answer<Raw>)), ReadFailures,
        (status = 403, description = "it is not allowed", body = Refused),
        (status = 409, description = "it needs a restart; nothing was changed", body = Refused),
        (status = 422, description = "the configuration is invalid; nothing was changed", body = Refused),
        (status = 500, description = "a system call failed; nothing was changed", body = Refused),
    )))]
pub async fn raw(
    State(api): State<Api>,
    Params(RawQuery { rpc }): Params<RawQuery>,
    request: Request,
) -> Result<Json<Answer<Raw>>, Failure> {
    let config = api.node.config();
    let is_allowed = config.api.raw_reload;
    if rpc == "raw" {
        let listen = config.api.listen.first();
        let raw_api = RawApi {
            enabled: is_allowed,
            allow_reload: is_allowed,
            allow_query: false,
            allow_update: false,
        };
        let http_api = HttpApi {
            enabled: listen.is_some(),
            listen: listen.map(ToString::to_string).unwrap_or_default(),
            crossdomain: !config.api.web_origins.is_empty(),
            raw_api,
        };
        return Ok(api.identity.answer(Raw { http_api: Some(http_api), data: None }));
    }
    if !is_allowed {
        let error = "not allowed; set api.raw_reload, or use POST /api/v1/reload";
        return Err(refused(StatusCode::FORBIDDEN, code::RAW_DISABLED, error));
    }
    match &*rpc {
        "reload" => {
            rights::check_reload_by_get(&config.api, &request)
                .map_err(|failure| failure.with_code(code::RAW_DISABLED))?;
            drop(request);
            operate::reload_once(&api).await?;
            Ok(api.identity.answer(Raw::default()))
        }
        "reload-fetch" => {
            let last = api.control.reloader.last();
            let count = last.counts.iter().sum::<u64>();
            let data = Fetched {
                err: if last.is_success { 0 } else { CONFIG_INVALID },
                msg: last.error.unwrap_or_default(),
                state: if count > 0 { RELOAD_FINISHED } else { 0 },
                rid: count.to_string(),
            };
            Ok(api.identity.answer(Raw { http_api: None, data: Some(data) }))
        }
        _ => {
            Err(refused(StatusCode::BAD_REQUEST, code::RAW, "rpc: use raw, reload or reload-fetch"))
        }
    }
}

/// SRS's code for a configuration that is wrong.
const CONFIG_INVALID: u32 = 1023;

/// SRS's state of a reload that has ended.
const RELOAD_FINISHED: u32 = 90;

fn refused(status: StatusCode, code: u32, error: &str) -> Failure {
    Failure::new(status, error).with_code(code).with_srs_status()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_their_ports() {
        for (host, name) in [
            ("a:1985", "a"),
            ("a", "a"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("[fd00::1]:80", "[fd00::1]"),
            ("[fd00::1]", "[fd00::1]"),
            ("fd00::1", "fd00::1"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }
}
