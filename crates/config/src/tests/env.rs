//! Settings in the environment.

use std::{ffi::OsString, fs};

use super::*;

/// What `file` and the `environment` give together; an error as it is shown.
fn load(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weir.yaml");
    fs::write(&path, file).unwrap();
    let folder = format!("{}/", dir.path().display());
    Config::load(Some(&path), environment.iter().copied())
        .map(|(config, _)| config)
        .map_err(|error| error.to_string().replace(&folder, ""))
}

fn refused(file: &str, environment: &[(&str, &str)]) -> String {
    match load(file, environment) {
        Err(shown) => shown,
        Ok(config) => panic!("{environment:?} is not refused: {config:?}"),
    }
}

#[test]
fn every_form_of_value_can_be_set() {
    let environment = [
        ("WEIR_ROLE", "edge"),
        ("WEIR_WORKERS", "3"),
        ("WEIR_DRAIN__TIMEOUT", "90s"),
        ("WEIR_HTTP__LISTEN", "[::1]:80"),
        ("WEIR_RTMP__LISTEN", r#"["127.0.0.1:1", "[::1]:1"]"#),
        ("WEIR_API__LISTEN", "[]"),
        ("WEIR_EDGE__ORIGINS", "[a, b:1]"),
        ("WEIR_EDGE__FORWARD_QUERY", "none"),
        ("WEIR_API__TLS__CERT", "c.pem"),
        ("WEIR_API__TLS__KEY", "k.pem"),
        ("WEIR_API__TLS__READ_CA", "null"),
        ("WEIR_HANDOVER__SOCKET", "/run/s"),
        ("WEIR_API__PEER_TOKEN", "*a: [b] # \"c\""),
        ("WEIR_API__ADMIN_TOKENS", "[&x"),
        ("WEIR_HLS", r#"{"window": 9, "enabled": "off"}"#),
        ("WEIR_AUTH__PLAY", r#"[{"cidr": {"deny": ["::1"]}}]"#),
        ("WEIR_VHOSTS", r#"{"a.org": {"play": {"wait": "0s"}}}"#),
        ("WEIR_LOG", "debug"),
        ("WEIR_LOG_FORMAT", ""),
        ("WEIR_EDGE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("weir_role", "origin"),
        ("PATH", "/bin"),
    ];
    let file = "
role: edge
workers: 3
drain: { timeout: 90s }
http: { listen: '[::1]:80' }
rtmp: { listen: ['127.0.0.1:1', '[::1]:1'] }
api:
  listen: []
  tls: { cert: c.pem, key: k.pem }
  peer_token: '*a: [b] # \"c\"'
  admin_tokens: '[&x'
edge: { origins: [a, b:1], forward_query: none }
hls: { window: 9, enabled: off }
auth: { play: [cidr: { deny: '::1' }] }
handover: { socket: /run/s }
vhosts: { a.org: { play: { wait: 0s } } }
";
    assert_eq!(load("", &environment), Ok(good(file)));
    assert_eq!(Config::load(None, environment).unwrap().0, good(file));
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = "play: { wait: 1s, gop: off }\napi: { tls: { cert: c, key: k } }\nvhosts: { a: {}, b: {} }\n";
    let environment =
        [("WEIR_PLAY__WAIT", "2s"), ("WEIR_API__TLS__KEY", "l"), ("WEIR_VHOSTS", "{ c: {} }")];
    let merged =
        "play: { wait: 2s, gop: off }\napi: { tls: { cert: c, key: l } }\nvhosts: { c: {} }\n";
    assert_eq!(load(file, &environment), Ok(good(merged)));
    assert_eq!(load(file, &[("WEIR_API__TLS", "null")]).unwrap().api.tls, None);
}

#[test]
fn a_key_wins_over_its_section() {
    let mut environment = [("WEIR_PLAY", "{ wait: 1s, gop: off }"), ("WEIR_PLAY__WAIT", "2s")];
    for _ in 0..2 {
        assert_eq!(load("", &environment), Ok(good("play: { wait: 2s, gop: off }")));
        environment.reverse();
    }
}

#[test]
fn an_error_names_the_variable() {
    let table = [
        (
            ("WEIR_PLAY__FLUSH", "5s"),
            "error: WEIR_PLAY__FLUSH: play.flush: 5s is longer than 1s
  |
  | WEIR_PLAY__FLUSH=5s
  |                  ^^
  = help: use 0ms, video, or a duration up to 1s",
        ),
        (
            ("WEIR_HTTP__LISTEN", r#"["0.0.0.0:80", "::1:80"]"#),
            r#"error: WEIR_HTTP__LISTEN: http.listen[1]: `::1:80` is not an IP address with a port
  |
  | WEIR_HTTP__LISTEN=["0.0.0.0:80", "::1:80"]
  |                                  ^^^^^^^^
  = help: use 0.0.0.0:80 or "[::]:80""#,
        ),
        (
            ("WEIR_VHOSTS", "{a.org: {play: {wiat: 1s}}}"),
            "error: WEIR_VHOSTS: vhosts.a.org.play: unknown key `wiat`; did you mean `wait`?
  |
  | WEIR_VHOSTS={a.org: {play: {wiat: 1s}}}
  |                             ^^^^
  = help: valid keys are flush, wait, gop, stall_timeout, window, formats, mounts",
        ),
        (
            ("WEIR_PLAY", "5s"),
            "error: WEIR_PLAY: play: expected keys and values
  |
  | WEIR_PLAY=5s
  |           ^^
  = help: write `key: value`, one per line, indented under the section name",
        ),
        (
            ("WEIR_PLAY", "{wait: 1s"),
            "error: WEIR_PLAY: unclosed bracket '{'
  |
  | WEIR_PLAY={wait: 1s
  |           ^",
        ),
        (
            ("WEIR_ROLE", ""),
            "error: WEIR_ROLE: role: has no value
  |
  | WEIR_ROLE=
  |           ^
  = help: set a value, or unset the variable",
        ),
        (
            ("WEIR_PLAY__WIAT", "5s"),
            "error: WEIR_PLAY__WIAT: does not match any key; did you mean `WEIR_PLAY__WAIT`?
  |
  | WEIR_PLAY__WIAT
  | ^^^^^^^^^^^^^^^
  = help: use WEIR_SECTION__KEY, in capitals, or unset the variable",
        ),
        (
            ("WEIR_VHOSTS__A__PLAY", "{}"),
            "error: WEIR_VHOSTS__A__PLAY: vhosts have no variables of their own
  |
  | WEIR_VHOSTS__A__PLAY
  | ^^^^^^^^^^^^^^^^^^^^
  = help: set all vhosts in one variable: WEIR_VHOSTS='{\"a.org\": {\"play\": {\"wait\": \"0s\"}}}'",
        ),
        (
            ("WEIR_API__PEER_TOKEN", "hunter2\n"),
            "error: WEIR_API__PEER_TOKEN: api.peer_token: has a control character
  |
  | WEIR_API__PEER_TOKEN=*******
  |                      ^^^^^^^
  = help: remove it",
        ),
        (
            ("WEIR_API", "{admin_tokens: hunter2, pers: a}"),
            "error: WEIR_API: api: unknown key `pers`; did you mean `peers`?
  |
  | WEIR_API={admin_tokens: *******, pers: a}
  |                                  ^^^^
  = help: valid keys are listen, admin_tokens, read_tokens, read_from, tls, peers, peer_token, basic, \
     web_origins, raw_reload, srs_status",
        ),
    ];
    for (variable, shown) in table {
        assert_eq!(refused("role: origin\n", &[variable]), shown);
    }
    let gop = refused("", &[("WEIR_PLAY__GOP_CACHE", "off")]);
    assert!(
        gop.contains("in Weir it is `play.gop`") && gop.contains("set WEIR_PLAY__GOP,"),
        "{gop}"
    );
    let level = refused("", &[("WEIR_LOG_LEVEL", "debug")]);
    assert!(level.contains("help: the log goes to stderr; set --log or WEIR_LOG,"), "{level}");
    for name in ["WEIR_FOO", "WEIR_X", "WEIR_", "WEIR_HOLD", "WEIR_NODE_NAME"] {
        let shown = refused("", &[(name, "x")]);
        assert!(!shown.contains("did you mean"), "{shown}");
    }
    for (name, near) in [
        ("WEIR_CONFG", "`WEIR_CONFIG`"),
        ("WEIR_PLAY_WAIT", "`WEIR_PLAY__WAIT`"),
        ("WEIR_rtmp__listen", "`WEIR_RTMP__LISTEN`"),
        ("WEIR_ROL", "`WEIR_ROLE`"),
    ] {
        let shown = refused("", &[(name, "x")]);
        assert!(shown.contains(&format!("did you mean {near}?")), "{shown}");
    }
}

#[test]
fn what_is_wrong_in_the_file_is_shown_there() {
    let shown = refused("play: { flush: 5s }\n", &[("WEIR_PLAY__FLUSH", "video")]);
    assert!(shown.starts_with("error: weir.yaml:1:16: play.flush: 5s"), "{shown}");
}

/// A file, a variable, and how the error begins.
type Contradiction = (&'static str, (&'static str, &'static str), &'static str);

const CONTRADICTIONS: &[Contradiction] = &[
    (
        "drain: { notice: 30s }\n",
        ("WEIR_DRAIN__TIMEOUT", "20s"),
        "error: weir.yaml:1:18: drain.notice: 30s is not shorter than drain.timeout (20s)",
    ),
    (
        "drain: { timeout: 20s, notice: 1s }\n",
        ("WEIR_DRAIN__NOTICE", "30s"),
        "error: WEIR_DRAIN__NOTICE: drain.notice: 30s is not shorter than drain.timeout (20s)",
    ),
    (
        "rtmp: { listen: '0.0.0.0:80' }\n",
        ("WEIR_HTTP__LISTEN", "0.0.0.0:80"),
        "error: WEIR_HTTP__LISTEN: http.listen: 0.0.0.0:80 is already used by rtmp.listen",
    ),
    (
        "http: { listen: ['0.0.0.0:1', '0.0.0.0:2'] }\n",
        ("WEIR_HTTP__LISTEN", "['0.0.0.0:3', '0.0.0.0:1935']"),
        "error: WEIR_HTTP__LISTEN: http.listen[1]: 0.0.0.0:1935 is already used by rtmp.listen",
    ),
    (
        "http: { listen: ['0.0.0.0:1', '0.0.0.0:1935'] }\n",
        ("WEIR_RTMP", "{ chunk_size: 128 }"),
        "error: weir.yaml:1:31: http.listen[1]: 0.0.0.0:1935 is already used by rtmp.listen",
    ),
    (
        "role: edge\n",
        ("WEIR_PLAY__WAIT", "1s"),
        "error: weir.yaml:1:7: role: an edge needs at least one origin",
    ),
    ("", ("WEIR_ROLE", "edge"), "error: WEIR_ROLE: role: an edge needs at least one origin"),
    (
        "",
        ("WEIR_EDGE__ORIGINS", "a"),
        "error: WEIR_EDGE__ORIGINS: edge.origins: is set, but role is origin",
    ),
    (
        "",
        ("WEIR_EDGE", "{ give_up: 3s }"),
        "error: WEIR_EDGE: edge.give_up: 3s is shorter than edge.dead_after",
    ),
    (
        "",
        ("WEIR_API__TLS__KEY", "k.pem"),
        "error: WEIR_API__TLS__KEY: api.tls.key: a private key needs its certificate",
    ),
    (
        "",
        ("WEIR_API__TLS__READ_CA", "r.pem"),
        "error: WEIR_API__TLS__READ_CA: api.tls.read_ca: TLS needs a certificate and its private key",
    ),
    (
        "",
        ("WEIR_AUTH__PLAY", "[{cidr: {allow: '::1'}}, {cidr: {}}]"),
        "error: WEIR_AUTH__PLAY: auth.play[1].cidr: the check has no network",
    ),
    (
        "",
        ("WEIR_VHOSTS", "{a.b: {auth: {play: [token: {}]}}}"),
        "error: WEIR_VHOSTS: vhosts.a.b.auth.play[0].token: the check has no secret",
    ),
];

#[test]
fn a_contradiction_is_shown_where_it_stands() {
    for (file, variable, begin) in CONTRADICTIONS {
        let shown = refused(file, &[*variable]);
        assert!(shown.starts_with(begin), "{shown}\nis not\n{begin}");
    }
    load("role: edge\n", &[("WEIR_EDGE__ORIGINS", "origin")]).unwrap();
}

#[cfg(unix)]
#[test]
fn what_is_not_utf_8_is_refused() {
    use std::os::unix::ffi::OsStringExt;

    let bytes = OsString::from_vec(b"hunter2\xff".to_vec());
    let other = (OsString::from_vec(b"WEIR_\xff".to_vec()), OsString::new());
    assert_eq!(Config::load(None, [other.clone()]).unwrap().0, Config::default());
    let ours = (OsString::from("WEIR_API__ADMIN_TOKENS"), bytes);
    let shown = Config::load(None, [ours, other]).unwrap_err().to_string();
    let begin = "error: WEIR_API__ADMIN_TOKENS: api.admin_tokens: is not valid UTF-8 (byte 8)\n";
    assert!(shown.starts_with(begin) && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_file_that_is_not_utf_8_is_shown_where_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weir.yaml");
    let shown = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Config::load(Some(&path), NONE).unwrap_err().to_string()
    };
    let latin1 = shown(b"role: origin\nplay: { wait: 5s } # gr\xfc\xdfe\n");
    let expected = "weir.yaml:2:24: is not valid UTF-8 from here on\n  |\n\
        2 | play: { wait: 5s } # gr\u{fffd}\u{fffd}e\n  \
        |                        ^\n  = help: save the file as UTF-8";
    assert!(latin1.ends_with(expected), "{latin1}");
    let secret = shown(b"api:\n  admin_tokens: [hunter2\xff]\n");
    assert!(secret.contains("weir.yaml:2:25: ") && !secret.contains("hunter2"), "{secret}");
    let utf16: Vec<u8> =
        "\u{feff}role: origin\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16 = shown(&utf16);
    assert!(utf16.contains("weir.yaml:1:1: the file is UTF-16, or not text"), "{utf16}");
}

/// Keys with values that they may have, as the file writes them.
const VALUES: &[(&str, &str, &[&str])] = &[
    ("play", "wait", &["0s", "1m30s", "1h"]),
    ("play", "flush", &["video", "0ms", "350ms"]),
    ("play", "gop", &["true", "off"]),
    ("rtmp", "chunk_size", &["128", "60000"]),
    ("http", "trusted_proxies", &["[]", "10.0.0.0/8", "[10.0.0.0/8, '::1']"]),
    ("limits", "egress", &["0", "1.5Gbps"]),
    ("api", "admin_tokens", &["[]", "abc", "[abc, 'd e']"]),
    ("edge", "forward_query", &["all", "none", "[token]"]),
    ("auth", "publish", &["[]", "[secret: { values: x }]"]),
    ("metrics", "streams", &["0", "1000"]),
];

proptest! {
    #[test]
    fn a_variable_is_the_key_in_the_file(
        rows in proptest::sample::subsequence(VALUES, 0..=VALUES.len()),
        picks in proptest::collection::vec((0..3_usize, 0..3_usize, any::<[bool; 2]>()), VALUES.len()),
    ) {
        let (mut file, mut environment, mut merged) = (String::new(), Vec::new(), String::new());
        for ((section, key, values), (a, b, [in_file, in_env])) in rows.iter().zip(&picks) {
            let (a, b) = (values[a % values.len()], values[b % values.len()]);
            // A section that is written twice is refused.
            let line = |value: &str| format!("{section}: {{ {key}: {value} }}\n");
            if file.contains(&format!("{section}:")) || merged.contains(&format!("{section}:")) {
                continue;
            }
            if *in_file {
                file += &line(a);
            }
            if *in_env {
                let name = format!("WEIR_{}__{}", section.to_uppercase(), key.to_uppercase());
                environment.push((name, b));
            }
            if *in_file || *in_env {
                merged += &line(if *in_env { b } else { a });
            }
        }
        let environment: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        prop_assert_eq!(load(&file, &environment), Ok(good(&merged)), "{} {:?}", file, environment);
    }

    #[test]
    fn any_environment_gives_a_configuration_or_an_error(
        name in "WEIR_(ROLE|PLAY|PLAY__WAIT|HTTP__LISTEN|VHOSTS|AUTH__PLAY|API__TLS|API__PEER_TOKEN|EDGE__FORWARD_QUERY\
            |[A-Z_]{0,12})",
        value in "(\\PC|[\\[\\]{}:,&*!#'\"|>-]|[ \n\t]|play|wait|cidr|allow|10s){0,12}",
    ) {
        if let Err(error) = Config::load(None, [(&name, &value)]) {
            let shown = error.to_string();
            prop_assert!(shown.starts_with(&format!("error: {name}: ")), "{shown}");
        }
    }
}
