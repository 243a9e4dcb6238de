//! The heartbeat.

use std::time::Duration;

use weir_conf::Directive;

use super::{
    super::document::{Refused, one},
    reading::{Reading, bounded_time, is_on, place_of, seconds, switch},
    row::{Fate, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row { block: "", names: "heartbeat", fate: Fate::Block { many: false } },
    Row {
        block: "heartbeat",
        names: "enabled=off",
        fate: Fate::Key("heartbeat.url, which is null while it is off"),
    },
    Row {
        block: "heartbeat",
        names: "url=http://127.0.0.1:8085/api/v1/servers",
        fate: Fate::Key("heartbeat.url"),
    },
    Row {
        block: "heartbeat",
        names: "interval=10",
        fate: Fate::Key("heartbeat.interval, with its fraction, which SRS leaves out"),
    },
    Row { block: "heartbeat", names: "device_id", fate: Fate::Key("heartbeat.device_id") },
    Row { block: "heartbeat", names: "summaries=off", fate: Fate::Key("heartbeat.summaries") },
    Row { block: "heartbeat", names: "ports=off", fate: Fate::Key("heartbeat.ports") },
];

/// Where SRS sends it if nothing is said.
const USUAL_URL: &str = "http://127.0.0.1:8085/api/v1/servers";
/// How often it may be sent.
const INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// `heartbeat`.
pub(super) fn read(
    reading: &mut Reading,
    get: &dyn Fn(&str) -> Option<Directive>,
) -> Result<(), Refused> {
    let Some(block) = get("heartbeat") else { return Ok(()) };
    let Some(enabled) = block.get("enabled") else { return Ok(()) };
    if !switch(enabled, "heartbeat.enabled")? {
        return Ok(());
    }
    let said = |name: &str| block.get(name).filter(|said| !said.arg().is_empty());
    let url = said("url");
    let (at, text) = url.map_or((place_of(enabled), USUAL_URL), |url| (place_of(url), url.arg()));
    reading.root.set(&["heartbeat", "url"], one(at, text));
    if let Some(interval) = said("interval") {
        const PATH: &str = "heartbeat.interval";
        let value = bounded_time(reading, interval, PATH, seconds(interval, PATH)?, INTERVAL);
        reading.root.set(&["heartbeat", "interval"], value);
    }
    if let Some(id) = said("device_id") {
        reading.root.set(&["heartbeat", "device_id"], one(place_of(id), id.arg()));
    }
    for name in ["summaries", "ports"] {
        if let Some(said) = said(name) {
            let value = is_on(Some(said), false).to_string();
            reading.root.set(&["heartbeat", name], one(place_of(said), value));
        }
    }
    let stats = get("stats");
    let network = stats.as_ref().and_then(|stats| stats.get("network"));
    if let Some(network) = network.filter(|network| !["", "0"].contains(&network.arg())) {
        let what = "the heartbeat says the address by which this machine reaches the back end: for another one, set \
            SRS_DEVICE_IP, or heartbeat.ip in YAML";
        reading.note(network.arg_at(), "stats.network", what);
    }
    Ok(())
}
