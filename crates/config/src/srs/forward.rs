//! Streams that go on to other servers.

use weir_conf::Directive;

use super::{
    super::document::{Builder, Refused, list, one, place},
    reading::{Reading, is_on, place_of},
    row::{Fate, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row { block: "vhost", names: "forward", fate: Fate::Block { many: false } },
    Row { block: "vhost.forward", names: "enabled=off", fate: Fate::Key("forward") },
    Row {
        block: "vhost.forward",
        names: "destination",
        fate: Fate::Key(
            "forward[].to, with assume_enhanced: true: HEVC is sent without asking, as SRS does",
        ),
    },
    Row { block: "vhost.forward", names: "backend", fate: Fate::Key("hooks.on_forward") },
];

/// `forward` of a vhost.
pub(super) fn vhost(
    reading: &mut Reading,
    out: &mut Builder,
    vhost: &Directive,
    is_edge: bool,
) -> Result<(), Refused> {
    let forward = vhost.get("forward");
    let Some(forward) = forward.filter(|forward| is_on(forward.get("enabled"), false)) else {
        return Ok(());
    };
    if is_edge {
        let what =
            "an edge forwards nothing: forward at the origins, which get what is published here";
        reading.note(forward.name.at, "vhost.forward", what);
        return Ok(());
    }
    let backend = forward.get("backend").filter(|backend| !backend.arg().is_empty());
    if let Some(backend) = backend {
        let url = vec![one(place_of(backend), backend.arg())];
        out.set(&["hooks", "on_forward"], list(place_of(backend), url));
    }
    let Some(to) = forward.get("destination").filter(|to| !to.args.is_empty()) else {
        return Ok(());
    };
    // SRS asks the back end alone where there is one.
    if backend.is_some() {
        reading.note(
            to.arg_at(),
            "vhost.forward.destination",
            "streams go there as well as where the back end says",
        );
    }
    let at = place_of(to);
    let all = to.args.iter().map(|word| one(place(word.at), word.text.as_str())).collect();
    let mut targets = Builder::default();
    targets.set(&["to"], list(at, all));
    // SRS sends what it gets, and does not say itself that it takes HEVC.
    targets.set(&["assume_enhanced"], one(at, "true"));
    out.push(&["forward"], targets.node(at));
    Ok(())
}
