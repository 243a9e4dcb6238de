//! Publishing: from an encoder's messages to the hub.

mod audience;
mod claim;
mod pace;

pub use audience::Audiences;

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{debug, warn};
use weir_flv::{Tag, metadata, metadata::Metadata};
use weir_hub::{Publisher, Tracks};
use weir_media::{Content, Timestamp};
use weir_rtmp::{
    server::{Event, PlayRefusal, PublishRefusal},
    url::StreamUrl,
};

use self::pace::Pace;
use crate::{end::End, node::SERVER, rtmp::Connection, wake::Alarm};

/// Messages with a broken header that a publisher may send. Some encoders start with one or two; a peer that keeps
/// sending them sends something else than media.
const BROKEN_MAX: u32 = 100;

/// A stream while it is being published.
struct Ingest {
    publisher: Publisher,
    broken: u32,
    /// Last time a message of the stream came.
    heard: Instant,
    pace: Pace,
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
    let (key, vhost) = node.resolve(url).map_err(|error| {
        connection.refuse_publish(stream_id, PublishRefusal::BadName, &error.to_string());
        End::peer(format!("publish refused: {error}"))
    })?;
    let replaced = Arc::new(Alarm::default());
    let Some(publisher) = claim::claim(connection, stream_id, &key, &vhost, &replaced).await?
    else {
        return Ok(());
    };
    node.hls.follow(&key, &vhost.hls);
    connection.session.accept_publish(stream_id);
    connection.client.began("publish", &key);
    let pace = Pace::new(vhost.play.hub_flush(), Instant::now());
    let mut ingest = Ingest { publisher, broken: 0, heard: Instant::now(), pace };
    let audience = node.audiences.of(&key);
    let idle_timeout = vhost.publish.idle_timeout;
    let ended = ingest.run(connection, stream_id, idle_timeout, &replaced, &audience).await;
    ingest.pace.end(&connection.socket);
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
        idle_timeout: Duration,
        replaced: &Alarm,
        audience: &Alarm,
    ) -> Result<(), End> {
        let mut timer = pin!(tokio::time::sleep(idle_timeout));
        let (mut taken_over, mut viewers) = (pin!(replaced.rang()), pin!(audience.rang()));
        loop {
            let now = Instant::now();
            if self.take_all(connection, stream_id, now)? {
                return Ok(());
            }
            connection.flush().await?;
            self.pace.watched(&connection.socket, self.publisher.demand() > 0, now);
            let idle_at = self.heard + idle_timeout;
            let due = self.pace.look_again(now).map_or(idle_at, |look| look.min(idle_at)).into();
            // A timer that is early costs one look when it fires; setting it anew for each packet would cost more.
            if due < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(due);
            }
            tokio::select! {
                read = connection.read() => read?,
                () = &mut taken_over => return Err(replaced_by_another()),
                // What is unread is what the first viewer wants to see.
                () = &mut viewers => {
                    viewers.set(audience.rang());
                    connection.read_what_is_there()?;
                }
                () = &mut timer => connection.read_what_is_there()?,
            }
            if self.heard.elapsed() >= idle_timeout && !connection.session.has_events() {
                return Err(End::policy(format!(
                    "sent nothing for {idle_timeout:?} (publish.idle_timeout)"
                )));
            }
        }
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
                Event::Media { tag, .. } => self.take(connection.client.id, &tag, now)?,
                Event::EndPublish { stream_id: ended } if ended == stream_id => return Ok(true),
                Event::Publish { stream_id, .. } => {
                    connection.refuse_publish(
                        stream_id,
                        PublishRefusal::Failed,
                        "one stream a connection",
                    );
                }
                Event::Play { stream_id, .. } => {
                    connection.refuse_play(
                        stream_id,
                        PlayRefusal::Failed,
                        "this connection publishes",
                    );
                }
                _ => {}
            }
        }
        Ok(false)
    }

    /// One message of the stream.
    fn take(&mut self, conn: u64, tag: &Tag, now: Instant) -> Result<(), End> {
        self.heard = now;
        let wire = Timestamp::from_millis(i64::from(tag.timestamp));
        let mut frame = match weir_flv::to_frame(tag, wire, 0) {
            Ok(frame) => frame,
            Err(error) => return self.on_broken(conn, &error),
        };
        if frame.content == Content::Metadata {
            self.read_metadata(&frame.body);
            let ours = [("server", SERVER), ("server_version", env!("CARGO_PKG_VERSION"))];
            frame.body = metadata::with_server(&frame.body, &ours);
            frame.payload = frame.body.clone();
        }
        self.publisher.push(frame, now).map_err(|_| replaced_by_another())
    }

    fn read_metadata(&mut self, body: &[u8]) {
        let Ok(Some(metadata)) = Metadata::parse(body) else { return };
        if let (Some(audio), Some(video)) = (metadata.has_audio(), metadata.has_video()) {
            self.publisher.expect(Tracks { audio, video });
        }
    }

    fn on_broken(&mut self, conn: u64, error: &weir_flv::Error) -> Result<(), End> {
        self.broken += 1;
        if self.broken == 1 {
            warn!(conn, stream = %self.publisher.key(), %error, "a message is left out");
        }
        if self.broken > BROKEN_MAX {
            return Err(End::peer(format!("{BROKEN_MAX} broken messages, the last one: {error}")));
        }
        Ok(())
    }
}

fn replaced_by_another() -> End {
    End::policy("another publisher took the stream over (publish.conflict)")
}
