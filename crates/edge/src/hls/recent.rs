//! A bounded memory of what has just happened.

use std::{collections::HashMap, hash::Hash, time::Instant};

/// Values that are forgotten after a while. When it is full of others, one more is not remembered.
#[derive(Debug)]
pub struct Recent<K, V> {
    items: HashMap<K, (V, Instant)>,
    max: usize,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    /// Remembers at most `max` values.
    pub fn new(max: usize) -> Self {
        Self { items: HashMap::new(), max }
    }

    /// The value of `key`, unless its time is over.
    pub fn get(&self, key: &K, now: Instant) -> Option<&V> {
        self.items.get(key).filter(|(_, until)| now < *until).map(|(value, _)| value)
    }

    /// Whether there is nothing to remember.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Remembers `value` until then.
    pub fn insert(&mut self, key: K, value: V, now: Instant, until: Instant) {
        if self.items.len() >= self.max && !self.items.contains_key(&key) {
            self.items.retain(|_, (_, until)| now < *until);
        }
        if self.items.len() < self.max || self.items.contains_key(&key) {
            self.items.insert(key, (value, until));
        }
    }

    /// Forgets `key`. Whether its time was not over yet.
    pub fn remove(&mut self, key: &K, now: Instant) -> bool {
        self.items.remove(key).is_some_and(|(_, until)| now < until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn forgets_what_is_over_and_never_grows_beyond_its_size() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut recent = Recent::new(2);
        recent.insert("a", 1, at(0), at(1));
        recent.insert("b", 2, at(0), at(5));
        recent.insert("c", 3, at(0), at(5));
        assert_eq!(recent.get(&"c", at(0)), None, "it is full");
        assert_eq!(recent.get(&"a", at(1)), None, "its time is over");
        recent.insert("c", 3, at(1), at(5));
        assert_eq!(recent.get(&"c", at(1)), Some(&3));
        recent.insert("b", 4, at(1), at(5));
        assert_eq!(recent.get(&"b", at(1)), Some(&4));
        assert!(recent.remove(&"b", at(1)) && !recent.remove(&"a", at(1)));
        assert_eq!(recent.items.len(), 1);
    }
}
