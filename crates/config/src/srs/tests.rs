use std::{fs, path::Path, time::Duration};

use proptest::prelude::*;

use super::{super::Note, *};
use crate::{Config, ConfigError, Flush, Given, Role, convert, texts};

const NONE: [(&str, &str); 0] = [];

fn config(text: &str) -> Config {
    Config::parse(text, "srs.conf").unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn with(text: &str, environment: &[(&str, &str)]) -> Result<(Config, Vec<Note>), ConfigError> {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("srs.conf");
    fs::write(&file, text).expect("written");
    let (config, sources) = Config::load(Some(&file), environment.iter().copied())?;
    Ok((config, sources.notes().to_vec()))
}

fn notes(text: &str) -> Vec<String> {
    let (_, notes) = with(text, &[]).unwrap_or_else(|error| panic!("{text}\n{error}"));
    notes.iter().map(|note| format!("{}: {}", note.directive, note.what)).collect()
}

/// What the default vhost has with these directives.
fn default(directives: &str) -> Config {
    config(&format!("listen 1935;\nvhost __defaultVhost__ {{ {directives} }}\n"))
}

fn yaml(text: &str) -> Config {
    Config::parse(text, "weir.yaml").unwrap_or_else(|error| panic!("{text}\n{error}"))
}

#[test]
fn every_sample_is_a_configuration_and_its_yaml_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/srs/samples");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("samples") {
        let path = entry.expect("a sample").path();
        let name = path.display();
        let (config, sources) =
            Config::load(Some(&path), NONE).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (text, notes) = convert(&path).expect("it is read").expect("it is one of SRS");
        assert_eq!(yaml(&text), config, "{name}:\n{text}");
        assert_eq!(notes, sources.notes());
        for note in notes {
            assert!(text.contains(&note.what), "{name}: {note}: {text}");
        }
        count += 1;
    }
    assert!(count >= 13, "{count} samples");
}

#[test]
fn what_is_not_said_means_what_it_means_in_srs() {
    let found = config("listen 1935;\nvhost __defaultVhost__ { }\n");
    assert_eq!(found.role, Role::Origin);
    assert_eq!(found.rtmp.listen, Config::default().rtmp.listen);
    assert!(found.http.listen.is_empty() && found.api.listen.is_empty(), "no port is opened");
    assert!(!found.hls.enabled && found.record.dir.as_os_str().is_empty());
    assert_eq!((found.hls.segment, found.hls.window), (Duration::from_secs(10), 6));
    assert_eq!(found.hls.dir, Path::new("./objs/nginx/html"));
    assert_eq!((found.limits.connections, found.play.window), (1000, Duration::from_secs(30)));
    assert!(found.play.gop && found.vhosts.is_empty());
    let on = config("listen 1;\nhttp_server { enabled on; }\nhttp_api { enabled on; }\n");
    assert_eq!(on.http.listen, Config::default().http.listen);
    assert_eq!(on.api.listen, Config::default().api.listen);
    assert_eq!(on.api.read_from.len(), 2, "SRS asks nobody who reads its API");
}

#[test]
fn the_api_is_on_the_port_of_streams_where_both_have_the_same() {
    let of = |api: &str, server: &str| {
        let text =
            format!("http_api {{ enabled on; {api} }}\nhttp_server {{ enabled on; {server} }}\n");
        let all = format!("listen 1935;\n{text}vhost __defaultVhost__ {{ }}\n");
        let listen = config(&all).api.listen;
        let listen: Vec<_> = listen.iter().map(|at| at.port()).collect();
        let told = notes(&all);
        assert!(told.len() <= 1, "{told:#?}");
        (listen, told.first().is_some_and(|note| note.starts_with("http_api.https: ")))
    };
    let https = |port: u16| format!("https {{ enabled on; listen {port}; key a; cert b; }}");
    let (tls, other) = (https(8088), https(1990));
    assert_eq!(of("listen 8080;", "listen 8080;"), (vec![8080], false));
    assert_eq!(of("listen 8080;", "listen 8081;"), (vec![8080], false));
    // SRS has it on the port with TLS then too, unless that is another one.
    assert_eq!(of("listen 8080;", &format!("listen 8080; {tls}")), (vec![8080, 8088], false));
    let both = of(&format!("listen 8080; {tls}"), &format!("listen 8080; {tls}"));
    assert_eq!(both, (vec![8080, 8088], false));
    let apart = of(&format!("listen 8080; {other}"), &format!("listen 8080; {tls}"));
    assert_eq!(apart, (vec![8080], true));
    assert_eq!(
        of(&format!("listen 1985; {other}"), &format!("listen 8080; {tls}")),
        (vec![1985], true)
    );
    assert_eq!(of("listen 1985;", &format!("listen 8080; {tls}")), (vec![1985], false));
}

#[test]
fn mpeg_ts_over_udp_is_brought_in_by_ffmpeg_and_other_casters_are_left_out() {
    let caster = |what: &str| {
        let text = format!(
            "listen 1935;\nstream_caster {{ enabled on; {what} }}\nvhost __defaultVhost__ {{ }}\n"
        );
        let told = notes(&text);
        assert_eq!(told.len(), 1, "{told:#?}");
        let ingest = config(&text).ingest;
        let ingest: Vec<_> = ingest.into_iter().map(|it| (it.stream, it.from)).collect();
        (ingest, told[0].contains("left out"))
    };
    let from = "udp://0.0.0.0:8935?overrun_nonfatal=1";
    let stream = "caster mpegts_over_udp; output rtmp://127.0.0.1/live/livestream;";
    let made = caster(&format!("{stream} listen 8935;"));
    assert_eq!(made, (vec![("live/livestream".to_owned(), from.to_owned())], false));
    for other in [
        "caster flv; output rtmp://127.0.0.1/[app]/[stream]; listen 8936;",
        "caster mpegts_over_udp; output rtmp://127.0.0.1/[app]/[stream]; listen 8936;",
        "caster mpegts_over_udp; output rtmp://elsewhere/live/livestream; listen 8936;",
        "caster mpegts_over_udp; output rtmp://127.0.0.1/live/livestream;",
        "caster gb28181; output rtmp://127.0.0.1/live/[stream]; listen 9000;",
    ] {
        assert_eq!(caster(other), (Vec::new(), true), "{other}");
    }
}

#[test]
fn the_server_has_the_name_that_it_has_in_srs() {
    assert_eq!(config("listen 1935; server_id srs-ie193id;").name, "srs-ie193id");
    assert_eq!(config("listen 1935;").name, "");
}

#[test]
fn directives_mean_the_keys_of_weir() {
    let is = |directives: &str, keys: &str| {
        let base = "http: { listen: [] }\napi: { listen: [] }\n";
        let found = default(directives);
        let expected = yaml(&format!("{base}{keys}\n"));
        assert_eq!(found.play.flush, expected.play.flush, "{directives}");
        assert_eq!(found.play.gop, expected.play.gop, "{directives}");
        assert_eq!(found.forward, expected.forward, "{directives}");
        assert_eq!(found.record, expected.record, "{directives}");
        assert_eq!(found.hooks, expected.hooks, "{directives}");
        assert_eq!(found.publish, expected.publish, "{directives}");
        assert_eq!((found.role, &found.edge), (expected.role, &expected.edge), "{directives}");
        assert_eq!(found.pull, expected.pull, "{directives}");
        assert_eq!(found.exec, expected.exec, "{directives}");
        assert_eq!(found.transcode, expected.transcode, "{directives}");
        assert_eq!(found.ingest, expected.ingest, "{directives}");
        assert_eq!(found.auth, expected.auth, "{directives}");
    };
    is("min_latency on;", "play: { flush: 0ms }");
    is("play { mw_latency 350; }", "play: { flush: 350ms }");
    is("play { gop_cache off; }", "play: { gop: false }");
    is("publish { normal_timeout 7000; }", "publish: { idle_timeout: 7s }");
    is(
        "forward { enabled on; destination a:1 b; }",
        "forward: [{ to: ['a:1', b], assume_enhanced: true }]",
    );
    is("forward a:1;", "forward: [{ to: ['a:1'], assume_enhanced: true }]");
    is("forward { destination a; }", "");
    is("forward { enabled on; backend http://b/f; }", "hooks: { on_forward: 'http://b/f' }");
    is(
        "http_hooks { enabled on; on_play http://b/a http://b/c; }",
        "hooks: { on_play: ['http://b/a', 'http://b/c'] }",
    );
    is("http_hooks { enabled off; on_play http://b/a; }", "");
    is(
        "dvr { enabled on; }",
        "record: { dir: ./objs/nginx/html, path: '[app]/[stream].[timestamp]', streams: '*',
           split: { publisher: true } }",
    );
    is(
        "dvr { enabled on; dvr_path /d/[vhost]/[stream]; dvr_plan segment; dvr_apply live/a; }",
        "record: { dir: /d, path: '[vhost]/[stream]/[stream].[timestamp]', streams: live/a,
           split: { duration: 30s, publisher: true } }",
    );
    is(
        "dvr { enabled on; dvr_path ./x.mp4; dvr_plan session; dvr_duration 5; }",
        "record: { dir: ., path: x, container: mp4, streams: '*', split: { publisher: true } }",
    );
    is("cluster { mode remote; origin a b:2; }", "role: edge\nedge: { origins: [a, 'b:2'] }");
    is("mode remote; origin a;", "role: edge\nedge: { origins: [a] }");
    is(
        "cluster { mode remote; origin a:8080; protocol flv; }",
        "role: edge\nedge: { origins: [a], protocol: flv, http_port: 8080 }",
    );
    is(
        "cluster { mode remote; origin a; vhost b; }",
        "pull: [{ stream: '*', from: 'rtmp://a/{app}/{stream}?vhost=b', when: demand }]",
    );
    is(
        "enabled off;",
        "auth: { publish: [cidr: { deny: ['0.0.0.0/0', '::/0'] }], play: [cidr: { deny: ['0.0.0.0/0', '::/0'] }] }",
    );
    is(
        "security { enabled on; deny play 10.0.0.1; }",
        "auth: { play: [cidr: { deny: 10.0.0.1 }] }",
    );
    is(
        "security { enabled on; allow publish 10.0.0.9/8; }",
        "auth: { publish: [cidr: { allow: 10.0.0.0/8 }], play: [cidr: { deny: ['0.0.0.0/0', '::/0'] }] }",
    );
    is(
        "ingest a { enabled on; input { type file; url ./a.flv; } \
         engine { output rtmp://127.0.0.1:[port]/live/a?vhost=[vhost]; } }",
        "pull: [{ stream: live/a, from: 'file:./a.flv' }]",
    );
    is(
        "exec { enabled on; publish ./ffmpeg -f flv -i [url] -c copy -y ./[stream].flv; publish x [tcUrl] 2>&1 > a; }",
        "exec: [{ run: [./ffmpeg, -f, flv, -i, '{url}', -c, copy, -y, './{stream}.flv'] }, \
         { run: [x, 'rtmp://127.0.0.1:{port}/{app}?vhost={vhost}'] }]",
    );
    is("exec { publish a; }", "");
    is(
        "transcode live { enabled on; ffmpeg ./ffmpeg; engine ff { enabled on; vfilter { i a.png; \
         filter_complex 'overlay=1:2'; } vcodec libx264; vbitrate 500; vfps 25; vwidth 769; vheight 320; \
         vthreads 2; vprofile main; vpreset medium; vparams { g 50; } acodec aac; abitrate 70; \
         asample_rate 44100; achannels 2; aparams { } \
         output rtmp://127.0.0.1:[port]/[app]?vhost=[vhost]/[stream]_[engine]; } engine off { output x; } }",
        "transcode: [{ streams: live/*, name: ff, to: '{app}/{stream}_{name}', program: ./ffmpeg, args: \
         [-i, a.png, -filter_complex, 'overlay=1:2', -c:v, libx264, -b:v, 500k, -r, 25, -s, 768x320, -aspect, \
         '768:320', -threads, 2, -profile:v, main, -preset, medium, -g, 50, -c:a, aac, -b:a, 70k, -ar, 44100, \
         -ac, 2] }]",
    );
    is(
        "transcode a/b { enabled on; engine x { enabled on; vcodec vn; acodec copy; vbitrate 0; \
         perfile { re; } output rtmp://h/[app]/[stream]?k=1; } }",
        "transcode: [{ streams: a/b, name: x, to: 'rtmp://h/{app}/{stream}?k=1', input: [-re], \
         args: [-vn, -c:a, copy] }]",
    );
    is(
        "ingest a { enabled on; ffmpeg f; input { type stream; url rtsp://c/d; } \
         engine { perfile { rtsp_transport tcp; } output rtmp://127.0.0.1/live/a; } \
         engine { enabled on; vcodec libx264; acodec an; output rtmp://127.0.0.1/live/b; } }",
        "ingest: [{ stream: live/a, from: 'rtsp://c/d', program: f, input: [-rtsp_transport, tcp] }, \
         { stream: live/b, from: 'rtsp://c/d', program: f, args: [-c:v, libx264, -an] }]",
    );
}

#[test]
fn segments_and_their_window_are_times_in_srs() {
    let lengths = |directives: &str| {
        let hls = default(&format!("hls {{ enabled on; {directives} }}")).hls;
        (hls.segment.as_millis(), hls.window)
    };
    assert_eq!(lengths(""), (10_000, 6));
    assert_eq!(lengths("hls_fragment 2;"), (2000, 30));
    assert_eq!(lengths("hls_fragment 2; hls_window 12;"), (2000, 6));
    assert_eq!(lengths("hls_fragment 1.5; hls_window 10;"), (1500, 7));
    assert_eq!(lengths("hls_window 5;"), (10_000, 3));
    assert_eq!(lengths("hls_fragment 0.1; hls_window 10000;"), (500, 1000));
    let told =
        notes("listen 1; vhost a { hls { enabled on; hls_fragment 0.1; hls_window 10000; } }");
    assert!(told.iter().any(|note| note.contains("so it is 500ms")), "{told:?}");
    assert!(told.iter().any(|note| note.contains("lists 1000 segments")), "{told:?}");
    assert_eq!(
        default("hls { enabled on; hls_use_fmp4 on; }").hls.container,
        crate::Container::Fmp4
    );
}

#[test]
fn vhosts_are_apart_and_unknown_ones_are_refused() {
    let both = config(
        "listen 1; vhost a.org { play { gop_cache off; } } vhost __defaultVhost__ { hls { enabled on; } }",
    );
    assert!(!both.vhost("a.org").play.gop && both.vhost("b.org").play.gop);
    assert!(!both.vhost("a.org").hls.enabled && both.vhost("b.org").hls.enabled);
    let alone = config("listen 1; vhost a.org { }");
    assert!(alone.vhost("a.org").auth.play.is_empty());
    assert_eq!(alone.vhost("b.org").auth.play.len(), 1, "nobody may");
    let mixed = config(include_str!("samples/mixed.conf"));
    assert_eq!((mixed.role, mixed.pull.len()), (Role::Origin, 1));
    assert_eq!(
        mixed.pulled(&mixed.pull[0]).map(|(vhost, _)| vhost).as_deref(),
        Some("remote.example.com")
    );
}

#[test]
fn old_and_new_spellings_are_the_same() {
    let pairs = [
        (
            "gop_cache off; queue_length 5; mw_latency 100;",
            "play { gop_cache off; queue_length 5; mw_latency 100; }",
        ),
        ("publish_normal_timeout 7000;", "publish { normal_timeout 7000; }"),
        ("mr { enabled on; latency 5; }", "publish { mr on; mr_latency 5; }"),
        ("forward a b;", "forward { enabled on; destination a b; }"),
        ("refer_play a.org;", "refer { enabled on; play a.org; }"),
        (
            "mode remote; origin a; token_traverse on;",
            "cluster { mode remote; origin a; token_traverse on; }",
        ),
    ];
    for (old, new) in pairs {
        assert_eq!(default(old), default(new), "{old}");
    }
    assert_eq!(
        config("rtmp { listen 1936; chunk_size 128; } vhost a { }"),
        config("listen 1936; chunk_size 128; vhost a { }")
    );
    assert_eq!(
        config("listen 1; http_stream { enabled on; }"),
        config("listen 1; http_server { enabled on; }")
    );
}

#[test]
fn what_is_wrong_has_its_place_and_a_way_out() {
    for (text, place, what) in [
        (
            "listen 1935;\nvhost a {\n  hls { hls_fragmnt 5; }\n}\n",
            "3:9",
            "did you mean `hls_fragment`?",
        ),
        ("listen 1;\ngop_cache off;\n", "2:1", "`gop_cache` stands in vhost"),
        ("listen 1; vhost a { listen 2; }", "1:21", "`listen` stands outside of all blocks"),
        ("listen abc;", "1:8", "not an address to listen on"),
        ("listen 1; max_connections many;", "1:27", "`many` is not a whole number"),
        ("listen 1; max_connections 0;", "1:27", "no connection would be let in"),
        ("listen 1; vhost a { hls { enabled yes; } }", "1:35", "neither on nor off"),
        (
            "listen 1; vhost a { hls { enabled on; hls_fragment 2s; } }",
            "1:52",
            "`2s` is not a number",
        ),
        ("listen 1; vhost a { hls on; }", "1:21", "`hls` is a block"),
        ("listen { }", "1:1", "`listen` is not a block"),
        ("listen 1; vhost { }", "1:11", "a vhost has one name"),
        ("listen 1; vhost a { cluster { mode remote; } }", "1:36", "needs an origin"),
        ("listen 1; vhost a { cluster { mode far; } }", "1:36", "neither local nor remote"),
        ("listen 1; is_full on;", "1:11", "lists all directives"),
        (
            "listen 1; vhost a { security { enabled on; allow all; } }",
            "1:50",
            "neither publish nor play",
        ),
        (
            "listen 1; vhost a { security { enabled on; allow play x; } }",
            "1:50",
            "not an address or a network",
        ),
        ("listen 1; vhost a { http_hooks { enabled on; on_play b; } }", "1:54", "is not a URL"),
        (
            "listen 1; vhost a { dvr { enabled on; dvr_plan all; } }",
            "1:48",
            "neither session nor segment",
        ),
        ("listen 1; http_server { enabled on; listen 1; }", "1:44", "already used by rtmp.listen"),
        ("listen 1\nvhost a { }", "1:8", "has no end"),
        ("listen 1; vhost a {", "1:11", "is not closed"),
        ("listen 1; include no/such/file.conf;", "1:19", "cannot be included"),
        (
            "listen 1; vhost a { http_remux { enabled on; mount [app]/[stream]; } }",
            "1:52",
            "has none of the endings",
        ),
    ] {
        let error = Config::parse(text, "srs.conf").map(|_| ()).expect_err(text).to_string();
        assert!(error.starts_with(&format!("error: srs.conf:{place}: ")), "{text}: {error}");
        assert!(error.contains(what), "{text}: {error}");
        assert!(!error.contains("help: \n"), "{error}");
    }
}

#[test]
fn files_of_hls_are_called_as_the_file_says() {
    let named = |directives: &str| {
        let found = default(&format!("hls {{ enabled on; {directives} }}")).hls;
        (found.playlist_path, found.segment_path, found.segment_url)
    };
    let names = |playlist: &str, segment: &str, url: &str| {
        (playlist.to_owned(), segment.to_owned(), url.to_owned())
    };
    let usual = "hls_m3u8_file [app]/[stream].m3u8; hls_ts_file [app]/[stream]-[seq].ts;";
    assert_eq!(named(usual), names("", "", ""));
    let others = "hls_m3u8_file [app]/[stream]/index.m3u8; hls_ts_file [app]/[stream]/[2006]/[seq].ts; \
        hls_entry_prefix http://cdn.example.com/;";
    assert_eq!(
        named(others),
        names(
            "[app]/[stream]/index.m3u8",
            "[app]/[stream]/[2006]/[seq].ts",
            "http://cdn.example.com"
        )
    );
    let fragmented = "hls_use_fmp4 on; hls_ts_file [app]/[stream]/[seq].ts; hls_fmp4_file [app]/[stream]/[seq].m4s;";
    assert_eq!(named(fragmented), names("", "[app]/[stream]/[seq].m4s", ""));
    let not = "hls_m3u8_file live.m3u8; hls_ts_file [stream]-[seq].ts; hls_entry_prefix /cdn;";
    assert_eq!(named(not), names("", "", ""));
    let told =
        notes(&format!("listen 1; vhost __defaultVhost__ {{ hls {{ enabled on; {not} }} }}"));
    assert_eq!(told.len(), 3, "{told:#?}");
}

#[test]
fn secrets_are_not_repeated() {
    for text in [
        "listen 1; vhost a { forward { enabled on; destination rtmp://a/hunter2/b#; } }",
        "listen 1;\nhttp_api { enabled on; auth { enabled maybe; password hunter2; } }",
        "listen 1;\nvhost a { forwrd rtmp://a/b/hunter2?key=x; }",
    ] {
        if let Err(error) = Config::parse(text, "srs.conf") {
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}

#[test]
fn what_means_something_else_is_told_unless_it_is_off() {
    let told = notes(include_str!("samples/everything.conf"));
    for what in [
        "rtc_server: there is no WebRTC",
        "srt_server: there is no SRT",
        "stream_caster: it is left out",
        "vhost.dash: there is no DASH",
        "vhost.play.atc: ",
    ] {
        assert_eq!(
            told.iter().filter(|note| note.starts_with(what)).count(),
            1,
            "{what}: {told:#?}"
        );
    }
    let quiet = "listen 1; rtc_server { enabled off; listen 8000; } stats { network 0; }
        vhost __defaultVhost__ { rtc { enabled off; nack on; } play { atc off; time_jitter full; }
        hls { enabled off; hls_on_error ignore; } }";
    assert_eq!(notes(quiet), [""; 0]);
    let twice = notes("listen 1; listen 2; vhost a { } vhost a { }");
    assert!(
        twice.iter().filter(|note| note.contains("the first one counts")).count() == 2,
        "{twice:?}"
    );
    assert_eq!(config("listen 1; listen 2;").rtmp.listen[0].port(), 1);
}

#[test]
fn a_publisher_that_nobody_watches_is_let_go_as_in_srs() {
    let of = |directives: &str| default(directives).publish.unwatched_timeout;
    assert_eq!(of("publish { kickoff_for_idle 60000; }"), Duration::from_secs(60_000));
    assert_eq!(of("publish { kickoff_for_idle 1.5; }"), Duration::from_millis(1500));
    assert_eq!(of("publish { kickoff_for_idle 0; }"), Duration::ZERO);
    assert_eq!(of(""), Duration::ZERO);
}

#[test]
fn the_heartbeat_is_that_of_srs() {
    let beat = |directives: &str| {
        config(&format!("listen 1;\nheartbeat {{ {directives} }}\nvhost a {{ }}\n")).heartbeat
    };
    let url = |text: &str| Some(crate::HookUrl::of(text).expect("a URL"));
    assert_eq!(beat("enabled off; url http://a/; interval 2;"), Config::default().heartbeat);
    assert_eq!(beat("url http://a/;"), Config::default().heartbeat, "it has to be switched on");
    let usual = crate::Heartbeat {
        url: url("http://127.0.0.1:8085/api/v1/servers"),
        ..crate::Heartbeat::default()
    };
    assert_eq!(beat("enabled on;"), usual);
    let all = crate::Heartbeat {
        url: url("http://b:1/c?d=e"),
        interval: Duration::from_millis(9300),
        device_id: "my device".to_owned(),
        ip: String::new(),
        summaries: true,
        ports: true,
    };
    let rest = "interval 9.3; url http://b:1/c?d=e; summaries on; ports on;";
    assert_eq!(beat(&format!("enabled on; device_id \"my device\"; {rest}")), all);
    let all = crate::Heartbeat { device_id: "origin1".to_owned(), ..all };
    assert_eq!(beat(&format!("enabled on; device_id origin1; {rest}")), all);
    let variables = [
        ("SRS_HEARTBEAT_ENABLED", "on"),
        ("SRS_HEARTBEAT_URL", "http://b:1/c?d=e"),
        ("SRS_HEARTBEAT_INTERVAL", "9.3"),
        ("SRS_HEARTBEAT_DEVICE_ID", "origin1"),
        ("SRS_HEARTBEAT_SUMMARIES", "on"),
        ("SRS_HEARTBEAT_PORTS", "on"),
        ("SRS_DEVICE_IP", "10.0.0.7"),
    ];
    let (found, told) = with("listen 1;\n", &variables).expect("a configuration");
    assert_eq!(found.heartbeat, crate::Heartbeat { ip: "10.0.0.7".to_owned(), ..all });
    assert!(told.is_empty(), "{told:?}");
    let told = notes("listen 1; stats { network 2; } heartbeat { enabled on; interval 0.3; }");
    let told: Vec<_> = told.iter().filter_map(|note| note.split_once(": ")).collect();
    assert_eq!(
        told.iter().map(|it| it.0).collect::<Vec<_>>(),
        ["heartbeat.interval", "stats.network"]
    );
    let wrong = Config::parse("listen 1; heartbeat { enabled on; url b0ckend; }", "srs.conf");
    let said = wrong.expect_err("no URL").to_string();
    assert!(said.contains("heartbeat.url") && said.contains("http://"), "{said}");
}

#[test]
fn variables_come_over_the_file_and_over_them_those_of_weir() {
    let file = "listen 1935;\nvhost a { hls { enabled off; } }\nvhost __defaultVhost__ { }\n";
    let of = |variables: &[(&str, &str)]| with(file, variables).expect("a configuration").0;
    let all = of(&[
        ("SRS_VHOST_HLS_ENABLED", "on"),
        ("SRS_VHOST_HLS_HLS_FRAGMENT", "4"),
        ("SRS_LISTEN", "19350 19351"),
    ]);
    assert!(all.vhost("a").hls.enabled && all.vhost("other").hls.enabled);
    assert_eq!(all.vhost("a").hls.segment, Duration::from_secs(4));
    assert_eq!(all.rtmp.listen.len(), 2);
    assert_eq!(of(&[("SRS_RTMP_LISTEN", "7")]), of(&[("SRS_LISTEN", "7")]));
    assert_eq!(
        of(&[("SRS_LISTEN", "7"), ("WEIR_RTMP__LISTEN", "0.0.0.0:8")]).rtmp.listen[0].port(),
        8
    );
    assert_eq!(of(&[("SRS_VHOST_GOP_CACHE", "off")]), of(&[("SRS_VHOST_PLAY_GOP_CACHE", "off")]));
    let error = with(file, &[("SRS_VHOST_HLS_ENABLED", "maybe")]).expect_err("wrong").to_string();
    assert!(
        error.starts_with("error: SRS_VHOST_HLS_ENABLED: vhost.hls.enabled: `maybe`"),
        "{error}"
    );
    assert!(error.contains("SRS_VHOST_HLS_ENABLED=maybe"), "{error}");
    // What Kubernetes sets for a Service is none of ours, and what nobody knows is told.
    let (_, told) = with(
        file,
        &[("SRS_EDGE_SERVICE_HOST", "1.2.3.4"), ("SRS_LISTN", "7"), ("SRS_ENV_ONLY", "")],
    )
    .expect("a configuration");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].to_string().contains("did you mean `SRS_LISTEN`"), "{told:?}");
    // Nobody reads them where the file is not one of SRS.
    assert_eq!(with("role: origin\n", &[("SRS_LISTEN", "7")]).expect("ours").0, Config::default());
}

#[test]
fn variables_alone_are_a_configuration() {
    let load = |variables: &[(&str, &str)]| {
        Config::load_given(&Given::SrsEnvironment, variables.iter().copied())
            .expect("a configuration")
            .0
    };
    let found = load(&[
        ("SRS_HTTP_SERVER_ENABLED", "on"),
        ("SRS_VHOST_HLS_ENABLED", "on"),
        ("SRS_VHOST_PLAY_MW_LATENCY", "0"),
    ]);
    assert!(found.hls.enabled && found.api.listen.is_empty());
    assert_eq!((found.http.listen[0].port(), found.play.flush), (8080, Flush::Each));
    assert_eq!(load(&[]).rtmp.listen[0].port(), 1935);
}

#[test]
fn every_directive_with_a_value_has_a_variable_that_is_its_own() {
    let is_several = |block: &str| {
        ["vhost.ingest", "vhost.transcode", "stream_caster"]
            .iter()
            .any(|several| block.starts_with(several))
    };
    let mut seen = std::collections::HashSet::new();
    for row in table::rows() {
        for (name, _) in row.names() {
            let variables = table::variables(row, name);
            let is_single = matches!(row.fate, row::Fate::Key(_)) && !is_several(row.block);
            assert!(!is_single || !variables.is_empty(), "{}.{name}", row.block);
            for variable in variables {
                // An old name may be the same as the new one with its block.
                if !matches!(row.fate, row::Fate::Moved(_)) {
                    assert!(seen.insert(variable.clone()), "{variable} is there twice");
                }
            }
        }
    }
    for known in [
        "SRS_LISTEN",
        "SRS_LOG_TANK",
        "SRS_SRS_LOG_TANK",
        "SRS_HTTP_API_AUTH_USERNAME",
        "SRS_VHOST_HTTP_HOOKS_ON_PLAY",
    ] {
        assert!(seen.contains(known), "{known}");
    }
}

#[test]
fn files_that_are_included_belong_to_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let main = dir.path().join("srs.conf");
    fs::write(&main, "listen 1935;\ninclude vhost.conf;\n").expect("written");
    fs::write(dir.path().join("vhost.conf"), "vhost __defaultVhost__ {\n hls { enabled on; }\n}\n")
        .expect("written");
    assert!(Config::load(Some(&main), NONE).expect("a configuration").0.hls.enabled);
    assert_eq!(texts(&main).expect("texts").len(), 2);
    fs::write(dir.path().join("vhost.conf"), "vhost a {\n hls { enabeld on; }\n}\n")
        .expect("written");
    let error = Config::load(Some(&main), NONE).map(|_| ()).expect_err("wrong").to_string();
    assert!(error.contains("vhost.conf:2:8") && error.contains("enabeld on;"), "{error}");
}

#[test]
fn the_page_of_the_guide_is_the_table() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guide/from-srs-directives.md");
    if std::env::var_os("WEIR_WRITE_PAGES").is_some() {
        fs::write(&path, page()).expect("written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == page(),
        "docs/guide/from-srs-directives.md is stale: run this test with WEIR_WRITE_PAGES=1"
    );
}

fn any_directive() -> impl Strategy<Value = String> {
    let names: Vec<&'static str> =
        table::rows().flat_map(|row| row.names().map(|(name, _)| name)).collect();
    let value = prop_oneof![
        "on",
        "off",
        "[0-9.]{1,6}",
        "[a-z0-9:/.\\[\\]-]{1,12}",
        "all",
        "remote",
        "publish 10.0.0.1"
    ];
    let leaf = (prop::sample::select(names.clone()), value.clone())
        .prop_map(|(name, value)| format!("{name} {value};"));
    leaf.prop_recursive(3, 24, 5, move |inner| {
        let block = prop::sample::select(names.clone());
        (block, value.clone(), prop::collection::vec(inner, 0..5))
            .prop_map(|(name, value, inner)| format!("{name} {value} {{\n{}\n}}", inner.join("\n")))
    })
}

proptest! {
    #[test]
    fn any_directives_are_a_configuration_or_an_error_with_a_place(
        all in prop::collection::vec(any_directive(), 0..8)
    ) {
        let text = format!("listen 1935;\n{}\n", all.join("\n"));
        if let Err(error) = Config::parse(&text, "srs.conf") {
            let error = error.to_string();
            prop_assert!(error.starts_with("error: srs.conf:"), "{}", error);
        }
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in "(listen 1;)?[a-z{};\"' \\n\\\\#]{0,80}") {
        let _ = Config::parse(&text, "srs.conf");
    }
}
