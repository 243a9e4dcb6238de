//! How each target of a stream is doing.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use weir_clients::counts::COUNTS;

/// What is going on with a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being connected to.
    Connecting,
    /// It is sent the stream.
    Sending,
    /// It is sent what of the stream it can take.
    Partly,
    /// It was lost or cannot be reached, and is tried again in a moment.
    Waiting,
    /// It does not want the stream, and is asked again now and then.
    Refused,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Connecting, Self::Sending, Self::Partly, Self::Waiting, Self::Refused];

    /// Its word, in the API and as a label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Sending => "sending",
            Self::Partly => "partly",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
        }
    }
}

/// What there is to say of a target.
#[derive(Clone, Debug)]
pub struct ForwardStatus {
    /// The target, without what is secret of it.
    pub target: String,
    /// What is going on.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// Bytes of media that it was sent.
    pub bytes: u64,
    /// Frames that it missed because it was too slow.
    pub skips: u64,
    /// Why it is not sent the stream, or not all of it; after that, why it last was not.
    pub error: Option<String>,
}

/// The same while it changes.
#[derive(Debug)]
pub struct Status {
    target: String,
    state: Mutex<(State, Instant, Option<String>)>,
    bytes: AtomicU64,
    skips: AtomicU64,
}

impl Status {
    /// Of a target that is about to be connected to.
    pub fn new(target: String) -> Self {
        let state = Mutex::new((State::Connecting, Instant::now(), None));
        Self { target, state, bytes: AtomicU64::new(0), skips: AtomicU64::new(0) }
    }

    /// It is in `state` from now on; the last error stays known.
    pub fn set(&self, state: State) {
        let mut now = self.lock();
        if now.0 != state {
            (now.0, now.1) = (state, Instant::now());
        }
    }

    /// The same, for a reason. Returns whether that is another reason than before.
    pub fn fail(&self, state: State, why: &str) -> bool {
        self.set(state);
        let mut now = self.lock();
        let is_other = now.2.as_deref() != Some(why);
        now.2 = Some(why.to_owned());
        is_other
    }

    /// It was sent so many bytes.
    pub fn sent(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
        COUNTS.forward_bytes.add(bytes as u64);
    }

    /// It missed so many frames.
    pub fn skipped(&self, frames: u64) {
        self.skips.fetch_add(frames, Relaxed);
        COUNTS.forward_frames_skipped.add(frames);
    }

    /// What there is to say.
    pub fn now(&self) -> ForwardStatus {
        let (state, since, error) = self.lock().clone();
        let (bytes, skips) = (self.bytes.load(Relaxed), self.skips.load(Relaxed));
        ForwardStatus { target: self.target.clone(), state, since, bytes, skips, error }
    }

    fn lock(&self) -> MutexGuard<'_, (State, Instant, Option<String>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
