//! From FLV tags to the hub: what encoders publish and what edges pull.

use std::{fmt, time::Instant};

use tracing::warn;
use weir_flv::{Tag, metadata, metadata::Metadata};
use weir_hub::{Publisher, Tracks};
use weir_media::{Content, Timestamp};

use crate::node::SERVER;

/// Messages with a broken header that a publisher may send. Some encoders start with one or two; a peer that keeps
/// sending them sends something else than media.
const BROKEN_MAX: u32 = 100;

/// A stream while it is being taken in.
pub struct Intake {
    /// The stream.
    pub publisher: Publisher,
    from: Box<str>,
    broken: u32,
}

/// Why no more is taken in.
#[derive(Debug)]
pub enum Fault {
    /// Somebody else publishes the stream now.
    Replaced,
    /// The sender sends something else than media; a sentence says what.
    Broken(String),
}

/// Whether a viewer can start with `tag`: a key frame.
pub fn begins_group(tag: &Tag) -> bool {
    weir_flv::to_frame(tag, Timestamp::ZERO, 0).is_ok_and(|frame| frame.is_key())
}

impl Intake {
    /// Nothing has come yet. `from` is the sender's name in the log.
    pub fn new(publisher: Publisher, from: &impl fmt::Display) -> Self {
        Self { publisher, from: from.to_string().into(), broken: 0 }
    }

    /// Takes one message of the stream.
    ///
    /// # Errors
    /// When nothing more is to be taken in.
    pub fn take(&mut self, tag: &Tag, now: Instant) -> Result<(), Fault> {
        let wire = Timestamp::from_millis(i64::from(tag.timestamp));
        let mut frame = match weir_flv::to_frame(tag, wire, 0) {
            Ok(frame) => frame,
            Err(error) => return self.on_broken(&error),
        };
        if frame.content == Content::Metadata {
            self.read_metadata(&frame.body);
            let ours = [("server", SERVER), ("server_version", env!("CARGO_PKG_VERSION"))];
            frame.body = metadata::with_server(&frame.body, &ours);
            frame.payload = frame.body.clone();
        }
        self.publisher.push(frame, now).map_err(|_| Fault::Replaced)
    }

    fn read_metadata(&mut self, body: &[u8]) {
        let Ok(Some(metadata)) = Metadata::parse(body) else { return };
        if let (Some(audio), Some(video)) = (metadata.has_audio(), metadata.has_video()) {
            self.publisher.expect(Tracks { audio, video });
        }
    }

    fn on_broken(&mut self, error: &weir_flv::Error) -> Result<(), Fault> {
        self.broken += 1;
        if self.broken == 1 {
            warn!(from = %self.from, stream = %self.publisher.key(), %error, "a message is left out");
        }
        if self.broken > BROKEN_MAX {
            let reason = format!("{BROKEN_MAX} broken messages, the last one: {error}");
            return Err(Fault::Broken(reason));
        }
        Ok(())
    }
}
