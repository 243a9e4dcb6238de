//! What a configuration means to those that do not know it: to the hub, to delivery, and to what counts clients.

use weir_clients::quota;
use weir_config::{Flush as Configured, Limits, Play};
use weir_delivery::Terms;
use weir_hub::{Flush, Start};

/// How viewers are treated.
pub fn of(play: &Play) -> Terms {
    Terms { start: start(play), flush: flush(play), stall: play.stall_timeout }
}

/// Where new viewers start.
pub fn start(play: &Play) -> Start {
    if play.gop { Start::NewestGroup } else { Start::NextGroup }
}

/// When viewers are woken.
pub fn flush(play: &Play) -> Flush {
    match play.flush {
        Configured::Each => Flush::Each,
        Configured::Video => Flush::Video,
        Configured::Every(period) => Flush::Every(period),
    }
}

/// What viewers and addresses may take.
pub fn quotas(limits: &Limits) -> quota::Limits {
    quota::Limits {
        egress: limits.egress,
        viewers_per_stream: limits.viewers_per_stream,
        connections_per_ip: limits.connections_per_ip,
    }
}
