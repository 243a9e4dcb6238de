//! When readers are woken.

use std::time::{Duration, Instant};

use weir_media::Frame;

/// Longest time a frame waits for the next picture under [`Flush::Video`]: one picture at 25 frames a second.
pub const FLUSH_HOLD_MAX: Duration = Duration::from_millis(40);

/// When new frames are announced to readers: fewer announcements mean fewer, larger sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Each frame at once.
    Each,
    /// Each picture at once; sound rides with the next picture, at most [`FLUSH_HOLD_MAX`].
    Video,
    /// What has gathered for this long.
    Every(Duration),
}

impl Flush {
    /// Longest time a frame may wait unannounced while others follow it. When the publisher falls silent nothing
    /// announces the last ones: a reader that must not wait looks at [`crate::Reader::pending_since`].
    pub fn hold_max(self) -> Duration {
        match self {
            Self::Each => Duration::ZERO,
            Self::Video => FLUSH_HOLD_MAX,
            Self::Every(period) => period,
        }
    }

    /// Whether `frame`, which arrives at `now`, announces everything that waits since `pending`.
    pub(crate) fn is_due(self, frame: &Frame, pending: Instant, now: Instant) -> bool {
        let held = now.saturating_duration_since(pending);
        match self {
            Self::Each => true,
            Self::Video => frame.is_picture() || held >= FLUSH_HOLD_MAX,
            Self::Every(period) => held >= period,
        }
    }
}
