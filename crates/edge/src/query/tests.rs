use std::net::SocketAddr;

use proptest::prelude::*;
use weir_media::StreamKey;

use super::*;

/// Vhosts, one of which is called like the origin.
fn config() -> Config {
    Config::parse("vhosts: { members.example.com: {}, origin.example.com: {}, v: {} }", "test")
        .unwrap_or_else(|error| panic!("{error}"))
}

/// What this server opens for somebody who asks in RTMP or in HTTP.
fn authorised(config: &Config, url: &StreamUrl) -> Option<StreamKey> {
    StreamKey::new(&config.vhost(&url.vhost).name, &url.app, &url.stream).ok()
}

fn question<'a>(
    config: &'a Config,
    host: &'a str,
    key: &'a StreamKey,
    params: &'a Query,
) -> Question<'a> {
    Question { config, host, address: SocketAddr::from(([10, 0, 0, 1], 8080)), key, params }
}

fn path(key: &StreamKey, file: &str) -> String {
    let encoded = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let app: Vec<_> = key.app().split('/').map(encoded).collect();
    let (name, extension) = file.rsplit_once('.').expect("an extension");
    format!("/{}/{}.{extension}", app.join("/"), encoded(name))
}

/// Asks an origin in every way, and checks what it would open.
fn ask_everywhere(config: &Config, key: &StreamKey, params: &str, rule: &ForwardQuery) {
    let params = forwarded(params, rule);
    for host in ["origin", "origin.example.com", "MEMBERS.example.com", "10.0.0.1", "::1", "v"] {
        let question = question(config, host, key, &params);
        if let Ok(url) = question.rtmp(false) {
            let read = discover(&url.tc_url, &url.stream_with_query).expect("a stream");
            assert_eq!(authorised(config, &read).as_ref(), Some(key), "{url}");
        }
        for extension in ["flv", "m3u8", "ts"] {
            let file = format!("{}.{extension}", key.stream());
            if let Ok((host, target)) = question.http(&path(key, &file), &file) {
                let (read, _) = discover_http(&target, &host).expect("a stream");
                assert_eq!(authorised(config, &read).as_ref(), Some(key), "{host} {target}");
            }
        }
    }
}

#[test]
fn the_vhost_stays_here() {
    let all = |params| forwarded(params, &ForwardQuery::All).to_string();
    assert_eq!(all("?vhost=v&token=1&b"), "?token=1&b");
    assert_eq!(all("token=1?domain=d&vhost=v"), "?token=1");
    assert_eq!(all("?%76host=v&x=%3D&&=y"), "?x=%3D");
    for none in ["", "?", "?&", "?vhost=v", "?domain=d"] {
        assert_eq!(all(none), "", "{none}");
    }
}

#[test]
fn only_what_is_named_goes_along() {
    let only = ForwardQuery::Only(vec!["token".to_owned(), "vhost".to_owned()]);
    let along = |params| forwarded(params, &only).to_string();
    assert_eq!(along("?token=a&key=b&token=c&vhost=v&tokens=d"), "?token=a&token=c");
    assert_eq!(along("?token=1;vhost=members.example.com"), "?token=1");
}

/// What was found by attack: a second vhost behind another separator than the edge looked at.
#[test]
fn a_second_vhost_does_not_reach_the_origin() {
    let config = config();
    let rules = [ForwardQuery::All, ForwardQuery::Only(vec!["a".to_owned()])];
    for (before, after) in [
        ("?vhost=nosuch&a=1", ""),
        ("?vhost=nosuch&a=1", "&b=2"),
        ("?a=1", ""),
        ("?vhost=&a", "=1"),
    ] {
        for separator in [";", ",", "#", "&", "?", "...", ";;", "&&", "%3B", "%2C", "%26", "/", "="]
        {
            for vhost in ["vhost=", "domain=", "VHOST=", "%76host=", "vhost...", "xvhost="] {
                let text = format!("{before}{separator}{vhost}members.example.com{after}");
                let url = discover("rtmp://edge/live", &format!("movie{text}")).expect("a stream");
                let key = authorised(&config, &url).expect("a key");
                for rule in &rules {
                    ask_everywhere(&config, &key, &url.params, rule);
                    let asked = forwarded(&url.params, rule);
                    assert_eq!(params::vhost(asked.as_str()), None, "{text} became {asked}");
                }
            }
        }
    }
}

#[test]
fn a_stream_of_the_default_vhost_is_not_asked_for_under_the_name_of_a_vhost() {
    let config = config();
    let key = StreamKey::new(DEFAULT_VHOST, "live", "movie").expect("a key");
    let url =
        |host| question(&config, host, &key, &Query::default()).rtmp(false).map(|url| url.tc_url);
    assert_eq!(url("origin").as_deref(), Ok("rtmp://origin:8080/live"));
    assert_eq!(url("Origin.example.com").as_deref(), Ok("rtmp://10.0.0.1:8080/live"));
    let http = question(&config, "origin.example.com", &key, &Query::default())
        .http("/live/movie.flv", "movie.flv");
    assert_eq!(http, Ok(("10.0.0.1:8080".to_owned(), "/live/movie.flv".to_owned())));
    let own = StreamKey::new("origin.example.com", "live", "movie").expect("a key");
    let url = question(&config, "origin.example.com", &own, &forwarded("?a=b", &ForwardQuery::All))
        .rtmp(false)
        .expect("a URL");
    assert_eq!(
        url.to_string(),
        "rtmp://origin.example.com:8080/live/movie?vhost=origin.example.com&a=b"
    );
    let config =
        Config::parse("vhosts: { origin: {}, 10.0.0.1: {} }", "test").expect("a configuration");
    let refused = question(&config, "origin", &key, &Query::default())
        .rtmp(false)
        .expect_err("there is no other name");
    assert!(refused.contains("on 10.0.0.1"), "{refused}");
}

#[test]
fn names_that_another_server_takes_apart_are_not_asked_for() {
    let config = config();
    for (app, stream) in [
        ("live", "cam,vhost=members.example.com"),
        ("live;VHOST=members.example.com", "cam"),
        ("live...vhost...members.example.com", "cam"),
        ("live", "cam&xvhost,members.example.com"),
    ] {
        let key = StreamKey::new(DEFAULT_VHOST, app, stream).expect("a key");
        assert!(check(&key, &Query::default()).is_err(), "{key}");
        assert!(question(&config, "o", &key, &Query::default()).rtmp(false).is_err(), "{key}");
        let file = format!("{stream}.flv");
        assert!(
            question(&config, "o", &key, &Query::default())
                .http(&path(&key, &file), &file)
                .is_err(),
            "{key}"
        );
    }
    let long = forwarded(&format!("?a={}", "/".repeat(3000)), &ForwardQuery::All);
    let key = StreamKey::new(DEFAULT_VHOST, "live", "vhost-cam").expect("a key");
    assert_eq!(check(&key, &forwarded("?a=b", &ForwardQuery::All)), Ok(()));
    assert!(check(&key, &long).expect_err("it is long").contains("too long"));
}

/// Text that comes close to naming another stream.
fn close() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "vhost",
        "domain",
        "VHOST",
        "%76host",
        "=",
        "=",
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
        "%3F",
        " ",
        "ü",
        "_definst_",
        "live",
        "movie",
        "members.example.com",
        "Members.example.com.",
        "v",
        "nosuch",
        "token",
        "1",
        "__defaultVhost__",
        ":1935",
        "[",
        "]",
    ]);
    prop::collection::vec(pieces, 0..10).prop_map(|pieces| pieces.concat())
}

fn rule() -> impl Strategy<Value = ForwardQuery> {
    prop_oneof![
        Just(ForwardQuery::All),
        Just(ForwardQuery::Only(vec!["token".to_owned(), "vhost".to_owned(), "1".to_owned()])),
    ]
}

proptest! {
    #[test]
    fn an_origin_opens_what_was_authorised_for_rtmp(
        host in prop_oneof![Just("edge".to_owned()), close()],
        app in prop_oneof![Just("live".to_owned()), close()],
        app_query in close(),
        stream in prop_oneof![Just("movie".to_owned()), close()],
        query in close(),
        rule in rule(),
    ) {
        let config = config();
        let tc_url = format!("rtmp://{host}/{app}?{app_query}");
        let Ok(url) = discover(&tc_url, &format!("{stream}?{query}")) else { return Ok(()) };
        // The vhost follows from nothing but the host and these parameters.
        if params::vhost(&url.params).is_some_and(|asked| asked != DEFAULT_VHOST) {
            let asked = params::vhost(&url.params);
            prop_assert_eq!(Some(url.vhost.as_str()), asked.as_deref());
        }
        let Some(key) = authorised(&config, &url) else { return Ok(()) };
        ask_everywhere(&config, &key, &url.params, &rule);
    }

    #[test]
    fn an_origin_opens_what_was_authorised_for_http(
        host in prop_oneof![Just("edge".to_owned()), close()],
        path in prop_oneof![Just("/live/movie.flv".to_owned()), close().prop_map(|name| format!("/live/{name}.flv"))],
        query in close(),
        rule in rule(),
    ) {
        let config = config();
        let Some((url, _)) = discover_http(&format!("{path}?{query}"), &host) else { return Ok(()) };
        let Some(key) = authorised(&config, &url) else { return Ok(()) };
        ask_everywhere(&config, &key, &url.params, &rule);
    }

    #[test]
    fn a_chain_of_edges_passes_the_same_on(query in close(), rule in rule()) {
        let once = forwarded(&query, &rule);
        prop_assert_eq!(&forwarded(once.as_str(), &rule), &once);
    }
}
