//! What an edge reads of a playlist that it passes on.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use weir_hls::SegmentName;
use weir_media::StreamKey;

use super::object::{Kind, Object};

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

/// A segment in a playlist, as an edge knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub object: Object,
    /// Where in the playlist its line ends.
    pub end: usize,
}

/// The segments that the playlist of `key` lists beside itself.
pub fn listed(key: &StreamKey, playlist: &[u8]) -> Vec<Listed> {
    let text = str::from_utf8(playlist).unwrap_or_default();
    let mut end = 0;
    let lines = text.split_inclusive('\n').map(|line| {
        end += line.len();
        (line.trim_end(), end)
    });
    let object = |line: &str| {
        let file = percent_decode_str(line).decode_utf8().ok()?;
        let (stream, name) = SegmentName::parse(&file)?;
        let key = StreamKey::new(key.vhost(), key.app(), stream).ok()?;
        Some(Object { key, kind: Kind::Segment(name) })
    };
    let uris = lines.filter(|(line, _)| !line.starts_with('#'));
    uris.filter_map(|(line, end)| Some(Listed { object: object(line)?, end })).collect()
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

    #[test]
    fn the_segments_beside_a_playlist_are_found() {
        let key = StreamKey::new("v.org", "live", "a b").expect("a name");
        let text = "#EXTM3U\n#EXTINF:2,\na%20b-7.ts\r\n#EXTINF:2,\nc~-8-aaaaaaaaaaaaaaaa.ts\n\
                    #EXTINF:2,\nhttp://x/a-9.ts\n#EXT-X-ENDLIST\n";
        let found = listed(&key, text.as_bytes());
        let names: Vec<_> =
            found.iter().map(|it| (it.object.key.to_string(), it.object.file())).collect();
        let name = |key: &str, file: &str| (key.to_owned(), file.to_owned());
        let second = name("v.org/live/c~", "c~-8-aaaaaaaaaaaaaaaa.ts");
        assert_eq!(names, [name("v.org/live/a b", "a b-7.ts"), second]);
        assert_eq!(&text[..found[0].end], "#EXTM3U\n#EXTINF:2,\na%20b-7.ts\r\n");
        assert_eq!(listed(&key, b"\xff\n"), []);
    }
}
