//! The sliding window of a stream's segments as a media playlist (RFC 8216), with what low-latency players read of it
//! (RFC 8216bis, draft-pantos-hls-rfc8216bis).

mod files;
mod progress;
mod render;
mod resume;

use std::{collections::VecDeque, time::Duration};

pub use self::{
    progress::{Progress, Reach},
    render::Report,
};
use weir_media::date::rfc3339;

use crate::{Config, Container, Form, LeftOut, Nonce, SEGMENT_DURATION_MAX, SegmentName};

/// How many target durations behind the end players begin that do not load parts (4.4.3.8 of RFC 8216bis).
const HOLD_BACK: u64 = 3;

/// How many part targets behind the end players begin that do: three is what the draft recommends.
const PART_HOLD_BACK: u32 = 3;

/// Older segments than this, in target durations from the end, may be skipped in an update: the least that is allowed.
const SKIP_UNTIL: u64 = 6;

/// Parts are listed for so many target durations from the end (4.4.4.9): players that are further behind load segments.
const PARTS_LISTED: u64 = 3;

/// Parts can be loaded for this many times as long as they are listed.
const PARTS_KEPT_RATIO: u64 = 2;

/// A list is as long as asked for, but never shorter than so many target durations (6.2.2).
const LASTS_MIN: u64 = 3;

/// Parts of a segment, at most: beyond that the rest is listed with the segment only. At 5 a second those of a minute.
const PARTS_MAX: usize = 300;

/// One very long segment could grow the list without end, as it must last three target durations. It is listed up to
/// this many times as long as asked for.
const WINDOW_RATIO_MAX: usize = 4;

/// The same where there are parts, whose target duration does not grow: a publisher that makes many tiny segments (by a
/// new configuration with each frame) must not grow the list. Those of a quarter of a second fill a minute.
const LISTED_MAX: usize = 240;

/// Segments that wait for their deletion, as a multiple of the window. One waits for about one window; more wait only
/// when a publisher makes many tiny segments.
const RETIRED_RATIO_MAX: usize = 8;

/// How much longer than one segment the next may be by the jitter of the encoder's timestamps alone.
const JITTER: Duration = Duration::from_millis(100);

/// What still rounds to a whole second.
const ROUNDED_DOWN: Duration = Duration::from_millis(499);

/// What a player is told: the newest segments of a stream with their parts, and when the files of older ones may go.
///
/// Segments, init segments, parts and keys are named by their files here; the text has them percent-encoded. For each
/// segment: [`begin`](Self::begin), then its parts ([`push_part`](Self::push_part)) if there are any, then
/// [`push`](Self::push).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playlist {
    config: Config,
    /// In seconds: what no segment is longer than, rounded as 4.4.3.1 has it ([`Playlist::allow`]).
    target_duration: u64,
    /// Whether a segment or a part has been listed, so that players know the target duration.
    is_shown: bool,
    /// The length that parts aim at, which none exceeds; without it there are no parts.
    part_target: Option<Duration>,
    /// Listed, oldest first.
    segments: VecDeque<Segment>,
    /// Not listed any more, but players may still load them; oldest first.
    retired: VecDeque<Retired>,
    /// Of the segment that is not complete yet.
    parts: Vec<Part>,
    /// What that begins with.
    next: Begin,
    discontinuity_sequence: u64,
    /// The number of the segment that is not complete yet.
    sequence: u64,
    /// Whether the next segment does not continue the last one, whatever it says of itself.
    interrupted: bool,
    hint: Option<String>,
    ended: bool,
    /// Whether players may have parts of the segment in the making, by what was listed or announced.
    is_open: bool,
    /// A line for whoever reads the playlist with their eyes.
    note: Option<String>,
    /// Media time since this playlist was made: the clock for deletions, as time passes at the rate of live media.
    elapsed: Duration,
}

/// What stands before a segment, and holds for its parts too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begin {
    /// Whether it does not continue the segment before it.
    pub discontinuity: bool,
    /// The file of the init segment that it needs; none in MPEG-TS.
    pub map: Option<String>,
    /// What it is encrypted with.
    pub key: Option<Key>,
    /// When its first frame arrived, as RFC 3339 writes it ([`Begin::at`]).
    pub date: Option<String>,
}

/// AES-128 (4.4.4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where the key is: percent-encoded, relative to the playlist or not.
    pub uri: String,
    /// The initialization vector.
    pub iv: u128,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    file: String,
    duration: Duration,
    begin: Begin,
    /// Whether it stands for one that is lost ([`Playlist::fill_until`]).
    is_gap: bool,
    parts: Vec<Part>,
    /// How long the longest playlist was that listed it.
    longest_playlist: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Retired {
    segment: Segment,
    sequence: u64,
    /// In terms of [`Playlist::elapsed`].
    until: Duration,
}

/// A part of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its file.
    pub file: String,
    /// How long it lasts.
    pub duration: Duration,
    /// Whether decoding can begin with it.
    pub independent: bool,
}

impl Begin {
    /// A segment that continues the one before it, whose first frame arrived at this time since the Unix epoch.
    pub fn at(date: Duration) -> Self {
        Self { date: Some(rfc3339(date)), ..Self::default() }
    }
}

impl Playlist {
    /// An empty playlist that numbers its segments from 0.
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            target_duration: rounded_seconds(config.target).max(1),
            is_shown: false,
            part_target: None,
            segments: VecDeque::new(),
            retired: VecDeque::new(),
            parts: Vec::new(),
            next: Begin::default(),
            discontinuity_sequence: 0,
            sequence: 0,
            interrupted: false,
            hint: None,
            ended: false,
            is_open: false,
            note: None,
            elapsed: Duration::ZERO,
        }
    }

    /// An empty playlist that numbers its segments from `sequence`, for when the playlist of an earlier run is lost but
    /// the highest number it used is known (see [`SegmentName`]). Its first segment has a discontinuity.
    pub fn starting_at(config: &Config, sequence: u64) -> Self {
        Self { sequence, interrupted: true, ..Self::new(config) }
    }

    /// An empty playlist that follows this one from the segment `sequence` on, which has a discontinuity.
    pub fn after(&self, config: &Config, sequence: u64) -> Self {
        Self { discontinuity_sequence: self.breaks(), ..Self::starting_at(config, sequence) }
    }

    /// An empty playlist of another track of the same stream, that begins with the segment `first`: one that this one
    /// has in the making, or is about to begin, with a discontinuity if `is_interrupted`. The same segments have the
    /// same discontinuity sequence numbers in both (6.2.4).
    pub fn beside(&self, config: &Config, first: u64, is_interrupted: bool) -> Self {
        let own = self.next.discontinuity || self.interrupted || is_interrupted;
        let breaks = self.breaks().saturating_add(u64::from(own));
        // Its first segment has one.
        let discontinuity_sequence = breaks.saturating_sub(1);
        Self { discontinuity_sequence, ..Self::starting_at(config, first) }
    }

    /// From now on the list is as long as `config` says, whose name has to be the one it had. What is listed stays
    /// until the next push. A target duration that players know grows only where there are no parts, and shrinks only
    /// with a new playlist (6.2.1).
    pub fn reconfigure(&mut self, config: &Config) {
        self.config.target = config.target;
        self.config.window = config.window;
        if !self.is_shown || self.part_target.is_none() {
            self.target_duration = self.target_duration.max(Self::new(config).target_duration);
        }
    }

    /// From now on there are parts of at most this length, or none. A target that players know never gets shorter: a
    /// publisher who takes over with other frames may have parts that are.
    pub fn offer_parts(&mut self, target: Option<Duration>) {
        self.part_target = target.map(|target| self.part_target.unwrap_or_default().max(target));
        if target.is_none() {
            self.parts.clear();
            self.hint = None;
        }
    }

    /// PART-TARGET, if there are parts.
    pub fn part_target(&self) -> Option<Duration> {
        self.part_target
    }

    /// What its newest segment is written in.
    pub fn container(&self) -> Option<Container> {
        let newest = self.segments.back()?;
        Some(if newest.begin.map.is_some() { Container::Mp4 } else { Container::Ts })
    }

    /// Whether it can go on with segments as long as `config` has it and parts of this length. What players know of
    /// both must not change where there are parts; if it has to, it is another playlist.
    pub fn fits(&self, config: &Config, part_target: Option<Duration>) -> bool {
        let Some(part) = part_target else { return true };
        let is_longer = self.part_target.is_some_and(|known| part > known);
        let is_long = Self::new(config).target_duration > self.target_duration;
        !(is_longer || self.is_shown && is_long)
    }

    /// EXT-X-TARGETDURATION, in seconds.
    pub fn target_duration(&self) -> u64 {
        self.target_duration
    }

    /// The longest segment that it may list. The target duration must not change where there are parts, so that the
    /// segmenter has to end a segment before it is longer. Without parts only [`SEGMENT_DURATION_MAX`] ends it.
    pub fn longest(&self) -> Duration {
        if self.part_target.is_some() {
            self.targets(1) + ROUNDED_DOWN
        } else {
            SEGMENT_DURATION_MAX
        }
    }

    /// A file name for what belongs to the segment in the making. Parts are numbered by the caller, and one that is
    /// hinted at keeps its name if it comes to be in the segment after that.
    pub fn file(&self, nonce: Nonce, form: Form) -> String {
        let name = SegmentName { sequence: self.sequence, nonce: Some(nonce), form };
        name.file(&self.config.name)
    }

    /// The number of the segment that is not complete yet.
    pub fn next_sequence(&self) -> u64 {
        self.sequence
    }

    /// EXT-X-MEDIA-SEQUENCE: the number of the first segment listed. Segments below it that [`Playlist::push`]
    /// never named were left behind by an earlier run.
    pub fn media_sequence(&self) -> u64 {
        self.sequence - self.segments.len() as u64
    }

    /// How many segments are listed.
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether no segment is listed. Without parts nobody should see it then: the first segment decides the target
    /// duration.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// How many parts the segment in the making has.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Says what the next segment begins with, before its first part. A playlist that has ended goes on.
    pub fn begin(&mut self, begin: Begin) {
        self.ended = false;
        self.is_open = self.part_target.is_some();
        // What was begun before and has not come is missing.
        let interrupted = std::mem::take(&mut self.interrupted) || self.next.discontinuity;
        self.next = Begin { discontinuity: begin.discontinuity || interrupted, ..begin };
    }

    /// A part of the segment in the making is there.
    pub fn push_part(&mut self, part: Part) {
        if self.part_target.is_some() && self.parts.len() < PARTS_MAX {
            self.parts.push(part);
            self.is_shown = true;
        }
    }

    /// The file of the part that comes next, which clients may ask for now: the next that is pushed, be it of this
    /// segment or of the one after it.
    pub fn hint(&mut self, file: Option<&str>) {
        self.hint = file.map(str::to_owned);
    }

    /// The segment in the making is complete. Returns the files that may be deleted now. A segment that has left the
    /// playlist stays for its own duration and that of the longest playlist that listed it (6.2.2).
    pub fn push(&mut self, file: &str, duration: Duration) -> Vec<String> {
        if std::mem::take(&mut self.ended) || self.interrupted {
            // It was not said what it begins with.
            let next = std::mem::take(&mut self.next);
            self.begin(next);
        }
        self.allow(duration);
        self.segments.push_back(Segment {
            file: file.to_owned(),
            duration,
            begin: std::mem::take(&mut self.next),
            is_gap: false,
            parts: std::mem::take(&mut self.parts),
            longest_playlist: Duration::ZERO,
        });
        self.is_shown = true;
        self.sequence = self.sequence.saturating_add(1);
        self.elapsed = self.elapsed.saturating_add(duration);
        self.slide();
        self.expire()
    }

    /// Makes room for a segment of this length. The target duration must not change (6.2.1), but players refuse longer
    /// segments. Before anybody has seen it, it grows to what the stream needs. Later no segment is longer where there
    /// are parts ([`longest`](Self::longest)). Without parts it grows by half of itself at least, so that streams whose
    /// key frames come at odd times do not change it each time that one is later than all before.
    fn allow(&mut self, duration: Duration) {
        if self.is_shown && rounded_seconds(duration) <= self.target_duration {
            return;
        }
        let needed = rounded_seconds(duration.saturating_add(JITTER));
        let half_more = self.target_duration.saturating_mul(3).div_ceil(2);
        let least = if self.is_shown { half_more } else { 0 };
        self.target_duration = self.target_duration.max(needed).max(least);
    }

    /// The stream has ended for good: players need not ask again. What is left of a segment in the making was pushed
    /// before. A later segment takes that back, and does not continue what was before.
    pub fn end(&mut self) {
        self.ended = true;
        self.is_open = false;
        self.interrupted = true;
        self.hint = None;
        self.parts = Vec::new();
        self.next = Begin::default();
        // Nobody knows whether more comes.
        self.segments.shrink_to_fit();
        self.retired.shrink_to_fit();
    }

    /// Nothing is in the making: what comes next begins a segment. Whether that was not so before.
    pub fn close(&mut self) -> bool {
        std::mem::take(&mut self.is_open)
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Says in a comment which tracks the stream has besides those in its segments. Players pass it over.
    pub fn note(&mut self, left_out: LeftOut) {
        self.note = Some(left_out)
            .filter(|left_out| !left_out.is_nothing())
            .map(|left_out| left_out.to_string());
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress { sequence: self.sequence, parts: self.parts.len(), is_ended: self.ended }
    }

    /// Whether a client that asked for segment `msn`, or for part `part` of it, can be answered.
    pub fn reach(&self, msn: u64, part: Option<usize>) -> Reach {
        self.progress().reach(msn, part)
    }

    /// So many target durations.
    fn targets(&self, count: u64) -> Duration {
        Duration::from_secs(self.target_duration.saturating_mul(count))
    }

    /// How long the segments and parts that are listed last together.
    fn lasts(&self) -> Duration {
        let open: Duration = self.parts.iter().map(|part| part.duration).sum();
        self.segments.iter().map(|segment| segment.duration).sum::<Duration>() + open
    }

    /// Removes what has slid out of the window from the list.
    fn slide(&mut self) {
        let mut lasts: Duration = self.segments.iter().map(|segment| segment.duration).sum();
        while let Some(first) = self.segments.front() {
            let left = lasts.saturating_sub(first.duration);
            if !self.may_drop_first(left) {
                break;
            }
            let sequence = self.media_sequence();
            let Some(mut segment) = self.segments.pop_front() else { break };
            self.count_break(&segment);
            segment.parts = Vec::new();
            let wait = segment.duration.saturating_add(segment.longest_playlist);
            let until = self.elapsed.saturating_add(wait);
            self.retired.push_back(Retired { segment, sequence, until });
            lasts = left;
        }
        let kept = self.targets(PARTS_LISTED * PARTS_KEPT_RATIO);
        let mut after = Duration::ZERO;
        for segment in self.segments.iter_mut().rev() {
            segment.longest_playlist = segment.longest_playlist.max(lasts);
            if after > kept {
                segment.parts.clear();
            }
            after += segment.duration;
        }
    }

    /// Whether the first segment may leave, given how long the list would last without it.
    fn may_drop_first(&self, left: Duration) -> bool {
        let window = self.config.window.max(1);
        let count = self.segments.len();
        let least = if self.part_target.is_some() { LISTED_MAX } else { 0 };
        let most = window.saturating_mul(WINDOW_RATIO_MAX).max(least);
        count > window && (left >= self.targets(LASTS_MIN) || count > most)
    }

    /// Discontinuities up to the newest segment.
    fn breaks(&self) -> u64 {
        let listed = self.segments.iter().filter(|segment| segment.begin.discontinuity).count();
        self.discontinuity_sequence.saturating_add(listed as u64)
    }

    fn count_break(&mut self, gone: &Segment) {
        let breaks = u64::from(gone.begin.discontinuity);
        self.discontinuity_sequence = self.discontinuity_sequence.saturating_add(breaks);
    }
}

/// To the nearest second, as the playlist says it: in whole milliseconds.
fn rounded_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_millis() >= 500)
}

#[cfg(test)]
mod tests;
