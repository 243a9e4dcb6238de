//! What the section `play` of a configuration means to the hub.

use weir_config::{Flush as Configured, Play};
use weir_hub::{Flush, Start};

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
