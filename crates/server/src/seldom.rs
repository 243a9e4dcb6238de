//! Log lines that peers can cause as often as they like.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How often at most the log says such a thing.
const PERIOD: Duration = Duration::from_secs(1);

/// When it was said last.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether it is time to say it again, which the caller then does.
    pub fn is_time(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = last.is_none_or(|last| now.saturating_duration_since(last) >= PERIOD);
        if is_time {
            *last = Some(now);
        }
        is_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_second() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        let said: Vec<_> = [0, 1, 999, 1000, 1001, 2000]
            .map(|millis| seldom.is_time(now + Duration::from_millis(millis)))
            .into();
        assert_eq!(said, [true, false, false, true, false, true]);
    }
}
