//! Figures for Prometheus: `/metrics`.
//!
//! Nothing is kept for the sake of a page. What the process knows anyway is read when somebody asks ([`Live`]); what
//! only counts up is a plain atomic ([`COUNTS`](weir_clients::counts::COUNTS)); what takes time on a delivery shard
//! goes into a histogram of that shard. `docs/guide/monitoring.md` lists every series, and a test holds it against the
//! page.

mod hooks;
mod live;
mod page;
mod process;
mod renderer;
mod srs;
mod streams;
mod tls;
mod window;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header};
use prometheus_client::{encoding::text::encode, registry::Registry};
use weir_blocking::Pool;

use self::{live::Live, page::Shape, renderer::PageRenderer};
use crate::{operate::control::Control, tls::Tls};

/// All series of the process.
pub struct Metrics {
    series: Registry,
    desk: PageRenderer,
    /// Where they are written: one at a time, for all who ask.
    pool: Pool,
}

impl Metrics {
    /// The series of what `control` controls, and of `tls`. Needs a tokio runtime.
    pub fn new(control: &Arc<Control>, tls: &Arc<Tls>) -> Arc<Self> {
        let mut series = Registry::default();
        series.register_collector(Box::new(Live::start(control, tls)));
        let desk = PageRenderer::new(control.node.streams.registry.budget());
        Arc::new(Self { series, desk, pool: Pool::new("writing /metrics", 1) })
    }

    fn page(&self, shape: Shape) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.series)?;
        Ok(shape.render(text))
    }
}

/// `/metrics`.
pub fn router(control: &Arc<Control>, tls: &Arc<Tls>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(Metrics::new(control, tls))
}

async fn metrics(State(metrics): State<Arc<Metrics>>, fields: HeaderMap) -> Response {
    let accept = fields.get(header::ACCEPT).and_then(|field| field.to_str().ok());
    let shape = Shape::of(accept.unwrap_or_default());
    // A page looks at every client, and at `/proc`: milliseconds where there are tens of thousands.
    let write = {
        let metrics = Arc::clone(&metrics);
        async move || {
            let page = Arc::clone(&metrics);
            metrics.pool.run(move || page.page(shape)).await.ok()?.ok()
        }
    };
    match metrics.desk.page(shape, write).await {
        Some(page) => ([(header::CONTENT_TYPE, shape.content_type())], page).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
