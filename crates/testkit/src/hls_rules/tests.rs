use super::*;

const HEAD: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
    #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12,HOLD-BACK=6,PART-HOLD-BACK=3.000\n\
    #EXT-X-PART-INF:PART-TARGET=1.000\n";

/// A playlist of segments `first` to `last` with the newest one's parts, and `open` parts of the one in the making.
fn playlist(first: u64, last: u64, open: u64) -> String {
    let mut text =
        format!("{HEAD}#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n");
    text += &listed(first, last, open);
    text
}

fn listed(first: u64, last: u64, open: u64) -> String {
    let part = |number: u64, at: u64| {
        format!("#EXT-X-PART:DURATION=1.000,URI=\"{number}.{at}\",INDEPENDENT=YES\n")
    };
    let mut text = String::new();
    for number in first..=last {
        if number == first {
            text += "#EXT-X-MAP:URI=\"init\"\n";
        }
        if number + 3 > last {
            text += &part(number, 0);
            text += &part(number, 1);
        }
        text += &format!("#EXTINF:2.000,\n{number}.m4s\n");
    }
    for at in 0..open {
        text += &part(last + 1, at);
    }
    text + &format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}.{open}\"\n", last + 1)
}

/// What is wrong with the last of these, when all before are right.
fn broken(versions: &[&str]) -> String {
    let mut rules = HlsRules::default();
    let (last, before) = versions.split_last().unwrap();
    for version in before {
        rules.check(version).unwrap();
    }
    rules.check(last).expect_err("a rule is broken")
}

#[test]
fn a_stream_that_goes_on_keeps_the_rules() {
    let mut rules = HlsRules::default();
    let update = format!(
        "{HEAD}#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n#EXT-X-SKIP:SKIPPED-SEGMENTS=2\n{}",
        listed(3, 9, 1).replace("#EXT-X-MAP:URI=\"init\"\n", "")
    );
    for version in [
        playlist(0, 7, 0),
        playlist(0, 7, 1),
        playlist(0, 7, 1),
        playlist(1, 8, 0),
        playlist(1, 8, 1),
        update,
        playlist(2, 10, 0),
    ] {
        rules.check(&version).unwrap_or_else(|error| panic!("{error}\n{version}"));
    }
}

#[test]
fn what_one_version_says_wrongly_is_found() {
    let good = playlist(0, 7, 1);
    for (old, new, section) in [
        ("#EXTM3U", "#EXTM3", "4.1"),
        ("#EXTINF:2.000,", "#EXTINF:x,", "4.1"),
        ("VERSION:9", "VERSION:5", "8:"),
        ("TARGETDURATION:2", "TARGETDURATION:0", "4.4.3.1"),
        ("TARGETDURATION:2", "TARGETDURATION:1", "4.4.3.1"),
        ("#EXTINF:2.000,\n7", "#EXTINF:2.500,\n7", "4.4.3.1"),
        (",PART-HOLD-BACK=3.000", "", "4.4.3.8"),
        ("PART-HOLD-BACK=3.000", "PART-HOLD-BACK=2.999", "4.4.3.8"),
        ("HOLD-BACK=6", "HOLD-BACK=5", "4.4.3.8"),
        ("UNTIL=12", "UNTIL=11", "4.4.3.8"),
        ("#EXT-X-PART-INF:PART-TARGET=1.000\n", "", "4.4.3.7"),
        ("DURATION=1.000,URI=\"7.0\"", "DURATION=1.001,URI=\"7.0\"", "4.4.4.9"),
        ("DURATION=1.000,URI=\"7.0\"", "DURATION=0.840,URI=\"7.0\"", "4.4.4.9"),
        ("DURATION=1.000,URI=\"7.1\"", "DURATION=0.900,URI=\"7.1\"", "6.2.1"),
        ("#EXT-X-PART:DURATION=1.000,URI=\"6.0\",INDEPENDENT=YES\n", "", "6.2.1"),
        (
            "#EXTINF:2.000,\n1.m4s",
            "#EXT-X-PART:DURATION=2.000,URI=\"1.0\"\n#EXTINF:2.000,\n1.m4s",
            "4.4.4.9",
        ),
        ("#EXT-X-PRELOAD", "#EXT-X-ENDLIST\n#EXT-X-PRELOAD", "4.4.3.4"),
    ] {
        let bad = good.replacen(old, new, 1);
        assert_ne!(bad, good, "{old}");
        let broken = broken(&[&bad]);
        assert!(broken.starts_with(section), "{old} -> {new}: {broken}");
    }
}

#[test]
fn what_changes_between_versions_is_found() {
    let first = playlist(0, 7, 1);
    let next = playlist(1, 8, 1);
    for (old, new, section) in [
        ("TARGETDURATION:2", "TARGETDURATION:3", "4.4.3.8"),
        ("HOLD-BACK=6", "HOLD-BACK=7", "6.2.1: EXT-X-SERVER-CONTROL"),
        ("#EXTINF:2.000,\n5", "#EXTINF:2.010,\n5", "6.2.1"),
        ("\n3.m4s", "\nthree.m4s", "6.2.1: segment 3"),
        ("\"init\"", "\"init2\"", "6.2.1: segment 1"),
        ("DISCONTINUITY-SEQUENCE:0", "DISCONTINUITY-SEQUENCE:1", "6.2.2"),
        ("#EXTINF:2.000,\n4", "#EXT-X-DISCONTINUITY\n#EXTINF:2.000,\n4", "6.2.1: segment 4"),
        ("URI=\"8.0\"", "URI=\"8.x\"", "6.2.1: the parts"),
        ("URI=\"8.1\"", "URI=\"8.x\"", "4.4.5.3"),
        ("URI=\"7.1\",INDEPENDENT=YES", "URI=\"7.1\"", "6.2.1: the parts of segment 7"),
        ("MEDIA-SEQUENCE:1", "MEDIA-SEQUENCE:9", "6.2.2"),
    ] {
        let bad = next.replacen(old, new, 1);
        assert_ne!(bad, next, "{old}");
        let broken = broken(&[&first, &bad]);
        assert!(broken.starts_with(section), "{old} -> {new}: {broken}");
    }
    let longer = |text: &str| text.replace("UNTIL=12,HOLD-BACK=6", "UNTIL=18,HOLD-BACK=9");
    let target = longer(&playlist(0, 7, 1)).replace("TARGETDURATION:2", "TARGETDURATION:3");
    let changed = broken(&[&longer(&playlist(0, 7, 1)), &target]);
    assert!(changed.contains("EXT-X-TARGETDURATION has changed from 2 to 3"), "{changed}");
    assert!(broken(&[&next, &first]).starts_with("6.2.2: the playlist went back"));
    let short = broken(&[&first, &playlist(7, 8, 1)]);
    assert!(short.starts_with("6.2.2: a segment left"), "{short}");
}

#[test]
fn breaks_that_leave_are_counted() {
    let first = playlist(0, 7, 0).replacen("#EXTINF", "#EXT-X-DISCONTINUITY\n#EXTINF", 1);
    let next = playlist(1, 8, 0);
    assert!(
        broken(&[&first, &next]).starts_with("6.2.2: EXT-X-DISCONTINUITY-SEQUENCE is 0, 1 more")
    );
    let right = next.replace("SEQUENCE:0", "SEQUENCE:1");
    let mut rules = HlsRules::default();
    assert_eq!((rules.check(&first), rules.check(&right)), (Ok(()), Ok(())));
}

#[test]
fn updates_leave_out_only_what_is_known_and_old() {
    let update = |skipped: u64, from: u64| {
        let listed = listed(from, 9, 1).replace("#EXT-X-MAP:URI=\"init\"\n", "");
        format!(
            "{HEAD}#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n\
             #EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n{listed}"
        )
    };
    assert!(broken(&[&update(2, 3)]).starts_with("4.4.5.2: segment 1 is left out"));
    assert!(broken(&[&playlist(0, 8, 1), &update(5, 6)]).starts_with("4.4.5.2: 9s are left"));
    let old = update(2, 3).replace("VERSION:9", "VERSION:8");
    assert!(broken(&[&playlist(0, 8, 1), &old]).starts_with("8:"));
}

#[test]
fn the_end_is_final() {
    let open = playlist(0, 7, 0);
    let (segments, _hint) = open.trim_end().rsplit_once('\n').unwrap();
    let ended = format!("{segments}\n#EXT-X-ENDLIST\n");
    let mut rules = HlsRules::default();
    assert_eq!([&open, &ended, &ended].map(|text| rules.check(text)), [Ok(()), Ok(()), Ok(())]);
    assert!(broken(&[&ended, &open]).starts_with("4.4.3.4"));
}
