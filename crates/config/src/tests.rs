mod edge;
mod env;
mod running;

use std::{
    collections::BTreeMap, fs, net::SocketAddr, num::NonZeroUsize, path::Path, time::Duration,
};

use ipnet::IpNet;
use proptest::prelude::*;
use weir_media::DEFAULT_VHOST;

use super::*;

const EXAMPLE: &str = include_str!("../../../weir.example.yaml");
const GUIDE: &str = include_str!("../../../docs/guide/configuration.md");
const EDGE_GUIDE: &str = include_str!("../../../docs/guide/edge.md");

/// An empty environment.
const NONE: [(&str, &str); 0] = [];

fn good(text: &str) -> Config {
    Config::parse(text, "weir.yaml").unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn bad(text: &str) -> Diagnostic {
    match Config::parse(text, "weir.yaml") {
        Err(ConfigError::Invalid(found)) => *found,
        other => panic!("{text}\n{other:?}"),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn pattern(text: &str) -> StreamPattern {
    <StreamPattern as kind::Text>::parse(text).expect("a pattern")
}

fn network(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn host(host: &str, port: u16) -> HostPort {
    HostPort { host: host.to_owned(), port }
}

fn origin(host: &str, port: u16) -> OriginName {
    OriginName::rtmp(host, port)
}

fn hook(url: &str) -> HookUrl {
    HookUrl::of(url).expect("a URL")
}

#[test]
fn nothing_is_the_default() {
    for text in
        ["", "# nothing\n", "---\n", "play:\n", "play: {}", "edge:", "vhosts:\n", "\u{feff}"]
    {
        assert_eq!(good(text), Config::default(), "{text:?}");
    }
}

#[test]
fn the_default_is_an_origin_on_the_standard_ports() {
    let Config { role, rtmp, http, api, .. } = Config::default();
    assert_eq!(role, Role::Origin);
    assert_eq!(rtmp.listen, [address("0.0.0.0:1935")]);
    assert_eq!(http.listen, [address("0.0.0.0:8080")]);
    assert_eq!(api.listen, [address("0.0.0.0:1985")]);
    assert!(Workers::Auto.count() >= 1);
}

fn pulled_from(url: &str) -> PullFrom {
    <PullFrom as crate::kind::Text>::parse(url).expect("a URL")
}

fn files(cert: &str, key: &str) -> CertificateFiles {
    CertificateFiles { cert: cert.into(), key: key.into() }
}

#[test]
fn every_key_can_be_set() {
    let config = good(
        "role: edge
rtmp:
  listen: [127.0.0.1:0, '[::1]:1935']
  chunk_size: 128
  proxy_protocol: true
  tls: { listen: 127.0.0.1:443, certificates: [{ cert: c.pem, key: k.pem }], client_ca: ca.pem, min_version: 1.3 }
http:
  listen: 127.0.0.1:80
  proxy_protocol: on
  trusted_proxies: [10.0.0.0/8, fd00::/8, 192.0.2.7]
  embed: ['https://example.com', 'http://localhost:3000']
  tls: { certificates: [{ cert: c.pem, key: k.pem }, { key: l.pem, cert: d.pem }], http2: false, min_version: '1.2' }
api:
  listen: []
  admin_tokens: [a, 'b c']
  read_tokens: r
  read_from: [10.0.0.0/8, '::1']
  tls: { cert: c.pem, key: k.pem, admin_ca: a.pem, read_ca: r.pem }
  peers: [peers, '[fd00::1]:80']
  peer_token: '7'
  basic: { username: admin, password: 'a:b' }
  web_origins: ['https://Console.example.com:8443', '*']
  raw_reload: on
  srs_status: true
workers: 3
publish:
  linger: 0s
  idle_timeout: 1m30s
  unwatched_timeout: 24h
  conflict: reject
  fallback: /srv/slate.flv
  multitrack: [1920x1080@60 6Mbps, 640x360 800kbps]
  multitrack_encoder: obs_x264
  multitrack_server: rtmp://ingest.example.com
play: { flush: 350ms, wait: 1h, gop: off, stall_timeout: 1s, window: 1500ms, formats: [flv, mp3],
  mounts: [{ path: '[vhost]/[app]/[stream].flv' }, { path: /live.mp3, streams: live/cam }] }
hls: { enabled: false, dir: /srv/hls, segment: 500ms, window: 3, container: fmp4, part: 100ms, ladder: [_hi, ''],
  encrypt: true, segments_per_key: 5, key_url: 'https://keys.example.com/weir/',
  playlist_path: '{app}/{stream}/index', segment_path: '[app]/[stream]-[seq].ts', segment_url: http://cdn/ }
record: { dir: /srv/rec, streams: [live/*, '*'], container: mp4, path: '{stream}',
  split: { duration: 1h, size: 1GiB, publisher: on },
  keep: { age: 720h, size: 1TiB } }
upload: { url: 's3://archive/a/b/', endpoint: 'https://minio:9000', region: eu-central-1, access_key: id, secret_key: key,
  credentials: /etc/weir/keys, ca: ca.pem, recordings: false, hls: on, keep_local: false, part: 16MiB, at_once: 2 }
edge:
  origins: [rtmp://Origin:1936, 10.0.0.7, origins.default.svc:1935, '[fd00::1]:1935', rtmps://a]
  protocol: flv
  http_port: 80
  linger: 0s
  dead_after: 1500ms
  give_up: 1h
  forward_query: [token, expires]
  tls:
    ca: ca.pem
    pin: 'AA:00:AA:00:AA:00:AA:00:AA:00:AA:00:AA:00:AA:00:AA:00:AA:00:AA:00:AA:00:AA:00:AA:00:AA:00:AA:00'
  redirects: [cdn.example.com, 'http://10.0.0.8:81/']
  resolvers: [10.96.0.10, '[fd00::a]:5353']
  hls_cache: 1GiB
  auth: local
  token: t0ken
forward: [{ streams: live/*, to: rtmps://a/live2/KEY, ca: f.pem, assume_enhanced: on }]
exec: [{ streams: live/*, run: [a, '{url}', 7], restart: never }]
transcode: [{ streams: live/*, name: hd, to: 'hd/{stream}', program: a, input: -re, args: [-s, 2x2] }]
ingest: [{ stream: live/c, from: a.mp4, program: b, input: [-a], args: [] }]
children: { max: 3, stop: 0s }
pull:
- { stream: live/a, from: 'rtmps://h/live/b', linger: 0s, ca: ca.pem }
- { stream: x/*, from: 'file:/{app}/{stream}.flv', when: demand }
auth:
  publish:
    - cidr: { allow: 10.0.0.0/8, deny: [10.1.0.0/16] }
    - secret: { param: key, values: s }
  play:
    - token: { param: sig, expires: until, secrets: [s, t] }
    - jwt: { param: j, algorithm: EdDSA, public_key: p.pem }
    - jwt: { secret: s }
    - edge: { tokens: t0ken }
    - referer: { hosts: [Example.com, '*.a.org'], empty: on }
    - hook:
hooks:
  on_connect: http://a/
  on_close: []
  on_publish: ['http://a/', 'https://b:81/c?d=e']
  on_unpublish: http://a/
  on_play: http://a/
  on_stop: http://a/
  on_hls: http://a/
  on_record: http://a/
  on_dvr: http://a/
  on_forward: http://a/
  timeout: 1s
  fail: open
  retry: 0s
  secret: s
  ca: ca.pem
heartbeat:
  url: http://a/
  interval: 1s
  device_id: 7
  ip: 10.0.0.7
  summaries: on
  ports: on
limits:
  connections: 0
  egress: 1.5Gbps
  viewers_per_stream: 500
  connections_per_ip: 20
  memory: 1GiB
  stream_memory: 1024KiB
metrics: { streams: 0, listen: '127.0.0.1:9972', label: a, tag: 7 }
drain: { notice: 0s, timeout: 1s }
handover: { socket: /run/weir.sock }
name: edge-7
work_dir: /srv
log_file: /var/log/weir.log
pid_file: /run/weir.pid
",
    );
    let expected = Config {
        role: Role::Edge,
        rtmp: Rtmp {
            listen: vec![address("127.0.0.1:0"), address("[::1]:1935")],
            chunk_size: 128,
            proxy_protocol: true,
            tls: Some(RtmpTls {
                listen: vec![address("127.0.0.1:443")],
                certificates: vec![files("c.pem", "k.pem")],
                client_ca: Some("ca.pem".into()),
                min_version: TlsVersion::Tls13,
            }),
        },
        http: Http {
            listen: vec![address("127.0.0.1:80")],
            proxy_protocol: true,
            trusted_proxies: ["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"].map(network).to_vec(),
            embed: ["https://example.com", "http://localhost:3000"].map(str::to_owned).to_vec(),
            tls: Some(HttpTls {
                listen: vec![address("0.0.0.0:8443")],
                certificates: vec![files("c.pem", "k.pem"), files("d.pem", "l.pem")],
                client_ca: None,
                min_version: TlsVersion::Tls12,
                http2: false,
            }),
        },
        api: Api {
            listen: vec![],
            admin_tokens: vec![Secret::new("a"), Secret::new("b c")],
            read_tokens: vec![Secret::new("r")],
            read_from: ["10.0.0.0/8", "::1/128"].map(network).to_vec(),
            tls: Some(Tls {
                cert: "c.pem".into(),
                key: "k.pem".into(),
                admin_ca: Some("a.pem".into()),
                read_ca: Some("r.pem".into()),
            }),
            peers: vec![host("peers", 1985), host("fd00::1", 80)],
            peer_token: Some(Secret::new("7")),
            basic: Some(Basic { username: "admin".to_owned(), password: Some(Secret::new("a:b")) }),
            web_origins: vec![
                WebOrigin::Of("https://console.example.com:8443".to_owned()),
                WebOrigin::Any,
            ],
            raw_reload: true,
            srs_status: true,
        },
        workers: Workers::Count(NonZeroUsize::new(3).unwrap()),
        publish: Publish {
            linger: Duration::ZERO,
            idle_timeout: Duration::from_secs(90),
            unwatched_timeout: Duration::from_secs(24 * 3600),
            conflict: Conflict::Reject,
            fallback: Some("/srv/slate.flv".into()),
            multitrack: vec![
                Step { width: 1920, height: 1080, fps: Some(60), bit_rate: 6_000_000 },
                Step { width: 640, height: 360, fps: None, bit_rate: 800_000 },
            ],
            multitrack_encoder: Encoder::Named("obs_x264".to_owned()),
            multitrack_server: "rtmp://ingest.example.com".to_owned(),
        },
        play: Play {
            flush: Flush::Every(Duration::from_millis(350)),
            wait: Duration::from_secs(3600),
            gop: false,
            stall_timeout: Duration::from_secs(1),
            window: Duration::from_millis(1500),
            formats: vec![LiveFormat::Flv, LiveFormat::Mp3],
            mounts: vec![
                Mount::default(),
                Mount {
                    path: <MountPath as kind::Text>::parse("/live.mp3").expect("a path"),
                    streams: pattern("live/cam"),
                },
            ],
        },
        hls: Hls {
            enabled: false,
            dir: "/srv/hls".into(),
            segment: Duration::from_millis(500),
            window: 3,
            container: Container::Fmp4,
            part: Duration::from_millis(100),
            ladder: vec!["_hi".to_owned(), String::new()],
            encrypt: true,
            segments_per_key: 5,
            key_url: "https://keys.example.com/weir".to_owned(),
            playlist_path: "{app}/{stream}/index".to_owned(),
            segment_path: "[app]/[stream]-[seq].ts".to_owned(),
            segment_url: "http://cdn".to_owned(),
        },
        record: Record {
            dir: "/srv/rec".into(),
            streams: vec![pattern("live/*"), StreamPattern::all()],
            container: RecordContainer::Mp4,
            path: "{stream}".to_owned(),
            split: Split { duration: Duration::from_secs(3600), size: 1 << 30, publisher: true },
            keep: Keep { age: Duration::from_secs(720 * 3600), size: 1 << 40 },
        },
        upload: Upload {
            url: Some(Bucket { name: "archive".to_owned(), prefix: "a/b".to_owned() }),
            endpoint: Some(Endpoint { is_tls: true, host: host("minio", 9000) }),
            region: "eu-central-1".to_owned(),
            access_key: Some(Secret::new("id")),
            secret_key: Some(Secret::new("key")),
            credentials: Some("/etc/weir/keys".into()),
            ca: Some("ca.pem".into()),
            recordings: false,
            hls: true,
            keep_local: false,
            part: 16 << 20,
            at_once: 2,
        },
        edge: Edge {
            origins: vec![
                origin("origin", 1936),
                origin("10.0.0.7", 1935),
                origin("origins.default.svc", 1935),
                origin("fd00::1", 1935),
                OriginName { scheme: Scheme::Rtmps, ..origin("a", 443) },
            ],
            protocol: Upstream::Flv,
            http_port: 80,
            linger: Duration::ZERO,
            dead_after: Duration::from_millis(1500),
            give_up: Duration::from_secs(3600),
            forward_query: ForwardQuery::Only(vec!["token".to_owned(), "expires".to_owned()]),
            tls: EdgeTls {
                ca: Some("ca.pem".into()),
                pin: vec!["AA00".repeat(16).parse().expect("a fingerprint")],
            },
            redirects: vec![host("cdn.example.com", 80), host("10.0.0.8", 81)],
            resolvers: vec![address("10.96.0.10:53"), address("[fd00::a]:5353")],
            auth: AuthBy::Local,
            token: Some(Secret::new("t0ken")),
            hls_cache: 1 << 30,
        },
        pull: vec![
            Pull {
                stream: "live/a".to_owned(),
                from: pulled_from("rtmps://h/live/b"),
                linger: Duration::ZERO,
                ca: Some("ca.pem".into()),
                ..Pull::default()
            },
            Pull {
                stream: "x/*".to_owned(),
                from: pulled_from("file:/{app}/{stream}.flv"),
                when: When::Demand,
                ..Pull::default()
            },
        ],
        auth: Auth {
            publish: vec![
                Check::Cidr(Cidr {
                    allow: vec![network("10.0.0.0/8")],
                    deny: vec![network("10.1.0.0/16")],
                }),
                Check::Secret(SharedSecret {
                    param: "key".to_owned(),
                    values: vec![Secret::new("s")],
                }),
            ],
            play: vec![
                Check::Token(SignedToken {
                    param: "sig".to_owned(),
                    expires: "until".to_owned(),
                    secrets: vec![Secret::new("s"), Secret::new("t")],
                }),
                Check::Jwt(Jwt {
                    param: "j".to_owned(),
                    algorithm: Algorithm::EdDsa,
                    secret: None,
                    public_key: Some("p.pem".into()),
                }),
                Check::Jwt(Jwt { secret: Some(Secret::new("s")), ..Jwt::default() }),
                Check::Edge(EdgeTokens { tokens: vec![Secret::new("t0ken")] }),
                Check::Referer(Referer {
                    hosts: vec!["example.com".to_owned(), "a.org".to_owned()],
                    empty: true,
                }),
                Check::Hook,
            ],
        },
        forward: vec![Forward {
            streams: vec![<StreamPattern as kind::Text>::parse("live/*").expect("a pattern")],
            to: vec![ForwardTarget::new("rtmps://a/live2/KEY").expect("a target")],
            ca: Some("f.pem".into()),
            assume_enhanced: true,
        }],
        exec: vec![Exec {
            streams: vec![<StreamPattern as kind::Text>::parse("live/*").expect("a pattern")],
            run: ["a", "{url}", "7"].map(str::to_owned).to_vec(),
            restart: Restart::Never,
        }],
        transcode: vec![Transcode {
            streams: vec![<StreamPattern as kind::Text>::parse("live/*").expect("a pattern")],
            name: "hd".to_owned(),
            to: "hd/{stream}".to_owned(),
            program: "a".to_owned(),
            input: vec!["-re".to_owned()],
            args: ["-s", "2x2"].map(str::to_owned).to_vec(),
        }],
        ingest: vec![Ingest {
            stream: "live/c".to_owned(),
            from: "a.mp4".to_owned(),
            program: "b".to_owned(),
            input: vec!["-a".to_owned()],
            args: Vec::new(),
        }],
        children: ChildrenLimits { max: 3, stop: Duration::ZERO },
        hooks: Hooks {
            on_connect: vec![hook("http://a/")],
            on_close: Vec::new(),
            on_publish: vec![hook("http://a/"), hook("https://b:81/c?d=e")],
            on_unpublish: vec![hook("http://a/")],
            on_play: vec![hook("http://a/")],
            on_stop: vec![hook("http://a/")],
            on_hls: vec![hook("http://a/")],
            on_record: vec![hook("http://a/")],
            on_dvr: vec![hook("http://a/")],
            on_forward: vec![hook("http://a/")],
            timeout: Duration::from_secs(1),
            fail: Fail::Open,
            retry: Duration::ZERO,
            secret: Some(Secret::new("s")),
            ca: Some("ca.pem".into()),
        },
        heartbeat: Heartbeat {
            url: Some(hook("http://a/")),
            interval: Duration::from_secs(1),
            device_id: "7".to_owned(),
            ip: "10.0.0.7".to_owned(),
            summaries: true,
            ports: true,
        },
        limits: Limits {
            connections: 0,
            egress: 1_500_000_000,
            viewers_per_stream: 500,
            connections_per_ip: 20,
            memory: 1 << 30,
            stream_memory: 1 << 20,
        },
        metrics: Metrics {
            streams: 0,
            listen: vec![address("127.0.0.1:9972")],
            label: "a".to_owned(),
            tag: "7".to_owned(),
        },
        drain: Drain { notice: Duration::ZERO, timeout: Duration::from_secs(1) },
        handover: Handover { socket: Some("/run/weir.sock".into()) },
        name: "edge-7".to_owned(),
        work_dir: Some("/srv".into()),
        log_file: Some("/var/log/weir.log".into()),
        pid_file: Some("/run/weir.pid".into()),
        vhosts: BTreeMap::new(),
    };
    assert_eq!(config, expected);
}

#[test]
fn the_api_can_be_at_the_address_of_a_listener_for_viewers() {
    let tls = "tls: { listen: 0.0.0.0:443, certificates: [{ cert: a, key: b }] }";
    let http = format!("http: {{ listen: 0.0.0.0:80, {tls} }}\n");
    let config = good(&format!("{http}api: {{ listen: [0.0.0.0:80, 0.0.0.0:443, 0.0.0.0:81] }}\n"));
    let shared: Vec<_> = config.api.listen.iter().map(|at| config.shared_with(*at)).collect();
    assert_eq!(shared, [Some("http"), Some("http.tls"), None]);
    // Any port is another one each time.
    let any = good("http: { listen: 127.0.0.1:0 }\napi: { listen: 127.0.0.1:0 }\n");
    assert_eq!(any.shared_with(any.api.listen[0]), None);
}

#[test]
fn a_back_end_must_be_there_to_be_asked() {
    let found = bad("auth: { play: [hook: {}] }\n");
    assert!(found.what.contains("hooks.on_play is empty"), "{found:?}");
    let found =
        bad("hooks: { on_play: 'http://a/' }\nvhosts: { b: { auth: { publish: [hook:] } } }\n");
    assert!(found.what.contains("vhosts.b.hooks.on_publish is empty"), "{found:?}");
    let config =
        good("auth: { play: [hook:] }\nhooks: { on_play: 'http://a/' }\nvhosts: { b: {} }\n");
    assert_eq!(
        (config.vhost("b").auth.play, config.vhost("b").hooks.on_play),
        (vec![Check::Hook], vec![hook("http://a/")])
    );
    bad("auth: { play: [hook: { url: a }] }\nhooks: { on_play: 'http://a/' }\n");
    bad("auth: { play: [edge: {}] }\n");
    bad("edge: { token: t }\n");
    bad("role: edge\nedge: { origins: o, token: 'a b' }\n");
    bad("hooks: { on_play: backend }\n");
    good("vhosts: { b: { hooks: { on_play: 'https://a/', ca: x.pem } } }\n");
}

#[test]
fn secrets_of_hooks_and_edges_are_not_shown() {
    let config = good(
        "role: edge\nedge: { origins: o, token: t0ken }\nhooks: { on_play: 'http://a/?key=s3cret', secret: s1gn }\n\
         heartbeat: { url: 'http://a/?key=b3at' }\n",
    );
    let shown = config.to_json().to_string();
    assert!(["t0ken", "s3cret", "s1gn", "b3at"].iter().all(|it| !shown.contains(it)), "{shown}");
    assert!(shown.contains("http://a/?***"), "{shown}");
}

#[test]
fn flush_has_three_forms() {
    let flush = |value: &str| good(&format!("play: {{ flush: {value} }}")).play.flush;
    assert_eq!(flush("video"), Flush::Video);
    assert_eq!(flush("0ms"), Flush::Each);
    assert_eq!(flush("0s"), Flush::Each);
    assert_eq!(flush("1s"), Flush::Every(Duration::from_secs(1)));
    assert_eq!(flush("'33ms'"), Flush::Every(Duration::from_millis(33)));
}

#[test]
fn a_vhost_overrides_single_keys() {
    let config = good(
        "play: { wait: 5s, gop: false }
vhosts:
  a.org:
    play: { wait: 0s }
    publish: { conflict: reject }
  b.org:
",
    );
    let a = config.vhost("a.org");
    assert_eq!(a.name, "a.org");
    assert_eq!(a.play, Play { wait: Duration::ZERO, ..config.play.clone() });
    assert_eq!(a.publish, Publish { conflict: Conflict::Reject, ..Publish::default() });
    assert_eq!(a.hls, Hls::default());
    let b = config.vhost("b.org");
    assert_eq!((b.name.as_str(), &b.play), ("b.org", &config.play));
}

#[test]
fn names_of_vhosts_are_names_of_hosts() {
    let config = good("vhosts: { Members.example.com: {}, 'fd00::1': {}, 'odd:8080': {} }");
    for asked in [
        "Members.example.com",
        "members.example.com",
        "MEMBERS.EXAMPLE.COM.",
        "members.example.com:1935",
        "members.example.com.:8080",
    ] {
        assert_eq!(config.vhost(asked).name, "Members.example.com", "{asked}");
    }
    for asked in ["fd00::1", "[FD00::1]:8080", "[fd00::1]"] {
        assert_eq!(config.vhost(asked).name, "fd00::1", "{asked}");
    }
    assert_eq!(config.vhost("odd:8080").name, "odd:8080");
    for other in
        ["members.example.com..", "xmembers.example.com", "members.example.com:x", "fd00::2"]
    {
        assert_eq!(config.vhost(other).name, DEFAULT_VHOST, "{other}");
    }
    let twice = Config::parse("vhosts: { a.org: {}, A.ORG: {} }", "weir.yaml");
    let error = twice.expect_err("one name twice").to_string();
    assert!(error.contains("same host name"), "{error}");
}

#[test]
fn an_unknown_vhost_is_the_default_one() {
    let config = good("vhosts: { __defaultVhost__: { hls: { window: 9 } }, a.org: {} }");
    let unknown = config.vhost("c.org");
    assert_eq!((unknown.name.as_str(), unknown.hls.window), (DEFAULT_VHOST, 9));
    assert_eq!(config.vhost(DEFAULT_VHOST), unknown);
    assert_eq!(config.vhost("a.org").hls.window, 6);
    assert_eq!(Config::default().vhost("").name, DEFAULT_VHOST);
}

#[test]
fn an_error_shows_the_line_and_the_fix() {
    let text = "role: origin\n\n# viewers\n\n\n\nplay:\n  wait: 1s\n  flush: 5s # long\n";
    let shown = Config::parse(text, "conf/weir.yaml").unwrap_err().to_string();
    let expected = "\
error: conf/weir.yaml:9:10: play.flush: 5s is longer than 1s
  |
9 |   flush: 5s # long
  |          ^^
  = help: use 0ms, video, or a duration up to 1s";
    assert_eq!(shown, expected);
    let text = format!("{}api: {{\n", "\n".repeat(9));
    let expected = "\
error: weir.yaml:10:6: unclosed bracket '{'
   |
10 | api: {
   |      ^";
    assert_eq!(bad(&text).to_string(), expected);
}

/// A text; line, column and width of what is wrong in it; the message; the fix.
type Bad = (&'static str, (usize, usize, usize), &'static str, &'static str);

const KEYS: &str = "valid keys are role, rtmp, http, api, workers, publish, play, hls, upload, forward, exec, \
     transcode, record, edge, pull, ingest, children, auth, hooks, heartbeat, limits, metrics, drain, \
     handover, name, work_dir, log_file, pid_file, vhosts";

const BAD: &[Bad] = &[
    ("rol: origin\n", (1, 1, 3), "unknown key `rol`; did you mean `role`?", KEYS),
    (
        "role: edeg\n",
        (1, 7, 4),
        "role: unknown value `edeg`; did you mean `edge`?",
        "use origin, edge",
    ),
    ("role:\n", (1, 5, 1), "role: has no value", "write a value, or remove the key"),
    (
        "role: [origin]\n",
        (1, 7, 1),
        "role: expected a single value, not a list or keys",
        "write only the value, in quotes if it begins with `[` or `{`",
    ),
    (
        "publish:\n  lingr: 3s\n",
        (2, 3, 5),
        "publish: unknown key `lingr`; did you mean `linger`?",
        "valid keys are linger, idle_timeout, unwatched_timeout, conflict, fallback, multitrack, multitrack_encoder, \
         multitrack_server",
    ),
    (
        "play:\n  queue_length: 3s\n",
        (2, 3, 12),
        "play: unknown key `queue_length`; in Weir it is `play.window`",
        "write play: { window: 10s }",
    ),
    (
        "play:\nflush: video\n",
        (2, 1, 5),
        "unknown key `flush`; it is `play.flush`",
        "write play: { flush: ... }",
    ),
    (
        "http:\n  play: { wait: 1s }\n",
        (2, 3, 4),
        "http: unknown key `play`; `play` is a top-level key, not part of `http`",
        "write `play:` at the start of a line",
    ),
    (
        "play:\n  gop_cache: off\n",
        (2, 3, 9),
        "play: unknown key `gop_cache`; in Weir it is `play.gop`",
        "write play: { gop: true }",
    ),
    (
        "vhosts: { a.org: { gopCache: off } }\n",
        (1, 20, 8),
        "vhosts.a.org: unknown key `gopCache`; in Weir it is `play.gop`",
        "write play: { gop: true }",
    ),
    (
        "dvr: { enabled: on }\n",
        (1, 1, 3),
        "unknown key `dvr`; in Weir it is `record`",
        "write record: { dir: ./data/record, streams: \"*\" }",
    ),
    (
        "http: { enabled: off }\n",
        (1, 9, 7),
        "http: unknown key `enabled`; Weir has no such key",
        "to switch it off, write `listen: []`",
    ),
    (
        "play.wait: 3s\n",
        (1, 1, 9),
        "unknown key `play.wait`; it is `play.wait`",
        "write play: { wait: ... }",
    ),
    (
        "vhosts: { a.org: { play: { wiat: 0s } } }\n",
        (1, 28, 4),
        "vhosts.a.org.play: unknown key `wiat`; did you mean `wait`?",
        "valid keys are flush, wait, gop, stall_timeout, window, formats, mounts",
    ),
    (
        "play: 3\n",
        (1, 7, 1),
        "play: expected keys and values",
        "write `key: value`, one per line, indented under the section name",
    ),
    (
        "- play\n",
        (1, 1, 1),
        "expected keys and values",
        "write `key: value`, one per line, indented under the section name",
    ),
    (
        "play:\n  - wait: 3s\n",
        (2, 3, 1),
        "play: expected keys and values",
        "write `key: value`, one per line, indented under the section name",
    ),
    (
        "play: { wait: 1s }\nhls: {}\nplay: {}\n",
        (3, 1, 4),
        "play: is set twice, first on line 1",
        "keep one of them",
    ),
    (
        "vhosts: { a: {}, a: {} }\n",
        (1, 18, 1),
        "vhosts.a: is set twice, first on line 1",
        "keep one of them",
    ),
    ("play:\n  gop:\n", (2, 6, 1), "play.gop: has no value", "write a value, or remove the key"),
    (
        "play:\n  gop: maybe\n",
        (2, 8, 5),
        "play.gop: `maybe` is neither true nor false",
        "use true or false",
    ),
    (
        "play: { wait: }\n",
        (1, 13, 1),
        "play.wait: has no value",
        "write a value, or remove the key",
    ),
    (
        "play:\n  wait:\n    seconds: 3\n",
        (3, 5, 1),
        "play.wait: expected a single value, not a list or keys",
        "write only the value, in quotes if it begins with `[` or `{`",
    ),
    (
        "play: { wait: [1s] }\n",
        (1, 15, 1),
        "play.wait: expected a single value, not a list or keys",
        "write only the value, in quotes if it begins with `[` or `{`",
    ),
    (
        "play: { flush: -1ms }\n",
        (1, 16, 4),
        "play.flush: `-1ms` is not a duration",
        "use 0ms, video, or a duration up to 1s",
    ),
    (
        "play: { flush: 0.5s }\n",
        (1, 16, 4),
        "play.flush: `0.5s` is not a duration",
        "use 0ms, video, or a duration up to 1s",
    ),
    (
        "play: { flush: picture }\n",
        (1, 16, 7),
        "play.flush: `picture` is not a duration",
        "use 0ms, video, or a duration up to 1s",
    ),
    (
        "play: { window: 1h }\n",
        (1, 17, 2),
        "play.window: 1h is longer than 10m",
        "use a duration from 1s to 10m",
    ),
    (
        "play: { stall_timeout: 0s }\n",
        (1, 24, 2),
        "play.stall_timeout: 0s is shorter than 1s",
        "use a duration from 1s to 1h",
    ),
    (
        "publish: { linger: 10 }\n",
        (1, 20, 2),
        "publish.linger: `10` has no unit",
        "use a duration from 0s to 1h, such as 10s or 1m30s",
    ),
    (
        "publish: { linger: 30s1m }\n",
        (1, 20, 5),
        "publish.linger: `30s1m` is not a duration",
        "use a duration from 0s to 1h, such as 10s or 1m30s",
    ),
    (
        "publish: { linger: 99999999999999999999s }\n",
        (1, 20, 21),
        "publish.linger: 99999999999999999999s is longer than 1h",
        "use a duration from 0s to 1h",
    ),
    (
        "publish: { linger: '' }\n",
        (1, 20, 2),
        "publish.linger: `` is not a duration",
        "use a duration from 0s to 1h, such as 10s or 1m30s",
    ),
    (
        "publish: { conflict: rejct }\n",
        (1, 22, 5),
        "publish.conflict: unknown value `rejct`; did you mean `reject`?",
        "use reject, takeover, takeover_if_idle",
    ),
    (
        "publish: { conflict: { reject: 1 } }\n",
        (1, 22, 1),
        "publish.conflict: expected a single value, not a list or keys",
        "write only the value, in quotes if it begins with `[` or `{`",
    ),
    (
        "rtmp: { chunk_size: 127 }\n",
        (1, 21, 3),
        "rtmp.chunk_size: 127 is less than 128",
        "use a number from 128 to 65536",
    ),
    (
        "rtmp: { chunk_size: 65537 }\n",
        (1, 21, 5),
        "rtmp.chunk_size: 65537 is more than 65536",
        "use a number from 128 to 65536",
    ),
    (
        "rtmp: { chunk_size: 99999999999999999999999999999999999999999 }\n",
        (1, 21, 41),
        "rtmp.chunk_size: 99999999999999999999999999999999999999999 is more than 65536",
        "use a number from 128 to 65536",
    ),
    (
        "rtmp: { chunk_size: -1 }\n",
        (1, 21, 2),
        "rtmp.chunk_size: -1 is less than 128",
        "use a number from 128 to 65536",
    ),
    (
        "rtmp: { chunk_size: 1.5 }\n",
        (1, 21, 3),
        "rtmp.chunk_size: `1.5` is not a whole number",
        "use a number from 128 to 65536",
    ),
    (
        "workers: 99999999999999999999\n",
        (1, 10, 20),
        "workers: 99999999999999999999 is more than 1024",
        "use auto, or a number from 1 to 1024",
    ),
    (
        "limits: { memory: 99999999999999999999GiB }\n",
        (1, 19, 23),
        "limits.memory: `99999999999999999999GiB` is more than any machine has",
        "use a size such as 512MiB or 2GiB",
    ),
    (
        "limits: { egress: 99999999999999999999Gbps }\n",
        (1, 19, 24),
        "limits.egress: `99999999999999999999Gbps` is more than any network has",
        "use bits per second such as 800Mbps or 1.5Gbps, or 0 for no limit",
    ),
    (
        "rtmp: { listen: '0.0.0.0:70000' }\n",
        (1, 17, 15),
        "rtmp.listen: `0.0.0.0:70000`: 70000 is not a valid port",
        "use a port from 1 to 65535, or 0 for any that is free",
    ),
    (
        "rtmp: { listen: 70000 }\n",
        (1, 17, 5),
        "rtmp.listen: `70000`: 70000 is not a valid port",
        "use a port from 1 to 65535, or 0 for any that is free",
    ),
    (
        "rtmp: { listen: 1935 }\n",
        (1, 17, 4),
        "rtmp.listen: `1935` is not an IP address with a port",
        "use 0.0.0.0:1935 or \"[::]:1935\"",
    ),
    (
        "rtmp: { listen: [127.0.0.1:1935, localhost:1936] }\n",
        (1, 34, 14),
        "rtmp.listen[1]: `localhost:1936` is not an IP address with a port",
        "use 0.0.0.0:1936 or \"[::]:1936\"",
    ),
    (
        "rtmp: { listen: [[::]:1935] }\n",
        (1, 18, 1),
        "rtmp.listen[0]: expected a single value, not a list or keys",
        "write only the value, in quotes if it begins with `[` or `{`",
    ),
    (
        "rtmp:\n  listen:\n    port: 1935\n",
        (3, 5, 1),
        "rtmp.listen: expected an address or a list of addresses",
        "",
    ),
    (
        "rtmp: { listen: }\n",
        (1, 15, 1),
        "rtmp.listen: has no value",
        "write an address; [] switches the listener off, or remove the key",
    ),
    (
        "http: { listen: 0.0.0.0:1935 }\n",
        (1, 17, 12),
        "http.listen: 0.0.0.0:1935 is already used by rtmp.listen (0.0.0.0:1935)",
        "give each listener its own port",
    ),
    (
        "http: { listen: [0.0.0.0:80, 127.0.0.1:1985] }\n",
        (1, 30, 14),
        "http.listen[1]: 127.0.0.1:1985 is already used by api.listen (0.0.0.0:1985)",
        "give each listener its own port",
    ),
    (
        "http: { listen: 0.0.0.0:80 }\napi: { listen: 127.0.0.1:80 }\n",
        (2, 16, 12),
        "api.listen: 127.0.0.1:80 is already used by http.listen (0.0.0.0:80)",
        "give each listener its own port",
    ),
    (
        "http: { listen: 0.0.0.0:80 }\napi: { listen: 0.0.0.0:80, tls: { cert: a, key: b } }\n",
        (2, 33, 1),
        "api.tls: the API shares 0.0.0.0:80 with http.listen, where api.tls cannot hold for it",
        "give the API a port of its own, or remove api.tls: TLS for both is http.tls",
    ),
    (
        "http: { listen: 0.0.0.0:80, proxy_protocol: true }\napi: { listen: 0.0.0.0:80 }\n",
        (1, 45, 4),
        "http.proxy_protocol: the API shares 0.0.0.0:80 with http.listen, where http.proxy_protocol cannot hold for it",
        "give the API a port of its own",
    ),
    (
        "api: { listen: [0.0.0.0:80, 0.0.0.0:80] }\nhttp: { listen: 0.0.0.0:80 }\n",
        (1, 29, 10),
        "api.listen[1]: 0.0.0.0:80 is already used by api.listen (0.0.0.0:80)",
        "give each listener its own port",
    ),
    (
        "rtmp: { listen: 127.0.0.1:8080 }\n",
        (1, 17, 14),
        "rtmp.listen: 127.0.0.1:8080 is already used by http.listen (0.0.0.0:8080)",
        "give each listener its own port",
    ),
    (
        "api: { listen: ['[::]:1', '[::1]:1'] }\n",
        (1, 27, 9),
        "api.listen[1]: [::1]:1 is already used by api.listen ([::]:1)",
        "give each listener its own port",
    ),
    (
        "workers: 0\n",
        (1, 10, 1),
        "workers: 0 is less than 1",
        "use auto, or a number from 1 to 1024",
    ),
    (
        "hls: { window: 2 }\n",
        (1, 16, 1),
        "hls.window: 2 is less than 3",
        "use a number from 3 to 1000",
    ),
    (
        "hls: { part: 50ms }\n",
        (1, 14, 4),
        "hls.part: 50ms is shorter than 100ms",
        "use 0s for no parts, or a duration from 100ms to 1m, such as 200ms",
    ),
    (
        "hls: { container: ts, part: 200ms }\n",
        (1, 29, 5),
        "hls.part: segments of MPEG-TS (container: ts) have no parts",
        "use container: auto or fmp4, or part: 0s",
    ),
    (
        "hls: { part: 200ms }\nvhosts: { a.org: { hls: { container: ts } } }\n",
        (1, 14, 5),
        "hls.part: segments of MPEG-TS (container: ts) have no parts",
        "use container: auto or fmp4, or part: 0s",
    ),
    (
        "hls: { ladder: [a/b] }\n",
        (1, 17, 3),
        "hls.ladder[0]: has a slash: the streams of a ladder are in one app",
        "write what the names of the streams have after the common part, such as _720p",
    ),
    (
        "hls: { ladder: [a, b, c, d, e, f, g, h, i, j, k, l, m] }\n",
        (1, 16, 1),
        "hls.ladder: has 13 streams, more than 12",
        "keep 12 of them",
    ),
    (
        "hls: { part: 3s }\n",
        (1, 14, 2),
        "hls.part: 3s is longer than hls.segment (2s)",
        "use part: 200ms, or a segment at least as long as the part",
    ),
    (
        "handover: { socket: '' }\n",
        (1, 21, 2),
        "handover.socket: the path is empty",
        "write the path of a file",
    ),
    ("hls: { dir: }\n", (1, 11, 1), "hls.dir: has no value", "write a value, or remove the key"),
    (
        "limits: { memory: 1MiB }\n",
        (1, 19, 4),
        "limits.memory: 1MiB is less than 16MiB",
        "use 16MiB or more",
    ),
    (
        "limits: { memory: 64MB }\n",
        (1, 19, 4),
        "limits.memory: `64MB` is not a size",
        "use a size such as 512MiB or 2GiB",
    ),
    (
        "limits: { memory: 64 }\n",
        (1, 19, 2),
        "limits.memory: `64` has no unit",
        "use a size such as 512MiB or 2GiB",
    ),
    (
        "limits: { memory: 99999999TiB }\n",
        (1, 19, 11),
        "limits.memory: `99999999TiB` is more than any machine has",
        "use a size such as 512MiB or 2GiB",
    ),
    (
        "limits: { memory: 32MiB }\n",
        (1, 19, 5),
        "limits.memory: 32MiB is less than limits.stream_memory (64MiB)",
        "use 64MiB or more, or lower limits.stream_memory",
    ),
    (
        "limits: { stream_memory: 4GiB }\n",
        (1, 26, 4),
        "limits.stream_memory: 4GiB is more than limits.memory (2GiB)",
        "use 2GiB or less",
    ),
    (
        "limits: { memory: 1GiB, stream_memory: 4GiB }\n",
        (1, 40, 4),
        "limits.stream_memory: 4GiB is more than limits.memory (1GiB)",
        "use 1GiB or less",
    ),
    (
        "limits: { connections: -1 }\n",
        (1, 24, 2),
        "limits.connections: -1 is less than 0",
        "use a number from 0 to 10000000",
    ),
    (
        "vhosts: { a/b: {} }\n",
        (1, 11, 3),
        "vhosts.a/b: the vhost name contains the forbidden character '/'",
        "use a host name",
    ),
    (
        "vhosts:\n  ..: {}\n",
        (2, 3, 2),
        "vhosts...: the vhost name contains the forbidden component \"..\"",
        "use a host name",
    ),
    ("play: {\n", (1, 7, 1), "unclosed bracket '{'", ""),
    (
        "play:\n\tflush: video\n",
        (2, 2, 1),
        "tabs disallowed within this context (block indentation)",
        "indent with spaces, not with tabs",
    ),
    ("play: { flush: *x }\n", (1, 16, 1), "reference to unknown value", ""),
    (
        "play: {}\n---\nplay: {}\n",
        (3, 1, 1),
        "a second YAML document starts here",
        "keep one, and remove the line `---`",
    ),
    ("é: &a {}\n", (1, 1, 1), "unknown key `é`", KEYS),
    (
        "vhosts: { a: { play: &p { flush: 2s } }, b: { play: *p } }\n",
        (1, 34, 2),
        "vhosts.a.play.flush: 2s is longer than 1s",
        "use 0ms, video, or a duration up to 1s",
    ),
    (
        "vhosts: { a: { play: { wait: &p 2m } }, b: { play: { flush: *p } } }\n",
        (1, 61, 2),
        "vhosts.b.play.flush: 2m is longer than 1s",
        "use 0ms, video, or a duration up to 1s",
    ),
    (
        "play: { wait: !!int 3 }\n",
        (1, 21, 1),
        "play.wait: this YAML tag is not supported here",
        "remove the tag (`!!int`)",
    ),
    (
        "'play': { \"flush\": 9s }\n",
        (1, 20, 2),
        "play.flush: 9s is longer than 1s",
        "use 0ms, video, or a duration up to 1s",
    ),
];

#[test]
fn every_error_has_its_place_and_its_fix() {
    for (text, place, message, fix) in BAD.iter().chain(edge::BAD).chain(running::BAD) {
        let found = bad(text);
        assert_eq!((found.line, found.column, found.width), *place, "{found}");
        let shown = found.to_string();
        let (line, column, _) = place;
        let first = format!("error: weir.yaml:{line}:{column}: {message}");
        assert_eq!(shown.lines().next(), Some(first.as_str()));
        assert_eq!(found.fix, *fix, "{text}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weir.yaml");
    let shown = |path: &Path| Config::load(Some(path), NONE).unwrap_err().to_string();
    let begin = format!("error: {}: cannot be read: ", path.display());
    assert!(shown(&path).starts_with(&begin), "{}", shown(&path));
    fs::create_dir(&path).unwrap();
    assert!(shown(&path).starts_with(&begin), "{}", shown(&path));
    fs::remove_dir(&path).unwrap();
    fs::write(&path, "role: edge\n").unwrap();
    assert!(shown(&path).starts_with(&format!("error: {}:1:7: ", path.display())));
    fs::write(&path, "role: origin\n").unwrap();
    assert_eq!(Config::load(Some(&path), NONE).unwrap().0, Config::default());
}

#[test]
fn a_control_character_does_not_reach_the_terminal() {
    let texts = [
        "play: { flush: 9s } # \u{9b}2J\n",
        "play: { flush: \"\\e[2J\" }\n",
        "play: { flush: \"9s\\nuse\" }\n",
        "play: { \"\\e[2J\": 9s }\n",
        "vhosts: { \"\\e[2J\": { play: 3 } }\n",
        "edge: { origins: \"a\\nuse \\e[2J\" }\n",
        "edge: { forward_query: \"all\\e[2J\" }\n",
        "role:\torigin\t[\n",
    ];
    for text in texts {
        let shown = bad(text).to_string();
        assert!(!shown.replace('\n', "").contains(char::is_control), "{shown:?}");
    }
}

/// The keys below `section`, as the program itself names them when it sees one that it does not know; `section` alone
/// when it has a value and no keys.
fn keys_below(section: &str) -> Vec<String> {
    let (text, prefix) = match section {
        "" => ("nonesuch: 0\n".to_owned(), String::new()),
        _ => (format!("{section}: {{ nonesuch: 0 }}\n"), format!("{section}.")),
    };
    match Config::parse(&text, "").map_err(|error| error.to_string()) {
        Err(shown) if shown.contains("valid keys are ") => {
            let (_, keys) = shown.split_once("valid keys are ").unwrap();
            keys.split(", ").map(|key| format!("{prefix}{key}")).collect()
        }
        _ => vec![section.to_owned()],
    }
}

/// The keys and defaults of the guide's table: the first two cells of each line, both in backquotes.
fn guide() -> BTreeMap<&'static str, &'static str> {
    let table = GUIDE.split("\n## ").find(|part| part.starts_with("Every key\n")).unwrap();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | `"));
    let cells = cells.map(|(key, rest)| (key, rest.split_once('`').unwrap().0));
    cells.collect()
}

/// The keys and values of the example file, as written.
fn example(known: &[String]) -> BTreeMap<String, &'static str> {
    let written = |at: tree::Place| {
        let line = EXAMPLE.lines().nth(at.line - 1).unwrap();
        line[at.column - 1..].split(" #").next().unwrap().trim()
    };
    source::places(EXAMPLE)
        .all
        .into_iter()
        .filter(|place| known.contains(&place.path))
        .map(|place| (place.path, written(place.value.place)))
        .collect()
}

#[test]
fn the_example_and_the_guide_have_every_key_with_its_default() {
    assert_eq!(good(EXAMPLE), Config::default());
    let mut known: Vec<_> = keys_below("").iter().flat_map(|section| keys_below(section)).collect();
    known.sort();
    assert!(known.len() > 20, "{known:?}");

    let (example, guide) = (example(&known), guide());
    assert!(example.keys().eq(&known), "weir.example.yaml has {example:?}, not {known:?}");
    assert!(guide.keys().eq(&known), "configuration.md has {guide:?}, not {known:?}");
    assert!(example.values().eq(guide.values()), "{example:?} is not {guide:?}");
}

#[test]
fn the_examples_of_the_guides_are_configurations() {
    let examples = |guide: &'static str| {
        let blocks = guide.split("```yaml\n").skip(1);
        blocks.map(|block| block.split("```").next().unwrap())
    };
    let count = examples(GUIDE).chain(examples(EDGE_GUIDE)).map(good).count();
    assert!(count > 5, "{count} blocks of YAML in configuration.md and edge.md");
}

/// Text that looks more or less like a configuration.
const YAML_LIKE: &str = "([a-z]{0,4}[:,&*!#'\"\\[\\]{}?|>-]?[ \n\t]?\
    |play|publish|hls|rtmp|listen|vhosts){0,12}";

proptest! {
    #[test]
    fn an_error_stands_inside_the_text(text in YAML_LIKE) {
        if let Err(error) = Config::parse(&text, "weir.yaml") {
            let ConfigError::Invalid(found) = error else { panic!("{error}") };
            prop_assert!(found.line <= text.lines().count() + 1, "{found}");
            prop_assert!(found.column + found.width <= found.snippet.chars().count() + 2, "{found}");
        }
    }
}
