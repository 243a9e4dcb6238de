//! HLS playlists, as a player reads them.

use std::time::Duration;

/// A media playlist (RFC 8216).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Playlist {
    /// EXT-X-TARGETDURATION, in seconds.
    pub target_duration: u64,
    /// EXT-X-MEDIA-SEQUENCE.
    pub media_sequence: u64,
    /// EXT-X-DISCONTINUITY-SEQUENCE.
    pub discontinuity_sequence: u64,
    /// Whether it has EXT-X-ENDLIST.
    pub ended: bool,
    /// Its segments, oldest first.
    pub segments: Vec<Segment>,
}

/// A segment of a playlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Relative to the playlist's own place.
    pub uri: String,
    /// EXTINF.
    pub duration: Duration,
    /// Whether EXT-X-DISCONTINUITY precedes it.
    pub discontinuity: bool,
    /// EXT-X-PROGRAM-DATE-TIME, since the Unix epoch.
    pub date: Option<Duration>,
}

impl Playlist {
    /// Reads a playlist.
    ///
    /// # Panics
    /// With the line that is wrong, or if something is missing that every playlist has.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        assert!(text.starts_with("#EXTM3U\n"), "no playlist: {text:?}");
        assert!(text.ends_with('\n'), "the playlist is cut off: {text:?}");
        let (mut playlist, mut next) = (Self::default(), Segment::default());
        for line in text.lines() {
            let known = playlist.line(line, &mut next);
            known.unwrap_or_else(|| panic!("{line:?} is wrong in this playlist:\n{text}"));
        }
        assert_eq!(next, Segment::default(), "tags without a segment at the end of\n{text}");
        assert!(playlist.target_duration > 0, "no EXT-X-TARGETDURATION in\n{text}");
        playlist
    }

    fn line(&mut self, line: &str, next: &mut Segment) -> Option<()> {
        let Some(tag) = line.strip_prefix('#') else {
            next.uri = line.to_owned();
            self.segments.push(std::mem::take(next));
            return Some(());
        };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "EXTM3U" | "EXT-X-VERSION" => {}
            // Comments (RFC 8216, 4.1).
            _ if !name.starts_with("EXT") => {}
            "EXT-X-TARGETDURATION" => self.target_duration = value.parse().ok()?,
            "EXT-X-MEDIA-SEQUENCE" => self.media_sequence = value.parse().ok()?,
            "EXT-X-DISCONTINUITY-SEQUENCE" => self.discontinuity_sequence = value.parse().ok()?,
            "EXT-X-ENDLIST" => self.ended = true,
            "EXT-X-DISCONTINUITY" => next.discontinuity = true,
            "EXT-X-PROGRAM-DATE-TIME" => next.date = Some(since_epoch(value)?),
            "EXTINF" => {
                let seconds = value.split(',').next()?.parse().ok()?;
                next.duration = Duration::try_from_secs_f64(seconds).ok()?;
            }
            _ => return None,
        }
        Some(())
    }

    /// The sum of the segments' durations.
    pub fn duration(&self) -> Duration {
        self.segments.iter().map(|segment| segment.duration).sum()
    }

    /// The sequence number after the last segment's.
    pub fn next_sequence(&self) -> u64 {
        self.media_sequence + self.segments.len() as u64
    }
}

/// `2024-02-29T12:34:56.789Z`.
fn since_epoch(text: &str) -> Option<Duration> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|field| field.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.split(':');
    let (hours, minutes): (u64, u64) = (time.next()?.parse().ok()?, time.next()?.parse().ok()?);
    let seconds = Duration::try_from_secs_f64(time.next()?.parse().ok()?).ok()?;
    // Years that begin with March have the leap day at their end; month 0 is March.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days_from_march = (153 * month + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + days_from_march;
    // 1970-01-01 in this count.
    let days = days.checked_sub(719_468)?;
    Some(Duration::from_secs(days * 86_400 + hours * 3600 + minutes * 60) + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_playlist_is_read() {
        let playlist = Playlist::parse(
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXTINF:2.000,\na-7.ts\n#EXT-X-DISCONTINUITY\n\
             #EXT-X-PROGRAM-DATE-TIME:2024-02-29T12:34:56.500Z\n#EXTINF:1.250,\na-8.ts\n#EXT-X-ENDLIST\n",
        );
        assert_eq!((playlist.next_sequence(), playlist.ended), (9, true));
        assert_eq!(playlist.duration(), Duration::from_millis(3250));
        let second = &playlist.segments[1];
        assert_eq!(second.date, Some(Duration::from_millis(1_709_210_096_500)));
        assert_eq!((second.uri.as_str(), second.discontinuity), ("a-8.ts", true));
    }

    #[test]
    #[should_panic(expected = "\"#EXTINF:x,\" is wrong")]
    fn a_wrong_line_is_named() {
        Playlist::parse("#EXTM3U\n#EXTINF:x,\na-7.ts\n");
    }

    #[test]
    fn days_are_counted_over_leap_years() {
        let days = |text| since_epoch(text).unwrap().as_secs() / 86_400;
        assert_eq!(days("1970-01-01T00:00:00Z"), 0);
        assert_eq!(days("2000-03-01T00:00:00Z"), 11_017);
        assert_eq!(days("2026-11-23T00:00:00Z"), 20_780);
    }
}
