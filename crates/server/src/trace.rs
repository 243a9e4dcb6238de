//! Traces: what became of a connection, a pull or a push, as spans for an OpenTelemetry collector.
//!
//! Only with the feature `otlp`, and only where `OTEL_EXPORTER_OTLP_ENDPOINT` says where the collector is. Spans begin
//! and end with what the log has a line for, and never with a frame. Without the feature a [`Trail`] is nothing.

#[cfg(feature = "otlp")]
mod export;

use std::net::SocketAddr;

#[cfg(feature = "otlp")]
use tracing::{Span, field::Empty, info_span};
use weir_media::StreamKey;

#[cfg(feature = "otlp")]
pub use self::export::{exported, finish, is_wanted};
use crate::{
    end::{End, Side},
    roster::Activity,
};

/// The target of all spans, which the filter of the log must let through.
#[cfg(feature = "otlp")]
pub const TARGET: &str = "weir::trace";

/// A span that goes on until this is dropped.
#[derive(Debug)]
pub struct Trail {
    #[cfg(feature = "otlp")]
    span: Span,
}

#[cfg(feature = "otlp")]
macro_rules! trail {
    ($name:literal, $parent:expr $(, $field:ident = $value:expr)*) => {
        Trail {
            span: info_span!(
                target: TARGET, parent: $parent, $name, $($field = $value,)* side = Empty, kind = Empty, reason = Empty
            ),
        }
    };
}

#[cfg(feature = "otlp")]
impl Trail {
    /// Nothing that is worth a span.
    pub fn none() -> Self {
        Self { span: Span::none() }
    }

    /// A client has connected.
    pub fn connection(conn: u64, peer: SocketAddr, protocol: &'static str) -> Self {
        trail!(
            "connection",
            None,
            conn = conn,
            peer = tracing::field::display(peer),
            protocol = protocol
        )
    }

    /// It publishes or plays.
    pub fn activity(&self, activity: Activity, stream: &StreamKey) -> Self {
        let stream = stream.to_string();
        match activity {
            Activity::Publish => trail!("publish", &self.span, stream = stream),
            Activity::Play => trail!("play", &self.span, stream = stream),
            Activity::Control => Self::none(),
        }
    }

    /// A stream is fetched from an origin.
    pub fn pull(stream: &StreamKey) -> Self {
        trail!("pull", None, stream = stream.to_string())
    }

    /// A stream is passed on to an origin.
    pub fn push(stream: &StreamKey) -> Self {
        trail!("push", None, stream = stream.to_string())
    }

    /// It ends like this.
    pub fn end(&self, end: &End) {
        self.span.record("kind", end.kind.label());
        self.end_by(end.side, &end.reason);
    }

    /// The same, for what is no session.
    pub fn end_by(&self, side: Side, reason: &str) {
        self.span.record("side", side.label()).record("reason", reason);
    }
}

#[cfg(not(feature = "otlp"))]
#[expect(clippy::unused_self, reason = "with the feature there is something in it")]
impl Trail {
    /// Nothing that is worth a span.
    pub fn none() -> Self {
        Self {}
    }

    /// A client has connected.
    pub fn connection(_conn: u64, _peer: SocketAddr, _protocol: &'static str) -> Self {
        Self {}
    }

    /// It publishes or plays.
    pub fn activity(&self, _activity: Activity, _stream: &StreamKey) -> Self {
        Self {}
    }

    /// A stream is fetched from an origin.
    pub fn pull(_stream: &StreamKey) -> Self {
        Self {}
    }

    /// A stream is passed on to an origin.
    pub fn push(_stream: &StreamKey) -> Self {
        Self {}
    }

    /// It ends like this.
    pub fn end(&self, _end: &End) {}

    /// The same, for what is no session.
    pub fn end_by(&self, _side: Side, _reason: &str) {}
}
