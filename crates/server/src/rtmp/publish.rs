//! RTMP publishers: from their messages to the hub.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{debug, info};
use weir_clients::{
    client::Client,
    detail::Detail,
    end::{End, Kind, Side},
    events::{EVENTS, EventKind},
    roster::{Farewell, GROUP_WAIT, RECONNECT_WAIT, RECONNECT_WORDS},
};
use weir_config::Vhost;
use weir_edge::{self as edge, Ask, Push};
use weir_intake::{Fault, begins_group, flush};
use weir_media::StreamKey;
use weir_rtmp::{
    server::{Event, PublishRefusal},
    url::StreamUrl,
};

use super::{connection::Connection, pace::Pace};
use crate::{
    auth::Action,
    node::Node,
    publish::{Publication, Refusal, Request, request},
};

/// A stream while it is being published.
struct Ingest {
    publication: Publication,
    /// Last time a message of the stream came.
    heard: Instant,
    /// Last time somebody was known to watch, or might have come to.
    watched: Instant,
    pace: Pace,
    idle_timeout: Duration,
    /// How long nobody may watch, if there is a limit.
    unwatched_timeout: Option<Duration>,
    /// Of the settings that `pace` and the timeouts are from.
    generation: u64,
    leaving: Option<Leaving>,
}

/// How long a stream outlives a publisher that was let go, whatever `publish.linger` says: its viewers follow within a
/// second.
const PARTING: Duration = Duration::from_secs(5);

/// When a publisher goes that was asked to leave.
#[derive(Clone, Copy)]
struct Leaving {
    /// Before the first group that begins after this.
    from: Instant,
    /// At this moment, if no group has begun.
    by: Instant,
}

/// Answers a `publish` and takes the stream in until the client ends it.
///
/// # Errors
/// The connection's end.
pub async fn publish(
    connection: &mut Connection,
    stream_id: u32,
    url: &StreamUrl,
) -> Result<(), End> {
    let (node, ask) = (Arc::clone(&connection.node), connection.ask(url));
    let presence = Arc::clone(&connection.client.presence);
    let asked = Request { url, ask: &ask, ip: connection.client.peer.ip(), presence: &presence };
    let published = tokio::select! {
        // What came in the same breath is for the publisher that it may become.
        biased;
        published = request(&node, &asked) => published,
        left = given_up(connection, stream_id) => return left,
    };
    let publication = match published {
        Ok(publication) => publication,
        Err(refusal) => return refuse(connection, stream_id, &refusal, &ask).await,
    };
    connection.session.accept_publish(stream_id);
    let (vhost, now) = (&publication.vhost, Instant::now());
    let mut ingest = Ingest {
        heard: now,
        watched: now,
        pace: Pace::new(flush(&vhost.play), now),
        idle_timeout: vhost.publish.idle_timeout,
        unwatched_timeout: unwatched_timeout(&node, vhost),
        generation: publication.generation,
        leaving: None,
        publication,
    };
    connection.heeds = false;
    let ended = ingest.run(connection, stream_id).await;
    connection.heeds = true;
    ingest.pace.end(connection.socket.socket());
    if ended.is_ok() {
        let stream = ingest.publication.intake.publisher.key();
        debug!(conn = connection.client.id, %stream, "publish ended");
    }
    ingest.publication.ends(&ended);
    ended
}

/// Ends when the client does not want to publish any more, or is gone.
async fn given_up(connection: &mut Connection, stream_id: u32) -> Result<(), End> {
    loop {
        match connection.event().await? {
            Event::EndPublish { stream_id: ended } if ended == stream_id => return Ok(()),
            event => connection.refuse_another(&event, "one stream per connection"),
        }
    }
}

/// Tells the client why it may not publish, and lets it ask for something else where that may help.
///
/// # Errors
/// The connection's end, where it may not help.
async fn refuse(
    connection: &mut Connection,
    stream_id: u32,
    refusal: &Refusal,
    ask: &Ask,
) -> Result<(), End> {
    let reason = refusal.to_string();
    let (code, ended) = match refusal {
        Refusal::BadName(_) => {
            (PublishRefusal::BadName, Err(End::peer(format!("publish refused: {reason}"))))
        }
        Refusal::Denied { key, why } => {
            (PublishRefusal::Denied, Err(why.end(Action::Publish, key)))
        }
        Refusal::Origin { key, why } => {
            let detail = Detail::new("origin_no", [&reason], &reason);
            note(connection, key, Side::Upstream, detail);
            (edge::refusal(why).0, Ok(()))
        }
        Refusal::Loop { key, why } => {
            note(connection, key, Side::Policy, Detail::new("loop", [why], &reason));
            (PublishRefusal::Denied, Ok(()))
        }
        Refusal::Memory { key } => {
            note(connection, key, Side::Policy, Detail::new("memory", [], &reason));
            (PublishRefusal::Failed, Ok(()))
        }
        Refusal::Taken { key } => {
            note(connection, key, Side::Policy, Detail::new("taken", [], &reason));
            (PublishRefusal::BadName, Ok(()))
        }
    };
    if refusal.may_be_guess(ask) {
        connection.hold_back().await?;
    }
    connection.refuse_publish(stream_id, code, &reason);
    ended
}

/// Says in the log that a client that stays may not publish.
fn note(connection: &Connection, stream: &StreamKey, side: Side, why: Detail) {
    let reason = &*why.text;
    let Client { id: conn, peer, .. } = connection.client;
    info!(conn, %peer, %stream, side = side.label(), reason, "publish refused");
    EVENTS.note(EventKind::PublishRefused, Some(stream), Some(peer.ip()), why);
}

impl Ingest {
    async fn run(&mut self, connection: &mut Connection, stream_id: u32) -> Result<(), End> {
        let mut timer = pin!(tokio::time::sleep(self.idle_timeout));
        let (replaced, audience) =
            (Arc::clone(&self.publication.replaced), Arc::clone(&self.publication.audience));
        let (mut taken_over, mut viewers) = (pin!(replaced.rang()), pin!(audience.rang()));
        let mut push = self.publication.push.take();
        let presence = Arc::clone(&connection.client.presence);
        loop {
            let now = Instant::now();
            if self.take_all(connection, stream_id, now)? {
                return Ok(());
            }
            connection.flush().await?;
            connection.client.report();
            self.follow_settings(connection);
            let is_watched = self.publication.intake.publisher.demand() > 0;
            if is_watched {
                self.watched = now;
            }
            self.pace.watched(connection.socket.socket(), is_watched, now);
            let idle_at = self.heard + self.idle_timeout;
            let leave_at = self.leaving.map(|leaving| leaving.by);
            let memory_at = connection.memory_check_due().map(|wait| now + wait);
            let unwatched_at = self.unwatched_timeout.map(|timeout| self.watched + timeout);
            let others = [self.pace.look_again(now), leave_at, memory_at, unwatched_at];
            let others = others.into_iter().flatten();
            let due = others.fold(idle_at, Instant::min).into();
            // A timer that is early costs one look when it fires; setting it anew for each packet would cost more.
            if due < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(due);
            }
            tokio::select! {
                read = connection.read() => read?,
                () = &mut taken_over => {
                    let end = replaced_by_another();
                    connection.end_publish(stream_id, PublishRefusal::BadName, &end.reason);
                    return Err(end);
                }
                end = over(push.as_mut()) => {
                    connection.end_publish(stream_id, PublishRefusal::Failed, &end.reason);
                    return Err(end);
                }
                // What is unread is what the first viewer wants to see.
                () = &mut viewers => {
                    viewers.set(audience.rang());
                    connection.read_what_is_there()?;
                }
                farewell = presence.until_farewell(), if self.leaving.is_none() => {
                    self.on_farewell(connection, stream_id, farewell)?;
                }
                () = presence.until_kicked(), if self.leaving.is_some() => {
                    self.on_farewell(connection, stream_id, Farewell::Kicked)?;
                }
                () = &mut timer => {
                    connection.read_what_is_there()?;
                    if let Err(end) = connection.check_memory() {
                        connection.end_publish(stream_id, PublishRefusal::Failed, &end.reason);
                        return Err(end);
                    }
                }
            }
            if self.leaving.is_some_and(|leaving| leaving.by <= Instant::now()) {
                return Err(Farewell::Draining.end());
            }
            if let Err(end) = self.check_watched(connection) {
                connection.end_publish(stream_id, PublishRefusal::Denied, &end.reason);
                return Err(end);
            }
            let idle_timeout = self.idle_timeout;
            if self.heard.elapsed() >= idle_timeout && !connection.session.has_events() {
                let reason = format!("sent nothing for {idle_timeout:?} (publish.idle_timeout)");
                return Err(End::new(Kind::Idle, reason));
            }
        }
    }

    /// Whether somebody has watched lately enough, over any protocol.
    fn check_watched(&mut self, connection: &Connection) -> Result<(), End> {
        let Some(timeout) = self.unwatched_timeout else { return Ok(()) };
        if self.watched.elapsed() < timeout {
            return Ok(());
        }
        let publisher = &self.publication.intake.publisher;
        let quotas = &connection.node.clients.quotas;
        if publisher.demand() > 0 || quotas.is_watched_over_hls(publisher.key()) {
            self.watched = Instant::now();
            return Ok(());
        }
        let reason = format!("nobody has watched it for {timeout:?} (publish.unwatched_timeout)");
        Err(End::new(Kind::Idle, reason))
    }

    /// A reload may have changed what this publish goes by.
    fn follow_settings(&mut self, connection: &Connection) {
        let node = &connection.node;
        let generation = node.settings.generation();
        if self.generation == generation {
            return;
        }
        self.generation = generation;
        let vhost = node.config().vhost(self.publication.intake.publisher.key().vhost());
        self.idle_timeout = vhost.publish.idle_timeout;
        self.unwatched_timeout = unwatched_timeout(node, &vhost);
        if self.leaving.is_none() {
            self.publication.intake.publisher.set_linger(vhost.publish.linger);
        }
        self.pace.follow(flush(&vhost.play));
    }

    /// Ends the publish, or lets it go on until it can be taken up elsewhere without a loss.
    fn on_farewell(
        &mut self,
        connection: &mut Connection,
        stream_id: u32,
        farewell: Farewell,
    ) -> Result<(), End> {
        if farewell == Farewell::Kicked {
            let end = farewell.end();
            connection.end_publish(stream_id, PublishRefusal::Denied, &end.reason);
            return Err(end);
        }
        // Its viewers are asked after it has gone: their stream must not have ended by then.
        self.publication.intake.publisher.linger_at_least(PARTING);
        let follows = connection.session.request_reconnect(RECONNECT_WORDS);
        let from = Instant::now() + if follows { RECONNECT_WAIT } else { Duration::ZERO };
        self.leaving = Some(Leaving { from, by: from + GROUP_WAIT });
        Ok(())
    }

    /// Takes everything in that has been read. Returns whether the publish is over.
    fn take_all(
        &mut self,
        connection: &mut Connection,
        stream_id: u32,
        now: Instant,
    ) -> Result<bool, End> {
        while let Some(event) = connection.session.poll_event() {
            match event {
                Event::Media { tag, .. } => {
                    self.heard = now;
                    if self.leaving.is_some_and(|leaving| leaving.from <= now) && begins_group(&tag)
                    {
                        return Err(Farewell::Draining.end());
                    }
                    self.publication.intake.take(&tag, now).map_err(end_of)?;
                }
                Event::LeftOut { count, why, .. } => {
                    self.heard = now;
                    self.publication.intake.left_out(count, why, now).map_err(end_of)?;
                }
                Event::EndPublish { stream_id: ended } if ended == stream_id => return Ok(true),
                event => connection.refuse_another(&event, "this connection publishes"),
            }
        }
        Ok(false)
    }
}

/// How long nobody may watch. An edge does not know who watches elsewhere, and lets nobody go for that.
fn unwatched_timeout(node: &Node, vhost: &Vhost) -> Option<Duration> {
    let timeout = vhost.publish.unwatched_timeout;
    (!timeout.is_zero() && node.edge.is_none()).then_some(timeout)
}

/// The end of a stream that could not be passed on any more; never comes where nothing is passed on.
async fn over(push: Option<&mut Push>) -> End {
    match push {
        Some(push) => push.over().await,
        None => std::future::pending().await,
    }
}

fn end_of(fault: Fault) -> End {
    match fault {
        Fault::Replaced => replaced_by_another(),
        Fault::Broken(reason) => End::peer(reason),
    }
}

fn replaced_by_another() -> End {
    End::new(Kind::Replaced, "another publisher took over the stream (publish.conflict)")
}
