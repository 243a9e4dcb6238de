//! The API port: health, SRS's calls, and ours.
//!
//! ```text
//! connection ─► serve (TLS, certificate) ─► rights ─► a call ─► answer in its envelope
//!                                                      └─ scope=cluster ─► cluster: the same call at every peer
//! ```
//!
//! Each call is declared where it is implemented, with what it answers; [`openapi`] is made from these declarations,
//! and so is the router: a call cannot be in one and not in the other.

mod about;
mod answer;
mod clients;
mod cluster;
mod foreign;
mod gate;
mod ids;
mod operate;
mod peers;
pub mod rights;
mod samples;
mod serve;
mod slots;
mod state;
mod streams;
mod system;
mod upstream;

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{Request, StatusCode, Uri, header::CONTENT_TYPE, uri::PathAndQuery};
use tower::ServiceExt as _;
use utoipa::{
    OpenApi as _,
    openapi::{
        OpenApi, PathItem,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    answer::{Failure, Identity},
    samples::Samples,
    state::Api,
};
pub use self::{gate::Gate, serve::Service};
use crate::{
    metrics,
    operate::{control::Control, readiness},
    tls::Tls,
};

/// What the API port serves. Needs a tokio runtime.
pub fn router(control: &Arc<Control>, tls: &Arc<Tls>, gate: &Arc<Gate>) -> Router {
    about::started();
    let node = &control.node;
    let api = Api {
        node: Arc::clone(node),
        control: Arc::clone(control),
        identity: Arc::new(Identity::of_process()),
        samples: Samples::start(node),
        peers: Arc::default(),
        tls: Arc::clone(tls),
        gate: Arc::clone(gate),
    };
    let (reads, _) = reads().split_for_parts();
    let (admin, _) = admin().split_for_parts();
    let reads = reads
        .route("/api/v1/openapi.json", get(described))
        .fallback(|| async { Failure::new(StatusCode::NOT_FOUND, "no such path") });
    let calls = rights::reading(reads.with_state(api.clone()), node)
        .merge(rights::monitoring(metrics::router(control), node))
        .merge(rights::administering(admin.with_state(api.clone()), node))
        .merge(probes().with_state(api))
        .method_not_allowed_fallback(|| async {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed for this call")
        });
    // SRS's scripts write a slash behind lists.
    Router::new().fallback_service(calls.map_request(without_last_slash))
}

fn reads() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(about::index))
        .routes(routes!(about::versions))
        .routes(routes!(about::summaries))
        .routes(routes!(about::features))
        .routes(routes!(streams::vhosts))
        .routes(routes!(streams::vhost))
        .routes(routes!(streams::streams))
        .routes(routes!(streams::stream))
        .routes(routes!(clients::clients))
        .routes(routes!(clients::client))
        .routes(routes!(upstream::origins))
        .routes(routes!(upstream::pulls))
        .routes(routes!(upstream::hls_cache))
        .routes(routes!(operate::config))
        .routes(routes!(operate::reloads))
}

fn admin() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(clients::kick))
        .routes(routes!(clients::kick_publisher))
        .routes(routes!(operate::reload))
        .routes(routes!(operate::drain))
}

/// For whoever must know whether the process is well, without any right.
fn probes() -> Router<Api> {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/startupz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
}

/// Whether new clients are welcome, and if not, why. What costs no client anything is said beside it.
async fn ready(State(api): State<Api>) -> (StatusCode, String) {
    match readiness::of(&api.node) {
        Ok(()) => {
            let faults = readiness::faults(&api.node.hls).into_iter();
            let lines = ["ok".to_owned()].into_iter().chain(faults);
            (StatusCode::OK, lines.map(|line| line + "\n").collect())
        }
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

fn without_last_slash<B>(mut request: Request<B>) -> Request<B> {
    let uri = request.uri();
    if let Some(path) = uri.path().strip_suffix('/').filter(|path| !path.is_empty()) {
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        if let Ok(path) = PathAndQuery::try_from(format!("{path}{query}")) {
            let mut parts = uri.clone().into_parts();
            parts.path_and_query = Some(path);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    request
}

/// The description of all calls but the probes, for programs.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Weir",
        description = "The API of a Weir server: SRS's calls with SRS's field names and numbers, and Weir's own.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "server", description = "What this server is, and its state"),
        (name = "streams", description = "Streams and vhosts"),
        (name = "clients", description = "Who is connected"),
        (name = "edge", description = "What an edge gets from its origins"),
        (name = "operation", description = "Configuration, reload and drain"),
    ),
)]
struct Document;

/// The name of the one way to show rights that the document describes.
const BEARER: &str = "bearer";

/// The description of all calls but the probes, for programs: OpenAPI 3.1.
pub fn openapi() -> OpenApi {
    let bearer = SecurityRequirement::new(BEARER, [""; 0]);
    let mut document = Document::openapi();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    // Without `api.read_tokens`, those in `api.read_from` may read.
    let read = secured(reads().into_openapi(), &[SecurityRequirement::default(), bearer.clone()]);
    let admin = secured(admin().into_openapi(), &[bearer]);
    document.merge(read);
    document.merge(admin);
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(BEARER, SecurityScheme::Http(scheme));
    document
}

/// Answers with the description. Whoever reaches the port may have it, and making it is dear: it is made once.
async fn described() -> Response {
    static TEXT: LazyLock<Result<Bytes, String>> =
        LazyLock::new(|| openapi().to_json().map(Bytes::from).map_err(|why| why.to_string()));
    match &*TEXT {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text.clone()).into_response(),
        Err(why) => Failure::new(StatusCode::INTERNAL_SERVER_ERROR, why.as_str()).into_response(),
    }
}

fn secured(mut document: OpenApi, by: &[SecurityRequirement]) -> OpenApi {
    for item in document.paths.paths.values_mut() {
        let PathItem { get, post, delete, .. } = item;
        for operation in [get, post, delete].into_iter().flatten() {
            operation.security = Some(by.to_vec());
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Write it with `WEIR_BLESS=1 cargo test -p weir-server openapi`.
    #[test]
    fn openapi_in_the_documentation_is_the_present_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api/openapi.json");
        let text = openapi().to_pretty_json().expect("it can be written") + "\n";
        if std::env::var_os("WEIR_BLESS").is_some() {
            std::fs::write(path, &text).expect("written");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == text,
            "docs/api/openapi.json is old: WEIR_BLESS=1 cargo test -p weir-server openapi"
        );
    }

    #[test]
    fn a_slash_at_the_end_of_a_path_means_nothing() {
        let of = |uri: &str| {
            let request = Request::builder().uri(uri).body(()).expect("a request");
            without_last_slash(request).uri().to_string()
        };
        assert_eq!(of("/api/v1/streams/?count=5"), "/api/v1/streams?count=5");
        assert_eq!(of("/api/v1/"), "/api/v1");
        assert_eq!(
            (of("/"), of("/api/v1/streams")),
            ("/".to_owned(), "/api/v1/streams".to_owned())
        );
    }
}
