//! What is agreed for the viewers of a stream.

use std::{sync::Arc, time::Duration};

use weir_hub::{Flush, Start};
use weir_media::StreamKey;

/// How a stream's viewers are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Where a new viewer starts.
    pub start: Start,
    /// When viewers are woken.
    pub flush: Flush,
    /// How long a viewer may take nothing of what it is sent (`play.stall_timeout`).
    pub stall: Duration,
}

/// The terms of each stream.
pub type TermsOf = Arc<dyn Fn(&StreamKey) -> Terms + Send + Sync>;
