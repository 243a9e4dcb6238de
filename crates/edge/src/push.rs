//! Passing a publish on to the origin that owns the stream.
//!
//! The encoder is told yes only after the origin has said so. From then on the stream goes through our hub: our
//! viewers have it from there, and so has the origin. While no origin can be reached the encoder goes on; the next one
//! gets what a new viewer would get: what the stream begins with, and its newest group.

use std::sync::Arc;

use tokio::{
    sync::oneshot,
    time::{Duration, Instant, sleep, timeout_at},
};
use tracing::{info, warn};
use weir_clients::{
    counts::COUNTS,
    detail::Detail,
    end::{End, Kind, Side},
    events::{EVENTS, EventKind},
};
use weir_media::StreamKey;
use weir_rtmp::server::PublishRefusal;
use weir_upstream::{AsItIs, Broken, Dry, Feed, Lost, Sink, backoff};

use super::{Ask, Edge, Failure, Origin, Request, search, upstream::open_sink};

/// A stream that an origin has accepted.
pub struct Opened {
    origin: Arc<Origin>,
    sink: Sink,
    request: Request,
}

/// A publish that is being passed on. Dropping it ends it at the origin.
pub struct Push {
    _stop: oneshot::Sender<()>,
    over: oneshot::Receiver<End>,
}

impl Push {
    /// Ends when it cannot be passed on any more.
    pub async fn over(&mut self) -> End {
        match (&mut self.over).await {
            Ok(end) => end,
            Err(_) => End::us("pushing the stream failed"),
        }
    }
}

/// What an encoder is told when no origin takes its stream.
pub fn refusal(failure: &Failure) -> (PublishRefusal, String) {
    match failure {
        Failure::Refused { code, description } => {
            let known = [PublishRefusal::BadName, PublishRefusal::Denied];
            let refusal = known.into_iter().find(|known| known.code() == code);
            (refusal.unwrap_or(PublishRefusal::Failed), description.clone())
        }
        Failure::Missing(reason) | Failure::Busy(reason) | Failure::Unreachable(reason) => {
            (PublishRefusal::Failed, format!("no origin accepts the stream: {reason}"))
        }
    }
}

impl Edge {
    /// Asks the owner of `key` to take it.
    ///
    /// # Errors
    /// When it refuses, or no origin can be reached.
    pub async fn open_push(&self, key: &StreamKey, ask: &Ask) -> Result<Opened, Failure> {
        if let Err(description) = self.check(key, ask) {
            warn!(stream = %key, reason = description, "refused");
            let code = PublishRefusal::Failed.code().to_owned();
            return Err(Failure::Refused { code, description });
        }
        self.origins.ready().await;
        let request = self.request(key, ask);
        let (origin, sink) = self.open_sink(&request).await?;
        Ok(Opened { origin, sink, request })
    }

    /// Passes the stream on, which is being published here by now.
    pub fn keep_pushing(self: &Arc<Self>, opened: Opened) -> Push {
        let (stop, stopped) = oneshot::channel();
        let (ended, over) = oneshot::channel();
        let Opened { origin, sink, request } = opened;
        info!(stream = %request.key, origin = %origin, "push began");
        let (edge, key) = (Arc::clone(self), request.key.clone());
        let task = Task { edge: Arc::clone(self), request, tries: 0 };
        let pushing = self.pushing.begin(&key);
        tokio::spawn(async move {
            task.run(origin, sink, stopped, ended).await;
            // In this order: whoever came before has left the stream to us.
            drop(pushing);
            edge.adopt(&key);
        });
        Push { _stop: stop, over }
    }

    async fn open_sink(&self, request: &Request) -> Result<(Arc<Origin>, Sink), Failure> {
        let dead_after = self.settings().edge.dead_after;
        let mut origins = self.origins.order(&request.key);
        let any = !origins.is_empty();
        origins.retain(|origin| origin.scheme.is_rtmp());
        if any && origins.is_empty() {
            let why = "all are given as https, and a stream is passed on to rtmp:// or rtmps://";
            return Err(Failure::Missing(why.to_owned()));
        }
        let opened = search::in_turn(origins, |origin, greeted| async move {
            open_sink(&origin, request, dead_after, &greeted).await
        })
        .await;
        if let Ok((origin, _)) = &opened {
            self.origins.found(&request.key, origin);
        }
        opened
    }
}

struct Task {
    edge: Arc<Edge>,
    request: Request,
    tries: u32,
}

impl Task {
    async fn run(
        mut self,
        mut origin: Arc<Origin>,
        mut sink: Sink,
        mut stopped: oneshot::Receiver<()>,
        ended: oneshot::Sender<End>,
    ) {
        loop {
            let since = Instant::now();
            let mut feed = Feed::new(&self.edge.registry, &self.request.key);
            let mut changes = self.edge.changes();
            let broken = loop {
                if !self.edge.origins.has(&origin) {
                    let why = "it was removed from edge.origins".to_owned();
                    break Broken::Lost(Lost { why, is_failure: false });
                }
                tokio::select! {
                    _ = &mut stopped => {
                        // What waits for a flush belongs to the stream too. That the origin may be gone is no matter
                        // now.
                        let _ = feed.send(&mut sink, &mut AsItIs).await;
                        info!(stream = %self.request.key, origin = %origin, "push ended");
                        drop(feed);
                        sink.close().await;
                        return;
                    }
                    broken = pushed(&mut feed, &mut sink) => break broken,
                    config = changes.next() => sink.set_dead_after(config.edge.dead_after),
                }
            };
            drop(feed);
            let lost = match broken {
                Broken::Lost(lost) => lost,
                Broken::Decided(why) => {
                    let why = format!("origin {origin} ended the stream: {why}");
                    // The encoder's session may have ended in the same moment.
                    let _ = ended.send(End::new(Kind::Origin, why));
                    // The encoder's session lets go of the stream first.
                    let _ = stopped.await;
                    return;
                }
            };
            drop(sink);
            if lost.is_failure {
                origin.failed(&lost.why);
            }
            COUNTS.pushes_lost.increase();
            self.edge.origins.troubled();
            self.tries = if since.elapsed() >= LASTED { 0 } else { self.tries + 1 };
            warn!(
                stream = %self.request.key, origin = %origin, side = Side::Upstream.label(), reason = lost.why,
                "push lost: its encoder stays connected"
            );
            let text = format!("{origin}: {}", lost.why);
            let detail = Detail::new("origin_fault", [&origin.to_string(), &lost.why], &text);
            EVENTS.note(EventKind::PushLost, Some(&self.request.key), None, detail);
            let again = tokio::select! {
                _ = &mut stopped => return,
                again = self.reopen() => again,
            };
            match again {
                Ok(opened) => (origin, sink) = opened,
                Err(end) => {
                    let _ = ended.send(end);
                    let _ = stopped.await;
                    return;
                }
            }
            info!(stream = %self.request.key, origin = %origin, again = true, "push began");
        }
    }

    async fn reopen(&mut self) -> Result<(Arc<Origin>, Sink), End> {
        let since = Instant::now();
        loop {
            let give_up = self.edge.settings().edge.give_up;
            let until = since + give_up;
            if self.tries > 0 {
                tokio::select! {
                    () = sleep(backoff(self.tries, true)) => {}
                    () = self.edge.origins.changed() => {}
                }
            }
            self.tries += 1;
            let opened = timeout_at(until, self.edge.open_sink(&self.request)).await;
            match opened {
                Ok(Ok(opened)) => return Ok(opened),
                // The origin may hold our own lost connection for alive for a moment.
                Ok(Err(Failure::Refused { code, description }))
                    if code != PublishRefusal::BadName.code() =>
                {
                    return Err(End::new(
                        Kind::Origin,
                        format!("the origin answered {code}: {description}"),
                    ));
                }
                Ok(Err(_)) if Instant::now() < until => {}
                Ok(Err(_)) | Err(_) => {
                    let why =
                        format!("no origin has accepted the stream for {give_up:?} (edge.give_up)");
                    return Err(End::new(Kind::Origin, why));
                }
            }
        }
    }
}

/// A connection that lasted this long was a good one: the next loss is a new story.
const LASTED: Duration = Duration::from_secs(5);

/// Sends the stream until the connection breaks.
async fn pushed(feed: &mut Feed, sink: &mut Sink) -> Broken {
    match feed.run(sink, &mut AsItIs).await {
        Dry::Broken(broken) => broken,
        // Its encoder has gone, and is about to say so.
        Dry::Ended => sink.watch().await,
    }
}
