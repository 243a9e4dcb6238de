//! What a configuration means to those that do not know it: to the hub, to delivery, and to what counts clients.

use weir_clients::quota;
use weir_config::{Limits, Play};
use weir_delivery::Terms;
use weir_hub::Start;
use weir_intake::flush;

/// How viewers are treated.
pub fn of(play: &Play) -> Terms {
    Terms { start: start(play), flush: flush(play), stall: play.stall_timeout }
}

/// Where new viewers start.
pub fn start(play: &Play) -> Start {
    if play.gop { Start::NewestGroup } else { Start::NextGroup }
}

/// What viewers and addresses may take.
pub fn quotas(limits: &Limits) -> quota::Limits {
    quota::Limits {
        egress: limits.egress,
        viewers_per_stream: limits.viewers_per_stream,
        connections_per_ip: limits.connections_per_ip,
    }
}
