use weir_media::DEFAULT_VHOST;

use super::*;

/// tcUrl, stream name; vhost, app, stream, params.
type Row = (&'static str, &'static str, [&'static str; 4]);

const TABLE: &[Row] = &[
    // The ordinary form.
    ("rtmp://h/live", "cam", ["h", "live", "cam", ""]),
    ("rtmp://h:1935/live", "cam?token=x", ["h", "live", "cam", "?token=x"]),
    ("rtmp://h:19350/live/", "/cam", ["h", "live", "cam", ""]),
    // Several levels of apps, split anywhere.
    ("rtmp://h/live/eu", "cam", ["h", "live/eu", "cam", ""]),
    ("rtmp://h/live", "eu/cam", ["h", "live/eu", "cam", ""]),
    ("rtmp://h", "live/eu/cam?k=v", ["h", "live/eu", "cam", "?k=v"]),
    // The vhost in either query, by either name.
    ("rtmp://h/live?vhost=v.com", "cam", ["v.com", "live", "cam", "?vhost=v.com"]),
    ("rtmp://h/live", "cam?vhost=v.com", ["v.com", "live", "cam", "?vhost=v.com"]),
    ("rtmp://h/live", "cam?domain=v.com", ["v.com", "live", "cam", "?domain=v.com"]),
    ("rtmp://h/live", "cam?domain=d&vhost=v", ["v", "live", "cam", "?domain=d&vhost=v"]),
    ("rtmp://h/live", "cam?vhost=&domain=d", ["d", "live", "cam", "?vhost=&domain=d"]),
    ("rtmp://h/live", "cam?a=b,vhost=v;c=d", ["v", "live", "cam", "?a=b,vhost=v;c=d"]),
    ("rtmp://h/live...vhost...v.com", "cam", ["v.com", "live", "cam", "?vhost=v.com"]),
    ("rtmp://h/live", "cam...vhost...v.com", ["v.com", "live", "cam", "?vhost=v.com"]),
    // The default vhost asks for nothing, and alone it is no parameter.
    ("rtmp://h/live?vhost=__defaultVhost__", "cam", ["h", "live", "cam", ""]),
    (
        "rtmp://h/live?vhost=__defaultVhost__&k=v",
        "cam",
        ["h", "live", "cam", "?vhost=__defaultVhost__&k=v"],
    ),
    // FMLE has the query between app and stream.
    ("rtmp://h/app?k=v", "cam", ["h", "app", "cam", "?k=v"]),
    ("rtmp://h/app#k=v", "cam", ["h", "app", "cam", "?k=v"]),
    ("rtmp://h/app?vhost=v", "cam?token=x", ["v", "app", "cam", "?token=x&vhost=v"]),
    ("rtmp://h/app/two?k=v", "three/cam", ["h", "app/two/three", "cam", "?k=v"]),
    // FMS's default instance.
    ("rtmp://h/live/_definst_", "cam", ["h", "live", "cam", ""]),
    ("rtmp://h/live", "_definst_/cam", ["h", "live", "cam", ""]),
    ("rtmp://h/live/_definst_?k=v", "cam", ["h", "live", "cam", "?k=v"]),
    // Extensions, as in HTTP.
    ("rtmp://h/live", "cam.flv", ["h", "live", "cam", ""]),
    ("rtmp://h/live", "cam.flv?k=v.flv", ["h", "live", "cam", "?k=v.flv"]),
    ("rtmp://h/live", "cam.m3u8", ["h", "live", "cam", ""]),
    ("rtmp://h/live/cam.flv", "", ["h", "live", "cam", ""]),
    ("rtmp://h/live", "cam.ts.mp4.flv", ["h", "live", "cam", ""]),
    ("rtmp://h/live.flv", "cam.1.FLV", ["h", "live.flv", "cam.1.FLV", ""]),
    ("rtmp://h/live", ".flv", ["h", "live", ".flv", ""]),
    // Everything in tcUrl, the stream's name left empty.
    ("rtmp://h/live/cam", "", ["h", "live", "cam", ""]),
    ("rtmp://h/live/cam?k=v", "", ["h", "live", "cam", "?k=v"]),
    ("rtmp://h/live/eu/cam", "", ["h", "live/eu", "cam", ""]),
    ("rtmp://h/live?k=v/cam", "", ["h", "live", "cam", "?k=v"]),
    ("rtmp://h/live?sign=a/b/cam/", "", ["h", "live", "cam", "?sign=a/b"]),
    ("rtmp://h/live/cam", "?k=v", ["h", "live", "cam", "?k=v"]),
    // No app.
    ("rtmp://h", "cam", ["h", "__defaultApp__", "cam", ""]),
    ("rtmp://h/", "cam", ["h", "__defaultApp__", "cam", ""]),
    ("rtmp://h/?vhost=v", "cam", ["v", "__defaultApp__", "cam", "?vhost=v"]),
    // Slashes in the stream's own query belong to it.
    ("rtmp://h/live", "cam?sign=a/b+c==", ["h", "live", "cam", "?sign=a/b+c=="]),
    ("rtmp://h/live", "cam?u=http://x/y?z=1", ["h", "live", "cam", "?u=http://x/y?z=1"]),
    // Hosts.
    ("rtmp://[2001:db8::1]/live", "cam", ["2001:db8::1", "live", "cam", ""]),
    ("rtmp://[::1]:1935/live", "cam", ["::1", "live", "cam", ""]),
    ("rtmps://h:443/live", "cam", ["h", "live", "cam", ""]),
    ("rtmp:///live", "cam", [DEFAULT_VHOST, "live", "cam", ""]),
    ("", "cam", [DEFAULT_VHOST, "__defaultApp__", "cam", ""]),
    // White space that was copied along, and other scripts.
    (" rtmp://h/live ", " cam\n", ["h", "live", "cam", ""]),
    ("rtmp://h/直播", "镜头?密=钥", ["h", "直播", "镜头", "?密=钥"]),
    (" rtmp://h /live /eu", "\tcam ?a=b c", ["h", "live/eu", "cam", "?a=bc"]),
    // Spaces within a name, and what is percent-encoded: once, and not in queries.
    ("rtmp://h/my app", "my cam", ["h", "my app", "my cam", ""]),
    ("rtmp://h/my%20app", "my%20cam", ["h", "my app", "my cam", ""]),
    ("rtmp://h/live", "my%2520cam", ["h", "live", "my%20cam", ""]),
    ("rtmp://h/live", "100%", ["h", "live", "100%", ""]),
    ("rtmp://h/live", "100%25", ["h", "live", "100%", ""]),
    ("rtmp://h/live", "50%x+%2b", ["h", "live", "50%x++", ""]),
    ("rtmp://h/live", "eu%2Fcam?sign=a%2Fb", ["h", "live/eu", "cam", "?sign=a%2Fb"]),
    ("rtmp://h/live", "%E9%95%9C", ["h", "live", "镜", ""]),
    ("rtmp://h/live", "cam%3Fvhost=v", ["h", "live", "cam?vhost=v", ""]),
    ("rtmp://h/live?k=v/my%20cam", "", ["h", "live", "my cam", "?k=v"]),
];

#[test]
fn which_stream_is_meant() {
    for (tc_url, name, [vhost, app, stream, params]) in TABLE {
        let url = discover(tc_url, name).unwrap();
        let found = [&url.vhost, &url.app, &url.stream, &url.params].map(String::as_str);
        assert_eq!(found, [*vhost, *app, *stream, *params], "{tc_url:?} + {name:?}");
    }
}

/// tcUrl, app, name; app and stream, parameters. All on host `h`.
const WITH_APP: [(&str, &str, &str, &str, &str); 14] = [
    ("rtmp://h/live", "live", "cam", "live/cam", ""),
    ("rtmp://h/live/cam", "live", "cam", "live/cam", ""),
    ("rtmp://h/live/cam", "live/", "cam?k=v", "live/cam", "?k=v"),
    ("rtmp://h/live/cam/", "/live", "/cam", "live/cam", ""),
    ("rtmp://h/live/cam?k=v", "live", "cam", "live/cam", "?k=v"),
    ("rtmp://h/live/cam?k=v", "live?k=v", "cam", "live/cam", "?k=v"),
    ("rtmp://h/live/eu/cam", "live", "eu/cam", "live/eu/cam", ""),
    ("rtmp://h/live/eu/cam", "live/eu", "cam", "live/eu/cam", ""),
    ("rtmp://h/live/_definst_/cam", "live/_definst_", "cam", "live/cam", ""),
    // Here tcUrl has no stream, and is right.
    ("rtmp://h/live/cam", "live/cam", "cam", "live/cam/cam", ""),
    ("rtmp://h/live/eu", "live", "cam", "live/eu/cam", ""),
    ("rtmp://h/other", "live", "cam", "other/cam", ""),
    ("rtmp://h/livecam", "live", "cam", "livecam/cam", ""),
    ("rtmp://h/cam", "", "cam", "cam/cam", ""),
];

#[test]
fn a_tc_url_that_has_the_stream_as_well() {
    for (tc_url, app, name, expected, params) in WITH_APP {
        let url = discover(&without_stream(tc_url, app_bytes(tc_url, app), name), name).unwrap();
        let found = (format!("{}/{}", url.app, url.stream), url.params);
        assert_eq!(found, (expected.to_owned(), params.to_owned()), "{tc_url} {app} {name}");
        assert_eq!(url.vhost, "h");
    }
}

proptest::proptest! {
    /// What has been through here once means the same at the next server.
    #[test]
    fn a_stream_name_is_what_it_is(name in "[a.]{0,3}(\\.flv|\\.ts|\\.mp4|\\.m3u8|a|\\.){0,5}") {
        let once = stream_name(&name);
        proptest::prop_assert_eq!(stream_name(once), once);
        proptest::prop_assert!(name.is_empty() || !once.is_empty());
    }
}

#[test]
fn names_of_no_stream() {
    for (tc_url, name) in [
        ("rtmp://h/live", ""),
        ("rtmp://h", ""),
        ("", ""),
        ("rtmp://h/live", "/"),
        ("rtmp://h/live", "?k=v"),
    ] {
        let error = discover(tc_url, name).unwrap_err();
        assert!(
            matches!(&error, Error::Url { reason, .. } if reason.contains("no stream")),
            "{error}"
        );
    }
}

/// Bytes that are no text are a name too, as in SRS: the same over RTMP and HTTP, and at the next hop.
#[test]
fn names_that_are_no_text() {
    for (tc_url, name, app, stream) in [
        ("rtmp://h/live", "%FF", "live", "%FF"),
        ("rtmp://h/%ff", "cam", "%FF", "cam"),
        ("rtmp://h/live?k=v/%FF", "", "live", "%FF"),
        ("rtmp://h/live", "%d6%d0%41", "live", "%D6%D0A"),
        ("rtmp://h/live", "%E5%A0%B0%ff", "live", "堰%FF"),
        ("rtmp://h/live", "%D6%D0.flv", "live", "%D6%D0"),
    ] {
        let url = discover(tc_url, name).unwrap();
        assert_eq!((&*url.app, &*url.stream), (app, stream), "{tc_url} {name}");
        let again = discover("rtmp://h/live", stream).unwrap();
        assert_eq!(again.stream, stream, "decoded again");
        let passed_on = discover("rtmp://h/live", &written(stream)).unwrap();
        assert_eq!(passed_on.stream, stream, "as an edge writes it");
    }
}

/// What is authorised under one text must not be another stream's in the other protocol.
#[test]
fn a_text_names_the_same_stream_in_rtmp_and_http() {
    for name in [
        "my%20cam",
        "my%2520cam",
        "100%",
        "100%25",
        "a+b",
        "a%2Bb",
        "%41",
        "eu%2Fcam",
        "%2e%2e",
        "%D6%D0",
        "%d6%D0x",
    ] {
        let rtmp = discover("rtmp://h/live", name).unwrap();
        let (http, extension) = discover_http(&format!("/live/{name}.flv"), "h").unwrap();
        assert_eq!((rtmp, "flv"), (http, &*extension), "{name}");
    }
}

#[test]
fn long_urls_are_refused_and_not_repeated() {
    let error = discover("rtmp://h/live", &"x".repeat(URL_BYTES_MAX + 1)).unwrap_err();
    assert!(error.to_string().len() < 200, "{error}");
    assert!(RtmpUrl::parse(&format!("rtmp://h/a/{}", "é".repeat(URL_BYTES_MAX))).is_err());
}

/// Whether such a name may be used is the business of `StreamKey`; here it must only come through unharmed.
#[test]
fn hostile_names_are_not_interpreted() {
    let url = discover("rtmp://h/live", "..").unwrap();
    assert_eq!((url.app.as_str(), url.stream.as_str()), ("live", ".."));
    let url = discover("rtmp://h/../../etc", "pass\0wd").unwrap();
    assert_eq!((url.app.as_str(), url.stream.as_str()), ("../../etc", "pass\0wd"));
}

#[test]
fn client_urls() {
    let url = RtmpUrl::parse("rtmp://example.com/live/cam?token=a/b").unwrap();
    assert_eq!(
        url,
        RtmpUrl {
            is_tls: false,
            host: "example.com".to_owned(),
            port: 1935,
            tc_url: "rtmp://example.com/live".to_owned(),
            app: "live".to_owned(),
            stream_with_query: "cam?token=a/b".to_owned(),
        }
    );
    assert_eq!(url.to_string(), "rtmp://example.com/live/cam?token=a/b");
    let url: RtmpUrl = "RTMP://[::1]:1936/live/eu/cam".parse().unwrap();
    assert_eq!((url.host.as_str(), url.port), ("::1", 1936));
    assert_eq!((url.app.as_str(), url.stream_with_query.as_str()), ("live/eu", "cam"));
    assert_eq!(url.tc_url, "rtmp://[::1]:1936/live/eu");
    assert!(!url.is_tls);
    for (text, port) in [("rtmps://h/live/cam", 443), ("RTMPS://h:1937/live/cam", 1937)] {
        let url = RtmpUrl::parse(text).unwrap();
        assert_eq!((url.is_tls, url.port), (true, port), "{text}");
        assert!(url.tc_url.starts_with("rtmps://h"), "{}", url.tc_url);
    }
}

#[test]
fn client_urls_that_are_none() {
    for (url, reason) in [
        ("http://h/live/cam", "rtmp://"),
        ("rtmp://h", "no app"),
        ("rtmp://h/live", "no stream name"),
        ("rtmp://h/live?a/b", "no stream name"),
        ("rtmp:///live/cam", "empty"),
        ("rtmp://h//cam", "empty"),
        ("rtmp://h/live/", "empty"),
        ("rtmp://h:port/live/cam", "port"),
        ("rtmp://h:70000/live/cam", "port"),
        ("rtmp://[::1/live/cam", "bracket"),
    ] {
        let error = RtmpUrl::parse(url).unwrap_err().to_string();
        assert!(error.contains(reason), "{url}: {error}");
    }
}

proptest::proptest! {
    #[test]
    fn what_a_client_sends_is_what_the_server_finds(
        app in "[a-z]{1,8}(/[a-z]{1,8}){0,2}", stream in "[a-z0-9]{1,12}", query in "(\\?[a-z]{1,4}=[a-z0-9/]{1,9})?",
    ) {
        let url = RtmpUrl::parse(&format!("rtmp://host:1/{app}/{stream}{query}")).unwrap();
        let found = discover(&url.tc_url, &url.stream_with_query).unwrap();
        let expected = StreamUrl { vhost: "host".to_owned(), app, stream, params: query };
        proptest::prop_assert_eq!(found, expected);
    }

    #[test]
    fn what_is_written_is_what_the_server_finds(
        app in "[ %2aF/é]{0,12}[a2%]", stream in "[ %20aFé+]{1,12}",
    ) {
        let app = app.trim_matches('/').split("//").collect::<Vec<_>>().join("/");
        let url = discover(&format!("rtmp://h/{}", written(&app)), &written(&stream)).unwrap();
        proptest::prop_assert_eq!((url.app.trim_matches('/'), url.stream), (app.trim_matches('/'), stream));
    }

    #[test]
    fn any_text_is_a_stream_or_an_error(tc_url in ".{0,60}", name in ".{0,60}") {
        if let Ok(url) = discover(&tc_url, &name) {
            proptest::prop_assert!(!url.stream.is_empty() && !url.stream.contains('/'));
            proptest::prop_assert!(!url.app.is_empty() && !url.vhost.is_empty());
        }
        let _ = RtmpUrl::parse(&tc_url);
    }
}
