//! What publishers bring, and whom the registry tells of demand.

use std::time::{Duration, Instant};

use weir_media::StreamKey;

use crate::{Flush, Limits, Wake, sync::Arc};

/// Hears of streams that are wanted, so that an edge can pull them.
///
/// Called without a lock held, so calls of two threads may come in either order: an implementation takes them as a hint
/// to look at [`Registry::demand`](crate::Registry::demand).
pub trait Demand: Send + Sync + 'static {
    /// The first reader came.
    fn wanted(&self, key: &StreamKey);
    /// The last reader left.
    fn unwanted(&self, key: &StreamKey);
}

/// What a publisher brings to its stream.
pub struct PublishSettings {
    /// How long the stream waits for another publisher after this one has gone.
    pub linger: Duration,
    /// What happens when the stream has a publisher.
    pub conflict: Conflict,
    /// When readers are woken.
    pub flush: Flush,
    /// What the stream's log keeps.
    pub limits: Limits,
    /// Woken when another publisher takes the stream over.
    pub replaced: Arc<dyn Wake>,
}

/// What happens when a stream that has a publisher is published again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The new one is refused.
    Reject,
    /// The new one replaces the old one.
    Takeover,
    /// The new one replaces the old one if that has been silent for this long.
    TakeoverIfIdle(Duration),
}

/// The stream has a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// And keeps it.
    #[error("the stream is already being published")]
    Taken,
    /// It is silent at the moment: if it is not heard before `idle_at`, the stream may be taken.
    #[error("the stream is already being published")]
    MaybeDead {
        /// When it will have been silent for long enough.
        idle_at: Instant,
    },
}

impl Conflict {
    /// Whether a publisher that was last heard at `heard` has to give way at `now`.
    pub(crate) fn decide(self, heard: Instant, now: Instant) -> Result<(), Refused> {
        match self {
            Self::Takeover => Ok(()),
            Self::Reject => Err(Refused::Taken),
            Self::TakeoverIfIdle(idle) => match heard.checked_add(idle) {
                Some(idle_at) if idle_at <= now => Ok(()),
                Some(idle_at) => Err(Refused::MaybeDead { idle_at }),
                None => Err(Refused::Taken),
            },
        }
    }
}
