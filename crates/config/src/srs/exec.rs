//! What other programs do: commands, FFmpeg that transcodes, and FFmpeg that brings streams in.

use weir_conf::{Directive, Word};
use weir_media::DEFAULT_VHOST;

use super::{
    super::{
        document::{Builder, Refused, list, one, place},
        tree::Node,
    },
    engine,
    reading::{Reading, is_on, place_of},
    row::{Fate, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row { block: "vhost", names: "exec", fate: Fate::Block { many: false } },
    Row { block: "vhost.exec", names: "enabled=off", fate: Fate::Key("exec") },
    Row {
        block: "vhost.exec",
        names: "publish",
        fate: Fate::Key(
            "exec[].run: [url], [vhost], [app], [stream], [port], [tcUrl] and [timestamp] are replaced; \
            what it writes goes to the log",
        ),
    },
    Row { block: "vhost", names: "transcode ingest", fate: Fate::Block { many: true } },
    Row { block: "vhost.transcode", names: "enabled=off", fate: Fate::Key("transcode") },
    Row { block: "vhost.transcode", names: "ffmpeg", fate: Fate::Key("transcode[].program") },
    Row { block: "vhost.transcode", names: "engine", fate: Fate::Block { many: true } },
    Row {
        block: "vhost.ingest",
        names: "enabled=off",
        fate: Fate::Key("pull for FLV files, RTMP and HTTP-FLV as they are; else ingest"),
    },
    Row { block: "vhost.ingest", names: "ffmpeg", fate: Fate::Key("ingest[].program") },
    Row { block: "vhost.ingest", names: "input", fate: Fate::Block { many: false } },
    Row {
        block: "vhost.ingest.input",
        names: "type url",
        fate: Fate::Key("pull[].from or ingest[].from; files are played again and again"),
    },
    Row { block: "vhost.ingest", names: "engine", fate: Fate::Block { many: true } },
];

/// `exec`, `transcode` and `ingest` of a vhost.
pub(super) fn vhost(
    reading: &mut Reading,
    out: &mut Builder,
    vhost: &Directive,
    is_edge: bool,
) -> Result<(), Refused> {
    let named = |name: &'static str| {
        let all = vhost.inner().iter().filter(move |it| it.name.text == name);
        all.filter(|block| is_on(block.get("enabled"), false))
    };
    if is_edge {
        for block in ["exec", "transcode", "ingest"].into_iter().flat_map(named) {
            let what = "nothing is run at an edge: do it at its origins";
            reading.note(block.name.at, &format!("vhost.{}", block.name.text), what);
        }
        return Ok(());
    }
    for exec in named("exec").take(1) {
        for publish in exec.inner().iter().filter(|it| it.name.text == "publish") {
            if !publish.args.is_empty() {
                let run = command(reading, &publish.args, "vhost.exec.publish", &SRS_WORDS);
                let mut entry = Builder::default();
                entry.set(&["run"], list(place_of(publish), run));
                out.push(&["exec"], entry.node(place_of(publish)));
            }
        }
    }
    for block in named("transcode") {
        let engines = block.inner().iter().filter(|it| it.name.text == "engine");
        for engine in engines.filter(|engine| is_on(engine.get("enabled"), false)) {
            transcode(reading, out, block, engine, vhost.arg())?;
        }
    }
    for block in named("ingest") {
        ingest(reading, block, vhost.arg())?;
    }
    Ok(())
}

/// What SRS calls our placeholders.
const SRS_WORDS: [(&str, &str); 8] = [
    ("[url]", "{url}"),
    ("[vhost]", "{vhost}"),
    ("[app]", "{app}"),
    ("[stream]", "{stream}"),
    ("[port]", "{port}"),
    ("[timestamp]", "{timestamp}"),
    ("[tcUrl]", "rtmp://127.0.0.1:{port}/{app}?vhost={vhost}"),
    ("[engine]", ""),
];

/// The words of a command with our placeholders, and without what only a shell does.
pub(in super::super) fn command(
    reading: &mut Reading,
    words: &[Word],
    path: &str,
    known: &[(&str, &str)],
) -> Vec<Node> {
    let mut all = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let behind = word.text.trim_start_matches(['0', '1', '2', '&']);
        if behind.starts_with('>') {
            if behind.trim_start_matches('>').is_empty() {
                words.next();
            }
            reading.note(word.at, path, "what the program writes goes to the log of Weir");
            continue;
        }
        let text =
            known.iter().fold(word.text.clone(), |text, (theirs, ours)| text.replace(theirs, ours));
        if text.contains("[pageUrl]") || text.contains("[swfUrl]") {
            reading.note(
                word.at,
                path,
                "[pageUrl] and [swfUrl] are left out: clients make them up",
            );
        }
        let text = text.replace("[pageUrl]", "").replace("[swfUrl]", "");
        all.push(one(place(word.at), text));
    }
    all
}

/// An engine of `transcode`.
fn transcode(
    reading: &mut Reading,
    out: &mut Builder,
    block: &Directive,
    engine: &Directive,
    vhost: &str,
) -> Result<(), Refused> {
    const PATH: &str = "vhost.transcode.engine";
    let at = place(engine.name.at);
    let Some(output) = engine.get("output").filter(|output| !output.arg().is_empty()) else {
        reading.note(engine.name.at, PATH, "it has no output, and does nothing, as in SRS");
        return Ok(());
    };
    let to = match target(output.arg(), vhost) {
        Ok(to) => to,
        Err(why) => {
            reading.note(output.arg_at(), PATH, why);
            return Ok(());
        }
    };
    let streams = match block.arg() {
        "" => "*".to_owned(),
        scope if scope.contains('/') => scope.to_owned(),
        app => format!("{app}/*"),
    };
    let name = match engine.arg() {
        "" => "transcoded",
        name => name,
    };
    let mut entry = Builder::default();
    entry.set(&["streams"], list(at, vec![one(at, streams)]));
    entry.set(&["name"], one(at, name));
    entry.set(&["to"], one(place_of(output), to));
    program(&mut entry, block);
    let input = engine::input(engine);
    if !input.is_empty() {
        entry.set(&["input"], list(at, input));
    }
    entry.set(&["args"], list(at, engine::args(reading, engine, PATH)?));
    out.push(&["transcode"], entry.node(at));
    Ok(())
}

fn program(entry: &mut Builder, block: &Directive) {
    if let Some(ffmpeg) = block.get("ffmpeg").filter(|ffmpeg| !ffmpeg.arg().is_empty()) {
        entry.set(&["program"], one(place_of(ffmpeg), ffmpeg.arg()));
    }
}

/// Where the output of an engine goes: a stream of its own vhost, or a URL.
fn target(output: &str, vhost: &str) -> Result<String, &'static str> {
    let filled = |text: &str| {
        let words = [("[vhost]", "{vhost}"), ("[app]", "{app}"), ("[stream]", "{stream}")];
        let words = words.into_iter().chain([("[engine]", "{name}"), ("[param]", "")]);
        words.fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
    };
    let Some(own) = here(output) else {
        return match output.contains("://") {
            true => Ok(filled(output).replace("[port]", "1935")),
            false => Err("its output is no URL, and it is left out: use exec for files"),
        };
    };
    match own.vhost.is_none_or(|of| of == "[vhost]" || of == vhost) {
        true => Ok(filled(&own.path)),
        false => Err("its output is in another vhost, and it is left out: use exec for that"),
    }
}

/// A stream of this server in a URL.
struct Here<'o> {
    path: String,
    vhost: Option<&'o str>,
}

/// `rtmp://127.0.0.1:[port]/[app]/[stream]_[engine]?vhost=[vhost]`, or with the vhost behind the app, as it was written
/// before SRS 4.
fn here(output: &str) -> Option<Here<'_>> {
    let rest = output.strip_prefix("rtmp://")?;
    let (host, path) = rest.split_once('/')?;
    let is_here = ["127.0.0.1", "localhost", "[::1]"].iter().any(|here| host.starts_with(here));
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let (query, stream) = query.split_once('/').unwrap_or((query, ""));
    let vhost = query.split('&').find_map(|param| param.strip_prefix("vhost="));
    let path = match stream {
        "" => path.to_owned(),
        stream => format!("{path}/{stream}"),
    };
    (is_here && path.contains('/')).then_some(Here { path, vhost })
}

/// The single stream of `vhost` that `output` names here, as `ingest` of Weir has it.
pub(super) fn stream_here(output: &str, vhost: &str) -> Option<String> {
    let path = here(output).map(|own| own.path).filter(|path| !path.contains('['))?;
    Some(match vhost {
        DEFAULT_VHOST => path,
        name => format!("{name}/{path}"),
    })
}

/// A block `ingest`, which may have several engines.
fn ingest(reading: &mut Reading, block: &Directive, vhost: &str) -> Result<(), Refused> {
    const PATH: &str = "vhost.ingest";
    let mut engines = block.inner().iter().filter(|it| it.name.text == "engine").peekable();
    if engines.peek().is_none() {
        let what = "it has no engine with an output, and does nothing, as in SRS";
        reading.note(block.name.at, PATH, what);
    }
    for engine in engines {
        let own = engine.get("output").and_then(|output| stream_here(output.arg(), vhost));
        let Some(stream) = own else {
            let what = "its output is not a stream of this server, and it is left out";
            reading.note(engine.name.at, PATH, what);
            continue;
        };
        let input = block.get("input").and_then(|input| input.get("url"));
        let Some(input) = input.filter(|url| !url.arg().is_empty()) else {
            reading.note(block.name.at, PATH, "it has no input, and does nothing, as in SRS");
            continue;
        };
        let codec = |name: &str| match engine.get(name).map(Directive::arg) {
            None | Some("") => "copy",
            Some(codec) => codec,
        };
        let is_copy = !is_on(engine.get("enabled"), false)
            || [codec("vcodec"), codec("acodec")] == ["copy"; 2];
        let at = place_of(input);
        let mut entry = Builder::default();
        entry.set(&["stream"], one(at, stream));
        let perfile = engine::input(engine);
        match source(input.arg()).filter(|_| is_copy && perfile.is_empty()) {
            Some(from) => {
                entry.set(&["from"], one(at, from));
                reading.root.push(&["pull"], entry.node(at));
            }
            None => {
                entry.set(&["from"], one(at, input.arg()));
                program(&mut entry, block);
                entry.set(&["input"], list(at, perfile));
                if !is_copy {
                    let args = engine::args(reading, engine, "vhost.ingest.engine")?;
                    entry.set(&["args"], list(at, args));
                }
                reading.root.push(&["ingest"], entry.node(at));
            }
        }
    }
    Ok(())
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
