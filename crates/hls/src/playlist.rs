//! The sliding window of segments, as a media playlist (RFC 8216).

mod resume;

use std::{collections::VecDeque, fmt::Write as _, time::Duration};

use percent_encoding::utf8_percent_encode;

use crate::{Config, Cut, Form, LeftOut, Nonce, SegmentName, date::rfc3339, name::ENCODED};

/// A playlist must last three target durations (RFC 8216, 6.2.2), and the target duration never shrinks; one very long
/// segment could so grow the list without end. It is listed up to this many times as long as asked for.
const WINDOW_RATIO_MAX: usize = 4;

/// Files that wait for their deletion, as a multiple of the window. A segment waits for about one window; more wait
/// only when a publisher makes many tiny segments (by a new configuration with each frame).
const RETIRED_RATIO_MAX: usize = 8;

/// How much longer than one segment the next may be by the jitter of the encoder's timestamps alone.
const JITTER: Duration = Duration::from_millis(100);

/// What a comment of ours begins with (RFC 8216, 4.1: a number sign that EXT does not follow).
const NOTE: &str = "# ";

/// What a player is told: the newest segments of a stream, and when the files of older ones may go.
///
/// Names of segments are file names here; [`Playlist::render`] writes them percent-encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playlist {
    config: Config,
    /// In seconds: what no segment is longer than, rounded as RFC 8216, 4.3.3.1 has it. It stays as long as it can
    /// ([`Playlist::allow`]).
    target_duration: u64,
    discontinuity_sequence: u64,
    /// Listed, oldest first.
    segments: VecDeque<Segment>,
    /// Not listed any more, but players may still load them; oldest first.
    retired: VecDeque<Retired>,
    next: u64,
    /// Whether the next segment does not continue the last one, whatever the segmenter says.
    interrupted: bool,
    ended: bool,
    /// A line for whoever reads the playlist with their eyes.
    note: Option<String>,
    /// Media time since this playlist was made: the clock for deletions, as time passes at the rate of live media.
    elapsed: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    name: SegmentName,
    duration: Duration,
    discontinuity: bool,
    /// RFC 3339.
    program_date_time: Option<String>,
    /// How long the longest playlist was that listed it.
    longest_playlist: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Retired {
    name: SegmentName,
    /// In terms of [`Playlist::elapsed`].
    until: Duration,
}

impl Playlist {
    /// An empty playlist that numbers its segments from 0.
    pub fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            target_duration: rounded_seconds(config.target).max(1),
            discontinuity_sequence: 0,
            segments: VecDeque::new(),
            retired: VecDeque::new(),
            next: 0,
            interrupted: false,
            ended: false,
            note: None,
            elapsed: Duration::ZERO,
        }
    }

    /// An empty playlist that numbers its segments from `sequence`, for when the playlist of an earlier run is lost but
    /// the highest number it used is known (see [`SegmentName`]). Its first segment has a discontinuity.
    pub fn starting_at(config: &Config, sequence: u64) -> Self {
        Self { next: sequence, interrupted: true, ..Self::new(config) }
    }

    /// From now on the list is as long as `config` says, whose name has to be the one it had. What is listed stays
    /// until the next push. The target duration grows to what is aimed at now, and shrinks only with a new playlist
    /// (RFC 8216, 6.2.1).
    pub fn reconfigure(&mut self, config: &Config) {
        self.config.target = config.target;
        self.config.window = config.window;
        self.target_duration = self.target_duration.max(Self::new(config).target_duration);
    }

    /// The file name of the segment that is pushed next with this `nonce`.
    pub fn next_file(&self, nonce: Nonce) -> String {
        self.next_name(nonce).file(&self.config.name)
    }

    fn next_name(&self, nonce: Nonce) -> SegmentName {
        SegmentName { sequence: self.next, nonce: Some(nonce), form: Form::Ts }
    }

    /// The sequence number of the segment that is pushed next.
    pub fn next_sequence(&self) -> u64 {
        self.next
    }

    /// The sequence number of the first segment listed: EXT-X-MEDIA-SEQUENCE. Segments below it that
    /// [`Playlist::push`] never named were left behind by an earlier run.
    pub fn media_sequence(&self) -> u64 {
        self.segments.front().map_or(self.next, |segment| segment.name.sequence)
    }

    /// How many segments are listed.
    pub fn len(&self) -> usize {
        self.segments.len()
    }

    /// Whether no segment is listed.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The names of all segments whose files should exist, oldest first: those that are listed, and before them those
    /// that wait for their deletion.
    pub fn files(&self) -> impl Iterator<Item = String> {
        let retired = self.retired.iter().map(|retired| retired.name);
        let listed = self.segments.iter().map(|segment| segment.name);
        retired.chain(listed).map(|name| name.file(&self.config.name))
    }

    /// The names of the segments that are listed, oldest first.
    pub fn listed(&self) -> impl Iterator<Item = String> {
        self.segments.iter().map(|segment| segment.name.file(&self.config.name))
    }

    /// Lists the segment with this name, and those before it, no longer, because they are nowhere to be had. The list
    /// may be shorter than players are promised then.
    pub fn forget_until(&mut self, file: &str) {
        let Some(name) = SegmentName::of(&self.config.name, file) else { return };
        self.retired.retain(|retired| retired.name.sequence > name.sequence);
        while let Some(first) = self.segments.pop_front_if(|it| it.name.sequence <= name.sequence) {
            self.discontinuity_sequence =
                self.discontinuity_sequence.saturating_add(u64::from(first.discontinuity));
        }
    }

    /// The lowest number of a segment whose file should exist; that of the next one if there is none.
    pub fn oldest_sequence(&self) -> u64 {
        self.retired.front().map_or(self.media_sequence(), |retired| retired.name.sequence)
    }

    /// Whether a segment of this number, which need not be listed, may come from the run that the list comes from: it
    /// waits for its deletion, or is the one that was to be listed next.
    pub fn covers(&self, sequence: u64) -> bool {
        let waiting =
            self.config.window.max(1).saturating_mul(WINDOW_RATIO_MAX + RETIRED_RATIO_MAX);
        (self.media_sequence().saturating_sub(waiting as u64)..=self.next).contains(&sequence)
    }

    /// Appends the segment that was written to [`next_file`](Self::next_file) with the same `nonce`; returns the names
    /// of those whose files may be deleted now. A segment that has left the playlist stays for its own duration and
    /// that of the longest playlist that listed it (RFC 8216, 6.2.2).
    pub fn push(&mut self, cut: &Cut, nonce: Nonce) -> Vec<String> {
        self.allow(cut.duration);
        self.segments.push_back(Segment {
            name: self.next_name(nonce),
            duration: cut.duration,
            discontinuity: std::mem::take(&mut self.interrupted) || cut.discontinuity,
            program_date_time: Some(rfc3339(cut.program_date_time)),
            longest_playlist: Duration::ZERO,
        });
        self.next = self.next.saturating_add(1);
        self.ended = false;
        self.elapsed = self.elapsed.saturating_add(cut.duration);
        self.slide();
        self.expire()
    }

    /// Makes room for a segment of this length. The target duration must not change (RFC 8216, 6.2.1), but players
    /// refuse longer segments. So it grows where it must: before anybody has seen it to what the stream needs, later by
    /// half of itself at least, so that streams whose key frames come at odd times do not change it each time that one
    /// is later than all before.
    fn allow(&mut self, duration: Duration) {
        let is_seen = !self.segments.is_empty();
        if is_seen && rounded_seconds(duration) <= self.target_duration {
            return;
        }
        let needed = rounded_seconds(duration.saturating_add(JITTER));
        let least = if is_seen { self.target_duration.saturating_mul(3).div_ceil(2) } else { 0 };
        self.target_duration = self.target_duration.max(needed).max(least);
    }

    /// The stream has ended for good: players need not ask again. A later push takes that back.
    pub fn end(&mut self) {
        self.ended = true;
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

    /// The playlist as text.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(200 + self.segments.len() * 120);
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "#EXTM3U")?;
        writeln!(out, "#EXT-X-VERSION:3")?;
        writeln!(out, "#EXT-X-TARGETDURATION:{}", self.target_duration)?;
        writeln!(out, "#EXT-X-MEDIA-SEQUENCE:{}", self.media_sequence())?;
        writeln!(out, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.discontinuity_sequence)?;
        if let Some(note) = &self.note {
            writeln!(out, "{NOTE}{note}")?;
        }
        for segment in &self.segments {
            segment.write(&self.config, out)?;
        }
        if self.ended {
            writeln!(out, "#EXT-X-ENDLIST")?;
        }
        Ok(())
    }

    /// Removes what has slid out of the window from the list.
    fn slide(&mut self) {
        let mut lasts: Duration = self.segments.iter().map(|segment| segment.duration).sum();
        while let Some(first) = self.segments.front() {
            let left = lasts.saturating_sub(first.duration);
            if !self.may_drop_first(left) {
                break;
            }
            self.discontinuity_sequence =
                self.discontinuity_sequence.saturating_add(u64::from(first.discontinuity));
            let wait = first.duration.saturating_add(first.longest_playlist);
            let until = self.elapsed.saturating_add(wait);
            self.retired.push_back(Retired { name: first.name, until });
            self.segments.pop_front();
            lasts = left;
        }
        for segment in &mut self.segments {
            segment.longest_playlist = segment.longest_playlist.max(lasts);
        }
    }

    /// Whether the first segment may leave, given how long the list would last without it.
    fn may_drop_first(&self, left: Duration) -> bool {
        let window = self.config.window.max(1);
        let count = self.segments.len();
        let long_enough = left >= Duration::from_secs(self.target_duration.saturating_mul(3));
        count > window && (long_enough || count > window.saturating_mul(WINDOW_RATIO_MAX))
    }

    fn expire(&mut self) -> Vec<String> {
        let most = self.config.window.max(1).saturating_mul(RETIRED_RATIO_MAX);
        let excess = self.retired.len().saturating_sub(most);
        let over = self.retired.iter().take_while(|retired| retired.until <= self.elapsed).count();
        self.retired
            .drain(..over.max(excess))
            .map(|retired| retired.name.file(&self.config.name))
            .collect()
    }
}

impl Segment {
    fn write(&self, config: &Config, out: &mut String) -> std::fmt::Result {
        if self.discontinuity {
            writeln!(out, "#EXT-X-DISCONTINUITY")?;
        }
        if let Some(time) = &self.program_date_time {
            writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{time}")?;
        }
        let (seconds, millis) = (self.duration.as_secs(), self.duration.subsec_millis());
        writeln!(out, "#EXTINF:{seconds}.{millis:03},")?;
        let name = self.name.file(&config.name);
        writeln!(out, "{}", utf8_percent_encode(&name, ENCODED))
    }
}

/// To the nearest second, as the playlist says it: in whole milliseconds.
fn rounded_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_millis() >= 500)
}

#[cfg(test)]
mod tests;
