//! Reads a media playlist as text, as whoever passes it on has it, and makes its delta update.

use std::time::Duration;

use crate::{BadPlaylist, Progress};

/// Longest playlist that is read: 1 MiB, some 8,000 segments.
pub const PLAYLIST_BYTES_MAX: usize = 1024 * 1024;

/// Most of what a playlist lists, parts included: more than fits into one of ours.
const ENTRIES_MAX: usize = 32 * 1024;

/// The longest time in a playlist that is believed, in seconds. A segment of ours has at most
/// [`SEGMENT_DURATION_MAX`](crate::SEGMENT_DURATION_MAX).
const SECONDS_MAX: u64 = 24 * 3600;

/// Digits after the point that count: nanoseconds.
const FRACTION_DIGITS: usize = 9;

/// Tags that belong to a segment, and are left out with it.
const SEGMENT_TAGS: [&str; 9] = [
    "#EXTINF",
    "#EXT-X-BITRATE",
    "#EXT-X-BYTERANGE",
    "#EXT-X-DISCONTINUITY",
    "#EXT-X-GAP",
    "#EXT-X-KEY",
    "#EXT-X-MAP",
    "#EXT-X-PART",
    "#EXT-X-PROGRAM-DATE-TIME",
];

/// What a media playlist says, of which the text is somebody else's. Only what matters for passing it on is understood.
///
/// ```
/// let text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:2.000,\nlive-7.ts\n";
/// let playlist = weir_hls::MediaPlaylist::parse(text)?;
/// assert_eq!((playlist.progress.sequence, playlist.entries[0].uri), (8, "live-7.ts"));
/// # Ok::<_, weir_hls::BadPlaylist>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaPlaylist<'a> {
    /// EXT-X-TARGETDURATION.
    pub target_duration: Duration,
    /// EXT-X-PART-INF: the length that no part exceeds, if there are parts.
    pub part_target: Option<Duration>,
    /// Whether the server answers a request for what is not there yet when it is (`_HLS_msn`).
    pub can_block_reload: bool,
    /// EXT-X-MEDIA-SEQUENCE: the number of the first segment, be it listed or left out.
    pub media_sequence: u64,
    /// How many segments an update leaves out (EXT-X-SKIP): they are no entries. 0 in a whole playlist.
    pub skipped: u64,
    /// How far it is.
    pub progress: Progress,
    /// The URI of the part that comes next (EXT-X-PRELOAD-HINT).
    pub hint: Option<&'a str>,
    /// What it lists, in the order of the text.
    pub entries: Vec<Entry<'a>>,
}

/// Something that a media playlist lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is.
    pub kind: EntryKind,
    /// The number of the segment that it is, is part of, or stands before.
    pub sequence: u64,
    /// Where it is, as the text says it: percent-encoded, relative to the playlist or not. See
    /// [`file_name`](crate::file_name).
    pub uri: &'a str,
    /// How long it lasts; nothing for init segments and keys.
    pub duration: Duration,
}

/// What a media playlist lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A whole segment.
    Segment,
    /// A part of one (EXT-X-PART).
    Part,
    /// The init segment of those that follow (EXT-X-MAP).
    Init,
    /// The key of those that follow (EXT-X-KEY).
    Key,
}

impl<'a> MediaPlaylist<'a> {
    /// Reads a media playlist. Tags that are not known are passed over, and so are values that cannot be read.
    ///
    /// # Errors
    /// It is no playlist, has no target duration (a multivariant playlist has none), or is longer than
    /// [`PLAYLIST_BYTES_MAX`].
    pub fn parse(text: &'a str) -> Result<Self, BadPlaylist> {
        if text.len() > PLAYLIST_BYTES_MAX {
            return Err(BadPlaylist::TooLong { len: text.len(), max: PLAYLIST_BYTES_MAX });
        }
        let mut lines = text.lines().map(str::trim_end);
        if lines.next() != Some("#EXTM3U") {
            return Err(BadPlaylist::Header);
        }
        let mut reader = Reader::default();
        for line in lines {
            reader.line(line);
            if reader.playlist.entries.len() > ENTRIES_MAX {
                return Err(BadPlaylist::TooMany { max: ENTRIES_MAX });
            }
        }
        if !reader.has_target {
            return Err(BadPlaylist::Missing("EXT-X-TARGETDURATION"));
        }
        Ok(reader.finish())
    }

    /// The entries of a kind.
    pub fn of(&self, kind: EntryKind) -> impl Iterator<Item = &Entry<'a>> {
        self.entries.iter().filter(move |entry| entry.kind == kind)
    }
}

#[derive(Default)]
struct Reader<'a> {
    playlist: MediaPlaylist<'a>,
    has_target: bool,
    duration: Duration,
    /// How many have been read.
    segments: u64,
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: &'a str) {
        if line.is_empty() {
            return;
        }
        let Some((name, value)) = tag(line) else {
            let duration = std::mem::take(&mut self.duration);
            self.list(EntryKind::Segment, line, duration);
            self.segments += 1;
            self.playlist.progress.parts = 0;
            return;
        };
        let playlist = &mut self.playlist;
        match name {
            "#EXT-X-TARGETDURATION" => {
                self.has_target =
                    seconds(value).map(|target| playlist.target_duration = target).is_some();
            }
            "#EXT-X-MEDIA-SEQUENCE" => {
                playlist.media_sequence = value.parse().unwrap_or_default();
            }
            "#EXT-X-SERVER-CONTROL" => {
                playlist.can_block_reload = attribute(value, "CAN-BLOCK-RELOAD") == Some("YES");
            }
            "#EXT-X-PART-INF" => {
                playlist.part_target = attribute(value, "PART-TARGET").and_then(seconds);
            }
            "#EXT-X-SKIP" => {
                let count = attribute(value, "SKIPPED-SEGMENTS").and_then(|it| it.parse().ok());
                playlist.skipped = count.unwrap_or_default();
            }
            "#EXTINF" => self.duration = length(value),
            "#EXT-X-MAP" => self.list_attribute(EntryKind::Init, value),
            "#EXT-X-KEY" => self.list_attribute(EntryKind::Key, value),
            "#EXT-X-PART" => {
                playlist.progress.parts += 1;
                self.list_attribute(EntryKind::Part, value);
            }
            "#EXT-X-PRELOAD-HINT" if attribute(value, "TYPE") == Some("PART") => {
                playlist.hint = attribute(value, "URI");
            }
            "#EXT-X-ENDLIST" => playlist.progress.is_ended = true,
            _ => {}
        }
    }

    fn list_attribute(&mut self, kind: EntryKind, attributes: &'a str) {
        let duration = attribute(attributes, "DURATION").and_then(seconds).unwrap_or_default();
        if let Some(uri) = attribute(attributes, "URI") {
            self.list(kind, uri, duration);
        }
    }

    fn list(&mut self, kind: EntryKind, uri: &'a str, duration: Duration) {
        let sequence = self.segments;
        self.playlist.entries.push(Entry { kind, sequence, uri, duration });
    }

    /// Numbers what was counted: wherever the tags stand that say where numbers begin.
    fn finish(self) -> MediaPlaylist<'a> {
        let mut playlist = self.playlist;
        let first = playlist.media_sequence.saturating_add(playlist.skipped);
        for entry in &mut playlist.entries {
            entry.sequence = first.saturating_add(entry.sequence);
        }
        playlist.progress.sequence = first.saturating_add(self.segments);
        playlist
    }
}

/// The playlist `text` as an update for a client that has an earlier version (`_HLS_skip=YES`, RFC 8216bis, 6.2.5.1):
/// without the segments that end before the skip boundary of EXT-X-SERVER-CONTROL, and with EXT-X-SKIP instead. None
/// where nothing can be left out: then a client gets the whole playlist.
///
/// It depends on nothing but the text, so that all who pass a playlist on send the same update of it.
pub fn update(text: &str) -> Option<String> {
    if text.len() > PLAYLIST_BYTES_MAX {
        return None;
    }
    let skipped = skippable(text).filter(|skipped| *skipped > 0)?;
    let (mut out, mut is_head, mut segments) = (String::with_capacity(text.len()), true, 0);
    for line in text.split_inclusive('\n') {
        let (is_uri, is_segments) = match tag(line.trim_end()) {
            Some((name, _)) => (false, SEGMENT_TAGS.contains(&name)),
            None => (!line.trim_end().is_empty(), true),
        };
        if is_head && is_segments {
            is_head = false;
            out.push_str("#EXT-X-SKIP:SKIPPED-SEGMENTS=");
            out.push_str(&skipped.to_string());
            out.push('\n');
        }
        if segments >= skipped || !is_segments {
            out.push_str(line);
        }
        segments += usize::from(is_uri);
    }
    Some(out)
}

/// How many of the first segments end before the skip boundary.
fn skippable(text: &str) -> Option<usize> {
    let (mut boundary, mut lengths) = (None, Vec::new());
    let (mut segment, mut parts) = (Duration::ZERO, Duration::ZERO);
    let mut lines = text.lines().map(str::trim_end);
    if lines.next() != Some("#EXTM3U") {
        return None;
    }
    for line in lines.filter(|line| !line.is_empty()) {
        match tag(line) {
            None => {
                lengths.push(std::mem::take(&mut segment));
                parts = Duration::ZERO;
            }
            Some(("#EXT-X-SERVER-CONTROL", value)) => {
                boundary = attribute(value, "CAN-SKIP-UNTIL").and_then(seconds);
            }
            Some(("#EXT-X-SKIP", _)) => return None,
            Some(("#EXTINF", value)) => segment = length(value),
            Some(("#EXT-X-PART", value)) => {
                let part = attribute(value, "DURATION").and_then(seconds).unwrap_or_default();
                parts = parts.saturating_add(part);
            }
            Some(_) => {}
        }
    }
    let boundary = boundary?;
    let mut left = lengths.iter().fold(parts, |sum, length| sum.saturating_add(*length));
    let is_old = |length: &&Duration| {
        left = left.saturating_sub(**length);
        left > boundary
    };
    Some(lengths.iter().take_while(is_old).count())
}

/// The name of a tag, with its number sign, and its value; none for a URI. Comments are tags that nobody knows.
fn tag(line: &str) -> Option<(&str, &str)> {
    line.starts_with('#').then(|| line.split_once(':').unwrap_or((line, "")))
}

/// The value of an attribute (RFC 8216, 4.2), without the quotes if it has some.
pub(crate) fn attribute<'a>(mut list: &'a str, wanted: &str) -> Option<&'a str> {
    loop {
        let (name, rest) = list.split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (value, rest) = quoted.split_once('"')?;
                (value, rest.strip_prefix(',').unwrap_or(rest))
            }
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        if name.trim() == wanted {
            return Some(value);
        }
        list = rest;
    }
}

/// The length of a segment, as EXTINF says it.
fn length(value: &str) -> Duration {
    let (length, _title) = value.split_once(',').unwrap_or((value, ""));
    seconds(length).unwrap_or_default()
}

/// A decimal number of seconds.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let whole = whole.parse().ok().filter(|seconds| *seconds <= SECONDS_MAX)?;
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(FRACTION_DIGITS);
    let nanos = digits.fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    Some(Duration::new(whole, nanos))
}

#[cfg(test)]
mod tests;
