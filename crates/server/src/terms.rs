//! What the section `play` of a configuration means to the hub and to delivery.

use weir_config::{Flush as Configured, Play};
use weir_hub::{Flush, Start};

use crate::play::Terms;

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
