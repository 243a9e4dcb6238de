//! The API port: health, SRS's calls, and ours.
//!
//! ```text
//! connection ─► serve (TLS, certificate) ─► script (JSONP, CORS) ─► rights ─► a call ─► answer in its envelope
//!                                                         scope=cluster ─► cluster: the same call at every peer ─┘
//! ```
//!
//! Each call says where it is implemented what it answers, and is listed once, below, with its method and path; the
//! router is made from that list, and so is the description in `docs/api/openapi.json`, by a test ([`document`]).

mod about;
mod answer;
mod beside;
mod children;
mod clients;
mod clock;
mod cluster;
pub mod console;
mod document;
mod features;
mod foreign;
mod gate;
mod happenings;
mod heartbeat;
mod nodes;
mod operate;
mod page;
mod peers;
mod proc;
mod record;
mod recording;
pub mod rights;
mod samples;
mod script;
mod serve;
mod slots;
mod sources;
mod srs;
mod state;
mod still;
mod streams;
mod system;
mod upload;
mod upstream;
mod wall;
mod who;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    routing::{self, get},
};
use http::{Request, StatusCode, Uri, uri::PathAndQuery};
use tower::ServiceExt as _;

use self::{
    answer::{Failure, Identity},
    samples::Samples,
    state::Api,
    wall::Wall,
};
pub use self::{
    beside::Beside,
    gate::Gate,
    serve::Service,
    state::{Listens, Media, MediaPorts},
};
use crate::{
    metrics,
    operate::{control::Control, readiness},
    tls::Tls,
};

/// What the API port serves, and what ports for metrics alone do. Needs a tokio runtime.
pub fn routers(
    control: &Arc<Control>,
    tls: &Arc<Tls>,
    gate: &Arc<Gate>,
    media: &Media,
) -> (Router, Router) {
    about::started();
    let node = &control.node;
    let api = Api {
        node: Arc::clone(node),
        control: Arc::clone(control),
        identity: Arc::new(Identity::of(node.hooks.names())),
        samples: Samples::start(node),
        peers: Arc::default(),
        tls: Arc::clone(tls),
        gate: Arc::clone(gate),
        wall: Wall::start(node),
        ports: media.ports.clone(),
        addresses: media.addresses.clone().into(),
    };
    tokio::spawn(heartbeat::beat(api.clone(), media.listens.clone()));
    let reads = reads()
        .route("/api/v1/openapi.json", get(document::described))
        .fallback(|| async { Failure::new(StatusCode::NOT_FOUND, "no such path") });
    let metrics = metrics::router(control, tls);
    let probes = probes().with_state(api.clone());
    let alone = rights::monitoring(metrics.clone(), node).merge(probes.clone());
    let calls = rights::reading(reads.with_state(api.clone()), node)
        .merge(rights::monitoring(metrics, node))
        .merge(rights::administering(admin().with_state(api), node))
        .merge(console::routes(&media.ports))
        .merge(probes)
        .method_not_allowed_fallback(|| async {
            Failure::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed for this call")
        });
    let calls = script::layered(Router::new().fallback_service(calls), node, gate);
    // SRS's scripts write a slash behind lists.
    let slashless =
        |calls: Router| Router::new().fallback_service(calls.map_request(without_last_slash));
    (slashless(calls), slashless(alone))
}

/// Declares calls, each with its method and path: what routes them and, for the test that describes them, what they say
/// of themselves. A call cannot be in one and not in the other.
macro_rules! calls {
    ($router:ident, $described:ident { $($method:ident $path:literal $module:ident::$call:ident;)* }) => {
        fn $router() -> Router<Api> {
            Router::new()$(.route($path, routing::$method($module::$call)))*
        }

        #[cfg(test)]
        #[derive(utoipa::OpenApi)]
        #[openapi(paths($($module::$call),*))]
        struct $described;

        #[cfg(test)]
        impl $described {
            const CALLS: &[(&str, &str)] = &[$((stringify!($method), $path)),*];
        }
    };
}

calls! {
    reads, Reads {
        get "/api" about::root;
        get "/api/v1" about::index;
        get "/api/v1/versions" about::versions;
        get "/api/v1/summaries" about::summaries;
        get "/api/v1/features" features::features;
        get "/api/v1/rusages" proc::rusages;
        get "/api/v1/self_proc_stats" proc::self_proc_stats;
        get "/api/v1/system_proc_stats" proc::system_proc_stats;
        get "/api/v1/meminfos" proc::meminfos;
        get "/api/v1/authors" srs::authors;
        get "/api/v1/requests" srs::requests;
        get "/api/v1/perf" srs::perf;
        get "/api/v1/tcmalloc" srs::tcmalloc;
        get "/api/v1/clusters" srs::clusters;
        get "/api/v1/raw" srs::raw;
        get "/api/v1/tests/requests" srs::test_requests;
        get "/api/v1/tests/errors" srs::test_errors;
        get "/api/v1/tests/redirects" srs::test_redirects;
        get "/api/v1/vhosts" streams::vhosts;
        get "/api/v1/vhosts/{id}" streams::vhost;
        get "/api/v1/streams" streams::streams;
        get "/api/v1/streams/{id}" streams::stream;
        get "/api/v1/streams/{id}/history" wall::history;
        get "/api/v1/streams/{id}/still" still::still;
        get "/api/v1/streams/{id}/clients" clients::of_stream;
        get "/api/v1/wall" wall::wall;
        get "/api/v1/events" happenings::events;
        get "/api/v1/nodes" nodes::nodes;
        get "/api/v1/session" who::session;
        get "/api/v1/clients" clients::clients;
        get "/api/v1/clients/{id}" clients::client;
        get "/api/v1/origins" upstream::origins;
        get "/api/v1/pulls" upstream::pulls;
        get "/api/v1/hls_cache" upstream::hls_cache;
        get "/api/v1/uploads" upload::uploads;
        get "/api/v1/children" children::children;
        get "/api/v1/config" operate::config;
        get "/api/v1/config/sources" sources::sources;
        get "/api/v1/reload" operate::reloads;
    }
}

calls! {
    admin, Admin {
        delete "/api/v1/clients/{id}" clients::kick;
        delete "/api/v1/streams/{id}/publisher" clients::kick_publisher;
        post "/api/v1/streams/{id}/record" record::start;
        delete "/api/v1/streams/{id}/record" record::stop;
        post "/api/v1/reload" operate::reload;
        post "/api/v1/drain" operate::drain;
    }
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
            let faults = readiness::faults(&api.node).into_iter();
            let lines = ["ok".to_owned()].into_iter().chain(faults);
            (StatusCode::OK, lines.map(|line| line + "\n").collect())
        }
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

fn without_last_slash<B>(mut request: Request<B>) -> Request<B> {
    let uri = request.uri();
    // The console's own address ends in one: what its page names is beside it.
    if uri.path() == "/console/" {
        return request;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
