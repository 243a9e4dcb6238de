use proptest::prelude::*;

use super::*;

fn pairs(text: &str) -> Vec<(String, Option<String>)> {
    let owned = |param: Param| (param.name().into_owned(), param.value().map(Cow::into_owned));
    params(text).map(owned).collect()
}

fn rewritten(text: &str) -> String {
    let mut query = Query::default();
    params(text).filter(|param| !param.is_vhost()).for_each(|param| query.push(&param));
    query.to_string()
}

#[test]
fn where_parameters_begin_and_end() {
    type Row = (&'static str, &'static [(&'static str, Option<&'static str>)]);
    let table: &[Row] = &[
        ("", &[]),
        ("?&?&=x", &[]),
        ("?a=b&c", &[("a", Some("b")), ("c", None)]),
        ("a=b?c=d", &[("a", Some("b")), ("c", Some("d"))]),
        ("a=b=c==", &[("a", Some("b=c=="))]),
        ("%61=%26b", &[("a", Some("&b"))]),
        // SRS's other separators, where they count and where they do not.
        (
            "a=1;vhost=v,domain=d#vhost=w",
            &[("a", Some("1")), ("vhost", Some("v")), ("domain", Some("d")), ("vhost", Some("w"))],
        ),
        ("vhost=v;c=d,e#f", &[("vhost", Some("v")), ("c", Some("d,e#f"))]),
        ("a=1;%76host=v", &[("a", Some("1")), ("vhost", Some("v"))]),
        ("a=1,b;c=2#d", &[("a", Some("1,b;c=2#d"))]),
        ("a=1;vhost", &[("a", Some("1;vhost"))]),
        ("a=1;VHOST=v", &[("a", Some("1;VHOST=v"))]),
        ("a=1...vhost...v", &[("a", Some("1")), ("vhost", Some("v"))]),
        ("...vhost...v&b", &[("vhost", Some("v")), ("b", None)]),
        ("a=é,ü;ß", &[("a", Some("é,ü;ß"))]),
    ];
    for (text, expected) in table {
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)))
            .collect();
        assert_eq!(pairs(text), expected, "{text:?}");
    }
}

#[test]
fn which_vhost_is_asked_for() {
    for (text, expected) in [
        ("?vhost=v", Some("v")),
        ("?domain=d", Some("d")),
        ("?domain=d&vhost=v", Some("v")),
        ("?vhost=&vhost=/v/", Some("v")),
        ("?vhost=v&vhost=w", Some("v")),
        ("?vhost=m%2Eorg", Some("m.org")),
        ("?a=1", None),
        ("?vhost", None),
        ("?VHOST=v", None),
    ] {
        assert_eq!(vhost(text).as_deref(), expected, "{text:?}");
    }
}

#[test]
fn tokens_go_on_as_they_are() {
    for same in [
        "?jwt=eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.a-b_c",
        "?token=ab+cd==&expires=1700000000",
        "?token=ab%2Fcd%3d&b",
        "?sign=0123456789abcdef&t=2024-01-01T00:00:00",
        "?hdnts=st~1*(x)!$@",
    ] {
        assert_eq!(rewritten(same), same);
    }
}

#[test]
fn what_another_server_could_take_apart_is_encoded() {
    for (text, expected) in [
        ("?a=b/c", "?a=b%2Fc"),
        ("?a=1;b,c#d", "?a=1%3Bb%2Cc%23d"),
        ("?a=b=vhost=evil", "?a=b%3Dvhost%3Devil"),
        ("?flag&x=vhost&evil=1", "?flag&x=vhos%74&evil=1"),
        ("?x=domain=&evil", "?x=domai%6E=&evil"),
        ("?xvhost=evil&xVHOST=evil", "?xvhos%74=evil&xVHOS%54=evil"),
        ("?a=50%&b=%zz", "?a=50%25&b=%25zz"),
        ("?a=....b", "?a=%2E%2E%2E.b"),
        ("?a=ü \u{7}", "?a=%C3%BC%20%07"),
        ("?token=1;vhost=evil", "?token=1"),
        ("?token=1...vhost...evil&VHOST=evil&%56host=evil", "?token=1"),
    ] {
        assert_eq!(rewritten(text), expected, "{text:?}");
    }
    assert_eq!(Query::of_vhost("v.org&a=b").to_string(), "?vhost=v.org%26a%3Db");
}

/// The vhosts that SRS finds: from 4.0 on in the pairs of what stands between all of its separators, before that behind
/// each `vhost` at the end of a word.
fn srs_vhosts(query: &str) -> Vec<&str> {
    let separators: &[char] = &['?', '=', ',', '&', ';'];
    let words: Vec<_> =
        query.split(separators).skip(1).flat_map(|word| word.split("...")).collect();
    let pairs = words.chunks(2).filter(|pair| matches!(pair[0], "vhost" | "domain"));
    let new = pairs.filter_map(|pair| pair.get(1));
    let old = words.windows(2).filter(|pair| pair[0].ends_with("vhost")).map(|pair| &pair[1]);
    new.chain(old).copied().collect()
}

/// Text that comes close to asking for a vhost.
fn close() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "vhost",
        "domain",
        "VHOST",
        "%76host",
        "vhos%74",
        "x",
        "live",
        "evil",
        "=",
        "=",
        "==",
        "&",
        "&",
        "?",
        "#",
        ",",
        ";",
        ".",
        "...",
        "...vhost...",
        "/",
        "%",
        "%26",
        "%3D",
        "%3B",
        " ",
        "ü",
        "\\",
        "token",
    ]);
    prop::collection::vec(pieces, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_written_anew_asks_for_no_vhost_anywhere(text in close()) {
        let query = rewritten(&text);
        prop_assert_eq!(vhost(&query), None, "{}", query);
        prop_assert_eq!(srs_vhosts(&query), Vec::<&str>::new(), "{}", query);
        prop_assert!(!query.contains(['/', '#', ',', ';']), "{}", query);
        let mut others = Query::default();
        params(&query).for_each(|param| others.push(&param));
        let named = Query::of_vhost("v.org").and(&others).to_string();
        let asked = vhost(&named);
        prop_assert_eq!(asked.as_deref(), Some("v.org"));
        prop_assert_eq!(srs_vhosts(&named).iter().all(|vhost| *vhost == "v.org"), true, "{}", named);
    }

    #[test]
    fn what_is_written_anew_reads_as_before(text in close()) {
        let before: Vec<_> = params(&text)
            .filter(|param| !param.is_vhost())
            .map(|param| (param.name().into_owned(), param.value().map(Cow::into_owned)))
            .collect();
        let query = rewritten(&text);
        prop_assert_eq!(pairs(&query), before, "{}", query);
        prop_assert_eq!(rewritten(&query), query);
    }
}
