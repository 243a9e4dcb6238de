//! What the log says of back ends that fail.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{info, warn};

/// The same kind of a failure of a back end is said again after this time.
const AGAIN: Duration = Duration::from_secs(30);

/// Kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no connection, or it broke.
    Unreachable,
    /// There is no answer in time.
    Late,
    /// What it answers is no answer.
    Garbage,
}

impl Kind {
    const COUNT: usize = 3;

    const fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Late => "late",
            Self::Garbage => "garbage",
        }
    }
}

/// A call that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How.
    pub kind: Kind,
    /// The same in words for people, without anything secret.
    pub why: String,
}

/// How one back end does.
#[derive(Debug, Default)]
pub struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failing: Option<Instant>,
    said: [Option<Instant>; Kind::COUNT],
    unsaid: u64,
}

impl Health {
    /// Whether its last call has failed.
    pub fn is_failing(&self) -> bool {
        self.lock().failing.is_some()
    }

    /// Takes notice of how a call to `url` went, and says in the log what is new.
    pub fn note(&self, url: &str, failure: Option<&Failure>, now: Instant) {
        let mut state = self.lock();
        let Some(Failure { kind, why }) = failure else {
            let Some(since) = state.failing.take() else { return };
            *state = State::default();
            drop(state);
            let seconds = now.saturating_duration_since(since).as_secs();
            return info!(url, seconds, "the back end of hooks answers again");
        };
        state.failing.get_or_insert(now);
        let said = &mut state.said[*kind as usize];
        if said.is_some_and(|said| now.saturating_duration_since(said) < AGAIN) {
            state.unsaid += 1;
            return;
        }
        *said = Some(now);
        let unsaid = std::mem::take(&mut state.unsaid);
        drop(state);
        let kind = kind.label();
        warn!(url, kind, reason = %why, unsaid, "a back end of hooks fails");
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_end_fails_until_a_call_succeeds() {
        let (health, now) = (Health::default(), Instant::now());
        let failure = Failure { kind: Kind::Late, why: "no answer".to_owned() };
        assert!(!health.is_failing());
        health.note("http://b/", Some(&failure), now);
        health.note("http://b/", Some(&failure), now);
        assert!(health.is_failing());
        assert_eq!(health.lock().unsaid, 1, "the same is said once");
        health.note("http://b/", Some(&failure), now + AGAIN);
        assert_eq!(health.lock().unsaid, 0, "and again after a while");
        health.note("http://b/", None, now);
        assert!(!health.is_failing());
    }
}
