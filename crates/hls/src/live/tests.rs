use proptest::prelude::*;
use quick_m3u8::{
    HlsLine, Reader,
    config::ParsingOptionsBuilder,
    tag::{KnownTag, hls},
};
use weir_testkit::hls_rules::HlsRules;

use super::*;

const PART: Duration = Duration::from_millis(500);

fn terms(part_target: Option<Duration>) -> Terms {
    Terms { target_duration: 2, part_target, window: 4 }
}

/// A stream that makes names as the server would.
struct Stream {
    playlist: LivePlaylist,
    names: u64,
    date: Duration,
}

impl Stream {
    fn new(terms: Terms) -> Self {
        let date = Duration::from_secs(1_795_398_540);
        Self { playlist: LivePlaylist::new(terms, 17), names: 0, date }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("live-{}.m4s", self.names)
    }

    fn begin(&mut self, discontinuity: bool, map: &str) {
        self.playlist.begin(discontinuity, Some(map), Some(self.date));
    }

    fn part(&mut self, duration: Duration) {
        // The name that was hinted at.
        let uri = format!("live-{}.m4s", self.names);
        self.playlist.push_part(Part { uri, duration, independent: self.playlist.parts() == 0 });
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
    let mut stream = Stream::new(terms(Some(PART)));
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
    let mut playlist = LivePlaylist::new(terms(None), 3);
    playlist.push_part(Part { uri: "x".into(), duration: PART, independent: true });
    playlist.hint(Some("y"));
    playlist.push("a.ts", Duration::from_millis(2002));
    assert_eq!(
        playlist.render(&[]),
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:3\n\
         #EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXTINF:2.002,\na.ts\n"
    );
    playlist.begin(false, Some("init.mp4"), None);
    playlist.push("b.m4s", Duration::from_secs(2));
    assert!(playlist.render(&[]).starts_with("#EXTM3U\n#EXT-X-VERSION:6\n"));
}

#[test]
fn questions_are_answered_when_what_they_ask_for_is_there() {
    let mut stream = Stream::new(terms(Some(PART)));
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
    let longest = terms(None).longest();
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
        let mut stream = Stream::new(Terms { window, ..terms(Some(PART)) });
        let hint = stream.name();
        stream.playlist.hint(Some(&hint));
        let (mut rules, mut init) = (HlsRules::default(), 0);
        let check = |rules: &mut HlsRules, playlist: &LivePlaylist, whole: bool| {
            let text = if whole { playlist.render(&[]) } else { playlist.render_update(&[]) };
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
    let mut stream = Stream::new(Terms { window: 20, ..terms(Some(PART)) });
    let mut rules = HlsRules::default();
    for _ in 0..20 {
        stream.begin(false, "init.mp4");
        stream.segment(&[500, 500, 500, 500]);
    }
    rules.check(&stream.playlist.render(&[])).unwrap();
    stream.begin(false, "init.mp4");
    stream.segment(&[500, 500, 500, 500]);
    let update = stream.playlist.render_update(&[]);
    assert!(
        update.contains("#EXT-X-SKIP:SKIPPED-SEGMENTS=13\n") && !update.contains("EXT-X-MAP"),
        "{update}"
    );
    rules.check(&update).unwrap();
    assert!(update.len() < stream.playlist.render(&[]).len());
}
