//! What others know of a pull.

use std::{sync::Arc, time::Instant};

use tokio::sync::watch;
use weir_intake::WakeSignal;
use weir_media::StreamKey;

use crate::entry::Entry;

/// What a pull is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has failed, and waits until it tries again.
    Waiting,
    /// The other server is being asked, or the file opened.
    Asking,
    /// It flows since then.
    Flowing(Instant),
    /// Somebody else publishes the stream here.
    GivesWay,
}

impl State {
    /// All the names that there are.
    pub const LABELS: [&'static str; 4] = ["waiting", "asking", "flowing", "replaced"];

    /// Its name in the API and in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Waiting => Self::LABELS[0],
            Self::Asking => Self::LABELS[1],
            Self::Flowing(_) => Self::LABELS[2],
            Self::GivesWay => Self::LABELS[3],
        }
    }
}

/// How a pull is getting on.
#[derive(Clone, Debug)]
pub struct Progress {
    /// What it is doing.
    pub state: State,
    /// Why it failed last, without secrets; nothing since it flows.
    pub failure: Option<Why>,
    /// The same, whatever came after it.
    pub last_failure: Option<String>,
    /// How often it was lost.
    pub losses: u64,
}

/// Why a stream is not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// Whether it is not there, rather than out of reach.
    pub is_missing: bool,
    /// A sentence.
    pub text: String,
}

impl Default for Progress {
    fn default() -> Self {
        Self { state: State::Asking, failure: None, last_failure: None, losses: 0 }
    }
}

/// A pull as it is known to all.
pub struct Known {
    /// What is pulled, and from where.
    pub entry: Arc<Entry>,
    /// How it is getting on.
    pub progress: watch::Sender<Progress>,
    /// Rung to end it.
    pub stop: WakeSignal,
}

impl Known {
    /// One that is about to begin.
    pub fn new(entry: &Arc<Entry>) -> Arc<Self> {
        let progress = watch::Sender::default();
        Arc::new(Self { entry: Arc::clone(entry), progress, stop: WakeSignal::default() })
    }
}

/// A pull, for the API and for metrics.
#[derive(Clone, Debug)]
pub struct PullStatus {
    /// The stream.
    pub key: StreamKey,
    /// Where it comes from, without secrets.
    pub from: String,
    /// What it is doing.
    pub state: State,
    /// Why it failed last; a sentence.
    pub last_failure: Option<String>,
    /// How often it was lost.
    pub losses: u64,
}
