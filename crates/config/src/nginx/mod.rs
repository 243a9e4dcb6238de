//! Configurations of nginx with its RTMP module.
//!
//! An `application` is an app here. What can be said of streams by their names is said so (`live/*`); what is the same
//! for a whole vhost here is taken from the first application that says it, with a note for the others.

mod access;
mod app;
mod table;
#[cfg(test)]
mod tests;

use std::time::Duration;

use weir_conf::Directive;

use super::{
    document::{Builder, Refused, list, one, place},
    srs::{Reading, address, bounded_time, command, wrong},
    suggest,
    tree::{Node, Place},
    value::{Problem, Size},
};
use app::{App, Said, at, named};
use table::Fate;

/// The keys that the directives `all` mean.
pub(super) fn read(all: &[Directive]) -> Result<Reading, Refused> {
    let mut reading = Reading::default();
    let Some(rtmp) = all.iter().find(|directive| directive.name.text == "rtmp") else {
        return Ok(reading);
    };
    check(&mut reading, "rtmp", rtmp)?;
    outside(&mut reading, all)?;
    let servers: Vec<_> = named(rtmp, "server").collect();
    listeners(&mut reading, &servers)?;
    usual(&mut reading);
    let mut said = Said::default();
    for server in &servers {
        for app in named(server, "application") {
            if app.arg().is_empty() {
                return Err(wrong(
                    app,
                    "rtmp.server.application",
                    "an application has a name",
                    "write application \
                    NAME { ... }",
                ));
            }
            let app = App { levels: [app, server, rtmp], name: app.arg() };
            application(&mut reading, &mut said, &app)?;
        }
    }
    Ok(reading)
}

/// What is known in the block at `path`, and what is different here.
fn check(reading: &mut Reading, path: &str, block: &Directive) -> Result<(), Refused> {
    for directive in block.inner() {
        let name = &directive.name.text;
        let full = format!("{path}.{name}");
        match table::find(name) {
            None => {
                let near = suggest::did_you_mean(name, &table::names());
                let what = format!("unknown directive `{name}`{near}");
                let fix = "remove it, or write one of nginx's RTMP module";
                let problem = Problem::new(what, fix);
                return Err(Refused { at: directive.name.at, directive: full, problem });
            }
            Some(Fate::Instead(what)) if directive.arg() != "off" => {
                reading.note(directive.name.at, &full, what);
            }
            Some(_) if matches!(&**name, "server" | "application") => {
                if directive.block.is_none() {
                    let what = format!("`{name}` is a block");
                    return Err(wrong(directive, &full, what, format!("write {name} {{ ... }}")));
                }
                check(reading, &full, directive)?;
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// What is outside of `rtmp`: HTTP, and the process.
fn outside(reading: &mut Reading, all: &[Directive]) -> Result<(), Refused> {
    let find = |name: &str| all.iter().find(|directive| directive.name.text == name);
    if let Some(count) =
        find("worker_processes").filter(|it| it.arg().parse::<u16>().is_ok_and(|it| it > 0))
    {
        reading.root.set(&["workers"], one(at(count), count.arg()));
    }
    let Some(http) = find("http") else { return Ok(()) };
    let listen = named(http, "server").find_map(|server| server.get("listen"));
    let port = listen.and_then(|listen| {
        Some((listen, address(listen.args.first()?, "http.server.listen").ok()?))
    });
    if let Some((listen, port)) = port {
        reading.root.set(&["http", "listen"], list(at(listen), vec![one(at(listen), port)]));
    }
    let what = "of HTTP only the first port is taken over: Weir serves HLS at /APP/STREAM.m3u8 and FLV \
        at /APP/STREAM.flv there, and no files; put nginx before it for the rest";
    reading.note(http.name.at, "http", what);
    Ok(())
}

fn listeners(reading: &mut Reading, servers: &[&Directive]) -> Result<(), Refused> {
    let mut all = Vec::new();
    let mut first = Place::NOWHERE;
    for listen in servers.iter().flat_map(|server| named(server, "listen")) {
        let Some(word) = listen.args.first() else { continue };
        let address = address(word, "rtmp.server.listen")?;
        let place = at(listen);
        if all.is_empty() {
            first = place;
        }
        // Port 1935 of IPv4 and of IPv6 are two.
        let address = if word.text.starts_with("[::]") && address.starts_with("[::]") {
            address
        } else {
            address.replace("*:", "0.0.0.0:")
        };
        all.push(one(place, address));
        if listen.args.iter().any(|word| word.text == "proxy_protocol") {
            reading.root.set(&["rtmp", "proxy_protocol"], one(place, "true"));
        }
    }
    if all.is_empty() {
        all.push(one(Place::NOWHERE, "0.0.0.0:1935"));
    }
    reading.root.set(&["rtmp", "listen"], list(first, all));
    Ok(())
}

/// What holds in nginx where nothing is said.
fn usual(reading: &mut Reading) {
    reading.usual(&["hls", "enabled"], "false");
}

fn application(reading: &mut Reading, said: &mut Said, app: &App<'_>) -> Result<(), Refused> {
    if let Some(size) = app.get("chunk_size") {
        let bytes = size.arg().parse::<u64>().ok();
        let bytes = bytes.ok_or_else(|| {
            wrong(
                size,
                "rtmp.chunk_size",
                format!("`{}` is not a whole number", size.arg()),
                "write digits",
            )
        })?;
        reading
            .root
            .set(&["rtmp", "chunk_size"], one(at(size), bytes.clamp(128, 65_536).to_string()));
    }
    if let Some(most) = app.get("max_connections").filter(|it| it.arg().parse::<u32>().is_ok()) {
        reading.root.set(&["limits", "connections"], one(at(most), most.arg()));
    }
    if !app.is_on("live") {
        let directive = app.levels[0];
        let what =
            "without `live on` nothing can be published there; Weir takes streams of any app";
        reading.note(directive.name.at, "rtmp.server.application", what);
    }
    if let Some(idle) = app.get("drop_idle_publisher") {
        let time = bounded_time(reading, idle, "drop_idle_publisher", milliseconds(idle)?, SILENCE);
        reading.root.set(&["publish", "idle_timeout"], time);
    }
    relay(reading, app);
    exec(reading, app);
    hls(reading, said, app)?;
    record(reading, said, app)?;
    hooks(reading, said, app);
    access::read(reading, &mut said.auth, app)
}

const SILENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Streams from and to other servers.
fn relay(reading: &mut Reading, app: &App<'_>) {
    for push in app.all("push") {
        let Some(url) = push.args.first() else { continue };
        let url = if url.text.contains("://") {
            url.text.clone()
        } else {
            format!("rtmp://{}", url.text)
        };
        let mut target = Builder::default();
        target.set(&["streams"], list(at(push), vec![one(at(push), format!("{}/*", app.name))]));
        target.set(&["to"], list(at(push), vec![one(at(push), url)]));
        reading.root.push(&["forward"], target.node(at(push)));
        if push.args.len() > 1 {
            reading.note(
                push.arg_at(),
                "push",
                "only the URL counts, with app and stream in it; other \
                parameters are left out",
            );
        }
    }
    for pull in app.all("pull") {
        let Some(url) = pull.args.first() else { continue };
        let url = if url.text.contains("://") {
            url.text.clone()
        } else {
            format!("rtmp://{}", url.text)
        };
        let parameter = |name: &str| {
            pull.args
                .iter()
                .find_map(|word| word.text.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
        };
        let path = url
            .split_once("://")
            .map_or("", |(_, rest)| rest)
            .split('?')
            .next()
            .unwrap_or_default();
        let parts: Vec<_> = path.split('/').skip(1).filter(|part| !part.is_empty()).collect();
        let last = if parts.len() > 1 { parts.last().map(|name| (*name).to_owned()) } else { None };
        let name = parameter("name").or_else(|| last.clone());
        let is_static = pull.args.iter().any(|word| word.text == "static");
        let (stream, from) = match (&name, &last) {
            (Some(name), Some(_)) => (format!("{}/{name}", app.name), url),
            (Some(name), None) => {
                (format!("{}/{name}", app.name), format!("{}/{name}", with_app(&url, app.name)))
            }
            (None, _) => {
                (format!("{}/*", app.name), format!("{}/{{stream}}", with_app(&url, app.name)))
            }
        };
        let mut one_pull = Builder::default();
        one_pull.set(&["stream"], one(at(pull), stream));
        one_pull.set(&["from"], one(at(pull), from));
        one_pull.set(&["when"], one(at(pull), if is_static { "always" } else { "demand" }));
        reading.root.push(&["pull"], one_pull.node(at(pull)));
    }
}

/// What nginx calls our placeholders. `$addr` and what else clients say of themselves has none.
const WORDS: [(&str, &str); 4] =
    [("${app}", "{app}"), ("$app", "{app}"), ("${name}", "{stream}"), ("$name", "{stream}")];

/// Commands that run while a stream is published.
fn exec(reading: &mut Reading, app: &App<'_>) {
    let respawns = app.get("respawn").is_none_or(|respawn| respawn.arg() != "off");
    for name in ["exec", "exec_push", "exec_publish"] {
        for exec in app.all(name) {
            let run = command(reading, &exec.args, name, &WORDS);
            if run.is_empty() {
                continue;
            }
            let is_known = |word: &str| WORDS.iter().any(|(theirs, _)| word.starts_with(theirs));
            let is_fine = |text: &str| text.match_indices('$').all(|(at, _)| is_known(&text[at..]));
            if !exec.args.iter().all(|word| is_fine(&word.text)) {
                let what = "of the variables $app and $name alone are replaced: clients make the others up";
                reading.note(exec.arg_at(), name, what);
            }
            let again = if respawns && name != "exec_publish" { "always" } else { "never" };
            let mut entry = Builder::default();
            entry.set(&["streams"], list(at(exec), vec![one(at(exec), format!("{}/*", app.name))]));
            entry.set(&["run"], list(at(exec), run));
            entry.set(&["restart"], one(at(exec), again));
            reading.root.push(&["exec"], entry.node(at(exec)));
        }
    }
}

/// A URL with an app: nginx takes that of the application where none is written.
fn with_app(url: &str, app: &str) -> String {
    let url = url.trim_end_matches('/');
    match url.split_once("://").is_some_and(|(_, rest)| rest.contains('/')) {
        true => url.to_owned(),
        false => format!("{url}/{app}"),
    }
}

fn hls(reading: &mut Reading, said: &mut Said, app: &App<'_>) -> Result<(), Refused> {
    const SEGMENT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
    if !app.is_on("hls") {
        return Ok(());
    }
    let Some(on) = app.get("hls") else { return Ok(()) };
    let path = app.get("hls_path");
    let (is_first, is_same) =
        Said::is_first(&mut said.hls, path.map_or(String::new(), |path| path.arg().to_owned()));
    if !is_first {
        if !is_same {
            reading.note(
                on.name.at,
                "hls",
                "HLS has one folder and one length of segments: those of the first \
                application that has it",
            );
        }
        return Ok(());
    }
    reading.root.set(&["hls", "enabled"], one(at(on), "true"));
    reading.note(on.name.at, "hls", "streams of all apps have HLS, at /APP/STREAM.m3u8");
    if let Some(path) = path {
        reading.root.set(&["hls", "dir"], one(at(path), path.arg()));
    }
    let fragment = app.get("hls_fragment");
    let segment =
        fragment.map_or(Ok(Duration::from_secs(5)), milliseconds)?.clamp(SEGMENT.0, SEGMENT.1);
    let fragment_at = fragment.map_or(Place::NOWHERE, at);
    reading.root.set(&["hls", "segment"], text_of(fragment_at, segment));
    let length = app.get("hls_playlist_length");
    let all = length.map_or(Ok(Duration::from_secs(30)), milliseconds)?;
    let count = all.as_millis().div_ceil(segment.as_millis().max(1)).clamp(3, 1000);
    reading.root.set(&["hls", "window"], one(length.map_or(Place::NOWHERE, at), count.to_string()));
    if let Some(keys) = app.get("hls_keys").filter(|keys| keys.arg() == "on") {
        reading.root.set(&["hls", "encrypt"], one(at(keys), "true"));
    }
    if let Some(count) =
        app.get("hls_fragments_per_key").filter(|it| it.arg().parse::<u32>().is_ok_and(|it| it > 0))
    {
        reading.root.set(&["hls", "segments_per_key"], one(at(count), count.arg()));
    }
    if let Some(url) = app.get("hls_key_url") {
        reading.root.set(&["hls", "key_url"], one(at(url), url.arg()));
    }
    let variants: Vec<Node> = app
        .all("hls_variant")
        .iter()
        .filter_map(|variant| {
            variant.args.first().map(|word| one(place(word.at), word.text.as_str()))
        })
        .take(12)
        .collect();
    if let Some(first) = variants.first() {
        let place = first.place;
        reading.root.set(&["hls", "ladder"], list(place, variants));
    }
    Ok(())
}

fn text_of(at: Place, duration: Duration) -> Node {
    one(at, super::value::Human(duration).to_string())
}

fn record(reading: &mut Reading, said: &mut Said, app: &App<'_>) -> Result<(), Refused> {
    const SPLIT: (Duration, Duration) =
        (Duration::from_secs(1), Duration::from_secs(7 * 24 * 3600));
    let Some(record) = app.get("record").filter(|it| !it.args.is_empty()) else { return Ok(()) };
    let words: Vec<_> = record.args.iter().map(|word| &*word.text).collect();
    if words.contains(&"off") {
        return Ok(());
    }
    let path = app.get("record_path");
    let (is_first, is_same) =
        Said::is_first(&mut said.record, path.map_or(String::new(), |path| path.arg().to_owned()));
    if !is_first && !is_same {
        reading.note(
            record.name.at,
            "record",
            "recordings have one folder: that of the first application that \
            records",
        );
    }
    if is_first {
        let (place, dir) = path.map_or((at(record), "/tmp"), |path| (at(path), path.arg()));
        reading.root.set(&["record", "dir"], one(place, dir));
        if let Some(interval) = app.get("record_interval").filter(|it| it.arg() != "off") {
            let time =
                bounded_time(reading, interval, "record_interval", milliseconds(interval)?, SPLIT);
            reading.root.set(&["record", "split", "duration"], time);
        }
        if let Some(most) = app.get("record_max_size").filter(|it| it.arg() != "off") {
            let size = one(at(most), Size(bytes(most)?).to_string());
            reading.root.set(&["record", "split", "size"], size);
        }
    }
    if !words.contains(&"manual") {
        reading.root.push(&["record", "streams"], one(at(record), format!("{}/*", app.name)));
    }
    if words.iter().any(|word| matches!(*word, "audio" | "video" | "keyframes"))
        && !words.contains(&"all")
    {
        reading.note(record.arg_at(), "record", "all tracks and frames are recorded");
    }
    Ok(())
}

/// Callbacks: what they are called here, and whether a back end is asked.
const HOOKS: [(&str, &str); 8] = [
    ("on_connect", "on_connect"),
    ("on_disconnect", "on_close"),
    ("on_publish", "on_publish"),
    ("on_publish_done", "on_unpublish"),
    ("on_play", "on_play"),
    ("on_play_done", "on_stop"),
    ("on_done", "on_stop"),
    ("on_record_done", "on_record"),
];

fn hooks(reading: &mut Reading, said: &mut Said, app: &App<'_>) {
    let calls: Vec<_> =
        HOOKS.iter().filter_map(|(name, key)| Some((app.get(name)?, *key))).collect();
    let Some((first, _)) = calls.first() else { return };
    let words: Vec<_> = calls.iter().map(|(call, key)| format!("{key} {}", call.arg())).collect();
    let (is_first, is_same) = Said::is_first(&mut said.hooks, words.join(" "));
    if !is_first {
        if !is_same {
            reading.note(
                first.name.at,
                "on_*",
                "back ends are those of the first application that has any, for \
                all apps",
            );
        }
        return;
    }
    reading.note(
        first.name.at,
        "on_*",
        "back ends are called as SRS calls them: POST with JSON, and they let in \
        with the body 0; for all apps",
    );
    for (call, key) in calls {
        let Some(url) = call.args.first() else { continue };
        reading.root.push(&["hooks", key], one(place(url.at), url.text.as_str()));
        if call.name.text == "on_done" {
            reading.root.push(&["hooks", "on_unpublish"], one(place(url.at), url.text.as_str()));
        }
    }
}

/// A time of nginx: `30s`, `5m`, `500ms`; without a unit seconds.
fn milliseconds(directive: &Directive) -> Result<Duration, Refused> {
    let text = directive.arg();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok();
    match (number, factor) {
        (Some(number), Some(factor)) => Ok(Duration::from_millis(number.saturating_mul(factor))),
        _ => {
            let what = format!("`{text}` is not a time");
            Err(wrong(directive, &directive.name.text, what, "write a number with ms, s, m or h"))
        }
    }
}

/// A size of nginx: `128k`, `16M`, `1g`; without a unit bytes.
fn bytes(directive: &Directive) -> Result<u64, Refused> {
    let text = directive.arg();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let shift = match unit {
        "" => Some(0),
        "k" | "K" => Some(10),
        "m" | "M" => Some(20),
        "g" | "G" => Some(30),
        _ => None,
    };
    let number: Option<u64> = digits.parse().ok().filter(|number| *number < 1 << 30);
    match (number, shift) {
        (Some(number), Some(shift)) => Ok(number << shift),
        _ => {
            let what = format!("`{text}` is not a size");
            Err(wrong(directive, &directive.name.text, what, "write a number with K, M or G"))
        }
    }
}
