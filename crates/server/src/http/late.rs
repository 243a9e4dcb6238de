//! HTTP-FLV on a connection that had served another request before: hyper has the socket, and sends the body.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::StatusCode;
use tracing::info;
use weir_clients::{
    counts::COUNTS,
    end::{End, seconds},
    quota::ViewerPermit,
    roster::{Activity, Figures, Presence},
};
use weir_config::Vhost;
use weir_delivery::{Channel, Format, View};
use weir_edge::Ask;
use weir_hub::Status;
use weir_media::StreamKey;

use super::{ANY_ORIGIN, Peer, flow::SocketProgress, pages};
use crate::{node::Node, play};

/// How often others are told how much it has been sent.
const REPORT: Duration = Duration::from_secs(1);

/// Answers a viewer whose request hyper has read. The body is hyper's to send, at a task and some 100 ns a frame more
/// than on a shard.
pub async fn serve(
    node: Arc<Node>,
    key: StreamKey,
    vhost: Vhost,
    ask: Ask,
    is_head: bool,
    peer: Option<Peer>,
) -> Response {
    let is_node = !ask.hops.is_empty();
    if let Some(peer) = &peer {
        peer.presence.note(|doing| {
            (doing.asks, doing.is_node) = (Some((Activity::Play, key.clone())), is_node);
            doing.fetches = false;
        });
    }
    let channel = match play::open(&node, &key, &vhost, Format::Flv, &ask).await {
        Ok(channel) => channel,
        Err(why) => return pages::no_stream(&key, &why),
    };
    let body = if is_head {
        Body::empty()
    } else {
        match play::admit(&node, &channel, is_node) {
            Ok(viewing) => {
                let session =
                    peer.map(|peer| Session::begin(&node, peer, &key, vhost.play.stall_timeout));
                Body::from_stream(LateViewer::stream(node, channel, viewing, session))
            }
            Err(why) => return pages::no_stream(&key, &why),
        }
    };
    Response::builder()
        .status(StatusCode::OK)
        .header("content-type", "video/x-flv")
        .header("cache-control", "no-store")
        .header(ANY_ORIGIN.0, ANY_ORIGIN.1)
        .body(body)
        .unwrap_or_default()
}

/// What a connection does while it plays; dropping it ends that, and says so in the log.
struct Session {
    node: Arc<Node>,
    presence: Arc<Presence>,
    flow: Arc<SocketProgress>,
    key: StreamKey,
    since: Instant,
    sent: u64,
    /// What the connection was sent before, as others know it.
    before: Figures,
    reported: Instant,
    /// Why it ends, where it is not for the connection's end.
    end: Option<End>,
}

impl Session {
    fn begin(node: &Arc<Node>, peer: Peer, key: &StreamKey, stall_timeout: Duration) -> Self {
        let Peer { presence, flow, .. } = peer;
        flow.limit_to(Some(stall_timeout));
        presence.note(|doing| doing.asks = None);
        node.clients.roster.turn(&presence, Activity::Play, Some(key));
        let (conn, peer) = (presence.id, presence.doing().peer);
        let (protocol, role) = (presence.protocol, Activity::Play.label());
        info!(conn, %peer, protocol, role, stream = %key, "session began");
        let (now, before) = (Instant::now(), presence.figures());
        let (node, key) = (Arc::clone(node), key.clone());
        Self { node, presence, flow, key, since: now, sent: 0, before, reported: now, end: None }
    }

    fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
        let now = Instant::now();
        if now.duration_since(self.reported) >= REPORT {
            self.reported = now;
            self.report();
        }
    }

    fn report(&self) {
        let sent = self.before.sent + self.sent;
        self.presence.report(Figures { sent, ..self.before });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.report();
        let stalled = self.flow.stalled();
        let farewell = self.presence.farewell();
        let end = self.end.take().or(stalled).or(farewell.map(|why| why.end()));
        let end = end.unwrap_or_else(End::closed);
        self.flow.limit_to(None);
        self.node.clients.roster.turn(&self.presence, Activity::Control, None);
        COUNTS.ended(Activity::Play, &end);
        let (conn, peer) = (self.presence.id, self.presence.doing().peer);
        let (protocol, role) = (self.presence.protocol, Activity::Play.label());
        let seconds = seconds(self.since.elapsed());
        info!(
            conn, %peer, protocol, role, stream = %self.key, side = end.side.label(), kind = end.kind.label(),
            reason = %end.reason, seconds, sent = self.sent, "session ended"
        );
    }
}

/// A viewer whose body hyper sends.
struct LateViewer {
    node: Arc<Node>,
    channel: Arc<Channel>,
    view: View,
    next: u64,
    /// The part of an entry at which it starts.
    rest: Option<Bytes>,
    started: bool,
    /// Goes before the session, whose end is a line of the log: who reads that finds one viewer less.
    _viewing: ViewerPermit,
    /// None without a connection, as in tests.
    session: Option<Session>,
}

impl LateViewer {
    fn stream(
        node: Arc<Node>,
        channel: Arc<Channel>,
        viewing: ViewerPermit,
        session: Option<Session>,
    ) -> impl futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> {
        let view = View::default();
        let viewer = Self {
            node,
            channel,
            view,
            next: 0,
            rest: None,
            started: false,
            _viewing: viewing,
            session,
        };
        futures_util::stream::unfold(viewer, |mut viewer| async move {
            let bytes = viewer.next().await?;
            viewer.node.clients.quotas.count_sent(bytes.len() as u64);
            if let Some(session) = &mut viewer.session {
                session.sent(bytes.len() as u64);
            }
            Some((Ok(bytes), viewer))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(rest) = self.rest.take() {
                return Some(rest);
            }
            let channel = Arc::clone(&self.channel);
            let changed = channel.next();
            self.channel.refresh(&mut self.view, Instant::now());
            let bytes = self.take();
            // It may not be asked again for long, and the log may have dropped by then what is here.
            self.view.go_to(self.next);
            if bytes.is_some() {
                return bytes;
            }
            let presence = self.session.as_ref().map(|session| Arc::clone(&session.presence));
            let is_to_leave = presence.as_ref().is_some_and(|it| it.farewell().is_some());
            let has_ended = self.view.status == Some(Status::Ended);
            if is_to_leave || has_ended {
                if let Some(session) = &mut self.session
                    && !is_to_leave
                {
                    session.end = Some(End::upstream("the stream ended"));
                }
                return None;
            }
            tokio::select! {
                () = changed => {}
                () = asked_to_leave(presence.as_deref()) => {}
            }
        }
    }

    fn take(&mut self) -> Option<Bytes> {
        if self.started
            && let Some(entry) = self.view.get(self.next)
        {
            self.next += 1;
            return Some(entry.clone());
        }
        if self.started && self.next >= self.view.end() {
            return None;
        }
        // At the start, or out of the window.
        let group = self.view.newest.as_ref()?;
        let entry = self.view.get(group.seq)?;
        let tracks = self.channel.tracks();
        let opening = if self.started {
            group.start.again(Format::Flv, tracks)
        } else {
            group.start.first(Format::Flv, tracks)
        };
        self.next = group.seq + 1;
        self.started = true;
        self.rest = Some(entry.slice(group.start.offset..));
        Some(opening)
    }
}

/// Resolves when whoever this is is to leave.
async fn asked_to_leave(presence: Option<&Presence>) {
    match presence {
        Some(presence) => drop(presence.until_farewell().await),
        None => std::future::pending().await,
    }
}
