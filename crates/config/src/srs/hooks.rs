//! Callbacks.

use weir_conf::Directive;

use super::{
    super::document::{Builder, Refused, list, one, place},
    reading::{is_on, place_of},
    row::{Fate, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row { block: "vhost", names: "http_hooks", fate: Fate::Block { many: false } },
    Row { block: "vhost.http_hooks", names: "enabled=off", fate: Fate::Key("hooks") },
    Row { block: "vhost.http_hooks", names: "on_connect", fate: Fate::Key("hooks.on_connect") },
    Row { block: "vhost.http_hooks", names: "on_close", fate: Fate::Key("hooks.on_close") },
    Row { block: "vhost.http_hooks", names: "on_publish", fate: Fate::Key("hooks.on_publish") },
    Row { block: "vhost.http_hooks", names: "on_unpublish", fate: Fate::Key("hooks.on_unpublish") },
    Row { block: "vhost.http_hooks", names: "on_play", fate: Fate::Key("hooks.on_play") },
    Row { block: "vhost.http_hooks", names: "on_stop", fate: Fate::Key("hooks.on_stop") },
    Row { block: "vhost.http_hooks", names: "on_dvr", fate: Fate::Key("hooks.on_dvr") },
    Row { block: "vhost.http_hooks", names: "on_hls", fate: Fate::Key("hooks.on_hls") },
    Row {
        block: "vhost.http_hooks",
        names: "on_hls_notify",
        fate: Fate::Instead(
            "it is not called: to fill a cache with segments, use on_hls or an upload",
        ),
    },
];

/// The callbacks that a back end decides with, or hears of.
const NAMES: [&str; 8] = [
    "on_connect",
    "on_close",
    "on_publish",
    "on_unpublish",
    "on_play",
    "on_stop",
    "on_dvr",
    "on_hls",
];

/// `hooks` of a vhost.
pub(super) fn vhost(out: &mut Builder, vhost: &Directive) -> Result<(), Refused> {
    let hooks = vhost.get("http_hooks");
    let Some(hooks) = hooks.filter(|hooks| is_on(hooks.get("enabled"), false)) else {
        return Ok(());
    };
    for name in NAMES {
        let Some(said) = hooks.get(name).filter(|said| !said.args.is_empty()) else { continue };
        let urls = said.args.iter().map(|word| one(place(word.at), word.text.as_str())).collect();
        out.set(&["hooks", name], list(place_of(said), urls));
    }
    Ok(())
}
