//! What other programs do: FFmpeg that ingests and transcodes, and commands.

use weir_conf::Directive;
use weir_media::DEFAULT_VHOST;

use super::{
    super::document::{Builder, Refused, one},
    reading::{Reading, is_on, place_of},
    row::{Fate, Row},
};

/// What is not there yet.
const TRANSCODE: &str = "nothing is transcoded: run FFmpeg beside Weir, and publish what it makes";

pub(super) const ROWS: &[Row] = &[
    Row { block: "vhost", names: "exec", fate: Fate::Block { many: false } },
    Row { block: "vhost.exec", names: "enabled=off publish", fate: Fate::Within },
    Row { block: "vhost", names: "transcode ingest", fate: Fate::Block { many: true } },
    Row { block: "vhost.transcode", names: "enabled=off", fate: Fate::Instead(TRANSCODE) },
    Row { block: "vhost.transcode", names: "ffmpeg", fate: Fate::Within },
    Row { block: "vhost.transcode", names: "engine", fate: Fate::Free },
    Row { block: "vhost.ingest", names: "enabled=off", fate: Fate::Key("pull") },
    Row {
        block: "vhost.ingest",
        names: "ffmpeg",
        fate: Fate::Always("FLV files, RTMP and HTTP-FLV need no other program"),
    },
    Row { block: "vhost.ingest", names: "input", fate: Fate::Block { many: false } },
    Row {
        block: "vhost.ingest.input",
        names: "type url",
        fate: Fate::Key("pull[].from: FLV files, rtmp:// and http:// URLs"),
    },
    Row { block: "vhost.ingest", names: "engine", fate: Fate::Free },
];

/// `ingest` of a vhost: streams that are pulled.
pub(super) fn vhost(
    reading: &mut Reading,
    vhost: &Directive,
    is_edge: bool,
) -> Result<(), Refused> {
    let all = vhost.inner().iter().filter(|it| it.name.text == "ingest");
    for ingest in all.filter(|ingest| is_on(ingest.get("enabled"), false)) {
        let note = |reading: &mut Reading, what: &str| {
            reading.note(ingest.name.at, "vhost.ingest", what);
        };
        if is_edge {
            note(reading, "an edge has its streams from its origins: ingest there");
            continue;
        }
        let Some(engine) = ingest.get("engine") else {
            note(reading, "it has no engine with an output, and does nothing, as in SRS");
            continue;
        };
        let Some(stream) = engine.get("output").and_then(|it| stream(it.arg())) else {
            note(reading, "its output is not a stream of this server, and it is left out");
            continue;
        };
        let input = ingest.get("input").and_then(|input| input.get("url"));
        let Some((input, from)) = input.and_then(|url| Some((url, source(url.arg())?))) else {
            note(
                reading,
                "only FLV files, rtmp:// and HTTP-FLV are pulled; run FFmpeg beside Weir for others",
            );
            continue;
        };
        let codec = |name: &str| engine.get(name).map_or("copy", Directive::arg);
        if is_on(engine.get("enabled"), false) && [codec("vcodec"), codec("acodec")] != ["copy"; 2]
        {
            note(reading, "the stream is taken as it is: Weir does not transcode");
        }
        let at = place_of(input);
        let stream = match vhost.arg() {
            DEFAULT_VHOST => stream,
            name => format!("{name}/{stream}"),
        };
        let mut pull = Builder::default();
        pull.set(&["stream"], one(at, stream));
        pull.set(&["from"], one(at, from));
        reading.root.push(&["pull"], pull.node(at));
    }
    Ok(())
}

/// App and stream of an output: `rtmp://127.0.0.1:[port]/live/livestream?vhost=[vhost]`.
fn stream(output: &str) -> Option<String> {
    let rest = output.strip_prefix("rtmp://")?;
    let (host, path) = rest.split_once('/')?;
    let is_here = ["127.0.0.1", "localhost", "[::1]"].iter().any(|here| host.starts_with(here));
    let path = path.split('?').next().unwrap_or_default();
    let is_named = path.contains('/') && !path.contains('[');
    (is_here && is_named).then(|| path.to_owned())
}

/// What Weir pulls by itself.
fn source(url: &str) -> Option<String> {
    let path = url.split('?').next().unwrap_or_default();
    let is_flv = path.ends_with(".flv");
    match url.split_once("://") {
        Some(("rtmp" | "rtmps", _)) => Some(url.to_owned()),
        Some(("http" | "https", _)) if is_flv => Some(url.to_owned()),
        Some(_) => None,
        None if is_flv => Some(format!("file:{url}")),
        None => None,
    }
}
