//! What an edge reads of a playlist that it passes on.

use std::time::Duration;

/// The longest target duration that is believed, in seconds.
const TARGET_SECONDS_MAX: u64 = 3600;

/// What matters of a media playlist; nothing else of it is understood, and all of it is passed on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Playlist<'a> {
    /// EXT-X-TARGETDURATION, if it says so.
    pub target: Option<Duration>,
    /// EXT-X-MEDIA-SEQUENCE.
    sequence: u64,
    segments: Vec<Segment<'a>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Segment<'a> {
    uri: &'a str,
    /// The text of EXTINF.
    duration: &'a str,
    /// The text of EXT-X-PROGRAM-DATE-TIME.
    time: Option<&'a str>,
}

impl<'a> Playlist<'a> {
    /// Reads a playlist; none if it is something else.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut lines = str::from_utf8(bytes).ok()?.lines().map(str::trim_end);
        if lines.next()? != "#EXTM3U" {
            return None;
        }
        let mut playlist = Self::default();
        let mut segment = Segment::default();
        for line in lines {
            match line.split_once(':') {
                Some(("#EXT-X-TARGETDURATION", value)) => {
                    let seconds = value.parse::<u64>().ok().map(|it| it.min(TARGET_SECONDS_MAX));
                    playlist.target = seconds.map(Duration::from_secs);
                }
                Some(("#EXT-X-MEDIA-SEQUENCE", value)) => {
                    playlist.sequence = value.parse().unwrap_or_default();
                }
                Some(("#EXT-X-PROGRAM-DATE-TIME", value)) => segment.time = Some(value),
                Some(("#EXTINF", value)) => segment.duration = value,
                _ if line.is_empty() || line.starts_with('#') => {}
                _ => playlist.segments.push(Segment { uri: line, ..std::mem::take(&mut segment) }),
            }
        }
        Some(playlist)
    }

    /// Whether `next` can be a later state of this playlist. If it cannot, the origin has begun again and uses names
    /// for a second time: the numbers go back, or a number stands for another segment.
    pub fn is_continued_by(&self, next: &Self) -> bool {
        let Some(skipped) = next.sequence.checked_sub(self.sequence) else { return false };
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        // A live playlist only grows at its end, so that a shorter one of the same numbers is another one.
        let still_listed = self.segments.iter().skip(skipped);
        next.end() >= self.end() && still_listed.zip(&next.segments).all(|(a, b)| a.is_same(b))
    }

    fn end(&self) -> u64 {
        self.sequence.saturating_add(self.segments.len() as u64)
    }
}

impl Segment<'_> {
    /// Some origins give the time of the first segment of a list only, so that it can be missing.
    fn is_same(&self, other: &Self) -> bool {
        let same_time = self.time.is_none() || other.time.is_none() || self.time == other.time;
        self.uri == other.uri && self.duration == other.duration && same_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sequence: u64, segments: &[(&str, &str)]) -> String {
        let mut text =
            format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{sequence}\n");
        for (number, (time, duration)) in (sequence..).zip(segments) {
            if !time.is_empty() {
                text += &format!("#EXT-X-PROGRAM-DATE-TIME:{time}\n");
            }
            text += &format!("#EXTINF:{duration},\na-{number}.ts\n");
        }
        text
    }

    fn continues(a: (u64, &[(&str, &str)]), b: (u64, &[(&str, &str)])) -> bool {
        let (a, b) = (text(a.0, a.1), text(b.0, b.1));
        let read = |text| Playlist::read(text).expect("a playlist");
        read(a.as_bytes()).is_continued_by(&read(b.as_bytes()))
    }

    #[test]
    fn reads_what_it_needs() {
        let text = text(7, &[("t", "2.000"), ("", "1.9")]);
        let playlist = Playlist::read(text.as_bytes()).expect("a playlist");
        assert_eq!(playlist.target, Some(Duration::from_secs(4)));
        assert_eq!((playlist.sequence, playlist.end()), (7, 9));
        assert_eq!(playlist.segments[1].uri, "a-8.ts");
        for other in ["", "<html>", "#EXTM3U8\n", "\n#EXTM3U\n"] {
            assert_eq!(Playlist::read(other.as_bytes()), None, "{other:?}");
        }
        assert_eq!(Playlist::read(b"#EXTM3U\n\xff"), None);
    }

    #[test]
    fn a_live_playlist_grows_at_its_end() {
        let (a, b, c) = (("t1", "2.000"), ("t2", "2.000"), ("t3", "1.500"));
        assert!(continues((5, &[a, b]), (5, &[a, b])));
        assert!(continues((5, &[a, b]), (6, &[b, c])));
        assert!(continues((5, &[a, b]), (500, &[c])));
        assert!(continues((5, &[a, ("", "2.000")]), (6, &[b, c])), "a time may be given later");
    }

    #[test]
    fn numbers_that_mean_something_else_are_a_new_beginning() {
        let (a, b, c) = (("t1", "2.000"), ("t2", "2.000"), ("t3", "2.000"));
        assert!(!continues((5, &[a, b]), (4, &[a, b])), "back");
        assert!(!continues((0, &[a, b]), (0, &[a])), "shorter");
        assert!(!continues((5, &[a, b]), (6, &[c])), "another time");
        assert!(!continues((5, &[a, b]), (6, &[("", "1.999")])), "another duration");
    }
}
