//! Edges and their origins.

use weir_conf::{Directive, Word};
use weir_media::DEFAULT_VHOST;

use super::{
    super::{
        document::{Builder, Refused, list, one, place},
        value::Problem,
    },
    reading::{Reading, is_on, place_of},
    row::{Fate, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row { block: "vhost", names: "cluster", fate: Fate::Block { many: false } },
    Row {
        block: "vhost",
        names: "mode origin token_traverse debug_srs_upnode vhost",
        fate: Fate::Moved("vhost.cluster.*"),
    },
    Row {
        block: "vhost.cluster",
        names: "mode=local",
        fate: Fate::Key(
            "role: edge for remote; beside vhosts that are not remote: pull, when somebody watches",
        ),
    },
    Row { block: "vhost.cluster", names: "origin", fate: Fate::Key("edge.origins") },
    Row {
        block: "vhost.cluster",
        names: "protocol=rtmp",
        fate: Fate::Key("edge.protocol and edge.http_port"),
    },
    Row {
        block: "vhost.cluster",
        names: "vhost",
        fate: Fate::Key("pull, with this vhost in its URL"),
    },
    Row {
        block: "vhost.cluster",
        names: "token_traverse",
        fate: Fate::Key("edge.auth: the origins are asked about each viewer, unless it is off"),
    },
    Row {
        block: "vhost.cluster",
        names: "follow_client",
        fate: Fate::Always("edges follow redirects to other origins (edge.redirects)"),
    },
    Row {
        block: "vhost.cluster",
        names: "debug_srs_upnode",
        fate: Fate::Always("the log says which origin a stream is from"),
    },
    Row {
        block: "vhost.cluster",
        names: "origin_cluster=off coworkers",
        fate: Fate::Instead(
            "origins do not ask each other: name all of them at each edge, which asks all for a stream",
        ),
    },
];

/// A vhost that is an edge.
struct Remote<'v> {
    name: &'v str,
    mode: &'v Directive,
    cluster: &'v Directive,
}

impl<'v> Remote<'v> {
    fn of(vhost: &'v Directive) -> Option<Self> {
        let cluster = vhost.get("cluster")?;
        let mode = cluster.get("mode").filter(|mode| mode.arg() == "remote")?;
        Some(Self { name: vhost.arg(), mode, cluster })
    }

    fn origins(&self) -> &'v [Word] {
        self.cluster.get("origin").map_or(&[], |origin| &origin.args)
    }

    fn protocol(&self) -> &'v str {
        self.cluster.get("protocol").map_or("rtmp", Directive::arg)
    }

    /// The vhost that its streams have at the origins, if that is another one.
    fn vhost(&self) -> Option<&'v str> {
        let vhost = self.cluster.get("vhost").map(Directive::arg);
        vhost.filter(|other| !other.is_empty() && *other != "[vhost]" && *other != self.name)
    }

    /// Whether both have their streams from the same place.
    fn is_same(&self, other: &Self) -> bool {
        let texts =
            |of: &Self| of.origins().iter().map(|word| word.text.clone()).collect::<Vec<_>>();
        texts(self) == texts(other) && self.protocol() == other.protocol()
    }
}

/// What vhosts say about origins. Returns whether the process is an edge.
pub(super) fn read(reading: &mut Reading, vhosts: &[&Directive]) -> Result<bool, Refused> {
    let live: Vec<_> = vhosts.iter().filter(|vhost| is_on(vhost.get("enabled"), true)).collect();
    for vhost in &live {
        modes(vhost)?;
    }
    let remote: Vec<_> = live.iter().filter_map(|vhost| Remote::of(vhost)).collect();
    let Some(first) = remote.first() else { return Ok(false) };
    for edge in &remote {
        if edge.origins().is_empty() {
            let what = "an edge needs an origin, but `origin` names none";
            return Err(refused(edge.mode, what, "write origin HOST:1935;"));
        }
    }
    let is_edge = remote.len() == live.len()
        && remote.iter().all(|other| other.is_same(first) && other.vhost().is_none());
    match is_edge {
        true => edge(reading, first)?,
        false => remote.iter().try_for_each(|edge| pull(reading, edge))?,
    }
    Ok(is_edge)
}

fn modes(vhost: &Directive) -> Result<(), Refused> {
    let Some(mode) = vhost.get("cluster").and_then(|cluster| cluster.get("mode")) else {
        return Ok(());
    };
    match mode.arg() {
        "local" | "remote" => Ok(()),
        other => {
            let what = format!("`{other}` is neither local nor remote");
            Err(super::reading::wrong(mode, "vhost.cluster.mode", what, "write local or remote"))
        }
    }
}

fn refused(directive: &Directive, what: &str, fix: &str) -> Refused {
    let problem = Problem::new(what, fix);
    Refused { at: directive.arg_at(), directive: "vhost.cluster".to_owned(), problem }
}

/// The process is an edge of these origins.
fn edge(reading: &mut Reading, first: &Remote<'_>) -> Result<(), Refused> {
    let at = place_of(first.mode);
    reading.root.set(&["role"], one(at, "edge"));
    let protocol = first.protocol();
    let is_http = match protocol {
        "rtmp" => false,
        "flv" | "flvs" => true,
        other => {
            let what = format!("`{other}` is none of rtmp, flv and flvs");
            return Err(refused(first.mode, &what, "write protocol rtmp;"));
        }
    };
    let origins = first.origins().iter().map(|word| {
        let host = word.text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        let text = match (protocol, host) {
            ("flv", Some((host, _))) => host.to_owned(),
            ("flvs", _) => format!("https://{}", word.text),
            _ => word.text.clone(),
        };
        one(place(word.at), text)
    });
    let at = first.cluster.get("origin").map_or(at, place_of);
    reading.root.set(&["edge", "origins"], list(at, origins.collect()));
    if is_http {
        reading.root.set(&["edge", "protocol"], one(at, "flv"));
        let port = first.origins().iter().find_map(|word| {
            let port = word.text.rsplit_once(':')?.1;
            port.parse::<u16>().ok().map(|_| one(place(word.at), port))
        });
        if let Some(port) = port {
            reading.root.set(&["edge", "http_port"], port);
        }
        let what = "publishes go to the origins over RTMP, at their port 1935";
        reading.note(first.mode.arg_at(), "vhost.cluster.protocol", what);
    }
    let traverse = first.cluster.get("token_traverse").filter(|it| it.arg() == "off");
    if let Some(off) = traverse {
        reading.root.set(&["edge", "auth"], one(place_of(off), "local"));
    }
    Ok(())
}

/// An origin on this machine has another HTTP port than this edge, which SRS never asks for.
pub(super) fn keep_apart(reading: &mut Reading, vhosts: &[&Directive], server: Option<&Directive>) {
    const USUAL: &str = "8080";
    let Some(server) = server.filter(|server| is_on(server.get("enabled"), false)) else { return };
    let listen = server.get("listen").map_or(USUAL, Directive::arg);
    let is_here = |word: &&Word| {
        ["127.", "localhost", "[::1]"].iter().any(|here| word.text.starts_with(here))
    };
    let edges = vhosts.iter().filter_map(|vhost| Remote::of(vhost));
    let is_rtmp = |edge: &Remote<'_>| edge.protocol() == "rtmp";
    let origin = edges.filter(is_rtmp).flat_map(|edge| edge.origins()).find(is_here);
    let Some(origin) = origin.filter(|_| listen.rsplit(':').next() == Some(USUAL)) else { return };
    reading.root.set(&["edge", "http_port"], one(place(origin.at), "8081"));
    let what = "the origin is on this machine, where port 8080 is this edge: HLS is asked for at its port 8081";
    reading.note(origin.at, "vhost.cluster.origin", what);
}

/// One vhost of several has its streams from elsewhere: they are pulled when somebody watches.
fn pull(reading: &mut Reading, edge: &Remote<'_>) -> Result<(), Refused> {
    let Some(origin) = edge.origins().first() else { return Ok(()) };
    let at = place(origin.at);
    let (scheme, suffix) = match edge.protocol() {
        "flv" => ("http", ".flv"),
        "flvs" => ("https", ".flv"),
        _ => ("rtmp", ""),
    };
    let vhost = edge.vhost().or(Some(edge.name).filter(|name| *name != DEFAULT_VHOST));
    let query = vhost.map_or(String::new(), |vhost| format!("?vhost={vhost}"));
    let from = format!("{scheme}://{}/{{app}}/{{stream}}{suffix}{query}", origin.text);
    let mut one_pull = Builder::default();
    let streams = match edge.name {
        DEFAULT_VHOST => "*".to_owned(),
        name => format!("{name}/*"),
    };
    one_pull.set(&["stream"], one(at, streams));
    one_pull.set(&["from"], one(at, from));
    one_pull.set(&["when"], one(at, "demand"));
    reading.root.push(&["pull"], one_pull.node(at));
    let what = "an edge beside vhosts that are none, or with other origins: its streams are pulled from the first \
        origin while somebody watches, and what is published here stays here";
    reading.note(edge.mode.arg_at(), "vhost.cluster.mode", what);
    Ok(())
}
