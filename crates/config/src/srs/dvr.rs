//! Recording.

use std::time::Duration;

use weir_conf::Directive;

use super::{
    super::{
        document::{Builder, Refused, list, one, place},
        tree::Place,
        value::Human,
    },
    reading::{Reading, place_of, seconds, switch, wrong},
    row::{Fate, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row { block: "vhost", names: "dvr", fate: Fate::Block { many: false } },
    Row {
        block: "vhost.dvr",
        names: "enabled=off",
        fate: Fate::Key("record.dir, which is empty while it is off; record.split.publisher"),
    },
    Row { block: "vhost.dvr", names: "dvr_apply=all", fate: Fate::Key("record.streams") },
    Row {
        block: "vhost.dvr",
        names: "dvr_plan=session dvr_duration=30",
        fate: Fate::Key("record.split.duration: 0s for session, dvr_duration for segment"),
    },
    Row {
        block: "vhost.dvr",
        names: "dvr_path=./objs/nginx/html/[app]/[stream].[timestamp].flv",
        fate: Fate::Key(
            "record.dir, record.path and record.container (.mp4 is fragmented); dates are UTC",
        ),
    },
    Row {
        block: "vhost.dvr",
        names: "dvr_wait_keyframe=on",
        fate: Fate::Instead("files begin with a key frame"),
    },
    Row {
        block: "vhost.dvr",
        names: "time_jitter=full",
        fate: Fate::Always("timestamps are those of the stream"),
    },
];

/// Where SRS records if nothing is said.
const USUAL_PATH: &str = "./objs/nginx/html/[app]/[stream].[timestamp].flv";
/// What a file is called in a folder for which no name is said.
const USUAL_NAME: &str = "[stream].[timestamp].flv";
/// How long a file of several is where nothing is said, and may be.
const USUAL_DURATION: Duration = Duration::from_secs(30);
const DURATION: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(7 * 24 * 3600));

/// `record` of a vhost.
pub(super) fn vhost(
    reading: &mut Reading,
    out: &mut Builder,
    vhost: &Directive,
    is_edge: bool,
) -> Result<(), Refused> {
    let Some(dvr) = vhost.get("dvr") else { return Ok(()) };
    let Some(enabled) = dvr.get("enabled") else { return Ok(()) };
    if !switch(enabled, "vhost.dvr.enabled")? {
        return Ok(());
    }
    if is_edge {
        let what = "an edge records nothing: record at the origins";
        reading.note(enabled.arg_at(), "vhost.dvr.enabled", what);
    }
    let at = place_of(enabled);
    streams(out, dvr, at);
    split(reading, out, dvr)?;
    let said = dvr.get("dvr_path").filter(|said| !said.arg().is_empty());
    let (at, text) = said.map_or((at, USUAL_PATH), |said| (place_of(said), said.arg()));
    let (whole, container) = match text.rsplit_once('.') {
        Some((_, "flv")) => (text.to_owned(), "flv"),
        Some((_, "mp4")) => (text.to_owned(), "mp4"),
        _ => (format!("{}/{USUAL_NAME}", text.trim_end_matches('/')), "flv"),
    };
    let (dir, path) = folder(&whole);
    out.set(&["record", "dir"], one(at, dir));
    out.set(
        &["record", "path"],
        one(at, path.strip_suffix(&format!(".{container}")).unwrap_or(path)),
    );
    out.set(&["record", "container"], one(at, container));
    // There is no linger: a file is finished, and told of, when its publisher has gone.
    out.set(&["record", "split", "publisher"], one(Place::NOWHERE, "true"));
    Ok(())
}

/// The folder that all files are below, and what is different below it.
fn folder(path: &str) -> (&str, &str) {
    let variable = path.find('[').unwrap_or(path.len());
    match path[..variable].rfind('/') {
        Some(0) => ("/", &path[1..]),
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (".", path),
    }
}

fn streams(out: &mut Builder, dvr: &Directive, at: Place) {
    let apply = dvr.get("dvr_apply").filter(|apply| !apply.arg().is_empty());
    match apply.filter(|apply| apply.args.iter().all(|word| word.text != "all")) {
        Some(apply) => {
            let all = apply.args.iter().map(|word| one(place(word.at), word.text.as_str()));
            out.set(&["record", "streams"], list(place_of(apply), all.collect()));
        }
        None => out.set(&["record", "streams"], list(at, vec![one(at, "*")])),
    }
}

fn split(reading: &mut Reading, out: &mut Builder, dvr: &Directive) -> Result<(), Refused> {
    const PLAN: &str = "vhost.dvr.dvr_plan";
    const LENGTH: &str = "vhost.dvr.dvr_duration";
    let Some(plan) = dvr.get("dvr_plan") else { return Ok(()) };
    match plan.arg() {
        "session" => return Ok(()),
        "append" => {
            reading.note(plan.arg_at(), PLAN, "each publish is a file, as with session");
            return Ok(());
        }
        "segment" => {}
        other => {
            let what = format!("`{other}` is neither session nor segment");
            return Err(wrong(plan, PLAN, what, "write session or segment"));
        }
    }
    let said = dvr.get("dvr_duration");
    let duration = said.map_or(Ok(USUAL_DURATION), |said| seconds(said, LENGTH))?;
    let said = said.unwrap_or(plan);
    let duration = reading.bounded(said, LENGTH, duration, DURATION);
    out.set(&["record", "split", "duration"], one(place_of(said), Human(duration).to_string()));
    Ok(())
}
