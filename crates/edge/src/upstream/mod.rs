//! Connections to an origin: streams that are played from it, and that are published to it.

mod flv;
mod request;
mod rtmp;

use std::{sync::atomic::AtomicBool, time::Duration};

use weir_config::Upstream;
use weir_rtmp::message;
use weir_upstream::{
    Failure, Sink, Source,
    client::{self, RtmpClient},
};

use crate::origins::{Origin, Port};

pub use request::Request;

/// Asks `origin` for a stream and resolves once its first tag has come; `connected` is set as soon as there is a TCP
/// connection. Dropping the future closes the connection.
///
/// The question must be put within `dead_after`, and the first tag must come within `request.wait` and another
/// `dead_after`.
///
/// # Errors
/// When no stream comes, with the reason.
pub async fn open_source(
    origin: &Origin,
    protocol: Upstream,
    request: &Request,
    dead_after: Duration,
    connected: &AtomicBool,
) -> Result<Source, Failure> {
    match origin.protocol(protocol) {
        Upstream::Rtmp => {
            let call = rtmp::call(origin, request, dead_after)?;
            Source::play(origin.connect(Port::Rtmp, connected), call).await
        }
        Upstream::Flv => {
            let (settings, call) =
                (request.settings.now(), flv::call(origin, request, dead_after)?);
            let asked = flv::Asked { origin, settings: &settings.edge };
            Source::download(&asked, call, connected).await
        }
    }
}

/// Asks `origin` to take a stream and resolves once it agrees; `greeted` is set as soon as it has answered the
/// handshake. Dropping the future closes the connection.
///
/// The question must be put within `dead_after`, and the answer must come within `request.wait` more.
///
/// # Errors
/// When the origin does not take it, with the reason.
pub async fn open_sink(
    origin: &Origin,
    request: &Request,
    dead_after: Duration,
    greeted: &AtomicBool,
) -> Result<Sink, Failure> {
    let call = rtmp::call(origin, request, dead_after)?;
    Sink::publish(origin.connect(Port::Rtmp, &AtomicBool::new(false)), call, greeted).await
}

/// Asks `origin` to play a stream until it has decided, and goes: for one that knows no questions.
///
/// # Errors
/// When it does not let it play, with the reason.
pub async fn may_play(
    origin: &Origin,
    protocol: Upstream,
    request: &Request,
    dead_after: Duration,
    connected: &AtomicBool,
) -> Result<(), Failure> {
    match origin.protocol(protocol) {
        Upstream::Rtmp => {
            let call = rtmp::call(origin, request, dead_after)?;
            weir_upstream::play(origin.connect(Port::Rtmp, connected), call).await.map(drop)
        }
        Upstream::Flv => {
            let (settings, call) =
                (request.settings.now(), flv::call(origin, request, dead_after)?);
            let asked = flv::Asked { origin, settings: &settings.edge };
            Source::may_download(&asked, call, connected).await
        }
    }
}

/// A connection to `origin` for questions, and how many it lets wait for their answers at a time: none if it knows no
/// questions. `request` is the first one.
///
/// # Errors
/// When there is none; [`Failure::Refused`] and [`Failure::Missing`] are the doing of servers that know no questions.
pub async fn questions(
    origin: &Origin,
    request: &Request,
    dead_after: Duration,
    connected: &AtomicBool,
) -> Result<(RtmpClient, usize), Failure> {
    let call = rtmp::call(origin, request, dead_after)?;
    weir_upstream::questions(origin.connect(Port::Rtmp, connected), call).await
}

/// The question whether `request` would be let play.
///
/// # Errors
/// When no stream can have this name in RTMP.
pub fn question(origin: &Origin, request: &Request) -> Result<message::Question, Failure> {
    let url = rtmp::url(origin, request)?;
    let (tc_url, name) = (url.tc_url, url.stream_with_query);
    let (hops, page_url) = (request.hops.to_string(), request.page_url.to_string());
    Ok(message::Question { tc_url, name, hops, page_url })
}

/// What it says of an origin that a connection with questions was lost: nothing, if the origin has closed it.
pub fn lost_question(lost: &client::Lost) -> Option<Failure> {
    let lost = weir_upstream::lost(lost);
    lost.is_failure.then_some(Failure::Unreachable(lost.why))
}

#[cfg(test)]
mod tests;
