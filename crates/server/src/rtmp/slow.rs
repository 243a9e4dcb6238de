//! Viewers that need bytes of their own: paused, without sound or without pictures, on another message stream.
//!
//! One task and one encoding per viewer, straight from the hub's log.

use std::sync::Arc;

use weir_clients::{counts::COUNTS, end::End, roster::Farewell};
use weir_config::Vhost;
use weir_flv::{kind_of, wire_time};
use weir_hub::{Batch, Item, Reader, Start, Status};
use weir_intake::WakeSignal;
use weir_media::{Content, StreamKey, Track};
use weir_rtmp::server::{Event, PlayRefusal, PublishRefusal};

use super::connection::{Connection, Turn};
use crate::terms;

/// What is encoded for one viewer at a time, and held until it has taken it.
const BATCH_BYTES: usize = 256 * 1024;

/// One viewer on its slow path.
struct SlowViewer {
    key: StreamKey,
    stream_id: u32,
    vhost: Arc<Vhost>,
    /// Of the settings that `vhost` is from.
    generation: u64,
    signal: Arc<WakeSignal>,
    delivery: Delivery,
    wants_audio: bool,
    wants_video: bool,
    /// The next group brings its configuration along: at the start, after a pause, after a skip.
    needs_init: bool,
    /// Pictures were switched on again: they come from the next key frame on.
    needs_key: bool,
}

/// Whether the viewer gets anything.
enum Delivery {
    /// What the reader brings.
    On(Reader),
    /// Nothing: it has paused. The reader waits for the first group after that; it is no demand for the stream.
    Paused(Reader),
}

/// Plays to a viewer whose `play` has been accepted, from `start` on and beginning with what it has asked for already.
pub async fn play(
    mut connection: Box<Connection>,
    stream_id: u32,
    vhost: Arc<Vhost>,
    start: Start,
    events: impl IntoIterator<Item = Event>,
) -> Turn {
    let Some(key) = connection.client.presence.stream() else { return Turn::Stay(connection) };
    let mut viewer = SlowViewer::new(&connection, key, stream_id, vhost, start);
    for event in events {
        if viewer.on_event(&mut connection, &event) {
            return Turn::Stay(connection);
        }
    }
    let played = viewer.run(&mut connection).await;
    connection.after(played)
}

impl SlowViewer {
    fn new(
        connection: &Connection,
        key: StreamKey,
        stream_id: u32,
        vhost: Arc<Vhost>,
        start: Start,
    ) -> Self {
        let signal = Arc::<WakeSignal>::default();
        // Its settings are those of its play, which may be out of date: the first look at them is a fresh one.
        let generation = connection.node.settings.generation().wrapping_sub(1);
        let reader =
            connection.node.streams.registry.subscribe(&key, start, Arc::clone(&signal) as _);
        Self {
            key,
            stream_id,
            vhost,
            generation,
            signal,
            delivery: Delivery::On(reader),
            wants_audio: true,
            wants_video: true,
            needs_init: true,
            needs_key: false,
        }
    }

    fn pause(&mut self, connection: &Connection) {
        if let Delivery::On(_) = self.delivery {
            let signal = Arc::clone(&self.signal) as _;
            let next = connection.node.streams.registry.follow(&self.key, Start::NextGroup, signal);
            self.delivery = Delivery::Paused(next);
        }
    }

    /// Goes on with a group that has begun since the pause: of the one before it the viewer has had a part, and time
    /// must not run backwards.
    fn unpause(&mut self, connection: &Connection) {
        let Delivery::Paused(next) = &self.delivery else { return };
        let start =
            if next.is_started() { terms::start(&self.vhost.play) } else { Start::NextGroup };
        let signal = Arc::clone(&self.signal) as _;
        self.delivery =
            Delivery::On(connection.node.streams.registry.subscribe(&self.key, start, signal));
        self.needs_init = true;
    }

    /// Ends well when the viewer or the stream ends the play.
    async fn run(&mut self, connection: &mut Connection) -> Result<(), End> {
        let mut batch = Batch::default();
        loop {
            while let Some(event) = connection.session.poll_event() {
                if self.on_event(connection, &event) {
                    return Ok(());
                }
            }
            let status = match &mut self.delivery {
                Delivery::Paused(next) => next.status(),
                Delivery::On(reader) => {
                    let status = reader.read_some(&mut batch, BATCH_BYTES);
                    self.deliver(connection, &mut batch).await?;
                    if batch.has_more {
                        continue;
                    }
                    status
                }
            };
            // A stream that has never had a publisher is not the one that was asked for: that has ended meanwhile.
            if matches!(status, Status::Ended | Status::Waiting) {
                connection.session.end_play(self.stream_id);
                return Ok(());
            }
            tokio::select! {
                () = self.signal.rang() => {}
                pumped = connection.pump() => {
                    if pumped.is_err() && is_let_go(connection) {
                        connection.session.end_play(self.stream_id);
                    }
                    pumped?;
                }
            }
        }
    }

    async fn deliver(&mut self, connection: &mut Connection, batch: &mut Batch) -> Result<(), End> {
        if batch.skipped > 0 {
            connection.client.skips += 1;
            COUNTS.skips.increase();
            self.needs_init = true;
        }
        for item in batch.items.drain(..) {
            self.send(connection, &item);
        }
        let before = connection.client.sent;
        let presence = Arc::clone(&connection.client.presence);
        self.follow_settings(connection);
        let flushed = tokio::select! {
            flushed = connection.flush_within(self.vhost.play.stall_timeout) => flushed,
            () = presence.until_kicked() => Err(Farewell::Kicked.end()),
        };
        connection.node.clients.quotas.count_sent(connection.client.sent - before);
        connection.client.report();
        flushed
    }

    /// A reload may have changed what this viewer goes by.
    fn follow_settings(&mut self, connection: &Connection) {
        let settings = &connection.node.settings;
        let generation = settings.generation();
        if self.generation != generation {
            self.generation = generation;
            self.vhost = settings.vhost(self.key.vhost());
        }
    }

    /// Returns whether the play is over.
    fn on_event(&mut self, connection: &mut Connection, event: &Event) -> bool {
        match *event {
            Event::EndPlay { stream_id } => return stream_id == self.stream_id,
            Event::Pause { paused: true, .. } => self.pause(connection),
            Event::Pause { paused: false, .. } => self.unpause(connection),
            Event::ReceiveAudio { enabled, .. } => self.wants_audio = enabled,
            Event::ReceiveVideo { enabled, .. } => {
                self.needs_key |= enabled && !self.wants_video;
                self.wants_video = enabled;
            }
            Event::Play { stream_id, .. } => {
                connection.refuse_play(stream_id, PlayRefusal::Failed, "one stream per connection");
            }
            Event::Publish { stream_id, .. } => {
                connection.refuse_publish(
                    stream_id,
                    PublishRefusal::Failed,
                    "this connection plays",
                );
            }
            _ => {}
        }
        false
    }

    fn send(&mut self, connection: &mut Connection, item: &Item) {
        let frame = &item.frame;
        if let Some(init) = item.group.as_ref().filter(|_| self.needs_init) {
            self.needs_init = false;
            for known in init.frames() {
                let at = wire_time(known, frame.dts);
                connection.session.send_media(
                    self.stream_id,
                    kind_of(known.track),
                    at,
                    &known.body,
                );
            }
        }
        let wanted = match frame.track {
            Track::Audio(_) => self.wants_audio || matches!(frame.content, Content::AudioConfig(_)),
            Track::Video(_) => {
                self.needs_key &= !frame.is_key();
                matches!(frame.content, Content::VideoConfig(_))
                    || self.wants_video && !self.needs_key
            }
            Track::Data => true,
        };
        if wanted {
            let at = wire_time(frame, frame.dts);
            connection.session.send_media(self.stream_id, kind_of(frame.track), at, &frame.body);
        }
    }
}

/// Whether it ends because it was asked to. An edge is told nothing that it would pass on to its viewers.
fn is_let_go(connection: &Connection) -> bool {
    let presence = &connection.client.presence;
    presence.farewell().is_some() && !presence.doing().is_node
}
