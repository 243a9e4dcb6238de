//! What a stream is published with: when its readers are told, and what its log keeps.

use std::time::Duration;

use weir_config::{Config, Flush as Configured, Play};
use weir_hub::{Flush, Limits};

/// What gathers this long before it is sent may wait a part of it to be read; less is not worth a timer.
const MERGED_MIN: Duration = Duration::from_millis(100);

/// That part: an eighth adds little to the pace of the viewers' pictures and leaves few reads.
const READS_A_MERGE: u32 = 8;

/// What the hub's own log keeps beyond the newest group: its readers are in this process and never far behind.
const WINDOW: Duration = Duration::from_millis(500);

/// When viewers are to be woken.
pub fn flush(play: &Play) -> Flush {
    match play.flush {
        Configured::Each => Flush::Each,
        Configured::Video => Flush::Video,
        Configured::Every(period) => Flush::Every(period),
    }
}

/// How often readers are told of new frames, so that reading late does not make viewers wait longer than `flush` says.
pub fn announce(flush: Flush) -> Flush {
    match (flush, watched_hold(flush)) {
        (Flush::Every(period), Some(hold)) => Flush::Every(period - hold),
        _ => flush,
    }
}

/// How long a stream that is watched may stay unread, where viewers get it by `flush`; none if not at all.
pub fn watched_hold(flush: Flush) -> Option<Duration> {
    match flush {
        Flush::Every(period) if period >= MERGED_MIN => Some(period / READS_A_MERGE),
        Flush::Every(_) | Flush::Each | Flush::Video => None,
    }
}

/// What the hub's own log of a stream keeps.
pub fn log_limits(config: &Config) -> Limits {
    let bytes = usize::try_from(config.limits.stream_memory).unwrap_or(usize::MAX);
    Limits { bytes, window: WINDOW }
}
