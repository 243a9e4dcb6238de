//! What keys that we do not have are called here: names of SRS, nginx-rtmp and MediaMTX, and keys of ours that stand in
//! the wrong place or are written in another way.

use super::{Config, kind::Section as _, value::Problem};

/// What there is for a name of another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Here {
    /// The key that means the same, and how it is written, from the margin on.
    Key(&'static str, &'static str),
    /// No key, but a word on what to do.
    Else(&'static str),
}

use Here::{Else, Key};

const RECORD: Here = Key("record", "record: { dir: ./data/record, streams: \"*\" }");
const TRANSCODE: Here =
    Key("transcode", "transcode: [{ streams: live/*, name: hd, args: [-s, 1280x720] }]");
const EXEC: Here = Key("exec", "exec: [{ streams: live/*, run: [PROGRAM, \"{url}\"] }]");
const PUSH: Here = Key("forward", "forward: [{ streams: live/*, to: rtmp://HOST/APP/STREAM }]");
const HOOKS: Here = Key("hooks", "hooks: { on_publish: \"http://backend:8085/api/v1/streams\" }");
const NOT_SPOKEN: Here = Else("Weir supports only RTMP, HTTP-FLV and HLS");
const METRICS: Here = Else("nothing to set: use GET /metrics and /api/v1 on api.listen");
const LOG: Here = Else("the log goes to stderr; set --log or WEIR_LOG, and --log-format");
const LOG_FILE: Here = Key("log_file", "log_file: /var/log/weir.log");
const SERVICE: Here = Else(
    "remove it: systemd or the container runtime runs Weir in the background and keeps its log",
);
const ALWAYS: Here = Else("remove it: Weir does this automatically");
const FIXED_NAMES: Here = Else("remove it: Weir names its files itself and removes old ones");
const APPS: Here = Else("remove it: apps and streams need no setup; any name can be published");

const LISTEN: Here = Key("rtmp.listen", "rtmp: { listen: \"0.0.0.0:1935\" }");
const HTTP: Here = Key("http.listen", "http: { listen: \"0.0.0.0:8080\" }");
const API: Here = Key("api.listen", "api: { listen: \"0.0.0.0:1985\" }");
const GOP: Here = Key("play.gop", "play: { gop: true }");
const FLUSH: Here = Key("play.flush", "play: { flush: 350ms }");
const WINDOW: Here = Key("play.window", "play: { window: 10s }");
const STALL: Here = Key("play.stall_timeout", "play: { stall_timeout: 30s }");
const IDLE: Here = Key("publish.idle_timeout", "publish: { idle_timeout: 10s }");
const CONFLICT: Here = Key("publish.conflict", "publish: { conflict: takeover }");
const HLS_DIR: Here = Key("hls.dir", "hls: { dir: ./data/hls }");
const HLS_SEGMENT: Here = Key("hls.segment", "hls: { segment: 2s }");
const HLS_WINDOW: Here = Key("hls.window", "hls: { window: 6 } (segments, not seconds)");
const ORIGINS: Here = Key("edge.origins", "role: edge and edge: { origins: [\"origin:1935\"] }");
const INGEST: Here = Key(
    "pull",
    "pull: [{ stream: live/a, from: \"rtmp://HOST/live/a\" }] (or http://, or file:/a.flv); ingest for others",
);
const ROLE: Here = Key("role", "role: edge");
const CONNECTIONS: Here = Key("limits.connections", "limits: { connections: 20000 }");
const VIEWERS: Here = Key("limits.viewers_per_stream", "limits: { viewers_per_stream: 500 }");
const AUTH: Here = Key("auth", "auth: { publish: [cidr: { allow: [10.0.0.0/8] }] }");
const REFERER: Here = Key("auth", "auth: { play: [referer: { hosts: [example.com] }] }");
const USERS: Here = Key("auth", "auth: { publish: [secret: { values: [SECRET] }] }");
const TOKENS: Here = Key("api.admin_tokens", "api: { admin_tokens: [TOKEN] }");
const CERT: Here = Key(
    "http.tls",
    "http: { tls: { certificates: [{ cert: FILE, key: FILE }] } } (the same in rtmp: RTMPS; the API has api.tls)",
);
const RTMPS: Here = Key("rtmp.tls", "rtmp: { tls: { certificates: [{ cert: FILE, key: FILE }] } }");
const PROXIES: Here = Key("http.trusted_proxies", "http: { trusted_proxies: [10.0.0.0/8] }");

/// Names of others, and what there is for them here. One with a `*` at its end is all that begin like it. Between
/// two rows with the same name the first one counts.
const NAMES: &[(&str, Here)] = &[
    // SRS
    ("listen", LISTEN),
    ("max_connections worker_connections", CONNECTIONS),
    ("chunk_size out_chunk_size", Key("rtmp.chunk_size", "rtmp: { chunk_size: 60000 }")),
    ("http_server", HTTP),
    ("http_api", API),
    ("vhost", Key("vhosts", "vhosts: { example.com: { play: { wait: 5s } } }")),
    ("gop_cache gop wait_key", GOP),
    ("gop_cache_max_frames", Key("limits.stream_memory", "limits: { stream_memory: 64MiB }")),
    ("queue_length out_queue write_queue_size", WINDOW),
    ("mw_latency mw_msgs mw_sleep min_latency realtime tcp_nodelay interleave", FLUSH),
    ("firstpkt_timeout normal_timeout drop_idle_publisher read_timeout", IDLE),
    ("send_timeout write_timeout", STALL),
    ("idle_streams", Key("play.wait", "play: { wait: 10s }")),
    ("overwrite override_publisher", CONFLICT),
    ("http_remux", Key("play.formats", "play: { formats: [flv, ts, mp4, mp3, aac] }")),
    ("mount", Key("play.mounts", "play: { mounts: [{ path: \"/{app}/{stream}.flv\" }] }")),
    ("hls_path hls_directory", HLS_DIR),
    ("hls_fragment fragment hls_segment_duration", HLS_SEGMENT),
    ("hls_part_duration", Key("hls.part", "hls: { part: 200ms }")),
    ("hls_window hls_playlist_length hls_segment_count", HLS_WINDOW),
    ("hls_address http_port", HTTP),
    ("hls_allow_origin", ALWAYS),
    ("hls_trusted_proxies trusted_proxies", PROXIES),
    ("hls_keys", Key("hls.encrypt", "hls: { encrypt: true }")),
    ("hls_fragments_per_key", Key("hls.segments_per_key", "hls: { segments_per_key: 5 }")),
    ("hls_key_url", Key("hls.key_url", "hls: { key_url: \"https://keys.example.com/weir\" }")),
    ("hls_key*", Else("remove it: keys are beside the segments (hls.encrypt)")),
    ("hls_encryption", CERT),
    (
        "hls_variant",
        Else(
            "for nginx-rtmp's, hls: { ladder: [_hi, _low] }; for MediaMTX's, hls: { part: 200ms }",
        ),
    ),
    (
        "hls_continuous hls_always_remux hls_ctx hls_ts_ctx hls_nested hls_wait_keyframe hls_aof_ratio",
        ALWAYS,
    ),
    (
        "hls_on_error hls_td_ratio hls_dts_directly hls_acodec hls_vcodec hls_sync hls_muxer_close_after",
        ALWAYS,
    ),
    ("hls_m3u8_file", Key("hls.playlist_path", "hls: { playlist_path: \"{app}/{stream}.m3u8\" }")),
    (
        "hls_ts_file hls_fragment_naming",
        Key("hls.segment_path", "hls: { segment_path: \"{app}/{stream}-{number}.ts\" }"),
    ),
    (
        "hls_entry_prefix hls_base_url",
        Key("hls.segment_url", "hls: { segment_url: \"https://cdn.example.com\" }"),
    ),
    ("hls_*", FIXED_NAMES),
    ("cluster mode", ROLE),
    ("origin upstream pull source static_source", ORIGINS),
    (
        "token_traverse edge_token_traverse",
        Key("edge.auth", "edge: { auth: origin } (what it is anyway)"),
    ),
    ("origin_cluster coworkers", Else("name all origins at each edge: edge: { origins: [a, b] }")),
    ("security allow deny allow_publish allow_play publish_ips read_ips", AUTH),
    ("referer refer*", REFERER),
    (
        "auth_internal_users publish_user publish_pass read_user read_pass auth_method auth_jwt*",
        USERS,
    ),
    ("http_hooks on_* notify_method run_on* external_authentication* auth_http*", HOOKS),
    ("dvr* record*", RECORD),
    ("transcode engine ffmpeg", TRANSCODE),
    ("exec*", EXEC),
    ("destination push push_reconnect", PUSH),
    ("ingest", INGEST),
    ("rtc* srt* rtsp* webrtc* rtp_* mpegts* stream_caster dash* multicast*", NOT_SPOKEN),
    ("stats stat stat_stylesheet rtmp_stat exporter metrics_address pprof*", METRICS),
    ("srs_log_file log_file", LOG_FILE),
    ("srs_log* ff_log* log_level log_destinations log_structured sys_log_prefix", LOG),
    ("error_log access_log log_format", LOG),
    ("pid", Key("pid_file", "pid_file: /run/weir.pid")),
    ("daemon asprocess user", SERVICE),
    ("grace_start_wait", Key("drain.notice", "drain: { notice: 5s }")),
    ("grace_final_wait worker_shutdown_timeout", Key("drain.timeout", "drain: { timeout: 60s }")),
    ("worker_processes threads", Key("workers", "workers: auto")),
    (
        "worker_rlimit_nofile",
        Else("the system sets it: ulimit -n, or LimitNOFILE in the systemd unit"),
    ),
    ("max_streams", Key("limits.memory", "limits: { memory: 2GiB }")),
    ("max_readers", VIEWERS),
    ("limit_conn", Key("limits.connections_per_ip", "limits: { connections_per_ip: 20 }")),
    ("inotify_auto_reload auto_reload_for_docker auto_auth_reload", ALWAYS),
    (
        "atc atc_auto mix_correct time_jitter reduce_sequence_header parse_sps try_annexb_first",
        ALWAYS,
    ),
    (
        "in_ack_size out_ack_size ack_window ping ping_timeout buflen send_min_interval sync meta",
        ALWAYS,
    ),
    ("utc_time empty_ip_ok query_latest_version circuit_breaker tcmalloc_release_rate", ALWAYS),
    ("force_grace_quit disable_daemon_for_docker wait_video play_restart publish_notify", ALWAYS),
    ("bandcheck crossdomain max_message control", Else("remove it: Weir has nothing like it")),
    ("raw_api", TOKENS),
    ("https", CERT),
    // nginx-rtmp
    ("server", LISTEN),
    ("application live", APPS),
    ("events location include load_module", Else("remove it: only nginx has it")),
    ("ssl_certificate api_server_cert", CERT),
    ("rtmps* rtmp_encryption rtmp_server_*", RTMPS),
    // MediaMTX
    ("rtmp_address", LISTEN),
    ("api_address playback*", API),
    ("api_allow_origin*", Else("remove it: pages of other sites cannot use the API")),
    ("paths path_defaults", APPS),
];

/// What there is for the key or directive `name` of another server.
pub(super) fn of_others(name: &str) -> Option<Here> {
    let name = plain(name);
    let is_it = |known: &str| match known.strip_suffix('*') {
        Some(begin) => name.starts_with(&plain(begin)),
        None => name == plain(known),
    };
    NAMES.iter().find(|(names, _)| names.split(' ').any(is_it)).map(|(_, here)| *here)
}

/// A name however it is spelt: `gop_cache`, `gop-cache` and `gopCache` are one.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !['_', '-', '.'].contains(c)).flat_map(char::to_lowercase).collect()
}

/// What to say of the unknown key `name` in the section at `section`, where we know what was meant by it.
pub(super) fn unknown_key(name: &str, section: &str) -> Option<Problem> {
    let unknown = |what| format!("unknown key `{name}`; {what}");
    let ours = paths();
    if plain(name) == "enabled" || plain(name) == "enable" {
        // Only `hls` has one.
        let has_listeners = ["rtmp", "http", "api"].contains(&section);
        let what = unknown("Weir has no such key".to_owned());
        return has_listeners.then(|| Problem::new(what, "to switch it off, write `listen: []`"));
    }
    // A section of a vhost has the keys of the section itself.
    let is_of_vhost = section.starts_with("vhosts.");
    let same = |path: &&String| {
        let last = path.rsplit('.').next().unwrap_or_default();
        plain(last) == plain(name) || plain(path) == plain(name)
    };
    let (root, below): (Vec<_>, Vec<_>) =
        ours.iter().filter(same).partition(|path| !path.contains('.'));
    if let Some(root) =
        root.first().filter(|root| ***root == name && !section.is_empty() && !is_of_vhost)
    {
        let what = unknown(format!("`{root}` is a top-level key, not part of `{section}`"));
        return Some(Problem::new(what, format!("write `{root}:` at the start of a line")));
    }
    if let Some(here) = of_others(name) {
        return Some(match here {
            Key(path, example) => {
                Problem::new(unknown(format!("in Weir it is `{path}`")), format!("write {example}"))
            }
            Else(advice) => Problem::new(unknown("Weir has no such key".to_owned()), advice),
        });
    }
    let places: Vec<_> = below.iter().map(|path| format!("`{path}`")).collect();
    let (section, key) = below.first()?.rsplit_once('.')?;
    let example = section
        .split('.')
        .rev()
        .fold(format!("{key}: ..."), |inner, section| format!("{section}: {{ {inner} }}"));
    Some(Problem::new(
        unknown(format!("it is {}", places.join(" or "))),
        format!("write {example}"),
    ))
}

/// The paths of all keys.
fn paths() -> Vec<String> {
    let mut paths = Vec::new();
    Config::each_key("", &mut |path, _| paths.push(path));
    paths
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_leads_to_a_key_and_its_example_is_a_configuration() {
        let paths = paths();
        for (names, here) in NAMES {
            let Key(path, example) = here else { continue };
            assert!(paths.contains(&(*path).to_owned()), "{names}: {path}");
            let example = example.split(" (").next().unwrap_or_default();
            let file = example.replace(" and ", "\n");
            let file = if file == "role: edge" {
                format!("{file}\nedge: {{ origins: [a] }}")
            } else {
                file
            };
            let read = Config::parse(&file, "weir.yaml");
            assert!(read.is_ok(), "{names}: {file}: {read:?}");
        }
    }

    #[test]
    fn no_name_is_there_twice() {
        let mut seen = HashSet::new();
        for name in NAMES.iter().flat_map(|(names, _)| names.split(' ')) {
            assert!(seen.insert(plain(name)), "{name}");
        }
    }

    #[test]
    fn names_are_found_however_they_are_spelt() {
        for name in ["gop_cache", "gop-cache", "gopCache", "GOP_CACHE"] {
            assert_eq!(of_others(name), Some(GOP), "{name}");
        }
        for (name, here) in [
            ("hls_cleanup", FIXED_NAMES),
            (
                "hls_ts_file",
                Key("hls.segment_path", "hls: { segment_path: \"{app}/{stream}-{number}.ts\" }"),
            ),
            ("refer_play", REFERER),
            ("hls_fragment", HLS_SEGMENT),
            ("record_path", RECORD),
            ("exec_push", EXEC),
            ("on_publish_done", HOOKS),
            ("runOnReady", HOOKS),
            ("rtspAddress", NOT_SPOKEN),
            ("rtmpAddress", LISTEN),
            ("srs_log_tank", LOG),
        ] {
            assert_eq!(of_others(name), Some(here), "{name}");
        }
        assert_eq!(of_others("lingr"), None);
    }
}
