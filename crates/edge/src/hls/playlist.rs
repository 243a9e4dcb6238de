//! What an edge reads of a playlist that it passes on.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use weir_hls::{EntryKind, Listing, MediaPlaylist, file_name, update};
use weir_media::StreamKey;

use super::{
    memory::{Filling, Memory},
    object::{Kind, Object},
};

/// The longest target duration that is believed, in seconds.
const TARGET_SECONDS_MAX: u64 = 3600;

/// A line of a multivariant playlist that no media playlist has (RFC 8216, 4.3.4).
const MULTIVARIANT: &str = "#EXT-X-STREAM-INF";

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

/// Whether these bytes are a playlist of playlists.
pub fn is_multivariant(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    text.lines().next().map(str::trim_end) == Some("#EXTM3U")
        && text.lines().any(|line| line.starts_with(MULTIVARIANT))
}

/// Whether a media playlist says that there will be no more of it.
pub fn has_ended(playlist: &[u8]) -> bool {
    playlist.trim_ascii_end().ends_with(b"#EXT-X-ENDLIST")
}

impl<'a> Playlist<'a> {
    /// Reads a media playlist; none if it is something else, be it a playlist of those.
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
                Some((MULTIVARIANT, _)) => return None,
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

/// What is read of a playlist before it is kept.
#[derive(Debug)]
pub struct Reading {
    /// As it is to be served; none of a multivariant playlist, which is only passed on.
    pub listing: Option<Listing>,
    /// EXT-X-TARGETDURATION, if it says so.
    pub target: Option<Duration>,
    /// Whether it has parts, or will have.
    pub has_parts: bool,
    /// Whether it names something as a later one may name something else.
    pub can_be_guessed: bool,
}

impl Reading {
    /// Reads a playlist of `key`, or of its origin in whatever way that writes it.
    pub fn of(key: &StreamKey, body: &Bytes, memory: &Arc<Memory>) -> Self {
        let nothing = Self { listing: None, target: None, has_parts: false, can_be_guessed: false };
        let Ok(text) = str::from_utf8(body) else { return nothing };
        if is_multivariant(body) {
            return nothing;
        }
        let target = Playlist::read(body).and_then(|playlist| playlist.target);
        let Ok(read) = MediaPlaylist::parse(text) else {
            let listing = Some(Listing::new(body.clone(), []));
            return Self { listing, target, has_parts: false, can_be_guessed: true };
        };
        let whole = read.entries.iter().filter(|entry| entry.kind != EntryKind::Part);
        let files: Vec<_> = whole.filter_map(|entry| file_name(entry.uri)).collect();
        let can_be_guessed = files
            .iter()
            .any(|file| !Object::of_file(key, file).is_some_and(|object| object.kind.is_unique()));
        let waits = read.can_block_reload;
        let hint = read.hint.filter(|_| waits).and_then(file_name);
        let listing = Listing {
            update: update(text).filter(|_| waits).and_then(|update| counted(&update, memory)),
            progress: waits.then_some(read.progress),
            hint: hint.map(|hint| Arc::from(&*hint)),
            is_ended: read.progress.is_ended,
            ..Listing::new(body.clone(), files.iter().map(|file| &**file))
        };
        let has_parts = read.part_target.is_some();
        Self { listing: Some(listing), target, has_parts, can_be_guessed }
    }

    /// Bytes beyond those of the playlist.
    pub fn more(&self) -> usize {
        let update = self.listing.as_ref().and_then(|listing| listing.update.as_ref());
        update.map_or(0, Bytes::len)
    }
}

/// A text in memory, if there is room for it.
fn counted(text: &str, memory: &Arc<Memory>) -> Option<Bytes> {
    let mut filling = Filling::new(memory);
    filling.push(text.as_bytes()).then(|| filling.finish())
}

/// Something whole in a playlist, as an edge knows it: a segment, or what segments need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub object: Object,
    /// Where in the playlist the line ends of the last segment up to here.
    pub end: usize,
}

impl Listed {
    /// Whether it is a segment, and not what others need.
    pub fn is_segment(&self) -> bool {
        matches!(self.object.kind, Kind::Segment(name) if name.form.is_segment())
    }
}

/// The segments that the playlist of `key` lists beside itself, and the init segments and keys before them.
pub fn listed(key: &StreamKey, playlist: &[u8]) -> Vec<Listed> {
    let text = str::from_utf8(playlist).unwrap_or_default();
    let Ok(read) = MediaPlaylist::parse(text) else { return Vec::new() };
    let mut end = 0;
    let mut list = Vec::new();
    for entry in read.entries.iter().filter(|entry| entry.kind != EntryKind::Part) {
        if entry.kind == EntryKind::Segment {
            // It is a piece of the text.
            let after = entry.uri.as_ptr() as usize - text.as_ptr() as usize + entry.uri.len();
            let line = text.get(after..).unwrap_or_default().find('\n').map(|at| after + at + 1);
            end = line.unwrap_or(text.len());
        }
        let object = file_name(entry.uri).and_then(|file| Object::of_file(key, &file));
        list.extend(object.map(|object| Listed { object, end }));
    }
    list
}

#[cfg(test)]
mod tests {
    use weir_hls::Progress;
    use weir_media::Budget;

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
    fn the_objects_beside_a_playlist_are_found() {
        let key = StreamKey::new("v.org", "live", "a b").expect("a name");
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na%20b-7.ts\r\n\
                    #EXT-X-MAP:URI=\"a%20b-8-aaaaaaaaaaaaaaaa.mp4\"\n\
                    #EXT-X-KEY:METHOD=AES-128,URI=\"c~-8-aaaaaaaaaaaaaaaa.key\"\n\
                    #EXT-X-PART:DURATION=1,URI=\"c~-8-aaaaaaaaaaaaaaaa.0.m4s\"\n\
                    #EXTINF:2,\nc~-8-aaaaaaaaaaaaaaaa.m4s\n\
                    #EXTINF:2,\nhttp://x/a-9.ts\n#EXT-X-ENDLIST\n";
        let found = listed(&key, text.as_bytes());
        let names: Vec<_> = found
            .iter()
            .map(|it| (it.object.key.to_string(), it.object.file(), it.is_segment()))
            .collect();
        let name =
            |key: &str, file: &str, is_segment| (key.to_owned(), file.to_owned(), is_segment);
        assert_eq!(
            names,
            [
                name("v.org/live/a b", "a b-7.ts", true),
                name("v.org/live/a b", "a b-8-aaaaaaaaaaaaaaaa.mp4", false),
                name("v.org/live/c~", "c~-8-aaaaaaaaaaaaaaaa.key", false),
                name("v.org/live/c~", "c~-8-aaaaaaaaaaaaaaaa.m4s", true),
            ]
        );
        let first = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na%20b-7.ts\r\n";
        assert!(found[..3].iter().all(|it| &text[..it.end] == first), "{found:?}");
        assert!(text[..found[3].end].ends_with(".m4s\n"));
        assert_eq!(listed(&key, b"\xff\n"), []);
    }

    const LIVE: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12,PART-HOLD-BACK=0.600\n\
        #EXT-X-PART-INF:PART-TARGET=0.200\n#EXT-X-MEDIA-SEQUENCE:7\n\
        #EXT-X-MAP:URI=\"a-7-aaaaaaaaaaaaaaaa.mp4\"\n#EXTINF:2.000,\na-7-aaaaaaaaaaaaaaaa.m4s\n\
        #EXT-X-PART:DURATION=0.200,URI=\"a-8-aaaaaaaaaaaaaaaa.0.m4s\"\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a-8-aaaaaaaaaaaaaaaa.1.m4s\"\n";

    fn reading(text: &str) -> Reading {
        let key = StreamKey::new("v.org", "live", "a").expect("a name");
        let memory = Memory::new(1 << 20, &Budget::unlimited());
        Reading::of(&key, &Bytes::copy_from_slice(text.as_bytes()), &memory)
    }

    #[test]
    fn a_playlist_whose_origin_answers_when_there_is_more_says_how_far_it_is() {
        let read = reading(LIVE);
        let listing = read.listing.as_ref().expect("a media playlist");
        assert_eq!(listing.text, LIVE);
        let progress = Progress { sequence: 8, parts: 1, is_ended: false };
        assert_eq!((listing.progress, listing.is_ended), (Some(progress), false));
        assert_eq!(listing.hint.as_deref(), Some("a-8-aaaaaaaaaaaaaaaa.1.m4s"));
        let files: Vec<_> = listing.files.iter().map(|file| &**file).collect();
        assert_eq!(files, ["a-7-aaaaaaaaaaaaaaaa.mp4", "a-7-aaaaaaaaaaaaaaaa.m4s"]);
        assert!(read.has_parts && !read.can_be_guessed);
        assert_eq!(read.target, Some(Duration::from_secs(2)));
        assert_eq!((read.more(), &listing.update), (0, &None), "nothing is old enough");

        let old: String =
            (0..8).map(|n| format!("#EXTINF:2.000,\na-{n}-aaaaaaaaaaaaaaaa.m4s\n")).collect();
        let long = LIVE.replace("#EXTINF:2.000,\na-7-", &format!("{old}#EXTINF:2.000,\na-8-"));
        let read = reading(&long);
        let own = read.listing.as_ref().and_then(|listing| listing.update.clone());
        assert_eq!(own.as_deref(), update(&long).as_deref().map(str::as_bytes));
        assert!(read.more() > 0, "an update leaves segments out");
    }

    #[test]
    fn other_playlists_are_only_passed_on() {
        let polled = reading(&text(7, &[("t", "2.000")]));
        let listing = polled.listing.expect("a media playlist");
        assert_eq!((listing.progress, listing.update, listing.hint), (None, None, None));
        assert!(polled.can_be_guessed && !polled.has_parts);

        let several = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na~v0.m3u8\n";
        assert!(is_multivariant(several.as_bytes()) && !is_multivariant(LIVE.as_bytes()));
        assert_eq!(Playlist::read(several.as_bytes()), None);
        assert!(reading(several).listing.is_none());
        assert!(!is_multivariant(b"#EXT-X-STREAM-INF:BANDWIDTH=1\n"), "no playlist at all");
    }
}
