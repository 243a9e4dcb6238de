//! The sliding window of a live stream as low-latency players read it (RFC 8216bis, draft-pantos-hls-rfc8216bis).

mod render;

use std::{collections::VecDeque, time::Duration};

pub use self::render::Report;

/// How many target durations behind the end players begin that do not load parts (4.4.3.8 of RFC 8216bis).
const HOLD_BACK: u64 = 3;

/// How many part targets behind the end players begin that do: three is what the draft recommends.
const PART_HOLD_BACK: u32 = 3;

/// Older segments than this, in target durations from the end, may be skipped in an update: the least that is allowed.
const SKIP_UNTIL: u64 = 6;

/// Parts are listed for so many target durations from the end (4.4.4.9): players that are further behind load segments.
const PARTS_LISTED: u64 = 3;

/// A question for a segment so much later than the next one is an error of the client (6.2.5.2).
const AHEAD_MAX: u64 = 2;

/// A list is as long as asked for, but never shorter than so many target durations (6.2.2).
const LASTS_MIN: u64 = 3;

/// Parts of a segment, at most: beyond that the rest is listed with the segment only. At 5 a second those of a minute.
const PARTS_MAX: usize = 300;

/// What holds for a playlist as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// EXT-X-TARGETDURATION in seconds: no segment, rounded to the nearest second, is longer. It never changes.
    pub target_duration: u64,
    /// The length that parts aim at, which none exceeds; without it there are no parts.
    pub part_target: Option<Duration>,
    /// Segments listed. More are listed while fewer would last less than three target durations.
    pub window: usize,
}

impl Terms {
    /// The longest segment that the playlist may have: what still rounds to the target duration.
    pub fn longest(&self) -> Duration {
        Duration::from_secs(self.target_duration) + Duration::from_millis(499)
    }
}

/// A playlist in the making: parts come, then the segment that they make.
#[derive(Clone, Debug)]
pub struct LivePlaylist {
    terms: Terms,
    /// Listed, oldest first.
    segments: VecDeque<Segment>,
    /// Of the segment that is not complete yet.
    parts: Vec<Part>,
    /// What the next segment begins with.
    next: Next,
    discontinuity_sequence: u64,
    /// The number of the segment that is not complete yet.
    sequence: u64,
    hint: Option<String>,
    ended: bool,
}

/// What stands before a segment, and holds for its parts too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Next {
    discontinuity: bool,
    /// The init segment that it needs.
    map: Option<String>,
    /// When its first frame arrived.
    date: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    uri: String,
    duration: Duration,
    begin: Next,
    parts: Vec<Part>,
}

/// A part of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it is, percent-encoded.
    pub uri: String,
    /// How long it lasts.
    pub duration: Duration,
    /// Whether decoding can begin with it.
    pub independent: bool,
}

/// How far a playlist is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of the segment that is not complete yet.
    pub sequence: u64,
    /// How many parts of it are there.
    pub parts: usize,
    /// Whether there will be no more.
    pub is_ended: bool,
}

/// Whether a playlist has what a client waits for (`_HLS_msn`, `_HLS_part`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It has it, or will never have more.
    Now,
    /// It will have it.
    Later,
    /// It is so far ahead that the client is wrong: 400.
    TooFar,
}

impl Progress {
    /// Whether a client that asked for segment `msn`, or for part `part` of it, can be answered.
    pub fn reach(&self, msn: u64, part: Option<usize>) -> Reach {
        let has_part = part.is_some_and(|part| msn == self.sequence && part < self.parts);
        if self.is_ended || msn < self.sequence || has_part {
            return Reach::Now;
        }
        // A part number beyond the segment's last means the first part of the next one.
        if msn.saturating_sub(self.sequence) > AHEAD_MAX || part.is_some_and(|at| at > PARTS_MAX) {
            return Reach::TooFar;
        }
        Reach::Later
    }
}

impl LivePlaylist {
    /// An empty playlist that numbers its segments from `sequence`.
    pub fn new(terms: Terms, sequence: u64) -> Self {
        Self {
            terms: Terms { target_duration: terms.target_duration.max(1), ..terms },
            segments: VecDeque::new(),
            parts: Vec::new(),
            next: Next::default(),
            discontinuity_sequence: 0,
            sequence,
            hint: None,
            ended: false,
        }
    }

    /// What holds for it.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// The number of the segment that is not complete yet.
    pub fn next_sequence(&self) -> u64 {
        self.sequence
    }

    /// EXT-X-MEDIA-SEQUENCE: the number of the first segment listed.
    pub fn media_sequence(&self) -> u64 {
        self.sequence - self.segments.len() as u64
    }

    /// The parts that the segment in the making has.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Says what the next segment begins with, before its first part: whether it does not continue the one before, the
    /// init segment that it needs (none in MPEG-TS), and when its first frame arrived, since the Unix epoch.
    pub fn begin(&mut self, discontinuity: bool, map: Option<&str>, date: Option<Duration>) {
        self.next = Next { discontinuity, map: map.map(str::to_owned), date };
        self.ended = false;
    }

    /// Lists so many segments from the next one on.
    pub fn set_window(&mut self, segments: usize) {
        self.terms.window = segments;
    }

    /// Lists the segment of this number, and those before it, no longer, because they are nowhere to be had. The list
    /// may be shorter than players are promised then.
    pub fn forget_until(&mut self, sequence: u64) {
        while self.media_sequence() <= sequence
            && let Some(first) = self.segments.pop_front()
        {
            self.discontinuity_sequence += u64::from(first.begin.discontinuity);
        }
    }

    /// A part of the segment in the making is there.
    pub fn push_part(&mut self, part: Part) {
        if self.terms.part_target.is_some() && self.parts.len() < PARTS_MAX {
            self.parts.push(part);
        }
    }

    /// Where the part will be that comes next, which clients may ask for now: the next that is pushed, be it of this
    /// segment or of the one after it.
    pub fn hint(&mut self, uri: Option<&str>) {
        self.hint = uri.map(str::to_owned);
    }

    /// The segment in the making is complete, and lasts as long as its parts together. Returns the numbers of those
    /// that are not listed any more.
    pub fn push(&mut self, uri: &str, duration: Duration) -> std::ops::Range<u64> {
        let before = self.media_sequence();
        self.segments.push_back(Segment {
            uri: uri.to_owned(),
            duration,
            begin: std::mem::take(&mut self.next),
            parts: std::mem::take(&mut self.parts),
        });
        self.sequence = self.sequence.saturating_add(1);
        self.slide();
        before..self.media_sequence()
    }

    /// The stream has ended for good. What is left of a segment in the making was pushed before. A segment that begins
    /// later takes that back.
    pub fn end(&mut self) {
        self.ended = true;
        self.hint = None;
        self.parts.clear();
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress { sequence: self.sequence, parts: self.parts.len(), is_ended: self.ended }
    }

    /// Whether a client that asked for segment `msn`, or for part `part` of it, can be answered.
    pub fn reach(&self, msn: u64, part: Option<usize>) -> Reach {
        self.progress().reach(msn, part)
    }

    /// How long before its end an update leaves segments out.
    fn skip_until(&self) -> Duration {
        Duration::from_secs(self.terms.target_duration.saturating_mul(SKIP_UNTIL))
    }

    /// How long the segments and parts that are listed last together.
    fn lasts(&self) -> Duration {
        let open: Duration = self.parts.iter().map(|part| part.duration).sum();
        self.segments.iter().map(|segment| segment.duration).sum::<Duration>() + open
    }

    fn slide(&mut self) {
        let least = Duration::from_secs(self.terms.target_duration.saturating_mul(LASTS_MIN));
        let mut lasts: Duration = self.segments.iter().map(|segment| segment.duration).sum();
        while self.segments.len() > self.terms.window.max(1)
            && let Some(first) = self.segments.front()
        {
            let left = lasts.saturating_sub(first.duration);
            if left < least {
                break;
            }
            self.discontinuity_sequence += u64::from(first.begin.discontinuity);
            self.segments.pop_front();
            lasts = left;
        }
        // Parts of old segments need not be kept: they are not listed any more.
        let listed = Duration::from_secs(self.terms.target_duration.saturating_mul(PARTS_LISTED));
        let mut after = Duration::ZERO;
        for segment in self.segments.iter_mut().rev() {
            if after > listed {
                segment.parts.clear();
            }
            after += segment.duration;
        }
    }
}

#[cfg(test)]
mod tests;
