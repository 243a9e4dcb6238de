//! Sending spans away: a thread of the OpenTelemetry library with a bounded queue. What does not fit is dropped, so
//! that a collector that is away or slow disturbs nobody. The library's own variables (`OTEL_BSP_MAX_QUEUE_SIZE`,
//! `OTEL_SERVICE_NAME`, ...) hold.

use std::{env, sync::OnceLock, time::Duration};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::{layer::SubscriberExt as _, registry::LookupSpan};

/// Where the collector is. Without it nothing is exported.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// How long a collector may take for the last spans when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Whether spans are to be exported.
pub fn is_wanted() -> bool {
    env::var_os(ENDPOINT).is_some_and(|endpoint| !endpoint.is_empty())
}

/// `subscriber`, whose spans are exported if that is wanted. Not within a tokio runtime: the exporter has one of its
/// own.
pub fn exported<S>(subscriber: S, is_wanted: bool) -> Box<dyn Subscriber + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    if !is_wanted {
        return Box::new(subscriber);
    }
    let exporter =
        match SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).build() {
            Ok(exporter) => exporter,
            Err(error) => {
                crate::log::say(&format!("warning: no traces: {error}"));
                return Box::new(subscriber);
            }
        };
    let resource = Resource::builder();
    let resource = match env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => resource,
        None => resource.with_service_name("weir"),
    };
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .build();
    let provider = PROVIDER.get_or_init(|| provider);
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("weir"));
    Box::new(subscriber.with(layer))
}

/// Sends what has ended and is not sent yet.
pub fn finish() {
    if let Some(provider) = PROVIDER.get() {
        // Whether the collector has had it or not, the process ends.
        let _ = provider.shutdown_with_timeout(LAST_WORDS);
    }
}
