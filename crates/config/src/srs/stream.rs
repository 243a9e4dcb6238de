//! Publishing and playing: what vhosts say about streams.

use std::time::Duration;

use weir_conf::Directive;

use super::{
    super::document::{Builder, Refused, one},
    reading::{Reading, is_on, millis, place_of, seconds, switch, time},
    row::{Fate, Row},
};

pub(super) const ROWS: &[Row] = &[
    Row { block: "", names: "vhost", fate: Fate::Block { many: true } },
    Row {
        block: "vhost",
        names: "enabled=on",
        fate: Fate::Key("auth.publish and auth.play, which refuse everybody while it is off"),
    },
    Row { block: "vhost", names: "min_latency=off", fate: Fate::Key("play.flush: 0ms") },
    Row { block: "vhost", names: "tcp_nodelay", fate: Fate::Always("always on") },
    Row { block: "vhost", names: "play publish mr", fate: Fate::Block { many: false } },
    Row {
        block: "vhost",
        names: "time_jitter mix_correct atc atc_auto mw_latency gop_cache gop_cache_max_frames queue_length \
            send_min_interval reduce_sequence_header",
        fate: Fate::Moved("vhost.play.*"),
    },
    Row {
        block: "vhost",
        names: "publish_1stpkt_timeout",
        fate: Fate::Moved("vhost.publish.firstpkt_timeout"),
    },
    Row {
        block: "vhost",
        names: "publish_normal_timeout",
        fate: Fate::Moved("vhost.publish.normal_timeout"),
    },
    Row { block: "vhost.mr", names: "enabled", fate: Fate::Moved("vhost.publish.mr") },
    Row { block: "vhost.mr", names: "latency", fate: Fate::Moved("vhost.publish.mr_latency") },
    Row { block: "vhost.play", names: "gop_cache=on", fate: Fate::Key("play.gop") },
    Row {
        block: "vhost.play",
        names: "gop_cache_max_frames=2500",
        fate: Fate::Instead(
            "a group of pictures is bounded by its bytes (limits.stream_memory), not by its frames",
        ),
    },
    Row {
        block: "vhost.play",
        names: "queue_length=30",
        fate: Fate::Key(
            "play.window; a viewer that falls behind goes on at the newest group of pictures, and nothing in the \
                middle of one is dropped",
        ),
    },
    Row {
        block: "vhost.play",
        names: "mw_latency",
        fate: Fate::Key("play.flush (without it each picture at once, where SRS waits 350 ms)"),
    },
    Row {
        block: "vhost.play",
        names: "mw_msgs",
        fate: Fate::Always("what waits is sent after mw_latency, however much it is"),
    },
    Row {
        block: "vhost.play",
        names: "send_min_interval=0",
        fate: Fate::Instead("what comes is sent as it comes; to send less often, use mw_latency"),
    },
    Row {
        block: "vhost.play",
        names: "time_jitter=full",
        fate: Fate::Instead("timestamps are made monotonous as with `full`, for all viewers"),
    },
    Row {
        block: "vhost.play",
        names: "atc=off atc_auto=off",
        fate: Fate::Instead("viewers get the timestamps that streams have since they began"),
    },
    Row {
        block: "vhost.play",
        names: "mix_correct=off",
        fate: Fate::Instead("sound and pictures are passed on in the order in which they come"),
    },
    Row {
        block: "vhost.play",
        names: "reduce_sequence_header",
        fate: Fate::Always("headers that say the same again are left out"),
    },
    Row {
        block: "vhost.publish",
        names: "mr mr_latency",
        fate: Fate::Always("publishers are read as their bytes come"),
    },
    Row {
        block: "vhost.publish",
        names: "normal_timeout",
        fate: Fate::Key("publish.idle_timeout (without it 10s, where SRS waits 5 s)"),
    },
    Row {
        block: "vhost.publish",
        names: "firstpkt_timeout=20000",
        fate: Fate::Instead(
            "a publisher may be silent for as long at its beginning as later (normal_timeout, \
                publish.idle_timeout)",
        ),
    },
    Row {
        block: "vhost.publish",
        names: "parse_sps try_annexb_first",
        fate: Fate::Always("codec headers are always read"),
    },
    Row {
        block: "vhost.publish",
        names: "kickoff_for_idle=0",
        fate: Fate::Key("publish.unwatched_timeout; viewers of HLS count, too"),
    },
];

/// What a viewer may fall behind, and how long a publisher may be silent.
const WINDOW: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));
const SILENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// How long nobody may watch it.
const UNWATCHED: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(24 * 3600));
/// How long pictures may wait.
const FLUSH: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(1));

/// `play` and `publish` of a vhost.
pub(super) fn vhost(
    reading: &mut Reading,
    out: &mut Builder,
    vhost: &Directive,
) -> Result<(), Refused> {
    let play = |name: &str| vhost.get("play").and_then(|play| play.get(name));
    if let Some(gop) = play("gop_cache") {
        let is_kept = switch(gop, "vhost.play.gop_cache")?;
        out.set(&["play", "gop"], one(place_of(gop), is_kept.to_string()));
    }
    if let Some(queue) = play("queue_length") {
        const PATH: &str = "vhost.play.queue_length";
        let window = seconds(queue, PATH)?;
        let window = reading.bounded(queue, PATH, window, WINDOW);
        out.set(&["play", "window"], time(queue, window));
    }
    let min_latency = vhost.get("min_latency");
    if let Some(latency) = min_latency {
        switch(latency, "vhost.min_latency")?;
    }
    match (min_latency.filter(|it| is_on(Some(it), false)), play("mw_latency")) {
        (Some(latency), None) => out.set(&["play", "flush"], one(place_of(latency), "0ms")),
        (_, Some(merged)) => {
            const PATH: &str = "vhost.play.mw_latency";
            let flush = millis(merged, PATH)?;
            let flush = reading.bounded(merged, PATH, flush, FLUSH);
            out.set(&["play", "flush"], time(merged, flush));
        }
        (None, None) => {}
    }
    let publish = vhost.get("publish");
    if let Some(silent) = publish.and_then(|publish| publish.get("normal_timeout")) {
        const PATH: &str = "vhost.publish.normal_timeout";
        let timeout = millis(silent, PATH)?;
        let timeout = reading.bounded(silent, PATH, timeout, SILENCE);
        out.set(&["publish", "idle_timeout"], time(silent, timeout));
    }
    if let Some(idle) = publish.and_then(|publish| publish.get("kickoff_for_idle")) {
        const PATH: &str = "vhost.publish.kickoff_for_idle";
        let timeout = reading.bounded(idle, PATH, seconds(idle, PATH)?, UNWATCHED);
        out.set(&["publish", "unwatched_timeout"], time(idle, timeout));
    }
    Ok(())
}
