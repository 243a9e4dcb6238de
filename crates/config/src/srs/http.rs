//! HTTP: what viewers fetch, and the API.

use weir_conf::Directive;

use super::{
    super::{
        document::{Builder, Refused, list, one, place},
        tree::Place,
    },
    reading::{Reading, address, is_on, place_of, switch},
    row::{Fate, Row},
    tls,
};

pub(super) const ROWS: &[Row] = &[
    Row { block: "", names: "http_stream", fate: Fate::Moved("http_server") },
    Row { block: "vhost", names: "http", fate: Fate::Moved("vhost.http_static") },
    Row { block: "", names: "http_server http_api exporter", fate: Fate::Block { many: false } },
    Row {
        block: "http_server",
        names: "enabled=off",
        fate: Fate::Key("http.listen: [] while it is off"),
    },
    Row { block: "http_server", names: "listen=8080", fate: Fate::Key("http.listen") },
    Row {
        block: "http_server",
        names: "dir=./objs/nginx/html",
        fate: Fate::Instead(
            "no files are served but the HLS of streams and the pages of Weir; serve others with nginx",
        ),
    },
    Row {
        block: "http_server",
        names: "crossdomain=on",
        fate: Fate::Always("players on other sites may always play"),
    },
    Row { block: "http_server", names: "https", fate: Fate::Block { many: false } },
    Row { block: "http_server.https", names: "enabled=off", fate: Fate::Key("http.tls") },
    Row { block: "http_server.https", names: "listen=8088", fate: Fate::Key("http.tls.listen") },
    Row {
        block: "http_server.https",
        names: "key=./conf/server.key cert=./conf/server.crt",
        fate: Fate::Key("http.tls.certificates"),
    },
    Row {
        block: "http_api",
        names: "enabled=off",
        fate: Fate::Key("api.listen: [] while it is off"),
    },
    Row {
        block: "http_api",
        names: "listen=1985",
        fate: Fate::Key(
            "api.listen, also on the port of http_server; without auth everybody may read (api.read_from)",
        ),
    },
    Row { block: "http_api", names: "crossdomain=on", fate: Fate::Key("api.web_origins") },
    Row { block: "http_api", names: "raw_api auth https", fate: Fate::Block { many: false } },
    Row {
        block: "http_api.raw_api",
        names: "enabled=off allow_reload=off",
        fate: Fate::Key("api.raw_reload"),
    },
    Row {
        block: "http_api.raw_api",
        names: "allow_query allow_update",
        fate: Fate::Always("always off, as in SRS since version 4"),
    },
    Row {
        block: "http_api.auth",
        names: "enabled=off username password",
        fate: Fate::Key("api.basic"),
    },
    Row { block: "http_api.https", names: "enabled=off listen=1990 key cert", fate: Fate::Within },
    Row { block: "exporter", names: "enabled=off listen=9972", fate: Fate::Key("metrics.listen") },
    Row { block: "exporter", names: "label", fate: Fate::Key("metrics.label") },
    Row { block: "exporter", names: "tag", fate: Fate::Key("metrics.tag") },
    Row { block: "vhost", names: "http_static http_remux", fate: Fate::Block { many: false } },
    Row { block: "vhost.http_static", names: "enabled=off mount dir", fate: Fate::Within },
    Row {
        block: "vhost.http_remux",
        names: "enabled=off",
        fate: Fate::Key("play.formats: [] while it is off"),
    },
    Row {
        block: "vhost.http_remux",
        names: "mount=[vhost]/[app]/[stream].flv",
        fate: Fate::Key("play.formats, and play.mounts for other paths"),
    },
    Row {
        block: "vhost.http_remux",
        names: "fast_cache=0",
        fate: Fate::Instead(
            "streams without pictures begin with what play.window holds, not with a cache of their own",
        ),
    },
    Row {
        block: "vhost.http_remux",
        names: "drop_if_not_match has_audio has_video guess_has_av hstrs",
        fate: Fate::Always("the header says which tracks the stream has"),
    },
];

/// The HTTP listeners.
pub(super) fn read(
    reading: &mut Reading,
    get: &dyn Fn(&str) -> Option<Directive>,
) -> Result<(), Refused> {
    let server = get("http_server");
    let api = get("http_api");
    let of_server = listen(reading, server.as_ref(), "http_server", ("http", "8080"))?;
    let https =
        server.as_ref().and_then(|server| server.get("https")).filter(|_| of_server.is_some());
    let of_https = tls::read(reading, https, "http_server.https", ("http", "8088"))?;
    let of_api = listen(reading, api.as_ref(), "http_api", ("api", "1985"))?;
    let own = api.as_ref().filter(|_| of_api.is_some()).and_then(|api| api.get("https"));
    let own = own.filter(|https| is_on(https.get("enabled"), false));
    match of_https.filter(|_| of_api.is_some() && of_api == of_server) {
        Some(of_https) if shares(own, &of_https)? => {
            let at = api.as_ref().map_or(Place::NOWHERE, place_of);
            let both = of_api.clone().into_iter().chain([of_https]);
            let both = both.map(|address| one(at, address)).collect();
            reading.root.set(&["api", "listen"], list(at, both));
        }
        _ => {
            if let Some(own) = own {
                let what = "the API has no port with TLS beside the one of http_api.listen: give both those of \
                    http_server, or set api.tls in YAML";
                reading.note(own.name.at, "http_api.https", what);
            }
        }
    }
    if let Some(api) = api.as_ref().filter(|_| of_api.is_some()) {
        read_api(reading, api)?;
    }
    let exporter = get("exporter").filter(|it| is_on(it.get("enabled"), false));
    let Some(exporter) = exporter else { return Ok(()) };
    listen(reading, Some(&exporter), "exporter", ("metrics", "9972"))?;
    for name in ["label", "tag"] {
        if let Some(said) = exporter.get(name).filter(|said| !said.arg().is_empty()) {
            reading.root.set(&["metrics", name], one(place_of(said), said.arg()));
        }
    }
    Ok(())
}

/// Sets `listen` of `section`; returns the address, if it is on.
fn listen(
    reading: &mut Reading,
    block: Option<&Directive>,
    path: &str,
    (section, port): (&str, &str),
) -> Result<Option<String>, Refused> {
    let at = block.map_or(Place::NOWHERE, place_of);
    let switch_at = block.and_then(|block| block.get("enabled"));
    if let Some(enabled) = switch_at {
        switch(enabled, &format!("{path}.enabled"))?;
    }
    if !is_on(switch_at, false) {
        let at = switch_at.map_or(at, place_of);
        reading.root.set(&[section, "listen"], list(at, Vec::new()));
        return Ok(None);
    }
    let said = block.and_then(|block| block.get("listen")).and_then(|it| it.args.first());
    let (at, address) = match said {
        Some(word) => (place(word.at), address(word, &format!("{path}.listen"))?),
        None => (at, format!("0.0.0.0:{port}")),
    };
    reading.root.set(&[section, "listen"], list(at, vec![one(at, address.clone())]));
    Ok(Some(address))
}

/// Whether the API is on the port with TLS for viewers too, as in SRS where both have the port without: unless its own
/// block has another.
fn shares(own: Option<&Directive>, of_https: &str) -> Result<bool, Refused> {
    let said = own.and_then(|own| own.get("listen")).and_then(|listen| listen.args.first());
    Ok(match said {
        Some(word) => address(word, "http_api.https.listen")? == of_https,
        None => true,
    })
}

fn read_api(reading: &mut Reading, api: &Directive) -> Result<(), Refused> {
    let auth = api.get("auth").filter(|auth| is_on(auth.get("enabled"), false));
    match auth {
        Some(auth) => {
            let at = place_of(auth);
            for name in ["username", "password"] {
                let said = auth.get(name);
                let value = said.map_or_else(|| one(at, ""), |it| one(place_of(it), it.arg()));
                reading.root.set(&["api", "basic", name], value);
            }
        }
        None => {
            let everybody = ["0.0.0.0/0", "::/0"].map(|network| one(Place::NOWHERE, network));
            reading.root.set(&["api", "read_from"], list(Place::NOWHERE, everybody.to_vec()));
        }
    }
    if is_on(api.get("crossdomain"), true) {
        let all = vec![one(Place::NOWHERE, "*")];
        reading.root.set(&["api", "web_origins"], list(Place::NOWHERE, all));
    }
    let raw = api.get("raw_api").filter(|raw| is_on(raw.get("enabled"), false));
    if let Some(reload) = raw.and_then(|raw| raw.get("allow_reload")) {
        let is_allowed = switch(reload, "http_api.raw_api.allow_reload")?;
        reading.root.set(&["api", "raw_reload"], one(place_of(reload), is_allowed.to_string()));
    }
    reading.usual(&["api", "srs_status"], "true");
    Ok(())
}

/// What of `http_remux` is `play` of a vhost.
pub(super) fn vhost(
    reading: &mut Reading,
    out: &mut Builder,
    vhost: &Directive,
) -> Result<(), Refused> {
    const PATH: &str = "vhost.http_remux.mount";
    let remux = vhost.get("http_remux");
    let enabled = remux.and_then(|remux| remux.get("enabled"));
    if let Some(enabled) = enabled {
        switch(enabled, "vhost.http_remux.enabled")?;
    }
    let Some(remux) = remux.filter(|_| is_on(enabled, false)) else {
        let at = enabled.map_or(Place::NOWHERE, place_of);
        out.set(&["play", "formats"], list(at, Vec::new()));
        return Ok(());
    };
    let usual = Directive { name: remux.name.clone(), args: Vec::new(), block: None };
    let mount = remux.get("mount").unwrap_or(&usual);
    let text = if mount.arg().is_empty() { "[vhost]/[app]/[stream].flv" } else { mount.arg() };
    let at = place_of(mount);
    let extension = text.rsplit_once('.').map_or("", |(_, extension)| extension);
    if !["flv", "ts", "mp3", "aac"].contains(&extension) {
        let what = format!("`{text}` has none of the endings .flv, .ts, .mp3 and .aac");
        return Err(super::reading::wrong(mount, PATH, what, "write [vhost]/[app]/[stream].flv"));
    }
    out.set(&["play", "formats"], list(at, vec![one(at, extension)]));
    let path = text.strip_prefix("[vhost]").unwrap_or(text);
    if path.strip_suffix(extension) == Some("/[app]/[stream].") {
        return Ok(());
    }
    let mut path = path.replace("[app]", "{app}").replace("[stream]", "{stream}");
    if let Some(host) = vhost.args.first().and_then(|name| path.strip_prefix(&*name.text)) {
        path = host.to_owned();
    }
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    if path.contains('[') || !path.contains("{app}") || !path.contains("{stream}") {
        let what = format!(
            "streams are at /APP/STREAM.{extension}: Weir mounts no other names than those of app and stream"
        );
        reading.note(mount.arg_at(), PATH, what);
        return Ok(());
    }
    let mut one_mount = Builder::default();
    one_mount.set(&["path"], one(at, path));
    out.push(&["play", "mounts"], one_mount.node(at));
    Ok(())
}
