//! Files that are not written for Weir, recognised by what is in them: those of SRS and nginx-rtmp, which are read,
//! those of MediaMTX, which people have already, and other things that are given by mistake.

use super::{
    hints::{self, Here},
    source::Positions,
    value::Problem,
};

/// Another server whose configurations are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    /// SRS.
    Srs,
    /// nginx with its RTMP module.
    Nginx,
}

/// What a file is, and where that shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    /// The line, from 1.
    pub(super) line: usize,
    /// What it is, and what to do.
    pub(super) problem: Problem,
}

/// Directives by which a configuration of SRS is known.
const SRS: [&str; 24] = [
    "vhost",
    "max_connections",
    "srs_log_tank",
    "srs_log_file",
    "srs_log_level",
    "http_server",
    "http_api",
    "rtc_server",
    "srt_server",
    "ff_log_dir",
    "daemon",
    "gop_cache",
    "http_remux",
    "http_hooks",
    "hls_window",
    "queue_length",
    "mw_latency",
    "min_latency",
    "cluster",
    "heartbeat",
    "stats",
    "exporter",
    "pithy_print_ms",
    "rtmps",
];
/// The same for nginx, with its RTMP module or without.
const NGINX: [&str; 18] = [
    "events",
    "worker_processes",
    "worker_connections",
    "http",
    "server",
    "application",
    "location",
    "load_module",
    "user",
    "live",
    "sendfile",
    "server_name",
    "access_log",
    "proxy_pass",
    "root",
    "hls_playlist_length",
    "record",
    "push",
];
/// Keys by which a configuration of MediaMTX is known. Those that are ours too do not count.
const MEDIAMTX: [&str; 26] = [
    "paths",
    "pathDefaults",
    "logLevel",
    "logDestinations",
    "readTimeout",
    "writeTimeout",
    "writeQueueSize",
    "authMethod",
    "authInternalUsers",
    "authHTTPAddress",
    "externalAuthenticationURL",
    "apiAddress",
    "metricsAddress",
    "pprof",
    "pprofAddress",
    "playback",
    "playbackAddress",
    "rtsp",
    "rtspAddress",
    "rtmpAddress",
    "rtmpEncryption",
    "hlsAddress",
    "hlsVariant",
    "webrtc",
    "webrtcAddress",
    "srtAddress",
];

/// How many of a file's own names are explained: enough for what matters, and still a message.
const NAMES_MAX: usize = 12;

const START: &str = "start without a file, or write only the keys you change, in YAML; weir.example.yaml has every key";
const GUIDE: &str = "see docs/guide/configuration.md";

/// What `text`, in which the values at `places` were found and which is refused as a configuration of ours, is.
pub(super) fn recognise(text: &str, places: &Positions) -> Option<Foreign> {
    braces(text).or_else(|| yaml(places)).or_else(|| other(text))
}

/// The server whose configuration `text` is, if it is one that is read here.
pub(super) fn server(text: &str) -> Option<Server> {
    if !begins_with_directive(text) {
        return None;
    }
    let names = directives(text);
    let count = |known: &[&str]| names.iter().filter(|name| known.contains(name)).count();
    let (srs, nginx) = (count(&SRS), count(&NGINX));
    let has_rtmp = names.contains(&"rtmp") && (nginx > 0 || names.contains(&"include"));
    match nginx > srs {
        true => has_rtmp.then_some(Server::Nginx),
        false => (srs > 0 || names.contains(&"listen")).then_some(Server::Srs),
    }
}

/// A file of directives: `name argument;` or `name { ... }`, and of none of the servers that are read here.
fn braces(text: &str) -> Option<Foreign> {
    let (line, _) = first_line(text)?;
    if !begins_with_directive(text) {
        return None;
    }
    let names = directives(text);
    let is_nginx = names.iter().any(|name| NGINX.contains(name));
    let what = match is_nginx {
        false => {
            "this file uses braces and semicolons, but Weir reads YAML (`key: value`), srs.conf and nginx.conf"
        }
        true => "this is an nginx configuration without an rtmp block, which Weir has no use for",
    };
    let problem = Problem::new(what, advice(names.into_iter()));
    Some(Foreign { line, problem })
}

/// A YAML file of somebody else.
fn yaml(places: &Positions) -> Option<Foreign> {
    let mut keys = places.all.iter().filter(|place| !place.path.contains(['.', '[']));
    let (mediamtx, rest): (Vec<_>, Vec<_>) =
        keys.clone().partition(|place| MEDIAMTX.contains(&place.path.as_str()));
    if let Some(first) = mediamtx.first() {
        let names =
            places.all.iter().map(|place| place.path.rsplit('.').next().unwrap_or_default());
        let what = "this is a MediaMTX configuration, which Weir does not read";
        return Some(Foreign {
            line: first.key.place.line,
            problem: Problem::new(what, advice(names)),
        });
    }
    let has = |name: &str| rest.iter().any(|place| place.path == name);
    let first = keys.next()?.key.place.line;
    let (what, fix) = if has("apiVersion") && has("kind") {
        (
            "this is a Kubernetes object",
            "apply it with kubectl; Weir reads the file under `data` of its ConfigMap",
        )
    } else if has("services") && !has("role") {
        (
            "this is a Docker Compose file",
            "use it with docker compose; Weir reads a file that is mounted into the container",
        )
    } else {
        return None;
    };
    Some(Foreign { line: first, problem: Problem::new(what, fix) })
}

/// Files that are no YAML at all.
fn other(text: &str) -> Option<Foreign> {
    let (line, first) = first_line(text)?;
    let (name, value) = first.split_once('=').unwrap_or_default();
    let is_name = !name.trim().is_empty()
        && name.trim().chars().all(|c| c.is_alphanumeric() || "_-.".contains(c));
    let is_table = first.starts_with('[')
        && first.ends_with(']')
        && text.lines().any(|line| line.contains(" = "));
    let what = if first.starts_with('<') {
        "this is XML or HTML, but Weir reads YAML"
    } else if text.starts_with("FLV") || first.contains('\0') {
        "this is not a text file"
    } else if is_table || is_name && !value.trim().is_empty() && !first.contains(": ") {
        "this file uses `key = value`, but Weir reads YAML (`key: value`)"
    } else {
        return None;
    };
    Some(Foreign { line, problem: Problem::new(what, format!("{START}; {GUIDE}")) })
}

/// The first line that says something, with its number, from 1.
fn first_line(text: &str) -> Option<(usize, &str)> {
    let lines = text.lines().map(|line| without_comment(line).trim()).enumerate();
    lines.filter(|(_, line)| !line.is_empty()).map(|(index, line)| (index + 1, line)).next()
}

/// A line up to a `#` that begins a comment.
fn without_comment(line: &str) -> &str {
    let begins = |at: &usize| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    let at = line.match_indices('#').map(|(at, _)| at).find(begins);
    line.get(..at.unwrap_or(line.len())).unwrap_or_default()
}

/// Whether it begins with a word and what goes with it, up to a `;` or `{`, with no key of YAML in between.
fn begins_with_directive(text: &str) -> bool {
    let lines: Vec<_> = text.lines().map(without_comment).collect();
    let text = lines.join("\n");
    let Some((statement, _)) = text.split_once([';', '{']) else { return false };
    let has_key = statement.split_whitespace().any(|word| word.ends_with(':') || word == "-");
    statement.split_whitespace().next().is_some_and(is_name) && !has_key
}

fn is_name(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The first words of all directives, as they come.
fn directives(text: &str) -> Vec<&str> {
    let statements = text.lines().map(without_comment).flat_map(|line| line.split([';', '{', '}']));
    let words = statements.filter_map(|statement| statement.split_whitespace().next());
    words.filter(|word| is_name(word)).collect()
}

/// What to do, with what the file's own names are here.
fn advice<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut known: Vec<(&str, &str)> = Vec::new();
    for name in names {
        if let Some(Here::Key(path, _)) = hints::of_others(name)
            && !known.iter().any(|(_, there)| *there == path)
            && known.len() < NAMES_MAX
        {
            known.push((name, path));
        }
    }
    if known.is_empty() {
        return format!("{START}; {GUIDE}");
    }
    let known: Vec<_> = known.iter().map(|(name, path)| format!("`{name}` is `{path}`")).collect();
    format!("{START}; in Weir {}; {GUIDE}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, source};

    fn said(text: &str) -> Option<(usize, String)> {
        recognise(text, &source::places(text)).map(|found| (found.line, found.problem.what))
    }

    const FILES: &[(&str, usize, &str)] = &[
        (
            "load_module \"modules/ngx_http_flv_module.so\";\nevents {}\n",
            1,
            "without an rtmp block",
        ),
        ("http {\n  server { listen 80; location / { root /srv; } }\n}\n", 1, "an nginx"),
        ("role edge;\n", 1, "braces and semicolons"),
        (
            "# settings\nlogLevel: info\nrtmp: yes\nhls: yes\npaths:\n  all_others:\n",
            2,
            "a MediaMTX",
        ),
        ("rtmp: yes\nrtmpAddress: :1935\n", 2, "a MediaMTX"),
        ("paths:\n  cam:\n    source: rtsp://x\n", 1, "a MediaMTX"),
        ("apiVersion: v1\nkind: ConfigMap\ndata: {}\n", 1, "Kubernetes"),
        ("services:\n  weir:\n    image: weir\n", 1, "Docker Compose"),
        ("<?xml version=\"1.0\"?>\n<Server/>\n", 1, "XML"),
        ("[rtmp]\nlisten = \"0.0.0.0:1935\"\n", 1, "key = value"),
        ("listen = 1935\n", 1, "key = value"),
    ];

    #[test]
    fn files_of_others_are_recognised_by_what_is_in_them() {
        for (text, line, what) in FILES {
            let (at, said) = said(text).unwrap_or_else(|| panic!("not recognised: {text}"));
            assert_eq!(at, *line, "{text}: {said}");
            assert!(said.contains(what), "{text}: {said}");
            let shown = Config::parse(text, "given.conf").expect_err(text).to_string();
            assert!(shown.contains(what), "{shown}");
        }
    }

    #[test]
    fn our_own_mistakes_are_not_taken_for_theirs() {
        for text in [
            "rol: origin\n",
            "play: { wait: 1s\n",
            "play: {\n",
            "just text\n",
            "text\n",
            "- play\n",
            "hls: yes\n",
            "play:\n\tflush: video; # {\n",
            "{ \"play\": { \"wiat\": 1 } }",
            "http: { listen: [1; 2] }\n",
            "edge: { origins: [\"a=b\"] }\n",
            "",
        ] {
            assert_eq!(said(text), None, "{text}");
        }
    }

    #[test]
    fn configurations_that_are_read_are_known_by_what_is_in_them() {
        for (text, server) in [
            (
                "# main config\n\nlisten              1935;\nmax_connections     1000;\n",
                Server::Srs,
            ),
            ("listen 1935; daemon off; vhost x { gop_cache off; }", Server::Srs),
            ("listen 1935;\n", Server::Srs),
            ("rtmp {\r\n\tlisten 1935;\r\n}\r\nhttp_api { enabled on; }\r\n", Server::Srs),
            ("vhost __defaultVhost__\n{\n  hls { enabled on; }\n}\n", Server::Srs),
            ("max_connections 1000;\n", Server::Srs),
            (
                "user www-data;\nworker_processes auto;\nrtmp { server { application live { live on; } } }\n",
                Server::Nginx,
            ),
            ("rtmp {\n    server {\n        listen 1935;\n    }\n}\n", Server::Nginx),
            ("load_module a.so;\nevents {}\nrtmp { include rtmp/*.conf; }\n", Server::Nginx),
        ] {
            assert_eq!(super::server(text), Some(server), "{text}");
        }
        for text in
            ["", "role: origin\n", "{ \"role\": \"edge\" }", "role edge;\n", "http { server { } }"]
        {
            assert_eq!(super::server(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_file_sets_is_named_as_we_do() {
        let text = "http { server {\n  location / { root x; } hls_path ./html; worker_connections 9; } }\n";
        let found = recognise(text, &source::places(text)).expect("it is recognised");
        for part in ["`hls_path` is `hls.dir`", "`worker_connections` is `limits.connections`"] {
            assert!(found.problem.fix.contains(part), "{}", found.problem.fix);
        }
    }
}
