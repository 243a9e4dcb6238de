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
    /// Whether clients may wait for what is not there yet (CAN-BLOCK-RELOAD).
    pub can_wait: bool,
    /// PART-TARGET, if it has parts.
    pub part_target: Option<Duration>,
    /// Its segments, oldest first.
    pub segments: Vec<Segment>,
    /// The parts of the segment that is not complete, by their URIs.
    pub parts: Vec<String>,
    /// What comes next (EXT-X-PRELOAD-HINT).
    pub hint: Option<String>,
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
    /// Whether EXT-X-GAP says that it is lost.
    pub is_gap: bool,
    /// EXT-X-PROGRAM-DATE-TIME, since the Unix epoch.
    pub date: Option<Duration>,
    /// The URI of the init segment that holds for it.
    pub map: Option<String>,
    /// Its parts that are listed, by their URIs.
    pub parts: Vec<String>,
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
        playlist.parts = std::mem::take(&mut next.parts);
        // What the segment begins with is known with its first part.
        let is_begun = !playlist.parts.is_empty() || playlist.hint.is_some();
        let rest = Segment { map: None, ..next };
        assert!(is_begun || rest == Segment::default(), "{rest:?} ends in no segment in\n{text}");
        assert!(playlist.target_duration > 0, "no EXT-X-TARGETDURATION in\n{text}");
        playlist
    }

    fn line(&mut self, line: &str, next: &mut Segment) -> Option<()> {
        let Some(tag) = line.strip_prefix('#') else {
            next.uri = line.to_owned();
            let map = next.map.clone();
            self.segments.push(std::mem::replace(next, Segment { map, ..Segment::default() }));
            return Some(());
        };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "EXTM3U" | "EXT-X-VERSION" | "EXT-X-INDEPENDENT-SEGMENTS" => {}
            "EXT-X-RENDITION-REPORT" => {}
            "EXT-X-SERVER-CONTROL" => {
                self.can_wait = attribute(value, "CAN-BLOCK-RELOAD") == Some("YES");
            }
            "EXT-X-PART-INF" => {
                let seconds = attribute(value, "PART-TARGET")?.parse().ok()?;
                self.part_target = Some(Duration::try_from_secs_f64(seconds).ok()?);
            }
            "EXT-X-MAP" => next.map = Some(attribute(value, "URI")?.to_owned()),
            "EXT-X-PART" => next.parts.push(attribute(value, "URI")?.to_owned()),
            "EXT-X-PRELOAD-HINT" => self.hint = Some(attribute(value, "URI")?.to_owned()),
            // Comments (RFC 8216, 4.1).
            _ if !name.starts_with("EXT") => {}
            "EXT-X-TARGETDURATION" => self.target_duration = value.parse().ok()?,
            "EXT-X-MEDIA-SEQUENCE" => self.media_sequence = value.parse().ok()?,
            "EXT-X-DISCONTINUITY-SEQUENCE" => self.discontinuity_sequence = value.parse().ok()?,
            "EXT-X-ENDLIST" => self.ended = true,
            "EXT-X-DISCONTINUITY" => next.discontinuity = true,
            "EXT-X-GAP" => next.is_gap = true,
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

/// The value of an attribute, without quotes.
fn attribute<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = text;
    while let Some((key, value)) = rest.split_once('=') {
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_at(value.find(',').unwrap_or(value.len())),
        };
        if key == name {
            return Some(value);
        }
        rest = after.trim_start_matches(',');
    }
    None
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
    fn parts_and_init_segments_are_read() {
        let playlist = Playlist::parse(
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n\
             #EXT-X-SERVER-CONTROL:PART-HOLD-BACK=0.6,CAN-BLOCK-RELOAD=YES\n\
             #EXT-X-PART-INF:PART-TARGET=0.2\n#EXT-X-MAP:URI=\"a,=.mp4\"\n\
             #EXT-X-PART:DURATION=0.2,INDEPENDENT=YES,URI=\"a.0.m4s\"\n#EXTINF:0.2,\na.m4s\n\
             #EXTINF:0.2,\nb.m4s\n#EXT-X-PART:DURATION=0.2,URI=\"c.0.m4s\"\n\
             #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"c.1.m4s\"\n",
        );
        assert!(playlist.can_wait && playlist.part_target == Some(Duration::from_millis(200)));
        assert!(playlist.segments.iter().all(|it| it.map.as_deref() == Some("a,=.mp4")));
        assert_eq!(playlist.segments[0].parts, ["a.0.m4s"]);
        assert_eq!(
            (playlist.parts, playlist.hint),
            (vec!["c.0.m4s".into()], Some("c.1.m4s".into()))
        );
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
