use proptest::prelude::*;
use quick_m3u8::{
    HlsLine, Reader,
    config::ParsingOptionsBuilder,
    tag::{KnownTag, hls},
};
use weir_testkit::hls_rules::HlsRules;

use super::super::*;
use crate::{update, uri};

const PART: Duration = Duration::from_millis(500);

fn playlist(part_target: Option<Duration>, window: usize) -> Playlist {
    let config = Config { window, ..Config::new("live") };
    let mut playlist = Playlist { sequence: 17, ..Playlist::new(&config) };
    playlist.offer_parts(part_target);
    playlist
}

fn init(file: &str) -> Begin {
    Begin { map: Some(file.to_owned()), ..Begin::default() }
}

/// A stream that makes names as the server would.
struct Stream {
    playlist: Playlist,
    names: u64,
    date: Duration,
}

impl Stream {
    fn new(window: usize) -> Self {
        let date = Duration::from_secs(1_795_398_540);
        Self { playlist: playlist(Some(PART), window), names: 0, date }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("live-{}.m4s", self.names)
    }

    fn begin(&mut self, discontinuity: bool, map: &str) {
        let map = Some(map.to_owned());
        self.playlist.begin(Begin { discontinuity, map, ..Begin::at(self.date) });
    }

    fn part(&mut self, duration: Duration) {
        // The name that was hinted at.
        let file = format!("live-{}.m4s", self.names);
        self.playlist.push_part(Part { file, duration, independent: self.playlist.parts() == 0 });
        self.date += duration;
        let hint = self.name();
        self.playlist.hint(Some(&hint));
    }

    fn end_segment(&mut self, duration: Duration) {
        let uri = format!("segment-{}.m4s", self.playlist.next_sequence());
        self.playlist.push(&uri, duration);
    }

    fn segment(&mut self, lengths: &[u64]) {
        for millis in lengths {
            self.part(Duration::from_millis(*millis));
        }
        self.end_segment(Duration::from_millis(lengths.iter().sum()));
    }
}

#[test]
fn what_low_latency_players_read() {
    let mut stream = Stream::new(4);
    let hint = stream.name();
    stream.playlist.hint(Some(&hint));
    for number in 0..3 {
        stream.begin(number == 2, if number == 2 { "init-2.mp4" } else { "init-1.mp4" });
        stream.segment(&[500, 500, 500, 480]);
    }
    stream.begin(false, "init-2.mp4");
    stream.part(PART);
    let other = Report { uri: "../b.m3u8".into(), last_msn: 20, last_part: Some(1) };
    let text = stream.playlist.render(&[other]);
    let head = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12,HOLD-BACK=6,PART-HOLD-BACK=1.500\n\
        #EXT-X-PART-INF:PART-TARGET=0.500\n#EXT-X-MEDIA-SEQUENCE:17\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n\
        #EXT-X-MAP:URI=\"init-1.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2026-11-23T01:49:00.000Z\n\
        #EXTINF:1.980,\nsegment-17.m4s\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-11-23T01:49:01.980Z\n\
        #EXT-X-PART:DURATION=0.500,URI=\"live-5.m4s\",INDEPENDENT=YES\n";
    assert!(text.starts_with(head), "{text}");
    let tail = "#EXTINF:1.980,\nsegment-18.m4s\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init-2.mp4\"\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-11-23T01:49:03.960Z\n\
        #EXT-X-PART:DURATION=0.500,URI=\"live-9.m4s\",INDEPENDENT=YES\n\
        #EXT-X-PART:DURATION=0.500,URI=\"live-10.m4s\"\n#EXT-X-PART:DURATION=0.500,URI=\"live-11.m4s\"\n\
        #EXT-X-PART:DURATION=0.480,URI=\"live-12.m4s\"\n#EXTINF:1.980,\nsegment-19.m4s\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-11-23T01:49:05.940Z\n\
        #EXT-X-PART:DURATION=0.500,URI=\"live-13.m4s\",INDEPENDENT=YES\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"live-14.m4s\"\n\
        #EXT-X-RENDITION-REPORT:URI=\"../b.m3u8\",LAST-MSN=20,LAST-PART=1\n";
    assert!(text.ends_with(tail), "{text}");
    let report = stream.playlist.report("a.m3u8");
    assert_eq!((report.last_msn, report.last_part), (20, Some(0)));
    stream.segment(&[300]);
    let report = stream.playlist.report("a.m3u8");
    assert_eq!((report.last_msn, report.last_part), (20, Some(1)));
    stream.playlist.end();
    let ended = stream.playlist.render(&[]);
    assert!(ended.ends_with("segment-20.m4s\n#EXT-X-ENDLIST\n"), "{ended}");
}

#[test]
fn without_parts_and_init_segments_it_is_a_playlist_of_old() {
    let mut playlist = Playlist { sequence: 3, ..playlist(None, 4) };
    playlist.push_part(Part { file: "x".into(), duration: PART, independent: true });
    playlist.hint(Some("y"));
    playlist.push("a.ts", Duration::from_millis(2002));
    assert_eq!(
        playlist.render(&[]),
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:3\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXTINF:2.002,\na.ts\n"
    );
    playlist.begin(init("init.mp4"));
    playlist.push("b.m4s", Duration::from_secs(2));
    assert!(playlist.render(&[]).starts_with("#EXTM3U\n#EXT-X-VERSION:6\n"));
}

#[test]
fn questions_are_answered_when_what_they_ask_for_is_there() {
    let mut stream = Stream::new(4);
    stream.segment(&[500, 500]);
    stream.part(PART);
    let reach = |msn, part| stream.playlist.reach(msn, part);
    assert_eq!([reach(17, None), reach(17, Some(9)), reach(18, Some(0))], [Reach::Now; 3]);
    assert_eq!([reach(18, None), reach(18, Some(1)), reach(20, None)], [Reach::Later; 3]);
    assert_eq!(
        [reach(21, None), reach(u64::MAX, Some(0)), reach(18, Some(usize::MAX))],
        [Reach::TooFar; 3]
    );
    stream.end_segment(PART);
    assert_eq!(stream.playlist.reach(18, Some(1)), Reach::Now, "there will be no such part");
    stream.playlist.end();
    assert_eq!(stream.playlist.reach(19, None), Reach::Now, "nothing more comes");
}

#[test]
fn what_is_longest_rounds_to_the_target_duration() {
    assert_eq!(playlist(None, 4).longest(), SEGMENT_DURATION_MAX);
    let longest = playlist(Some(PART), 4).longest();
    assert_eq!((longest + Duration::from_millis(500)).as_secs(), 2);
    assert_eq!((longest + Duration::from_millis(501)).as_secs(), 3);
}

/// Reads it with somebody else's parser: the tags that it knows, all of which it has to understand.
fn read_by_others(text: &str) -> Vec<hls::Tag<'_>> {
    let options = ParsingOptionsBuilder::new().with_parsing_for_all_tags().build();
    let mut reader = Reader::from_str(text, options);
    let mut tags = Vec::new();
    while let Some(line) = reader.read_line().unwrap() {
        match line {
            HlsLine::KnownTag(KnownTag::Hls(tag)) => tags.push(tag),
            HlsLine::Uri(uri) => assert!(!uri.is_empty()),
            HlsLine::Comment(_) | HlsLine::Blank => {}
            other => panic!("{other:?} in\n{text}"),
        }
    }
    tags
}

proptest! {
    // Each has dozens of playlists, all of which are read twice.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Segments of whole parts and a rest, breaks, and clients that ask for updates.
    #[test]
    fn successive_versions_keep_the_rules(
        segments in proptest::collection::vec((0_usize..4, 1_u64..=499, 425_u64..=500, any::<bool>()), 1..40),
        window in 1_usize..8,
        updates in any::<bool>(),
    ) {
        let mut stream = Stream::new(window);
        let hint = stream.name();
        stream.playlist.hint(Some(&hint));
        let (mut rules, mut init) = (HlsRules::default(), 0);
        let check = |rules: &mut HlsRules, playlist: &Playlist, whole: bool| {
            let text = playlist.render(&[]);
            let text = if whole { text } else { update(&text).unwrap_or(text) };
            let tags = read_by_others(&text);
            let parts = tags.iter().filter(|tag| matches!(tag, hls::Tag::Part(_))).count();
            assert!(parts >= playlist.parts());
            rules.check(&text).map_err(|broken| TestCaseError::fail(format!("{broken}\n{text}")))
        };
        for (count, (parts, rest, length, breaks)) in segments.into_iter().enumerate() {
            init += u64::from(breaks);
            stream.begin(breaks && count > 0, &format!("init-{init}.mp4"));
            let mut total = 0;
            for millis in std::iter::repeat_n(length, parts).chain([rest]) {
                stream.part(Duration::from_millis(millis));
                total += millis;
                check(&mut rules, &stream.playlist, !updates || count == 0)?;
            }
            stream.end_segment(Duration::from_millis(total));
            check(&mut rules, &stream.playlist, !updates)?;
        }
        stream.playlist.end();
        check(&mut rules, &stream.playlist, !updates)?;
    }
}

#[test]
fn an_update_leaves_old_segments_out() {
    let mut stream = Stream::new(20);
    let mut rules = HlsRules::default();
    for _ in 0..20 {
        stream.begin(false, "init.mp4");
        stream.segment(&[500, 500, 500, 500]);
    }
    rules.check(&stream.playlist.render(&[])).unwrap();
    stream.begin(false, "init.mp4");
    stream.segment(&[500, 500, 500, 500]);
    let update = update(&stream.playlist.render(&[])).unwrap();
    assert!(
        update.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=13\n") && !update.contains("EXT-X-MAP"),
        "{update}"
    );
    rules.check(&update).unwrap();
    assert!(update.len() < stream.playlist.render(&[]).len());
}

#[test]
fn a_target_duration_that_players_know_stays_where_there_are_parts() {
    let target = |playlist: &Playlist| playlist.target_duration();
    let mut stream = Stream::new(4);
    stream.segment(&[500, 500]);
    let longer = Config { target: Duration::from_secs(6), ..Config::new("live") };
    stream.playlist.reconfigure(&longer);
    assert_eq!(target(&stream.playlist), 2);
    stream.playlist.offer_parts(None);
    let text = stream.playlist.render(&[]);
    assert!(!text.contains("PART") && !text.contains("CAN-BLOCK-RELOAD"), "{text}");
    stream.playlist.reconfigure(&longer);
    assert_eq!(target(&stream.playlist), 6);
    stream.playlist.offer_parts(Some(PART));
    stream.playlist.offer_parts(Some(PART / 2));
    assert_eq!(stream.playlist.part_target(), Some(PART), "players know that one, too");
}

#[test]
fn a_listing_has_all_that_a_window_needs() {
    let mut stream = Stream::new(20);
    for number in 0..20 {
        stream.begin(false, if number < 9 { "live-0-aaaaaaaaaaaaaaaa.mp4" } else { "other.mp4" });
        stream.segment(&[500, 500, 500, 500]);
    }
    stream.begin(false, "third.mp4");
    stream.part(PART);
    let listing = stream.playlist.listing(&[]);
    let text = str::from_utf8(&listing.text).unwrap();
    assert_eq!(listing.update, update(text).map(Into::into));
    let plain = str::from_utf8(listing.plain.as_deref().unwrap()).unwrap();
    assert!(!plain.contains("PART") && plain.starts_with("#EXTM3U\n#EXT-X-VERSION:6\n"), "{plain}");
    assert_eq!(plain.matches("#EXTINF").count(), 20);
    assert_eq!(listing.progress, Some(stream.playlist.progress()));
    assert_eq!(listing.hint.as_deref(), Some("live-81.m4s"));
    let files: Vec<_> = listing.files.iter().map(|file| &**file).collect();
    assert_eq!(files.len(), 23, "segments and what they need: {files:?}");
    assert_eq!(
        (files[0], files[10], files[22]),
        ("live-0-aaaaaaaaaaaaaaaa.mp4", "other.mp4", "third.mp4")
    );
    let parts: Vec<_> = stream.playlist.part_files().collect();
    assert_eq!((parts.len(), parts.last()), (7 * 4 + 1, Some(&"live-80.m4s")));
    stream.playlist.end();
    let ended = stream.playlist.listing(&[]);
    assert!(ended.is_ended && ended.hint.is_none() && ended.progress.unwrap().is_ended);
}

#[test]
fn init_segments_and_keys_go_with_the_last_segment_that_needs_them() {
    let mut playlist = playlist(None, 3);
    let file = |number: u64, form| {
        SegmentName { sequence: number, nonce: Some(Nonce::new(0)), form }.file("live")
    };
    let mut gone = Vec::new();
    for number in 17..40 {
        let own = if number < 20 { 17 } else { 20 };
        let uri = match number {
            17 => file(17, Form::Key),
            _ => "https://keys/a b?1".to_owned(),
        };
        let key = Some(Key { uri, iv: u128::from(number) }).filter(|_| number < 19);
        playlist.begin(Begin { map: Some(file(own, Form::Init)), key, ..Begin::default() });
        gone.extend(playlist.push(&file(number, Form::Mp4), Duration::from_secs(2)));
    }
    assert_eq!(gone[..3], [file(17, Form::Key), file(17, Form::Mp4), file(18, Form::Mp4)]);
    assert_eq!(gone[3..5], [file(17, Form::Init), file(19, Form::Mp4)], "its last");
    assert!(!gone.contains(&file(20, Form::Init)));
    let kept = playlist.files();
    assert_eq!(kept.iter().filter(|file| file.ends_with(".mp4")).count(), 1);
    assert!(playlist.listed().contains(&file(20, Form::Init)));
}

#[test]
fn a_playlist_of_fragmented_mp4_and_keys_is_continued() {
    let name = |sequence, form| {
        SegmentName { sequence, nonce: Some(Nonce::new(0)), form }.file("l\u{e4}ve")
    };
    let config = Config::new("l\u{e4}ve");
    let mut playlist = Playlist::new(&config);
    let mut push = |number: u64, key: Option<u128>| {
        let map = Some(name(number / 2 * 2, Form::Init));
        let key = key.map(|iv| Key { uri: uri(&name(0, Form::Key)), iv });
        playlist.begin(Begin { map, key, ..Begin::at(Duration::from_secs(number)) });
        playlist.push(&name(number, Form::Mp4), Duration::from_secs(2));
        playlist.clone()
    };
    (0..3).for_each(|number| drop(push(number, Some(u128::MAX - u128::from(number)))));
    let playlist = push(3, None);
    let text = playlist.render_plain();
    assert!(Playlist::has_written(&config, &text), "{text}");
    assert_eq!(
        text.matches("#EXT-X-KEY:METHOD=AES-128,").count(),
        3,
        "each with its vector: {text}"
    );
    // Init segments are not encrypted: what holds before one would hold for it.
    assert!(text.contains(".mp4\"\n#EXT-X-KEY:METHOD=AES-128,"), "{text}");
    assert!(text.contains("#EXT-X-KEY:METHOD=NONE\n#EXT-X-MAP:"), "{text}");
    assert_eq!(text.matches("#EXT-X-KEY:METHOD=NONE\n").count(), 2);
    assert_eq!(text.matches("#EXT-X-MAP:").count(), 2);
    let resumed = Playlist::resume(&config, &text).unwrap();
    assert_eq!(resumed.render_plain(), text);
    assert_eq!(resumed.files(), playlist.files());
    for wrong in [
        text.replace("ve-0-aaaaaaaaaaaaaaaa.mp4", "ve-0.mp4"),
        text.replace("METHOD=NONE", "METHOD=SAMPLE-AES"),
        text.replacen("IV=0x", "IV=", 1),
        text.clone() + "#EXT-X-KEY:METHOD=NONE\n",
    ] {
        assert!(Playlist::resume(&config, &wrong).is_err(), "{wrong}");
    }
}
