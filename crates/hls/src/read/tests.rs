use proptest::prelude::*;

use super::*;
use crate::{Begin, Config, Part, Playlist, Report, file_name};

const LOW_LATENCY: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
    #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12,HOLD-BACK=6,PART-HOLD-BACK=1.5\n\
    #EXT-X-PART-INF:PART-TARGET=0.500\n#EXT-X-MEDIA-SEQUENCE:17\n#EXT-X-DISCONTINUITY-SEQUENCE:3\n\
    # no sound: MPEG-TS segments cannot carry Opus\n\
    #EXT-X-MAP:URI=\"a-17.mp4\"\n#EXTINF:1.980,\na-17.m4s\n#EXT-X-DISCONTINUITY\n\
    #EXT-X-MAP:URI=\"a-18.mp4\"\n#EXT-X-PART:DURATION=0.500,URI=\"a%2C18.0.m4s\",INDEPENDENT=YES\n\
    #EXTINF:0.500,\na-18.m4s\n#EXT-X-PART:DURATION=0.500,URI=\"a-19.0.m4s\"\n\
    #EXT-X-PART:URI=\"a,=19.1.m4s\",DURATION=0.25\n\
    #EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"other\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"a-19.2.m4s\"\n\
    #EXT-X-RENDITION-REPORT:URI=\"b.m3u8\",LAST-MSN=19,LAST-PART=1\n";

#[test]
fn what_an_edge_needs_to_know_is_read() {
    let playlist = MediaPlaylist::parse(LOW_LATENCY).unwrap();
    assert_eq!(playlist.target_duration, Duration::from_secs(2));
    assert_eq!(playlist.part_target, Some(Duration::from_millis(500)));
    assert!(playlist.can_block_reload);
    assert_eq!(playlist.progress, Progress { sequence: 19, parts: 2, is_ended: false });
    assert_eq!((playlist.media_sequence, playlist.hint), (17, Some("a-19.2.m4s")));
    let entries: Vec<_> =
        playlist.entries.iter().map(|it| (it.kind, it.sequence, it.uri)).collect();
    assert_eq!(
        entries,
        [
            (EntryKind::Init, 17, "a-17.mp4"),
            (EntryKind::Segment, 17, "a-17.m4s"),
            (EntryKind::Init, 18, "a-18.mp4"),
            (EntryKind::Part, 18, "a%2C18.0.m4s"),
            (EntryKind::Segment, 18, "a-18.m4s"),
            (EntryKind::Part, 19, "a-19.0.m4s"),
            (EntryKind::Part, 19, "a,=19.1.m4s"),
        ]
    );
    let last = playlist.of(EntryKind::Part).last().unwrap();
    assert_eq!(last.duration, Duration::from_millis(250));
    assert_eq!(file_name("a%2C18.0.m4s").as_deref(), Some("a,18.0.m4s"));
    assert_eq!(file_name("a%FF"), None);
}

#[test]
fn a_playlist_of_old_has_nothing_to_wait_for() {
    let text = "#EXTM3U\r\n#EXT-X-TARGETDURATION:4\r\n#EXT-X-KEY:METHOD=AES-128,URI=\"k,1\"\r\n\
        #EXTINF:3.5\r\na.ts?b=c\r\n\r\n#EXT-X-KEY:METHOD=NONE\r\n#EXTINF:4,\r\nb.ts\r\n#EXT-X-ENDLIST";
    let playlist = MediaPlaylist::parse(text).unwrap();
    assert!(!playlist.can_block_reload && playlist.part_target.is_none());
    assert_eq!(playlist.progress, Progress { sequence: 2, parts: 0, is_ended: true });
    let uris: Vec<_> = playlist.entries.iter().map(|entry| entry.uri).collect();
    assert_eq!(uris, ["k,1", "a.ts?b=c", "b.ts"]);
    assert_eq!(playlist.entries[1].duration, Duration::from_millis(3500));
    assert_eq!(update(text), None);
}

#[test]
fn what_is_no_media_playlist_is_refused() {
    assert_eq!(MediaPlaylist::parse("<html>"), Err(BadPlaylist::Header));
    let missing = Err(BadPlaylist::Missing("EXT-X-TARGETDURATION"));
    assert_eq!(MediaPlaylist::parse("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8\n"), missing);
    let long = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n".to_owned() + &"a\n".repeat(ENTRIES_MAX + 1);
    assert_eq!(MediaPlaylist::parse(&long), Err(BadPlaylist::TooMany { max: ENTRIES_MAX }));
    let len = PLAYLIST_BYTES_MAX + 1;
    let longer = "x".repeat(len);
    let too_long = Err(BadPlaylist::TooLong { len, max: PLAYLIST_BYTES_MAX });
    assert_eq!(MediaPlaylist::parse(&longer), too_long);
    assert_eq!(update(&longer), None);
}

#[test]
fn an_update_keeps_all_but_the_segments() {
    let head = LOW_LATENCY.split_once("#EXT-X-MAP").unwrap().0;
    let segment = |number| {
        format!(
            "#EXT-X-DATERANGE:ID=\"{number}\"\n#EXT-X-PROGRAM-DATE-TIME:x\n#EXTINF:4.0,\na-{number}\n"
        )
    };
    let text: String = std::iter::once(format!("{head}#EXT-X-MAP:URI=\"a\"\n"))
        .chain((17..22).map(segment))
        .collect();
    // 20 s in all: the first ends 16 s before the end, the second 12 s, which is not before the boundary.
    let skipped = "#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n#EXT-X-DATERANGE:ID=\"17\"\n";
    let expected = format!("{head}{skipped}{}", (18..22).map(segment).collect::<String>());
    assert_eq!(update(&text).as_deref(), Some(&*expected));
    assert_eq!(update(&expected), None, "it is one");
    assert_eq!(update(&text.replace("CAN-SKIP-UNTIL", "CANNOT")), None);
    let part = text.clone() + "#EXT-X-PART:DURATION=0.001,URI=\"x\"\n";
    let skipped = |text: &str| MediaPlaylist::parse(&update(text).unwrap()).unwrap().skipped;
    assert_eq!((skipped(&text), skipped(&part)), (1, 2), "parts count, too");
}

#[test]
fn numbers_begin_where_the_last_tag_says_wherever_it_stands() {
    let segment = |number| format!("#EXTINF:1.0,\na-{number}\n");
    let some: String = (7..20).map(segment).collect();
    let head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=6\n";
    let text = format!("{head}#EXT-X-MEDIA-SEQUENCE:3\n{some}#EXT-X-MEDIA-SEQUENCE:7\n{some}");
    let whole = MediaPlaylist::parse(&text).unwrap();
    assert_eq!((whole.entries[0].sequence, whole.progress.sequence), (7, 7 + 26));
    let update = update(&text).unwrap();
    let update = MediaPlaylist::parse(&update).unwrap();
    assert_eq!((update.progress, update.skipped), (whole.progress, 19));
    assert_eq!(update.entries[0].sequence, 7 + 19);
}

#[test]
fn seconds_are_exact() {
    assert_eq!(seconds("1.5"), Some(Duration::from_millis(1500)));
    assert_eq!(seconds("0.0000000019"), Some(Duration::from_nanos(1)));
    assert_eq!(seconds("7"), Some(Duration::from_secs(7)));
    for wrong in ["", ".5", "-1", "1e3", "1.-5", "99999999999999999999", "86401"] {
        assert_eq!(seconds(wrong), None, "{wrong}");
    }
}

/// Text that looks more or less like a playlist.
const PLAYLIST_LIKE: &str = "#EXTM3U\n(#EXT-X-TARGETDURATION:[0-9]{1,9}\n)?(#EXT-X-MEDIA-SEQUENCE:[0-9]{1,20}\n)?\
    (#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=[0-9]{1,2}\n)?\
    ((#EXT-X-(PART|MAP|KEY|SKIP|PRELOAD-HINT):)?\
    ((URI|DURATION|TYPE|SKIPPED-SEGMENTS)=\"?[0-9a-z.,=]{0,9}\"?,?){0,3}\r?\n|\
    #EXTINF:[0-9]{1,2}[0-9.]{0,4},?\n[a-z]{1,3}\n|#[A-Z:]{0,9}\n){0,12}";

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in prop_oneof![PLAYLIST_LIKE, "\\PC*"]) {
        let read = MediaPlaylist::parse(&text);
        let Some(update) = update(&text) else { return Ok(()) };
        prop_assert_eq!(update.matches("#EXT-X-SKIP:").count(), 1);
        if let Ok(whole) = read {
            let update = MediaPlaylist::parse(&update).unwrap();
            prop_assert_eq!(whole.progress, update.progress);
            prop_assert_eq!(whole.hint, update.hint);
            let count = |playlist: &MediaPlaylist| playlist.of(EntryKind::Segment).count() as u64;
            prop_assert_eq!(count(&whole), count(&update) + update.skipped);
        }
    }

    #[test]
    fn what_the_origin_knows_is_in_the_text(
        segments in proptest::collection::vec((0_u64..4, 1_u64..500), 0..12),
        open in 0_usize..4,
        ends in any::<bool>(),
        has_parts in any::<bool>(),
    ) {
        let part_target = has_parts.then_some(Duration::from_millis(500));
        let mut playlist = Playlist::starting_at(&Config::new("live"), 40);
        playlist.offer_parts(part_target);
        let part = |file: &str| Part {
            file: file.into(),
            duration: Duration::from_millis(500),
            independent: false,
        };
        for (parts, rest) in segments {
            playlist.begin(Begin { map: Some("init.mp4".into()), ..Begin::default() });
            (0..parts).for_each(|_| playlist.push_part(part("part.m4s")));
            playlist.push("segment.m4s", Duration::from_millis(500 * parts + rest));
        }
        (0..open).for_each(|_| playlist.push_part(part("open.m4s")));
        playlist.hint(Some("next.m4s"));
        if ends {
            playlist.end();
        }
        let text = playlist.render(&[Report { uri: "x".into(), last_msn: 1, last_part: None }]);
        let read = MediaPlaylist::parse(&text).unwrap();
        prop_assert_eq!(read.progress, playlist.progress());
        prop_assert_eq!(read.part_target, part_target);
        prop_assert_eq!(read.can_block_reload, has_parts);
        prop_assert_eq!(read.hint, (has_parts && !ends).then_some("next.m4s"));
        prop_assert_eq!(read.media_sequence, playlist.media_sequence());
    }
}
