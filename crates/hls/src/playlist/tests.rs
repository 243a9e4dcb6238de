mod latency;

use proptest::prelude::*;
use weir_media::{AudioCodec, FourCc, VideoCodec};

use super::*;
use crate::{BadPlaylist, Unsupported};

/// A segment to be pushed.
#[derive(Clone, Copy)]
struct Cut {
    duration: Duration,
    discontinuity: bool,
}

const NONCE: Nonce = Nonce::new(0);

fn name(number: u64) -> String {
    format!("live-{number}-aaaaaaaaaaaaaaaa.ts")
}

fn cut(millis: u64) -> Cut {
    Cut { duration: Duration::from_millis(millis), discontinuity: false }
}

fn broken(millis: u64) -> Cut {
    Cut { discontinuity: true, ..cut(millis) }
}

/// Pushes a segment of MPEG-TS.
fn push(playlist: &mut Playlist, cut: &Cut) -> Vec<String> {
    let date = Duration::from_secs(1_795_398_540);
    playlist.begin(Begin { discontinuity: cut.discontinuity, ..Begin::at(date) });
    let file = playlist.file(NONCE, Form::Ts);
    playlist.push(&file, cut.duration)
}

fn filled(count: usize) -> Playlist {
    let mut playlist = Playlist::new(&Config::new("live"));
    for _ in 0..count {
        push(&mut playlist, &cut(2000));
    }
    playlist
}

/// The value of a tag that must be there once.
fn value(text: &str, tag: &str) -> u64 {
    let values: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(tag)).collect();
    assert_eq!(values.len(), 1, "{tag} in\n{text}");
    values[0].parse().unwrap()
}

fn sequence(file: &str) -> Option<u64> {
    SegmentName::of("live", file).map(|name| name.sequence)
}

fn uris(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn renders_what_rfc_8216_asks_for() {
    let mut playlist = Playlist::new(&Config::new("live"));
    push(&mut playlist, &cut(2002));
    push(&mut playlist, &broken(1960));
    let expected = "#EXTM3U\n\
        #EXT-X-VERSION:3\n\
        #EXT-X-TARGETDURATION:2\n\
        #EXT-X-MEDIA-SEQUENCE:0\n\
        #EXT-X-DISCONTINUITY-SEQUENCE:0\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-11-23T01:49:00.000Z\n\
        #EXTINF:2.002,\n\
        live-0-aaaaaaaaaaaaaaaa.ts\n\
        #EXT-X-DISCONTINUITY\n\
        #EXT-X-PROGRAM-DATE-TIME:2026-11-23T01:49:00.000Z\n\
        #EXTINF:1.960,\n\
        live-1-aaaaaaaaaaaaaaaa.ts\n";
    assert_eq!(playlist.render(&[]), expected);
    playlist.end();
    assert_eq!(playlist.render(&[]), format!("{expected}#EXT-X-ENDLIST\n"));
    push(&mut playlist, &cut(2000));
    assert!(!playlist.render(&[]).contains("ENDLIST"), "the stream came back");
}

#[test]
fn the_window_slides_and_counts_discontinuities() {
    let mut playlist = filled(1);
    push(&mut playlist, &broken(2000));
    for _ in 0..6 {
        push(&mut playlist, &cut(2000));
    }
    let text = playlist.render(&[]);
    assert_eq!(uris(&text), (2..8).map(name).collect::<Vec<_>>());
    assert_eq!(value(&text, "#EXT-X-MEDIA-SEQUENCE:"), 2);
    assert_eq!(value(&text, "#EXT-X-DISCONTINUITY-SEQUENCE:"), 1);
    assert_eq!((playlist.next_sequence(), playlist.file(NONCE, Form::Ts)), (8, name(8)));
}

#[test]
fn files_outlive_their_listing_by_their_own_and_the_playlists_length() {
    let mut playlist = filled(6);
    // Segment 0 leaves at 14 s; it was in playlists of 12 s and lasts 2 s, so it may go at 28 s.
    let gone: Vec<_> = (7..=14).map(|_| push(&mut playlist, &cut(2000))).collect();
    assert!(gone[..7].iter().all(Vec::is_empty), "{gone:?}");
    assert_eq!(gone[7], [name(0)]);
    assert_eq!(push(&mut playlist, &cut(2000)), [name(1)]);
    let files = playlist.files();
    assert_eq!(files, (2..15).map(name).collect::<Vec<_>>());
}

#[test]
fn the_target_duration_never_shrinks() {
    let mut playlist = filled(1);
    push(&mut playlist, &cut(9100));
    for _ in 0..40 {
        push(&mut playlist, &cut(2000));
    }
    let text = playlist.render(&[]);
    assert!(!text.contains("9.100"), "it has left the window");
    assert_eq!(value(&text, "#EXT-X-TARGETDURATION:"), 9, "to the nearest second");
}

/// The target durations that players of a playlist see, without repetitions.
fn targets(playlist: &mut Playlist, millis: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut seen: Vec<_> = millis
        .into_iter()
        .map(|millis| {
            push(playlist, &cut(millis));
            value(&playlist.render(&[]), "#EXT-X-TARGETDURATION:")
        })
        .collect();
    seen.dedup();
    seen
}

#[test]
fn the_target_duration_changes_only_for_a_longer_segment() {
    let of = |millis: &[u64]| targets(&mut Playlist::new(&Config::new("live")), millis.to_vec());
    assert_eq!(of(&[2000, 2002, 1960, 2100, 2499, 400]), [2], "what is rounded to it is no longer");
    assert_eq!(
        of(&[10_000, 2000, 10_400, 9_999]),
        [10],
        "the first segment says what the stream needs"
    );
    assert_eq!(of(&[2000, 5000, 2000, 4000, 5499, 2000]), [2, 5]);
    assert_eq!(of(&[2480, 2520, 2500]), [3], "encoders jitter");
    // Key frames at scene changes, up to 10 s apart: each longer than all before.
    assert_eq!(
        of(&[2000, 2600, 3600, 4600, 5600, 6600, 7600, 8600, 9600, 10_000]),
        [2, 3, 5, 8, 12]
    );
    let long = Config { target: Duration::from_secs(6), ..Config::new("live") };
    assert_eq!(targets(&mut Playlist::new(&long), [4000, 6400, 2000]), [6]);
}

#[test]
fn a_restart_changes_no_target_duration_by_itself() {
    let mut before = filled(2);
    push(&mut before, &cut(7000));
    for seconds in [1, 2, 6] {
        let config = Config { target: Duration::from_secs(seconds), ..Config::new("live") };
        let mut after = Playlist::resume(&config, &before.render(&[])).unwrap();
        assert_eq!(after.render(&[]), before.render(&[]));
        assert_eq!(targets(&mut after, [seconds * 1000, 7100]), [7]);
        let mut short = Playlist::resume(&config, &filled(2).render(&[])).unwrap();
        let longer = if seconds == 6 { vec![6] } else { vec![2] };
        assert_eq!(targets(&mut short, [seconds * 1000; 3]), longer);
    }
    // Nobody has seen one without segments, and earlier releases rounded up.
    let config = Config { target: Duration::from_secs(6), ..Config::new("live") };
    let empty = Playlist::resume(&config, &filled(0).render(&[])).unwrap();
    assert_eq!(value(&empty.render(&[]), "#EXT-X-TARGETDURATION:"), 6);
    let older = filled(2).render(&[]).replace("TARGETDURATION:2", "TARGETDURATION:3");
    let older = Playlist::resume(&config, &older).unwrap();
    assert_eq!(value(&older.render(&[]), "#EXT-X-TARGETDURATION:"), 3);
    let wrong = filled(2).render(&[]).replace("TARGETDURATION:2", "TARGETDURATION:0");
    assert_eq!(Playlist::resume(&config, &wrong).unwrap().render(&[]), filled(2).render(&[]));
}

#[test]
fn a_playlist_lasts_three_target_durations() {
    let mut playlist = filled(1);
    push(&mut playlist, &cut(10_000));
    for _ in 0..40 {
        push(&mut playlist, &cut(2000));
    }
    assert_eq!(playlist.len(), 15, "30 s in segments of 2 s");
    push(&mut playlist, &cut(60_000));
    for _ in 0..200 {
        push(&mut playlist, &cut(2000));
    }
    assert_eq!(playlist.len(), 24, "but not more than four windows");
}

#[test]
fn a_name_is_encoded_in_the_playlist_only() {
    let mut playlist = Playlist::new(&Config::new("rtsp:k\u{e4}se #1"));
    assert_eq!(playlist.file(NONCE, Form::Ts), "rtsp:k\u{e4}se #1-0-aaaaaaaaaaaaaaaa.ts");
    push(&mut playlist, &cut(2000));
    let text = playlist.render(&[]);
    assert_eq!(uris(&text), ["rtsp%3Ak%C3%A4se%20%231-0-aaaaaaaaaaaaaaaa.ts"]);
    let resumed = Playlist::resume(&Config::new("rtsp:k\u{e4}se #1"), &text).unwrap();
    assert_eq!(resumed.next_sequence(), 1);
}

#[test]
fn resumes_where_it_stopped() {
    let mut before = filled(3);
    push(&mut before, &broken(4500));
    for _ in 0..6 {
        push(&mut before, &cut(2000));
    }
    before.end();
    let mut after = Playlist::resume(&Config::new("live"), &before.render(&[])).unwrap();
    let open = before.render(&[]).replace("#EXT-X-ENDLIST\n", "");
    assert_eq!(after.render(&[]), open);
    let (mut gone, last) = (Vec::new(), after.next_sequence());
    gone.extend(push(&mut after, &cut(2000)));
    let text = after.render(&[]);
    assert_eq!(value(&text, "#EXT-X-TARGETDURATION:"), 5);
    let tail: Vec<_> = text.lines().rev().take(4).collect();
    assert_eq!(tail[0], name(last));
    assert_eq!(tail[3], "#EXT-X-DISCONTINUITY");
    for _ in 0..14 {
        gone.extend(push(&mut after, &cut(2000)));
    }
    assert_eq!(gone[0], name(3), "files of the run before are deleted in their turn");
}

#[test]
fn an_empty_playlist_resumes_with_its_numbers() {
    let empty = Playlist::starting_at(&Config::new("live"), 40);
    let resumed = Playlist::resume(&Config::new("live"), &empty.render(&[])).unwrap();
    assert_eq!((resumed.next_sequence(), resumed.is_empty()), (40, true));
    assert_eq!(resumed.media_sequence(), 40);
}

#[test]
fn a_fresh_start_after_a_lost_playlist_has_a_discontinuity() {
    let mut playlist = Playlist::starting_at(&Config::new("live"), 40);
    push(&mut playlist, &cut(2000));
    push(&mut playlist, &cut(2000));
    let text = playlist.render(&[]);
    assert_eq!(uris(&text), [name(40), name(41)]);
    assert_eq!(text.matches("#EXT-X-DISCONTINUITY\n").count(), 1);
}

#[test]
fn a_damaged_playlist_is_refused_with_the_line() {
    let text = filled(3).render(&[]);
    let resume = |text: &str| Playlist::resume(&Config::new("live"), text).unwrap_err();
    let line = |line, text: &str| BadPlaylist::Line { line, text: text.into() };
    assert_eq!(resume(""), BadPlaylist::Header);
    assert_eq!(resume("#EXTM3U\n"), BadPlaylist::Missing("EXT-X-MEDIA-SEQUENCE"));
    assert_eq!(
        resume("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:1\n"),
        BadPlaylist::Missing("EXT-X-TARGETDURATION")
    );
    assert_eq!(
        resume(&text.replace("live-1", "other-1")),
        line(11, &name(1).replace("live", "other"))
    );
    assert_eq!(resume(&text.replace("live-1", "live-7")), line(11, &name(7)));
    assert_eq!(resume(&text.replacen("2.000", "2.-10", 1)), line(7, "#EXTINF:2.-10,"));
    let uri = format!("live-{}.ts", u64::MAX);
    let at_the_end = format!("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:{}\n#EXTINF:2,\n{uri}\n", u64::MAX);
    assert_eq!(resume(&at_the_end), line(4, &uri));
    assert_eq!(resume(&"x".repeat(2 << 20)), BadPlaylist::TooLong { len: 2 << 20, max: 1 << 20 });
}

#[test]
fn a_playlist_cut_short_is_refused_unless_it_looks_whole() {
    let text = filled(3).render(&[]);
    for len in 0..text.len() {
        let part = &text[..len];
        let resumed = Playlist::resume(&Config::new("live"), part).is_ok();
        let whole = part.ends_with(".ts\n") || part.ends_with("#EXT-X-DISCONTINUITY-SEQUENCE:0\n");
        let headed = part.ends_with("#EXT-X-MEDIA-SEQUENCE:0\n");
        assert_eq!(resumed, whole || headed, "{part}");
    }
}

/// Text that looks more or less like a playlist.
const PLAYLIST_LIKE: &str = "(#EXTM3U\n)?(#EXT-X-MEDIA-SEQUENCE:[0-9]{1,20}\n)?\
    ((#[A-Z-]{1,12}|#EXTINF|live-[0-9]{1,3}.ts)[:0-9.,a-z]{0,9}\n){0,12}";

proptest! {
    #[test]
    fn any_playlist_is_read_or_refused(text in PLAYLIST_LIKE) {
        if let Ok(mut playlist) = Playlist::resume(&Config::new("live"), &text) {
            push(&mut playlist, &cut(2000));
            playlist.render(&[]);
        }
    }

    #[test]
    fn numbers_only_grow_and_no_listed_file_is_deleted(
        cuts in proptest::collection::vec((0_u64..70_000, any::<bool>()), 1..120),
        window in 0_usize..9,
    ) {
        let config = Config { window, ..Config::new("live") };
        let mut playlist = Playlist::new(&config);
        let (mut media, mut discontinuities, mut gone) = (0, 0, 0);
        for (number, (millis, discontinuity)) in (0..).zip(cuts) {
            prop_assert_eq!(playlist.next_sequence(), number);
            let deleted = push(&mut playlist, &Cut { discontinuity, ..cut(millis) });
            gone += deleted.len();
            let text = playlist.render(&[]);
            let first = value(&text, "#EXT-X-MEDIA-SEQUENCE:");
            let count = value(&text, "#EXT-X-DISCONTINUITY-SEQUENCE:");
            prop_assert!(first >= media && count >= discontinuities);
            (media, discontinuities) = (first, count);
            let listed: Vec<_> = uris(&text).into_iter().map(sequence).collect();
            prop_assert_eq!(listed, (first..=number).map(Some).collect::<Vec<_>>());
            prop_assert!(deleted.iter().all(|name| sequence(name).unwrap() < first));
            prop_assert_eq!(gone + playlist.files().len(), usize::try_from(number).unwrap() + 1);
            prop_assert!(text.lines().filter(|line| line.starts_with("#EXTINF")).count() <= window.max(1) * 4 + 1);
            let resumed = Playlist::resume(&config, &text).unwrap();
            prop_assert_eq!(resumed.render(&[]), text);
        }
    }
}

#[test]
fn what_weir_wrote_is_known_from_what_others_did() {
    let config = Config::new("live");
    let wrote = |text: &str| Playlist::has_written(&config, text);
    let mut playlist = filled(3);
    push(&mut playlist, &broken(61_000));
    let open = playlist.render(&[]);
    assert!(wrote(&open));
    playlist.end();
    assert!(wrote(&playlist.render(&[])));
    let once = open.replace("-aaaaaaaaaaaaaaaa.ts", ".ts");
    assert!(wrote(&once), "with the names of earlier releases");
    let short = Config { target: Duration::from_millis(500), ..Config::new("live") };
    assert!(wrote(&Playlist::new(&short).render(&[])));
    assert!(!wrote(""));
    assert!(!wrote(&open.replace("live-", "other-")));
    for (by_weir, by_another) in
        [("2.000,", "2.000000,"), ("#EXT-X-VERSION:3\n", ""), ("#EXTM3U\n", "#EXTM3U\n# mine\n")]
    {
        assert!(!wrote(&once.replace(by_weir, by_another)), "{by_another}");
    }
}

#[test]
fn a_playlist_with_names_of_earlier_releases_goes_on_with_others() {
    let text = filled(2).render(&[]).replace("-aaaaaaaaaaaaaaaa.ts", ".ts");
    let mut playlist = Playlist::resume(&Config::new("live"), &text).unwrap();
    push(&mut playlist, &cut(2000));
    assert_eq!(uris(&playlist.render(&[])), ["live-0.ts", "live-1.ts", &name(2)]);
}

#[test]
fn numbers_near_the_list_may_be_of_its_run() {
    let mut playlist = Playlist::starting_at(&Config::new("live"), 1000);
    push(&mut playlist, &cut(2000));
    let covered = |sequences: [u64; 5]| sequences.map(|sequence| playlist.covers(sequence));
    assert_eq!(covered([1, 990, 1000, 1001, 1002]), [false, true, true, true, false]);
}

#[test]
fn what_is_taken_over_is_written_as_it_was_read() {
    let config = Config::new("live");
    let (mut with_key, mut with_note) = (filled(3), filled(3));
    for _ in 0..2 {
        let key = Some(Key { uri: "secret.key".to_owned(), iv: 7 });
        with_key.begin(Begin { key, ..Begin::at(Duration::ZERO) });
        let file = with_key.file(NONCE, Form::Ts);
        with_key.push(&file, Duration::from_secs(2));
    }
    let text = with_key.render_plain();
    assert!(Playlist::has_written(&config, &text), "{text}");
    for control in ['\0', '\t', '\u{7f}', '\u{85}'] {
        let text = text.replacen("secret", &format!("se{control}cret"), 1);
        assert!(Playlist::resume(&config, &text).is_err(), "{text:?}");
    }

    let sound = Some(Unsupported::Audio(AudioCodec::Opus));
    with_note.note(LeftOut { pictures: None, sound, everything: false });
    let text = with_note.render_plain().replacen("Opus\n", "Opus\r\r\n", 1);
    let resumed = Playlist::resume(&config, &text).unwrap().render_plain();
    assert!(Playlist::has_written(&config, &resumed), "{resumed:?}");
}

#[test]
fn a_comment_says_what_is_left_out_for_as_long_as_it_is() {
    let mut playlist = filled(2);
    let without = playlist.render(&[]);
    let sound = Some(Unsupported::Audio(AudioCodec::Opus));
    playlist.note(LeftOut { pictures: None, sound, everything: false });
    let text = playlist.render(&[]);
    let note = "# no sound: MPEG-TS segments cannot carry Opus\n";
    assert_eq!(text.replace(note, ""), without);
    assert!(text.contains(&format!("SEQUENCE:0\n{note}")), "{text}");
    let config = Config::new("live");
    assert!(Playlist::has_written(&config, &text), "it is ours with the comment, too");
    let mut resumed = Playlist::resume(&config, &text).unwrap();
    assert_eq!(resumed.render(&[]), text);
    resumed.note(LeftOut::default());
    assert_eq!(resumed.render(&[]), without);
    let other_codec = Some(Unsupported::Video(VideoCodec::Other(FourCc(*b"\n#EX"))));
    playlist.note(LeftOut { pictures: other_codec, sound, everything: false });
    assert_eq!(
        playlist.render(&[]).lines().count(),
        text.lines().count(),
        "one line, whatever its name"
    );
}

#[test]
fn what_is_nowhere_to_be_had_is_listed_no_longer() {
    let mut playlist = Playlist::starting_at(&Config::new("a"), 7);
    (0..4).for_each(|_| drop(push(&mut playlist, &cut(2000))));
    let listed = playlist.listed();
    assert_eq!(listed.len(), 4);
    playlist.forget_until("b-9.ts");
    assert_eq!(playlist.len(), 4, "it is of another stream");
    playlist.forget_until(&listed[1]);
    assert_eq!(playlist.listed(), listed[2..]);
    assert_eq!((playlist.media_sequence(), playlist.next_sequence()), (9, 11));
    assert!(
        playlist.render(&[]).contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n"),
        "the first had one"
    );
}
