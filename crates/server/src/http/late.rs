//! A stream as a file without an end on a connection that had served another request before: hyper has the socket, and
//! sends the body.

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
    roster::{Activity, Figures, Presence},
    session::ViewerSession,
};
use weir_delivery::{Channel, Container, Format, Framing, View};
use weir_hub::Status;
use weir_media::StreamKey;

use super::{answer::ANY_ORIGIN, io::SocketProgress, peer::Peer};
use crate::{
    node::Node,
    play::{
        self, Playing, Refusal, Request,
        live::{Live, LiveHead},
    },
};

/// How often others are told how much it has been sent.
const REPORT: Duration = Duration::from_secs(1);

/// Answers a viewer whose request hyper has read. The body is hyper's to send, at a task and some 100 ns a frame more
/// than on a shard.
///
/// # Errors
/// Why the viewer gets no stream.
pub async fn serve(
    node: &Arc<Node>,
    request: &Request<'_>,
    container: Container,
    is_head: bool,
    peer: &Peer,
) -> Result<Response, Refusal> {
    // The frames of HTTP are hyper's.
    let format = Format::File(container, Framing::Plain);
    let body = if is_head {
        play::request(node, request, &mut LiveHead(format)).await?;
        Body::empty()
    } else {
        let playing = play::request(node, request, &mut Live(format)).await?;
        let report = Report::begin(peer, &playing.key, playing.vhost.play.stall_timeout);
        Body::from_stream(LateViewer::stream(node, playing, report))
    };
    let answer = Response::builder()
        .status(StatusCode::OK)
        .header("content-type", container.media_type())
        .header("cache-control", "no-store")
        .header(ANY_ORIGIN.0, ANY_ORIGIN.1)
        .body(body);
    Ok(answer.unwrap_or_default())
}

/// What a connection has been sent since it plays; dropping it says in the log how that ended.
struct Report {
    presence: Arc<Presence>,
    progress: Arc<SocketProgress>,
    key: StreamKey,
    since: Instant,
    sent: u64,
    /// What the connection was sent before, as others know it.
    before: Figures,
    reported: Instant,
    /// Why it ends, where it is not for the connection's end.
    end: Option<End>,
}

impl Report {
    fn begin(peer: &Peer, key: &StreamKey, stall_timeout: Duration) -> Self {
        let (presence, progress) = (Arc::clone(&peer.presence), Arc::clone(&peer.progress));
        progress.limit_to(Some(stall_timeout));
        let (now, before) = (Instant::now(), presence.figures());
        let key = key.clone();
        Self { presence, progress, key, since: now, sent: 0, before, reported: now, end: None }
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

impl Drop for Report {
    fn drop(&mut self) {
        self.report();
        let stalled = self.progress.stalled();
        let farewell = self.presence.farewell();
        let end = self.end.take().or(stalled).or(farewell.map(|why| why.end()));
        let end = end.unwrap_or_else(End::closed);
        self.progress.limit_to(None);
        COUNTS.ended(Activity::Play, &end);
        let (conn, peer) = (self.presence.id, self.presence.doing().peer);
        let (protocol, tls) = (self.presence.speaks(), self.presence.tls());
        let role = Activity::Play.label();
        let seconds = seconds(self.since.elapsed());
        info!(
            conn, %peer, protocol, tls, role, stream = %self.key, side = end.side.label(), kind = end.kind.label(),
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
    /// Goes before the report, which is a line of the log: who reads that finds one viewer less.
    _session: ViewerSession,
    report: Report,
}

impl LateViewer {
    fn stream(
        node: &Arc<Node>,
        playing: Playing<Live>,
        report: Report,
    ) -> impl futures_util::Stream<Item = Result<Bytes, std::convert::Infallible>> + use<> {
        let Playing { opened: channel, session, .. } = playing;
        let viewer = Self {
            node: Arc::clone(node),
            channel,
            view: View::default(),
            next: 0,
            rest: None,
            started: false,
            _session: session,
            report,
        };
        futures_util::stream::unfold(viewer, |mut viewer| async move {
            let bytes = viewer.next().await?;
            viewer.node.clients.quotas.count_sent(bytes.len() as u64);
            viewer.report.sent(bytes.len() as u64);
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
            let is_to_leave = self.report.presence.farewell().is_some();
            let has_ended = self.view.status == Some(Status::Ended);
            if is_to_leave || has_ended {
                if !is_to_leave {
                    let why = self.view.over.map(|why| why.to_string());
                    let why = why.unwrap_or_else(|| "the stream ended".to_owned());
                    self.report.end = Some(End::upstream(why));
                }
                return None;
            }
            tokio::select! {
                () = changed => {}
                _ = self.report.presence.until_farewell() => {}
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
        let (format, tracks) = (self.channel.format(), self.channel.tracks());
        let opening = if self.started {
            group.start.again(format, tracks)
        } else {
            group.start.first(format, tracks)
        };
        self.next = group.seq + 1;
        self.started = true;
        self.rest = Some(entry.slice(group.start.offset..));
        Some(opening)
    }
}
