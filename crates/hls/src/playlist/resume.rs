//! Reads a playlist of an earlier run, to go on where it stopped.

use std::{collections::VecDeque, time::Duration};

use percent_encoding::percent_decode_str;

use super::{NOTE, Playlist, Segment, rounded_seconds};
use crate::{BadPlaylist, Config, SegmentName};

/// Longest playlist that is read: 1 MiB, some 8,000 segments.
const BYTES_MAX: usize = 1024 * 1024;

/// How the playlist of a stream that has ended ends.
const ENDLIST: &str = "#EXT-X-ENDLIST\n";

/// Longest EXT-X-PROGRAM-DATE-TIME that is taken over.
const DATE_BYTES_MAX: usize = 40;

/// Longest segment that is believed, in seconds. Ours end after [`SEGMENT_DURATION_MAX`](crate::SEGMENT_DURATION_MAX).
const SECONDS_MAX: u64 = 3600;

/// Longest comment that is taken over; ours name two codecs.
const NOTE_BYTES_MAX: usize = 200;

/// Characters of a wrong line that its error repeats.
const ERROR_TEXT_MAX: usize = 80;

impl Playlist {
    /// Continues the playlist that an earlier run left behind: its segments stay listed, the numbers go on, and the
    /// next segment has a discontinuity. Only playlists that [`Playlist::render`] wrote for the same stream are
    /// understood.
    ///
    /// Where the directory has a segment of a higher number than the playlist knows (the run ended before it was
    /// listed), that number was never seen by a player and may be used again.
    ///
    /// # Errors
    /// Says what is wrong with `previous`. The caller then makes a fresh one; [`Playlist::starting_at`] avoids numbers
    /// that players may have seen.
    pub fn resume(config: &Config, previous: &str) -> Result<Self, BadPlaylist> {
        if previous.len() > BYTES_MAX {
            return Err(BadPlaylist::TooLong { len: previous.len(), max: BYTES_MAX });
        }
        let mut lines = previous.lines().zip(1..);
        if lines.next().is_none_or(|(line, _)| line != "#EXTM3U") {
            return Err(BadPlaylist::Header);
        }
        let mut parser = Parser::new(config);
        for (text, line) in lines {
            let wrong =
                || BadPlaylist::Line { line, text: text.chars().take(ERROR_TEXT_MAX).collect() };
            parser.line(text).ok_or_else(wrong)?;
        }
        if !previous.ends_with('\n') || parser.is_within_segment() {
            return Err(BadPlaylist::Missing("end"));
        }
        parser.finish()
    }

    /// Whether `text` is to the letter what [`Playlist::render`] writes for the stream: a file with it is no other
    /// program's.
    pub fn has_written(config: &Config, text: &str) -> bool {
        let open = text.strip_suffix(ENDLIST).unwrap_or(text);
        // The length in the text may be shorter than what is aimed at now.
        let config = Config { target: Duration::ZERO, ..config.clone() };
        Self::resume(&config, open).is_ok_and(|playlist| playlist.render() == open)
    }
}

struct Parser<'a> {
    config: &'a Config,
    target_duration: Option<u64>,
    media_sequence: Option<u64>,
    discontinuity_sequence: u64,
    note: Option<String>,
    segments: VecDeque<Segment>,
    /// What the tags before the next URI said.
    duration: Option<Duration>,
    discontinuity: bool,
    program_date_time: Option<String>,
}

impl<'a> Parser<'a> {
    fn new(config: &'a Config) -> Self {
        Self {
            config,
            target_duration: None,
            media_sequence: None,
            discontinuity_sequence: 0,
            note: None,
            segments: VecDeque::new(),
            duration: None,
            discontinuity: false,
            program_date_time: None,
        }
    }

    /// Takes a line; nothing when it is wrong. Tags that are not known are passed over, as RFC 8216, 4.1 asks.
    fn line(&mut self, text: &str) -> Option<()> {
        let Some(tag) = text.strip_prefix('#') else {
            return if text.is_empty() { Some(()) } else { self.segment(text) };
        };
        if let Some(note) = text.strip_prefix(NOTE) {
            self.note = Some(note).filter(|note| note.len() <= NOTE_BYTES_MAX).map(str::to_owned);
            return Some(());
        }
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "EXT-X-TARGETDURATION" => self.target_duration = Some(seconds(value)?),
            "EXT-X-MEDIA-SEQUENCE" => self.media_sequence = Some(value.parse().ok()?),
            "EXT-X-DISCONTINUITY-SEQUENCE" => self.discontinuity_sequence = value.parse().ok()?,
            "EXT-X-DISCONTINUITY" => self.discontinuity = true,
            "EXT-X-PROGRAM-DATE-TIME" => self.program_date_time = Some(date(value)?),
            "EXTINF" => self.duration = Some(duration(value)?),
            _ => {}
        }
        Some(())
    }

    /// Takes a URI line, whose sequence number must be the next one.
    fn segment(&mut self, uri: &str) -> Option<()> {
        let name = percent_decode_str(uri).decode_utf8().ok()?;
        let name = SegmentName::of(&self.config.name, &name)?;
        if name.sequence == u64::MAX || name.sequence != self.next()? {
            return None;
        }
        self.segments.push_back(Segment {
            name,
            duration: self.duration.take()?,
            discontinuity: std::mem::take(&mut self.discontinuity),
            program_date_time: self.program_date_time.take(),
            longest_playlist: Duration::ZERO,
        });
        Some(())
    }

    /// Whether tags were read that belong to a URI that did not come.
    fn is_within_segment(&self) -> bool {
        self.discontinuity || self.program_date_time.is_some() || self.duration.is_some()
    }

    /// The sequence number after the last segment's.
    fn next(&self) -> Option<u64> {
        match self.segments.back() {
            Some(last) => last.name.sequence.checked_add(1),
            None => self.media_sequence,
        }
    }

    fn finish(self) -> Result<Playlist, BadPlaylist> {
        let next = self.next().ok_or(BadPlaylist::Missing("EXT-X-MEDIA-SEQUENCE"))?;
        let target_duration =
            self.target_duration.ok_or(BadPlaylist::Missing("EXT-X-TARGETDURATION"))?;
        let mut playlist = Playlist::starting_at(self.config, next);
        // Players know it: another target length in the configuration changes it when a segment has that length.
        if !self.segments.is_empty() {
            playlist.target_duration = target_duration.max(1);
        }
        let longest = self.segments.iter().map(|segment| rounded_seconds(segment.duration)).max();
        playlist.target_duration = playlist.target_duration.max(longest.unwrap_or_default());
        playlist.discontinuity_sequence = self.discontinuity_sequence;
        playlist.note = self.note;
        playlist.segments = self.segments;
        let lasts: Duration = playlist.segments.iter().map(|segment| segment.duration).sum();
        for segment in &mut playlist.segments {
            segment.longest_playlist = lasts;
        }
        Ok(playlist)
    }
}

fn seconds(text: &str) -> Option<u64> {
    text.parse().ok().filter(|seconds| *seconds <= SECONDS_MAX)
}

/// The duration of an EXTINF, to the millisecond.
fn duration(value: &str) -> Option<Duration> {
    let (number, _title) = value.split_once(',').unwrap_or((value, ""));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let millis = fraction
        .bytes()
        .chain(*b"000")
        .take(3)
        .fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
    Some(Duration::from_secs(seconds(whole)?) + Duration::from_millis(millis))
}

fn date(value: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_digit() || b"-:.TZ+".contains(&byte);
    (value.len() <= DATE_BYTES_MAX && value.bytes().all(plain)).then(|| value.to_owned())
}
