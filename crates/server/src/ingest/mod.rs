//! Publishing: from an encoder's messages to the hub.

mod claim;
mod pace;

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{debug, info};
use weir_clients::{
    client::Client,
    counts::Refused,
    end::{End, Kind, Side},
    roster::{Activity, Farewell, GROUP_WAIT, RECONNECT_WAIT, RECONNECT_WORDS},
};
use weir_edge::{Edge, Opened, Push, refusal};
use weir_intake::{Fault, Intake, WakeSignal, begins_group, flush};
use weir_media::StreamKey;
use weir_rtmp::{
    server::{Event, PublishRefusal},
    url::StreamUrl,
};

use self::pace::Pace;
use crate::{auth::Action, connection::Connection, phase::Phase};

/// A stream while it is being published.
struct Ingest {
    intake: Intake,
    /// Last time a message of the stream came.
    heard: Instant,
    pace: Pace,
    /// The way to the origin, on an edge.
    push: Option<Push>,
    idle_timeout: Duration,
    /// Of the settings that `pace` and `idle_timeout` are from.
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
    let node = Arc::clone(&connection.node);
    // Before the settings are read: what is put in force meanwhile is taken up at the first look.
    let generation = node.settings.generation();
    // While the listeners are tried out, a stream may still be the process's that is replaced: for milliseconds.
    let _ = node.phase.subscribe().wait_for(|phase| *phase != Phase::Starting).await;
    let (key, vhost) = node.resolve(url).map_err(|error| {
        connection.refuse_publish(stream_id, PublishRefusal::BadName, &error.to_string());
        Refused::BadName.count();
        End::peer(format!("publish refused: {error}"))
    })?;
    let peer = connection.client.peer.ip();
    if let Err(denied) = node.auth.check(&vhost.auth, Action::Publish, &key, &url.params, peer) {
        if denied.may_be_guess() {
            connection.hold_back().await?;
        }
        connection.refuse_publish(stream_id, PublishRefusal::Denied, &denied.to_string());
        let end = denied.end(Action::Publish, &key);
        connection.client.stream = Some(key);
        return Err(end);
    }
    let opened = match &node.edge {
        None => None,
        Some(edge) => match offer(connection, stream_id, edge, &key, url).await? {
            Some(opened) => Some((edge, opened)),
            None => return Ok(()),
        },
    };
    let replaced = Arc::new(WakeSignal::default());
    let Some(publisher) = claim::claim(connection, stream_id, &key, &replaced).await? else {
        return Ok(());
    };
    let push = opened.map(|(edge, opened)| edge.keep_pushing(opened));
    if push.is_none() {
        node.outputs.follow(&key);
    }
    connection.session.accept_publish(stream_id);
    connection.client.began(Activity::Publish, &key);
    let pace = Pace::new(flush(&vhost.play), Instant::now());
    let intake = Intake::new(publisher, &format_args!("connection {}", connection.client.id));
    let mut ingest = Ingest {
        intake,
        heard: Instant::now(),
        pace,
        push,
        idle_timeout: vhost.publish.idle_timeout,
        generation,
        leaving: None,
    };
    node.streams.lost.found(&key);
    let audience = node.streams.audiences.of(&key);
    connection.heeds = false;
    let ended = ingest.run(connection, stream_id, &replaced, &audience).await;
    connection.heeds = true;
    ingest.pace.end(&connection.socket);
    // Who watches a stream that is passed on is known elsewhere.
    let is_watched =
        ingest.intake.publisher.demand() > 0 || node.clients.quotas.is_watched_over_hls(&key);
    if ended.as_ref().is_err_and(|end| end.kind.is_loss()) && is_watched {
        node.streams.lost.lost(&key, vhost.publish.linger, Instant::now());
    }
    if ended.is_ok() {
        debug!(conn = connection.client.id, stream = %key, "publish ended");
    }
    ended
}

impl Ingest {
    async fn run(
        &mut self,
        connection: &mut Connection,
        stream_id: u32,
        replaced: &WakeSignal,
        audience: &WakeSignal,
    ) -> Result<(), End> {
        let mut timer = pin!(tokio::time::sleep(self.idle_timeout));
        let (mut taken_over, mut viewers) = (pin!(replaced.rang()), pin!(audience.rang()));
        let mut push = self.push.take();
        let presence = Arc::clone(&connection.client.presence);
        loop {
            let now = Instant::now();
            if self.take_all(connection, stream_id, now)? {
                return Ok(());
            }
            connection.flush().await?;
            connection.client.report();
            self.follow_settings(connection);
            self.pace.watched(&connection.socket, self.intake.publisher.demand() > 0, now);
            let idle_at = self.heard + self.idle_timeout;
            let leave_at = self.leaving.map(|leaving| leaving.by);
            let memory_at = connection.memory_check_due().map(|wait| now + wait);
            let others = [self.pace.look_again(now), leave_at, memory_at].into_iter().flatten();
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
            let idle_timeout = self.idle_timeout;
            if self.heard.elapsed() >= idle_timeout && !connection.session.has_events() {
                let reason = format!("sent nothing for {idle_timeout:?} (publish.idle_timeout)");
                return Err(End::new(Kind::Idle, reason));
            }
        }
    }

    /// A reload may have changed what this publish goes by.
    fn follow_settings(&mut self, connection: &Connection) {
        let node = &connection.node;
        let generation = node.settings.generation();
        if self.generation == generation {
            return;
        }
        self.generation = generation;
        let vhost = node.config().vhost(self.intake.publisher.key().vhost());
        self.idle_timeout = vhost.publish.idle_timeout;
        if self.leaving.is_none() {
            self.intake.publisher.set_linger(vhost.publish.linger);
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
        self.intake.publisher.linger_at_least(PARTING);
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
                    self.intake.take(&tag, now).map_err(end_of)?;
                }
                Event::LeftOut { count, why, .. } => {
                    self.heard = now;
                    self.intake.left_out(count, why, now).map_err(end_of)?;
                }
                Event::EndPublish { stream_id: ended } if ended == stream_id => return Ok(true),
                event => connection.refuse_another(&event, "this connection publishes"),
            }
        }
        Ok(false)
    }
}

/// Asks the origin whether it takes the stream. `None` when it was refused, or the client gave up meanwhile.
async fn offer(
    connection: &mut Connection,
    stream_id: u32,
    edge: &Edge,
    key: &StreamKey,
    url: &StreamUrl,
) -> Result<Option<Opened>, End> {
    let ask = connection.ask(url);
    let opened = tokio::select! {
        opened = edge.open_push(key, &ask) => opened,
        left = claim::given_up(connection, stream_id) => return left.map(|()| None),
    };
    let failure = match opened {
        Ok(opened) => return Ok(Some(opened)),
        Err(failure) => failure,
    };
    Refused::Origin.count();
    let (refusal, reason) = refusal(&failure);
    let side = Side::Upstream.label();
    let Client { id: conn, peer, .. } = connection.client;
    info!(conn, %peer, stream = %key, side, reason, "publish refused");
    // The origin may have been shown a guess.
    if refusal == PublishRefusal::Denied && !ask.params.is_empty() {
        connection.hold_back().await?;
    }
    connection.refuse_publish(stream_id, refusal, &reason);
    Ok(None)
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
