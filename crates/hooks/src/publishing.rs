//! Who publishes what: for what is told of a stream, and not of a client.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use weir_media::StreamKey;

use crate::event::Subject;

/// How long a publisher is remembered that has gone: its last segment and its recording are complete by then.
const KEPT: Duration = Duration::from_secs(600);

/// Publishers that are remembered, some 500 bytes each. Of more of them what they have made is told without who they
/// were.
const KEPT_MAX: usize = 16_384;

/// Publishers that are here or were a moment ago.
#[derive(Debug, Default)]
pub struct Publishing(Mutex<HashMap<StreamKey, Known>>);

#[derive(Debug)]
struct Known {
    subject: Arc<Subject>,
    /// When it has gone.
    gone: Option<Instant>,
}

impl Publishing {
    /// From now on `subject` publishes `key`.
    pub fn begins(&self, key: &StreamKey, subject: &Arc<Subject>, now: Instant) {
        let mut known = self.lock();
        if known.len() >= KEPT_MAX {
            let is_gone = |gone: Option<Instant>| {
                gone.is_some_and(|at| now.saturating_duration_since(at) >= KEPT)
            };
            known.retain(|_, known| !is_gone(known.gone));
        }
        if known.len() < KEPT_MAX || known.contains_key(key) {
            known.insert(key.clone(), Known { subject: Arc::clone(subject), gone: None });
        }
    }

    /// `subject` does not any more; another may.
    pub fn ends(&self, key: &StreamKey, subject: &Arc<Subject>, now: Instant) {
        if let Some(known) = self.lock().get_mut(key)
            && Arc::ptr_eq(&known.subject, subject)
        {
            known.gone = Some(now);
        }
    }

    /// Who publishes `key`, or did last.
    pub fn of(&self, key: &StreamKey) -> Option<Arc<Subject>> {
        self.lock().get(key).map(|known| Arc::clone(&known.subject))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamKey, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_publisher_is_remembered_for_a_while() {
        let (publishing, now) = (Publishing::default(), Instant::now());
        let key = |name: &str| StreamKey::new("v", "live", name).expect("a key");
        let subject = |id| Arc::new(Subject { id, ..Subject::nobody(&key("a")) });
        let (one, two) = (subject(1), subject(2));
        publishing.begins(&key("a"), &one, now);
        publishing.begins(&key("a"), &two, now);
        publishing.ends(&key("a"), &one, now);
        assert_eq!(publishing.of(&key("a")).expect("known").id, 2);
        assert!(publishing.lock()[&key("a")].gone.is_none(), "the second one is here");
        publishing.ends(&key("a"), &two, now);
        assert_eq!(publishing.of(&key("a")).expect("known").id, 2);
        for number in 1..KEPT_MAX {
            publishing.begins(&key(&number.to_string()), &one, now);
        }
        publishing.begins(&key("late"), &one, now);
        assert!(publishing.of(&key("late")).is_none(), "there is a bound");
        publishing.begins(&key("late"), &one, now + KEPT);
        assert!(publishing.of(&key("late")).is_some() && publishing.of(&key("a")).is_none());
    }
}
