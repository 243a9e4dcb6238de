//! The samples that SRS has in its folder `conf`, by what they are for: a file of the same shape is given to the
//! program, and FFmpeg does that. The names are those of SRS's files; files of ours are in the texts.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::task::spawn_blocking;
use weir_testkit::{
    Weir,
    backend::{Backend, Reply},
    certificates::{Authority, put},
    cluster::Ports,
    eventually,
    ffmpeg::Ffmpeg,
    fixture::Fixture,
    hls::Playlist,
    http,
    packets::{Extent, Form, Kind, Media, Recording, continuation, read},
    peer::{Encoder, Numbered, Viewer},
    process::Process,
    server::field,
    tls_front::TlsFront,
};

use crate::{BINARY, PICTURE, SOON, file, find};

/// For eight seconds of stream, and a linger, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Times are milliseconds in FLV; sound in MPEG-TS and in files of its own has those of its sampling rate.
const TOLERANCE: Duration = Duration::from_millis(2);

/// What is at the top of nearly all of them.
const TOP: &str = "listen 1935; max_connections 1000; daemon off; srs_log_tank console;\n";
const API: &str = "http_api { enabled on; listen 1985; }\n";
const HTTP: &str = "http_server { enabled on; listen 8080; dir ./objs/nginx/html; }\n";
const RTC: &str = "rtc_server { enabled on; listen 8000; candidate $CANDIDATE; }\n";
const SRT: &str = "srt_server { enabled on; listen 10080; }\n";

/// A kind of samples: publish, and play what comes of it.
struct Case {
    /// SRS's names of the files.
    samples: &'static str,
    /// What is said outside of the vhost, and in it.
    parts: (&'static [&'static str], &'static str),
    fixture: Fixture,
    /// What is played: `rtmp`, or the extension of a URL.
    plays: &'static [&'static str],
    /// What is different in Weir.
    told: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        samples: "srs docker console http.api.dedicated force.daemon vm",
        parts: (
            &[API, HTTP, RTC, "stats { network 0; }\n"],
            "hls { enabled on; } http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }
             rtc { enabled on; rtmp_to_rtc on; rtc_to_rtmp on; } play { gop_cache_max_frames 2500; }",
        ),
        fixture: Fixture::AvcBFramesAac,
        plays: &["rtmp", "flv", "m3u8"],
        told: &["rtc_server"],
    },
    Case {
        samples: "live openwrt http.flv.live origin",
        parts: (&[API, HTTP], "http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }"),
        fixture: Fixture::AvcAac,
        plays: &["rtmp", "flv"],
        told: &[],
    },
    Case {
        samples: "rtmp demo.19350 forward.slave",
        parts: (&[], "play { gop_cache on; } enabled on;"),
        fixture: Fixture::AvcBFramesAac,
        plays: &["rtmp"],
        told: &[],
    },
    Case {
        samples: "realtime realtime.flv",
        parts: (
            &[HTTP],
            "http_remux { enabled on; mount [vhost]/[app]/[stream].flv; } tcp_nodelay on; min_latency on;
             play { gop_cache off; queue_length 10; mw_latency 100; } publish { mr off; }",
        ),
        fixture: Fixture::AvcAac,
        plays: &["rtmp", "flv"],
        told: &[],
    },
    Case {
        samples: "hls http.hls hls.realtime hls.origin origin.hls.only1 origin.hls.only2",
        parts: (
            &[HTTP],
            "hls { enabled on; hls_fragment 2; hls_window 60; hls_path ./objs/nginx/html; hls_ctx off; hls_ts_ctx off;
                   hls_m3u8_file [app]/[stream].m3u8; hls_ts_file [app]/[stream]-[seq].ts; }",
        ),
        fixture: Fixture::AvcBFramesAac,
        plays: &["rtmp", "m3u8"],
        told: &[],
    },
    Case {
        samples: "http.ts.live",
        parts: (&[HTTP], "http_remux { enabled on; mount [vhost]/[app]/[stream].ts; }"),
        fixture: Fixture::AvcBFramesAac,
        plays: &["ts"],
        told: &[],
    },
    Case {
        samples: "mp3.ts",
        parts: (&[HTTP], "http_remux { enabled on; mount [vhost]/[app]/[stream].ts; }"),
        fixture: Fixture::AvcMp3,
        plays: &["ts"],
        told: &[],
    },
    Case {
        samples: "http.mp3.live mp3.http",
        parts: (&[HTTP], "http_remux { enabled on; fast_cache 30; mount [vhost]/[app]/[stream].mp3; }"),
        fixture: Fixture::AvcMp3,
        plays: &["mp3"],
        told: &["vhost.http_remux.fast_cache"],
    },
    Case {
        samples: "mp3",
        parts: (
            &[HTTP],
            "http_remux { enabled on; mount [vhost]/[app]/[stream].flv; } hls { enabled on; hls_acodec mp3; }",
        ),
        fixture: Fixture::AvcMp3,
        plays: &["flv", "m3u8"],
        told: &[],
    },
    Case {
        samples: "http.aac.live",
        parts: (&[HTTP], "http_remux { enabled on; fast_cache 30; mount [vhost]/[app]/[stream].aac; }"),
        fixture: Fixture::AvcAac,
        plays: &["aac"],
        told: &["vhost.http_remux.fast_cache"],
    },
    Case {
        samples: "hevc.flv",
        parts: (
            &[SRT, API, HTTP],
            "srt { enabled on; srt_to_rtmp on; } http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }",
        ),
        fixture: Fixture::HevcAac,
        plays: &["rtmp", "flv"],
        told: &["srt_server"],
    },
    Case {
        samples: "hevc.ts",
        parts: (
            &[SRT, API, HTTP],
            "srt { enabled on; srt_to_rtmp on; } http_remux { enabled on; mount [vhost]/[app]/[stream].ts; }",
        ),
        fixture: Fixture::HevcAac,
        plays: &["ts"],
        told: &["srt_server"],
    },
];

fn conf((outside, vhost): (&[&str], &str)) -> String {
    format!("{TOP}{}vhost __defaultVhost__ {{\n{vhost}\n}}\n", outside.concat())
}

/// The directives that the log has warned of.
fn told(weir: &Weir) -> Vec<String> {
    let lines = weir.log().all().into_iter();
    let lines = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok());
    let mut all: Vec<_> =
        lines.filter_map(|line| field(&line, "directive").as_str().map(str::to_owned)).collect();
    all.sort();
    all.dedup();
    all
}

/// What a player of this URL has got of `fixture`, against what was published.
fn compare(fixture: Fixture, url: &str, played: &Media) -> Result<(), String> {
    let form = Form::Elementary(fixture);
    let mut source = read(Ffmpeg::Nine, &fixture.file().display().to_string(), form, TIMEOUT);
    if url.ends_with(".mp3") || url.ends_with(".aac") {
        source.streams.retain(|stream| stream.kind == Kind::Audio);
    }
    continuation(&source, played, Extent::ToEnd, TOLERANCE).map_err(|why| format!("{url}: {why}"))
}

/// Publishes `fixture` to `publish`, and has all of `urls` played from the beginning on; what is wrong. Blocks.
fn play_all(fixture: Fixture, publish: &str, urls: &[String]) -> Vec<String> {
    let form = Form::Elementary(fixture);
    let recordings: Vec<_> =
        urls.iter().map(|url| Recording::start(Ffmpeg::Nine, url, form)).collect();
    Ffmpeg::Nine.publish(&fixture.file(), publish).wait_success(TIMEOUT);
    let played = recordings.into_iter().map(|recording| recording.finish(TIMEOUT));
    let played = urls.iter().zip(played);
    played.filter_map(|(url, played)| compare(fixture, url, &played).err()).collect()
}

/// The whole of a stream over HLS, once it has ended.
async fn hls(weir: &Weir, fixture: Fixture, path: &str) -> Result<(), String> {
    eventually(&format!("the end of {path}"), TIMEOUT, async || {
        let mut answer = http::get(weir.http(), path).await;
        let text = answer.text().await;
        (answer.status == 200 && Playlist::parse(&text).ended).then_some(())
    })
    .await;
    let url = weir.http_url(path);
    let compared = spawn_blocking(move || {
        let played = read(Ffmpeg::Nine, &url, Form::Elementary(fixture), TIMEOUT);
        compare(fixture, &url, &played)
    });
    compared.await.expect("FFmpeg plays")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_played() {
    let cases = CASES.iter().map(async |case| {
        let weir = Weir::builder(BINARY).exactly(&conf(case.parts)).start();
        assert_eq!(told(&weir), case.told, "{}", case.samples);
        let live = case.plays.iter().filter(|play| **play != "m3u8");
        let urls = live.map(|play| match *play {
            "rtmp" => weir.rtmp_url("live/livestream"),
            play => weir.http_url(&format!("live/livestream.{play}")),
        });
        let (fixture, urls) = (case.fixture, urls.collect::<Vec<_>>());
        let publish = weir.rtmp_url("live/livestream");
        let played = spawn_blocking(move || play_all(fixture, &publish, &urls));
        let mut wrong = played.await.expect("FFmpeg publishes and plays");
        if case.plays.contains(&"m3u8") {
            let path = "live/livestream.m3u8";
            wrong.extend(hls(&weir, fixture, path).await.err());
            let files = weir.dir().join("objs/nginx/html");
            assert!(find(&files, "livestream.m3u8").is_some(), "{}: a file", case.samples);
        }
        (case.samples, wrong)
    });
    let played = join_all(cases).await;
    let wrong: Vec<_> = played.into_iter().filter(|(_, wrong)| !wrong.is_empty()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// `https.flv.live https.hls https.srs https.docker`
#[tokio::test(flavor = "multi_thread")]
async fn https_has_what_http_has() {
    let (ports, folder) = (Ports::free(), tempfile::tempdir().expect("a folder"));
    let authority = Authority::new("ours");
    authority.certify(folder.path(), "server", &["127.0.0.1"]);
    let ca = put(folder.path(), "ca", &authority.pem());
    let [crt, key] = ["server.pem", "server.key"].map(|file| folder.path().join(file));
    let https = format!(
        "http_server {{ enabled on; https {{ enabled on; listen 127.0.0.1:{}; key {}; cert {}; }} }}\n",
        ports.http,
        key.display(),
        crt.display()
    );
    let vhost = "hls { enabled on; hls_fragment 2; } http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }";
    let weir = Weir::builder(BINARY).exactly(&conf((&[&https], vhost))).start();
    let base = format!("https://{}/live/livestream", weir.listens("https"));
    let (publish, fixture) = (weir.rtmp_url("live/livestream"), Fixture::AvcBFramesAac);
    let (flv, trusted) = (format!("{base}.flv"), ca.clone());
    let played = spawn_blocking(move || {
        let form = Form::Elementary(fixture);
        let recording = Recording::start_trusting(Ffmpeg::Nine, &flv, form, &trusted);
        Ffmpeg::Nine.publish(&fixture.file(), &publish).wait_success(TIMEOUT);
        compare(fixture, &flv, &recording.finish(TIMEOUT))
    });
    played.await.expect("FFmpeg plays").expect("HTTP-FLV over TLS");
    hls(&weir, fixture, "live/livestream.m3u8").await.expect("HLS");
    let url = format!("{base}.m3u8");
    let compared = spawn_blocking(move || {
        let form = Form::Elementary(fixture);
        let recording = Recording::start_trusting(Ffmpeg::Nine, &url, form, &ca);
        compare(fixture, &url, &recording.finish(TIMEOUT))
    });
    compared.await.expect("FFmpeg plays").expect("HLS over TLS");
}

/// `dvr.session dvr.mp4 dvr.segment dvr.path`
#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_recorded() {
    let cases = [
        ("dvr_path ./objs/nginx/html/[app]/[stream].[timestamp].flv; dvr_plan session;", "flv", 1),
        ("dvr_path ./objs/nginx/html/[app]/[stream].[timestamp].mp4; dvr_plan session;", "mp4", 1),
        (
            "dvr_path ./objs/nginx/html/[app]/[stream].[timestamp].flv; dvr_plan segment; dvr_duration 3;
             dvr_wait_keyframe on;",
            "flv",
            3,
        ),
        (
            "dvr_path ./objs/nginx/html/[app]/[stream]/[2006]/[01]/[02]/[15].[04].[05].[999].flv; dvr_plan segment;
             dvr_duration 3; dvr_wait_keyframe on;",
            "flv",
            3,
        ),
    ];
    let recorded = cases.map(async |(directives, extension, count)| {
        let vhost = format!("dvr {{ enabled on; {directives} }}");
        let weir = Weir::builder(BINARY).exactly(&conf((&[], &vhost))).start();
        let fixture = Fixture::AvcBFramesAac;
        let publish = weir.rtmp_url("live/livestream");
        let wrong = spawn_blocking(move || play_all(fixture, &publish, &[]));
        assert_eq!(wrong.await.expect("FFmpeg publishes"), [""; 0]);
        let folder = weir.dir().join("objs/nginx/html/live");
        let files: Vec<PathBuf> = eventually("the files", TIMEOUT, async || {
            let mut files = Vec::new();
            below(&folder, extension, &mut files);
            (files.len() == count).then_some(files)
        })
        .await;
        let form = Form::Elementary(fixture);
        let compared = spawn_blocking(move || {
            let source = read(Ffmpeg::Nine, &fixture.file().display().to_string(), form, TIMEOUT);
            for (at, file) in files.iter().enumerate() {
                let name = file.display().to_string();
                let played = read(Ffmpeg::Nine, &name, form, TIMEOUT);
                let is_last = at + 1 == files.len();
                let extent = if is_last { Extent::ToEnd } else { Extent::Run };
                continuation(&source, &played, extent, TOLERANCE)
                    .unwrap_or_else(|why| panic!("{name}: {why}"));
            }
        });
        compared.await.expect("what was published is in the files");
    });
    join_all(recorded).await;
}

/// The files of this kind below a folder, in the order of their names.
fn below(folder: &std::path::Path, extension: &str, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        match path.extension() {
            _ if path.is_dir() => below(&path, extension, files),
            Some(its) if its == extension => files.push(path),
            _ => {}
        }
    }
}

/// `edge edge2 go-oryx-edge go-oryx-edge2 http.flv.live.edge1 http.flv.live.edge2 origin.cluster.edge
/// origin.cluster.serverA origin.cluster.serverB origin.cluster.serverC`
#[tokio::test(flavor = "multi_thread")]
async fn edges_have_what_their_origins_have() {
    let http = "http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }";
    let cluster =
        "cluster { mode local; origin_cluster on; coworkers 127.0.0.1:9091 127.0.0.1:9092; }";
    let origins = [(); 2].map(|()| {
        let text = conf((&[API, HTTP], &format!("{http} {cluster}")));
        Weir::builder(BINARY).exactly(&text).start()
    });
    let edge = |token_traverse: &str| {
        let vhost = format!(
            "{http} cluster {{ mode remote; origin {} {}; {token_traverse} }}",
            origins[0].rtmp(),
            origins[1].rtmp()
        );
        Weir::builder(BINARY).exactly(&conf((&[HTTP], &vhost))).start()
    };
    let [first, second] = [edge(""), edge("token_traverse off;")];
    // One stream is published to each origin, and one to an edge; all edges have all of them.
    let mut published = Vec::new();
    for (at, server) in [&origins[0], &origins[1], &first].into_iter().enumerate() {
        let url = server.rtmp_url(&format!("live/s{at}"));
        published.push(Encoder::start(&url, Numbered::new(12), PICTURE).await);
    }
    for edge in [&first, &second] {
        for (at, encoder) in published.iter().enumerate() {
            let stream = format!("live/s{at}");
            let mut rtmp = Viewer::rtmp(&edge.rtmp_url(&stream)).await;
            rtmp.until_picture(encoder.next_number() + 5).await;
            let mut flv = Viewer::http_flv(edge.http(), &format!("{stream}.flv")).await;
            flv.until_picture(encoder.next_number() + 5).await;
        }
    }
    published.iter().for_each(Encoder::assert_connected);
    let (publish, fixture) = (origins[1].rtmp_url("live/livestream"), Fixture::AvcBFramesAac);
    let urls = [&first, &second]
        .map(|edge| [edge.rtmp_url("live/livestream"), edge.http_url("live/livestream.flv")]);
    let wrong = spawn_blocking(move || play_all(fixture, &publish, &urls.concat()));
    assert_eq!(wrong.await.expect("FFmpeg publishes and plays"), [""; 0]);
}

/// `edge.token.traverse`
#[tokio::test(flavor = "multi_thread")]
async fn an_edge_has_its_origin_decide_about_viewers() {
    let backend = Backend::start().await;
    backend.answers(|call| {
        let is_right =
            call.said("action") != "on_play" || call.said("param").contains("token=right");
        Reply::Text(200, if is_right { "0" } else { "1" }.to_owned())
    });
    let hooks = format!("http_hooks {{ enabled on; on_play {}; }}", backend.url());
    let origin = Weir::builder(BINARY).exactly(&conf((&[], &hooks))).start();
    let cluster =
        format!("cluster {{ mode remote; origin {}; token_traverse on; }}", origin.rtmp());
    let edge = Weir::builder(BINARY).exactly(&conf((&[], &cluster))).start();
    let (publish, fixture) = (origin.rtmp_url("live/livestream"), Fixture::AvcAac);
    let urls = [edge.rtmp_url("live/livestream?token=right")];
    let playing = spawn_blocking(move || play_all(fixture, &publish, &urls));
    eventually("who shows it plays", SOON, async || {
        (edge.sessions("play", "/live/livestream").open() == 1).then_some(())
    })
    .await;
    let wrong = Viewer::try_rtmp(&edge.rtmp_url("live/livestream?token=wrong")).await;
    assert!(wrong.is_err(), "who shows another one does not");
    assert_eq!(playing.await.expect("FFmpeg publishes and plays"), [""; 0]);
}

/// `forward.backend forward.master http.hooks.callback demo`
#[tokio::test(flavor = "multi_thread")]
async fn back_ends_hear_of_clients_and_say_where_streams_go() {
    let target = Weir::builder(BINARY).exactly(&conf((&[], ""))).start();
    let backend = Backend::start().await;
    let url = format!("rtmp://{}/live/elsewhere", target.rtmp());
    backend.answers(move |call| {
        let is_forward = call.said("action") == "on_forward";
        let urls = format!("{{\"code\":0,\"data\":{{\"urls\":[\"{url}\"]}}}}");
        Reply::Text(200, if is_forward { urls } else { "0".to_owned() })
    });
    let hook = backend.url();
    let vhost = format!(
        "forward {{ enabled on; backend {hook}; }}
         http_hooks {{ enabled on; on_publish {hook}; on_unpublish {hook}; on_play {hook}; on_stop {hook}; }}"
    );
    let weir = Weir::builder(BINARY).exactly(&conf((&[], &vhost))).start();
    let published = Encoder::start(&weir.rtmp_url("live/a"), Numbered::new(12), PICTURE).await;
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    viewer.until_picture(published.next_number() + 5).await;
    let mut elsewhere = Viewer::rtmp(&target.rtmp_url("live/elsewhere")).await;
    elsewhere.until_picture(published.next_number() + 5).await;
    drop((viewer, published));
    for action in ["on_publish", "on_forward", "on_play", "on_stop", "on_unpublish"] {
        eventually(action, SOON, async || (backend.of(action).len() == 1).then_some(())).await;
    }
    let slave = Weir::builder(BINARY).exactly(&conf((&[], ""))).start();
    let forward = format!("forward {{ enabled on; destination {}; }}", slave.rtmp());
    let master = Weir::builder(BINARY).exactly(&conf((&[], &forward))).start();
    let (publish, fixture) = (master.rtmp_url("live/livestream"), Fixture::AvcBFramesAac);
    let urls = [master.rtmp_url("live/livestream"), slave.rtmp_url("live/livestream")];
    let wrong = spawn_blocking(move || play_all(fixture, &publish, &urls));
    assert_eq!(wrong.await.expect("FFmpeg publishes and plays"), [""; 0]);
}

/// `http.heartbeat origin1-for-proxy origin2-for-proxy origin3-for-proxy`
#[tokio::test(flavor = "multi_thread")]
async fn back_ends_hear_that_a_server_is_there() {
    let backend = Backend::start().await;
    let url = format!("http://{}/api/v1/servers?key=s3cret", backend.address());
    let beat = |more: &str| {
        format!(
            "heartbeat {{ enabled on; interval 1; url {url}; device_id \"my-srs-device\"; {more} }}\n"
        )
    };
    let stats = "stats { network 0; disk sda sdb xvda xvdb; }\n";
    let with_summaries = conf((&[&beat("summaries on;"), stats], ""));
    let weir = Weir::builder(BINARY).exactly(&with_summaries).start();
    let calls = calls(&backend, 2).await;
    let pid = weir.pid().to_string();
    for call in &calls {
        let names: Vec<_> = call.body.as_object().into_iter().flatten().map(|it| it.0).collect();
        assert_eq!(names, ["device_id", "ip", "pid", "server", "service", "summaries"]);
        assert_eq!(call.target, "/api/v1/servers?key=s3cret");
        assert_eq!(call.field("content-type"), "application/json");
        assert_eq!((call.said("device_id"), call.said("pid")), ("my-srs-device", &*pid));
        assert!(["ip", "server", "service"].iter().all(|name| !call.said(name).is_empty()));
        let data = &call.body["summaries"]["data"];
        assert_eq!((&data["ok"], data["self"]["pid"].as_u64()), (&true.into(), pid.parse().ok()));
        assert!(data["system"]["cpus"].is_u64() && data["now_ms"].is_u64(), "{}", call.text);
    }
    // A back end that fails is told of once, and hears all the same.
    backend.replies(Reply::Text(500, String::new()));
    let says = |what: &'static str| {
        move |line: &serde_json::Value| {
            line["message"].as_str().is_some_and(|it| it.starts_with(what))
        }
    };
    weir.wait_log(says("the heartbeat is not heard"), SOON);
    self::calls(&backend, backend.calls().len() + 2).await;
    backend.replies(Reply::Text(200, "{}".to_owned()));
    weir.wait_log(says("the heartbeat is heard again"), SOON);
    let lines = weir.log().all();
    let failures = lines.iter().filter(|line| line.contains("the heartbeat is not heard"));
    assert_eq!(failures.count(), 1, "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("s3cret")), "{lines:#?}");
    assert_eq!(told(&weir), [""; 0]);
    drop(weir);

    // What the proxy of SRS 7 knows its origins by.
    let vhost = "http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }
        hls { enabled on; hls_path ./objs/nginx/html; hls_fragment 10; hls_window 60; }
        rtc { enabled on; rtmp_to_rtc on; rtc_to_rtmp on; } srt { enabled on; srt_to_rtmp on; }";
    let origin = conf((&[HTTP, API, RTC, SRT, &beat("ports on;")], vhost));
    let before = backend.calls().len();
    let weir = Weir::builder(BINARY).exactly(&origin).start();
    let calls = self::calls(&backend, before + 1).await;
    let call = calls.last().expect("one at least");
    let names: Vec<_> = call.body.as_object().into_iter().flatten().map(|it| it.0).collect();
    assert_eq!(names, ["api", "device_id", "http", "ip", "pid", "rtmp", "server", "service"]);
    for (name, address) in [("rtmp", weir.rtmp()), ("http", weir.http()), ("api", weir.api())] {
        assert_eq!(call.body[name], serde_json::json!([address.to_string()]), "{name}");
    }
    assert_eq!(told(&weir), ["rtc_server", "srt_server"]);
    let (publish, fixture) = (weir.rtmp_url("live/livestream"), Fixture::AvcBFramesAac);
    let urls = [weir.rtmp_url("live/livestream"), weir.http_url("live/livestream.flv")];
    let wrong = spawn_blocking(move || play_all(fixture, &publish, &urls));
    assert_eq!(wrong.await.expect("FFmpeg publishes and plays"), [""; 0]);
}

/// The first so many calls of `backend` at least, once they are there.
async fn calls(backend: &Backend, count: usize) -> Vec<weir_testkit::backend::Call> {
    eventually(&format!("{count} calls"), SOON, async || {
        Some(backend.calls()).filter(|calls| calls.len() >= count)
    })
    .await
}

/// Nothing is said of a linger in an `srs.conf`: what is recorded is told of when its publisher has gone.
#[tokio::test(flavor = "multi_thread")]
async fn back_ends_hear_of_recordings_when_publishers_go() {
    let backend = Backend::start().await;
    let hook = backend.url();
    let vhost = format!(
        "dvr {{ enabled on; dvr_plan session; dvr_path ./objs/nginx/html/[app]/[stream].[timestamp].flv; }}
         http_hooks {{ enabled on; on_publish {hook}; on_unpublish {hook}; on_dvr {hook}; }}"
    );
    let weir = Weir::builder(BINARY).exactly(&conf((&[], &vhost))).start();
    let url = weir.rtmp_url("live/a");
    // The second one returns while the stream lingers; the third perhaps before the end of the second is noticed.
    for count in 1..=3 {
        let published = eventually("a publisher", SOON, async || {
            Encoder::try_start(&url, Numbered::new(12), PICTURE).await.ok()
        })
        .await;
        let mut viewer = Viewer::rtmp(&url).await;
        viewer.until_picture(published.next_number() + 30).await;
        drop((viewer, published));
        if count == 1 {
            let gone = std::time::Instant::now();
            backend.until("on_dvr", 1).await;
            let took = gone.elapsed();
            // Much less than the ten seconds of the linger; on a machine with nothing else to do, a fraction of one.
            assert!(took < Duration::from_secs(4), "{took:?}");
            println!("on_dvr came {took:?} after the publisher had gone");
        }
    }
    let told = backend.until("on_dvr", 3).await;
    backend.assert_contract();
    let published = &backend.of("on_publish")[0];
    let all = ["client_id", "ip", "vhost", "app", "stream", "param", "stream_url", "stream_id"];
    assert!(all.iter().all(|name| told[0].body[*name] == published.body[*name]), "{told:#?}");
    for told in &told {
        let file = PathBuf::from(told.said("cwd")).join(told.said("file"));
        let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(bytes.starts_with(b"FLV") && bytes.len() > 1000, "{}", file.display());
    }
    let files: std::collections::BTreeSet<_> = told.iter().map(|call| call.said("file")).collect();
    assert_eq!((told.len(), files.len()), (3, 3), "{told:#?}");
}

/// `rtmp.kickoff`
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_nobody_watches_is_let_go() {
    let vhost = "publish { kickoff_for_idle 4; } hls { enabled on; hls_fragment 1; } http_remux { enabled on; }";
    let weir = Weir::builder(BINARY).exactly(&conf((&[HTTP], vhost))).start();
    let start = async |stream: &str| {
        Encoder::start(&weir.rtmp_url(stream), Numbered::new(12), PICTURE).await
    };
    let [over_rtmp, over_hls, unwatched] =
        [start("live/a").await, start("live/b").await, start("live/c").await];
    let mut viewer = Viewer::rtmp(&weir.rtmp_url("live/a")).await;
    viewer.until_picture(over_rtmp.next_number() + 5).await;
    eventually("its end", SOON, async || {
        // Who fetches the playlist again and again watches.
        let _ = http::get(weir.http(), "live/b.m3u8").await.text().await;
        unwatched.end()
    })
    .await;
    weir.wait_log(|line| line.to_string().contains("publish.unwatched_timeout"), SOON);
    over_rtmp.assert_connected();
    over_hls.assert_connected();
    drop(viewer);
    eventually("the end of the other", SOON, async || over_rtmp.end()).await;
    let url = weir.rtmp_url("live/livestream");
    let publish = spawn_blocking(move || {
        let mut ffmpeg = Ffmpeg::System.publish(&Fixture::AvcAac.file(), &url);
        ffmpeg.wait(TIMEOUT).success()
    });
    let said = |line: &serde_json::Value| {
        field(line, "stream") == "/live/livestream"
            && line.to_string().contains("publish.unwatched_timeout")
    };
    assert!(!publish.await.expect("FFmpeg ends"), "it is let go before its end");
    weir.wait_log(said, SOON);
    assert_eq!(told(&weir), [""; 0]);
}

/// `security.deny.publish`
#[tokio::test(flavor = "multi_thread")]
async fn nobody_publishes_where_that_is_denied() {
    let vhost = "security { enabled on; deny publish all; allow play all; }";
    let weir = Weir::builder(BINARY).exactly(&conf((&[], vhost))).start();
    let url = weir.rtmp_url("live/livestream");
    let publish = spawn_blocking(move || {
        let mut ffmpeg = Ffmpeg::System.publish(&Fixture::AvcAac.file(), &url);
        ffmpeg.wait(TIMEOUT).success()
    });
    assert!(!publish.await.expect("FFmpeg ends"));
    weir.wait_log(|line| line.to_string().contains("refused: denied"), SOON);
}

/// `include include.vhost demo ingest transform.edge`: vhosts in other files; one whose stream is from a
/// file; one that has those of another.
#[tokio::test(flavor = "multi_thread")]
async fn vhosts_have_streams_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let vhosts = folder.path().join("vhosts.conf");
    let source = Fixture::AvcBFramesAac.file();
    let ingest = format!(
        "ingest livestream {{ enabled on; input {{ type file; url {}; }} ffmpeg ./objs/ffmpeg/bin/ffmpeg;
           engine {{ enabled off; output rtmp://127.0.0.1:[port]/live/livestream?vhost=[vhost]; }} }}",
        source.display()
    );
    let ports = Ports::free();
    let text = format!(
        "vhost include.srs.com {{ hls {{ enabled on; }}
         http_remux {{ enabled on; mount [vhost]/[app]/[stream].flv; }} }}
         vhost source.srs.com {{ http_remux {{ enabled on; }} {ingest} }}
         vhost transform.srs.edge.com {{ http_remux {{ enabled on; }}
           cluster {{ mode remote; origin 127.0.0.1:{}; vhost source.srs.com; }} }}\n",
        ports.rtmp
    );
    fs::write(&vhosts, text).expect("written");
    let text = format!("{TOP}{API}{HTTP}include {};\n", vhosts.display());
    let ip = std::net::Ipv4Addr::LOCALHOST;
    let weir = Weir::builder(BINARY).exactly(&text).at(ip, &ports).start();
    let url = |stream: &str, vhost: &str| format!("{}?vhost={vhost}", weir.rtmp_url(stream));
    let published =
        Encoder::start(&url("live/a", "include.srs.com"), Numbered::new(12), PICTURE).await;
    let flv = "live/a.flv?vhost=include.srs.com";
    let mut viewer = Viewer::http_flv(weir.http(), flv).await;
    viewer.until_picture(published.next_number() + 5).await;
    for vhost in ["source.srs.com", "transform.srs.edge.com"] {
        let path = format!("live/livestream.flv?vhost={vhost}");
        let played = weir.http_url(&path);
        let recorded = spawn_blocking(move || {
            let form = Form::Elementary(Fixture::AvcBFramesAac);
            let recording = Recording::start(Ffmpeg::Nine, &played, form);
            assert!(recording.wait_packets(100, TIMEOUT), "{played}");
            recording.stop()
        });
        let recorded = recorded.await.expect("the stream of the file");
        let kinds: Vec<_> = recorded.streams.iter().map(|stream| stream.kind).collect();
        assert_eq!(kinds, [Kind::Video, Kind::Audio], "{vhost}");
    }
}

/// `http.api.auth http.api.raw compatible log-file`
#[tokio::test(flavor = "multi_thread")]
async fn the_api_asks_who_it_is_and_reloads() {
    let api = "http_api { enabled on; auth { enabled on; username admin; password admin; }
               raw_api { enabled on; allow_reload on; } }\n";
    let log = "srs_log_tank file; srs_log_file ./srs.log;";
    let text = format!(
        "{}vhost __defaultVhost__ {{ refer github.com github.io; refer_play github.com; mr {{ enabled off; }}
         publish_normal_timeout 7000; }}\n",
        TOP.replace("srs_log_tank console;", log) + api + HTTP
    );
    let weir = Weir::builder(BINARY).exactly(&text).start();
    let path = "api/v1/versions";
    assert_eq!(http::get(weir.api(), path).await.status, 401);
    let request = |path: &str| {
        format!("GET /{path} HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YWRtaW46YWRtaW4=\r\n\r\n")
    };
    let mut answer = http::request(weir.api(), request(path).as_bytes()).await;
    let text = answer.text().await;
    assert_eq!(answer.status, 200, "{text}");
    let path = "api/v1/raw?rpc=reload";
    let mut answer = http::request(weir.api(), request(path).as_bytes()).await;
    let text = answer.text().await;
    assert!(answer.status == 200 && text.contains("\"code\":0"), "{text}");
    // Lines go there once it is open.
    let log = file(weir.dir(), "srs.log").await;
    // Pages of others are refused, and encoders without one as well.
    let url = weir.rtmp_url("live/a");
    let refused = Encoder::try_start(&url, Numbered::new(12), PICTURE).await;
    assert!(refused.is_err());
    eventually("the refusal in the log", SOON, async || {
        fs::read_to_string(&log).ok()?.contains("refused: denied").then_some(())
    })
    .await;
}

/// `nginx.proxy hls.edge`: files of nginx, which stands before the server there.
#[tokio::test(flavor = "multi_thread")]
async fn nginx_stands_before_it() {
    let vhost = "hls { enabled on; hls_fragment 2; } http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }";
    let weir = Weir::builder(BINARY).exactly(&conf((&[API, HTTP], vhost))).start();
    let (ports, folder) = (Ports::free(), tempfile::tempdir().expect("a folder"));
    let (http, api) = (weir.http(), weir.api());
    let text = format!(
        "daemon off; master_process off; pid nginx.pid; worker_processes 1; events {{ }}
         http {{ access_log off; proxy_cache_path cache levels=1:2 keys_zone=srs_cache:8m max_size=100m inactive=10m;
         proxy_temp_path temp; client_body_temp_path body;
         server {{ listen 127.0.0.1:{};
         proxy_cache_valid 404 10s; proxy_cache_lock on; proxy_cache_lock_age 300s; proxy_cache_min_uses 1;
         location ~ ^/(api)/ {{ proxy_pass http://{api}$request_uri; }}
         location ~ /.+/.*\\.flv$ {{ proxy_pass http://{http}$request_uri; }}
         location ~ /.+/.*\\.m3u8$ {{ proxy_pass http://{http}$request_uri; proxy_cache srs_cache;
           proxy_cache_key $scheme$proxy_host$uri$args; proxy_cache_valid 200 302 1s; }}
         location ~ /.+/.*\\.ts$ {{ proxy_pass http://{http}$request_uri; proxy_cache srs_cache;
           proxy_cache_key $scheme$proxy_host$uri; proxy_cache_valid 200 302 60m; }} }} }}\n",
        ports.http
    );
    fs::write(folder.path().join("nginx.conf"), text).expect("written");
    let mut command = weir_testkit::nginx::command();
    command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
    let nginx = Process::start("nginx", &mut command);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], ports.http));
    eventually("nginx", SOON, async || {
        tokio::net::TcpStream::connect(address).await.is_ok().then_some(())
    })
    .await;
    assert_eq!(http::get(address, "api/v1/versions").await.status, 200, "{}", nginx.stderr());
    let (publish, fixture) = (weir.rtmp_url("live/livestream"), Fixture::AvcBFramesAac);
    let flv = [format!("http://{address}/live/livestream.flv")];
    let wrong = spawn_blocking(move || play_all(fixture, &publish, &flv));
    assert_eq!(wrong.await.expect("FFmpeg plays"), [""; 0]);
    hls(&weir, fixture, "live/livestream.m3u8").await.expect("HLS");
    let url = format!("http://{address}/live/livestream.m3u8");
    let compared = spawn_blocking(move || {
        compare(fixture, &url, &read(Ffmpeg::Nine, &url, Form::Elementary(fixture), TIMEOUT))
    });
    compared.await.expect("FFmpeg plays").expect("HLS through nginx");
}

/// What a program of ours says of the streams at this API.
fn asked(url: &str, ca: Option<&Path>) -> String {
    let mut command = Command::new(BINARY);
    command.args(["streams", "--json", "--api", url]);
    if let Some(ca) = ca {
        command.arg("--ca").arg(ca);
    }
    let output = command.output().expect("weir runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `http.api.one.port http.api.one.port2 clion clion-ingest`
#[tokio::test(flavor = "multi_thread")]
async fn streams_and_the_api_are_on_one_port() {
    let (ports, folder) = (Ports::free(), tempfile::tempdir().expect("a folder"));
    let authority = Authority::new("ours");
    authority.certify(folder.path(), "server", &["127.0.0.1"]);
    let ca = put(folder.path(), "ca", &authority.pem());
    let [crt, key] = ["server.pem", "server.key"].map(|file| folder.path().join(file));
    let both = format!(
        "enabled on; listen 127.0.0.1:{}; https {{ enabled on; listen 127.0.0.1:{}; key {}; cert {}; }}",
        ports.http,
        ports.api,
        key.display(),
        crt.display()
    );
    let source = Fixture::AvcBFramesAac.file();
    let vhost = format!(
        "hls {{ enabled on; hls_fragment 2; }} http_remux {{ enabled on; mount [vhost]/[app]/[stream].flv; }}
         rtc {{ enabled on; rtmp_to_rtc off; rtc_to_rtmp off; }}
         ingest livestream {{ enabled on; input {{ type file; url {}; }} ffmpeg ./objs/ffmpeg/bin/ffmpeg;
           engine {{ enabled off; output rtmp://127.0.0.1:[port]/live/ingested; }} }}",
        source.display()
    );
    let outside =
        format!("http_api {{ {both} }}\nhttp_server {{ {both} dir ./objs/nginx/html; }}\n");
    let text = conf((&[&outside, RTC, "stats { network 0; }\n"], &vhost));
    let text = text.replace("listen 1935;", &format!("listen 127.0.0.1:{};", ports.rtmp));
    let weir = Weir::builder(BINARY).exactly_there(&text).start();
    assert_eq!(told(&weir), ["rtc_server"]);
    assert_eq!((weir.http(), weir.http().port()), (weir.api(), ports.http));
    let (publish, fixture) = (weir.rtmp_url("live/livestream"), Fixture::AvcBFramesAac);
    let urls = [weir.rtmp_url("live/livestream"), weir.http_url("live/livestream.flv")];
    let secure = format!("https://{}/live/livestream", weir.listens("https"));
    let (flv, trusted) = (format!("{secure}.flv"), ca.clone());
    let wrong = spawn_blocking(move || {
        let form = Form::Elementary(fixture);
        let recording = Recording::start_trusting(Ffmpeg::Nine, &flv, form, &trusted);
        let mut wrong = play_all(fixture, &publish, &urls);
        wrong.extend(compare(fixture, &flv, &recording.finish(TIMEOUT)).err());
        wrong
    });
    // Both are asked for while FFmpeg publishes, with what it does.
    let urls = [format!("http://{}", weir.api()), format!("https://{}", weir.listens("https"))];
    for (url, ca) in urls.into_iter().zip([None, Some(ca)]) {
        eventually(&format!("the streams at {url}"), SOON, async || {
            let (url, ca) = (url.clone(), ca.clone());
            let said =
                spawn_blocking(move || asked(&url, ca.as_deref())).await.expect("weir answers");
            let both = ["livestream", "ingested"].iter().all(|it| said.contains(it));
            both.then_some(())
        })
        .await;
    }
    let mut ingested = http::get(weir.http(), "live/ingested.flv").await;
    assert!(ingested.status == 200 && ingested.chunk().await.is_some());
    assert_eq!(wrong.await.expect("FFmpeg publishes and plays"), [""; 0]);
    hls(&weir, fixture, "live/livestream.m3u8").await.expect("HLS");
}

/// `prometheus`
#[tokio::test(flavor = "multi_thread")]
async fn the_exporter_counts_what_is_published() {
    let ports = Ports::free();
    let exporter = format!(
        "exporter {{ enabled on; listen 127.0.0.1:{}; label cn-beijing; tag cn-edge; }}\n",
        ports.api
    );
    let vhost = "hls { enabled on; } http_remux { enabled on; mount [vhost]/[app]/[stream].flv; }";
    let weir = Weir::builder(BINARY).exactly(&conf((&[API, HTTP, RTC, &exporter], vhost))).start();
    let (publish, fixture) = (weir.rtmp_url("live/livestream"), Fixture::AvcAac);
    let urls = [weir.http_url("live/livestream.flv")];
    let playing = spawn_blocking(move || play_all(fixture, &publish, &urls));
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], ports.api));
    eventually("one stream, in the exporter", SOON, async || {
        let text = http::get(at, "metrics").await.text().await;
        let own = text.lines().find(|line| line.starts_with("srs_build_info{"))?;
        assert!(own.contains("label=\"cn-beijing\"") && own.contains("tag=\"cn-edge\""), "{own}");
        let streams = text.lines().find_map(|line| line.strip_prefix("srs_streams "))?;
        (streams.parse() == Ok(1.0)).then_some(())
    })
    .await;
    assert_eq!(playing.await.expect("FFmpeg publishes and plays"), [""; 0]);
    let text = http::get(at, "metrics").await.text().await;
    let sent = text.lines().find_map(|line| line.strip_prefix("srs_send_bytes_total "));
    let bytes: f64 = sent.expect("a counter").parse().expect("a number");
    assert!(bytes > 50_000.0, "{bytes}");
}

/// `console.ipv46`
#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_ip_are_listened_on() {
    let ports = Ports::free();
    let [rtmp, http, api] = [ports.rtmp, ports.http, ports.api];
    let text = format!(
        "listen 127.0.0.1:{rtmp} [::1]:{rtmp}; max_connections 1000; daemon off; srs_log_tank console;
         http_api {{ enabled on; listen 127.0.0.1:{api}; }} http_server {{ enabled on; listen 127.0.0.1:{http}; }}
         vhost __defaultVhost__ {{ }}\n"
    );
    let weir = Weir::builder(BINARY).exactly_there(&text).start();
    assert_eq!(told(&weir), [""; 0]);
    let publish = format!("rtmp://[::1]:{rtmp}/live/livestream");
    let urls = [weir.rtmp_url("live/livestream"), publish.clone()];
    let wrong = spawn_blocking(move || play_all(Fixture::AvcBFramesAac, &publish, &urls));
    assert_eq!(wrong.await.expect("FFmpeg publishes and plays"), [""; 0]);
}

/// `https.hooks.callback`
#[tokio::test(flavor = "multi_thread")]
async fn back_ends_are_called_over_tls() {
    let (backend, authority) = (Backend::start().await, Authority::new("ours"));
    let front = TlsFront::start(backend.address(), &authority.issue(&["127.0.0.1"])).await;
    let folder = tempfile::tempdir().expect("a folder");
    let ca = put(folder.path(), "ca.pem", &authority.pem());
    let [streams, sessions] =
        ["streams", "sessions"].map(|path| format!("https://{}/api/v1/{path}", front.address()));
    let vhost = format!(
        "http_hooks {{ enabled on; on_publish {streams}; on_unpublish {streams}; on_play {sessions};
         on_stop {sessions}; }}"
    );
    let weir =
        Weir::builder(BINARY).exactly(&conf((&[], &vhost))).env("WEIR_HOOKS__CA", &ca).start();
    let (publish, fixture) = (weir.rtmp_url("live/livestream"), Fixture::AvcAac);
    let urls = [weir.rtmp_url("live/livestream")];
    let wrong = spawn_blocking(move || play_all(fixture, &publish, &urls));
    assert_eq!(wrong.await.expect("FFmpeg publishes and plays"), [""; 0]);
    for action in ["on_publish", "on_play", "on_stop", "on_unpublish"] {
        assert_eq!(backend.until(action, 1).await.len(), 1, "{action}");
    }
    backend.assert_contract();
    assert!(front.handshakes() > 0);
}

/// `exec ffmpeg.transcode transcode2hls.audio.only`: with codecs that FFmpeg has everywhere.
#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_runs_for_streams() {
    let exec =
        "exec { enabled on; publish ffmpeg -v warning -f flv -i [url] -c copy -y ./[stream].flv; }";
    let engine = |codecs: &str| {
        format!(
            "transcode {{ enabled on; ffmpeg ffmpeg; engine ff {{ enabled on; vfilter {{ }} {codecs} aparams {{ }}
             output rtmp://127.0.0.1:[port]/[app]/[stream]_[engine]?vhost=[vhost]; }} }}"
        )
    };
    let all = engine(
        "vcodec libx264; vthreads 1; vprofile main; vpreset ultrafast; vparams { g 25; } acodec aac;",
    );
    let sound = engine("vcodec copy; acodec aac;");
    let hls = "hls { enabled on; hls_fragment 2; hls_window 60; hls_path ./objs/nginx/html;
        hls_m3u8_file [app]/[stream].m3u8; hls_ts_file [app]/[stream]-[seq].ts; }";
    let fixture = Fixture::AvcAac;
    let weir = |vhost: &str| Weir::builder(BINARY).exactly(&conf((&[HTTP, API], vhost))).start();
    let (recorded, transcoded, to_hls) = (weir(exec), weir(&all), weir(&format!("{hls} {sound}")));
    let form = Form::Elementary(fixture);
    let all_of = async |input: String| {
        let reading = spawn_blocking(move || read(Ffmpeg::Nine, &input, form, TIMEOUT));
        reading.await.expect("FFmpeg reads")
    };
    let source = all_of(fixture.file().display().to_string()).await;
    let record = async {
        publish(&recorded, fixture).await;
        eventually("the end of the program", TIMEOUT, async || {
            let lines = recorded.log().all();
            lines.iter().any(|line| line.contains("child ended")).then_some(())
        })
        .await;
        let file = recorded.dir().join("livestream.flv").display().to_string();
        let played = all_of(file).await;
        continuation(&source, &played, Extent::ToEnd, TOLERANCE).expect("all of it is in the file");
    };
    let transcode = async {
        let url = transcoded.rtmp_url("live/livestream_ff");
        let playing = spawn_blocking(move || {
            Recording::start(Ffmpeg::Nine, &url, Form::Carried).finish(TIMEOUT)
        });
        publish(&transcoded, fixture).await;
        let played = playing.await.expect("FFmpeg plays");
        let codecs: Vec<_> = played.streams.iter().map(|it| &*it.codec).collect();
        assert_eq!(codecs, ["h264", "aac"]);
        for kind in [Kind::Video, Kind::Audio] {
            let (made, of) = (played.packets(kind), source.packets(kind));
            // What comes until FFmpeg has begun is lost.
            assert!(made.len() > of.len() / 4, "{kind:?}: {} of {}", made.len(), of.len());
            assert!(!of.iter().any(|it| it.hash == made[0].hash), "it is encoded anew");
        }
    };
    let packed = async {
        publish(&to_hls, fixture).await;
        let path = "live/livestream_ff.m3u8";
        eventually("the playlist of what was made", TIMEOUT, async || {
            let mut answer = http::get(to_hls.http(), path).await;
            let text = answer.text().await;
            (answer.status == 200 && Playlist::parse(&text).ended).then_some(())
        })
        .await;
        let files = to_hls.dir().join("objs/nginx/html");
        assert!(find(&files, "livestream_ff.m3u8").is_some(), "a file");
        let mut played = all_of(to_hls.http_url(path)).await;
        let sound = played.packets(Kind::Audio).first().expect("sound").hash.clone();
        assert!(!source.packets(Kind::Audio).iter().any(|it| it.hash == sound), "encoded anew");
        let mut pictures = source.clone();
        for media in [&mut pictures, &mut played] {
            media.streams.retain(|stream| stream.kind == Kind::Video);
        }
        continuation(&pictures, &played, Extent::Run, TOLERANCE).expect("the same pictures");
        let (made, of) = (played.packets(Kind::Video).len(), pictures.packets(Kind::Video).len());
        assert!(made > of / 4, "{made} of {of}");
    };
    tokio::join!(record, transcode, packed);
}

/// FFmpeg publishes it once.
async fn publish(weir: &Weir, fixture: Fixture) {
    let url = weir.rtmp_url("live/livestream");
    let publish = spawn_blocking(move || {
        Ffmpeg::Nine.publish(&fixture.file(), &url).wait_success(TIMEOUT);
    });
    publish.await.expect("FFmpeg publishes");
}

/// `ingest.rtsp push.mpegts.over.udp`
#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_brings_in_what_is_not_rtmp() {
    let ports = Ports::free();
    let rtsp = format!("rtsp://127.0.0.1:{}/live", ports.api);
    // The camera is another FFmpeg, which comes to this one.
    let ingest = format!(
        "ingest {{ enabled on; input {{ type stream; url {rtsp}; }} ffmpeg ffmpeg;
           engine {{ enabled on; perfile {{ rtsp_flags listen; rtsp_transport tcp; }} vcodec copy; acodec copy;
             output rtmp://127.0.0.1:[port]/live/livestream?vhost=[vhost]; }} }}
         http_remux {{ enabled on; mount [vhost]/[app]/[stream].flv; }}"
    );
    let free = std::net::UdpSocket::bind("0.0.0.0:0").expect("a port");
    let udp = free.local_addr().expect("bound").port();
    drop(free);
    let caster = format!(
        "stream_caster {{ enabled on; caster mpegts_over_udp; output rtmp://127.0.0.1/live/livestream;
           listen {udp}; }}\n"
    );
    let remux = "http_remux { enabled on; mount [vhost]/[app]/[stream].flv; } hls { enabled on; }";
    let over_udp = format!("udp://127.0.0.1:{udp}?pkt_size=1316");
    let cases = [
        (conf((&[HTTP], &ingest)), vec!["-f", "rtsp", "-rtsp_transport", "tcp", &rtsp], vec![]),
        (
            conf((&[&caster, HTTP, API, RTC], remux)),
            vec!["-f", "mpegts", &over_udp],
            vec!["rtc_server", "stream_caster"],
        ),
    ];
    let brought = cases.into_iter().map(async |(text, to, differs)| {
        let weir = Weir::builder(BINARY).exactly(&text).start();
        assert_eq!(told(&weir), differs);
        weir.wait_log(|line| line["message"] == "child began", SOON);
        let mut camera = Ffmpeg::Nine.command();
        let source = Fixture::AvcAac.file();
        camera.args(["-re", "-stream_loop", "-1", "-i"]).arg(source).args(["-c", "copy"]).args(to);
        // A camera is there before its server is, and tries again.
        let mut sending = Process::start("ffmpeg", &mut camera);
        let url = weir.http_url("live/livestream.flv");
        let recorded = eventually("what it sends", TIMEOUT, async || {
            if sending.has_ended() {
                sending = Process::start("ffmpeg", &mut camera);
            }
            let mut answer = http::get(weir.http(), "live/livestream.flv").await;
            let is_there = answer.status == 200 && answer.chunk().await.is_some();
            is_there.then(|| url.clone())
        })
        .await;
        let media = spawn_blocking(move || {
            let recording = Recording::start(Ffmpeg::Nine, &recorded, Form::Carried);
            assert!(recording.wait_packets(100, TIMEOUT), "{recorded}");
            recording.stop()
        });
        let media = media.await.expect("FFmpeg plays");
        assert!(media.packets(Kind::Video).len() > 10 && media.packets(Kind::Audio).len() > 10);
    });
    join_all(brought).await;
}
