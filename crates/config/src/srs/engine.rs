//! Engines of SRS as arguments of FFmpeg.

use weir_conf::Directive;

use super::{
    super::{
        document::{Refused, one, place},
        tree::Node,
    },
    reading::{Reading, place_of, whole, wrong},
    row::{Fate, Row},
};

/// What an engine has, in `transcode` and in `ingest`.
const NAMES: &str = "vcodec vbitrate vfps vwidth vheight vthreads vprofile vpreset acodec abitrate asample_rate \
    achannels";
const LISTS: &str = "vfilter vparams aparams perfile";
const INPUT: &str = "FFmpeg finds out what comes in";
const OUTPUT: &str = "what is made is FLV, as RTMP carries it";

pub(super) const ROWS: &[Row] = &[
    Row { block: "vhost.transcode.engine", names: "enabled=off", fate: Fate::Key("transcode") },
    Row { block: "vhost.transcode.engine", names: NAMES, fate: Fate::Key("transcode[].args") },
    Row { block: "vhost.transcode.engine", names: LISTS, fate: Fate::Free },
    Row { block: "vhost.transcode.engine", names: "iformat=flv", fate: Fate::Always(INPUT) },
    Row { block: "vhost.transcode.engine", names: "oformat=flv", fate: Fate::Instead(OUTPUT) },
    Row {
        block: "vhost.transcode.engine",
        names: "output",
        fate: Fate::Key("transcode[].to; [param] is left out"),
    },
    Row { block: "vhost.ingest.engine", names: "enabled=off", fate: Fate::Key("ingest[].args") },
    Row { block: "vhost.ingest.engine", names: NAMES, fate: Fate::Key("ingest[].args") },
    Row { block: "vhost.ingest.engine", names: LISTS, fate: Fate::Free },
    Row { block: "vhost.ingest.engine", names: "iformat=flv", fate: Fate::Always(INPUT) },
    Row { block: "vhost.ingest.engine", names: "oformat=flv", fate: Fate::Instead(OUTPUT) },
    Row { block: "vhost.ingest.engine", names: "output", fate: Fate::Key("ingest[].stream") },
];

/// What stands before the input: `perfile { rtsp_transport tcp; }`.
pub(super) fn input(engine: &Directive) -> Vec<Node> {
    options(engine, "perfile")
}

/// What stands between the input and the output.
pub(super) fn args(
    reading: &mut Reading,
    engine: &Directive,
    path: &str,
) -> Result<Vec<Node>, Refused> {
    let get = |name: &str| engine.get(name).filter(|it| !it.arg().is_empty());
    let mut all = options(engine, "vfilter");
    let codec = |name: &str| get(name).map_or("", Directive::arg);
    match codec("vcodec") {
        "vn" => flag(&mut all, get("vcodec"), "-vn"),
        "copy" => option(&mut all, get("vcodec"), "-c:v", str::to_owned),
        _ => {
            option(&mut all, get("vcodec"), "-c:v", str::to_owned);
            number(&mut all, get("vbitrate"), path, "-b:v", "k")?;
            rate(&mut all, get("vfps"), path)?;
            size(reading, &mut all, engine, path)?;
            number(&mut all, get("vthreads"), path, "-threads", "")?;
            option(&mut all, get("vprofile"), "-profile:v", str::to_owned);
            option(&mut all, get("vpreset"), "-preset", str::to_owned);
            all.extend(options(engine, "vparams"));
        }
    }
    match codec("acodec") {
        "an" => flag(&mut all, get("acodec"), "-an"),
        "copy" => option(&mut all, get("acodec"), "-c:a", str::to_owned),
        _ => {
            option(&mut all, get("acodec"), "-c:a", str::to_owned);
            number(&mut all, get("abitrate"), path, "-b:a", "k")?;
            number(&mut all, get("asample_rate"), path, "-ar", "")?;
            number(&mut all, get("achannels"), path, "-ac", "")?;
            all.extend(options(engine, "aparams"));
        }
    }
    Ok(all)
}

/// The options in the block `name`: `i logo.png;` is `-i logo.png`.
fn options(engine: &Directive, name: &str) -> Vec<Node> {
    let inner = engine.get(name).map(Directive::inner).unwrap_or_default();
    let words = inner.iter().flat_map(|option| {
        let name = one(place(option.name.at), format!("-{}", option.name.text));
        let values = option.args.iter().map(|word| one(place(word.at), word.text.as_str()));
        [name].into_iter().chain(values)
    });
    words.collect()
}

fn flag(all: &mut Vec<Node>, said: Option<&Directive>, name: &str) {
    all.extend(said.map(|said| one(place_of(said), name)));
}

fn option(
    all: &mut Vec<Node>,
    said: Option<&Directive>,
    name: &str,
    value: impl FnOnce(&str) -> String,
) {
    if let Some(said) = said {
        let at = place_of(said);
        all.extend([one(at, name), one(at, value(said.arg()))]);
    }
}

/// A whole number; 0 says nothing.
fn number(
    all: &mut Vec<Node>,
    said: Option<&Directive>,
    path: &str,
    name: &str,
    unit: &str,
) -> Result<(), Refused> {
    let Some(said) = said else { return Ok(()) };
    let value = whole(said, &format!("{path}.{}", said.name.text))?;
    option(all, Some(said).filter(|_| value > 0), name, |_| format!("{value}{unit}"));
    Ok(())
}

/// Pictures a second, which may have a fraction.
fn rate(all: &mut Vec<Node>, said: Option<&Directive>, path: &str) -> Result<(), Refused> {
    let Some(said) = said else { return Ok(()) };
    match said.arg().parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => {
            option(all, Some(said).filter(|_| rate > 0.0), "-r", str::to_owned);
            Ok(())
        }
        _ => {
            let what = format!("`{}` is not a number", said.arg());
            Err(wrong(said, &format!("{path}.vfps"), what, "write pictures a second, such as 25"))
        }
    }
}

/// The size of the picture, of which both sides are even, as in SRS.
fn size(
    reading: &mut Reading,
    all: &mut Vec<Node>,
    engine: &Directive,
    path: &str,
) -> Result<(), Refused> {
    let side = |name: &str| match engine.get(name).filter(|it| !it.arg().is_empty()) {
        Some(said) => whole(said, &format!("{path}.{name}")).map(|side| side & !1),
        None => Ok(0),
    };
    let (width, height) = (side("vwidth")?, side("vheight")?);
    let said = engine.get("vwidth").or_else(|| engine.get("vheight"));
    match said {
        Some(_) if width > 0 && height > 0 => {
            option(all, said, "-s", |_| format!("{width}x{height}"));
            option(all, said, "-aspect", |_| format!("{width}:{height}"));
        }
        Some(said) if width > 0 || height > 0 => {
            let what = "a size needs vwidth and vheight: as in SRS, one alone says nothing";
            reading.note(said.arg_at(), &format!("{path}.{}", said.name.text), what);
        }
        _ => {}
    }
    Ok(())
}
