//! From FLV tags to the hub: what encoders publish and what edges pull.

use std::{
    fmt,
    time::{Duration, Instant},
};

use tracing::{info, warn};
use weir_clients::{
    SERVER,
    counts::{COUNTS, LeftOut as Counted},
};
use weir_flv::{Standing, Strays, Tag, metadata, metadata::Metadata};
use weir_hub::{Publisher, Tracks};
use weir_media::{Content, Frame, Timestamp};
use weir_rtmp::LeftOut;

use crate::speed::{Finding, Speed};

/// Messages that say nothing or cannot be read which a sender may send in a second, in the long run. Muted encoders
/// send one for each frame of sound, 94 a second at 96 kHz; a damaged source may add pictures to that. A peer that
/// sends more sends something else than media.
const UNREADABLE_PER_SECOND: u32 = 200;

/// Such messages at once: five seconds' worth, as come in one piece after a network has stalled.
const UNREADABLE_BURST: u32 = 1000;

/// A stream while it is being taken in.
pub struct Intake {
    /// The stream.
    pub publisher: Publisher,
    from: Box<str>,
    /// What was not readable, since the stream began.
    unreadable: u64,
    meter: Meter,
    strays: Strays,
    speed: Speed,
    /// Messages that did not belong to their tracks.
    stray: u64,
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

/// Counts messages that were left out before they came here.
pub fn count_left_out(count: u32, why: &LeftOut) {
    let why = if *why == LeftOut::Empty { Counted::Empty } else { Counted::Unreadable };
    COUNTS.left_out(why, count.into());
}

impl Intake {
    /// Nothing has come yet. `from` is the sender's name in the log.
    pub fn new(publisher: Publisher, from: &impl fmt::Display) -> Self {
        Self {
            publisher,
            from: from.to_string().into(),
            unreadable: 0,
            meter: Meter::default(),
            strays: Strays::default(),
            speed: Speed::default(),
            stray: 0,
        }
    }

    /// Takes one message of the stream.
    ///
    /// # Errors
    /// When nothing more is to be taken in.
    pub fn take(&mut self, tag: &Tag, now: Instant) -> Result<(), Fault> {
        if tag.body.is_empty() {
            return self.left_out(1, LeftOut::Empty, now);
        }
        let wire = Timestamp::from_millis(i64::from(tag.timestamp));
        let mut frame = match weir_flv::to_frame(tag, wire, 0) {
            Ok(frame) => frame,
            Err(error) => return self.on_unreadable(&error, now),
        };
        if frame.content == Content::Metadata {
            self.read_metadata(&frame.body);
            let ours = [("server", SERVER), ("server_version", env!("CARGO_PKG_VERSION"))];
            frame.body = metadata::with_server(&frame.body, &ours);
            frame.payload = frame.body.clone();
        }
        match self.strays.judge(&frame) {
            Standing::Own => {}
            Standing::Stray => {
                self.on_stray(&frame);
                // It would spoil the decoders of those who watch, and comes again if it is found to count.
                if matches!(frame.content, Content::VideoConfig(_) | Content::AudioConfig(_)) {
                    return Ok(());
                }
                frame.stray = true;
            }
            Standing::Begins(config) => self.push(Frame { dts: wire, ..*config }, now)?,
        }
        if let Some((finding, percent)) = self.speed.take(&frame, tag.timestamp, now) {
            self.on_speed(finding, percent);
        }
        self.push(frame, now)
    }

    fn on_speed(&self, finding: Finding, percent: i64) {
        let (from, stream) = (&self.from, self.publisher.key());
        match finding {
            Finding::Right => {
                info!(%from, %stream, percent, "the publisher's timestamps run in real time again");
                return;
            }
            Finding::Slow => warn!(
                %from, %stream, percent,
                "the publisher's timestamps run slower than real time (wrong clock, or slow network): players stall"
            ),
            Finding::Fast => warn!(
                %from, %stream, percent,
                "the publisher's timestamps run faster than real time (wrong clock, or no pacing): players fall behind"
            ),
        }
        COUNTS.clocks_off.increase();
    }

    fn push(&mut self, frame: Frame, now: Instant) -> Result<(), Fault> {
        self.publisher.push(frame, now).map_err(|_| Fault::Replaced)
    }

    /// Says so of the first one, the 10th, the 100th, ...
    fn on_stray(&mut self, frame: &Frame) {
        COUNTS.left_out(Counted::Stray, 1);
        self.stray += 1;
        if is_power_of_ten(self.stray) {
            let (stream, count, what) = (self.publisher.key(), self.stray, frame.content);
            warn!(from = %self.from, %stream, ?what, count, "message dropped: it does not belong to its track");
        }
    }

    fn read_metadata(&mut self, body: &[u8]) {
        let Ok(Some(metadata)) = Metadata::parse(body) else { return };
        if let (Some(audio), Some(video)) = (metadata.has_audio(), metadata.has_video()) {
            self.publisher.expect(Tracks { audio, video });
        }
    }

    /// Takes note of messages that have been left out already.
    ///
    /// # Errors
    /// When nothing more is to be taken in.
    pub fn left_out(&mut self, count: u32, why: LeftOut, now: Instant) -> Result<(), Fault> {
        count_left_out(count, &why);
        if why != LeftOut::Empty {
            self.warn(count, &why);
        }
        self.pay(count, &why, now)
    }

    fn on_unreadable(&mut self, error: &weir_flv::Error, now: Instant) -> Result<(), Fault> {
        COUNTS.left_out(Counted::Unreadable, 1);
        self.warn(1, error);
        self.pay(1, error, now)
    }

    /// Says so of the first one, the 10th, the 100th, ...
    fn warn(&mut self, more: u32, why: &impl fmt::Display) {
        let before = self.unreadable;
        self.unreadable += u64::from(more);
        let digits = |count: u64| count.checked_ilog10();
        if digits(before) != digits(self.unreadable) {
            let (stream, count) = (self.publisher.key(), self.unreadable);
            warn!(from = %self.from, %stream, %why, count, "message dropped");
        }
    }

    /// Ends who sends more than the rate.
    fn pay(&mut self, count: u32, why: &impl fmt::Display, now: Instant) -> Result<(), Fault> {
        if self.meter.take(count, now) {
            return Ok(());
        }
        Err(Fault::Broken(format!(
            "more than {UNREADABLE_PER_SECOND} unreadable messages per second, last: {why}"
        )))
    }
}

fn is_power_of_ten(count: u64) -> bool {
    count.checked_ilog10().is_some_and(|digits| 10_u64.pow(digits) == count)
}

/// Counts what may come at a rate.
#[derive(Debug, Default)]
struct Meter {
    /// When the time that has passed has paid for all that came.
    paid_at: Option<Instant>,
}

impl Meter {
    /// Whether so many more are within the rate.
    fn take(&mut self, count: u32, now: Instant) -> bool {
        const EACH: Duration = Duration::from_micros(1_000_000 / UNREADABLE_PER_SECOND as u64);
        const BURST: Duration = EACH.saturating_mul(UNREADABLE_BURST);
        let from = self.paid_at.unwrap_or(now).max(now);
        let paid_at = from + EACH.saturating_mul(count);
        self.paid_at = Some(paid_at);
        paid_at.saturating_duration_since(now) <= BURST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_muted_encoder_may_go_on_for_ever_and_a_flood_may_not() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        for frame in 0..100_000_u64 {
            // 94 frames of sound and 60 pictures a second, none of them readable.
            let now = start + Duration::from_micros(frame * 1_000_000 / 154);
            assert!(meter.take(1, now), "frame {frame}");
        }
        let later = start + Duration::from_secs(10_000);
        assert!(meter.take(UNREADABLE_BURST, later), "what comes in one piece");
        assert!(!meter.take(1, later));
        assert!(meter.take(UNREADABLE_BURST, later + Duration::from_secs(6)));
        assert!(!meter.take(u32::MAX, later + Duration::from_secs(60)));
    }
}
