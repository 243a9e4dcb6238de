//! Reads a playlist of an earlier run, to go on where it stopped.

use std::{collections::VecDeque, time::Duration};

use super::{
    Begin, Key, Playlist, Segment,
    render::{NOTE, OPEN},
    rounded_seconds,
};
use crate::{
    BadPlaylist, Config, Form, Nonce, PLAYLIST_BYTES_MAX, SegmentName, file_name, read::attribute,
};

/// How the playlist of a stream that has ended ends.
const ENDLIST: &str = "#EXT-X-ENDLIST\n";

/// Longest EXT-X-PROGRAM-DATE-TIME that is taken over.
const DATE_BYTES_MAX: usize = 40;

/// Longest URI of a key that is taken over.
const KEY_BYTES_MAX: usize = 2048;

/// Longest segment that is believed, in seconds. Ours end after [`SEGMENT_DURATION_MAX`](crate::SEGMENT_DURATION_MAX).
const SECONDS_MAX: u64 = 3600;

/// Longest comment that is taken over; ours name two codecs.
const NOTE_BYTES_MAX: usize = 200;

/// Characters of a wrong line that its error repeats.
const ERROR_TEXT_MAX: usize = 80;

impl Playlist {
    /// Continues the playlist that an earlier run left behind: its segments stay listed, the numbers go on, and the
    /// next segment has a discontinuity. Only playlists that [`Playlist::render_plain`] wrote for the same stream
    /// are understood.
    ///
    /// Players may have seen parts of the segment that was in the making: its number is not free
    /// ([`free_sequence`](Self::free_sequence)).
    ///
    /// # Errors
    /// Says what is wrong with `previous`. The caller then makes a fresh one; [`Playlist::starting_at`] avoids
    /// numbers that players may have seen.
    pub fn resume(config: &Config, previous: &str) -> Result<Self, BadPlaylist> {
        let (len, max) = (previous.len(), PLAYLIST_BYTES_MAX);
        if len > max {
            return Err(BadPlaylist::TooLong { len, max });
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

    /// The lowest number that no player can have seen.
    pub fn free_sequence(&self) -> u64 {
        self.sequence.saturating_add(u64::from(self.is_open))
    }

    /// Goes on with the segment `until`, and lists gaps (EXT-X-GAP, 4.4.4.7) in place of those before it, which are
    /// lost. Returns their files, in which there is [nothing](Form::nothing): players that do not know gaps load them.
    ///
    /// # Errors
    /// Those of `nonce`.
    pub fn fill_until<E>(
        &mut self,
        until: u64,
        mut nonce: impl FnMut() -> Result<Nonce, E>,
    ) -> Result<Vec<(String, Form)>, E> {
        let mut files = Vec::new();
        while self.sequence < until
            && let Some(last) = self.segments.back()
        {
            let form = SegmentName::of(&self.config.name, &last.file).map(|name| name.form);
            let form = form.unwrap_or_default();
            let (map, duration) = (last.begin.map.clone(), last.duration);
            let begin = Begin { map, ..Begin::default() };
            let file = self.file(nonce()?, form);
            files.push((file.clone(), form));
            let (parts, longest_playlist) = (Vec::new(), self.lasts());
            let gap = Segment { file, duration, begin, is_gap: true, parts, longest_playlist };
            self.segments.push_back(gap);
            self.sequence += 1;
        }
        (self.sequence, self.is_open) = (self.sequence.max(until), false);
        Ok(files)
    }

    /// Whether `text` is to the letter what [`Playlist::render_plain`] writes for the stream: a file with it is no
    /// other program's.
    pub fn has_written(config: &Config, text: &str) -> bool {
        let open = text.strip_suffix(ENDLIST).unwrap_or(text);
        // The length in the text may be shorter than what is aimed at now.
        let config = Config { target: Duration::ZERO, ..config.clone() };
        Self::resume(&config, open).is_ok_and(|playlist| playlist.render_plain() == open)
    }
}

struct Parser<'a> {
    config: &'a Config,
    target_duration: Option<u64>,
    media_sequence: Option<u64>,
    discontinuity_sequence: u64,
    note: Option<String>,
    segments: VecDeque<Segment>,
    /// The number of the next segment.
    next: u64,
    /// What the tags before the next URI said. An init segment and a key hold for those after it, too.
    begin: Begin,
    duration: Option<Duration>,
    is_gap: bool,
    is_open: bool,
    /// Whether an init segment or a key was read that no segment needs yet.
    is_announced: bool,
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
            next: 0,
            begin: Begin::default(),
            duration: None,
            is_gap: false,
            is_open: false,
            is_announced: false,
        }
    }

    /// Takes a line; nothing when it is wrong. Tags that are not known are passed over, as RFC 8216, 4.1 asks.
    fn line(&mut self, text: &str) -> Option<()> {
        let Some(tag) = text.strip_prefix('#') else {
            return if text.is_empty() { Some(()) } else { self.segment(text) };
        };
        if text == OPEN {
            self.is_open = true;
            return Some(());
        }
        if let Some(note) = text.strip_prefix(NOTE) {
            let note = Some(note).filter(|note| note.len() <= NOTE_BYTES_MAX && is_clean(note));
            self.note = note.map(str::to_owned);
            return Some(());
        }
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "EXT-X-TARGETDURATION" => self.target_duration = Some(seconds(value)?),
            "EXT-X-MEDIA-SEQUENCE" => {
                let first = value.parse().ok().filter(|_| self.segments.is_empty())?;
                (self.media_sequence, self.next) = (Some(first), first);
            }
            "EXT-X-DISCONTINUITY-SEQUENCE" => self.discontinuity_sequence = value.parse().ok()?,
            "EXT-X-GAP" => self.is_gap = true,
            "EXT-X-DISCONTINUITY" => self.begin.discontinuity = true,
            "EXT-X-PROGRAM-DATE-TIME" => self.begin.date = Some(date(value)?),
            "EXT-X-MAP" => {
                let file = file_name(attribute(value, "URI")?)?.into_owned();
                let name = SegmentName::of(&self.config.name, &file)?;
                self.begin.map = Some(file).filter(|_| name.form == Form::Init);
                self.begin.map.as_ref()?;
                self.is_announced = true;
            }
            "EXT-X-KEY" => {
                self.begin.key = key(value)?;
                self.is_announced = true;
            }
            "EXTINF" => self.duration = Some(duration(value)?),
            _ => {}
        }
        Some(())
    }

    /// Takes a URI line, whose sequence number must be the next one.
    fn segment(&mut self, uri: &str) -> Option<()> {
        let file = file_name(uri)?.into_owned();
        let name = SegmentName::of(&self.config.name, &file)?;
        self.media_sequence?;
        if name.sequence == u64::MAX || name.sequence != self.next || !name.form.is_segment() {
            return None;
        }
        let duration = self.duration.take()?;
        let begin = self.begin.clone();
        (self.begin.discontinuity, self.begin.date, self.is_announced) = (false, None, false);
        let (parts, longest_playlist) = (Vec::new(), Duration::ZERO);
        let is_gap = std::mem::take(&mut self.is_gap);
        self.segments.push_back(Segment { file, duration, begin, is_gap, parts, longest_playlist });
        self.next += 1;
        Some(())
    }

    /// Whether tags were read that belong to a URI that did not come.
    fn is_within_segment(&self) -> bool {
        let Begin { discontinuity, date, .. } = &self.begin;
        let is_begun = *discontinuity || date.is_some() || self.duration.is_some();
        is_begun || self.is_announced || self.is_gap
    }

    fn finish(self) -> Result<Playlist, BadPlaylist> {
        self.media_sequence.ok_or(BadPlaylist::Missing("EXT-X-MEDIA-SEQUENCE"))?;
        let target_duration =
            self.target_duration.ok_or(BadPlaylist::Missing("EXT-X-TARGETDURATION"))?;
        let mut playlist = Playlist::starting_at(self.config, self.next);
        playlist.is_shown = !self.segments.is_empty();
        // Players know it: another target length in the configuration changes it when a segment has that length.
        if playlist.is_shown {
            playlist.target_duration = target_duration.max(1);
        }
        let longest = self.segments.iter().map(|segment| rounded_seconds(segment.duration)).max();
        playlist.target_duration = playlist.target_duration.max(longest.unwrap_or_default());
        playlist.discontinuity_sequence = self.discontinuity_sequence;
        (playlist.note, playlist.is_open) = (self.note, self.is_open);
        playlist.segments = self.segments;
        let lasts = playlist.lasts();
        for segment in &mut playlist.segments {
            segment.longest_playlist = lasts;
        }
        Ok(playlist)
    }
}

/// What an EXT-X-KEY says; nothing when it is wrong.
fn key(value: &str) -> Option<Option<Key>> {
    match attribute(value, "METHOD")? {
        "NONE" => Some(None),
        "AES-128" => {
            let uri = attribute(value, "URI")?;
            let uri =
                Some(uri).filter(|uri| uri.len() <= KEY_BYTES_MAX && is_clean(uri))?.to_owned();
            let iv = u128::from_str_radix(attribute(value, "IV")?.strip_prefix("0x")?, 16).ok()?;
            Some(Some(Key { uri, iv }))
        }
        _ => None,
    }
}

/// Whether `text` is written as it was read: control characters are not.
fn is_clean(text: &str) -> bool {
    !text.contains(char::is_control)
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
