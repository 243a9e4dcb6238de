//! Who asks for HLS, and what is counted for whom.

use std::{
    borrow::Cow,
    net::IpAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use axum::{body::Body, response::Response};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use weir_clients::{
    quota::{Meter, SESSION, Who},
    roster::Activity,
};
use weir_media::StreamKey;
use weir_rtmp::url::params;

use crate::{
    http::{conditional::Conditions, peer::Peer},
    node::Node,
    play::{Request, Resolved},
};

/// Who asks.
pub struct Asker {
    /// The address.
    pub ip: IpAddr,
    /// The beginning of the `User-Agent`.
    pub agent: String,
    /// What it has already, and which part it wants.
    pub conditions: Conditions,
    /// Whether it wants no body: it only looks.
    pub is_head: bool,
    /// The connection that it asks on.
    pub peer: Arc<Peer>,
}

impl Asker {
    /// Resolves when the connection is to end: who waits on it is answered then.
    pub async fn leaving(&self) {
        self.peer.presence.until_farewell().await;
    }
}

/// By what the viewer tells itself apart, if it does.
pub fn session<'a>(request: &Request<'a>) -> Cow<'a, str> {
    params::value(&request.ask.params, SESSION).unwrap_or_default()
}

/// What tells this viewer apart.
pub fn who<'a>(resolved: &'a Resolved<'_>, session: &'a str, asker: &'a Asker) -> Who<'a> {
    let (key, is_node) = (resolved.key, resolved.is_node());
    Who { key, ip: asker.ip, agent: &asker.agent, session, permission: "", is_node }
}

/// Tells others what the connection is used for: it fetches files for viewers of HLS, and waits for `stream`.
pub fn asks(asker: &Asker, stream: Option<&StreamKey>) {
    asker.peer.presence.note(|doing| {
        doing.fetches = true;
        doing.asks = stream.map(|stream| (Activity::Play, stream.clone()));
    });
}

/// The same answer, of which each byte is counted that is sent.
pub fn counted(
    node: &Arc<Node>,
    answer: Response,
    meter: Option<Meter>,
    asker: &Asker,
) -> Response {
    if !answer.status().is_success() || asker.is_head {
        return answer;
    }
    // What is in memory is in one piece, which is taken as soon as the answer is.
    if let Some(length) = answer.body().size_hint().exact() {
        count(node, length, meter.as_ref());
        return answer;
    }
    let node = Arc::clone(node);
    answer.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let sent = frame.data_ref().map_or(0, |data| data.len() as u64);
            count(&node, sent, meter.as_ref());
            frame
        }))
    })
}

/// Counts so many bytes that a viewer is sent.
pub fn count(node: &Node, sent: u64, meter: Option<&Meter>) {
    node.clients.quotas.count_sent(sent);
    if let Some(meter) = meter {
        meter.fetch_add(sent, Relaxed);
    }
}
