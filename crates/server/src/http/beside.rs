//! What is served on a port of viewers beside streams: the API, where both have the same address.
//!
//! A connection belongs to nobody: each of its requests goes where its path says. It counts and is bounded as those of
//! viewers are; what is beside them bounds its answers itself. Whoever looks after the process must reach it to its
//! end, so that such a port stays open while everybody leaves: new viewers are turned away here then.

use std::{net::IpAddr, pin::Pin, sync::Arc};

use axum::response::{IntoResponse as _, Response};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use weir_clients::end::End;

use super::{
    answer::{plain, retry_after},
    peer::Peer,
};
use crate::{node::Node, phase::Phase};

/// What a connection is told that comes too late to play.
const LATE: &str = "this server is stopping";

/// What is served beside streams.
pub trait Beside: Send + Sync + 'static {
    /// Whether a request for `path` is for it, and for no stream.
    fn has(&self, path: &str) -> bool;

    /// What answers the requests of a connection from `ip`.
    fn calls(&self, ip: IpAddr) -> Arc<dyn Calls>;
}

/// What answers those requests of one connection that are for no stream.
pub trait Calls: Send + Sync + 'static {
    /// Answers one of `peer`.
    fn answer(&self, peer: Peer, request: Request<Incoming>) -> Answering;

    /// Resolves when an answer was not taken in time, with the end of the connection.
    fn until_overdue(&self) -> Pin<Box<dyn Future<Output = End> + Send + '_>>;
}

/// An answer that is being made.
pub type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A connection to a port that something is served on beside streams.
#[derive(Clone)]
pub struct Guest {
    beside: Arc<dyn Beside>,
    calls: Arc<dyn Calls>,
    /// Whether it came when nobody new was served any more.
    is_late: bool,
}

impl Guest {
    /// From `ip`, now.
    pub fn new(beside: &Arc<dyn Beside>, node: &Node, ip: IpAddr) -> Self {
        let is_late = *node.phase.borrow() == Phase::Draining;
        Self { beside: Arc::clone(beside), calls: beside.calls(ip), is_late }
    }

    /// Whether a request for `path` is for no stream here.
    pub fn has(&self, path: &str) -> bool {
        self.beside.has(path)
    }

    /// Whether a request for this path, which may have a query behind it, is not answered as one for a stream.
    pub fn takes(&self, target: &str) -> bool {
        self.is_late || self.has(target.split('?').next().unwrap_or_default())
    }

    /// Answers a request that it takes.
    pub async fn answer(
        &self,
        node: &Node,
        peer: Arc<Peer>,
        request: Request<Incoming>,
    ) -> Response {
        if !self.has(request.uri().path()) {
            let answer = plain(StatusCode::SERVICE_UNAVAILABLE, LATE);
            return (retry_after(), [("connection", "close")], answer).into_response();
        }
        // Somebody asks how the server is for as long as it is there: it does not wait for that.
        node.clients.roster.set_apart(&peer.presence);
        self.calls.answer(Arc::unwrap_or_clone(peer), request).await
    }
}

/// Resolves when the connection of `guest`, if it is one, has to end.
pub async fn until_overdue(guest: Option<&Guest>) -> End {
    match guest {
        Some(guest) => guest.calls.until_overdue().await,
        None => std::future::pending().await,
    }
}
