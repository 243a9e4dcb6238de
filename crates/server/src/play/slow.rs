//! Viewers that need bytes of their own: paused, without sound or without pictures, on another message stream.
//!
//! One task and one encoding per viewer, straight from the hub's log.

use std::sync::Arc;

use weir_hub::{Batch, Item, Reader, Status};
use weir_media::{Content, StreamKey, Track};
use weir_rtmp::server::{Event, PlayRefusal, PublishRefusal};

use super::package::{kind_of, wire_time};
use crate::{
    config::Vhost,
    end::End,
    rtmp::{Connection, Turn},
    wake::Alarm,
};

/// One viewer on its slow path.
struct SlowViewer {
    key: StreamKey,
    stream_id: u32,
    vhost: Vhost,
    alarm: Arc<Alarm>,
    /// None while the viewer has paused.
    reader: Option<Reader>,
    wants_audio: bool,
    wants_video: bool,
    /// The next group brings its configuration along: at the start, after a pause, after a skip.
    needs_init: bool,
    /// Pictures were switched on again: they come from the next key frame on.
    needs_key: bool,
}

/// Plays to a viewer whose `play` has been accepted, beginning with what it has asked for already.
pub async fn play(
    mut connection: Box<Connection>,
    stream_id: u32,
    vhost: Vhost,
    events: impl IntoIterator<Item = Event>,
) -> Turn {
    let Some(key) = connection.client.stream.clone() else { return Turn::Stay(connection) };
    let mut viewer = SlowViewer::new(&connection, key, stream_id, vhost);
    for event in events {
        if viewer.on_event(&mut connection, &event) {
            return Turn::Stay(connection);
        }
    }
    let played = viewer.run(&mut connection).await;
    connection.after(played)
}

impl SlowViewer {
    fn new(connection: &Connection, key: StreamKey, stream_id: u32, vhost: Vhost) -> Self {
        let mut viewer = Self {
            key,
            stream_id,
            vhost,
            alarm: Arc::default(),
            reader: None,
            wants_audio: true,
            wants_video: true,
            needs_init: true,
            needs_key: false,
        };
        viewer.begin(connection);
        viewer
    }

    fn begin(&mut self, connection: &Connection) {
        let start = self.vhost.play.start();
        self.reader = Some(connection.node.registry.subscribe(
            &self.key,
            start,
            Arc::clone(&self.alarm) as _,
        ));
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
            if let Some(reader) = &mut self.reader {
                let status = reader.read(&mut batch);
                if batch.skipped > 0 {
                    connection.client.skips += 1;
                    self.needs_init = true;
                }
                for item in batch.items.drain(..) {
                    self.send(connection, &item);
                }
                connection.flush_within(self.vhost.play.stall_timeout).await?;
                if status == Status::Ended {
                    connection.session.end_play(self.stream_id);
                    return Ok(());
                }
            }
            tokio::select! {
                () = self.alarm.rang() => {}
                pumped = connection.pump() => pumped?,
            }
        }
    }

    /// Returns whether the play is over.
    fn on_event(&mut self, connection: &mut Connection, event: &Event) -> bool {
        match *event {
            Event::EndPlay { stream_id } => return stream_id == self.stream_id,
            Event::Pause { paused: true, .. } => self.reader = None,
            Event::Pause { paused: false, .. } if self.reader.is_none() => self.begin(connection),
            Event::ReceiveAudio { enabled, .. } => self.wants_audio = enabled,
            Event::ReceiveVideo { enabled, .. } => {
                self.needs_key |= enabled && !self.wants_video;
                self.wants_video = enabled;
            }
            Event::Play { stream_id, .. } => {
                connection.refuse_play(stream_id, PlayRefusal::Failed, "one stream a connection");
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
