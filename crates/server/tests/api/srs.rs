//! Every member that SRS answers is there, with its type and in its form.

use serde_json::Value;
use weir_testkit::{
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    http,
    peer::{Encoder, Numbered, Viewer},
};

use crate::{ADMIN, READ, SOON, call, read, server, until};

/// What a member is: `s` a string, `i` a whole number, `n` a number, `b` true or false, or the members of an object.
enum Form {
    Is(char),
    Has(&'static [(&'static str, Form)]),
}

use Form::{Has, Is};

const KBPS: Form = Has(&[("recv_30s", Is('i')), ("send_30s", Is('i'))]);

const STREAM: &[(&str, Form)] = &[
    ("id", Is('s')),
    ("name", Is('s')),
    ("vhost", Is('s')),
    ("app", Is('s')),
    ("tcUrl", Is('s')),
    ("url", Is('s')),
    ("live_ms", Is('i')),
    ("clients", Is('i')),
    ("frames", Is('i')),
    ("send_bytes", Is('i')),
    ("recv_bytes", Is('i')),
    ("kbps", KBPS),
    ("publish", Has(&[("active", Is('b')), ("cid", Is('s'))])),
];

const VIDEO: &[(&str, Form)] = &[
    ("codec", Is('s')),
    ("profile", Is('s')),
    ("level", Is('s')),
    ("width", Is('i')),
    ("height", Is('i')),
];

const AUDIO: &[(&str, Form)] =
    &[("codec", Is('s')), ("sample_rate", Is('i')), ("channel", Is('i')), ("profile", Is('s'))];

const CLIENT: &[(&str, Form)] = &[
    ("id", Is('s')),
    ("vhost", Is('s')),
    ("stream", Is('s')),
    ("ip", Is('s')),
    ("pageUrl", Is('s')),
    ("swfUrl", Is('s')),
    ("tcUrl", Is('s')),
    ("url", Is('s')),
    ("name", Is('s')),
    ("type", Is('s')),
    ("publish", Is('b')),
    ("alive", Is('n')),
    ("send_bytes", Is('i')),
    ("recv_bytes", Is('i')),
    ("kbps", KBPS),
];

const VHOST: &[(&str, Form)] = &[
    ("id", Is('s')),
    ("name", Is('s')),
    ("enabled", Is('b')),
    ("clients", Is('i')),
    ("streams", Is('i')),
    ("send_bytes", Is('i')),
    ("recv_bytes", Is('i')),
    ("kbps", KBPS),
    ("hls", Has(&[("enabled", Is('b')), ("fragment", Is('n'))])),
];

const SUMMARY: &[(&str, Form)] = &[
    ("ok", Is('b')),
    ("now_ms", Is('i')),
    (
        "self",
        Has(&[
            ("version", Is('s')),
            ("pid", Is('i')),
            ("ppid", Is('i')),
            ("argv", Is('s')),
            ("cwd", Is('s')),
            ("mem_kbyte", Is('i')),
            ("mem_percent", Is('n')),
            ("cpu_percent", Is('n')),
            ("srs_uptime", Is('i')),
        ]),
    ),
    (
        "system",
        Has(&[
            ("cpu_percent", Is('n')),
            ("disk_read_KBps", Is('i')),
            ("disk_write_KBps", Is('i')),
            ("disk_busy_percent", Is('n')),
            ("mem_ram_kbyte", Is('i')),
            ("mem_ram_percent", Is('n')),
            ("mem_swap_kbyte", Is('i')),
            ("mem_swap_percent", Is('n')),
            ("cpus", Is('i')),
            ("cpus_online", Is('i')),
            ("uptime", Is('n')),
            ("ilde_time", Is('n')),
            ("load_1m", Is('n')),
            ("load_5m", Is('n')),
            ("load_15m", Is('n')),
            ("net_sample_time", Is('i')),
            ("net_recv_bytes", Is('i')),
            ("net_send_bytes", Is('i')),
            ("net_recvi_bytes", Is('i')),
            ("net_sendi_bytes", Is('i')),
            ("srs_sample_time", Is('i')),
            ("srs_recv_bytes", Is('i')),
            ("srs_send_bytes", Is('i')),
            ("conn_sys", Is('i')),
            ("conn_sys_et", Is('i')),
            ("conn_sys_tw", Is('i')),
            ("conn_sys_udp", Is('i')),
            ("conn_srs", Is('i')),
        ]),
    ),
];

/// The calls of the process and the system, and the members of their `data`.
const PROCESS: &[(&str, &[(&str, Form)])] = &[
    (
        "versions",
        &[("major", Is('i')), ("minor", Is('i')), ("revision", Is('i')), ("version", Is('s'))],
    ),
    ("summaries", SUMMARY),
    (
        "rusages",
        &[
            ("ok", Is('b')),
            ("sample_time", Is('i')),
            ("ru_utime", Is('i')),
            ("ru_stime", Is('i')),
            ("ru_maxrss", Is('i')),
            ("ru_ixrss", Is('i')),
            ("ru_idrss", Is('i')),
            ("ru_isrss", Is('i')),
            ("ru_minflt", Is('i')),
            ("ru_majflt", Is('i')),
            ("ru_nswap", Is('i')),
            ("ru_inblock", Is('i')),
            ("ru_oublock", Is('i')),
            ("ru_msgsnd", Is('i')),
            ("ru_msgrcv", Is('i')),
            ("ru_nsignals", Is('i')),
            ("ru_nvcsw", Is('i')),
            ("ru_nivcsw", Is('i')),
        ],
    ),
    (
        "self_proc_stats",
        &[
            ("ok", Is('b')),
            ("sample_time", Is('i')),
            ("percent", Is('n')),
            ("pid", Is('i')),
            ("comm", Is('s')),
            ("state", Is('s')),
            ("ppid", Is('i')),
            ("utime", Is('i')),
            ("num_threads", Is('i')),
            ("vsize", Is('i')),
            ("rss", Is('i')),
            ("cguest_time", Is('i')),
        ],
    ),
    (
        "system_proc_stats",
        &[
            ("ok", Is('b')),
            ("sample_time", Is('i')),
            ("percent", Is('n')),
            ("user", Is('i')),
            ("nice", Is('i')),
            ("sys", Is('i')),
            ("idle", Is('i')),
            ("iowait", Is('i')),
            ("irq", Is('i')),
            ("softirq", Is('i')),
            ("steal", Is('i')),
            ("guest", Is('i')),
        ],
    ),
    (
        "meminfos",
        &[
            ("ok", Is('b')),
            ("sample_time", Is('i')),
            ("percent_ram", Is('n')),
            ("percent_swap", Is('n')),
            ("MemActive", Is('i')),
            ("RealInUse", Is('i')),
            ("NotInUse", Is('i')),
            ("MemTotal", Is('i')),
            ("MemFree", Is('i')),
            ("Buffers", Is('i')),
            ("Cached", Is('i')),
            ("SwapTotal", Is('i')),
            ("SwapFree", Is('i')),
        ],
    ),
    ("authors", &[("license", Is('s')), ("contributors", Is('s'))]),
    (
        "features",
        &[
            ("options", Is('s')),
            ("options2", Is('s')),
            ("build", Is('s')),
            ("build2", Is('s')),
            (
                "features",
                Has(&[
                    ("ssl", Is('b')),
                    ("hls", Is('b')),
                    ("hds", Is('b')),
                    ("callback", Is('b')),
                    ("api", Is('b')),
                    ("httpd", Is('b')),
                    ("dvr", Is('b')),
                    ("transcode", Is('b')),
                    ("ingest", Is('b')),
                    ("stat", Is('b')),
                    ("caster", Is('b')),
                    ("complex_send", Is('b')),
                    ("tcp_nodelay", Is('b')),
                    ("so_sendbuf", Is('b')),
                    ("mr", Is('b')),
                ]),
            ),
        ],
    ),
    ("requests", ECHO),
    ("tests/requests", ECHO),
    ("perf", &[("query", Has(&[("target", Is('s')), ("reset", Is('s'))]))]),
    (
        "tcmalloc?page=detail",
        &[
            ("query", Has(&[("page", Is('s')), ("help", Is('s'))])),
            ("release_rate", Is('n')),
            ("generic", Has(&[("current_allocated_bytes", Is('i')), ("heap_size", Is('i'))])),
            ("tcmalloc", Has(&[("pageheap_free_bytes", Is('i')), ("slack_bytes", Is('i'))])),
        ],
    ),
    (
        "clusters?vhost=v&app=live&stream=none",
        &[(
            "query",
            Has(&[("ip", Is('s')), ("vhost", Is('s')), ("app", Is('s')), ("stream", Is('s'))]),
        )],
    ),
];

const ECHO: &[(&str, Form)] = &[
    ("uri", Is('s')),
    ("path", Is('s')),
    ("METHOD", Is('s')),
    (
        "headers",
        Has(&[("sigature", Is('s')), ("version", Is('s')), ("link", Is('s')), ("time", Is('i'))]),
    ),
];

#[track_caller]
fn assert_form(value: &Value, form: &[(&str, Form)]) {
    for (name, form) in form {
        let member = &value[name];
        match form {
            Is('s') => assert!(member.is_string(), "{name} of {value:#}"),
            Is('i') => assert!(member.is_i64() || member.is_u64(), "{name} of {value:#}"),
            Is('n') => assert!(member.is_number(), "{name} of {value:#}"),
            Is(_) => assert!(member.is_boolean(), "{name} of {value:#}"),
            Has(inner) => assert_form(member, inner),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_about_the_process_have_srs_members() {
    let weir = server().start();
    for (path, form) in PROCESS {
        let answer = read(&weir, path).await;
        assert_form(&answer["data"], form);
    }
    let index = read(&weir, "").await;
    for (path, _) in PROCESS.iter().filter(|(path, _)| !path.contains(['/', '?'])) {
        assert!(index["urls"][path].is_string(), "{path}: {index:#}");
    }
    let root = call(weir.api(), "GET", "api/", READ).await.json();
    assert!(root["urls"]["v1"].is_string(), "{root}");
    let stat = read(&weir, "self_proc_stats").await;
    assert_eq!(stat["data"]["pid"].as_u64(), Some(u64::from(weir.pid())));
    assert_eq!(stat["data"]["startstack"], 0, "no addresses: {stat}");
    let errors = call(weir.api(), "GET", "api/v1/tests/errors", READ).await;
    assert_eq!((errors.status, &*errors.text), (200, "{\"code\":100}"));
    let moved = call(weir.api(), "GET", "api/v1/tests/redirects", READ).await;
    assert_eq!((moved.status, moved.header("location")), (301, Some("/api/v1/tests/errors")));
}

/// What SRS says of the pictures and of the sound of each.
const SAID: [(Fixture, [&str; 2], [&str; 2]); 5] = [
    (Fixture::AvcAac, ["H264", "High"], ["AAC", "LC"]),
    (Fixture::HevcAac, ["HEVC", "Main"], ["AAC", "LC"]),
    (Fixture::AvcMp3, ["H264", "High"], ["MP3", "Other"]),
    (Fixture::AudioOnly, ["", ""], ["AAC", "LC"]),
    (Fixture::VideoOnly, ["H264", "High"], ["", ""]),
];

#[tokio::test(flavor = "multi_thread")]
async fn streams_have_srs_members_and_values() {
    let weir = server().config("hls: { enabled: true, segment: 1s }\n").start();
    let path = |number: usize| format!("live/s{number}");
    let publishers: Vec<_> = SAID
        .iter()
        .enumerate()
        .map(|(number, (fixture, ..))| {
            let url = weir.rtmp_url(&path(number));
            fixture.ffmpeg().publish_with(&["-stream_loop", "-1"], &fixture.file(), &url)
        })
        .collect();
    let is_known = |answer: &Value| {
        let streams = answer["streams"].as_array().expect("a list");
        streams.len() == SAID.len()
            && streams.iter().zip(&SAID).all(|(stream, (fixture, ..))| {
                stream["video"].is_object() == fixture.has_video()
                    && stream["audio"].is_object() == fixture.has_audio()
            })
    };
    let answer = until(&weir, "streams", is_known).await;
    for (stream, (_, video, audio)) in
        answer["streams"].as_array().expect("a list").iter().zip(SAID)
    {
        assert_form(stream, STREAM);
        for (member, form, [codec, profile]) in [("video", VIDEO, video), ("audio", AUDIO, audio)] {
            let value = &stream[member];
            if codec.is_empty() {
                assert!(value.is_null(), "{stream:#}");
                continue;
            }
            assert_form(value, form);
            assert_eq!((&value["codec"], &value["profile"]), (&codec.into(), &profile.into()));
        }
        if stream["video"].is_object() {
            assert!(stream["video"]["width"].as_u64() > Some(0), "{stream:#}");
            let level = stream["video"]["level"].as_str().expect("a level");
            assert!(level.parse::<f64>().is_ok_and(|level| level > 0.9), "{stream:#}");
        }
    }
    let vhosts = read(&weir, "vhosts/").await;
    assert_form(&vhosts["vhosts"][0], VHOST);
    drop(publishers);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_have_srs_members_and_values() {
    let weir = server().config("hls: { enabled: true, segment: 1s }\n").start();
    let url = weir.rtmp_url("live/a");
    let _encoder = Encoder::start(&url, Numbered::new(25), crate::fields::FRAME).await;
    let _rtmp = Viewer::rtmp(&url).await;
    let _flv = Viewer::http_flv(weir.http(), "live/a.flv?x=1").await;
    eventually("a playlist", SOON, async || {
        (http::get(weir.http(), "live/a.m3u8").await.status == 200).then_some(())
    })
    .await;
    let answer = until(&weir, "clients", |answer| answer["total"] == 4).await;
    let clients = answer["clients"].as_array().expect("a list");
    for client in clients {
        assert_form(client, CLIENT);
        assert_eq!(client["url"], "/live/a", "{client:#}");
    }
    let of = |member: &str| {
        let of = |client: &Value| client[member].as_str().unwrap_or_default().to_owned();
        clients.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(of("type"), ["fmle-publish", "rtmp-play", "flv-play", "hls-play"]);
    assert_eq!(of("name"), ["a", "a", "a.flv", "a"]);
    assert_eq!(of("format"), ["rtmp", "rtmp", "http-flv", "hls"]);
    let host = weir.http().ip();
    assert_eq!(of("tcUrl")[2], format!("http://{host}/live"));

    // What origins of SRS ask each other.
    let path = "clusters?vhost=any.example&app=live&stream=a&coworker=origin-0.socs:1985";
    let origin = read(&weir, path).await["data"]["origin"].clone();
    assert!(origin["port"].is_u64() && origin["routers"].is_array(), "{origin}");
    assert_eq!(
        (&origin["ip"], &origin["vhost"]),
        (&"origin-0.socs".into(), &"__defaultVhost__".into()),
        "{origin}"
    );
    let none = read(&weir, "clusters?vhost=&app=live&stream=b").await;
    assert!(none["data"]["origin"].is_null(), "{none}");
    assert_eq!(call(weir.api(), "GET", "api/v1/clusters?app=..&stream=", ADMIN).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_are_told_the_version_of_the_server() {
    let weir = server().start();
    let _published = Ffmpeg::System.publish_with(
        &["-stream_loop", "-1"],
        &Fixture::AvcAac.file(),
        &weir.rtmp_url("live/a"),
    );
    until(&weir, "streams", |answer| answer["streams"][0]["video"].is_object()).await;
    for url in [weir.rtmp_url("live/a"), weir.http_url("live/a.flv")] {
        let said = tokio::task::spawn_blocking(move || {
            let said = Ffmpeg::System
                .command()
                .args(["-v", "info", "-t", "1", "-i", &url, "-f", "null", "-"])
                .output();
            String::from_utf8_lossy(&said.expect("ffmpeg runs").stderr).into_owned()
        });
        let said = said.await.expect("no panic");
        let version = said.lines().find(|line| line.trim().starts_with("server_version"));
        let version = version.and_then(|line| line.split_once(": "));
        assert_eq!(version.map(|(_, it)| it.trim()), Some(env!("CARGO_PKG_VERSION")), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_for_metrics_has_nothing_else() {
    let weir = server().config("metrics: { listen: '127.0.0.1:0', tag: t }\n").start();
    let metrics = weir.listens("metrics");
    let page = call(metrics, "GET", "metrics", READ).await;
    assert_eq!(page.status, 200, "{page:?}");
    let identity = read(&weir, "versions").await;
    let build = page.text.lines().find(|line| line.starts_with("srs_build_info{")).expect("a line");
    for (label, value) in [
        ("server", identity["server"].as_str()),
        ("service", identity["service"].as_str()),
        ("pid", identity["pid"].as_str()),
        ("tag", Some("t")),
    ] {
        let said = format!("{label}=\"{}\"", value.expect("a text"));
        assert!(build.contains(&said), "{said}: {build}");
    }
    for label in ["build_date", "major", "version", "code"] {
        assert!(build.contains(&format!(",{label}=\"")), "{build}");
    }
    for name in [
        "srs_node_uname_info{",
        "srs_cpu_percent ",
        "srs_memory ",
        "srs_send_bytes_total ",
        "srs_receive_bytes_total ",
        "srs_streams ",
        "srs_clients ",
        "srs_clients_total ",
        "srs_clients_errs_total ",
    ] {
        assert!(page.text.lines().any(|line| line.starts_with(name)), "{name}");
    }
    assert_eq!(call(metrics, "GET", "metrics", "").await.status, 401, "as on the other port");
    assert_eq!(call(metrics, "GET", "healthz", "").await.status, 200);
    for path in ["api/v1/versions", "api/v1/streams", "api/v1/openapi.json"] {
        assert_eq!(call(metrics, "GET", path, ADMIN).await.status, 404, "{path}");
    }
    assert_eq!(call(metrics, "POST", "api/v1/drain", ADMIN).await.status, 404);
}
