//! How fast a publisher's clock runs, for the log: viewers of a slow one wait, and those of a fast one fall behind.

use std::time::{Duration, Instant};

use weir_media::{Content, Frame, Track};

/// Between two looks: long beside what networks and reads in pieces do to the times of arrival.
const LOOK: Duration = Duration::from_secs(5);

/// Looks in a row that say the same before it is believed: files that are published in one go, and networks that stall,
/// are over by then.
const LOOKS: u8 = 2;

/// What is right, in parts of a hundred of life.
const RIGHT: std::ops::RangeInclusive<i64> = 80..=125;

/// Follows the clock of one track, the first of which something comes.
#[derive(Debug, Default)]
pub struct Speed {
    look_at: Option<Instant>,
    from: Option<Mark>,
    /// What the newest looks said, and how many of them.
    found: (Finding, u8),
    /// What was said of it.
    said: Finding,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    track: Track,
    wire: u32,
    at: Instant,
}

/// What a clock is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Finding {
    /// As it should be.
    #[default]
    Right,
    /// Slower than life.
    Slow,
    /// Faster than life.
    Fast,
}

impl Speed {
    /// Takes note of `frame`, which says `wire`; returns what is to be said now, and the speed in parts of a hundred.
    pub fn take(&mut self, frame: &Frame, wire: u32, now: Instant) -> Option<(Finding, i64)> {
        if self.look_at.is_some_and(|at| now < at) {
            return None;
        }
        let is_coded = matches!(frame.content, Content::Video { .. } | Content::Audio(_));
        if !is_coded || frame.stray {
            return None;
        }
        let next = Mark { track: frame.track, wire, at: now };
        let from = match self.from {
            // Its next frame comes soon, or it has ended.
            Some(from) if from.track != next.track && now < from.at + 2 * LOOK => return None,
            from => from.filter(|from| from.track == next.track),
        };
        (self.from, self.look_at) = (Some(next), Some(now + LOOK));
        let from = from?;
        let advance = i64::from(wire.wrapping_sub(from.wire).cast_signed());
        let elapsed = i64::try_from(now.duration_since(from.at).as_millis()).unwrap_or(i64::MAX);
        let percent = advance.saturating_mul(100).checked_div(elapsed)?;
        self.find(percent).map(|finding| (finding, percent))
    }

    fn find(&mut self, percent: i64) -> Option<Finding> {
        let finding = match percent {
            percent if RIGHT.contains(&percent) => Finding::Right,
            percent if percent < *RIGHT.start() => Finding::Slow,
            _ => Finding::Fast,
        };
        let before = if self.found.0 == finding { self.found.1 } else { 0 };
        self.found = (finding, before.saturating_add(1));
        let is_news = self.found.1 >= LOOKS && self.said != finding;
        is_news.then(|| {
            self.said = finding;
            finding
        })
    }
}

#[cfg(test)]
mod tests {
    use weir_media::{AudioCodec, Timestamp, VideoCodec};

    use super::*;

    fn frame(track: Track, content: Content) -> Frame {
        let (body, payload) = (Vec::new().into(), Vec::new().into());
        Frame { track, dts: Timestamp::ZERO, epoch: 0, content, stray: false, payload, body }
    }

    /// What is said of pictures and sound, each 40 ms of life, whose clocks say `said`; and at which second.
    fn said(said: impl Fn(u64) -> u64, seconds: u64) -> Vec<(u64, Finding)> {
        let picture = Content::Video { codec: VideoCodec::Avc, key: true, composition: 0 };
        let frames = [
            frame(Track::Video(0), picture),
            frame(Track::Audio(0), Content::Audio(AudioCodec::Aac)),
        ];
        let (mut speed, start) = (Speed::default(), Instant::now());
        let mut found = Vec::new();
        for at in (0..seconds * 1000).step_by(40) {
            for frame in &frames {
                let now = start + Duration::from_millis(at);
                let finding = speed.take(frame, said(at) as u32, now);
                found.extend(finding.map(|(finding, _)| (at / 1000, finding)));
            }
        }
        found
    }

    #[test]
    fn a_clock_that_is_wrong_for_two_looks_is_said_once() {
        assert_eq!(said(|at| at, 60), []);
        assert_eq!(said(|at| at * 100 / 95, 60), [], "a few parts in a hundred");
        assert_eq!(said(|at| at / 10, 60), [(10, Finding::Slow)]);
        assert_eq!(said(|at| at / 2, 60), [(10, Finding::Slow)]);
        assert_eq!(said(|_| 0, 60), [(10, Finding::Slow)]);
        assert_eq!(said(|at| at * 10, 60), [(10, Finding::Fast)]);
    }

    #[test]
    fn what_is_over_soon_is_not_said_and_what_is_over_later_is() {
        assert_eq!(said(|at| at + u64::from(at > 7000) * 60_000, 60), [], "a jump");
        let late = said(|at| if at < 20_000 { at / 2 } else { at - 10_000 }, 60);
        assert_eq!(late, [(10, Finding::Slow), (30, Finding::Right)]);
    }
}
